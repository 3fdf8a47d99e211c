"""A set of patches: small images of one size with one label each, of one or several sensors.

Sensors are stacked at the input: a patch has the bands of the first, then those of the second.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError, nearest

__all__ = ["ArrayPatches", "PatchSet", "PatchSource", "Sensor", "chosen_sensors"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

_FINGERPRINTED = 256  # patches, evenly spaced: a set may hold tens of gigabytes


class PatchSource(Protocol):
    """Where the patches come from: an array in memory, or files read by index."""

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Patches, bands, rows, columns."""

    def read(self, places: Ints) -> Floats:
        """Return some patches (len(places), bands, rows, columns), in this order; all finite."""


class ArrayPatches:
    """Patches (patches, bands, rows, columns) in memory or memory-mapped."""

    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Patches, bands, rows, columns."""
        patches, bands, rows, columns = self._array.shape
        return patches, bands, rows, columns

    def read(self, places: Ints) -> Floats:
        """Return some patches (len(places), bands, rows, columns), in this order."""
        patches = self._array[places].astype(np.float32)
        check_finite(patches, places, "the array")
        return patches


@dataclass(frozen=True)
class Sensor:
    """A sensor by its name, and the names of its bands in the order of the stack."""

    name: str
    bands: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class PatchSet:
    """Patches, their labels, and the sensors they were made by.

    Parameters
    ----------
    name : for messages and reports.
    source : where the patches come from.
    labels : int64 (patches,), the class 0..classes-1 of each.
    names : of the classes.
    sensors : whose bands the patches have, in this order.
    corners : row and column (patches, 2) of the first pixel in the scene that the patches were cut
        from; None where it is not known.
    notes : what a reader of the results should know, such as patches left out.

    Raises
    ------
    DataError : the parts do not fit together, or the patches are not square.
    """

    name: str
    source: PatchSource
    labels: Ints
    names: tuple[str, ...]
    sensors: tuple[Sensor, ...]
    corners: Ints | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        count, bands, rows, columns = self.source.shape
        if rows != columns:
            raise DataError(
                f"the patches of {self.name} are {rows} x {columns}; they must be square"
            )
        if len(self.labels) != count:
            raise DataError(
                f"{self.name} has {count} patches, but {len(self.labels)} labels; give one for each"
            )
        if not count:
            raise DataError(f"{self.name} holds no patch")
        if self.labels.min() < 0 or self.labels.max() >= self.classes:
            raise DataError(
                f"the labels of {self.name} run from {self.labels.min()} to {self.labels.max()}, "
                f"but its {self.classes} classes from 0 to {self.classes - 1}"
            )
        named = sum(len(sensor.bands) for sensor in self.sensors)
        if named != bands:
            raise DataError(f"{self.name} has {bands} bands, but its sensors {named}")

    @property
    def count(self) -> int:
        """Number of patches."""
        return self.source.shape[0]

    @property
    def bands(self) -> int:
        """Number of bands of all sensors together."""
        return self.source.shape[1]

    @property
    def side(self) -> int:
        """Rows, and columns, of a patch."""
        return self.source.shape[2]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.names)

    def counts(self) -> Ints:
        """Return the number of patches of each class, (classes,)."""
        return np.bincount(self.labels, minlength=self.classes).astype(np.int64)

    def sensor_bands(self) -> dict[str, slice]:
        """Return which bands of the stack each sensor has."""
        stops = list(accumulate(len(sensor.bands) for sensor in self.sensors))
        return {
            sensor.name: slice(stop - len(sensor.bands), stop)
            for sensor, stop in zip(self.sensors, stops, strict=True)
        }

    def without_small_classes(self, minimum: int) -> PatchSet:
        """Return the set without the classes of fewer than ``minimum`` patches, renumbered.

        Raises
        ------
        DataError : fewer than two classes would be left.
        """
        counts = self.counts()
        kept = np.flatnonzero(counts >= minimum)
        if len(kept) == self.classes:
            return self
        if len(kept) < 2:
            raise DataError(
                f"{len(kept)} classes of {self.name} have {minimum} patches or more; at least two "
                "are needed: lower the minimum"
            )
        left = np.flatnonzero(np.isin(self.labels, kept))
        lost = ", ".join(
            f"{name} ({count})"
            for name, count in zip(self.names, counts, strict=True)
            if count < minimum
        )
        return dataclasses.replace(
            self,
            source=_Part(self.source, left),
            labels=np.searchsorted(kept, self.labels[left]).astype(np.int64),
            names=tuple(self.names[c] for c in kept),
            corners=None if self.corners is None else self.corners[left],
            notes=(*self.notes, f"left out, with fewer than {minimum} patches: {lost}"),
        )

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells the set from others, JSON-ready.

        Returns
        -------
        ``name``; ``shape`` (patches, bands, rows, columns); ``pixels`` and ``labels``, each the
        first 16 hexadecimal digits of a SHA-256: of up to 256 patches evenly spaced (reading all
        may take an hour), and of the labels with the names of classes, sensors and bands.
        """
        some = np.unique(np.linspace(0, self.count - 1, _FINGERPRINTED).astype(np.int64))
        sensors = [[sensor.name, sensor.bands] for sensor in self.sensors]
        words = json.dumps([self.names, sensors]).encode()
        return {
            "name": self.name,
            "shape": list(self.source.shape),
            "pixels": hashlib.sha256(self.source.read(some).tobytes()).hexdigest()[:16],
            "labels": hashlib.sha256(words + self.labels.tobytes()).hexdigest()[:16],
        }


@dataclass(frozen=True, eq=False)
class _Part:
    """Some of the patches of another source."""

    whole: PatchSource
    places: Ints

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (len(self.places), *self.whole.shape[1:])

    def read(self, places: Ints) -> Floats:
        return self.whole.read(self.places[places])


def chosen_sensors(wanted: str | None, known: Iterable[str]) -> tuple[str, ...]:
    """Return the sensors that "s1+s2" names, in this order; None: all that are known.

    Raises
    ------
    DataError : one is not known, or named twice.
    """
    names = tuple(known)
    if wanted is None:
        return names
    chosen = tuple(name.strip() for name in wanted.split("+"))
    for name in chosen:
        if name not in names:
            raise DataError(
                f"there is no sensor '{name}'{nearest(name, names)}; there are: {', '.join(names)}"
            )
    if len(set(chosen)) != len(chosen):
        raise DataError(f"the sensors '{wanted}' name one twice; name each once")
    return chosen


def check_finite(patches: Floats, places: Ints, what: str, first: int = 0) -> None:
    """Raise :class:`DataError` where a patch (n, bands, rows, columns) holds NaN or infinity.

    Parameters
    ----------
    places : the numbers of the patches, for the message.
    first : the number of the first band, for the message.
    """
    wrong = ~np.isfinite(patches).all(axis=(2, 3))
    if wrong.any():
        patch, band = np.argwhere(wrong)[0]
        raise DataError(
            f"patch {places[patch]} of {what} holds NaN or infinite values in band {first + band} "
            "(both from 0); take it out, or fill the gap"
        )


def same_sizes(sizes: Sequence[tuple[str, tuple[int, ...]]], way: str) -> None:
    """Raise :class:`DataError` where sizes (name, (rows, columns)) differ; it names two that do."""
    first, size = sizes[0]
    for name, other in sizes[1:]:
        if other != size:
            raise DataError(
                f"{first} has {size[0]} x {size[1]} pixels (rows x columns), but {name} has "
                f"{other[0]} x {other[1]}; {way}"
            )
