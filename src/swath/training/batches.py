"""What a network is shown of a task, in training and for its scores: the one place that knows all
kinds of tasks.

Of a scene a dense network sees windows, one that answers for a patch
(:class:`~swath.networks.patchwise.Patchwise`) sees patches around single labels.  A task of patches
is for networks that answer for a patch, and shows them as they are.
"""

from __future__ import annotations

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
from swath.tasks.scene import SceneTask
from swath.tasks.windows import WindowSampler

__all__ = ["WINDOW", "Batches", "Run", "answers", "batches", "shown"]

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
) -> Batches:
    """Return what draws the training batches of a task for a kind of network.

    The network's logits for the inputs and the classes are of one shape; of a ``Patchwise`` those
    of its inner network (:func:`~swath.networks.patchwise.patch_network`).

    Parameters
    ----------
    window : rows and columns of a window; patches have the size that the network asks for.
    sampling : see :class:`~swath.tasks.windows.WindowSampler` and
        :class:`~swath.tasks.label_patches.PatchSampler`.
    pool : give only so many windows, drawn once; None: drawn anew.

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
