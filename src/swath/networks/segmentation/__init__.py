"""Published segmentation networks, all on RegNet: what a searched network is compared with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from swath.core.registry import Registry

if TYPE_CHECKING:
    from swath.networks.regnet import RegNetSettings
    from swath.networks.segmentation.base import Segmenter

__all__ = ["create", "names", "registry"]

registry: Registry[Segmenter] = Registry(
    "segmentation network",
    lazy={
        "deeplabv3plus": "swath.networks.segmentation.deeplabv3plus",
        "fcn": "swath.networks.segmentation.fcn",
        "pspnet": "swath.networks.segmentation.pspnet",
        "unet": "swath.networks.segmentation.unet",
    },
)


def create(
    name: str, bands: int, classes: int, backbone: str | RegNetSettings = "regnet_x_400mf"
) -> Segmenter:
    """Create a network that gives logits (batch, classes, rows, columns) for any size of image.

    Parameters
    ----------
    name : one of :func:`names`.
    bands : of the images (batch, bands, rows, columns).
    classes : of the logits.
    backbone : a name in :data:`swath.networks.regnet.SETTINGS`, or the settings themselves.
        Weights of the network's ``backbone`` can be loaded with
        :func:`swath.networks.regnet.load_pretrained`.

    Raises
    ------
    UnknownName : there is no such network or backbone.
    """
    from swath.networks.regnet import regnet_settings

    settings = regnet_settings(backbone) if isinstance(backbone, str) else backbone
    return registry.create(name, bands=bands, classes=classes, backbone=settings)


def names(pattern: str = "*") -> list[str]:
    """Return the names of the networks that match a wildcard pattern."""
    return registry.names(pattern)
