"""The patches task: small images with one label each, of one or several sensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from swath.core.errors import MismatchError, RecipeError
from swath.core.seeds import numpy_generator
from swath.data.patch_set import PatchSet
from swath.data.scaling import Scaling, ScalingKind, fit_scaling
from swath.data.scene import Scene
from swath.tasks.base import Criterion, Part
from swath.tasks.label_patches import turn_each
from swath.tasks.metrics import confusion
from swath.tasks.patch_splits import PatchSplit
from swath.tasks.windows import Sampling, by_class, draw_balanced

__all__ = ["Fusion", "PatchTask", "PatchTaskSampler", "fit_patch_scaling"]

Ints = npt.NDArray[np.int64]
Fusion = Literal["input", "late"]
"""Where sensors come together; see :class:`PatchTask`."""

_FITTED = 10_000  # training patches, evenly spaced, that a scaling is fitted on
_READ = 1024  # patches read at once


@dataclass(frozen=True, eq=False)
class PatchTask:
    """What a network is to learn: the class of each small image.

    Training and selection read :meth:`images` and :meth:`targets`, which give no test patch.  Test
    labels are read in :meth:`test_confusion` alone.

    Parameters
    ----------
    patches : with their labels.
    split : of them.
    scaling : of their bands, fitted on training patches (:func:`fit_patch_scaling`).
    sensor_dropout : probability with which a training patch shows nothing (zeros) of a sensor; one
        sensor is always left.  The network learns to do without.
    fusion : "input": a network reads the bands of all sensors; "late": one network for each sensor,
        of one architecture, whose logits are averaged.
    memory : training and validation patches of up to so many bytes together are kept in memory,
        scaled; more are read from their files at each batch.

    Raises
    ------
    MismatchError : split or scaling are of other patches.
    RecipeError : the dropout is no probability, or there is a single sensor.
    """

    patches: PatchSet
    split: PatchSplit
    scaling: Scaling
    sensor_dropout: float = 0.0
    fusion: Fusion = "input"
    memory: int = 2**31

    def __post_init__(self) -> None:
        if len(self.split.train) != self.patches.count:
            raise MismatchError(
                f"the split is of {len(self.split.train)} patches, but {self.patches.name} has "
                f"{self.patches.count}"
            )
        if self.scaling.bands != self.bands:
            raise MismatchError(
                f"the scaling was fitted on {self.scaling.bands} bands, but {self.patches.name} "
                f"has {self.bands}"
            )
        if not 0 <= self.sensor_dropout < 1:
            raise RecipeError(f"task.sensor_dropout must lie in [0, 1), not {self.sensor_dropout}")
        for name, asked in (("sensor_dropout", self.sensor_dropout), ("fusion", self.fusion)):
            if asked not in (0, "input") and len(self.patches.sensors) < 2:
                raise RecipeError(
                    f"task.{name} {asked} needs several sensors, but there is "
                    f"'{self.patches.sensors[0].name}' alone; leave it out"
                )

    @property
    def bands(self) -> int:
        """Number of bands of all sensors together."""
        return self.patches.bands

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.patches.classes

    @property
    def patch(self) -> int:
        """Rows, and columns, of a patch."""
        return self.patches.side

    @property
    def criterion(self) -> Criterion:
        """The overall accuracy."""
        return "oa"

    def load(self) -> None:
        """Read training and validation patches into memory, if they are to be kept there."""
        _ = self._kept

    def targets(self, part: Part) -> Ints:
        """Return the class of each patch of a part, (patches of the part,)."""
        return self.patches.labels[self._places(part)]

    def images(self, part: Part, chosen: Ints) -> Tensor:
        """Return some patches of a part, scaled, float32 (len(chosen), bands, rows, columns).

        Parameters
        ----------
        chosen : their numbers within the part.
        """
        if part in self._kept:
            return self._kept[part][torch.from_numpy(chosen)]
        return self._read(self._places(part)[chosen])

    def test_images(self, count: int = 256) -> Iterator[Tensor]:
        """Yield the test patches in their order, ``count`` at a time, scaled; no labels."""
        places = np.flatnonzero(self.split.test)
        for start in range(0, len(places), count):
            yield self._read(places[start : start + count])

    def test_confusion(self, prediction: npt.NDArray[np.integer]) -> Ints:
        """Return the confusion matrix of the classes (test patches,) predicted for
        :meth:`test_images`; to be asked once, at the end.
        """
        return confusion(self.patches.labels[self.split.test], prediction, self.classes)

    def _places(self, part: Part) -> Ints:
        return np.flatnonzero(self.split.train if part == "train" else self.split.validation)

    @cached_property
    def _kept(self) -> dict[Part, Tensor]:
        parts: tuple[Part, ...] = ("train", "validation")
        counts = {part: len(self._places(part)) for part in parts}
        if 4 * sum(counts.values()) * self.bands * self.patch**2 > self.memory:
            return {}
        kept = {}
        for part, count in counts.items():
            kept[part] = torch.empty(count, self.bands, self.patch, self.patch)
            for start in range(0, count, _READ):
                places = self._places(part)[start : start + _READ]
                kept[part][start : start + _READ] = self._read(places)
        return kept

    def _read(self, places: Ints) -> Tensor:
        pixels = np.moveaxis(self.patches.source.read(places), 1, 3)
        scaled = np.moveaxis(self.scaling.apply(pixels), 3, 1)
        return torch.from_numpy(np.ascontiguousarray(scaled))


@dataclass(frozen=True, eq=False)
class PatchTaskSampler:
    """Draws batches of training patches with their classes.

    A batch is a function of (seed, step) alone.

    Parameters
    ----------
    task : whose training patches are drawn.
    seed : of the draws.
    sampling : "uniform" draws among all patches, "balanced" each class equally often.
    """

    task: PatchTask
    seed: int
    sampling: Sampling = "uniform"

    @cached_property
    def _classes(self) -> Ints:
        return self.task.targets("train")

    @cached_property
    def _by_class(self) -> list[Ints]:
        return by_class(self._classes)

    def batch(self, count: int, step: int, *, augmented: bool = True) -> tuple[Tensor, Tensor]:
        """Return patches (count, bands, rows, columns) and their classes (count,)."""
        rng = numpy_generator(self.seed, "batch", step)
        if self.sampling == "uniform":
            chosen = rng.integers(len(self._classes), size=count)
        else:
            chosen = np.array(draw_balanced(self._by_class, count, rng))
        x = self.task.images("train", chosen)
        if augmented:
            x = turn_each(x, rng)
        if self.task.sensor_dropout:
            self._drop(x, rng)
        return x, torch.from_numpy(self._classes[chosen])

    def _drop(self, x: Tensor, rng: np.random.Generator) -> None:
        """Blank sensors of patches in place; where all are drawn, one of them stays."""
        sensors = self.task.patches.sensor_bands().values()
        dropped = rng.random((len(x), len(sensors))) < self.task.sensor_dropout
        staying = rng.integers(len(sensors), size=len(x))
        full = np.flatnonzero(dropped.all(axis=1))
        dropped[full, staying[full]] = False
        for number, bands in enumerate(sensors):
            x[torch.from_numpy(dropped[:, number]), bands] = 0


def fit_patch_scaling(
    patches: PatchSet, split: PatchSplit, kind: ScalingKind = "standard"
) -> Scaling:
    """Measure the bands over training patches alone, of more than 10,000 over so many of them.

    Raises
    ------
    RecipeError, DataError : as of :func:`~swath.data.scaling.fit_scaling`.
    """
    places = np.flatnonzero(split.train)
    some = np.unique(np.linspace(0, len(places) - 1, _FITTED).astype(np.int64))
    return fit_scaling(Scene(patches.name, _Pile(patches, places[some])), kind)


class _Pile:
    """Patches one below the other as one image, for what is measured window by window."""

    dtype: np.dtype[Any] = np.dtype(np.float32)

    def __init__(self, patches: PatchSet, places: Ints) -> None:
        self._patches, self._places = patches, places

    @property
    def shape(self) -> tuple[int, int, int]:
        side = self._patches.side
        return len(self._places) * side, side, self._patches.bands

    def read(self, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        side = self._patches.side
        first = rows.start // side
        pixels = self._patches.source.read(self._places[first : -(-rows.stop // side)])
        pile = np.moveaxis(pixels, 1, 3).reshape(-1, side, self._patches.bands)
        return pile[rows.start - first * side : rows.stop - first * side, columns]
