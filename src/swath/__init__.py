"""swath: neural architecture search for Earth observation."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_API = ("Run", "map_scene", "open_run", "open_scene", "search", "train")
_FLOORS = ("data", "landscape", "mapping", "spaces", "strategies", "tasks")

__all__ = ["__version__", *_API]

if TYPE_CHECKING:
    from swath.api import Run, map_scene, open_run, open_scene, search, train


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import swath` stays fast.
    if name in _API:
        return getattr(importlib.import_module("swath.api"), name)
    if name in _FLOORS:
        return importlib.import_module(f"swath.{name}")
    raise AttributeError(f"module 'swath' has no attribute '{name}'")
