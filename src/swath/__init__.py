"""swath: neural architecture search for Earth observation."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_FLOORS = ("data", "estimators", "landscape", "mapping", "spaces", "strategies", "tasks")

__all__ = [
    "Run",
    "Study",
    "__version__",
    "footprint",
    "map_scene",
    "open_run",
    "open_scene",
    "open_study",
    "run_study",
    "search",
    "train",
]

# Where the public names are defined, other than in swath.api.
_HOMES = {
    "Study": "swath.study.studies",
    "open_study": "swath.study.conduct",
    "run_study": "swath.study.conduct",
}
# Parts of floors that have a short name of their own.
_PARTS = {"proxies": "swath.estimators.proxies"}

if TYPE_CHECKING:
    from swath.api import Run, footprint, map_scene, open_run, open_scene, search, train
    from swath.study.conduct import open_study, run_study
    from swath.study.studies import Study


def __getattr__(name: str) -> Any:
    # Imported on first use, so that `import swath` stays fast.
    if name in __all__:
        return getattr(importlib.import_module(_HOMES.get(name, "swath.api")), name)
    if name in _FLOORS:
        return importlib.import_module(f"swath.{name}")
    if name in _PARTS:
        return importlib.import_module(_PARTS[name])
    raise AttributeError(f"module 'swath' has no attribute '{name}'")
