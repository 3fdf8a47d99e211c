"""The cell space of NAS-Bench-101: small directed graphs with an operator at every vertex.

Source: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search" (ICML 2019),
with the authors' code where the paper is silent; the encoding in bits and the published sampling
are of Traoré, Camero, Zhu, "Fitness Landscape Footprint" (arXiv 2111.01584).

A cell has an input, an output and at most five vertices between them, and at most nine edges.  All
cells of a network are alike.  Genes are the 21 places above the diagonal of the adjacency matrix
and the operators of five vertices.  What lies on no path from input to output is pruned, and the
order of vertices means nothing, so the same cell is encoded by many genes: its canonical form is
one of them, without loose ends, and it is what networks, encodings and neighbours are made from.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture, Gene, Value
from swath.core.errors import InvalidArchitecture, RecipeError
from swath.networks.layout import channels_last
from swath.networks.nasbench101 import NASBench101Network
from swath.spaces import _nasbench101_cells as cells
from swath.spaces import _nasbench101_encoding as encoding
from swath.spaces import _nasbench101_neighbours as neighbouring
from swath.spaces import registry
from swath.spaces._nasbench101_cells import OPERATORS, Cell
from swath.spaces._options import read_options, require_odd, require_whole_numbers
from swath.spaces.base import InputSpec, OpGraph, OutputSpec, SearchSpace

__all__ = ["OPERATORS", "NASBench101", "NASBench101Options"]

_LARGEST = 7  # vertices of a cell whose orders can all be tried


@dataclass(frozen=True)
class NASBench101Options:
    """What is fixed about the space.  Defaults are the published values.

    Parameters
    ----------
    channels : of the stem and the first stack; every further stack has twice as many.
    stacks : stacks of cells.
    cells : cells in a stack.
    vertices : the most that a cell may have, input and output included; from 3 to 7.
    edges : the most that a cell may have.
    momentum : share of the running statistics of a normalisation that a step of training keeps.
        The published one needs thousands of steps; give 0.9 where there are hundreds.
    patch : rows and columns of the patch that a pixel of a scene is classified from, odd; the
        networks themselves take images of any size, and scenes are none of the publication's.
    """

    channels: int = 128
    stacks: int = 3
    cells: int = 3
    vertices: int = 7
    edges: int = 9
    momentum: float = 0.997
    patch: int = 9

    def __post_init__(self) -> None:
        least = {"stacks": 1, "cells": 1, "vertices": 3, "edges": 1, "patch": 1}
        require_whole_numbers("nasbench101", self, least)
        require_odd("nasbench101", self, "patch")
        if self.vertices > _LARGEST:
            raise RecipeError(
                f"nasbench101: vertices must be at most {_LARGEST}, not {self.vertices}"
            )
        # Each vertex that feeds the output has a share of the channels.
        require_whole_numbers("nasbench101", self, {"channels": self.vertices - 2})
        if not isinstance(self.momentum, int | float) or not 0 <= self.momentum < 1:
            raise RecipeError(
                f"nasbench101: momentum must be at least 0 and less than 1, not {self.momentum!r}"
            )


def edge_name(source: int, target: int) -> str:
    """Return the name of the gene of an edge."""
    return f"{source}-{target}"


@registry.register("nasbench101")
class NASBench101(SearchSpace):
    """The 423,624 cells of NAS-Bench-101: 21 genes for edges, 5 for operators.

    Parameters
    ----------
    options : fields of :class:`NASBench101Options`.
    """

    name = "nasbench101"
    answers = "patch"
    operators = OPERATORS

    def __init__(self, **options: object) -> None:
        self.settings = read_options(self.name, NASBench101Options, options)
        self.options = asdict(self.settings)
        self.patch = self.settings.patch
        self._inner = self.settings.vertices - 2
        self._pairs = tuple(itertools.combinations(range(self.settings.vertices), 2))
        self.genes = (
            *(Gene(edge_name(*pair), (0, 1)) for pair in self._pairs),
            *(Gene(f"operator{vertex}", OPERATORS) for vertex in range(1, self._inner + 1)),
        )

    def problem(self, values: Mapping[str, Value]) -> str | None:
        """Return that the output cannot be reached, or that too many edges are left."""
        cell = self._pruned(values)
        if cell is None:
            return (
                f"no path of edges leads from the input, vertex 0, to the output, vertex "
                f"{self._inner + 1}"
            )
        if len(cell.edges) > self.settings.edges:
            return (
                f"the pruned cell has {len(cell.edges)} edges; at most {self.settings.edges} are "
                "allowed"
            )
        return None

    def _pruned(self, values: Mapping[str, Value]) -> Cell | None:
        operators = [
            OPERATORS.index(str(values[f"operator{v}"])) for v in range(1, self._inner + 1)
        ]
        return cells.prune(operators, (pair for pair in self._pairs if values[edge_name(*pair)]))

    def cell(self, architecture: Architecture) -> Cell:
        """Return the canonical cell of an architecture, pruned; isomorphic ones have the same."""
        self.validate(architecture)
        pruned = self._pruned(architecture.as_dict())
        assert pruned is not None
        canonical = cells.canonical(pruned)
        assert canonical is not None
        return canonical

    def from_cell(self, cell: Cell) -> Architecture:
        """Return the architecture of a cell as it is written; vertices it lacks have no edges."""
        last = cell.vertices - 1
        place = {**{vertex: vertex for vertex in range(last)}, last: self._inner + 1}
        edges = {(place[source], place[target]) for source, target in cell.edges}
        operators = [OPERATORS[operator] for operator in cell.operators]
        operators += [OPERATORS[0]] * (self._inner - len(operators))
        return self.architecture(
            {edge_name(*pair): int(pair in edges) for pair in self._pairs}
            | {f"operator{v}": operator for v, operator in enumerate(operators, start=1)}
        )

    def matrix(self, architecture: Architecture) -> tuple[npt.NDArray[np.int64], tuple[str, ...]]:
        """Return the published form of the canonical cell.

        Returns
        -------
        adjacency matrix, upper triangular (vertices, vertices), and a name for each vertex, with
        ``input`` first and ``output`` last.
        """
        cell = self.cell(architecture)
        return cell.matrix(), ("input", *(OPERATORS[o] for o in cell.operators), "output")

    def from_matrix(self, matrix: npt.ArrayLike, operators: Sequence[str]) -> Architecture:
        """Return the architecture of a cell in its published form, as it is written.

        Raises
        ------
        InvalidArchitecture : it has another form, or names an unknown operator.
        """
        edges = np.asarray(matrix)
        vertices = len(operators)
        if edges.shape != (vertices, vertices) or not np.isin(edges, (0, 1)).all():
            raise InvalidArchitecture(
                f"the matrix of a cell of {vertices} operators must be {vertices} x {vertices} "
                f"zeros and ones, not {edges.shape}"
            )
        if not 2 <= vertices <= self.settings.vertices or np.tril(edges).any():
            raise InvalidArchitecture(
                f"a cell of {self.name} has 2 to {self.settings.vertices} vertices, and edges "
                f"above the diagonal alone; this one has {vertices} vertices"
            )
        unknown = set(operators[1:-1]) - set(OPERATORS)
        if unknown:
            raise InvalidArchitecture(
                f"a cell of {self.name} has no operator '{sorted(unknown)[0]}'; "
                f"it has: {', '.join(OPERATORS)}"
            )
        places = [(int(source), int(target)) for source, target in np.argwhere(edges)]
        labels = tuple(OPERATORS.index(name) for name in operators[1:-1])
        return self.from_cell(Cell(labels, tuple(places)))

    def cell_hash(self, architecture: Architecture) -> str:
        """Return the benchmark's key of the cell, of 32 hexadecimal digits."""
        return cells.cell_hash(self.cell(architecture))

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the one architecture of all isomorphic ones: exactly the benchmark's matrix."""
        return self.from_cell(self.cell(architecture))

    def size(self) -> int:
        """Return the number of different cells, not of genes that encode one."""
        return len(self._catalogue())

    def _catalogue(self) -> npt.NDArray[np.int64]:
        return cells.catalogue(self.settings.vertices, self.settings.edges)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw uniformly from the different cells; each comes in its canonical form."""
        found = self._catalogue()
        return self.from_cell(cells.from_code(int(found[rng.integers(len(found))])))

    def sample_encoding(self, rng: np.random.Generator) -> Architecture:
        """Draw uniformly from the valid combinations of genes, as they are.

        A cell comes the more often the more genes encode it: large cells, and of small ones those
        whose loose ends can be many, unlike in :meth:`sample`.
        """
        return super().sample(rng)

    def latin_hypercube(self, count: int, rng: np.random.Generator) -> list[Architecture]:
        """Draw a design of so many different cells by Latin hypercube sampling.

        All genes are dimensions: an edge is there above one half, operators are thirds.  In each
        hypercube of ``count`` points every edge is there in half of them.  Points that are no
        cell, or the same cell as an earlier point, are left out and filled up from further
        hypercubes; so the design is balanced before this and nearly so after it.

        Raises
        ------
        RecipeError : the space has fewer cells.
        """
        from scipy.stats import qmc

        if count > self.size():
            raise RecipeError(f"{self.name} has {self.size():,} cells, fewer than {count:,}")
        found: dict[Architecture, Architecture] = {}
        while len(found) < count:
            for point in qmc.LatinHypercube(len(self.genes), seed=rng).random(count):
                values = self._values(point)
                if len(found) < count and self.problem(values) is None:
                    architecture = self.architecture(values)
                    found.setdefault(self.canonical(architecture), architecture)
        return list(found.values())

    def published_design(self, count: int, rng: np.random.Generator) -> list[Architecture]:
        """Draw as the footprint's authors did, who call it Latin hypercube sampling.

        Each point is a hypercube of its own, hence uniform: edges are drawn until there are exactly
        as many as allowed, before pruning, then operators.  This favours large cells, and cells may
        come twice, for the authors' check of duplicates never finds one.
        """
        found: list[Architecture] = []
        while len(found) < count:
            point = rng.random(len(self.genes))
            if np.count_nonzero(point[: len(self._pairs)] >= 0.5) == self.settings.edges:
                values = self._values(point)
                if self.problem(values) is None:
                    found.append(self.architecture(values))
        return found

    def _values(self, point: npt.NDArray[np.float64]) -> dict[str, Value]:
        """The genes at a point of the unit cube."""
        return {
            gene.name: gene.choices[math.floor(len(gene.choices) * place)]
            for gene, place in zip(self.genes, point.tolist(), strict=True)
        }

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield all cells that are one edit away, in canonical form.

        An edit changes one operator, or adds or removes one edge.  A vertex that is left without a
        way in or out goes too, and comes back with the reverse edit, but no more than one: so every
        neighbour has the cell among its own.
        """
        here, limits = self.cell(architecture), self.settings
        for cell in neighbouring.edits(here, limits.vertices, limits.edges):
            yield self.from_cell(cell)

    def encoding_neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield all cells whose :meth:`encode` differs in a single bit, in canonical form.

        The footprint papers walk these.  An edge is added or removed; operators stay as they are,
        so a walk never leaves the cells with as many of each.
        """
        for cell in neighbouring.single_flips(self.cell(architecture), self.settings.edges):
            yield self.from_cell(cell)

    def encode(self, architecture: Architecture) -> npt.NDArray[np.float32]:
        """Return the bits of the canonical cell: 289 with seven vertices, of 17 x 17 slots.

        Isomorphic cells have the same bits, all others have different ones.
        """
        return encoding.to_vector(self.cell(architecture), self._inner)

    def decode(self, vector: np.ndarray) -> Architecture:
        """Return the canonical architecture of some bits, whose order of slots may be any.

        Raises
        ------
        InvalidArchitecture : the bits are those of no cell.
        """
        cell = encoding.from_vector(vector, self._inner)
        if cell is None:
            slots = 2 + len(OPERATORS) * self._inner
            raise InvalidArchitecture(
                f"the vector is no cell of {self.name}: {slots**2} zeros and ones, a connected "
                "graph without circles and loose ends"
            )
        return self.from_cell(cell)

    def build(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> NASBench101Network:
        """Return the network: (batch, bands, rows, columns) to (batch, classes), of any size."""
        matrix, operators = self.matrix(architecture)
        network = NASBench101Network(
            inputs.bands,
            outputs.classes,
            matrix,
            operators[1:-1],
            channels=self.settings.channels,
            stacks=self.settings.stacks,
            cells=self.settings.cells,
            momentum=self.settings.momentum,
        )
        return channels_last(network)

    def graph(self, architecture: Architecture) -> OpGraph:
        """Return the canonical cell: input, its vertices, output."""
        matrix, operators = self.matrix(architecture)
        return OpGraph(operators, matrix.astype(bool))
