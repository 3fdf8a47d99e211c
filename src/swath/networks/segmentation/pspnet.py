"""PSPNet: beside each feature stand the means of the regions around it, of four sizes.

Source: Zhao, Shi, Qi, Wang, Jia, "Pyramid Scene Parsing Network" (section 3.2).  The last stage is
dilated to stride 16 (published: 8).  As published, a branch of the pyramid has a quarter of the
feature's channels, and the convolution behind it as many.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from swath.networks.regnet import RegNet, RegNetSettings
from swath.networks.segmentation import registry
from swath.networks.segmentation.base import (
    Segmenter,
    activated_convolution,
    global_branch,
    resize,
)

__all__ = ["pspnet"]


@registry.register("pspnet")
def pspnet(bands: int, classes: int, backbone: RegNetSettings) -> Segmenter:
    """Return a PSPNet on the last stage of a RegNet: means of 1, 2 x 2, 3 x 3 and 6 x 6 regions."""
    return Segmenter(
        RegNet(backbone, bands, output_stride=16), _Head(backbone.widths[-1], classes), stride=16
    )


class _Head(nn.Module):
    def __init__(self, inputs: int, classes: int) -> None:
        super().__init__()
        width = inputs // 4
        self.branches = nn.ModuleList([global_branch(inputs, width)])
        for regions in (2, 3, 6):
            self.branches.append(
                nn.Sequential(nn.AdaptiveAvgPool2d(regions), activated_convolution(inputs, width))
            )
        self.classify = nn.Sequential(
            activated_convolution(inputs + 4 * width, width, 3),
            nn.Dropout2d(0.1),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, *features: Tensor) -> Tensor:
        x = features[-1]
        around = [resize(branch(x), x) for branch in self.branches]
        logits: Tensor = self.classify(torch.cat([x, *around], dim=1))
        return logits
