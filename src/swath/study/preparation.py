"""From a recipe to a task: open the scene, leave out what cannot be used, split, scale."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError, RecipeError, SplitError, nearest
from swath.data.catalogue import CATALOGUE, open_catalogue_scene
from swath.data.labels import LabelMap
from swath.data.readers import open_labels, open_scene, parse_bands
from swath.data.scaling import fit_scaling
from swath.data.scene import Scene
from swath.data.simulate import SIMULATED, simulate
from swath.study.settings import TaskSettings, given_path
from swath.tasks.scene import SceneTask
from swath.tasks.splits import (
    Split,
    fixed_split,
    random_split,
    spatial_split,
    without_small_classes,
)

__all__ = [
    "maps_fingerprint",
    "open_task_scene",
    "prepare_task",
    "scene_path",
    "with_chosen_bands",
]


def open_task_scene(settings: TaskSettings) -> Scene:
    """Open what a recipe calls its scene: a file, a catalogue key or a simulated scene's name.

    Which of them is meant, where it could be several, says :func:`scene_path`.

    Raises
    ------
    DataError : there is no such file or scene, or it cannot be used.
    """
    name = settings.scene
    if not name:
        raise DataError("no scene was given; name a file or a scene of 'swath data list'")
    path = scene_path(name)
    if path is not None:
        return open_scene(
            path,
            settings.labels,
            variable=settings.variable,
            label_variable=settings.label_variable,
            axes=settings.axes,
            bands=settings.bands,
            nodata=settings.nodata,
            unlabelled=settings.unlabelled,
            resample_labels=settings.resample_labels,
        )
    if name in CATALOGUE:
        return _adapted(open_catalogue_scene(name), settings)
    if name in SIMULATED:
        return _adapted(simulate(name), settings)
    known = [*CATALOGUE, *SIMULATED]
    raise DataError(
        f"there is no file '{name}', and no scene of that name{nearest(name, known)}; "
        "'swath data list' shows the scenes"
    )


def scene_path(name: str) -> Path | None:
    """Return the file that is meant by the name of a scene; None: it is no file.

    See :func:`swath.study.settings.given_path`.
    """
    return given_path(name, known=name in CATALOGUE or name in SIMULATED)


def _adapted(scene: Scene, settings: TaskSettings) -> Scene:
    """Apply labels and bands of the settings to a scene known by name."""
    for option in ("variable", "axes", "nodata", "resample_labels"):
        if getattr(settings, option) is not None:
            raise DataError(
                f"--{option.replace('_', '-')} says how to read a file, but {scene.name} is a "
                "scene that swath knows; leave it out, or give the file"
            )
    if settings.labels is not None:
        labels = open_labels(
            settings.labels,
            variable=settings.label_variable,
            unlabelled=settings.unlabelled,
            scene=scene,
        )
        scene = scene.with_labels(labels)
    return with_chosen_bands(scene, settings.bands)


def with_chosen_bands(scene: Scene, bands: str | None) -> Scene:
    """Return an open scene with those of its used bands that a recipe names (None: all).

    Raises
    ------
    DataError : none of them is left, or the choice cannot be read.
    """
    if bands is None:
        return scene
    chosen = set(parse_bands(bands, scene.source.shape[2], scene.name))
    kept = [place for place, band in enumerate(scene.bands) if band in chosen]
    if not kept:
        raise DataError(f"no usable band of {scene.name} is among '{bands}'")
    return scene.with_bands(kept)


def prepare_task(scene: Scene, settings: TaskSettings, seed: int) -> SceneTask:
    """Return the task of a scene: split and scaling as the settings say.

    Labels on pixels without data are left out, and so are small classes where the settings say
    "drop".

    Raises
    ------
    DataError : the scene has no labels, or one band only.
    RecipeError : a setting is of another split.
    SplitError : the labels do not allow the split.
    """
    _check_maps(settings)
    if scene.labels is None and settings.split == "fixed" and _has_maps(settings):
        scene = scene.with_labels(_united(*_maps(settings, scene)))
    if scene.labels is None:
        raise DataError(
            f"{scene.name} has no labels; give a label map with --labels FILE (or, where it is in "
            "the same file, --label-variable NAME)"
        )
    if scene.shape[2] < 2:
        raise DataError(f"{scene.name} has one usable band; a spectral network needs at least two")
    labels, notes = _usable_labels(scene, scene.labels)
    if settings.class_names is not None:
        strange = sorted(settings.class_names.keys() - set(labels.original))
        notes += [f"class_names names {', '.join(map(str, strange))}, which no label has"] * bool(
            strange
        )
        labels = labels.with_names(settings.class_names)
    if settings.small_classes == "drop":
        if settings.train_counts is not None:
            raise SplitError(
                "task.train_counts numbers all classes, but small_classes 'drop' leaves some out; "
                "use 'halve', or one number for all with task.train"
            )
        minimum = settings.minimum or 2 * (settings.train + settings.validation)
        small = [
            f"{name} ({count})"
            for name, count in zip(labels.names, labels.counts(), strict=True)
            if count < minimum
        ]
        if small:
            labels = without_small_classes(labels, minimum)
            notes.append(f"left out, with fewer than {minimum} labels: {', '.join(small)}")
    if labels.classes < 2:
        raise SplitError(
            f"{scene.name} has one class to learn, {labels.names[0]}; at least two are needed "
            f"({_ignored(settings)} no label: if that is a class, give another --unlabelled)"
        )
    left_out = (scene.labels.values >= 0) & (labels.values < 0)
    scene = scene.with_labels(labels)
    split = _split(scene, labels, settings, seed, left_out)
    for part in ("train", "validation", "test"):
        if not getattr(split, part).any():
            raise SplitError(
                f"the {split.protocol} split leaves no {part} label; ask for other numbers of "
                "labels, or give other maps"
            )
    split = dataclasses.replace(split, notes=(*scene.notes, *notes, *split.notes))
    return SceneTask(scene, split, fit_scaling(scene, settings.scaling))


def _ignored(settings: TaskSettings) -> str:
    """Return which values count as no label, with the verb."""
    values = " and ".join(map(str, settings.unlabelled))
    return f"{values} {'mean' if len(settings.unlabelled) > 1 else 'means'}"


def _usable_labels(scene: Scene, labels: LabelMap) -> tuple[LabelMap, list[str]]:
    valid = np.concatenate([scene.valid(*window) for window in scene.windows()])
    lost = int((~valid & (labels.values >= 0)).sum())
    if not lost:
        return labels, []
    values = np.where(valid, labels.values, -1)
    kept = dataclasses.replace(labels, values=values)
    return kept, [f"{lost} labels lie on pixels without data and are left out"]


def _split(
    scene: Scene,
    labels: LabelMap,
    settings: TaskSettings,
    seed: int,
    left_out: npt.NDArray[np.bool_],
) -> Split:
    """Split the labels; ``left_out`` are pixels (rows, columns) that had one and lost it."""
    train, validation = settings.train_counts or settings.train, settings.validation
    small = settings.small_classes if settings.small_classes != "drop" else "raise"
    minimum = settings.minimum if settings.small_classes == "halve" else None
    if settings.split == "random":
        return random_split(labels, train, validation, seed, small_classes=small, minimum=minimum)
    if settings.split == "spatial":
        return spatial_split(
            labels,
            train,
            validation,
            seed,
            block=settings.block,
            guard=settings.guard,
            small_classes=small,
            minimum=minimum,
        )
    if not _has_maps(settings):
        raise SplitError("a fixed split needs both task.train_map and task.test_map")
    train_map, test_map = _maps(settings, scene)
    return fixed_split(
        labels,
        train_map.values >= 0,
        test_map.values >= 0,
        validation,
        seed,
        small_classes=settings.small_classes,
        left_out=left_out,
    )


def _check_maps(settings: TaskSettings) -> None:
    """Refuse maps that the split would not look at."""
    if settings.split == "fixed":
        return
    for key in ("train_map", "test_map", "train_variable", "test_variable"):
        if getattr(settings, key) is not None:
            raise RecipeError(
                f"task.{key} is of the split 'fixed', but this one is '{settings.split}'; leave it "
                "out, or ask for --split fixed"
            )


def _has_maps(settings: TaskSettings) -> bool:
    return settings.train_map is not None and settings.test_map is not None


def _maps(settings: TaskSettings, scene: Scene) -> tuple[LabelMap, LabelMap]:
    """Open the training and the test map of a fixed split of a scene."""
    assert settings.train_map is not None
    assert settings.test_map is not None
    ignored = settings.unlabelled
    train, test = settings.train_variable, settings.test_variable
    return (
        open_labels(settings.train_map, variable=train, unlabelled=ignored, scene=scene),
        open_labels(settings.test_map, variable=test, unlabelled=ignored, scene=scene),
    )


def maps_fingerprint(scene: Scene, settings: TaskSettings) -> str | None:
    """Return what tells the maps of a fixed split from others; None: the split has none.

    Raises
    ------
    DataError : one of them cannot be read, or is of another size than the scene.
    """
    if settings.split != "fixed" or not _has_maps(settings):
        return None
    digest = hashlib.sha256()
    for part in _maps(settings, scene):
        values = np.ascontiguousarray(part.values)
        digest.update(repr((part.shape, part.original)).encode() + values.tobytes())
    return digest.hexdigest()[:16]


def _united(train_map: LabelMap, test_map: LabelMap) -> LabelMap:
    """Return the label map that two maps of different pixels are parts of."""
    if train_map.shape != test_map.shape:
        raise SplitError(
            f"the training map is {train_map.shape} and the test map {test_map.shape} pixels; "
            "give maps of the same scene"
        )
    free = min(*train_map.original, *test_map.original) - 1  # 0 may be a class
    train, test = (part.to_original(part.values, ignore=free) for part in (train_map, test_map))
    return LabelMap.from_array(np.where(train == free, test, train), unlabelled=(free,))
