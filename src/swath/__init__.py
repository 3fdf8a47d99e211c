"""swath: neural architecture search for Earth observation."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_FLOORS = ("data", "landscape", "mapping", "spaces", "strategies", "tasks")

__all__ = ["Run", "__version__", "map_scene", "open_run", "open_scene", "search", "train"]

if TYPE_CHECKING:
    from swath.api import Run, map_scene, open_run, open_scene, search, train


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import swath` stays fast.
    if name in __all__:
        return getattr(importlib.import_module("swath.api"), name)
    if name in _FLOORS:
        return importlib.import_module(f"swath.{name}")
    raise AttributeError(f"module 'swath' has no attribute '{name}'")
