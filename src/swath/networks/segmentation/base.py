"""What the segmentation networks share: a backbone, a head, and logits as large as the image."""

from __future__ import annotations

from torch import Tensor, nn

from swath.networks.inverted_residual import normalised_convolution
from swath.networks.regnet import RegNet

__all__ = ["Segmenter", "activated_convolution", "enlarge", "global_branch", "resize"]


class Segmenter(nn.Module):
    """A head on the features of a RegNet.

    Parameters
    ----------
    backbone : a RegNet without a classifier.
    head : is called with the image and the five tensors of :meth:`RegNet.features` as arguments,
        finest first, and returns logits.
    stride : pixels of the image, along each axis, for one of the head's logits.
    """

    def __init__(self, backbone: RegNet, head: nn.Module, stride: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, classes, rows, columns) of images (batch, bands, rows, columns)."""
        return enlarge(self.head(x, *self.backbone.features(x)), self.stride, x)


def enlarge(x: Tensor, factor: int, like: Tensor) -> Tensor:
    """Return ``x`` enlarged by the factor, cut to the rows and columns of ``like``.

    Strided convolutions round sizes up.  To enlarge by the factor between the strides and cut what
    is too much off keeps pixels in their places for any size of the image, so that a window gives
    the answers of the whole image; to stretch to the wanted size would not.
    """
    if factor != 1:
        x = nn.functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
    return x[..., : like.shape[-2], : like.shape[-1]]


def resize(x: Tensor, like: Tensor) -> Tensor:
    """Return ``x`` stretched to the rows and columns of ``like``, as means of regions must be."""
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
