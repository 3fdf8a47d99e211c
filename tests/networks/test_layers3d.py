"""Spectral reductions and the pyramid."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from swath.networks.conv3d import Conv3d
from swath.networks.layers3d import AtrousPyramid, SpectralProjection, SpectralReduction, pointwise
from swath.networks.layout import channels_last


@given(
    length=st.integers(1, 60),
    kernel=st.sampled_from([3, 5, 7, 17]),
    stride=st.integers(2, 8),
    spatial=st.sampled_from([1, 3]),
)
def test_a_reduction_says_the_length_it_leaves(
    length: int, kernel: int, stride: int, spatial: int
) -> None:
    layer = SpectralReduction(1, 1, length, kernel=kernel, stride=stride, spatial=spatial)
    y = layer.eval()(torch.zeros(1, 1, length, 2, 3))
    assert y.shape == (1, 1, layer.length, 2, 3)
    # Only an axis shorter than the kernel is padded, and by no more than it needs.
    assert layer.length == ((length - kernel) // stride + 1 if length >= kernel else 1)


@pytest.mark.parametrize(
    ("bands", "trace"), [(103, (50, 23)), (102, (49, 23)), (144, (70, 33)), (200, (98, 47))]
)
def test_the_published_stem_lengths(bands: int, trace: tuple[int, int]) -> None:
    first = SpectralReduction(1, 1, bands, kernel=5)
    assert (first.length, SpectralReduction(1, 1, first.length, kernel=5).length) == trace


def test_a_reduction_is_convolution_normalisation_activation() -> None:
    layer = SpectralReduction(2, 3, 11, kernel=3, spatial=3)
    assert [type(part) for part in layer] == [Conv3d, nn.BatchNorm3d, nn.LeakyReLU]
    assert layer[0].bias is None
    x = torch.randn(2, 2, 11, 4, 4)
    expected = F.conv3d(x, layer[0].weight, stride=(2, 1, 1), padding=(0, 1, 1))
    torch.testing.assert_close(layer.eval()(x), F.leaky_relu(expected / (1 + 1e-5) ** 0.5, 0.2))
    plain = SpectralReduction(2, 3, 11, affine=False, activate=False)
    assert [type(part) for part in plain] == [Conv3d, nn.BatchNorm3d]
    assert plain[1].weight is None


def test_pointwise_has_no_activation_unless_first() -> None:
    assert [type(m) for m in pointwise(2, 3)] == [Conv3d, nn.BatchNorm3d]
    assert [type(m) for m in pointwise(2, 3, first=True)] == [
        nn.LeakyReLU,
        Conv3d,
        nn.BatchNorm3d,
    ]


def test_the_pyramid_looks_as_far_as_its_largest_rate() -> None:
    pyramid = AtrousPyramid(1, 1, rates=(2, 4, 6)).eval()
    for parameter in pyramid.parameters():
        nn.init.constant_(parameter, 0.5)
    x = torch.zeros(1, 1, 15, 15, 15)
    still = pyramid(x)
    x[..., 7, 7, 7] = 1
    felt = (pyramid(x) - still)[0, 0].abs() > 0
    expected = torch.zeros_like(felt)
    expected[7, 7, 7] = True
    for rate in (2, 4, 6):
        taps = torch.tensor([7 - rate, 7, 7 + rate])
        expected[taps[:, None, None], taps[:, None], taps] = True
    assert torch.equal(felt, expected)


def test_the_layout_changes_no_value() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv3d(3, 4, 3), nn.Flatten(2, 3), nn.Conv2d(4, 2, 3)).eval()
    x = torch.randn(2, 3, 6, 7, 8)
    before = network(x)
    weights = [p.clone() for p in network.parameters()]
    assert channels_last(network) is network
    assert network[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    assert network[2].weight.is_contiguous(memory_format=torch.channels_last)
    assert all(torch.equal(a, b) for a, b in zip(weights, network.parameters(), strict=True))
    torch.testing.assert_close(network(x), before)


def test_a_projection_has_its_own_weights_at_every_position() -> None:
    layer = SpectralProjection(bands=7, outputs=3, length=4).eval()
    x = torch.randn(2, 1, 7, 5, 6)
    weights = layer.project[0].weight.detach().reshape(3, 4, 7)
    # freshly made normalisation in evaluation mode divides by sqrt(1 + epsilon)
    unit = (1 + 1e-5) ** 0.5
    projected = F.leaky_relu(torch.einsum("clb,nbhw->nclhw", weights, x[:, 0]) / unit, 0.2)
    kernel = layer.look[0].weight.detach()[:, :, 0]
    for position in range(4):
        expected = F.conv2d(projected[:, :, position], kernel, padding=1) / unit
        with torch.no_grad():
            assert torch.allclose(layer(x)[:, :, position], F.leaky_relu(expected, 0.2), atol=1e-5)
