"""What is kept of a trained network, so that it can map other images of the sensor."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.data.labels import Colour
from swath.data.scene import Scene
from swath.spaces.base import SearchSpace
from swath.study.recipes import Recipe
from swath.study.run import Model
from swath.tasks.scene import SceneTask
from swath.tasks.tiles import TileTask

__all__ = ["describe_model", "value_range"]

_LOOKED_AT = 8  # windows or tiles, of which the range of values is taken


def describe_model(
    task: SceneTask | TileTask,
    recipe: Recipe,
    space: SearchSpace | None,
    architecture: Architecture | None,
) -> Model:
    """Return the facts of a model of a task.

    Parameters
    ----------
    space, architecture : of the network; None of one that no space has, which the recipe names.
    """
    network = recipe.network
    common: dict[str, Any] = {
        "architecture": architecture,
        "space_options": {} if space is None else space.options,
        "network": None if network is None else network.model_dump(mode="json"),
        "scaling": task.scaling,
    }
    if isinstance(task, TileTask):
        tiles = task.tiles
        return Model(
            **common,
            bands=tuple(range(tiles.bands)),
            available=tiles.bands,
            wavelengths=None,
            values=_values_of_tiles(task),
            classes=_classes(tiles.classes.names, tiles.classes.original, tiles.classes.colours),
            sensor=None,
            scene=tiles.name,
            context=int(tiles.sizes.max()),
        )
    scene, labels = task.scene, task.labels
    return Model(
        **common,
        bands=scene.bands,
        available=scene.source.shape[2],
        wavelengths=scene.wavelengths,
        values=value_range(scene),
        classes=_classes(labels.names, labels.original, labels.colours),
        sensor=scene.sensor,
        scene=scene.name,
    )


def value_range(scene: Scene) -> tuple[float, float]:
    """Return the 2nd and 98th percentile of a scene's values, from a few of its windows."""
    every = list(scene.windows(2**21))
    parts = []
    for window in every[:: max(1, len(every) // _LOOKED_AT)]:
        pixels, valid = scene.read_valid(*window)
        parts.append(pixels[valid].ravel()[::7])
    return _percentiles(parts)


def _values_of_tiles(task: TileTask) -> tuple[float, float]:
    """Return the same of a few training tiles."""
    places = np.flatnonzero(task.split.train)
    some = places[:: max(1, len(places) // _LOOKED_AT)]
    return _percentiles([task.tiles.read(int(place))[0].ravel()[::7] for place in some])


def _percentiles(parts: list[npt.NDArray[Any]]) -> tuple[float, float]:
    values = np.concatenate(parts)
    if not values.size:
        return 0.0, 0.0
    low, high = np.percentile(values, (2, 98))
    return float(low), float(high)


def _classes(
    names: Iterable[str], original: Iterable[int], colours: Iterable[Colour]
) -> tuple[dict[str, Any], ...]:
    return tuple(
        {"name": name, "original": value, "colour": list(colour)}
        for name, value, colour in zip(names, original, colours, strict=True)
    )
