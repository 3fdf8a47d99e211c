"""DeepLabV3+: dilated convolutions of several rates side by side, then a feature of fine detail.

Source: Chen, Zhu, Papandreou, Schroff, Adam, "Encoder-Decoder with Atrous Separable Convolution for
Semantic Image Segmentation", with separable convolutions in pyramid and decoder as there.  Output
stride 16, for which the rates are 6, 12 and 18.  Published widths are 256, and 48 for the fine
feature; a narrower backbone has its own instead.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from swath.networks.regnet import RegNet, RegNetSettings
from swath.networks.segmentation import registry
from swath.networks.segmentation.base import (
    Segmenter,
    activated_convolution,
    enlarge,
    global_branch,
    resize,
)

__all__ = ["deeplabv3plus"]

RATES = (6, 12, 18)


@registry.register("deeplabv3plus")
def deeplabv3plus(bands: int, classes: int, backbone: RegNetSettings) -> Segmenter:
    """Return a DeepLabV3+ on the last and the first stage of a RegNet (strides 16 and 4)."""
    return Segmenter(
        RegNet(backbone, bands, output_stride=16), _Head(backbone.widths, classes), stride=4
    )


class _Head(nn.Module):
    def __init__(self, widths: tuple[int, ...], classes: int) -> None:
        super().__init__()
        inputs, width, detail = widths[-1], min(256, widths[-1]), min(48, widths[0])
        self.pyramid = nn.ModuleList(
            [
                activated_convolution(inputs, width),
                *(_separable(inputs, width, rate) for rate in RATES),
                global_branch(inputs, width),
            ]
        )
        self.merge = nn.Sequential(
            activated_convolution(len(self.pyramid) * width, width), nn.Dropout(0.1)
        )
        self.detail = activated_convolution(widths[0], detail)
        self.classify = nn.Sequential(
            _separable(width + detail, width),
            _separable(width, width),
            nn.Conv2d(width, classes, 1),
        )

    def forward(self, *features: Tensor) -> Tensor:
        x = features[-1]
        x = self.merge(torch.cat([resize(branch(x), x) for branch in self.pyramid], dim=1))
        fine = self.detail(features[-4])
        logits: Tensor = self.classify(torch.cat([enlarge(x, 4, fine), fine], dim=1))
        return logits


def _separable(inputs: int, outputs: int, rate: int = 1) -> nn.Sequential:
    """Return a 3 x 3 convolution in each channel, then a pointwise one, both activated."""
    return nn.Sequential(
        activated_convolution(inputs, inputs, 3, groups=inputs, dilation=rate),
        activated_convolution(inputs, outputs),
    )
