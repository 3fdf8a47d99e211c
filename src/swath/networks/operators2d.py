"""Operators of the cells of NAS-Bench-201 and DARTS, on tensors (batch, channels, rows, columns).

Sources: Dong, Yang, "NAS-Bench-201: Extending the Scope of Reproducible Neural Architecture
Search"; Liu, Simonyan, Yang, "DARTS: Differentiable Architecture Search"; with the authors' code
where the papers are silent (order of the layers of a convolution, the shortcut of a reduction,
what a skip of stride two is).  No convolution has a bias; stride s makes ceil(size / s) of each
side.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

__all__ = [
    "FactorizedReduction",
    "Reduction",
    "activated_convolution",
    "average_pool",
    "darts_factories",
    "operator_factories",
    "separable_convolution",
]


def activated_convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Sequential:
    """Return ReLU, convolution, normalisation."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(inputs, outputs, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
    )


def average_pool(stride: int = 1) -> nn.AvgPool2d:
    """Return the mean of 3 x 3 pixels, at the border of those that are inside."""
    return nn.AvgPool2d(3, stride=stride, padding=1, count_include_pad=False)


def operator_factories(channels: int) -> dict[str, Callable[[], nn.Module]]:
    """Return factories of NAS-Bench-201's operators that compute something, by name."""
    return {
        "nor_conv_1x1": partial(activated_convolution, channels, channels, 1),
        "nor_conv_3x3": partial(activated_convolution, channels, channels, 3),
        "avg_pool_3x3": average_pool,
    }


class Reduction(nn.Module):
    """The residual block between stages: half the rows and columns, other channels.

    The published block knows even sizes only; here an odd one is rounded up, and the last mean of
    the shortcut is over the pixels there are.  On even sizes nothing changes.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            activated_convolution(inputs, outputs, 3, stride=2),
            activated_convolution(outputs, outputs, 3),
        )
        self.shortcut = nn.Sequential(
            nn.AvgPool2d(2, stride=2, ceil_mode=True),
            nn.Conv2d(inputs, outputs, 1, bias=False),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs, ceil(rows / 2), ceil(columns / 2))."""
        return self.block(x) + self.shortcut(x)


def separable_convolution(
    channels: int, kernel: int, stride: int = 1, *, dilation: int = 1
) -> nn.Sequential:
    """Return ReLU, depthwise convolution, pointwise convolution, normalisation."""
    return nn.Sequential(
        nn.ReLU(),
        nn.Conv2d(
            channels,
            channels,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=channels,
            bias=False,
        ),
        nn.Conv2d(channels, channels, 1, bias=False),
        nn.BatchNorm2d(channels),
    )


def _twice_separable(channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(
        *separable_convolution(channels, kernel, stride), *separable_convolution(channels, kernel)
    )


def darts_factories(channels: int, stride: int = 1) -> dict[str, Callable[[], nn.Module]]:
    """Return factories of DARTS's operators that compute something, by name.

    Separable convolutions are applied twice, the stride in the first.  Pools have no normalisation
    behind them, as in the authors' networks that are trained after the search.
    """
    return {
        "max_pool_3x3": partial(nn.MaxPool2d, 3, stride=stride, padding=1),
        "avg_pool_3x3": partial(average_pool, stride),
        "sep_conv_3x3": partial(_twice_separable, channels, 3, stride),
        "sep_conv_5x5": partial(_twice_separable, channels, 5, stride),
        "dil_conv_3x3": partial(separable_convolution, channels, 3, stride, dilation=2),
        "dil_conv_5x5": partial(separable_convolution, channels, 5, stride, dilation=2),
    }


class FactorizedReduction(nn.Module):
    """Half the rows and columns by two pointwise convolutions, the second one pixel further on.

    Each gives half of the outputs.  The published one knows even sizes only; here the second
    convolution reads zeros beyond an odd size, so that both round it up.  On even sizes nothing
    changes.

    Parameters
    ----------
    inputs, outputs : channels; at least two outputs.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.activation = nn.ReLU()
        self.first = nn.Conv2d(inputs, outputs // 2, 1, stride=2, bias=False)
        self.second = nn.Conv2d(inputs, outputs - outputs // 2, 1, stride=2, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs, ceil(rows / 2), ceil(columns / 2))."""
        x = self.activation(x)
        further = nn.functional.pad(x, (0, 1, 0, 1))[..., 1:, 1:]
        return self.norm(torch.cat([self.first(x), self.second(further)], dim=1))
