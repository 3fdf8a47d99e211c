"""The 3D-ANAS space against its published description."""

from __future__ import annotations

import collections
import itertools

import numpy as np
import pytest
import torch
from torch import nn

from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture, RecipeError
from swath.networks.operators3d import VARIANTS
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.hsi3d import HSI3D, HSI3DNetwork, layer_widths


def operator_parameters(name: str, channels: int, decomposed: bool) -> int:
    """Weights of an operator, from the published list of its layers."""
    if name in ("skip_connect", "none"):
        return 0
    kind, _, extents = name.partition("_")
    spatial, spectral = (int(extent) for extent in extents.split("-"))
    taps = spatial**2 + spectral if decomposed else spatial**2 * spectral
    normalisation = 2 * channels
    if kind == "con":
        return channels**2 * taps + normalisation
    return 2 * (channels * taps + channels**2 + normalisation)


def network_parameters(space: HSI3D, architecture: Architecture, classes: int) -> int:
    """Weights of the final network, counted part by part as published; no code shared."""
    o = space.settings
    values = architecture.as_dict()
    stem, head, side = o.stem_width, o.head_width, o.head_width * 3 // 8
    total = 5 * 9 * stem + 2 * stem  # first stem convolution and its normalisation
    total += 5 * 9 * stem * stem + 2 * stem
    before = [stem, stem]
    for layer in range(o.layers):
        c = round(o.base_width * o.width_factors[int(values[f"cell{layer}.width"])])
        total += before[-2] * c + 2 * c + c * c * (5 if layer == 0 else 3)  # older input
        total += before[-1] * c + 2 * c
        for node, place in itertools.product(range(o.nodes), (0, 1)):
            name = str(values[f"cell{layer}.node{node}.op{place}"])
            total += operator_parameters(name, c, VARIANTS[o.variant][0])
        out = o.nodes * c
        total += out * out * 3 + 2 * out
        before.append(out)
    reduced = 3 * o.base_width
    total += 3 * stem * reduced + 3 * reduced * reduced * (o.layers - 1) + reduced * side
    last = before[-1]
    for _ in (2, 4, 6):
        total += last * 27 + 2 * last + last * head + 2 * head
    total += last * head + 2 * head + 4 * head * head
    total += 9 * (head + side) * head + 2 * head + 9 * head * head + 2 * head
    return total + head * classes + classes


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("layers", [1, 2, 3])
def test_a_child_holds_only_its_chosen_operators(variant: str, layers: int) -> None:
    space = HSI3D(variant=variant, layers=layers, base_width=4, stem_width=6, head_width=8)
    rng = np.random.default_rng(layers)
    for _ in range(4):
        architecture = space.sample(rng)
        network = space.build(architecture, InputSpec(30), OutputSpec(5))
        counted = sum(p.numel() for p in network.parameters())
        assert counted == network_parameters(space, architecture, 5)


def test_the_selection_keeps_two_edges_a_node() -> None:
    space = HSI3D()
    rng = np.random.default_rng(0)
    for _ in range(20):
        architecture = space.sample(rng)
        values, selection = architecture.as_dict(), space.selection(architecture)
        assert len(selection) == 2 * (2 + 3 + 4)
        for layer, node in itertools.product(range(2), range(3)):
            kept = [int(s) for s in str(values[f"cell{layer}.node{node}.inputs"]).split(",")]
            assert kept == sorted(set(kept))
            for source in range(2 + node):
                operator = selection[f"cell{layer}.node{node}.input{source}"]
                if source in kept:
                    gene = f"cell{layer}.node{node}.op{kept.index(source)}"
                    assert operator == values[gene] != "none"
                else:
                    assert operator == "none"


def test_widths_move_by_one_step_at_most() -> None:
    for layers in (1, 2, 3, 4):
        space = HSI3D(layers=layers, nodes=1)
        genes = [g for g in space.genes if g.name.endswith("width")]
        assert [list(g.choices) for g in genes] == [[0, 1], [0, 1, 2], [0, 1, 2], [0, 1, 2]][
            :layers
        ]
        valid = 0
        for widths in itertools.product(*(g.choices for g in genes)):
            path = (0, *(int(w) for w in widths))
            named = dict(zip((g.name for g in genes), widths, strict=True))
            allowed = all(abs(b - a) <= 1 for a, b in itertools.pairwise(path))
            assert (space.problem(named) is None) == allowed
            valid += allowed
        assert space.size() == 49**layers * valid


def test_an_impossible_width_is_named() -> None:
    space = HSI3D()
    architecture = space.sample(np.random.default_rng(0)).replace(
        **{"cell0.width": 0, "cell1.width": 2}
    )
    with pytest.raises(InvalidArchitecture, match=r"'cell1\.width' cannot be 2 after width 0"):
        space.validate(architecture)


def test_the_graph_holds_the_chosen_operators() -> None:
    space = HSI3D(layers=3)
    for seed in range(5):
        architecture = space.sample(np.random.default_rng(seed))
        graph = space.graph(architecture)
        genes = collections.Counter(str(v) for n, v in architecture.genes if ".op" in n)
        counted = collections.Counter(graph.operators)
        assert {name: counted[name] for name in genes} == genes
        assert counted["add"] == 3 * 3
        assert sum(n for name, n in counted.items() if name.startswith("concat")) == 3
        # every operator reads one state, every sum two operators, the decoder stem and last cell
        into = graph.adjacency.sum(axis=0)
        for name, inputs in zip(graph.operators, into, strict=True):
            if name in genes:
                assert inputs == 1
            elif name == "add":
                assert inputs == 2
            elif name.startswith("concat"):
                assert inputs == 3
        assert graph.operators[-1] == "decoder"
        assert into[-1] == 2


def lengths(network: nn.Module, bands: int) -> list[int]:
    """Spectral lengths that really leave the stem's convolutions and the cells."""
    assert isinstance(network, HSI3DNetwork)
    seen: list[int] = []
    for module in (network.stem.first, network.stem.second, *network.cells):
        module.register_forward_hook(lambda m, i, out: seen.append(out.shape[2]))
    network.eval()
    with torch.no_grad():
        network(torch.randn(1, bands, 3, 2))
    return seen


@pytest.mark.parametrize("bands", [1, 2, 6, 24, 48, 350])
@pytest.mark.parametrize("length", [1, 8, 24])
def test_a_projection_leaves_the_length_asked_for(bands: int, length: int) -> None:
    space = HSI3D(base_width=2, stem_width=2, head_width=3, stem_length=length)
    architecture = space.sample(np.random.default_rng(0))
    network = space.build(architecture, InputSpec(bands), OutputSpec(2))
    assert lengths(network, bands)[0] == length


def test_older_inputs_have_the_length_of_newer_ones() -> None:
    # four layers on few bands: the additions in a cell need equal lengths everywhere
    for stem_length in (None, 6):
        space = HSI3D(layers=4, base_width=2, stem_width=2, head_width=3, stem_length=stem_length)
        for bands in (1, 3, 7, 16, 31, 64):
            architecture = space.sample(np.random.default_rng(bands))
            network = space.build(architecture, InputSpec(bands), OutputSpec(2)).eval()
            with torch.no_grad():
                assert network(torch.randn(1, bands, 2, 2)).shape == (1, 2, 2, 2)


def test_normalisation_is_affine_in_the_final_cells_alone() -> None:
    from swath.supernets.hsi3d import HSI3DMixture

    space = HSI3D(base_width=2, stem_width=2, head_width=3)
    architecture = space.sample(np.random.default_rng(1))
    network = space.build(architecture, InputSpec(20), OutputSpec(2))
    assert isinstance(network, HSI3DNetwork)
    norms = [m for c in network.cells for m in c.edges.modules() if isinstance(m, nn.BatchNorm3d)]
    assert norms
    assert all(m.affine for m in norms)
    supernet = HSI3DMixture(space, InputSpec(20), OutputSpec(2), width=2)
    for part in (supernet.stem, *(cell.edges for cell in supernet.cells.values())):
        assert not any(m.affine for m in part.modules() if isinstance(m, nn.BatchNorm3d))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "asym"}, "no variant 'asym'.*did you mean 'asym-"),
        ({"variant": ["asym-d"]}, "no variant"),
        ({"layer": 3}, "no option 'layer'.*did you mean 'layers'"),
        ({"layers": 0}, "layers must be a whole number of at least 1, not 0"),
        ({"base_width": "wide"}, "base_width must be a whole number of at least 1, not 'wide'"),
        ({"base_width": 2.5}, "base_width must be a whole number"),
        ({"stem_length": 0}, "stem_length must be a whole number of at least 1, not 0"),
        ({"head_width": 2}, "head_width must be a whole number of at least 3"),
        ({"width_factors": []}, "width_factors must be a list of numbers"),
        ({"width_factors": 2}, "width_factors must be a list of numbers"),
        ({"width_factors": [1, "2"]}, "width_factors must be a list of numbers"),
        ({"width_factors": [0.01]}, "width_factors must be a list of numbers"),
        ({"width_factors": [1, float("inf")]}, "width_factors must be a list of numbers"),
    ],
)
def test_unusable_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        HSI3D(**options)


def test_layer_widths_follow_the_number_of_factors() -> None:
    space = HSI3D(width_factors=[1], layers=2)
    assert [list(layer_widths(space.settings, layer)) for layer in range(2)] == [[0], [0]]
    four = HSI3D(width_factors=[1, 1.5, 2, 2.5], layers=4)
    assert [len(layer_widths(four.settings, layer)) for layer in range(4)] == [2, 3, 4, 4]
