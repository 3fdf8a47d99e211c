"""Data: scenes, labels, scaling, readers, the catalogue of classic scenes and their download."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from swath.data.catalogue import (
        CATALOGUE,
        CatalogueEntry,
        download_scene,
        locate,
        open_catalogue_scene,
    )
    from swath.data.download import fetch
    from swath.data.labels import LabelMap, palette
    from swath.data.readers import open_labels, open_scene
    from swath.data.scaling import Scaling, fit_scaling
    from swath.data.scene import CubeSource, Scene, array_scene

_HOMES = {
    "CATALOGUE": "catalogue",
    "CatalogueEntry": "catalogue",
    "CubeSource": "scene",
    "LabelMap": "labels",
    "Scaling": "scaling",
    "Scene": "scene",
    "array_scene": "scene",
    "download_scene": "catalogue",
    "fetch": "download",
    "fit_scaling": "scaling",
    "locate": "catalogue",
    "open_catalogue_scene": "catalogue",
    "open_labels": "readers",
    "open_scene": "readers",
    "palette": "labels",
}

__all__ = [
    "CATALOGUE",
    "CatalogueEntry",
    "CubeSource",
    "LabelMap",
    "Scaling",
    "Scene",
    "array_scene",
    "download_scene",
    "fetch",
    "fit_scaling",
    "locate",
    "open_catalogue_scene",
    "open_labels",
    "open_scene",
    "palette",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'swath.data' has no attribute '{name}'")
    return getattr(importlib.import_module(f"swath.data.{_HOMES[name]}"), name)
