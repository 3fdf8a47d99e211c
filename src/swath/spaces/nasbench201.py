"""The cell space of NAS-Bench-201: one operator on each edge of a graph of four nodes.

Source: Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search" (ICLR 2020), with the authors' code where the paper is silent.

Node 0 of a cell is its input; every later node is the sum over the edges that end in it; node 3 is
the output.  All cells of a network are alike: a stem, three stages of cells with 16, 32 and 64
channels, a residual block of stride two between stages, and a classifier of the whole patch.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
from torch import Tensor, nn

from swath.core.architecture import Architecture, Gene, Value
from swath.core.errors import InvalidArchitecture
from swath.networks.operators2d import Reduction, operator_factories
from swath.spaces import registry
from swath.spaces._options import read_options, require_odd, require_whole_numbers
from swath.spaces.base import InputSpec, OpGraph, OutputSpec, SearchSpace
from swath.spaces.choices import Choice, Skip, Zero

__all__ = [
    "EDGES",
    "OPERATORS",
    "NASBench201",
    "NASBench201Network",
    "NASBench201Options",
    "expression",
]

EDGES = ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3))
"""The (source, target) nodes of the edges, in the order of the written form."""

OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")

STAGES = 3


@dataclass(frozen=True)
class NASBench201Options:
    """What is fixed about the space.  Defaults are the published values.

    Parameters
    ----------
    channels : C of the first stage; every further stage has twice as many.
    cells : N cells a stage.
    patch : rows and columns of the patch that a pixel of a scene is classified from, odd; the
        networks themselves take images of any size, and scenes are none of the publication's.
    """

    channels: int = 16
    cells: int = 5
    patch: int = 9

    def __post_init__(self) -> None:
        require_whole_numbers("nasbench201", self, {"channels": 1, "cells": 1, "patch": 1})
        require_odd("nasbench201", self, "patch")


def edge_name(source: int, target: int) -> str:
    """Return the name of an edge, and so of its gene."""
    return f"{source}-{target}"


class Cell(nn.Module):
    """Four nodes and a :class:`Choice` on each of the six edges between them.

    The choices bear the genes' names: the cells of a network decide alike.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        factories = {"none": Zero, "skip_connect": Skip, **operator_factories(channels)}
        self.edges = nn.ModuleDict(
            {
                edge_name(*edge): Choice(edge_name(*edge), {o: factories[o] for o in OPERATORS})
                for edge in EDGES
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the output node's sum, shaped as ``x``."""
        nodes = [x]
        for target in (1, 2, 3):
            total: Tensor | None = None
            for source in range(target):
                operator = self.edges[edge_name(source, target)]
                if not isinstance(operator, Zero):
                    term = operator(nodes[source])
                    total = term if total is None else total + term
            nodes.append(x.new_zeros(()).expand_as(x) if total is None else total)
        return nodes[-1]


class NASBench201Network(nn.Sequential):
    """Stem, three stages of cells, classifier; open until its choices are realised."""

    def __init__(self, bands: int, classes: int, options: NASBench201Options) -> None:
        width = options.channels
        layers: list[nn.Module] = [
            nn.Conv2d(bands, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
        ]
        for stage in range(STAGES):
            if stage:
                layers.append(Reduction(width, 2 * width))
                width *= 2
            layers += [Cell(width) for _ in range(options.cells)]
        super().__init__(
            *layers,
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(width, classes),
        )


@registry.register("nasbench201")
class NASBench201(SearchSpace):
    """The 15,625 cells of NAS-Bench-201: 6 genes, one an edge, of 5 operators each.

    Parameters
    ----------
    options : fields of :class:`NASBench201Options`.
    """

    name = "nasbench201"
    answers = "patch"

    def __init__(self, **options: object) -> None:
        self.settings = read_options(self.name, NASBench201Options, options)
        self.options = asdict(self.settings)
        self.patch = self.settings.patch
        self.genes = tuple(Gene(edge_name(*edge), OPERATORS) for edge in EDGES)

    def arch_str(self, architecture: Architecture) -> str:
        """Return the benchmark's written form, ``|op~0|+|op~0|op~1|+|op~0|op~1|op~2|``."""
        self.validate(architecture)
        return "+".join(
            "|"
            + "".join(
                f"{architecture[edge_name(source, target)]}~{source}|" for source in range(target)
            )
            for target in (1, 2, 3)
        )

    def from_arch_str(self, text: str) -> Architecture:
        """Return the architecture of a written form.

        Raises
        ------
        InvalidArchitecture : the text has another form or names an unknown operator.
        """
        operators = _WRITTEN.fullmatch(text.strip())
        if operators is None:
            raise InvalidArchitecture(
                f"'{text}' is no cell of {self.name}; "
                "it is written |op~0|+|op~0|op~1|+|op~0|op~1|op~2|"
            )
        return self._cell(operators.groups())

    def _cell(self, operators: tuple[str, ...]) -> Architecture:
        names = (gene.name for gene in self.genes)
        return self.architecture(dict(zip(names, operators, strict=True)))

    def canonical(self, architecture: Architecture) -> Architecture:
        """Return the first of the cells whose :func:`expression` is the same; there are 6,466.

        Among copies it is the one with ``none`` where that changes nothing, so with few weights.
        """
        self.validate(architecture)
        return self._cell(_representatives()[expression(architecture.as_dict())])

    def declare(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> NASBench201Network:
        """Return the open network: (batch, bands, rows, columns) to (batch, classes)."""
        return NASBench201Network(inputs.bands, outputs.classes, self.settings)

    def graph(self, architecture: Architecture) -> OpGraph:
        """Return the cell with an operator at each node: input, the six edges, output.

        An edge feeds those that start where it ends.  ``none`` stays a node of its own, so that
        all cells have one and the same wiring.
        """
        self.validate(architecture)
        # Input and output as edges too: into node 0, and out of node 3.
        places = ((-1, 0), *EDGES, (3, 4))
        adjacency = np.array([[a[1] == b[0] for b in places] for a in places])
        operators = (str(architecture[gene.name]) for gene in self.genes)
        return OpGraph(("input", *operators, "output"), adjacency)


_WRITTEN = re.compile(
    r"\+".join(
        r"\|" + "".join(rf"([^~|+]+)~{source}\|" for source in range(target))
        for target in (1, 2, 3)
    )
)


def expression(operators: Mapping[str, Value]) -> str:
    """Return what a cell computes as a text; isomorphic cells have the same.

    The authors' rule, which makes the paper's 6,466 unique cells: ``none`` is zero, written ``#``,
    and so is all that follows a node which is ``#``; ``skip_connect`` passes on the text of its
    source; any other operator is applied to it.  A node's text is the sorted sum of its edges'.

    Cells of one text compute the same.  Not all that compute the same have one text (zeros stay in
    the sums, and a sum that is skipped on is not sorted in again): the cells compute 4,930
    different things.  What is taken for one depends on the order of characters, hence the authors'
    notation.

    Parameters
    ----------
    operators : the operator on each edge, by the edge's name.

    >>> expression({"0-1": "skip_connect", "0-2": "none", "1-2": "nor_conv_3x3",
    ...             "0-3": "none", "1-3": "none", "2-3": "skip_connect"})
    '#+#+#+(0)@nor_conv_3x3'
    """
    texts = ["0"]
    for target in (1, 2, 3):
        terms = []
        for source in range(target):
            operator = operators[edge_name(source, target)]
            if operator == "none" or texts[source] == "#":
                terms.append("#")
            elif operator == "skip_connect":
                terms.append(texts[source])
            else:
                terms.append(f"({texts[source]})@{operator}")
        texts.append("+".join(sorted(terms)))
    return texts[-1]


@cache
def _representatives() -> dict[str, tuple[str, ...]]:
    """The first cell, in the order of the operators' names above, of each expression."""
    first: dict[str, tuple[str, ...]] = {}
    names = [edge_name(*edge) for edge in EDGES]
    for operators in itertools.product(OPERATORS, repeat=len(EDGES)):
        first.setdefault(expression(dict(zip(names, operators, strict=True))), operators)
    return first
