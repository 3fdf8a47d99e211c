"""Operators of 2-D cells and mobile blocks against plain formulas."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from swath.networks.inverted_residual import InvertedResidual, Projection
from swath.networks.operators2d import (
    FactorizedReduction,
    Reduction,
    average_pool,
    darts_factories,
    operator_factories,
    separable_convolution,
)


def test_a_border_pixel_is_the_mean_of_what_is_inside() -> None:
    x = torch.randn(1, 2, 4, 5)
    y = average_pool()(x)
    for row in range(4):
        for column in range(5):
            inside = x[..., max(0, row - 1) : row + 2, max(0, column - 1) : column + 2]
            assert torch.allclose(y[..., row, column], inside.mean((-2, -1)), atol=1e-6)


@pytest.mark.parametrize(("kernel", "name"), [(1, "nor_conv_1x1"), (3, "nor_conv_3x3")])
def test_a_convolution_activates_first_and_normalises_last(kernel: int, name: str) -> None:
    operator = operator_factories(3)[name]().eval()
    x = torch.randn(2, 3, 5, 4)
    weight = operator[1].weight
    assert weight.shape == (3, 3, kernel, kernel)
    expected = nn.functional.conv2d(x.clamp(min=0), weight, padding=kernel // 2)
    expected = expected / (1 + 1e-5) ** 0.5  # fresh statistics: mean 0, variance 1
    assert torch.allclose(operator(x), expected, atol=1e-5)
    assert operator[1].bias is None


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (3, 5), (8, 7), (32, 32)])
def test_blocks_of_stride_two_round_sizes_up(size: tuple[int, int]) -> None:
    x = torch.randn(2, 3, *size)
    expected = (2, 4, (size[0] + 1) // 2, (size[1] + 1) // 2)
    blocks = (Reduction(3, 4), Projection(3, 4, 2), InvertedResidual(3, 4, 5, 6, 2))
    for block in (*blocks, FactorizedReduction(3, 4)):
        assert block(x).shape == expected
    for name, make in darts_factories(3, 2).items():
        assert make()(x).shape == (2, 3, *expected[2:]), name
    for name, make in darts_factories(3).items():
        assert make()(x).shape == x.shape, name


def test_a_reduction_of_even_size_is_the_published_one() -> None:
    block = Reduction(3, 4).eval()
    x = torch.randn(2, 3, 6, 8)
    means = x.reshape(2, 3, 3, 2, 4, 2).mean((3, 5))
    shortcut = torch.einsum("oi,bihw->bohw", block.shortcut[1].weight[:, :, 0, 0], means)
    assert torch.allclose(block(x), block.block(x) + shortcut, atol=1e-5)


def test_the_last_mean_of_an_odd_size_is_over_what_there_is() -> None:
    pool = Reduction(1, 1).shortcut[0]
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert pool(x).tolist() == [[[[2.0, 3.5], [6.5, 8.0]]]]


def test_a_mobile_block_adds_its_input_only_where_the_shape_stays() -> None:
    x = torch.randn(2, 3, 6, 6)
    for inputs, outputs, stride in ((3, 3, 1), (3, 4, 1), (3, 3, 2)):
        block = InvertedResidual(inputs, outputs, 3, 2, stride).eval()
        before = block(x)
        for parameter in block.block[-1].parameters():
            nn.init.zeros_(parameter)
        stays = inputs == outputs and stride == 1
        assert torch.equal(block(x), x if stays else torch.zeros_like(before))
        assert not torch.equal(before, block(x))


@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(3, 1, 1), (5, 2, 1), (3, 1, 2), (5, 2, 2)]
)
def test_a_separable_convolution_is_one_a_channel_and_one_a_pixel(
    kernel: int, stride: int, dilation: int
) -> None:
    """The pixels of a kernel lie ``dilation`` apart, the one in the middle at the stride."""
    operator = separable_convolution(3, kernel, stride, dilation=dilation).eval()
    x = torch.randn(2, 3, 7, 8)
    depthwise, pointwise = operator[1].weight[:, 0], operator[2].weight[:, :, 0, 0]
    reach = dilation * (kernel // 2)
    padded = nn.functional.pad(x.clamp(min=0), [reach] * 4)
    total = torch.zeros_like(x)
    for i in range(kernel):
        for j in range(kernel):
            part = padded[..., i * dilation :, j * dilation :][..., :7, :8]
            total = total + part * depthwise[:, i, j, None, None]
    mixed = torch.einsum("oi,bihw->bohw", pointwise, total[..., ::stride, ::stride])
    assert torch.allclose(operator(x), mixed / (1 + 1e-5) ** 0.5, atol=1e-5)


def test_dart_s_operators_are_what_their_names_say() -> None:
    made = {name: make() for name, make in darts_factories(2).items()}
    x = torch.randn(1, 2, 5, 6)
    assert torch.equal(made["max_pool_3x3"](x), nn.functional.max_pool2d(x, 3, 1, 1))
    assert torch.equal(made["avg_pool_3x3"](x), average_pool()(x))
    for kernel in (3, 5):
        for name, depthwise in (("sep", [(1, 1)] * 2), ("dil", [(2, 2)])):
            layers = [m for m in made[f"{name}_conv_{kernel}x{kernel}"] if hasattr(m, "dilation")]
            assert [m.dilation for m in layers[::2]] == depthwise
            assert {m.kernel_size for m in layers[::2]} == {(kernel, kernel)}
            assert {m.kernel_size for m in layers[1::2]} == {(1, 1)}
    # The stride is in the first convolution alone.
    strided = [m.stride for m in darts_factories(2, 2)["sep_conv_3x3"]() if hasattr(m, "stride")]
    assert strided == [(2, 2), (1, 1), (1, 1), (1, 1)]


@pytest.mark.parametrize("size", [(6, 8), (5, 7), (1, 1)])
def test_a_factorised_reduction_reads_even_and_odd_pixels(size: tuple[int, int]) -> None:
    """And zeros where an odd size has no further pixel."""
    block = FactorizedReduction(3, 5).eval()
    x = torch.randn(2, 3, *size)
    even = x[..., ::2, ::2].clamp(min=0)
    odd = torch.zeros_like(even)
    found = x[..., 1::2, 1::2].clamp(min=0)
    odd[..., : found.shape[2], : found.shape[3]] = found
    expected = [
        torch.einsum("oi,bihw->bohw", convolution.weight[:, :, 0, 0], pixels)
        for convolution, pixels in ((block.first, even), (block.second, odd))
    ]
    assert [part.shape[1] for part in expected] == [2, 3]
    assert torch.allclose(block(x), torch.cat(expected, 1) / (1 + 1e-5) ** 0.5, atol=1e-5)


def test_a_mobile_block_that_widens_nothing_has_no_first_convolution() -> None:
    block = InvertedResidual(3, 4, 3, 1, activation=nn.ReLU6).eval()
    x = 9 * torch.randn(1, 3, 5, 5)
    depthwise, pointwise = (layer.weight for layer in block.block if isinstance(layer, nn.Conv2d))
    scale = (1 + 1e-5) ** 0.5
    inner = nn.functional.conv2d(x, depthwise, padding=1, groups=3) / scale
    expected = nn.functional.conv2d(inner.clamp(0, 6), pointwise) / scale
    assert inner.max() > 6
    assert torch.allclose(block(x), expected, atol=1e-4)


def test_groups_are_mixed_by_the_shuffle_between_them() -> None:
    """Without it, half of the outputs would know nothing of the other half of the inputs."""
    block = InvertedResidual(4, 6, 3, 2, groups=2).eval()
    for layer in block.modules():
        if isinstance(layer, nn.Conv2d):
            layer.weight.data.abs_()  # so that nothing cancels or is cut off at zero
    x = torch.rand(1, 4, 3, 3, requires_grad=True)
    for channel in range(6):
        (slope,) = torch.autograd.grad(block(x)[0, channel].sum(), x)
        assert (slope[0].sum((1, 2)) > 0).all()
    assert {m.groups for m in block.block if isinstance(m, nn.Conv2d)} == {2, 8}
