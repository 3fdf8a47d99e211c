"""The cell space of DARTS, with an operator on every edge, as SE-NAS searches it.

Sources: Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search" (ICLR 2019), with the
authors' code where the paper is silent; for the number of cells and the choice on each edge, Hu et
al., "Improving One-Shot NAS with Shrinking-and-Expanding Supernet" (SE-NAS).

A cell has two inputs, the outputs of the two cells before it, numbered 0 (previous-previous) and 1
(previous), and four nodes, numbered 2 to 5.  A node is the sum over edges from both inputs and all
earlier nodes, 14 in all, each with one of eight operators; the output is the concatenation of the
nodes.  Three stages of normal cells have a reduction cell between them, whose edges from the inputs
have stride two and which doubles the channels.

DARTS keeps two edges a node in the end; those networks lie in this space, the other edges being
``none``.  SE-NAS states 8**14 networks, which is one kind of cell; normal and reduction cells of
their own make 8**28.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from swath.core.architecture import Architecture, Gene, Value
from swath.core.errors import RecipeError, nearest
from swath.networks.operators2d import FactorizedReduction, activated_convolution, darts_factories
from swath.spaces import registry
from swath.spaces._options import read_options, require_odd, require_whole_numbers
from swath.spaces.base import InputSpec, OpGraph, OutputSpec, SearchSpace
from swath.spaces.choices import Choice, Skip, Zero

__all__ = ["DARTS", "OPERATORS", "Cell", "DARTSNetwork", "DARTSOptions"]

OPERATORS = (
    "none",
    "max_pool_3x3",
    "avg_pool_3x3",
    "skip_connect",
    "sep_conv_3x3",
    "sep_conv_5x5",
    "dil_conv_3x3",
    "dil_conv_5x5",
)

STAGES = 3
STEM_MULTIPLIER = 3  # the stem has so many times the channels of the first cells
REDUCTIONS = ("own", "same")

_KEEP_ZERO = ("max_pool_3x3", "avg_pool_3x3", "skip_connect")  # and have no weights


@dataclass(frozen=True)
class DARTSOptions:
    """What is fixed about the space.  Defaults are SE-NAS's and, of channels, DARTS's search.

    Parameters
    ----------
    channels : of a node in the first stage; every reduction cell doubles them.
    cells : normal cells a stage.
    nodes : of a cell.
    reduction : "own" gives the reduction cells genes of their own; "same" gives all cells the same
        operators, the 8**14 that SE-NAS states.
    patch : rows and columns of the patch that a pixel of a scene is classified from, odd; the
        networks themselves take images of any size, and scenes are none of the publication's.
    """

    channels: int = 16
    cells: int = 4
    nodes: int = 4
    reduction: str = "own"
    patch: int = 9

    def __post_init__(self) -> None:
        least = {"channels": 2, "cells": 1, "nodes": 1, "patch": 1}
        require_whole_numbers("darts", self, least)
        require_odd("darts", self, "patch")
        if self.reduction not in REDUCTIONS:
            raise RecipeError(
                f"darts: reduction cannot be {self.reduction!r}"
                f"{nearest(str(self.reduction), REDUCTIONS)}; "
                f"it is one of: {', '.join(REDUCTIONS)}"
            )

    @property
    def normal_kind(self) -> str:
        """What the genes of normal cells begin with."""
        return "normal" if self.reduction == "own" else "cell"

    @property
    def reduction_kind(self) -> str:
        """What the genes of reduction cells begin with."""
        return "reduction" if self.reduction == "own" else "cell"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds of cells that have genes of their own."""
        return tuple(dict.fromkeys((self.normal_kind, self.reduction_kind)))


def edges(nodes: int) -> tuple[tuple[int, int], ...]:
    """Return the (source, target) of a cell's edges, by target and then by source."""
    return tuple((source, target) for target in range(2, 2 + nodes) for source in range(target))


def edge_name(kind: str, source: int, target: int) -> str:
    """Return the name of an edge's choice, and so of its gene."""
    return f"{kind}.{source}-{target}"


class StridedZero(Zero):
    """The operator `none` on an edge of stride two."""

    def forward(self, x: Tensor) -> Tensor:
        """Return zeros (batch, channels, ceil(rows / 2), ceil(columns / 2))."""
        return x.new_zeros(()).expand_as(x[..., ::2, ::2])


def candidates(channels: int, stride: int) -> dict[str, Callable[[], nn.Module]]:
    """Return factories of the eight operators of an edge."""
    skip = Skip if stride == 1 else partial(FactorizedReduction, channels, channels)
    zero = Zero if stride == 1 else StridedZero
    factories = {"none": zero, "skip_connect": skip, **darts_factories(channels, stride)}
    return {operator: factories[operator] for operator in OPERATORS}


class Cell(nn.Module):
    """Nodes over two inputs, and a :class:`Choice` on each edge.

    The choices bear the genes' names: the cells of a kind decide alike.  A node all of whose edges
    are ``none`` is zero.

    Parameters
    ----------
    kind : what the names of its choices begin with.
    older, newer : channels of its inputs.
    channels : of a node.
    stride : of the edges from the inputs, 1 or 2.
    halved : the cell before was a reduction, so the newer input is half as large as the older one.
    """

    def __init__(
        self,
        kind: str,
        older: int,
        newer: int,
        channels: int,
        nodes: int,
        *,
        stride: int = 1,
        halved: bool = False,
    ) -> None:
        super().__init__()
        self.older = (
            FactorizedReduction(older, channels)
            if halved
            else activated_convolution(older, channels, 1)
        )
        self.newer = activated_convolution(newer, channels, 1)
        self.nodes = nodes
        self.edges = nn.ModuleDict(
            {
                f"{source}-{target}": Choice(
                    edge_name(kind, source, target),
                    candidates(channels, stride if source < 2 else 1),
                )
                for source, target in edges(nodes)
            }
        )

    def forward(self, older: Tensor, newer: Tensor) -> Tensor:
        """Return (batch, nodes * channels, rows / stride, columns / stride), rounded up."""
        states = [self.older(older), self.newer(newer)]
        for target in range(2, 2 + self.nodes):
            operators = [self.edges[f"{source}-{target}"] for source in range(target)]
            # Zeros are left out of the sum, unless there is nothing else.
            used = [s for s in range(target) if not isinstance(operators[s], Zero)] or [0]
            terms = [operators[source](states[source]) for source in used]
            states.append(sum(terms[1:], start=terms[0]))
        return torch.cat(states[2:], dim=1)


class DARTSNetwork(nn.Module):
    """Stem, three stages of cells, classifier; open until its choices are realised."""

    def __init__(self, bands: int, classes: int, options: DARTSOptions) -> None:
        super().__init__()
        width, nodes = options.channels, options.nodes
        older = newer = STEM_MULTIPLIER * width
        self.stem = nn.Sequential(
            nn.Conv2d(bands, newer, 3, padding=1, bias=False), nn.BatchNorm2d(newer)
        )
        self.cells = nn.ModuleList()
        for stage in range(STAGES):
            if stage:
                width *= 2
                kind = options.reduction_kind
                self.cells.append(Cell(kind, older, newer, width, nodes, stride=2))
                older, newer = newer, nodes * width
            for place in range(options.cells):
                halved = stage > 0 and place == 0
                kind = options.normal_kind
                self.cells.append(Cell(kind, older, newer, width, nodes, halved=halved))
                older, newer = newer, nodes * width
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(newer, classes))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes) of patches (batch, bands, rows, columns)."""
        older = newer = self.stem(x)
        for cell in self.cells:
            older, newer = newer, cell(older, newer)
        logits: Tensor = self.head(newer)
        return logits


@registry.register("darts")
class DARTS(SearchSpace):
    """The cells of DARTS: one gene an edge of the normal and of the reduction cell, 8 operators.

    Parameters
    ----------
    options : fields of :class:`DARTSOptions`.
    """

    name = "darts"
    answers = "patch"

    def __init__(self, **options: object) -> None:
        self.settings = read_options(self.name, DARTSOptions, options)
        self.options = asdict(self.settings)
        self.patch = self.settings.patch
        self.genes = tuple(
            Gene(edge_name(kind, *edge), OPERATORS)
            for kind in self.settings.kinds
            for edge in edges(self.settings.nodes)
        )

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the first cells that compute the same; see :func:`canonical_cell`."""
        self.validate(architecture)
        values = architecture.as_dict()
        nodes = self.settings.nodes
        for kind in self.settings.kinds:
            cell = {edge: values[edge_name(kind, *edge)] for edge in edges(nodes)}
            for edge, operator in canonical_cell(cell, nodes).items():
                values[edge_name(kind, *edge)] = operator
        return self.architecture(values)

    def declare(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> DARTSNetwork:
        """Return the open network: (batch, bands, rows, columns) to (batch, classes)."""
        return DARTSNetwork(inputs.bands, outputs.classes, self.settings)

    def graph(self, architecture: Architecture) -> OpGraph:
        """Return a normal cell and, where it has genes of its own, a reduction cell behind it.

        Each edge is a node with its operator, ``none`` too, so that all have one and the same
        wiring; sums and concatenations are nodes as well.
        """
        self.validate(architecture)
        operators = ["stem", "stem"]
        wires = [(0, 1)]

        def add(operator: str, *sources: int) -> int:
            operators.append(operator)
            wires.extend((source, len(operators) - 1) for source in sources)
            return len(operators) - 1

        older, newer = 0, 1
        for kind in self.settings.kinds:
            states = [older, newer]
            for target in range(2, 2 + self.settings.nodes):
                terms = [
                    add(str(architecture[edge_name(kind, source, target)]), states[source])
                    for source in range(target)
                ]
                states.append(add("add", *terms))
            older, newer = newer, add(f"concat_{kind}", *states[2:])
        add("head", newer)
        adjacency = np.zeros((len(operators), len(operators)), bool)
        adjacency[tuple(np.array(wires).T)] = True
        return OpGraph(tuple(operators), adjacency)


def canonical_cell(
    operators: Mapping[tuple[int, int], Value], nodes: int
) -> dict[tuple[int, int], Value]:
    """Return the first of the cells that are the same network, in the order of the operators.

    Two rules.  A pool or a skip of a node that is zero is zero, so it is ``none``; a convolution of
    it is not, since its normalisation adds a constant that is learned.  And nodes may change
    places, which changes the order of the output's channels and nothing else.

    Cells that this leaves apart may yet compute the same, where a node is but the copy of another.

    Parameters
    ----------
    operators : by (source, target), of all edges.
    """
    cell = dict(operators)
    zero: set[int] = set()
    for target in range(2, 2 + nodes):
        for source in zero:
            if cell[source, target] in _KEEP_ZERO:
                cell[source, target] = "none"
        if all(cell[source, target] == "none" for source in range(target)):
            zero.add(target)
    reordered = []
    for order in itertools.permutations(range(2, 2 + nodes)):
        place = dict(enumerate((0, 1, *order)))  # of each input and node
        moved: dict[tuple[int, int], Value] = dict.fromkeys(cell, "none")
        moved |= {(place[s], place[t]): o for (s, t), o in cell.items() if o != "none"}
        if len(moved) == len(cell):  # else an edge would lead backwards
            reordered.append(moved)
    return min(reordered, key=lambda one: [OPERATORS.index(str(o)) for o in one.values()])
