"""What a prediction is: blocks of class probabilities, computed while they are read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypedDict

import numpy as np
import numpy.typing as npt
import torch

from swath.core.devices import Precision
from swath.networks.receptive_field import Halo

__all__ = [
    "Block",
    "Floats",
    "MapMode",
    "MapOptions",
    "MapPrecision",
    "Mask",
    "Prediction",
    "Progress",
    "Reader",
    "read_array",
]

MapMode = Literal["plain", "windows", "ov", "ms", "ms+ov"]
MapPrecision = Literal["float32", "bfloat16", "auto"]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

Reader = Callable[[slice, slice], tuple[Floats, Mask]]
"""Returns a window: scaled pixels (rows, columns, bands) and which of them hold data."""

Progress = Callable[[int, int], None]
"""Called with the pixels looked at so far and in all."""


class MapOptions(TypedDict, total=False):
    """How a scene is mapped: the options of :func:`swath.mapping.engine.predict`."""

    mode: MapMode
    crop: int
    scales: Sequence[int]
    window: int | None
    context: int | None
    halo: Halo | None
    batch: int | None
    device: str | torch.device | None
    precision: MapPrecision
    workers: int
    scheduler: str | None
    progress: Progress | None


class Block(NamedTuple):
    """The answers for one part of the scene.

    Parameters
    ----------
    rows, columns : where it lies.
    probabilities : (rows, columns, classes), summing to one over the classes.
    valid : (rows, columns), False where the scene holds no data.
    """

    rows: slice
    columns: slice
    probabilities: Floats
    valid: Mask


@dataclass(frozen=True)
class Prediction:
    """A prediction to be computed block by block, while it is iterated over.

    Parameters
    ----------
    mode : how it is done, which may differ from what was asked for; ``notes`` then say why.
    shape : rows and columns of the scene.
    halo : what each window of mode ``plain`` looks at beyond itself; None in the other modes, and
        where the scene is passed whole.
    window : core size of mode ``plain``, or the window sizes (rows, columns) of the other modes.
    precision : in which it is computed, which may differ from what was asked for as well.
    """

    mode: MapMode
    shape: tuple[int, int]
    halo: Halo | None
    window: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]
    precision: Precision
    _blocks: Callable[[], Iterator[Block]]

    def __iter__(self) -> Iterator[Block]:
        return self._blocks()

    def array(self) -> Floats:
        """Compute all of it and return the probabilities (rows, columns, classes)."""
        result: Floats | None = None
        for block in self:
            if result is None:
                result = np.zeros((*self.shape, block.probabilities.shape[2]), dtype=np.float32)
            result[block.rows, block.columns] = block.probabilities
        assert result is not None
        return result


def read_array(pixels: npt.ArrayLike, valid: npt.ArrayLike | None = None) -> Reader:
    """Return the reader of a scaled cube (rows, columns, bands) in memory.

    Parameters
    ----------
    pixels : scaled as the network expects, no-data already replaced.
    valid : (rows, columns); by default every pixel holds data.
    """
    cube = np.asarray(pixels, dtype=np.float32)
    known = np.ones(cube.shape[:2], dtype=np.bool_) if valid is None else np.asarray(valid)
    return _ArrayReader(cube, known)


@dataclass(frozen=True)
class _ArrayReader:
    cube: Floats
    known: Mask

    def __call__(self, rows: slice, columns: slice) -> tuple[Floats, Mask]:
        return self.cube[rows, columns], self.known[rows, columns]
