"""A scene: one image, read in windows, with what is known about it and perhaps its labels."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.core.words import counted
from swath.data.labels import LabelMap

__all__ = ["ArraySource", "CubeSource", "Scene", "array_scene"]

T = TypeVar("T")
Transform = tuple[float, float, float, float, float, float]
ALL = slice(None)
LARGEST = 1e18  # what is larger marks missing pixels: its square is infinite in 32 bits


class CubeSource(Protocol):
    """Where the pixels come from: an array in memory, or a file read in windows."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, bands."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type the pixels are stored in."""

    def read(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return the window (rows, columns, all bands) in the stored type."""


@runtime_checkable
class MaskedSource(Protocol):
    """A source that can tell of pixels without data, whatever their values are."""

    def shown(self, rows: slice, columns: slice) -> npt.NDArray[np.bool_] | None:
        """Return which pixels of a window hold data, (rows, columns); None: all."""


class ArraySource:
    """A cube (rows, columns, bands) in memory or memory-mapped."""

    def __init__(self, cube: npt.NDArray[Any]) -> None:
        self._cube = cube

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, bands."""
        rows, columns, bands = self._cube.shape
        return rows, columns, bands

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type the pixels are stored in."""
        return self._cube.dtype

    def read(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return the window (rows, columns, all bands) in the stored type."""
        return np.asarray(self._cube[rows, columns])


@dataclass(frozen=True, eq=False)
class Scene:
    """One image with its labels and metadata; pixels are read where they are needed.

    Parameters
    ----------
    name : for messages and reports.
    source : where the pixels come from.
    labels : as large as the image, or None.
    bands : indices (from 0) of the source's bands that are used, in this order.
    band_names, wavelengths : of the used bands; wavelengths in nanometres.
    nodata : the stored value that marks a missing pixel.
    crs : coordinate reference system as WKT.
    transform : (a, b, c, d, e, f) with x = a column + b row + c, y = d column + e row + f.
    sensor : free text.
    simulated : whether the image was made by a simulator.
    notes : what a reader of the results should know, such as dropped bands.

    Raises
    ------
    DataError : labels of another size, or band metadata that does not fit.
    """

    name: str
    source: CubeSource
    labels: LabelMap | None = None
    bands: tuple[int, ...] = ()
    band_names: tuple[str, ...] | None = None
    wavelengths: tuple[float, ...] | None = None
    nodata: float | None = None
    crs: str | None = None
    transform: Transform | None = None
    sensor: str | None = None
    simulated: bool = False
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        rows, columns, available = self.source.shape
        if not self.bands:
            object.__setattr__(self, "bands", tuple(range(available)))
        wrong = [band for band in self.bands if not 0 <= band < available]
        if wrong:
            raise DataError(
                f"{self.name} has no band {wrong[0]}; its bands are 0 to {available - 1}"
            )
        for what, values in (("band names", self.band_names), ("wavelengths", self.wavelengths)):
            if values is not None and len(values) != len(self.bands):
                raise DataError(f"{self.name} has {len(values)} {what} for {len(self.bands)} bands")
        if self.labels is not None and self.labels.shape != (rows, columns):
            label_rows, label_columns = self.labels.shape
            raise DataError(
                f"the image {self.name} has {rows} x {columns} pixels (rows x columns), but its "
                f"labels have {label_rows} x {label_columns}; give the label map of this image"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns, used bands."""
        rows, columns, _ = self.source.shape
        return rows, columns, len(self.bands)

    def read(self, rows: slice = ALL, columns: slice = ALL) -> npt.NDArray[np.float32]:
        """Return a window, float32 (rows, columns, used bands).

        Pixels that the file masks, and those with a no-data or non-finite value in any used band,
        or one beyond 1e18, are zero in all of them.
        """
        return self.read_valid(rows, columns)[0]

    def valid(self, rows: slice = ALL, columns: slice = ALL) -> npt.NDArray[np.bool_]:
        """Return which pixels of a window hold data in every used band, (rows, columns)."""
        return self.read_valid(rows, columns)[1]

    def read_valid(
        self, rows: slice = ALL, columns: slice = ALL
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        """Return :meth:`read` and :meth:`valid` of a window from one reading."""
        height, width, available = self.source.shape
        rows, columns = _plain(rows, height), _plain(columns, width)
        stored = self.source.read(rows, columns)
        if self.bands != tuple(range(available)):
            stored = stored[:, :, list(self.bands)]
        valid = np.ones(stored.shape[:2], dtype=np.bool_)
        with np.errstate(over="ignore"):
            pixels = stored.astype(np.float32, order="C")
        if self.nodata is not None and not math.isnan(self.nodata):
            valid &= ~missing(stored, self.nodata).any(axis=2)
        if stored.dtype.kind == "f":
            valid &= measured(pixels).all(axis=2)
        shown = shown_of(self.source, rows, columns)
        if shown is not None:
            valid &= shown
        pixels[~valid] = 0
        return pixels, valid

    def windows(self, values: int = 2**23) -> Iterator[tuple[slice, slice]]:
        """Cut the scene into windows of about ``values`` numbers, from top to bottom.

        Each is as wide as the scene, which is how most files lie on the disk.
        """
        rows, columns, available = self.source.shape
        height = max(1, values // max(1, columns * available))
        for top in range(0, rows, height):
            yield slice(top, min(top + height, rows)), slice(0, columns)

    def __repr__(self) -> str:
        rows, columns, bands = self.shape
        parts = [f"{rows} x {columns} pixels", counted(bands, "band")]
        if self.labels is not None:
            parts.append(counted(self.labels.classes, "class", "classes"))
        return f"<Scene {self.name}: {', '.join(parts)}{', simulated' * self.simulated}>"

    def with_labels(self, labels: LabelMap | None) -> Scene:
        """Return the same scene with other labels."""
        return dataclasses.replace(self, labels=labels)

    def with_bands(self, positions: Sequence[int]) -> Scene:
        """Return the scene with some of its used bands, by their positions in :attr:`bands`."""

        def pick(values: tuple[T, ...] | None) -> tuple[T, ...] | None:
            return None if values is None else tuple(values[position] for position in positions)

        return dataclasses.replace(
            self,
            bands=tuple(self.bands[position] for position in positions),
            band_names=pick(self.band_names),
            wavelengths=pick(self.wavelengths),
        )

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells the scene and its labels from others, JSON-ready.

        Reads the whole scene once, in windows.

        Returns
        -------
        ``name``; ``shape`` (rows, columns, used bands); ``pixels`` and ``labels``, each the first
        16 hexadecimal digits of a SHA-256: of the used bands as :meth:`read` gives them, and of
        the label map with its label values and names (None without labels).
        """
        pixels = hashlib.sha256()
        for rows, columns in self.windows():
            pixels.update(self.read(rows, columns).tobytes())
        labels = None
        if self.labels is not None:
            classes = json.dumps([[int(v) for v in self.labels.original], self.labels.names])
            values = np.ascontiguousarray(self.labels.values)
            labels = hashlib.sha256(classes.encode() + values.tobytes()).hexdigest()[:16]
        return {
            "name": self.name,
            "shape": list(self.shape),
            "pixels": pixels.hexdigest()[:16],
            "labels": labels,
        }


def array_scene(
    cube: npt.ArrayLike,
    labels: LabelMap | npt.ArrayLike | None = None,
    name: str = "array",
    **metadata: Any,
) -> Scene:
    """Make a scene of an array.

    Parameters
    ----------
    cube : (rows, columns, bands), or (rows, columns) for one band.
    labels : a label map, or whole numbers (rows, columns) with 0 for unlabelled.
    name : for messages and reports.
    metadata : further fields of :class:`Scene`.

    Raises
    ------
    DataError : the array is no image, or the labels do not fit.
    """
    cube = np.asarray(cube)
    if cube.ndim == 2:
        cube = cube[:, :, None]
    if cube.ndim != 3 or 0 in cube.shape:
        raise DataError(
            f"{name} has the shape {cube.shape}; a scene is an array (rows, columns, bands)"
        )
    check_type(name, cube.dtype)
    if labels is not None and not isinstance(labels, LabelMap):
        labels = LabelMap.from_array(labels)
    return Scene(name, ArraySource(cube), labels, **metadata)


def check_type(name: str, dtype: np.dtype[Any]) -> None:
    """Raise :class:`DataError` unless pixels of this type are real numbers."""
    if dtype.kind == "c" or dtype.names == ("real", "imag"):
        raise DataError(
            f"{name} holds complex numbers; store amplitude, phase or intensity as real bands"
        )
    if dtype.kind not in "biuf":
        raise DataError(f"{name} holds values of type {dtype.name}, not numbers")


def missing(stored: npt.NDArray[Any], nodata: float) -> npt.NDArray[np.bool_]:
    """Return where stored values equal the no-data value (compared in the stored precision)."""
    if math.isnan(nodata):
        return np.asarray(stored != stored, dtype=np.bool_)
    if stored.dtype.kind == "f":
        with np.errstate(over="ignore"):
            return np.asarray(stored == np.asarray(nodata).astype(stored.dtype))
    if not float(nodata).is_integer():
        return np.zeros(stored.shape, dtype=np.bool_)
    return np.asarray(stored == int(nodata))


def measured(values: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Return where values are finite, and small enough to compute with: not NaN, nor -3.4e38."""
    largest = min(LARGEST, float(np.finfo(values.dtype).max))  # of 16 bits less
    # Two comparisons, which NaN fails: their results are a quarter of the values' size.
    return np.asarray((values <= largest) & (values >= -largest), dtype=np.bool_)


def shown_of(source: CubeSource, rows: slice, columns: slice) -> npt.NDArray[np.bool_] | None:
    """Return which pixels of a window a source's own mask shows, (rows, columns); None: all."""
    return source.shown(rows, columns) if isinstance(source, MaskedSource) else None


def _plain(window: slice, length: int) -> slice:
    start, stop, step = window.indices(length)
    if step != 1:
        raise ValueError("windows are read without steps")
    return slice(start, max(start, stop))
