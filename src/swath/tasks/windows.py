"""Training windows cut from a resident scene, and the rule of what they may look at."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from swath.core.errors import SplitError
from swath.core.seeds import numpy_generator

__all__ = [
    "Sampling",
    "WindowSampler",
    "augment",
    "by_class",
    "draw_balanced",
    "labelled_pixels",
    "window_sums",
]

Sampling = Literal["uniform", "balanced"]


@dataclass(frozen=True, eq=False)
class WindowSampler:
    """Draws batches of square windows that hold labels.

    A batch is a function of (seed, step) alone, so training continues after an interruption as if
    there had been none.

    Parameters
    ----------
    image : float32 (bands, rows, columns).
    targets : int64 (rows, columns), -1 unlabelled.
    size : rows and columns of a window; cut to the scene where that is smaller.
    seed : of the draws.
    sampling : "uniform" draws among all windows with a label (3D-ANAS); "balanced" draws a label
        first, each class equally often, then a window around it.
    visible : bool (rows, columns) or None.  Windows are chosen among those with the fewest hidden
        pixels, and hidden pixels are blanked (zero), so nothing of them is ever seen.
    pool : draw this many windows once and only ever give those (3D-ANAS searches on 200), or None.
    """

    image: Tensor
    targets: npt.NDArray[np.int64]
    size: int
    seed: int
    sampling: Sampling = "balanced"
    visible: npt.NDArray[np.bool_] | None = None
    pool: int | None = None

    def __post_init__(self) -> None:
        _ = self._labelled  # refused at once where there is none

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of a window."""
        rows, columns = self.targets.shape
        return min(self.size, rows), min(self.size, columns)

    @cached_property
    def _hidden(self) -> npt.NDArray[np.int64]:
        """Hidden pixels of the window at each start (rows - height + 1, columns - width + 1)."""
        if self.visible is None:
            return np.zeros_like(window_sums(self.targets, *self.shape))
        return window_sums(~self.visible, *self.shape)

    def _around(self, label: int) -> npt.NDArray[np.int64]:
        """The window starts (n, 2) that show a labelled pixel and hide the least."""
        height, width = self.shape
        row, column = self._labelled[label]
        top, left = max(0, row - height + 1), max(0, column - width + 1)
        # A slice ends at the last start of its own accord.
        counts = self._hidden[top : row + 1, left : column + 1]
        return np.argwhere(counts == counts.min()) + np.array([top, left])

    @cached_property
    def _labelled(self) -> npt.NDArray[np.int64]:
        return labelled_pixels(self.targets)

    @cached_property
    def _by_class(self) -> list[npt.NDArray[np.int64]]:
        return by_class(self.targets[tuple(self._labelled.T)])

    @cached_property
    def _all_starts(self) -> npt.NDArray[np.int64]:
        if self.visible is None:
            return np.argwhere(window_sums(self.targets >= 0, *self.shape) > 0)
        around = [self._around(label) for label in range(len(self._labelled))]
        return np.unique(np.concatenate(around), axis=0)

    @cached_property
    def _pool(self) -> npt.NDArray[np.int64]:
        assert self.pool is not None
        return self._draw(self.pool, numpy_generator(self.seed, "pool"))

    def _draw(self, count: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
        if self.sampling == "uniform":
            return self._all_starts[rng.integers(len(self._all_starts), size=count)]
        chosen = [self._around(label) for label in draw_balanced(self._by_class, count, rng)]
        return np.stack([starts[int(rng.integers(len(starts)))] for starts in chosen])

    def batch(self, count: int, step: int, *, augmented: bool = True) -> tuple[Tensor, Tensor]:
        """Return windows (count, bands, rows, columns) and targets (count, rows, columns)."""
        rng = numpy_generator(self.seed, "batch", step)
        if self.pool is None:
            starts = self._draw(count, rng)
        else:
            starts = self._pool[rng.integers(len(self._pool), size=count)]
        height, width = self.shape
        x = self.image.new_empty((count, self.image.shape[0], height, width))
        y = torch.empty((count, height, width), dtype=torch.int64)
        for i, (top, left) in enumerate(starts):
            window = slice(int(top), int(top) + height), slice(int(left), int(left) + width)
            view, labels = self.image[:, *window], torch.from_numpy(self.targets[window])
            if self.visible is not None:
                view = view * torch.from_numpy(self.visible[window])
            if augmented:
                view, labels = augment(view, labels, rng)
            x[i], y[i] = view, labels
        return x, y


def labelled_pixels(targets: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Return row and column of each labelled pixel (n, 2).

    Raises
    ------
    SplitError : there is none.
    """
    if not (targets >= 0).any():
        raise SplitError("there is no label to train on; ask for at least one per class")
    return np.argwhere(targets >= 0)


def by_class(classes: npt.NDArray[np.int64]) -> list[npt.NDArray[np.int64]]:
    """Return the places in ``classes`` of each class that occurs."""
    return [np.flatnonzero(classes == c) for c in np.unique(classes)]


def draw_balanced(
    groups: list[npt.NDArray[np.int64]], count: int, rng: np.random.Generator
) -> list[int]:
    """Draw one of a group, again and again, each group equally often.

    Each in turn, from a random one, so that a small batch leaves none out for long.
    """
    order = np.concatenate([rng.permutation(len(groups)) for _ in range(-(-count // len(groups)))])
    return [int(rng.choice(groups[group])) for group in order[:count]]


def window_sums(values: npt.NDArray[Any], height: int, width: int) -> npt.NDArray[np.int64]:
    """Return the sum over the height x width window at each start."""
    table = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.int64)
    table[1:, 1:] = values.cumsum(0).cumsum(1)
    upper, lower = table[:-height], table[height:]
    return lower[:, width:] - upper[:, width:] - lower[:, :-width] + upper[:, :-width]


def augment(x: Tensor, y: Tensor, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """Flip and rotate a window (bands, rows, columns) and its targets (rows, columns) alike.

    Each flip has probability one half; the quarter turns are uniform (half turns for a window that
    is not square).
    """
    square = x.shape[1] == x.shape[2]
    turns = int(rng.integers(4)) if square else 2 * int(rng.integers(2))
    axes = [axis for axis in (1, 2) if rng.random() < 0.5]
    x, y = torch.rot90(x, turns, (1, 2)), torch.rot90(y, turns, (0, 1))
    if axes:
        x, y = x.flip(axes), y.flip([axis - 1 for axis in axes])
    return x, y
