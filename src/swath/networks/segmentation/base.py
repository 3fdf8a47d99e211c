"""What the segmentation networks share: a backbone, a head, and logits as large as the image."""

from __future__ import annotations

from torch import Tensor, nn

from swath.networks.inverted_residual import normalised_convolution
from swath.networks.regnet import RegNet

__all__ = ["Segmenter", "activated_convolution", "global_branch", "resize"]


class Segmenter(nn.Module):
    """A head on the features of a RegNet.

    Parameters
    ----------
    backbone : a RegNet without a classifier.
    head : is called with the image and the five tensors of :meth:`RegNet.features` as arguments,
        finest first, and returns logits of any size.
    """

    def __init__(self, backbone: RegNet, head: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes, rows, columns) of images (batch, bands, rows, columns)."""
        return resize(self.head(x, *self.backbone.features(x)), x)


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Return ``x`` with the rows and columns of ``like``, by bilinear interpolation."""
    size = like.shape[-2:]
    if x.shape[-2:] == size:
        return x
    return nn.functional.interpolate(x, size=size, mode="bilinear", align_corners=False)


def activated_convolution(
    inputs: int, outputs: int, kernel: int = 1, *, groups: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Return convolution, normalisation, ReLU."""
    layers = normalised_convolution(inputs, outputs, kernel, groups=groups, dilation=dilation)
    return nn.Sequential(*layers, nn.ReLU(inplace=True))


def global_branch(inputs: int, outputs: int) -> nn.Sequential:
    """Return the mean over the image, a pointwise convolution and ReLU.

    The published branches normalise as well.  Of the mean there is one value an image, so in a
    batch of one image there is nothing to normalise over (torch refuses it), and in a small batch
    hardly anything; the convolution has a bias instead.
    """
    return nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Conv2d(inputs, outputs, 1), nn.ReLU(inplace=True)
    )
