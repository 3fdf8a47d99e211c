"""Operators, fusions and heads of the segmentation networks of SEG101.

Tensors are (batch, channels, rows, columns).  What the authors' code says of the operators is
followed: dense dilated convolutions, pools to a share of the feature's size, self-attention without
projections, weights of channels that are added to what they weigh.  Pools follow the size of the
feature at hand, where the authors' follow that of a crop of 512 x 512; there they are the same.

What the published description leaves open is decided here: a convolution has a bias where no
normalisation follows, the linear layers of channel attention have none, and the convolutions of
GlobalSEHead keep the channels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

__all__ = [
    "ChannelAttention",
    "ConcatHead",
    "DilatedConvolution",
    "Enhancement",
    "FeatureMerge",
    "GlobalSEHead",
    "Pooled",
    "SelfAttention",
    "convolution",
    "initialise",
    "operator_factories",
    "resized",
]

REDUCTION = 8  # of channels inside channel attention


def convolution(inputs: int, outputs: int, kernel: int, *, dilation: int = 1) -> nn.Sequential:
    """Return convolution, normalisation, ReLU; the size stays."""
    return nn.Sequential(
        nn.Conv2d(
            inputs,
            outputs,
            kernel,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            bias=False,
        ),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    )


def resized(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return ``x`` in another size, bilinear between the centres of pixels."""
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size, mode="bilinear", align_corners=False)


class DilatedConvolution(nn.Sequential):
    """`DilConv_d`: a dense 3 x 3 convolution, dilated by d, and a 1 x 1 one."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__(
            *convolution(channels, channels, 3, dilation=dilation),
            *convolution(channels, channels, 1),
        )


class Pooled(nn.Module):
    """`AdaptiveAvgPool_r`: a 3 x 3 convolution on means over r percent of the rows and columns.

    The size is rounded down, and at least one pixel.
    """

    def __init__(self, channels: int, percent: int) -> None:
        super().__init__()
        self.percent = percent
        self.convolution = convolution(channels, channels, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Return a feature of the size of ``x``."""
        rows, columns = x.shape[2:]
        small = max(1, self.percent * rows // 100), max(1, self.percent * columns // 100)
        return resized(self.convolution(F.adaptive_avg_pool2d(x, small)), (rows, columns))


class SelfAttention(nn.Module):
    """Each position becomes a mean of all, weighted by likeness; then a 1 x 1 convolution.

    The weights are a softmax of the products of positions over the square root of the channels;
    there are no queries, keys and values of their own, and the input is not added.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return a feature of the size of ``x``."""
        # (batch, 1, positions, channels).  A copy, because torch's kernels for GPUs want strides
        # that a slice of a wider feature does not have, nor a feature of a single position.
        tokens = x.flatten(2).transpose(1, 2).clone(memory_format=torch.contiguous_format)
        tokens = tokens.unsqueeze(1)
        mixed = F.scaled_dot_product_attention(tokens, tokens, tokens)
        return self.convolution(mixed.squeeze(1).transpose(1, 2).reshape(x.shape))


class ChannelAttention(nn.Module):
    """`SEAttentionStandard_8`: a feature plus itself times a weight for each channel.

    The weights, in (0, 1), follow from the means of all channels by two linear layers with an
    eighth of the channels between them, at least one.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(1, channels // REDUCTION)
        self.weigh = nn.Sequential(
            nn.Linear(channels, hidden, bias=False),
            nn.ReLU(),
            nn.Linear(hidden, channels, bias=False),
            nn.Sigmoid(),
        )

    def weights(self, x: Tensor) -> Tensor:
        """Return the weights of the channels, (batch, channels, 1, 1)."""
        weights: Tensor = self.weigh(x.mean((2, 3)))
        return weights[..., None, None]

    def forward(self, x: Tensor) -> Tensor:
        """Return a feature of the size of ``x``."""
        return x * self.weights(x) + x


class Enhancement(ChannelAttention):
    """`SEAttention_8`: the weights follow from one feature and are those of another."""

    def forward(self, original: Tensor, enhanced: Tensor) -> Tensor:  # type: ignore[override]
        """Return ``enhanced`` plus itself times the weights that ``original`` gives."""
        return enhanced * self.weights(original) + enhanced


def operator_factories(channels: int) -> dict[str, Callable[[], nn.Module]]:
    """Return factories of the operators that stages and groups of channels can have, by name."""
    return {
        "Conv2d_3": partial(convolution, channels, channels, 3),
        "DilConv_3": partial(DilatedConvolution, channels, 3),
        "DilConv_5": partial(DilatedConvolution, channels, 5),
        "AdaptiveAvgPool_25": partial(Pooled, channels, 25),
        "AdaptiveAvgPool_75": partial(Pooled, channels, 75),
        "SelfAttention": partial(SelfAttention, channels),
        "SEAttentionStandard_8": partial(ChannelAttention, channels),
    }


def _together(a: Tensor, b: Tensor) -> Tensor:
    """Return both features, in the size of the larger one, as one."""
    rows = max(a.shape[2], b.shape[2])
    columns = max(a.shape[3], b.shape[3])
    return torch.cat([resized(a, (rows, columns)), resized(b, (rows, columns))], dim=1)


class FeatureMerge(nn.Module):
    """Two features in the size of the larger one, mixed by a 1 x 1 convolution.

    Parameters
    ----------
    inputs : channels of both together.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = convolution(inputs, outputs, 1)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return (batch, outputs, rows, columns) of the larger one."""
        merged: Tensor = self.convolution(_together(a, b))
        return merged


class ConcatHead(nn.Module):
    """The end of a network: two features, three 1 x 1 convolutions, logits.

    Parameters
    ----------
    inputs : channels of both features together; the second convolution halves them.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        half = max(1, inputs // 2)
        self.layers = nn.Sequential(
            *convolution(inputs, inputs, 1),
            *convolution(inputs, half, 1),
            nn.Conv2d(half, classes, 1),
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return logits (batch, classes, rows, columns) in the size of the larger feature."""
        logits: Tensor = self.layers(_together(a, b))
        return logits


class GlobalSEHead(nn.Module):
    """`GlobalSEHead_8`: two features, convolutions around channel attention, logits.

    Parameters
    ----------
    inputs : channels of both features together, and of all layers but the last.
    """

    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(inputs, inputs, 3),
            *convolution(inputs, inputs, 1),
            ChannelAttention(inputs),
            *convolution(inputs, inputs, 3),
            nn.Conv2d(inputs, classes, 1),
        )

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return logits (batch, classes, rows, columns) in the size of the larger feature."""
        logits: Tensor = self.layers(_together(a, b))
        return logits


def initialise(module: nn.Module) -> None:
    """Draw the weights of one layer as the authors do; layers of other kinds stay as they are.

    Convolutions: normal with the standard deviation sqrt(2 / fan-out); linear layers: 0.01; biases
    are zero.
    """
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels
        nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.01)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
