"""U-Net: the way down is the backbone, the way up meets each of its features again.

Source: Ronneberger, Fischer, Brox, "U-Net: Convolutional Networks for Biomedical Image
Segmentation".  Here features are enlarged by bilinear interpolation, convolutions keep the size and
are normalised, and each step up has the channels of the feature that it meets.  Beside the whole
image there is no feature; that last step has half the channels of the stem.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from swath.networks.regnet import RegNet, RegNetSettings
from swath.networks.segmentation import registry
from swath.networks.segmentation.base import Segmenter, activated_convolution, enlarge

__all__ = ["unet"]


@registry.register("unet")
def unet(bands: int, classes: int, backbone: RegNetSettings) -> Segmenter:
    """Return a U-Net on a RegNet, at strides 32, 16, 8, 4, 2 and 1."""
    widths = (backbone.stem_width, *backbone.widths)
    return Segmenter(RegNet(backbone, bands), _Head(widths, classes), stride=1)


class _Head(nn.Module):
    def __init__(self, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        below = widths[-1]
        for width in reversed(widths[:-1]):
            self.steps.append(_two_convolutions(below + width, width))
            below = width
        width = max(below // 2, 1)
        self.last = _two_convolutions(below, width)
        self.classify = nn.Conv2d(width, classes, 1)

    def forward(self, image: Tensor, *features: Tensor) -> Tensor:
        x = features[-1]
        for step, feature in zip(self.steps, reversed(features[:-1]), strict=True):
            x = step(torch.cat([enlarge(x, 2, feature), feature], dim=1))
        logits: Tensor = self.classify(self.last(enlarge(x, 2, image)))
        return logits


def _two_convolutions(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        activated_convolution(inputs, outputs, 3), activated_convolution(outputs, outputs, 3)
    )
