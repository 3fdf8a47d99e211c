"""Layers that shrink the spectral axis or look around in space, shared by child and supernet.

Tensors are (batch, channels, bands, rows, columns).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from swath.networks.conv3d import Conv3d
from swath.networks.operators3d import SLOPE

__all__ = ["AtrousPyramid", "SpectralProjection", "SpectralReduction", "pointwise"]


class SpectralReduction(nn.Sequential):
    """Convolution that shortens the spectral axis, then normalisation and an optional activation.

    Without padding along the bands, as published; where the axis is shorter than the kernel it is
    padded by as little as the kernel needs, so that any number of bands works.

    Parameters
    ----------
    length : bands that come in.  ``self.length`` says how many go out.
    spatial : 1 or 3, the spatial extent of the kernel.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        length: int,
        *,
        kernel: int = 3,
        stride: int = 2,
        spatial: int = 1,
        affine: bool = True,
        activate: bool = True,
    ) -> None:
        padding = max(0, (kernel - length + 1) // 2)
        layers: list[nn.Module] = [
            Conv3d(
                inputs,
                outputs,
                (kernel, spatial, spatial),
                stride=(stride, 1, 1),
                padding=(padding, spatial // 2, spatial // 2),
                bias=False,
            ),
            nn.BatchNorm3d(outputs, affine=affine),
        ]
        if activate:
            layers.append(nn.LeakyReLU(SLOPE))
        super().__init__(*layers)
        self.length = (length + 2 * padding - kernel) // stride + 1


class SpectralProjection(nn.Module):
    """A learned linear map from all bands to a short spectral axis, then a look at neighbours.

    Every output position has its own weights on every band, so any number of bands costs about the
    same afterwards, and directions that tell materials apart need not be local in the spectrum.

    Parameters
    ----------
    length : spectral positions that go out.
    """

    def __init__(self, bands: int, outputs: int, length: int, *, affine: bool = True) -> None:
        super().__init__()
        self.length = length
        self.project = nn.Sequential(
            nn.Conv2d(bands, outputs * length, 1, bias=False),
            nn.BatchNorm2d(outputs * length, affine=affine),
            nn.LeakyReLU(SLOPE),
        )
        self.look = nn.Sequential(
            Conv3d(outputs, outputs, (1, 3, 3), padding=(0, 1, 1), bias=False),
            nn.BatchNorm3d(outputs, affine=affine),
            nn.LeakyReLU(SLOPE),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (batch, 1, bands, rows, columns) to (batch, outputs, length, rows, columns)."""
        projected = self.project(x.squeeze(1))
        return self.look(projected.unflatten(1, (-1, self.length)))


def pointwise(
    inputs: int, outputs: int, *, affine: bool = True, first: bool = False
) -> nn.Sequential:
    """Return a 1 x 1 x 1 convolution with normalisation; ``first`` puts an activation before."""
    layers: list[nn.Module] = [nn.LeakyReLU(SLOPE)] if first else []
    layers += [
        Conv3d(inputs, outputs, 1, bias=False),
        nn.BatchNorm3d(outputs, affine=affine),
    ]
    return nn.Sequential(*layers)


class AtrousPyramid(nn.Module):
    """Parallel separable dilated convolutions and a pointwise branch, concatenated and projected.

    The paper does not mention it; the authors' decoders use it (one rate, 2, in the supernet and
    rates 2, 4, 6 in the final network).
    """

    def __init__(self, inputs: int, outputs: int, rates: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [self._separable(inputs, outputs, rate) for rate in rates]
            + [nn.Sequential(*pointwise(inputs, outputs), nn.LeakyReLU(SLOPE))]
        )
        self.project = Conv3d(outputs * len(self.branches), outputs, 1, bias=False)

    @staticmethod
    def _separable(inputs: int, outputs: int, rate: int) -> nn.Sequential:
        return nn.Sequential(
            Conv3d(inputs, inputs, 3, padding=rate, dilation=rate, groups=inputs, bias=False),
            nn.BatchNorm3d(inputs),
            nn.LeakyReLU(SLOPE),
            *pointwise(inputs, outputs),
            nn.LeakyReLU(SLOPE),
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs, bands, rows, columns)."""
        return self.project(torch.cat([branch(x) for branch in self.branches], dim=1))
