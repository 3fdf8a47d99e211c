"""Map a scene with the model of a run, after a look at whether the two belong together."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.core.errors import MismatchError
from swath.data.readers import open_scene
from swath.data.scene import Scene
from swath.study.recipes import Recipe
from swath.study.run import Model
from swath.study.settings import TaskSettings

if TYPE_CHECKING:
    from torch import nn

    from swath.mapping import MapResult
    from swath.mapping.prediction import MapMode
    from swath.mapping.product import ClassTable

__all__ = ["map_with"]

PathLike = str | os.PathLike[str]


def map_with(
    model: Model,
    network: nn.Module,
    recipe: Recipe,
    scene: Scene | PathLike,
    out: PathLike,
    *,
    mode: MapMode | None = None,
    check_values: bool = True,
    **options: Any,
) -> MapResult:
    """Map a scene as :func:`swath.map_scene` says, with the model of a run and its recipe."""
    from swath import mapping

    opened = _bands_of(model, _open_alike(scene, recipe, options.pop("variable", None)))
    if check_values:
        _check_values(model, opened)
    settings = recipe.mapping
    options = {
        "crop": settings.crop,
        "scales": settings.scales,
        "precision": settings.precision,
        **({} if model.context is None else {"context": model.context}),
        **options,
    }
    return mapping.map_scene(
        network,
        opened,
        out,
        scaling=model.scaling,
        classes=_class_table(model),
        mode=mode or settings.mode,
        **options,
    )


def _class_table(model: Model) -> ClassTable:
    from swath.mapping.product import ClassTable

    return ClassTable(
        tuple(c["name"] for c in model.classes),
        tuple(c["original"] for c in model.classes),
        tuple(tuple(c["colour"]) for c in model.classes),
    )


def _open_alike(scene: Scene | PathLike, recipe: Recipe, variable: str | None) -> Scene:
    """Open a scene to be mapped as the training scene was: same axes, same no-data value."""
    if isinstance(scene, Scene):
        return scene
    if Path(scene).exists():
        task = recipe.task
        if not isinstance(task, TaskSettings):  # tiles: plain images
            return open_scene(scene, variable=variable, check=False)
        same_format = Path(scene).suffix == Path(task.scene).suffix
        axes = task.axes if same_format else None
        return open_scene(scene, variable=variable, axes=axes, nodata=task.nodata, check=False)
    from swath.study.preparation import open_task_scene

    return open_task_scene(TaskSettings(scene=os.fspath(scene)))


def _bands_of(model: Model, opened: Scene) -> Scene:
    """Select the model's bands of a scene; refuse one that does not have them."""
    available = opened.source.shape[2]
    if available != model.available:
        raise MismatchError(
            f"{opened.name} has {available} bands, but the model was trained on a scene of "
            f"{model.available} ({model.scene}); map scenes of the same sensor and processing"
        )
    centres = opened.wavelengths
    if len(opened.bands) == available:
        centres = None if centres is None else tuple(centres[band] for band in model.bands)
    elif opened.bands != model.bands:
        centres = None
    opened = dataclasses.replace(opened, bands=model.bands, wavelengths=centres, band_names=None)
    if centres is not None and model.wavelengths is not None:
        apart = np.abs(np.subtract(centres, model.wavelengths))
        if apart.max() > 10:
            band = int(apart.argmax())
            raise MismatchError(
                f"band {model.bands[band]} of {opened.name} lies at {centres[band]:.0f} nm, but at "
                f"{model.wavelengths[band]:.0f} nm in the model's training scene; is the band "
                "order another?"
            )
    return opened


def _check_values(model: Model, scene: Scene) -> None:
    """Refuse a scene whose values are of another scale than those the model was trained on."""
    from swath.study.models import value_range

    if model.values is None:
        return
    low, high = value_range(scene)
    low_before, high_before = model.values
    ratio = (high - low) / max(high_before - low_before, 1e-12)
    if not 0.1 <= ratio <= 10:
        raise MismatchError(
            f"the values of {scene.name} lie between about {low:.4g} and {high:.4g}, those of the "
            f"model's training scene between {low_before:.4g} and {high_before:.4g}; bring them to "
            "the same scaling, or pass --any-values to map all the same"
        )
