"""What a network is shown of a task, in training and for its scores: the one place that knows all
kinds of tasks.

Of a scene a dense network sees windows, one that answers for a patch
(:class:`~swath.networks.patchwise.Patchwise`) sees patches around single labels.  Of tiles a dense
network sees crops, and is judged on whole tiles.  A task of patches is for networks that answer for
a patch, and shows them as they are.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from swath.core.errors import RecipeError
from swath.networks.patchwise import Patchwise, patch_network
from swath.tasks.base import Part, Task
from swath.tasks.label_patches import PatchSampler, PatchSampling, patches_around
from swath.tasks.patches import PatchTask, PatchTaskSampler
from swath.tasks.prefetch import Prefetched
from swath.tasks.scene import SceneTask
from swath.tasks.tiles import Orientations, TileSampler, TileTask
from swath.tasks.windows import WindowSampler

__all__ = ["WINDOW", "Batches", "Run", "ahead", "answers", "batches", "shown"]

WINDOW = 128
"""Rows and columns of the windows in which a dense network labels a scene for its scores."""

_PATCHES = 256

Ints = npt.NDArray[np.int64]
Run = Callable[[nn.Module, Tensor], Tensor]
"""Passes (batch, bands, rows, columns) through a network and returns its logits, on the CPU."""


class Batches(Protocol):
    """Draws training batches; each is a function of a seed and the step alone."""

    def batch(self, count: int, step: int, *, augmented: bool = True) -> tuple[Tensor, Tensor]:
        """Return inputs (count, bands, rows, columns) and classes, -1 unlabelled.

        Classes are (count, rows, columns), or (count,) where there is one for each input.
        """


def batches(
    network: nn.Module,
    task: Task,
    seed: int,
    *,
    window: int,
    sampling: PatchSampling = "uniform",
    pool: int | None = None,
    scales: tuple[float, ...] = (1.0,),
    orientations: Orientations = "all",
) -> Batches:
    """Return what draws the training batches of a task for a kind of network.

    The network's logits for the inputs and the classes are of one shape; of a ``Patchwise`` those
    of its inner network (:func:`~swath.networks.patchwise.patch_network`).

    Parameters
    ----------
    window : rows and columns of a window or crop; patches have the size that the network asks for.
    sampling : see :class:`~swath.tasks.windows.WindowSampler` and
        :class:`~swath.tasks.label_patches.PatchSampler`.
    pool : give only so many windows, drawn once; None: drawn anew.
    scales, orientations : of the crops of tiles, see :class:`~swath.tasks.tiles.TileSampler`.

    Raises
    ------
    RecipeError : the sampling or the pool is none for this kind of network.
    """
    if pool is not None and (isinstance(network, Patchwise) or task.patch is not None):
        raise RecipeError(
            f"a pool of {pool} holds windows, but this network classifies patches; leave the pool "
            "out (null)"
        )
    if isinstance(task, PatchTask):
        if sampling == "repeated":
            raise RecipeError(
                "training.sampling 'repeated' is for the patches around labels of a scene; use "
                "'uniform' or 'balanced'"
            )
        return PatchTaskSampler(task, seed, sampling)
    if isinstance(task, TileTask):
        _check_crops(network, sampling, pool)
        return TileSampler(task, seed, window, scales, orientations)
    scene = _scene(task)
    targets, visible = scene.targets("train"), scene.split.visible
    if isinstance(network, Patchwise):
        return PatchSampler(scene.image, targets, network.patch, seed, sampling, visible)
    if sampling == "repeated":
        raise RecipeError(
            "training.sampling 'repeated' is for networks that classify patches, but this one "
            "labels every pixel of a window; use 'uniform' or 'balanced'"
        )
    return WindowSampler(scene.image, targets, window, seed, sampling, visible, pool)


def _check_crops(network: nn.Module, sampling: PatchSampling, pool: int | None) -> None:
    """Refuse what cannot be had of tiles."""
    if isinstance(network, Patchwise):
        raise RecipeError(
            "this network answers for a patch, but each pixel of a tile has a class; choose a "
            "network that labels pixels, such as those of seg101"
        )
    odd = "" if sampling == "uniform" else f"sampling '{sampling}'"
    odd = odd if pool is None else f"a pool of {pool}"
    if odd:
        raise RecipeError(
            f"crops of tiles are drawn evenly among the tiles, so that {odd} has no meaning; leave "
            "it out"
        )


@contextlib.contextmanager
def ahead(batches: Batches, task: Task, stop: int) -> Iterator[Batches]:
    """Give the same batches; those of tiles are cut, and read, in threads while a network learns.

    Parameters
    ----------
    stop : the step at which the training ends.
    """
    if not isinstance(task, TileTask):
        yield batches
        return
    with Prefetched(batches, threads=1 if task.kept else 2, stop=stop) as prefetched:
        yield prefetched


def answers(
    network: nn.Module, task: Task, part: Part, run: Run, *, window: int = WINDOW
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield a network's logits (labels, classes) and the classes (labels,), each label once.

    Parameters
    ----------
    run : how the network is asked; of a ``Patchwise`` it gets the inner network.
    window : rows and columns in which a scene is labelled.
    """
    for x, truth in shown(network, task, part, window=window):
        labelled = truth >= 0
        yield run(patch_network(network), x).movedim(1, -1)[labelled], truth[labelled]


def shown(
    network: nn.Module, task: Task, part: Part, *, window: int = WINDOW
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a network is shown to be scored: inputs as of :func:`batches`, and their classes.

    Classes are -1 where nothing is asked; every label of ``part`` is there once.
    """
    if isinstance(task, PatchTask):
        yield from _images(task, part)
        return
    if isinstance(task, TileTask):
        yield from _tiles(task, part)
        return
    scene = _scene(task)
    targets = scene.targets(part)
    if isinstance(network, Patchwise):
        yield from _patches(network.patch, scene.image, targets)
    else:
        yield from _windows(scene.image, targets, window)


def _scene(task: Task) -> SceneTask:
    if not isinstance(task, SceneTask):
        raise TypeError(f"networks cannot be trained on a {type(task).__name__}")
    return task


def _windows(image: Tensor, targets: Ints, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    for rows, columns in _label_windows(targets, size):
        truth = torch.from_numpy(targets[rows, columns].copy())
        targets[rows, columns] = -1
        yield image[:, rows, columns].unsqueeze(0), truth.unsqueeze(0)


def _patches(patch: int, image: Tensor, targets: Ints) -> Iterator[tuple[Tensor, Tensor]]:
    places = np.argwhere(targets >= 0)
    for start in range(0, len(places), _PATCHES):
        some = places[start : start + _PATCHES]
        yield patches_around(image, some, patch), torch.from_numpy(targets[tuple(some.T)])


def _images(task: PatchTask, part: Part) -> Iterator[tuple[Tensor, Tensor]]:
    targets = task.targets(part)
    for start in range(0, len(targets), _PATCHES):
        some = np.arange(start, min(start + _PATCHES, len(targets)))
        yield task.images(part, some), torch.from_numpy(targets[some])


def _tiles(task: TileTask, part: Part) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield one tile after the other: they may differ in size."""
    for index in range(task.count(part)):
        image, labels = task.read(part, index)
        if (labels >= 0).any():
            yield image.unsqueeze(0), labels.unsqueeze(0)


def _label_windows(targets: Ints, size: int) -> Iterator[tuple[slice, slice]]:
    """Yield windows of at most size x size, flush with the border, that still hold a label."""
    height, width = targets.shape
    for top in _starts(height, size):
        for left in _starts(width, size):
            window = slice(top, min(top + size, height)), slice(left, min(left + size, width))
            if (targets[window] >= 0).any():
                yield window


def _starts(length: int, size: int) -> list[int]:
    last = max(0, length - size)
    return [*range(0, last, size), last]
