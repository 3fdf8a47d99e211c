"""Train again what a run found: the settings of that run, less what another task has no use for."""

from __future__ import annotations

import os
from typing import Any

from swath.core.files import expanded
from swath.study.recipes import load_resolved

__all__ = ["settings_of_run"]

PathLike = str | os.PathLike[str]

# Keys of a recipe's task that belong to the fixed split; a retraining with another one drops them.
_OF_FIXED_SPLIT = ("train_map", "test_map", "train_variable", "test_variable")
# Keys of a recipe's task that belong to one scene; a retraining on another scene drops them.
_OF_ONE_SCENE = (
    "scene",
    "labels",
    "masks",
    "variable",
    "label_variable",
    "axes",
    "bands",
    "nodata",
    "unlabelled",
    "class_names",
    "resample_labels",
    *_OF_FIXED_SPLIT,
    "train_counts",
    "block",
)


def settings_of_run(
    source: PathLike, *, scene: Any = None, tiles: Any = None, split: str | None = None
) -> dict[str, Any] | None:
    """Return the recipe of a run folder as it serves for another training; None: it is no run.

    Parameters
    ----------
    scene, tiles, split : what is given anew, in whose place the run's is left out.
    """
    path = expanded(source) / "recipe.yaml"
    if not path.is_file():
        return None
    recipe = load_resolved(path)
    task = recipe.get("task")
    if (scene is not None or tiles is not None) and isinstance(task, dict):
        if (task.get("kind") == "tiles") != (tiles is not None):
            recipe["task"] = task = {}
        for key in _OF_ONE_SCENE:
            task.pop(key, None)
    if split not in (None, "fixed") and isinstance(task, dict):
        for key in _OF_FIXED_SPLIT:
            task.pop(key, None)
    return recipe
