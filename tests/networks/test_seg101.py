"""Operators of SEG101 against the same written out position by position."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from swath.networks.seg101 import (
    ChannelAttention,
    ConcatHead,
    DilatedConvolution,
    Enhancement,
    FeatureMerge,
    GlobalSEHead,
    Pooled,
    SelfAttention,
    initialise,
    operator_factories,
)


def feature(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def close(found: Tensor, expected: Tensor) -> None:
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (4, 5)])
def test_attention_reads_rows_that_lie_side_by_side(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels for GPUs want this, and a group of channels is a slice of a wider feature."""
    seen = []

    def watched(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        seen.extend([query.stride(), key.stride(), value.stride()])
        return value

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", watched)
    wide = feature(2, 18, *size).contiguous(memory_format=torch.channels_last)
    SelfAttention(8)(wide[:, 10:])
    positions = size[0] * size[1]
    assert seen == [(8 * positions, 8 * positions, 8, 1)] * 3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("name", list(operator_factories(8)))
@pytest.mark.parametrize("size", [(1, 1), (5, 7)])
def test_operators_answer_alike_on_a_gpu(name: str, size: tuple[int, int]) -> None:
    operator = operator_factories(8)[name]().eval()
    wide = feature(2, 18, *size).contiguous(memory_format=torch.channels_last)
    expected = operator(wide[:, 10:])
    found = operator.cuda()(wide.cuda()[:, 10:])
    found.sum().backward()
    torch.testing.assert_close(found.cpu(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(2, 6, 4, 5), (1, 3, 1, 1), (2, 1, 3, 2)])
def test_attention_mixes_positions_by_their_likeness(shape: tuple[int, ...]) -> None:
    x = feature(*shape)
    operator = SelfAttention(shape[1]).eval()
    mixed = torch.zeros(shape)
    channels, rows, columns = shape[1:]
    for image in range(shape[0]):
        for row in range(rows):
            for column in range(columns):
                here = x[image, :, row, column]
                weights = [
                    math.exp(float(here @ x[image, :, i, j]) / math.sqrt(channels))
                    for i in range(rows)
                    for j in range(columns)
                ]
                others = [x[image, :, i, j] for i in range(rows) for j in range(columns)]
                total = sum(w * o for w, o in zip(weights, others, strict=True))
                mixed[image, :, row, column] = total / sum(weights)  # type: ignore[operator]
    kernel, bias = operator.convolution.weight[:, :, 0, 0], operator.convolution.bias
    assert bias is not None
    close(operator(x), torch.einsum("oc,bcij->boij", kernel, mixed) + bias[:, None, None])


@pytest.mark.parametrize(
    ("percent", "size", "pooled"),
    [
        (25, (128, 128), (32, 32)),  # S1 of a crop of 512
        (75, (16, 16), (12, 12)),  # S4 of it
        (25, (7, 13), (1, 3)),
        (25, (3, 1), (1, 1)),
        (75, (1, 6), (1, 4)),
    ],
)
def test_pools_follow_the_size_of_the_feature(
    percent: int, size: tuple[int, int], pooled: tuple[int, int]
) -> None:
    operator = Pooled(2, percent).eval()
    seen: list[Tensor] = []
    operator.convolution.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = feature(1, 2, *size)
    answer = operator(x)
    assert answer.shape == x.shape
    assert seen[0].shape[2:] == pooled
    for row in range(pooled[0]):
        top, bottom = row * size[0] // pooled[0], -(-(row + 1) * size[0] // pooled[0])
        for column in range(pooled[1]):
            left = column * size[1] // pooled[1]
            right = -(-(column + 1) * size[1] // pooled[1])
            close(seen[0][:, :, row, column], x[:, :, top:bottom, left:right].mean((2, 3)))
    small = operator.convolution(seen[0])
    close(answer, F.interpolate(small, size, mode="bilinear", align_corners=False))


def weights_by_hand(attention: ChannelAttention, x: Tensor) -> Tensor:
    first, _, second, _ = attention.weigh
    hidden = (x.mean((2, 3)) @ first.weight.T).clamp(min=0)  # type: ignore[operator]
    return 1 / (1 + torch.exp(-(hidden @ second.weight.T)))  # type: ignore[operator]


def test_weights_of_channels_are_added_to_what_they_weigh() -> None:
    attention, x = ChannelAttention(16), feature(3, 16, 4, 5)
    assert attention.weigh[0].weight.shape == (2, 16)
    expected = torch.stack(
        [
            torch.stack([x[b, c] * (1 + weights_by_hand(attention, x)[b, c]) for c in range(16)])
            for b in range(3)
        ]
    )
    close(attention(x), expected)


def test_enhancement_weighs_one_feature_by_another() -> None:
    """The weights are of the stage as it came, and the enhanced feature has no say in them."""
    enhancement = Enhancement(8)
    for layer in enhancement.modules():
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight)
    original, enhanced = feature(2, 8, 3, 3), feature(2, 8, 3, 3, seed=1)
    weights = weights_by_hand(enhancement, original)[..., None, None]
    close(enhancement(original, enhanced), enhanced * weights + enhanced)
    close(enhancement(original, 2 * enhanced), 2 * enhancement(original, enhanced))
    assert not torch.allclose(enhancement(enhanced, original), enhancement(original, enhanced))


@pytest.mark.parametrize("channels", [1, 3, 7, 8, 100])
def test_narrow_attention_keeps_a_channel(channels: int) -> None:
    hidden = ChannelAttention(channels).weigh[0].out_features
    assert hidden == max(1, channels // 8)


@pytest.mark.parametrize("dilation", [3, 5])
def test_dilated_convolutions_are_dense_and_look_so_far(dilation: int) -> None:
    operator = DilatedConvolution(4, dilation)
    weights = [tuple(p.shape) for p in operator.parameters() if p.ndim == 4]
    assert weights == [(4, 4, 3, 3), (4, 4, 1, 1)]
    with torch.no_grad():
        for parameter in operator.parameters():
            parameter.abs_()  # so that no ReLU cuts the way
    x = torch.zeros(1, 4, 15, 15, requires_grad=True)
    operator.eval()(x + 1)[0, :, 7, 7].sum().backward()
    assert x.grad is not None
    rows = x.grad.abs().sum((0, 1, 3)).nonzero()[:, 0].tolist()
    assert rows == [7 - dilation, 7, 7 + dilation]


def test_operators_keep_size_and_channels() -> None:
    for name, make in operator_factories(5).items():
        operator = make()
        for size in ((1, 1), (2, 7), (9, 4)):
            assert operator(feature(2, 5, *size)).shape == (2, 5, *size), name


def test_a_merge_has_the_size_of_the_larger_one() -> None:
    merge = FeatureMerge(5, 4).eval()
    a, b = feature(2, 3, 5, 7), feature(2, 2, 3, 4)
    larger = F.interpolate(b, (5, 7), mode="bilinear", align_corners=False)
    close(merge(a, b), merge.convolution(torch.cat([a, larger], 1)))
    assert merge(b[:, :2], a).shape == (2, 4, 5, 7)
    # Changing places is a change of the order of the weight's columns.
    other = FeatureMerge(5, 4).eval()
    other.load_state_dict(merge.state_dict())
    kernel = merge.convolution[0].weight.detach()
    other.convolution[0].weight = nn.Parameter(torch.cat([kernel[:, 3:], kernel[:, :3]], 1))
    close(other(b, a), merge(a, b))


@pytest.mark.parametrize("kind", [ConcatHead, GlobalSEHead])
def test_heads_give_logits_in_the_size_of_the_larger_feature(
    kind: type[ConcatHead] | type[GlobalSEHead],
) -> None:
    head = kind(12, 3)
    assert head(feature(2, 5, 4, 6), feature(2, 7, 8, 5)).shape == (2, 3, 8, 6)
    kernels = [tuple(p.shape) for p in head.parameters() if p.ndim == 4]
    assert kernels == (
        [(12, 12, 1, 1), (6, 12, 1, 1), (3, 6, 1, 1)]
        if kind is ConcatHead
        else [(12, 12, 3, 3), (12, 12, 1, 1), (12, 12, 3, 3), (3, 12, 1, 1)]
    )


def test_initial_weights() -> None:
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(64, 96, 3), nn.Linear(200, 200), nn.BatchNorm2d(3)).apply(
        initialise
    )
    assert layers[0].weight.std().item() == pytest.approx(math.sqrt(2 / (96 * 9)), rel=0.02)
    assert layers[1].weight.std().item() == pytest.approx(0.01, rel=0.02)
    assert layers[0].bias.abs().sum() == layers[1].bias.abs().sum() == 0
