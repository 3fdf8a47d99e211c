"""The cell's operators against their published description (3D-ANAS, Table I and Table IX)."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from swath.networks.operators3d import VARIANTS, convolution, operator_factories, separable
from swath.spaces import create

EXTENTS = {
    "asym-d": ["3-3", "5-3", "3-5"],
    "asym-ud": ["3-3", "5-3", "3-5"],
    "sym-d": ["3-3", "5-5", "7-7"],
    "sym-ud": ["3-3", "5-5", "7-7"],
}
EVERY = [
    (variant, f"{kind}_{extent}")
    for variant, extents in EXTENTS.items()
    for kind in ("con", "sep")
    for extent in extents
]


def extent(name: str) -> tuple[int, int]:
    """Spatial and spectral extent in a name."""
    spatial, spectral = name.partition("_")[2].split("-")
    return int(spatial), int(spectral)


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_variant_has_eight_operators(variant: str) -> None:
    expected = [f"{kind}_{e}" for kind in ("con", "sep") for e in EXTENTS[variant]]
    assert list(operator_factories(variant, 2, affine=True)) == expected
    assert list(create("hsi3d", variant=variant).operators) == [*expected, "skip_connect", "none"]


def test_the_four_variants_are_all() -> None:
    assert VARIANTS.keys() == EXTENTS.keys()


@pytest.mark.parametrize(("variant", "name"), EVERY)
def test_layers_are_those_of_the_paper(variant: str, name: str) -> None:
    """Activation, convolutions, normalisation; no bias; slope 0.2, not in place."""
    channels = 4
    operator = operator_factories(variant, channels, affine=False)[name]()
    a, b = extent(name)
    kernels = [(1, a, a), (b, 1, 1)] if variant.endswith("-d") else [(b, a, a)]
    expected: list[tuple[object, ...]] = []
    for _ in range(2 if name.startswith("sep") else 1):
        groups = channels if name.startswith("sep") else 1
        expected.append(("activation", 0.2, False))
        expected += [("convolution", kernel, groups, None) for kernel in kernels]
        if name.startswith("sep"):
            expected.append(("convolution", (1, 1, 1), 1, None))
        expected.append(("normalisation", channels, False))
    found: list[tuple[object, ...]] = []
    for layer in operator:
        if isinstance(layer, nn.LeakyReLU):
            found.append(("activation", layer.negative_slope, layer.inplace))
        elif isinstance(layer, nn.Conv3d):
            assert layer.stride == (1, 1, 1)
            found.append(("convolution", layer.kernel_size, layer.groups, layer.bias))
        else:
            assert isinstance(layer, nn.BatchNorm3d)
            found.append(("normalisation", layer.num_features, layer.affine))
    assert found == expected


@pytest.mark.parametrize(("variant", "name"), EVERY)
@pytest.mark.parametrize("size", [(9, 8, 7), (1, 1, 1), (2, 5, 1)])
def test_operators_keep_the_shape(variant: str, name: str, size: tuple[int, int, int]) -> None:
    operator = operator_factories(variant, 3, affine=True)[name]()
    assert operator(torch.randn(2, 3, *size)).shape == (2, 3, *size)


def response(operator: nn.Module, channels: int, size: int = 19) -> Tensor:
    """Where an impulse in the middle of channel 0 is felt, (channels, bands, rows, columns)."""
    for parameter in operator.parameters():
        nn.init.constant_(parameter, 0.1)
    operator.eval()
    x = torch.zeros(1, channels, size, size, size)
    still = operator(x)
    x[:, 0, size // 2, size // 2, size // 2] = 1
    return (operator(x) - still).abs()[0] > 0


@pytest.mark.parametrize(("variant", "name"), EVERY)
def test_extents_by_impulse_response(variant: str, name: str) -> None:
    a, b = extent(name)
    if name.startswith("sep"):  # twice the same kernel
        a, b = 2 * a - 1, 2 * b - 1
    felt = response(operator_factories(variant, 2, affine=False)[name](), 2)
    centre = felt.shape[1] // 2
    expected = torch.zeros_like(felt)
    spectral = slice(centre - b // 2, centre + b // 2 + 1)
    spatial = slice(centre - a // 2, centre + a // 2 + 1)
    expected[:, spectral, spatial, spatial] = True
    assert torch.equal(felt, expected)


@pytest.mark.parametrize("decomposed", [True, False])
def test_operators_compute_what_is_written(decomposed: bool) -> None:
    """con and sep in evaluation mode against torch's functions in the published order."""
    torch.manual_seed(0)
    x = torch.randn(2, 3, 6, 5, 7)
    for make, groups, times in ((convolution, 1, 1), (separable, 3, 2)):
        operator = make(3, 5, 3, decomposed=decomposed, affine=True)
        for _ in range(3):
            operator(torch.randn(4, 3, 6, 5, 7))  # running statistics that are not 0 and 1
        operator.eval()
        weights = [m.weight for m in operator if isinstance(m, nn.Conv3d)]
        norms = [m for m in operator if isinstance(m, nn.BatchNorm3d)]
        y = x
        for turn in range(times):
            y = F.leaky_relu(y, 0.2)
            mine = weights[turn * len(weights) // times : (turn + 1) * len(weights) // times]
            for weight in mine:
                padding = tuple(k // 2 for k in weight.shape[2:])
                depthwise = weight.shape[1] == 1
                y = F.conv3d(y, weight, padding=padding, groups=groups if depthwise else 1)
            norm = norms[turn]
            shape = (1, 3, 1, 1, 1)
            y = (y - norm.running_mean.view(shape)) / (norm.running_var.view(shape) + 1e-5).sqrt()
        torch.testing.assert_close(operator(x), y)


def test_the_input_is_left_as_it_is() -> None:
    x = torch.randn(1, 2, 5, 5, 5)
    before = x.clone()
    for variant in VARIANTS:
        for make in operator_factories(variant, 2, affine=True).values():
            make()(x)
    assert torch.equal(x, before)
