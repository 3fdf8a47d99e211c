"""The few functions a person calls: open a scene, search, train, map it.

Each arrow of ``task -> space -> (strategy <-> estimator) -> architecture -> trained model -> map ->
report`` is one call in these files.
"""

from swath.api.landscape import footprint
from swath.api.runs import Run, load_architecture, map_scene, open_run
from swath.api.searching import search, train
from swath.data.readers import open_scene

__all__ = [
    "Run",
    "footprint",
    "load_architecture",
    "map_scene",
    "open_run",
    "open_scene",
    "search",
    "train",
]
