"""Which bands of a scene are worth reading: those with data that varies."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.data.scene import LARGEST, Scene, measured, missing, shown_of

FULL_CHECK = 2**28
"""Scenes up to this many stored numbers are checked whole, larger ones in a sample."""

SAMPLES = 5
"""A large scene is sampled by this many windows in each direction."""

SAMPLE_VALUES = 2**22
"""Stored numbers in one window of a sample."""

TOLERATED = 0.1
"""A band missing in a larger share of the pixels that hold data elsewhere is dropped."""

REMARKABLE = 0.005
"""One value in all bands of a larger share of the pixels may mean that they hold no data."""

FEW_BANDS = 4
"""With fewer, black and white are colours like others, and remarkable in ten times that share."""


def usable_bands(scene: Scene) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the positions among ``scene.bands`` worth keeping, with notes on the rest.

    Pixels without data in any band (borders of a swath) count for nothing.  Among the others, a
    band is dropped when it never holds data, when it is missing (not finite, beyond 1e18 or
    no-data) in more than a tenth of them, or when it is constant.  Pixels that the file masks hold
    no data.  Pixels that may hold none, although nothing says so, are remarked.

    Raises
    ------
    DataError : no band is left.
    """
    bands = list(scene.bands)
    whole = math.prod(scene.source.shape) <= FULL_CHECK
    low = np.full(len(bands), np.inf)
    high = np.full(len(bands), -np.inf)
    absent = np.zeros(len(bands), dtype=np.int64)
    pixels = 0
    flat: Counter[float] = Counter()
    floats = scene.source.dtype.kind == "f"
    for rows, columns in scene.windows() if whole else _sample(scene):
        stored = scene.source.read(rows, columns)[:, :, bands].reshape(-1, len(bands))
        gone = ~measured(stored) if floats else None
        if scene.nodata is not None:
            empty = missing(stored, scene.nodata)
            gone = empty if gone is None else gone | empty
        shown = shown_of(scene.source, rows, columns)
        if shown is not None:
            hidden = np.broadcast_to(~shown.reshape(-1, 1), stored.shape)
            gone = hidden if gone is None else gone | hidden
        if gone is not None and gone.any():
            seen = ~gone.all(axis=1)
            pixels += int(seen.sum())
            absent += gone[seen].sum(axis=0)
            flat.update(_flat_values(stored[~gone.any(axis=1)]))
            values = stored.astype(np.float64)
            low = np.minimum(low, np.where(gone, np.inf, values).min(axis=0))
            high = np.maximum(high, np.where(gone, -np.inf, values).max(axis=0))
        else:
            pixels += len(stored)
            flat.update(_flat_values(stored))
            low = np.minimum(low, stored.min(axis=0))
            high = np.maximum(high, stored.max(axis=0))
    if not pixels and not whole:
        return tuple(range(len(bands))), (
            "the bands were not checked: the sampled windows of this large scene hold no data",
        )
    empty_bands = absent == pixels
    holey = ~empty_bands & (absent > TOLERATED * pixels)
    constant = ~empty_bands & ~holey & (low == high)
    dropped = {
        "without data": _numbers(bands, empty_bands),
        f"missing in over a tenth of the pixels (NaN, beyond {LARGEST:g} or no-data)": _numbers(
            bands, holey
        ),
        "constant": _numbers(bands, constant),
    }
    said = "; ".join(f"{ranges(found)} {why}" for why, found in dropped.items() if found)
    kept = np.flatnonzero(~(empty_bands | holey | constant))
    if not len(kept):
        raise DataError(
            f"no band of {scene.name} can be used: bands {said}; give another file, or open it "
            "with check=False"
        )
    ends = float(low[kept].min()), float(high[kept].max())
    notes = []
    if said:
        where = "" if whole else " (in a sample of this large scene)"
        notes.append(f"dropped {len(bands) - len(kept)} of {len(bands)} bands{where}: {said}")
    if absent[kept].any():
        notes.append(
            "pixels that lack data in any used band are left out (used bands with such pixels: "
            f"{int((absent[kept] > 0).sum())}, at most {int(absent[kept].max())} of {pixels} "
            "pixels in one)"
        )
    least = REMARKABLE if len(kept) >= FEW_BANDS else 10 * REMARKABLE
    notes += [
        f"{count / pixels:.1%} of the pixels hold {value:.10g} in every band; if that means 'no "
        f"data', say so with nodata={value:.10g}"
        for value, count in sorted(flat.items())
        if value in ends and count > least * pixels
    ]
    return tuple(int(position) for position in kept), tuple(notes)


def _flat_values(stored: npt.NDArray[Any]) -> dict[float, int]:
    """Return the values of the pixels (n, bands) that hold one and the same in all of several
    bands, with the number of those pixels.
    """
    if stored.shape[1] < 2:
        return {}
    same = stored[(stored == stored[:, :1]).all(axis=1), 0]
    values, counts = np.unique(same, return_counts=True)
    return dict(zip(values.astype(np.float64).tolist(), counts.tolist(), strict=True))


def ranges(numbers: Iterable[int]) -> str:
    """Write whole numbers shortly.

    >>> ranges([7, 1, 2, 3])
    '1-3, 7'
    """
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def _numbers(bands: list[int], flags: npt.NDArray[np.bool_]) -> list[int]:
    return [band for band, flag in zip(bands, flags, strict=True) if flag]


def _sample(scene: Scene) -> Iterator[tuple[slice, slice]]:
    """Yield square windows spread evenly over the scene."""
    rows, columns, bands = scene.source.shape
    side = max(1, math.isqrt(SAMPLE_VALUES // bands))
    for top in _starts(rows, side):
        for left in _starts(columns, side):
            yield slice(top, min(top + side, rows)), slice(left, min(left + side, columns))


def _starts(length: int, side: int) -> list[int]:
    last = max(0, length - side)
    return sorted({round(last * step / (SAMPLES - 1)) for step in range(SAMPLES)})
