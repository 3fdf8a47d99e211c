"""What is trained: patches of the scenes in one split, cells drawn at random and along a walk."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from _data import data_folder

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.seeds import numpy_generator
from swath.spaces.nasbench101 import NASBench101

__all__ = [
    "FULL",
    "OPTIONS",
    "QUICK",
    "SENSORS",
    "Plan",
    "drawn_cells",
    "random_walk",
    "space",
    "tasks",
    "walk_hashes",
]

SENSORS = {"sentinel": ("s1", "s2", "s1+s2"), "houston": ("hsi", "rgb", "hsi+rgb")}
OPTIONS = {"channels": 8, "cells": 1, "momentum": 0.8}
# Eight pixels of the RGB are two of the hyperspectral sensor, as far as interpolation reaches.
BLOCKS = {"sentinel": {"block": 64}, "houston": {"block": 48, "guard": 8}}


@dataclass(frozen=True)
class Plan:
    """How much is trained.

    Parameters
    ----------
    scenes : sensors that are compared, by scene.
    cells : drawn uniformly.
    budgets : epochs, each a training of its own.
    steps : of the random walk, which is trained at the last budget.
    seeds : of trainings of the cells; all but the first at the last budget alone.
    walk_seeds : of trainings of the walk.
    train : share of the patches that do not test, by scene.
    resamples : of each bootstrap.
    """

    scenes: Mapping[str, tuple[str, ...]]
    train: Mapping[str, float]
    cells: int = 40
    budgets: tuple[int, ...] = (4, 12, 36)
    steps: int = 40
    seeds: tuple[int, ...] = (0, 1)
    walk_seeds: tuple[int, ...] = (0,)
    resamples: int = 2000


FULL = Plan(SENSORS, {"sentinel": 0.1, "houston": 0.075})
QUICK = Plan({"sentinel": ("s1", "s2")}, {"sentinel": 0.03}, 5, (1, 2), 4, (0,), (0,), 20)


def space() -> NASBench101:
    """Return the space that all networks are of."""
    found = spaces.create("nasbench101", **OPTIONS)
    assert isinstance(found, NASBench101)
    return found


def drawn_cells(plan: Plan) -> list[Architecture]:
    """Return different cells, drawn uniformly."""
    rng = numpy_generator(0, "sensor study", "cells")
    found: dict[Architecture, None] = {}
    while len(found) < plan.cells:
        found[space().sample(rng)] = None
    return list(found)


def random_walk(plan: Plan) -> list[Architecture]:
    """Return a walk that begins at a cell drawn uniformly and flips one bit of it at each step."""
    rng = numpy_generator(0, "sensor study", "walk", 0)
    walk = [space().sample(rng)]
    while len(walk) <= plan.steps:
        around = list(space().encoding_neighbours(walk[-1]))
        if around:
            walk.append(around[rng.integers(len(around))])
        else:  # a cell on its own: begin elsewhere
            walk = [space().sample(rng)]
    return walk


@functools.cache
def cut(scene: str) -> Any:
    """Return the patches of a scene with the bands of all sensors."""
    from swath.data.readers import open_labels, open_scene
    from swath.tasks.patch_cutting import cut_patches

    if scene == "sentinel":
        chip = str(data_folder() / "sen1floods11" / "Spain_7370579_")
        return cut_patches(
            {name: open_scene(f"{chip}{name.upper()}Hand.tif") for name in ("s1", "s2")},
            open_labels(f"{chip}LabelHand.tif", unlabelled=(-1,)),
            16,
            stride=8,
            label="majority",
        )
    crop = data_folder() / "houston_crop" / "houston_dataset.mat"
    files = {"hsi": "hyprImg", "rgb": "rgbImg"}
    patches = cut_patches(
        {name: open_scene(crop, variable=variable) for name, variable in files.items()},
        open_labels(crop, variable="clasLabs", unlabelled=(0,)),
        8,
        stride=4,
        label="majority",
        resample=True,
    )
    return patches.without_small_classes(100)


def tasks(plan: Plan, scene: str) -> dict[str, Any]:
    """Return the task of each choice of sensors: the same patches in the same split."""
    from swath.data.patch_set import ArrayPatches
    from swath.tasks.patch_splits import block_patch_split
    from swath.tasks.patches import PatchTask, fit_patch_scaling

    patches = cut(scene)
    split = block_patch_split(
        patches, 0, test=0.3, validation=0.35, train=plan.train[scene], **BLOCKS[scene]
    )
    pixels, places = patches.source.read(np.arange(patches.count)), patches.sensor_bands()
    found = {}
    for sensors in plan.scenes[scene]:
        names = sensors.split("+")
        some = dataclasses.replace(
            patches,
            source=ArrayPatches(np.concatenate([pixels[:, places[n]] for n in names], axis=1)),
            sensors=tuple(one for one in patches.sensors if one.name in names),
        )
        found[sensors] = PatchTask(some, split, fit_patch_scaling(some, split))
        found[sensors].load()
    return found


def walk_hashes(plan: Plan) -> list[str]:
    """Return the cells of the walk in their order."""
    return [space().cell_hash(cell) for cell in random_walk(plan)]
