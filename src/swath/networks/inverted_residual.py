"""The mobile block: widen, look around in each channel, narrow; and what stands in its place.

Source: Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks".  Tensors are
(batch, channels, rows, columns); stride s makes ceil(size / s) of rows and columns.  No
convolution has a bias.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

__all__ = ["InvertedResidual", "Projection", "normalised_convolution"]


def normalised_convolution(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    dilation: int = 1,
) -> list[nn.Module]:
    """Return a convolution that keeps the size (but for its stride), and its normalisation."""
    return [
        nn.Conv2d(
            inputs,
            outputs,
            kernel,
            stride=stride,
            padding=dilation * (kernel // 2),
            dilation=dilation,
            groups=groups,
            bias=False,
        ),
        nn.BatchNorm2d(outputs),
    ]


class InvertedResidual(nn.Module):
    """Pointwise convolution to ``expansion`` times the channels, depthwise one, pointwise back.

    Where neither channels nor size change, the input is added to the output.  An expansion of one
    widens nothing, and so has no first convolution.

    Parameters
    ----------
    inputs, outputs : channels.
    kernel : rows and columns of the depthwise convolution, odd.
    groups : of the pointwise convolutions; the channels of several groups are shuffled between
        them, as in ShuffleNet and FBNet.  Inputs and outputs must be multiples of it.
    activation : behind the first two convolutions.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        expansion: int,
        stride: int = 1,
        *,
        groups: int = 1,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        hidden = inputs * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers += [*normalised_convolution(inputs, hidden, groups=groups), activation()]
        if groups != 1:
            layers.append(nn.ChannelShuffle(groups))
        self.block = nn.Sequential(
            *layers,
            *normalised_convolution(hidden, hidden, kernel, stride=stride, groups=hidden),
            activation(),
            *normalised_convolution(hidden, outputs, groups=groups),
        )
        self.residual = inputs == outputs and stride == 1

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs, ceil(rows / stride), ceil(columns / stride))."""
        return x + self.block(x) if self.residual else self.block(x)


class Projection(nn.Sequential):
    """What is left of a block that must change channels or size but should do nothing else."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__(*normalised_convolution(inputs, outputs, stride=stride))
