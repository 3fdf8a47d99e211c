"""The hyperspectral cell space of 3D-ANAS: cells of 3-D operators, and a width for each layer.

Source: Zhang et al., "3D-ANAS: 3D Asymmetric Neural Architecture Search for Fast
Hyperspectral Image Classification", with the authors' code where the paper is silent (the final
convolution of a cell, the decoder's pyramid and skip branch, separable operators applied twice).

A network is a stem of two spectral reductions, L cells and a decoder.  Each cell has N nodes; each
node adds two operators on two of the cell's inputs and earlier nodes.  Each layer has a width, and
widths of neighbouring layers differ by at most one step.  Cells halve the spectral axis and keep
the spatial one, so the network labels every pixel of its window.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor, nn

from swath.core.architecture import Architecture, Gene, Value
from swath.core.errors import RecipeError, nearest
from swath.networks.conv3d import Conv3d
from swath.networks.layers3d import AtrousPyramid, SpectralProjection, SpectralReduction, pointwise
from swath.networks.layout import channels_last
from swath.networks.members import Members
from swath.networks.operators3d import SLOPE, VARIANTS, operator_factories
from swath.spaces import registry
from swath.spaces.base import InputSpec, OpGraph, OutputSpec, SearchSpace
from swath.spaces.choices import Choice, Skip, Zero

__all__ = ["HSI3D", "Cell", "HSI3DNetwork", "HSI3DOptions", "Stem", "edge_name", "layer_widths"]


@dataclass(frozen=True)
class HSI3DOptions:
    """What is fixed about the space.  Defaults are the published values.

    Parameters
    ----------
    variant : operator set, Table IX: asym-d (3D asymmetric decomposed), asym-ud, sym-d, sym-ud.
    layers, nodes : L cells of N nodes.
    width_factors : channels of a cell are ``base_width`` times the factor of its layer's width.
    base_width : W of the final network (16 published; 8 in the supernet).
    stem_width : channels of the two stem convolutions of the final network.
    stem_length : None for the published stem (kernel 5, stride 2 along the bands); with a number
        the first convolution is a learned projection of all bands to that many spectral
        positions, after which 200 bands cost as much as 48.
    head_width : channels of the decoder.
    members : so many networks of the architecture are trained and answer together.
    """

    variant: str = "asym-d"
    layers: int = 2
    nodes: int = 3
    width_factors: tuple[float, ...] = (1.0, 1.5, 2.0)
    base_width: int = 16
    stem_width: int = 32
    stem_length: int | None = None
    head_width: int = 64
    members: int = 1

    def __post_init__(self) -> None:
        if self.variant not in tuple(VARIANTS):
            raise RecipeError(
                f"hsi3d has no variant '{self.variant}'{nearest(str(self.variant), VARIANTS)}; "
                f"it has: {', '.join(VARIANTS)}"
            )
        least = {"layers": 1, "nodes": 1, "base_width": 1, "stem_width": 1, "head_width": 3}
        least["members"] = 1
        if self.stem_length is not None:
            least["stem_length"] = 1
        for name, minimum in least.items():
            value = getattr(self, name)
            if not isinstance(value, int) or value < minimum:
                raise RecipeError(
                    f"hsi3d: {name} must be a whole number of at least {minimum}, not {value!r}"
                )
        factors = self.width_factors
        if (
            not isinstance(factors, tuple)
            or not factors
            or not all(
                isinstance(f, int | float) and 1 <= self.base_width * f < math.inf for f in factors
            )
        ):
            raise RecipeError(
                f"hsi3d: width_factors must be a list of numbers, each at least 1 / base_width, "
                f"not {factors!r}"
            )

    @property
    def operators(self) -> tuple[str, ...]:
        """Names of all operators of an edge, ``skip_connect`` and ``none`` last."""
        return (*operator_factories(self.variant, 1, affine=True), "skip_connect", "none")

    def channels(self, width: int, base: int | None = None) -> int:
        """Channels inside a cell of this width, at least one."""
        return max(1, round((base or self.base_width) * self.width_factors[width]))


def layer_widths(options: HSI3DOptions, layer: int) -> range:
    """Widths that layer ``layer`` (from 0) can have: one more a layer, until all."""
    return range(min(layer + 2, len(options.width_factors)))


def edge_name(layer: int, node: int, source: int) -> str:
    """Name of the choice on the edge from input ``source`` to ``node``."""
    return f"cell{layer}.node{node}.input{source}"


class Stem(nn.Module):
    """Two spectral reductions; gives both outputs, as the first cell's two inputs.

    Parameters
    ----------
    first, second : channels of the two reductions.
    options : of the space.  Without ``stem_length`` the stem is the published one; else the first
        reduction is a projection to so many positions.
    """

    def __init__(
        self, bands: int, first: int, second: int, options: HSI3DOptions, *, affine: bool
    ) -> None:
        super().__init__()
        self.first: SpectralReduction | SpectralProjection
        self.activation: nn.Module
        if options.stem_length is None:
            self.first = SpectralReduction(1, first, bands, kernel=5, spatial=3, affine=affine)
            # The authors apply the activation twice between the convolutions (slope 0.04 in all).
            self.activation = nn.LeakyReLU(SLOPE)
        else:
            self.first = SpectralProjection(bands, first, options.stem_length, affine=affine)
            self.activation = nn.Identity()
        self.second = SpectralReduction(
            first, second, self.first.length, kernel=5, spatial=3, affine=affine
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the outputs of the first and the second reduction."""
        first = self.activation(self.first(x))
        return first, self.second(first)


class Cell(nn.Module):
    """A directed acyclic graph of N nodes over two inputs; halves the spectral axis.

    Declared once: every edge is a :class:`Choice` over all operators.  A child keeps two edges a
    node, the others are ``none`` and cost nothing; a supernet keeps all.
    Inputs are numbered 0 (previous-previous), 1 (previous), 2... (earlier nodes).
    """

    def __init__(
        self, layer: int, channels: int, length: int, options: HSI3DOptions, *, affine: bool
    ) -> None:
        super().__init__()
        self.nodes = options.nodes
        self.edges = nn.ModuleDict()
        for node in range(options.nodes):
            for source in range(2 + node):
                self.edges[f"{node}-{source}"] = Choice(
                    edge_name(layer, node, source),
                    {
                        **operator_factories(options.variant, channels, affine=affine),
                        "skip_connect": Skip,
                        "none": Zero,
                    },
                )
        width = channels * options.nodes
        self.end = SpectralReduction(width, width, length)
        self.length = self.end.length

    def forward(self, previous_previous: Tensor, previous: Tensor) -> Tensor:
        """Return (batch, nodes * channels, shortened bands, rows, columns)."""
        states = [previous_previous, previous]
        for node in range(self.nodes):
            terms = [
                edge(states[source])
                for source in range(2 + node)
                if not isinstance(edge := self.edges[f"{node}-{source}"], Zero)
            ]
            states.append(sum(terms[1:], start=terms[0]))
        return self.end(torch.cat(states[2:], dim=1))


class _CellInput(nn.Sequential):
    """Brings a state to a cell's channels and, for the older input, to the newer one's length."""

    def __init__(
        self, inputs: int, channels: int, length: int, reductions: Sequence[int] = ()
    ) -> None:
        layers: list[nn.Module] = [pointwise(inputs, channels, first=True)]
        for kernel in reductions:
            layers.append(
                SpectralReduction(
                    channels, channels, length, kernel=kernel, affine=False, activate=False
                )
            )
        super().__init__(*layers)


class _Decoder(nn.Module):
    """The final network's head: pyramid on the last cell, a reduced copy of the stem beside it."""

    def __init__(
        self, inputs: int, stem: int, length: int, classes: int, options: HSI3DOptions
    ) -> None:
        super().__init__()
        reduced, side = 3 * options.base_width, options.head_width * 3 // 8
        self.endpoint = nn.Sequential()
        channels = stem
        for _ in range(options.layers):
            reduction = SpectralReduction(channels, reduced, length, affine=False)
            self.endpoint.append(reduction)
            channels, length = reduced, reduction.length
        self.side = Conv3d(channels, side, 1, bias=False)
        self.activation = nn.LeakyReLU(SLOPE)
        self.pyramid = AtrousPyramid(inputs, options.head_width, rates=(2, 4, 6))
        width = options.head_width
        self.classify = nn.Sequential(
            nn.Conv2d(width + side, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, stem: Tensor, last: Tensor) -> Tensor:
        """Return logits (batch, classes, rows, columns)."""
        both = torch.cat(
            [self.side(self.endpoint(stem)), self.pyramid(self.activation(last))], dim=1
        )
        return self.classify(both.mean(dim=2))


class HSI3DNetwork(nn.Module):
    """Stem, cells of the given widths, decoder.  Cells are declared; realise before use.

    Parameters
    ----------
    bands, classes : of the scene.  Any number of bands.
    widths : width index of each layer.
    """

    def __init__(
        self, bands: int, classes: int, widths: Sequence[int], options: HSI3DOptions
    ) -> None:
        super().__init__()
        stem = options.stem_width
        self.stem = Stem(bands, stem, stem, options, affine=True)
        lengths = [self.stem.first.length, self.stem.second.length]
        outputs = [stem, stem]
        self.older, self.newer = nn.ModuleList(), nn.ModuleList()
        self.cells = nn.ModuleList()
        for layer, width in enumerate(widths):
            channels = options.channels(width)
            reduction = 5 if layer == 0 else 3
            self.older.append(_CellInput(outputs[-2], channels, lengths[-2], [reduction]))
            self.newer.append(_CellInput(outputs[-1], channels, lengths[-1]))
            cell = Cell(layer, channels, lengths[-1], options, affine=True)
            self.cells.append(cell)
            lengths.append(cell.length)
            outputs.append(channels * options.nodes)
        self.decoder = _Decoder(outputs[-1], stem, self.stem.second.length, classes, options)

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, bands, rows, columns) to logits (batch, classes, rows, columns)."""
        x = x.unsqueeze(1).contiguous(memory_format=torch.channels_last_3d)
        older, newer = self.stem(x)
        stem = newer
        for adapt_older, adapt_newer, cell in zip(self.older, self.newer, self.cells, strict=True):
            older, newer = newer, cell(adapt_older(older), adapt_newer(newer))
        return self.decoder(stem, newer)


@registry.register("hsi3d")
class HSI3D(SearchSpace):
    """3D-ANAS's search space.

    Genes, for each layer l and node i: the pair of inputs of the node, the two operators on them,
    and the layer's width.  With L = 2, N = 3 and three widths it has 2.242e13 architectures.

    Parameters
    ----------
    options : fields of :class:`HSI3DOptions`.
    """

    name = "hsi3d"

    def __init__(self, **options: object) -> None:
        unknown = options.keys() - HSI3DOptions.__dataclass_fields__.keys()
        if unknown:
            key = sorted(unknown)[0]
            raise RecipeError(
                f"space hsi3d has no option '{key}'"
                f"{nearest(key, HSI3DOptions.__dataclass_fields__)}"
            )
        if isinstance(factors := options.get("width_factors"), list):
            options["width_factors"] = tuple(factors)
        self.settings = HSI3DOptions(**options)  # type: ignore[arg-type]
        self.options = asdict(self.settings)
        self.genes = tuple(self._genes())
        self.structure = tuple(gene.name for gene in self.genes if gene.name.endswith(".width"))

    @property
    def operators(self) -> tuple[str, ...]:
        """Names of the operators of an edge."""
        return self.settings.operators

    def _genes(self) -> list[Gene]:
        operators = tuple(o for o in self.settings.operators if o != "none")
        genes = []
        for layer in range(self.settings.layers):
            for node in range(self.settings.nodes):
                pairs = tuple(f"{a},{b}" for a, b in itertools.combinations(range(2 + node), 2))
                genes.append(Gene(f"cell{layer}.node{node}.inputs", pairs))
                genes.append(Gene(f"cell{layer}.node{node}.op0", operators))
                genes.append(Gene(f"cell{layer}.node{node}.op1", operators))
            genes.append(Gene(f"cell{layer}.width", tuple(layer_widths(self.settings, layer))))
        return genes

    def problem(self, values: Mapping[str, Value]) -> str | None:
        """Widths of neighbouring layers differ by at most one; the stem has width 0."""
        before = 0
        for layer, width in enumerate(self._widths(values)):
            if abs(width - before) > 1:
                return (
                    f"gene 'cell{layer}.width' cannot be {width} after width {before}: "
                    "neighbouring layers differ by at most one"
                )
            before = width
        return None

    def _widths(self, values: Mapping[str, Value]) -> list[int]:
        return [int(values[f"cell{layer}.width"]) for layer in range(self.settings.layers)]

    def size(self) -> int:
        """Return the number of discrete networks: cells times width paths."""
        free = math.prod(len(g.choices) for g in self.genes if not g.name.endswith("width"))
        paths = {0: 1}
        for layer in range(self.settings.layers):
            paths = {
                width: sum(count for before, count in paths.items() if abs(width - before) <= 1)
                for width in layer_widths(self.settings, layer)
            }
        return free * sum(paths.values())

    def selection(self, architecture: Architecture) -> dict[str, str]:
        """Return the operator on every edge of every cell (``none`` where there is no edge)."""
        values = architecture.as_dict()
        selection = {}
        for layer, node in itertools.product(
            range(self.settings.layers), range(self.settings.nodes)
        ):
            gene = f"cell{layer}.node{node}"
            kept = str(values[f"{gene}.inputs"]).split(",")
            for source in range(2 + node):
                place = kept.index(str(source)) if str(source) in kept else None
                operator = "none" if place is None else str(values[f"{gene}.op{place}"])
                selection[edge_name(layer, node, source)] = operator
        return selection

    def deciding(self, choice: str) -> tuple[str, ...]:
        """Return the genes of the edge's node: which inputs it has, and its two operators."""
        node = choice.rpartition(".")[0]
        return tuple(gene.name for gene in self.genes if gene.name.startswith(f"{node}."))

    def declare(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> HSI3DNetwork:
        """Return the open final network: (batch, bands, rows, columns) to (batch, classes, ...)."""
        widths = self._widths(architecture.as_dict())
        return HSI3DNetwork(inputs.bands, outputs.classes, widths, self.settings)

    def build_dense(
        self, architecture: Architecture, inputs: InputSpec, outputs: OutputSpec
    ) -> nn.Module:
        """Return the network that is trained and maps scenes: as many members as asked for."""
        members = [
            super(HSI3D, self).build_dense(architecture, inputs, outputs)
            for _ in range(self.settings.members)
        ]
        return members[0] if len(members) == 1 else Members(members, outputs.classes)

    def finish(self, network: nn.Module) -> nn.Module:
        """Initialise and lay out the layers."""
        _initialise(network)
        return channels_last(network)

    def graph(self, architecture: Architecture) -> OpGraph:
        """Return the chain of cells: inputs, operators, additions and concatenations."""
        self.validate(architecture)
        values = architecture.as_dict()
        operators: list[str] = ["stem", "stem"]
        edges: list[tuple[int, int]] = [(0, 1)]

        def add(operator: str, *sources: int) -> int:
            operators.append(operator)
            edges.extend((source, len(operators) - 1) for source in sources)
            return len(operators) - 1

        older, newer = 0, 1
        for layer in range(self.settings.layers):
            states = [older, newer]
            for node in range(self.settings.nodes):
                gene = f"cell{layer}.node{node}"
                sources = [int(s) for s in str(values[f"{gene}.inputs"]).split(",")]
                terms = [
                    add(str(values[f"{gene}.op{place}"]), states[source])
                    for place, source in enumerate(sources)
                ]
                states.append(add("add", *terms))
            older, newer = newer, add(f"concat_width{values[f'cell{layer}.width']}", *states[2:])
        add("decoder", 1, newer)
        adjacency = np.zeros((len(operators), len(operators)), bool)
        adjacency[tuple(np.array(edges).T)] = True
        return OpGraph(tuple(operators), adjacency)


def _initialise(network: nn.Module) -> None:
    """He initialisation of every convolution; normalisation starts at one and zero."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            nn.init.kaiming_normal_(module.weight, a=SLOPE, mode="fan_in")
            if module.bias is not None:
                nn.init.zeros_(module.bias)
