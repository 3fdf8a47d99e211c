"""Candidate operators of the 3D-ANAS cell, on tensors (batch, channels, bands, rows, columns).

Source: Zhang et al., "3D-ANAS: 3D Asymmetric Neural Architecture Search for Fast
Hyperspectral Image Classification", and the authors' code where the paper is silent: separable
operators are applied twice and carry a pointwise convolution.

A name ``con_a-b`` or ``sep_a-b`` gives the spatial extent a and the spectral extent b.  Stride is
one and padding keeps the size.  No convolution has a bias; the slope of LeakyReLU is 0.2.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from swath.networks.conv3d import Conv3d

__all__ = ["SLOPE", "VARIANTS", "convolution", "operator_factories", "separable"]

SLOPE = 0.2

VARIANTS: dict[str, tuple[bool, tuple[tuple[int, int], ...]]] = {
    "asym-d": (True, ((3, 3), (5, 3), (3, 5))),
    "asym-ud": (False, ((3, 3), (5, 3), (3, 5))),
    "sym-d": (True, ((3, 3), (5, 5), (7, 7))),
    "sym-ud": (False, ((3, 3), (5, 5), (7, 7))),
}
"""Per variant (Table IX): whether kernels are decomposed, and the (spatial, spectral) extents."""


def _kernels(spatial: int, spectral: int, decomposed: bool) -> tuple[tuple[int, int, int], ...]:
    if decomposed:
        return (1, spatial, spatial), (spectral, 1, 1)
    return ((spectral, spatial, spatial),)


def _same(channels: int, kernel: tuple[int, int, int], groups: int = 1) -> Conv3d:
    depth, height, width = (k // 2 for k in kernel)
    return Conv3d(
        channels, channels, kernel, padding=(depth, height, width), groups=groups, bias=False
    )


def convolution(
    channels: int, spatial: int, spectral: int, *, decomposed: bool, affine: bool
) -> nn.Sequential:
    """Return ``con_a-b``: activation, convolution (decomposed or full), normalisation."""
    return nn.Sequential(
        nn.LeakyReLU(SLOPE),
        *(_same(channels, kernel) for kernel in _kernels(spatial, spectral, decomposed)),
        nn.BatchNorm3d(channels, affine=affine),
    )


def separable(
    channels: int, spatial: int, spectral: int, *, decomposed: bool, affine: bool
) -> nn.Sequential:
    """Return ``sep_a-b``: twice activation, depthwise and pointwise convolution, normalisation."""
    layers: list[nn.Module] = []
    for _ in range(2):
        kernels = _kernels(spatial, spectral, decomposed)
        layers += [
            nn.LeakyReLU(SLOPE),
            *(_same(channels, kernel, groups=channels) for kernel in kernels),
            _same(channels, (1, 1, 1)),
            nn.BatchNorm3d(channels, affine=affine),
        ]
    return nn.Sequential(*layers)


def operator_factories(
    variant: str, channels: int, *, affine: bool
) -> dict[str, Callable[[], nn.Module]]:
    """Return factories of a variant's six convolutional operators by name, in the paper's order."""
    decomposed, extents = VARIANTS[variant]
    factories: dict[str, Callable[[], nn.Module]] = {}
    for prefix, make in (("con", convolution), ("sep", separable)):
        for spatial, spectral in extents:
            factories[f"{prefix}_{spatial}-{spectral}"] = partial(
                make, channels, spatial, spectral, decomposed=decomposed, affine=affine
            )
    return factories
