"""FCN-8s: classes are told from three features, and the coarser answers are added to the finer.

Source: Long, Shelhamer, Darrell, "Fully Convolutional Networks for Semantic Segmentation"
(section 4.2).  Answers are enlarged by bilinear interpolation, with which the published transposed
convolutions begin.
"""

from __future__ import annotations

from torch import Tensor, nn

from swath.networks.regnet import RegNet, RegNetSettings
from swath.networks.segmentation import registry
from swath.networks.segmentation.base import Segmenter, enlarge

__all__ = ["fcn"]


@registry.register("fcn")
def fcn(bands: int, classes: int, backbone: RegNetSettings) -> Segmenter:
    """Return an FCN-8s on the last three stages of a RegNet (strides 8, 16 and 32)."""
    return Segmenter(RegNet(backbone, bands), _Head(backbone.widths, classes), stride=8)


class _Head(nn.Module):
    def __init__(self, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.scores = nn.ModuleList(nn.Conv2d(width, classes, 1) for width in widths[1:])

    def forward(self, *features: Tensor) -> Tensor:
        fine, middle, coarse = (
            score(feature) for score, feature in zip(self.scores, features[-3:], strict=True)
        )
        middle = middle + enlarge(coarse, 2, middle)
        return fine + enlarge(middle, 2, fine)
