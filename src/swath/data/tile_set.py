"""A set of tiles: images whose pixels have classes, given by a mask for each image.

Large images are cut into tiles.  Nothing but what is asked for is read, a tile at a time.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError, nearest
from swath.data._tile_files import TileImage, read_image, read_mask
from swath.data.labels import Colour, palette

__all__ = ["MaskClasses", "Remainder", "TileSet", "Window", "cut"]

Ints = npt.NDArray[np.int64]
Remainder = Literal["overlap", "drop", "pad"]
"""What becomes of the pixels that fill no tile; see :func:`cut`."""

_FINGERPRINTED = 64  # tiles, evenly spaced: a set may hold tens of gigabytes


@dataclass(frozen=True)
class MaskClasses:
    """What the values of masks mean.

    Parameters
    ----------
    names : of the classes; class 1 is the target, of which reports give the IoU.
    original : the mask value of each class, in this order; each once.  With a threshold the values
        0 and 1, which maps are written with.
    threshold : where a mask is above it, the class is 1, elsewhere 0; None: ``original`` counts.
    ignored : mask values that mean "no label".

    Raises
    ------
    DataError : the parts do not fit together.
    """

    names: tuple[str, ...]
    original: tuple[int, ...]
    threshold: float | None = None
    ignored: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.names) != len(self.original) or len(set(self.original)) != len(self.original):
            raise DataError(
                f"the classes {', '.join(self.names)} and the mask values "
                f"{', '.join(map(str, self.original))} do not match; give each class one value"
            )
        if len(self.names) < 2:
            raise DataError(
                f"there are {len(self.names)} classes, but two or more are needed to tell apart"
            )
        both = sorted(set(self.ignored) & set(self.original))
        if both and self.threshold is None:
            raise DataError(f"the mask value {both[0]} is both a class and ignored; drop one")

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self.names)

    @property
    def colours(self) -> tuple[Colour, ...]:
        """One colour a class, (red, green, blue) in 0..255."""
        return palette(self.count)

    def index(self, mask: npt.NDArray[Any], where: str | Path = "the mask") -> Ints:
        """Return the class of each value of a mask, -1 where ignored or NaN; int64, of its shape.

        Raises
        ------
        DataError : a value belongs to no class; the message names it, and ``where``.
        """
        # A look at a table is many times faster than a search.
        small = mask.dtype == np.uint8
        found = self._find(np.arange(256))[mask] if small else self._find(mask)
        if (found == -2).any():
            raise DataError(
                f"{where} holds the value {mask[found == -2].flat[0]:g}, which is no class "
                f"({self.listed}); name it among the classes, or ignore it"
            )
        return found

    def _find(self, mask: npt.NDArray[Any]) -> Ints:
        """Return :meth:`index`, with -2 for a value of no class."""
        if self.threshold is None:
            order = np.argsort(self.original)
            values = np.asarray(self.original)[order]
            places = np.minimum(np.searchsorted(values, mask), len(values) - 1)
            found = np.where(values[places] == mask, order[places], -2)
        else:
            found = (mask > self.threshold).astype(np.int64)
        lost = np.isin(mask, self.ignored)
        if mask.dtype.kind == "f":
            lost |= np.isnan(mask)
        found[lost] = -1
        return found

    @property
    def listed(self) -> str:
        """The classes and their values, for messages."""
        pairs = zip(self.original, self.names, strict=True)
        return ", ".join(f"{value}: {name}" for value, name in pairs)


@dataclass(frozen=True)
class Window:
    """Where a tile lies in its image.

    Parameters
    ----------
    image : number of the image.
    rows, columns : which of its pixels.
    shown : rows and columns at the beginning of the tile that an earlier tile shows already.
    padded : rows and columns that are added at the end, mirrored, without labels.
    """

    image: int
    rows: slice
    columns: slice
    shown: tuple[int, int] = (0, 0)
    padded: tuple[int, int] = (0, 0)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns of the tile."""
        return (
            self.rows.stop - self.rows.start + self.padded[0],
            self.columns.stop - self.columns.start + self.padded[1],
        )


@dataclass(frozen=True, eq=False)
class TileSet:
    """Tiles with a class for each pixel.

    Parameters
    ----------
    name : for messages and reports.
    images : their files, and what is known of them.
    windows : the tiles, image by image.
    classes : what the values of the masks mean.
    notes : what a reader of the results should know, such as pixels left out.

    Raises
    ------
    DataError : there is no tile, images differ in bands or type, a mask holds a value that is no
        class, or all labels are of one class.
    """

    name: str
    images: tuple[TileImage, ...]
    windows: tuple[Window, ...]
    classes: MaskClasses
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.windows:
            raise DataError(f"{self.name} holds no tile; choose a smaller tile")
        _check_alike(self.images)
        present = np.flatnonzero(self.image_counts.sum(axis=0))
        if len(present) < 2:
            only = f"'{self.classes.names[present[0]]}' alone" if len(present) else "nothing"
            values = sorted({value for image in self.images for value, _ in image.values})
            raise DataError(
                f"the masks of {self.name} show {only} (they hold the values "
                f"{_listed(values)}); two classes or more are needed: look at the classes, the "
                "threshold and the ignored values"
            )

    @property
    def count(self) -> int:
        """Number of tiles."""
        return len(self.windows)

    @property
    def bands(self) -> int:
        """Number of bands."""
        return self.images[0].bands

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type that pixels are stored in."""
        return np.dtype(self.images[0].dtype)

    @cached_property
    def sizes(self) -> Ints:
        """Rows and columns of each tile (tiles, 2)."""
        return np.array([window.size for window in self.windows], np.int64)

    @cached_property
    def groups(self) -> Ints:
        """The number of the image that each tile is of (tiles,)."""
        return np.array([window.image for window in self.windows], np.int64)

    @property
    def part_of(self) -> tuple[str | None, ...]:
        """Of each image "train", "validation" or "test" by its folder; None: no folder says so."""
        return tuple(image.part for image in self.images)

    @cached_property
    def image_counts(self) -> Ints:
        """Pixels of each class in each whole image (images, classes)."""
        counts = np.zeros((len(self.images), self.classes.count), np.int64)
        for row, image in zip(counts, self.images, strict=True):
            for value, pixels in image.values:
                found = int(self.classes.index(np.array([value]), image.mask)[0])
                if found >= 0:
                    row[found] += pixels
        return counts

    @property
    def positions(self) -> npt.NDArray[np.float64] | None:
        """The middle (x, y) of each image (images, 2) in their coordinate reference system; None
        where one lies nowhere, or in another system than the first.
        """
        middles = []
        for image in self.images:
            if image.crs is None or image.crs != self.images[0].crs or image.transform is None:
                return None
            a, b, c, d, e, f = image.transform
            column, row = image.columns / 2, image.rows / 2
            middles.append((a * column + b * row + c, d * column + e * row + f))
        return np.array(middles, np.float64)

    def read(self, index: int) -> tuple[npt.NDArray[np.float32], Ints]:
        """Return a tile, float32 (rows, columns, bands), and its classes (rows, columns).

        Classes are -1 where there is no label.  Pixels without data (no-data value, transparent or
        not finite in any band) are zero in all bands and have no label.

        Raises
        ------
        DataError : a file cannot be read any more.
        """
        pixels, labels = self.stored(index)
        return pixels.astype(np.float32), labels

    def stored(self, index: int) -> tuple[npt.NDArray[Any], Ints]:
        """Return :meth:`read` with pixels in the type that they are stored in."""
        window = self.windows[index]
        image = self.images[window.image]
        pixels, valid = read_image(image, window.rows, window.columns)
        mask = read_mask(image.mask, window.rows, window.columns)
        labels = self.classes.index(mask, image.mask)
        labels[~valid] = -1
        if any(window.padded):
            ends = [(0, extra) for extra in window.padded]
            pixels = np.pad(pixels, [*ends, (0, 0)], mode="symmetric")
            labels = np.pad(labels, ends, constant_values=-1)
        return pixels, labels

    def fingerprint(self) -> dict[str, Any]:
        """Return what tells the set from others, JSON-ready.

        Returns
        -------
        ``name``; ``shape`` (tiles, bands); ``pixels`` and ``labels``, each the first 16 hexadecimal
        digits of a SHA-256: of up to 64 tiles evenly spaced (reading all may take an hour), and of
        all masks with the classes and the places of the tiles.
        """
        pixels = hashlib.sha256()
        for index in np.unique(np.linspace(0, self.count - 1, _FINGERPRINTED).astype(np.int64)):
            tile, _ = self.read(int(index))
            pixels.update(repr(tile.shape).encode() + tile.tobytes())
        known = self.classes
        words = [known.names, known.original, known.threshold, known.ignored]
        places = [
            (w.image, w.rows.start, w.rows.stop, w.columns.start, w.columns.stop, w.padded)
            for w in self.windows
        ]
        labels = json.dumps([words, [image.digest for image in self.images], places])
        return {
            "name": self.name,
            "shape": [self.count, self.bands],
            "pixels": pixels.hexdigest()[:16],
            "labels": hashlib.sha256(labels.encode()).hexdigest()[:16],
        }


def cut(
    images: Sequence[TileImage], tile: tuple[int, int] | None, remainder: Remainder = "overlap"
) -> tuple[Window, ...]:
    """Cut images into tiles side by side.

    Parameters
    ----------
    tile : rows and columns of a tile; None: each image is one.
    remainder : what becomes of the pixels of an image that fill no whole tile, as of 1500 rows with
        tiles of 512:

        "overlap"
            the last tile ends with the image and shows again what the one before it shows (tiles
            from 0, 512 and 988).  An image smaller than a tile is a smaller tile.
        "drop"
            they are left out (tiles from 0 and 512), as are images smaller than a tile.
        "pad"
            the last tile is filled up with mirrored pixels that have no label (tiles from 0, 512
            and 1024, of whose rows 476 are real).

    Raises
    ------
    DataError : the tile or the remainder makes no sense.
    """
    if remainder not in get_args(Remainder):
        known = get_args(Remainder)
        raise DataError(
            f"there is no way '{remainder}' to treat a remainder{nearest(remainder, known)}; "
            f"one of: {', '.join(known)}"
        )
    if tile is not None and min(tile) < 1:
        raise DataError(f"a tile of {tile[0]} x {tile[1]} pixels makes no sense")
    windows = []
    for number, image in enumerate(images):
        height, width = tile or (image.rows, image.columns)
        for rows, old_rows, more_rows in _spans(image.rows, height, remainder):
            for columns, old_columns, more_columns in _spans(image.columns, width, remainder):
                shown, padded = (old_rows, old_columns), (more_rows, more_columns)
                windows.append(Window(number, rows, columns, shown, padded))
    return tuple(windows)


def _spans(length: int, tile: int, remainder: Remainder) -> list[tuple[slice, int, int]]:
    """Return the parts of an axis: which pixels, how many were shown before, how many to add."""
    whole, rest = divmod(length, tile)
    spans = [(slice(start * tile, (start + 1) * tile), 0, 0) for start in range(whole)]
    if rest and remainder == "pad":
        spans.append((slice(whole * tile, length), 0, tile - rest))
    if rest and remainder == "overlap":
        start = max(0, length - tile)
        spans.append((slice(start, length), whole * tile - start, 0))
    return spans


def _check_alike(images: Sequence[TileImage]) -> None:
    """Refuse images with other bands or of another type than the first."""
    first = images[0]
    for image in images:
        if image.bands != first.bands:
            raise DataError(
                f"{first.image} has {first.bands} bands, but {image.image} has {image.bands}; all "
                "images of a set need the same bands"
            )
        if image.dtype != first.dtype:
            raise DataError(
                f"{first.image} holds values of type {first.dtype}, but {image.image} of type "
                f"{image.dtype}; bring all images of a set to one type and range"
            )


def _listed(values: Sequence[int], most: int = 6) -> str:
    shown = ", ".join(map(str, values[:most]))
    return f"{shown}, ... ({len(values)} values)" if len(values) > most else shown
