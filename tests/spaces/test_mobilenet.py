"""The MobileNet space against published networks, plain arithmetic and what its blocks compute."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import nn

from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture, RecipeError
from swath.networks.cost import count_flops, count_parameters
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.mobilenet import MobileNet, MobileNetNetwork
from swath.study.recipes import load_recipe

FIRST = (0, 4, 8, 12, 16, 20)  # layers that cannot be left out, as in the code of ABS
SMALL = {
    "stem_width": 4,
    "first_width": 2,
    "widths": [4, 6],
    "layers": [3, 4],
    "strides": [2, 1],
    "head_width": 5,
}


@pytest.fixture(scope="module")
def space() -> MobileNet:
    return MobileNet()


def chain(space: MobileNet, *operators: str) -> Architecture:
    return space.architecture(dict(zip((g.name for g in space.genes), operators, strict=True)))


def shadow(space: MobileNet, architecture: Architecture, classes: int) -> MobileNetNetwork:
    with torch.device("meta"):
        network = space.build(architecture, InputSpec(3), OutputSpec(classes))
    assert isinstance(network, MobileNetNetwork)
    return network


def test_the_size_is_that_of_the_rule_and_not_of_the_sentence(space: MobileNet) -> None:
    """SE-NAS states 7**21 = 5.59e17, and that no stage begins with an identity: 2.2e17."""
    assert [i for i, gene in enumerate(space.genes) if "identity" not in gene.choices] == [*FIRST]
    assert [len(gene.choices) for gene in space.genes].count(7) == 15
    assert space.size() == 221_502_229_807_900_608
    assert f"{7**21:.3g}" == "5.59e+17"
    assert MobileNet(variant="grouped").size() == 9**6 * 10**15
    with pytest.raises(InvalidArchitecture, match="gene 'layer4' cannot be 'identity'"):
        chain(space, *["mbconv3x3-e3"] * 4, "identity", *["mbconv3x3-e3"] * 16)


def proxyless_gpu(space: MobileNet) -> Architecture:
    """ProxylessNAS for the GPU as published: kernel and expansion of the blocks of each stage."""
    stages = ("53", "73 33", "76 53", "56 33 53", "76 76 76 56", "76")
    operators: list[str] = []
    for blocks, length in zip(stages, (4, 4, 4, 4, 4, 1), strict=True):
        names = [f"mbconv{k}x{k}-e{e}" for k, e in blocks.split()]
        operators += names + ["identity"] * (length - len(names))
    return chain(space, *operators)


def test_proxylessnas_for_the_gpu_is_in_the_space(space: MobileNet) -> None:
    """Parameters as pytorchcv states them; SE-NAS's comparison on ImageNet has 465 M operations."""
    network = shadow(space, proxyless_gpu(space), 1000)
    assert count_parameters(network) == 7_119_848
    assert round(count_flops(network, 3, 224) / 2e6) == 465


def parameters(space: MobileNet, architecture: Architecture, bands: int, classes: int) -> int:
    """Weights of a chain by arithmetic; a normalisation has two a channel."""
    options = space.settings
    total = 9 * bands * options.stem_width + 2 * options.stem_width
    total += (9 + 2 + options.first_width) * options.stem_width + 2 * options.first_width
    outputs = np.repeat(options.widths, options.layers)
    inputs = [options.first_width, *outputs[:-1]]
    for (_, name), before, after in zip(architecture.genes, inputs, outputs, strict=True):
        if name != "identity":
            block, expansion, *groups = str(name).split("-")
            hidden, kernel = before * int(expansion[1:]), int(block[-1])
            pointwise = (before * hidden + hidden * after) // (2 if groups else 1)
            total += pointwise + kernel**2 * hidden + 2 * (hidden + hidden + after)
    total += (outputs[-1] + 2) * options.head_width
    return int(total + (options.head_width + 1) * classes)


@pytest.mark.parametrize("variant", ["published", "grouped"])
def test_networks_have_the_parameters_of_their_layers(variant: str) -> None:
    space = MobileNet(variant=variant)
    rng = np.random.default_rng(0)
    for _ in range(6):
        architecture = space.sample(rng)
        counted = count_parameters(shadow(space, architecture, 7))
        assert counted == parameters(space, architecture, 3, 7)


def test_isomorphic_networks_answer_the_same() -> None:
    """The same weights in the same order, wherever the identities stand."""
    small = MobileNet(**SMALL)
    rng = np.random.default_rng(1)
    x = torch.randn(2, 4, 9, 7)
    compared = 0
    while compared < 10:
        architecture = small.sample(rng)
        canonical = small.canonical(architecture)
        if canonical == architecture:
            continue
        first = small.build(architecture, InputSpec(4), OutputSpec(3)).eval()
        second = small.build(canonical, InputSpec(4), OutputSpec(3)).eval()
        weights = first.state_dict().values()
        second.load_state_dict(dict(zip(second.state_dict(), weights, strict=True)))
        with torch.no_grad():
            assert torch.equal(first(x), second(x))
        compared += 1


def test_a_stage_has_as_many_chains_as_blocks_in_a_row() -> None:
    """Behind the first layer of three: none, one or two blocks, 1 + 6 + 36 and not 49."""
    tiny = MobileNet(widths=[4], layers=[3], strides=[1])
    chains = [
        chain(tiny, *values) for values in itertools.product(*(g.choices for g in tiny.genes))
    ]
    assert len(chains) == 6 * 49
    assert len({tiny.canonical(a) for a in chains}) == 6 * 43


def sizes(space: MobileNet, patch: int) -> list[int]:
    """Rows that each layer leaves of a patch."""
    architecture = chain(space, *(gene.choices[-1] for gene in space.genes))
    network = space.build(architecture, InputSpec(2), OutputSpec(2)).eval()
    found: list[int] = []
    for layer in network.children():
        layer.register_forward_hook(lambda _, __, y: found.append(y.shape[-1]))
    network(torch.zeros(1, 2, patch, patch))
    return found[: 3 + 1 + len(space.genes)]


def test_strides_reduce_images_and_leave_patches_a_pixel() -> None:
    narrow = {"stem_width": 2, "first_width": 2, "widths": [2] * 6, "head_width": 2}
    published = MobileNet(**narrow)
    expected = [[112] * 4, [56] * 4, [28] * 4, [14] * 4, [14] * 4, [7] * 5]
    assert sizes(published, 224) == list(itertools.chain(*expected))
    assert sizes(published, 9) == [5] * 4 + [3] * 4 + [2] * 4 + [1] * 13
    quick = MobileNet(**load_recipe("mobilenet-quick")["space"]["options"])
    assert (sizes(quick, 9)[0], sizes(quick, 9)[-1]) == (9, 3)


def test_activations_are_cut_off_at_six(space: MobileNet) -> None:
    network = shadow(space, chain(space, *["mbconv3x3-e3"] * 21), 2)
    kinds = {type(layer) for layer in network.modules()}
    assert nn.ReLU6 in kinds
    assert nn.ReLU not in kinds


def test_the_graph_tells_the_blocks_of_stages_apart() -> None:
    small = MobileNet(**SMALL)
    graph = small.graph(
        chain(small, "mbconv3x3-e3", "identity", "mbconv7x7-e6", *["mbconv5x5-e3"] * 4)
    )
    assert graph.operators == (
        "stem",
        "mbconv3x3-e3_4_s2",
        "identity_4_s1",
        "mbconv7x7-e6_4_s1",
        "mbconv5x5-e3_6_s1",
        *["mbconv5x5-e3_6_s1"] * 3,
        "head",
    )
    assert np.argwhere(graph.adjacency).tolist() == [[i, i + 1] for i in range(8)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 3}, "no option 'width' .did you mean 'widths'"),
        ({"stem_stride": 0}, "stem_stride must be a whole number of at least 1, not 0"),
        ({"patch": 8}, "patch must be odd, not 8"),
        ({"widths": 8}, "widths must be a list of whole numbers, not 8"),
        ({"widths": []}, "widths must be a list of whole numbers, not ()"),
        ({"layers": [4, 4, 4, 4, 4, 0]}, "layers must be at least 1 each, not 0"),
        ({"widths": [8, 16]}, "layers has 6 numbers and widths has 2; give one a stage"),
        ({"variant": "grouped "}, "did you mean 'grouped'.*one of: published, grouped"),
        ({"variant": "grouped", "first_width": 3}, "a width of 3 is impossible; give even ones"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        MobileNet(**options)
