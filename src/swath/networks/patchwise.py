"""A dense network made of one that classifies patches."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from swath.networks.receptive_field import Halo
from swath.tasks.label_patches import mirrored

__all__ = ["Patchwise", "continued", "patch_network"]

_PATCHES = 256  # in one pass of the inner network on a processor,
_PATCHES_ON_ACCELERATOR = 4096  # which needs more of them to be busy


class Patchwise(nn.Module):
    """Classifies every pixel of an image from the patch around it, mirrored at the borders.

    Patches are cut many at a time, and in no larger number than a pass of the network can hold, so
    memory does not grow with the image beyond the image and the answers themselves.

    Parameters
    ----------
    network : patches (batch, bands, patch, patch) to logits (batch, classes), for the middle pixel.
    patch : rows and columns of a patch, odd.
    """

    def __init__(self, network: nn.Module, patch: int) -> None:
        super().__init__()
        self.network = network
        self.patch = patch

    @property
    def halo(self) -> Halo:
        """How far the answers depend on their surroundings: half a patch, and no farther."""
        reach = self.patch // 2
        return Halo(reach, reach, reach, reach)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes, rows, columns) of images (batch, bands, rows, columns)."""
        batch, _, rows, columns = x.shape
        padded = continued(continued(x, self.halo.top, 2), self.halo.top, 3)
        # (batch, rows, columns, bands, patch, patch): a view, nothing is copied yet
        patches = padded.unfold(2, self.patch, 1).unfold(3, self.patch, 1).movedim(1, 3)
        pixels = torch.arange(batch * rows * columns, device=x.device)
        at_once = _PATCHES_ON_ACCELERATOR if x.is_cuda else _PATCHES
        logits = [
            self.network(patches[some // (rows * columns), some // columns % rows, some % columns])
            for some in torch.split(pixels, at_once)
        ]
        return torch.cat(logits).view(batch, rows, columns, -1).movedim(3, 1)


def continued(x: Tensor, reach: int, axis: int) -> Tensor:
    """Put so many pixels of mirror image before and behind an axis."""
    length = x.shape[axis]
    places = mirrored(np.arange(-reach, length + reach), length)
    return x.index_select(axis, torch.from_numpy(places).to(x.device))


def patch_network(network: nn.Module) -> nn.Module:
    """Return what holds the weights: the inner network of a :class:`Patchwise`, others as is."""
    return network.network if isinstance(network, Patchwise) else network
