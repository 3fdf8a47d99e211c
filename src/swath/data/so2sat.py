"""So2Sat LCZ42 as it is published: an HDF5 file of tens of gigabytes, read by index."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.core.files import expanded
from swath.data._formats import kind_of
from swath.data.patch_set import (
    PatchSet,
    Sensor,
    check_finite,
    chosen_sensors,
    same_sizes,
)

__all__ = ["SO2SAT_CLASSES", "SO2SAT_SENSORS", "open_so2sat"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]

SO2SAT_CLASSES = (
    *("compact high-rise", "compact mid-rise", "compact low-rise"),
    *("open high-rise", "open mid-rise", "open low-rise"),
    *("lightweight low-rise", "large low-rise", "sparsely built", "heavy industry"),
    *("dense trees", "scattered trees", "bush or scrub", "low plants"),
    *("bare rock or paved", "bare soil or sand", "water"),
)
"""The local climate zones of So2Sat LCZ42, in the order of its labels (1 to 10, A to G)."""

SO2SAT_SENSORS = {
    "s1": Sensor(
        "s1",
        (
            *("VH real", "VH imaginary", "VV real", "VV imaginary"),
            *("VH intensity (Lee)", "VV intensity (Lee)"),
            *("covariance real (Lee)", "covariance imaginary (Lee)"),
        ),
    ),
    "s2": Sensor("s2", ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")),
}
"""Sensors of So2Sat LCZ42 and their bands; Lee: speckle filtered (refined Lee)."""

_DATASETS = {"s1": "sen1", "s2": "sen2"}


def open_so2sat(path: str | os.PathLike[str], sensors: str | None = None) -> PatchSet:
    """Open a file of So2Sat LCZ42: ``sen1`` (n, 32, 32, 8), ``sen2`` (n, 32, 32, 10), ``label``.

    Parameters
    ----------
    path : HDF5, such as ``training.h5``; patches are read where they are needed.
    sensors : "s1", "s2" or "s1+s2" (stacked in this order); None: both.

    Raises
    ------
    DataError : the file is none of that layout, the numbers of patches and labels differ, or a
        label is not one-hot.

    References
    ----------
    Zhu et al., "So2Sat LCZ42: A benchmark data set for the classification of global local climate
    zones".
    """
    file = expanded(path)
    if kind_of(file) != "hdf5":
        raise DataError(f"{file} is no HDF5 file; So2Sat LCZ42 is published as training.h5, ...")
    chosen = chosen_sensors(sensors, SO2SAT_SENSORS)
    datasets = tuple(_DATASETS[sensor] for sensor in chosen)
    with _opened(file) as content:
        table = {name: tuple(found.shape) for name, found in content.items() if _is_array(found)}
        for name in ("label", *datasets):
            if name not in table:
                raise DataError(
                    f"{file} has no dataset '{name}'; So2Sat LCZ42 has sen1, sen2 and label, this "
                    f"file has: {', '.join(table) or 'none'}"
                )
        if len(table["label"]) != 2 or table["label"][1] != len(SO2SAT_CLASSES):
            raise DataError(f"'label' of {file} has the shape {table['label']}, not (patches, 17)")
        labels = _one_class_each(np.asarray(content["label"][()]), f"'label' of {file}")
    for sensor, name in zip(chosen, datasets, strict=True):
        shape, bands = table[name], len(SO2SAT_SENSORS[sensor].bands)
        if len(shape) != 4 or shape[3] != bands:
            raise DataError(
                f"'{name}' of {file} has the shape {shape}, not (patches, 32, 32, {bands})"
            )
        if shape[0] != len(labels):
            raise DataError(
                f"'{name}' of {file} holds {shape[0]} patches, but 'label' {len(labels)}; was the "
                "file cut off?"
            )
    sizes = [(f"'{name}' of {file}", table[name][1:3]) for name in datasets]
    same_sizes(sizes, "give the file as it was published")
    return PatchSet(
        file.stem,
        _H5Patches(file, datasets, tuple(table[name] for name in datasets)),
        labels,
        SO2SAT_CLASSES,
        tuple(SO2SAT_SENSORS[sensor] for sensor in chosen),
    )


def _one_class_each(labels: npt.NDArray[Any], what: str) -> Ints:
    """Return the classes (n,) of one-hot labels (n, classes).

    Raises
    ------
    DataError : a row holds other values than a single 1 among zeros.
    """
    hot = labels == 1
    wrong = ((labels != 0) & ~hot).any(axis=1) | (hot.sum(axis=1) != 1)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise DataError(
            f"row {row} of {what} is no one-hot label: it holds {int(hot[row].sum())} ones, and "
            "must hold a single 1 among zeros"
        )
    return hot.argmax(axis=1).astype(np.int64)


def _is_array(found: Any) -> bool:
    return hasattr(found, "shape")


@dataclass(frozen=True)
class _H5Patches:
    """Datasets (patches, rows, columns, bands) of a file, stacked."""

    path: Path
    datasets: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        count, rows, columns, _ = self.shapes[0]
        return count, sum(shape[3] for shape in self.shapes), rows, columns

    def read(self, places: Ints) -> Floats:
        out = np.empty((len(places), *self.shape[1:]), np.float32)
        first = 0
        with _opened(self.path) as file:
            for name, shape in zip(self.datasets, self.shapes, strict=True):
                bands = slice(first, first + shape[3])
                out[:, bands] = np.moveaxis(_rows(file[name], places), 3, 1)
                check_finite(out[:, bands], places, f"'{name}' of {self.path}")
                first += shape[3]
        return out


def _rows(dataset: Any, places: Ints) -> Floats:
    """Read some rows, each run of neighbours in one go (HDF5 takes lists of indices slowly)."""
    wanted, back = np.unique(places, return_inverse=True)
    out = np.empty((len(wanted), *dataset.shape[1:]), np.float32)
    edges = [0, *(np.flatnonzero(np.diff(wanted) != 1) + 1).tolist(), len(wanted)]
    for start, stop in itertools.pairwise(edges):
        if stop > start:
            out[start:stop] = dataset[int(wanted[start]) : int(wanted[stop - 1]) + 1]
    return out[back]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            yield file
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); was it cut off?") from error
