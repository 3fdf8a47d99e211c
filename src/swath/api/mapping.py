"""Map a scene with the model of a run, after a look at whether the two belong together."""

from __future__ import annotations

import dataclasses
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.core.errors import DataError, MismatchError, RecipeError, nearest
from swath.core.words import counted
from swath.data.readers import open_scene, variables
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

# The bands first, second and last, with rows before columns as everywhere.
_ORDERS = ("bands,rows,columns", "rows,bands,columns", "rows,columns,bands")


_READING = ("variable", "axes", "nodata")  # options that say how the file is read


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

    _check_options(options)
    reading = {name: options.pop(name, None) for name in _READING}
    opened = _bands_of(model, _open_alike(model, recipe, scene, **reading))
    if check_values:
        _check_values(model, opened)
    settings = recipe.mapping
    options = {
        "crop": settings.crop,
        "scales": settings.scales,
        "precision": settings.precision,
        **({} if model.context is None else {"context": model.context}),
        **{name: value for name, value in options.items() if value is not None},
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


def _check_options(options: Mapping[str, Any]) -> None:
    from swath.mapping.prediction import MapOptions
    from swath.mapping.scenes import map_scene

    own = inspect.signature(map_scene).parameters.values()
    taken = {"scaling", "classes", "mode"}  # which the model says, or an argument of its own
    known = {one.name for one in own if one.kind is one.KEYWORD_ONLY} | set(_READING)
    known = (known | set(MapOptions.__annotations__)) - taken
    for name in options:
        if name not in known:
            raise RecipeError(
                f"a map has no option '{name}'{nearest(name, known)}; it has: "
                f"{', '.join(sorted(known))}"
            )


def _class_table(model: Model) -> ClassTable:
    from swath.mapping.product import ClassTable

    return ClassTable(
        tuple(c["name"] for c in model.classes),
        tuple(c["original"] for c in model.classes),
        tuple(tuple(c["colour"]) for c in model.classes),
    )


def _open_alike(
    model: Model,
    recipe: Recipe,
    scene: Scene | PathLike,
    variable: str | None,
    axes: str | None,
    nodata: float | None,
) -> Scene:
    """Open a scene to be mapped as the training scene was: same axes, same no-data value.

    What is given goes before.
    """
    from swath.study.preparation import open_task_scene, scene_path

    if isinstance(scene, Scene):
        return scene if nodata is None else dataclasses.replace(scene, nodata=nodata)
    path = scene_path(os.fspath(scene))
    if path is None:
        return open_task_scene(
            TaskSettings(scene=os.fspath(scene), variable=variable, axes=axes, nodata=nodata)
        )
    if isinstance(recipe.task, TaskSettings):  # else tiles: plain images
        nodata = recipe.task.nodata if nodata is None else nodata
        if axes is None and path.suffix == Path(recipe.task.scene).suffix:
            axes = recipe.task.axes

    opened = open_scene(path, variable=variable, axes=axes, nodata=nodata, check=False)
    if not _is_guess(opened):
        return opened
    axes = _axes_by_bands(path, variable, model.available)
    if axes is None or opened.source.shape[2] == model.available:
        return opened
    return open_scene(path, variable=variable, axes=axes, nodata=nodata, check=False)


def _is_guess(scene: Scene) -> bool:
    """Whether nothing but their lengths told the axes of a file's array apart.

    Unlike the training scene, one to be mapped has no labels whose size would tell.
    """
    # The note of such a guess is all that tells of it, and names the way out.
    return any("axes=" in note for note in scene.notes)


def _axes_by_bands(path: Path, variable: str | None, bands: int) -> str | None:
    """Return the order of an array's axes under which it has so many bands; None: there is none.

    Raises
    ------
    MismatchError : there are several.
    """
    shape = next(
        lengths
        for name, lengths in variables(path).items()
        if len(lengths) == 3 and variable in (None, name, name.rsplit("/", 1)[-1])
    )
    fitting = [order for order, length in zip(_ORDERS, shape, strict=True) if length == bands]
    if len(fitting) > 1:
        raise MismatchError(
            f"more than one axis of {path}, of shape {shape}, is as long as the model has bands; "
            f"say which with --axes, such as --axes {fitting[0]}"
        )
    return fitting[0] if fitting else None


def _bands_of(model: Model, opened: Scene) -> Scene:
    """Select the model's bands of a scene; refuse one that does not have them."""
    available = opened.source.shape[2]
    if available != model.available:
        raise MismatchError(
            f"{opened.name} has {counted(available, 'band')}, but the model was trained on a scene "
            f"of {model.available} ({model.scene}); map scenes of the same sensor and processing"
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
    if low == high == 0 and not any(scene.valid(*window).any() for window in scene.windows()):
        raise DataError(f"{scene.name} holds no data that could be mapped; give another file")
    low_before, high_before = model.values
    ratio = (high - low) / max(high_before - low_before, 1e-12)
    if not 0.1 <= ratio <= 10:
        raise MismatchError(
            f"the values of {scene.name} lie between about {low:.4g} and {high:.4g}, those of the "
            f"model's training scene between {low_before:.4g} and {high_before:.4g}; bring them to "
            "the same scaling, or pass --any-values to map all the same"
        )
