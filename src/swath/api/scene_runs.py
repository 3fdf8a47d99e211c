"""What is particular to a run on a scene: how it is opened, and what comes after training."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.core.tensors import write_tensors
from swath.core.words import counted
from swath.data.labels import LabelMap
from swath.data.readers import open_labels
from swath.data.scene import Scene
from swath.study.recipes import Recipe, TaskSettings
from swath.study.run import RunFolder

if TYPE_CHECKING:
    import torch
    from torch import nn

    from swath.tasks.scene import SceneTask

__all__ = ["finish_scene", "introduce_scene", "is_in_recipe", "open_given_scene"]

Progress = Callable[[dict[str, Any]], None]
PathLike = str | os.PathLike[str]


def is_in_recipe(given: object) -> bool:
    """Whether a scene or labels are known by the recipe alone: a path, a name, or not given."""
    return given is None or isinstance(given, str | os.PathLike)


def open_given_scene(scene: Scene | PathLike | None, labels: Any, task: TaskSettings) -> Scene:
    """Return the scene of a call: an open one with the chosen bands, or what the recipe names."""
    from swath.study.preparation import open_task_scene, with_chosen_bands

    if isinstance(scene, Scene):
        opened = with_chosen_bands(scene, task.bands)
    else:
        opened = open_task_scene(task)
        if is_in_recipe(labels):
            return opened
    if labels is None:
        return opened
    if not isinstance(labels, LabelMap):
        labels = open_labels(
            labels, variable=task.label_variable, unlabelled=task.unlabelled, scene=opened
        )
    return opened.with_labels(labels)


def introduce_scene(task: SceneTask) -> str:
    """Return the line that a run begins with."""
    rows, columns, bands = task.scene.shape
    size = f"{rows} x {columns} pixels, {counted(bands, 'band')}"
    simulated = ", simulated" if task.scene.simulated else ""
    classes = counted(task.classes, "class", "classes")
    return f"{task.scene.name}: {size}, {classes}{simulated}"


def finish_scene(
    task: SceneTask,
    recipe: Recipe,
    folder: RunFolder,
    network: nn.Module,
    device: torch.device,
    progress: Progress,
) -> dict[str, Any]:
    """Map the scene and read the test labels once; return the figures."""
    from swath import mapping
    from swath.mapping.product import ClassTable
    from swath.networks.cost import count_flops_per_pixel
    from swath.tasks.metrics import scores

    settings = recipe.mapping
    table = ClassTable.of(task.labels)
    begun = time.perf_counter()

    def steps(mode: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(
            {"phase": "map", "mode": mode, "done": done, "total": total}
        )

    common: dict[str, Any] = {
        "scaling": task.scaling,
        "crop": settings.crop,
        "scales": settings.scales,
        "precision": settings.precision,
        "device": device,
    }
    made = mapping.map_scene(
        network,
        task.scene,
        folder.map,
        classes=table,
        mode=settings.mode,
        png=folder.path / "map.png",
        title=f"{task.scene.name}, {recipe.space.name}, {settings.mode}",
        keep=True,
        progress=steps(settings.mode),
        **common,
    )
    for note in made.notes:
        progress({"phase": "note", "text": note})
    assert made.indices is not None
    map_seconds = time.perf_counter() - begun
    maps = {settings.mode: made.indices.astype(np.int64)}
    for mode in settings.also:
        if mode not in maps:
            probabilities = mapping.predict_scene(
                network,
                task.scene,
                classes=task.classes,
                mode=mode,
                progress=steps(mode),
                **common,
            )
            maps[mode] = probabilities.argmax(axis=2)
    # The one place where test labels are read: after every choice has been made.
    confusions = {mode: task.test_confusion(indices) for mode, indices in maps.items()}
    write_tensors(
        folder.path / "split.safetensors",
        {"split": task.split.as_map(), "truth": task.labels.values.astype(np.int16)},
    )
    write_tensors(
        folder.path / "map_index.safetensors", {"prediction": made.indices.astype(np.int16)}
    )
    counts = task.split.counts(task.labels)
    return {
        "test": scores(confusions[settings.mode]).to_dict(),
        "test_modes": {mode: scores(c).to_dict() for mode, c in confusions.items()},
        "map_mode": settings.mode,
        "confusion": confusions[settings.mode].tolist(),
        "classes": [
            {
                "name": name,
                "original": original,
                "colour": list(colour),
                "train": int(row[0]),
                "validation": int(row[1]),
                "test": int(row[2]),
            }
            for name, original, colour, row in zip(
                table.names, table.original, table.colours, counts, strict=True
            )
        ],
        "cost": {
            "flops_per_pixel": count_flops_per_pixel(network, task.bands),
            "map_seconds": map_seconds,
        },
        "split": {
            "protocol": task.split.protocol,
            "description": task.split.description,
            "train": int(counts[:, 0].sum()),
            "validation": int(counts[:, 1].sum()),
            "test": int(counts[:, 2].sum()),
            "notes": list(task.split.notes),
        },
        "scene": {
            "name": task.scene.name,
            "rows": task.scene.shape[0],
            "columns": task.scene.shape[1],
            "bands": task.bands,
            "simulated": task.scene.simulated,
            "sensor": task.scene.sensor,
        },
    }
