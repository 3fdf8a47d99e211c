"""Patches with one label each, cut from the co-registered scenes of one or several sensors."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.core.seeds import numpy_generator
from swath.data.labels import LabelMap
from swath.data.patch_set import PatchSet
from swath.data.readers import majority_labels
from swath.data.scene import Scene
from swath.data.stacking import stack_scenes
from swath.tasks.windows import window_sums

__all__ = ["PatchLabel", "cut_patches"]

PatchLabel = Literal["centre", "majority"]
"""Which label a patch has; see :func:`cut_patches`."""

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]


def cut_patches(
    scenes: Mapping[str, Scene],
    labels: LabelMap,
    patch: int,
    *,
    stride: int | None = None,
    per_class: int | None = None,
    seed: int = 0,
    label: PatchLabel = "centre",
    resample: bool = False,
) -> PatchSet:
    """Cut patches that lie wholly within the scenes and hold data in every pixel.

    Parameters
    ----------
    scenes : by the names of their sensors; see :func:`~swath.data.stacking.stack_scenes`.
    labels : on the grid of the scene with the most pixels, or, with ``resample``, a whole number
        of times finer, and then reduced by majority.
    patch : rows and columns of a patch.
    stride : pixels between neighbours of a regular grid; None: ``patch``, so that none overlap.
    per_class : instead of a grid, draw so many places for each class; they may overlap.
    seed : of that draw.
    label : that of the middle pixel (of an even patch the one below and right of the middle), or
        the class that most labelled pixels of the patch have (of equals the first), provided that
        at least half of them are labelled.
    resample : see :func:`~swath.data.stacking.stack_scenes`.

    Returns
    -------
    All classes of the labels, also those of which there is no patch.

    Raises
    ------
    DataError : the scenes or labels do not fit, a class has fewer places than were asked for, or
        there is no patch.
    """
    if (
        patch < 1
        or (stride is not None and stride < 1)
        or (per_class is not None and per_class < 1)
    ):
        raise DataError(
            f"a patch of {patch} pixels with stride {stride} and {per_class} per class makes no "
            "sense; all are at least 1"
        )
    if stride is not None and per_class is not None:
        raise DataError("patches lie on a grid (stride) or are drawn (per_class); give one of them")
    if label not in get_args(PatchLabel):
        raise DataError(f"the label of a patch is 'centre' or 'majority', not {label!r}")
    stack = stack_scenes(scenes, resample=resample)
    rows, columns = stack.valid.shape
    labels, notes = _on_grid(labels, (rows, columns), resample)
    if patch > min(rows, columns):
        raise DataError(
            f"a patch of {patch} pixels does not fit into {rows} x {columns}; give a smaller one"
        )
    classes = _classes(labels, patch, label)
    whole = window_sums(~stack.valid, patch, patch) == 0
    if per_class is None:
        wanted = np.zeros_like(whole)
        wanted[:: stride or patch, :: stride or patch] = True
        unlabelled = int((wanted & (classes < 0)).sum())
        missing = int((wanted & (classes >= 0) & ~whole).sum())
        if unlabelled or missing:
            notes.append(
                f"of {int(wanted.sum())} places of the grid, {unlabelled} have no label and "
                f"{missing} pixels without data"
            )
        corners = np.argwhere(wanted & whole & (classes >= 0))
    else:
        corners = _drawn(np.where(whole, classes, -1), labels, per_class, seed)
    if not len(corners):
        raise DataError(
            f"no patch of {patch} pixels has a label and data in every pixel; give a smaller one"
        )
    return PatchSet(
        "+".join(scene.name for scene in scenes.values()),
        _CutPatches(stack.image, corners, patch),
        classes[tuple(corners.T)],
        labels.names,
        stack.sensors,
        corners,
        (*stack.notes, *notes),
    )


def _on_grid(
    labels: LabelMap, shape: tuple[int, int], resample: bool
) -> tuple[LabelMap, list[str]]:
    if labels.shape == shape:
        return labels, []
    sizes = f"{labels.shape[0]} x {labels.shape[1]}", f"{shape[0]} x {shape[1]}"
    if not resample:
        raise DataError(
            f"the labels have {sizes[0]} pixels (rows x columns), but the scenes {sizes[1]}; give "
            "labels on their grid, or ask for finer ones to be resampled (resample)"
        )
    reduced = majority_labels(labels, *shape)
    return reduced, [f"labels reduced from {sizes[0]} to {sizes[1]} pixels by majority"]


def _classes(labels: LabelMap, patch: int, label: PatchLabel) -> Ints:
    """Return the class of the patch that begins at each pixel, -1 where it has none."""
    rows, columns = labels.shape[0] - patch + 1, labels.shape[1] - patch + 1
    middle = patch // 2
    if label == "centre":
        return labels.values[middle : middle + rows, middle : middle + columns]
    most = np.zeros((rows, columns), np.int64)
    winner = np.full((rows, columns), -1, np.int64)
    for number in range(labels.classes):
        votes = window_sums(labels.values == number, patch, patch)
        winner[votes > most] = number
        most = np.maximum(most, votes)
    labelled = window_sums(labels.values >= 0, patch, patch)
    return np.where(2 * labelled >= patch**2, winner, -1)


def _drawn(classes: Ints, labels: LabelMap, count: int, seed: int) -> Ints:
    """Draw ``count`` places of each class."""
    corners = []
    for number, name in enumerate(labels.names):
        places = np.argwhere(classes == number)
        if len(places) < count:
            raise DataError(
                f"class '{name}' has {len(places)} places for {count} patches; ask for fewer "
                "(per_class), or leave the class unlabelled"
            )
        rng = numpy_generator(seed, "patches", number)
        corners.append(places[np.sort(rng.choice(len(places), count, replace=False))])
    return np.concatenate(corners)


@dataclass(frozen=True, eq=False)
class _CutPatches:
    """Parts of one image, which overlapping patches share."""

    image: Floats
    corners: Ints
    side: int

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.corners), len(self.image), self.side, self.side

    def read(self, places: Ints) -> Floats:
        windows = np.lib.stride_tricks.sliding_window_view(
            self.image, (self.side, self.side), axis=(1, 2)
        )
        rows, columns = self.corners[places].T
        return np.ascontiguousarray(windows[:, rows, columns].swapaxes(0, 1))
