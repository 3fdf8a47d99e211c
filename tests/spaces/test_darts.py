"""The DARTS space against the published network, plain arithmetic and what a cell computes."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError
from swath.networks.cost import count_parameters
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.choices import choices, chosen, realise
from swath.spaces.darts import DARTS, OPERATORS, Cell, DARTSNetwork, canonical_cell, edges

Operators = dict[tuple[int, int], str]


def made(operators: Operators, nodes: int, *, stride: int = 1, channels: int = 3) -> Cell:
    cell = Cell("cell", channels, channels, channels, nodes, stride=stride)
    return realise(cell, chosen({f"cell.{a}-{b}": o for (a, b), o in operators.items()}))


def uniform(space: DARTS, operator: str) -> Architecture:
    return space.architecture({gene.name: operator for gene in space.genes})


def test_the_sizes_are_those_of_one_and_of_two_kinds_of_cells() -> None:
    """SE-NAS states 8**14, which is one kind."""
    assert DARTS(reduction="same").size() == 8**14
    assert DARTS().size() == 8**28
    names = [gene.name for gene in DARTS().genes]
    assert names[:5] == ["normal.0-2", "normal.1-2", "normal.0-3", "normal.1-3", "normal.2-3"]
    assert names[14:] == [name.replace("normal", "reduction") for name in names[:14]]
    assert [g.name for g in DARTS(reduction="same").genes] == [
        name.replace("normal", "cell") for name in names[:14]
    ]


@pytest.mark.parametrize("reduction", ["own", "same"])
def test_a_network_is_three_stages_of_cells_that_decide_alike(reduction: str) -> None:
    """SE-NAS: 3 x 4 normal cells and 2 reduction cells."""
    space = DARTS(reduction=reduction)
    architecture = uniform(space, "skip_connect")
    network = space.declare(architecture, InputSpec(5), OutputSpec(2))
    kinds = [{c.name.split(".")[0] for c in choices(cell)} for cell in network.cells]
    normal, reducing = ({"normal"}, {"reduction"}) if reduction == "own" else ({"cell"}, {"cell"})
    assert kinds == [*[normal] * 4, reducing, *[normal] * 4, reducing, *[normal] * 4]
    assert {c.name: c.options for c in choices(network)} == {g.name: g.choices for g in space.genes}
    built = space.build(architecture, InputSpec(5), OutputSpec(2)).eval()
    shapes: list[tuple[int, ...]] = []
    for cell in built.cells:
        cell.register_forward_hook(lambda _, __, y: shapes.append(tuple(y.shape[1:])))
    built(torch.zeros(1, 5, 9, 9))
    assert shapes == [(64, 9, 9)] * 4 + [(128, 5, 5)] * 5 + [(256, 3, 3)] * 5


# DARTS_V2 of the authors' genotypes: the operator and source of the two edges of each node.
PUBLISHED = {
    "normal": "sep_conv_3x3 0 sep_conv_3x3 1 sep_conv_3x3 0 sep_conv_3x3 1 sep_conv_3x3 1 "
    "skip_connect 0 skip_connect 0 dil_conv_3x3 2",
    "reduction": "max_pool_3x3 0 max_pool_3x3 1 skip_connect 2 max_pool_3x3 1 max_pool_3x3 0 "
    "skip_connect 2 skip_connect 2 max_pool_3x3 1",
}


def test_the_published_network_has_its_published_parameters() -> None:
    """20 cells from 36 channels for CIFAR-10: 3.349342 million, as the authors' code prints."""
    space = DARTS(channels=36, cells=6)
    values = dict.fromkeys((gene.name for gene in space.genes), "none")
    for kind, text in PUBLISHED.items():
        words = text.split()
        for place, (operator, source) in enumerate(zip(words[::2], words[1::2], strict=True)):
            values[f"{kind}.{source}-{2 + place // 2}"] = operator
    with torch.device("meta"):
        network = space.build(space.architecture(values), InputSpec(3), OutputSpec(10))
    assert count_parameters(network) == 3_349_342


def parameters(space: DARTS, architecture: Architecture, bands: int, classes: int) -> int:
    """Weights of a network by arithmetic; a normalisation has two a channel."""
    width, nodes = space.settings.channels, space.settings.nodes

    def operator(name: str, source: int, reducing: bool) -> int:
        if name == "skip_connect" and reducing and source < 2:
            return width * width + 2 * width
        if "conv" not in name:
            return 0
        once = int(name[-1]) ** 2 * width + width * width + 2 * width
        return 2 * once if name.startswith("sep") else once

    stem = 3 * width
    total = 9 * bands * stem + 2 * stem
    layers = ("normal " * space.settings.cells + "reduction ") * 3
    older = newer = stem
    for kind in layers.split()[:-1]:
        reducing = kind == "reduction"
        width *= 2 if reducing else 1
        total += (older + newer + 4) * width
        total += sum(
            operator(str(architecture[f"{kind}.{a}-{b}"]), a, reducing) for a, b in edges(nodes)
        )
        older, newer = newer, nodes * width
    return total + (newer + 1) * classes


def test_networks_have_the_parameters_of_their_cells() -> None:
    space = DARTS(channels=6, cells=2)
    rng = np.random.default_rng(0)
    for architecture in (*(space.sample(rng) for _ in range(8)), uniform(space, "skip_connect")):
        with torch.device("meta"):
            network = space.build(architecture, InputSpec(7), OutputSpec(5))
        assert count_parameters(network) == parameters(space, architecture, 7, 5)


def test_a_cell_of_linear_operators_is_the_sum_over_its_paths() -> None:
    """Skips and means are linear: a node is the sum over all paths from the two inputs to it."""
    rng = np.random.default_rng(0)
    older, newer = torch.randn(2, 2, 3, 5, 6)

    def mean(x: Tensor) -> Tensor:
        inside = nn.functional.avg_pool2d(torch.ones_like(x), 3, 1, 1)
        return nn.functional.avg_pool2d(x, 3, 1, 1) / inside

    for _ in range(20):
        drawn = rng.choice(["none", "skip_connect", "avg_pool_3x3"], len(edges(3)))
        operators = dict(zip(edges(3), map(str, drawn), strict=True))
        cell = made(operators, 3)
        starts = cell.older(older), cell.newer(newer)
        expected = []
        for end in (2, 3, 4):
            total = torch.zeros_like(starts[0])
            for start, count in itertools.product((0, 1), range(end - 1)):
                for between in itertools.combinations(range(2, end), count):
                    names = [operators[e] for e in itertools.pairwise((start, *between, end))]
                    if "none" not in names:
                        term = starts[start]
                        for _ in range(names.count("avg_pool_3x3")):
                            term = mean(term)
                        total = total + term
            expected.append(total)
        assert torch.allclose(cell(older, newer), torch.cat(expected, 1), atol=1e-5)


@pytest.mark.parametrize(("stride", "shape"), [(1, (5, 6)), (2, (3, 3))])
def test_a_node_without_edges_is_zero(stride: int, shape: tuple[int, int]) -> None:
    operators = dict.fromkeys(edges(3), "none") | {(0, 3): "sep_conv_3x3"}
    older, newer = torch.randn(2, 2, 3, 5, 6)
    zero, other, last = made(operators, 3, stride=stride)(older, newer).chunk(3, dim=1)
    assert zero.shape == last.shape == (2, 3, *shape)
    assert not zero.any()
    assert not last.any()
    assert other.any()


def test_a_network_without_edges_answers_its_classifiers_bias() -> None:
    """It is part of the space, as the cell without edges is of NAS-Bench-201's."""
    space = DARTS(channels=2, cells=1)
    network = space.build(uniform(space, "none"), InputSpec(3), OutputSpec(4))
    assert isinstance(network, DARTSNetwork)
    logits = network(torch.randn(2, 3, 7, 7))
    assert torch.equal(logits, network.head[-1].bias.expand(2, 4))


def share_weights(cell: Cell) -> None:
    """Give layers of one shape, on whichever edge, the same weights: the operator decides alone."""
    for edge in cell.edges.values():
        for layer in edge.modules():
            if isinstance(layer, nn.Conv2d | nn.BatchNorm2d):
                wave = torch.sin(torch.arange(layer.weight.numel()) + 1.0)
                layer.weight.data = wave.reshape(layer.weight.shape)
            if isinstance(layer, nn.BatchNorm2d):
                layer.bias.data = torch.cos(layer.weight.data)


def nodes_of(operators: Operators, nodes: int, stride: int) -> tuple[Tensor, ...]:
    """What the nodes of a cell compute, where weights are a function of the operator."""
    torch.manual_seed(0)
    cell = made(operators, nodes, stride=stride)
    share_weights(cell)
    with torch.no_grad():
        return cell(*torch.randn(2, 2, 3, 6, 5)).chunk(nodes, dim=1)


def same(some: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> bool:
    """Whether two cells have the same nodes, in whatever order."""
    return any(
        all(torch.allclose(a, b, atol=1e-4) for a, b in zip(some, order, strict=True))
        for order in itertools.permutations(others)
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_isomorphic_cells_compute_the_same(stride: int) -> None:
    rng = np.random.default_rng(stride)
    names = ("none", "none", "none", *OPERATORS)  # so that some nodes are zero
    places = edges(4)
    shorter = compared = 0
    while compared < 25:
        operators = {edge: str(rng.choice(names)) for edge in places}
        canonical = {e: str(o) for e, o in canonical_cell(operators, 4).items()}
        if canonical == operators:
            continue
        assert same(nodes_of(operators, 4, stride), nodes_of(canonical, 4, stride))
        assert canonical_cell(canonical, 4) == canonical
        shorter += list(canonical.values()).count("none") > list(operators.values()).count("none")
        compared += 1
    assert shorter > 3


def test_a_convolution_of_zero_is_kept() -> None:
    """Its normalisation adds a constant, so the cell is not the one without it."""
    without = dict.fromkeys(edges(2), "skip_connect") | {
        e: "none" for e in ((0, 2), (1, 2), (2, 3))
    }
    for operator in OPERATORS:
        operators = without | {(2, 3): operator}
        equal = same(nodes_of(operators, 2, 1), nodes_of(without, 2, 1))
        assert equal == ("conv" not in operator)
        assert (canonical_cell(operators, 2) == canonical_cell(without, 2)) == equal


def test_as_many_cells_are_left_as_there_are_networks() -> None:
    """Three operators, two nodes.

    Without an edge between them the nodes may change places: 9 * 10 / 2.  Of the 2 * 81 others, a
    skip of a zero node is no edge: 9 fewer.
    """
    names = ("none", "skip_connect", "sep_conv_3x3")
    found = set()
    for operators in itertools.product(names, repeat=5):
        cell = dict(zip(edges(2), operators, strict=True))
        found.add(tuple(canonical_cell(cell, 2).values()))
    assert len(found) == 9 * 10 // 2 + 2 * 81 - 9


def test_the_canonical_architecture_is_that_of_each_cell() -> None:
    space = DARTS(nodes=2)
    rest = ["none", "max_pool_3x3", "none"]
    values = ["sep_conv_5x5", "none", *rest, "dil_conv_5x5", "none", *rest]
    first = ["none", "max_pool_3x3", "sep_conv_5x5", "none", "none"]
    second = ["none", "max_pool_3x3", "dil_conv_5x5", "none", "none"]
    names = [gene.name for gene in space.genes]
    canonical = space.canonical(space.architecture(dict(zip(names, values, strict=True))))
    assert list(canonical.as_dict().values()) == [*first, *second]


def test_the_graph_is_a_normal_cell_and_a_reduction_cell_behind_it() -> None:
    """Each cell has 14 edges, 4 sums and a concatenation; the second reads stem and first."""
    space = DARTS()
    architecture = space.sample(np.random.default_rng(0))
    graph = space.graph(architecture)
    values = [str(value) for _, value in architecture.genes]
    assert [o for o in graph.operators if o in OPERATORS] == values
    assert len(graph.operators) == 2 + 2 * (14 + 4 + 1) + 1
    concats = [i for i, o in enumerate(graph.operators) if o.startswith("concat")]
    assert [graph.operators[i] for i in concats] == ["concat_normal", "concat_reduction"]
    for concat, inputs in zip(concats, ((0, 1), (1, concats[0])), strict=True):
        assert graph.adjacency[:, concat].sum() == 4
        # node by node, the number of edges that read each input
        assert [graph.adjacency[i, concat - 18 : concat].sum() for i in inputs] == [4, 4]
    same_kind = DARTS(reduction="same")
    alone = same_kind.graph(same_kind.sample(np.random.default_rng(0)))
    assert len(alone.operators) == 2 + 19 + 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"chanels": 3}, "no option 'chanels' .did you mean 'channels'"),
        ({"channels": 1}, "channels must be a whole number of at least 2, not 1"),
        ({"nodes": 0}, "nodes must be a whole number of at least 1, not 0"),
        ({"patch": 4}, "patch must be odd, not 4"),
        (
            {"reduction": "sme"},
            "reduction cannot be 'sme' .did you mean 'same'.*it is one of: own, same",
        ),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        DARTS(**options)
