"""What is particular to a run on tiles: its first line, and what comes after training."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import RecipeError
from swath.core.tensors import write_tensors
from swath.core.words import counted
from swath.study.recipes import Recipe
from swath.study.run import RunFolder

if TYPE_CHECKING:
    import torch
    from torch import nn

    from swath.tasks.base import Part
    from swath.tasks.metrics import Scores
    from swath.tasks.tiles import TileTask

__all__ = ["check_sampling", "finish_tiles", "introduce_tiles", "segmentation_figures"]

Progress = Callable[[dict[str, Any]], None]
_SHOWN = 6  # test tiles that the report shows, evenly spaced


def check_sampling(recipe: Recipe) -> None:
    """Refuse what a recipe says of drawing windows that cannot be said of crops of tiles.

    Raises
    ------
    RecipeError : it asks for another sampling, or for a pool.
    """
    said: dict[str, Any] = {"training.sampling": recipe.training.sampling}
    given = recipe.network is not None or recipe.architecture is not None
    if recipe.one_shot is not None and not given:
        said["one_shot.training.sampling"] = recipe.one_shot.training.sampling
    elif recipe.study is None and not given:
        said |= {"search.sampling": recipe.search.sampling, "search.pool": recipe.search.pool}
    wanted = {key: None if key.endswith("pool") else "uniform" for key in said}
    wrong = [f"{key}={wanted[key] or 'null'}" for key in said if said[key] != wanted[key]]
    if wrong:
        raise RecipeError(
            "crops of tiles are drawn evenly among the tiles, which allows neither another "
            f"sampling nor a pool; set {' and '.join(wrong)}"
        )


def introduce_tiles(task: TileTask) -> str:
    """Return the line that a run begins with."""
    tiles = task.tiles
    images = len(tiles.images)
    cut = "" if images == tiles.count else f", cut from {counted(images, 'image')}"
    return (
        f"{tiles.name}: {counted(tiles.count, 'tile')}{cut}, {counted(task.bands, 'band')}, "
        f"{counted(task.classes, 'class', 'classes')}"
    )


def segmentation_figures(found: Scores) -> dict[str, Any]:
    """Return the scores of segmented tiles as ``metrics.json`` has them."""
    target = {"iou_target": found.target_iou} if len(found.iou) > 1 else {}
    return {"miou": found.miou, **target, "fwiou": found.fwiou, **found.to_dict()}


def finish_tiles(
    task: TileTask,
    recipe: Recipe,
    folder: RunFolder,
    network: nn.Module,
    device: torch.device,
    progress: Progress,
) -> dict[str, Any]:
    """Label the test tiles and read their truth once; return the figures."""
    from swath.networks.cost import count_flops_per_pixel
    from swath.tasks.metrics import scores

    begun = time.perf_counter()
    tiles = task.tiles
    total = int(task.split.test.sum())
    shown = set(np.linspace(0, total - 1, min(_SHOWN, total)).astype(int).tolist())
    kept: dict[int, npt.NDArray[np.int64]] = {}

    def predictions() -> Iterator[npt.NDArray[np.int64]]:
        for number, indices in enumerate(_labelled(task, network, device, recipe)):
            if number in shown:
                kept[number] = indices
            progress({"phase": "map", "mode": "test tiles", "done": number + 1, "total": total})
            yield indices

    # The one place where test labels are read: after every choice has been made.
    confusion = task.test_confusion(predictions())
    seconds = time.perf_counter() - begun
    places = np.flatnonzero(task.split.test)
    pictures: dict[str, npt.NDArray[Any]] = {}
    for number, indices in kept.items():
        pixels, truth = tiles.read(int(places[number]))
        pictures[f"{number}.image"] = _picture(pixels)
        pictures[f"{number}.truth"] = truth.astype(np.int16)
        pictures[f"{number}.prediction"] = indices.astype(np.int16)
    names = "\n".join(_name(task, int(places[number])) for number in kept)
    write_tensors(folder.path / "tiles.safetensors", pictures, {"names": names})
    side = int(tiles.sizes.max())
    pixels_of = {
        "train": _class_pixels(task, "train"),
        "validation": _class_pixels(task, "validation"),
        "test": confusion.sum(axis=1),
    }
    classes = tiles.classes
    return {
        "test": segmentation_figures(scores(confusion)),
        "confusion": confusion.tolist(),
        "classes": [
            {
                "name": name,
                "original": original,
                "colour": list(colour),
                **{part: int(counts[number]) for part, counts in pixels_of.items()},
            }
            for number, (name, original, colour) in enumerate(
                zip(classes.names, classes.original, classes.colours, strict=True)
            )
        ],
        "cost": {
            "flops_per_pixel": count_flops_per_pixel(network, task.bands, recipe.training.window),
            "map_seconds": seconds,
        },
        "split": {
            "protocol": task.split.protocol,
            "description": task.split.description,
            "train": task.count("train"),
            "validation": task.count("validation"),
            "test": total,
            "notes": list(task.split.notes),
        },
        "scene": {
            "name": tiles.name,
            "tiles": tiles.count,
            "images": len(tiles.images),
            "side": side,
            "test_pixels": int(confusion.sum()),
            "bands": task.bands,
            "simulated": False,
            "sensor": None,
        },
    }


def _labelled(
    task: TileTask, network: nn.Module, device: torch.device, recipe: Recipe
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield the classes (rows, columns) that a network gives each test tile."""
    import torch

    from swath.core.devices import autocast

    network.eval()
    with torch.inference_mode():
        for image in task.test_images():
            with autocast(device, recipe.training.precision):
                logits = network(image.unsqueeze(0).to(device))
            yield logits.argmax(1).squeeze(0).cpu().numpy()


def _class_pixels(task: TileTask, part: Part) -> npt.NDArray[np.int64]:
    """Return the labelled pixels of each class in the images of a part."""
    tiles = task.tiles
    images = np.unique(tiles.groups[getattr(task.split, part)])
    counts: npt.NDArray[np.int64] = tiles.image_counts[images].sum(axis=0)
    return counts


def _name(task: TileTask, place: int) -> str:
    """Return the file of a tile, and where it lies there if it is not the whole image."""
    tiles = task.tiles
    window = tiles.windows[place]
    image = tiles.images[window.image]
    whole = (image.rows, image.columns) == window.size
    return (
        image.image.name
        if whole
        else (f"{image.image.name}, row {window.rows.start}, column {window.columns.start}")
    )


def _picture(pixels: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Return pixels (rows, columns, bands) as an RGB picture: the first three bands, stretched."""
    bands = pixels[:, :, :3] if pixels.shape[2] >= 3 else pixels[:, :, :1]
    low, high = np.nanpercentile(bands, (1, 99), axis=(0, 1))
    scaled = (bands - low) / np.maximum(high - low, 1e-12)
    grey = np.nan_to_num(np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    return np.broadcast_to(grey, (*grey.shape[:2], 3)).copy()
