"""The files of tiles: PNG, JPEG and GeoTIFF images and their masks."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.data._file_parts import explained
from swath.data._grids import Grid, difference
from swath.data._rasters import (
    check_whole,
    data_bands,
    hides_pixels,
    open_raster,
    shown_pixels,
    stored_type,
)
from swath.data.scene import Transform, measured, missing

__all__ = ["TileImage", "look_at", "read_image", "read_mask"]

_PIXELS = 2**22  # of a mask looked at together
_SHIFT = 0.25  # of a pixel, which a mask may lie beside its image by: headers round coordinates


@dataclass(frozen=True)
class TileImage:
    """An image and its mask, as their headers and one look at all values of the mask show them.

    Parameters
    ----------
    image, mask : the files.
    part : "train", "validation" or "test", by the folder; None: no folder says so.
    rows, columns, bands : of the image; the transparency of a PNG is no band.
    dtype : the type its pixels are stored in.
    values : the values of the mask, ascending, each with its number of pixels; without NaN.
    nodata : the value that the mask itself says means "no label".
    digest : SHA-256 of the mask's values.
    crs, transform : of the image, as of :class:`~swath.data.scene.Scene`.
    """

    image: Path
    mask: Path
    part: str | None
    rows: int
    columns: int
    bands: int
    dtype: str
    values: tuple[tuple[int, int], ...]
    nodata: int | None
    digest: str
    crs: str | None = None
    transform: Transform | None = None


def look_at(image: Path, mask: Path, part: str | None) -> TileImage:
    """Read the header of an image and all values of its mask.

    Raises
    ------
    DataError : one of them cannot be read, they differ in size or place, the image has a palette,
        or the mask is none.
    """
    check_whole(image)
    check_whole(mask)
    with _opened(image) as raster:
        if raster.colorinterp[0].name == "palette":
            raise DataError(
                f"the image {image} holds the numbers of colours in a palette; convert it to bands "
                "of red, green and blue"
            )
        size = raster.height, raster.width
        place = _place(image, raster)
        bands = len(data_bands(raster))
        dtype = str(stored_type(image, raster))
    with _opened(mask) as raster:
        if (raster.height, raster.width) != size:
            raise DataError(
                f"{image} has {size[0]} x {size[1]} pixels (rows x columns), but its mask {mask} "
                f"has {raster.height} x {raster.width}; give masks of the images' size"
            )
        apart = difference(place, _place(mask, raster), _SHIFT)
        if apart is not None:
            raise DataError(f"{apart}; warp the mask to the grid of its image")
        nodata = raster.nodata
    values: Counter[int] = Counter()
    digest = hashlib.sha256(repr(size).encode())
    height = max(1, _PIXELS // size[1])
    for top in range(0, size[0], height):
        block = read_mask(mask, slice(top, min(top + height, size[0])), slice(0, size[1]))
        digest.update(np.ascontiguousarray(block).tobytes())
        values.update(_counted(mask, block))
    whole = nodata is not None and np.isfinite(nodata) and float(nodata).is_integer()
    return TileImage(
        image,
        mask,
        part,
        *size,
        bands,
        dtype,
        tuple(sorted(values.items())),
        int(nodata) if whole else None,
        digest.hexdigest(),
        place.crs,
        place.transform,
    )


def _place(path: Path, raster: Any) -> Grid:
    """Return where the pixels of an open raster lie."""
    crs = raster.crs.to_wkt() if raster.crs else None
    transform = None if raster.transform.is_identity else tuple(raster.transform)[:6]
    return Grid(str(path), raster.height, raster.width, crs, transform)


def read_image(
    image: TileImage, rows: slice, columns: slice
) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
    """Return a window of an image (rows, columns, bands) and which pixels hold data.

    Pixels without data (masked, transparent, no-data value, not finite or beyond 1e18 in any band)
    are zero.

    Raises
    ------
    DataError : it cannot be read.
    """
    window = (rows.start, rows.stop), (columns.start, columns.stop)
    with _opened(image.image) as raster:
        bands = data_bands(raster)
        with explained(image.image, "an image"):
            pixels = raster.read(bands, window=window)
            valid = np.ones(pixels.shape[1:], np.bool_)
            if hides_pixels(raster):
                valid = shown_pixels(raster, window)
        for values, band in zip(pixels, bands, strict=True):
            nodata = raster.nodatavals[band - 1]
            if nodata is not None:
                valid &= ~missing(values, nodata)
    if pixels.dtype.kind == "f":
        valid &= measured(pixels).all(axis=0)
    pixels[:, ~valid] = 0
    return np.moveaxis(pixels, 0, 2), valid


def read_mask(mask: Path, rows: slice, columns: slice) -> npt.NDArray[Any]:
    """Return a window of a mask (rows, columns): its one band, or the first of equal ones.

    Raises
    ------
    DataError : it cannot be read, or its bands differ.
    """
    window = (rows.start, rows.stop), (columns.start, columns.stop)
    with _opened(mask) as raster:
        bands = data_bands(raster)
        with explained(mask, "a mask"):
            values = raster.read(bands, window=window)
    if (values[1:] != values[0]).any():
        raise DataError(
            f"the mask {mask} has {len(bands)} bands that differ; give a mask of one band with a "
            "value for each class, no colours"
        )
    first: npt.NDArray[Any] = values[0]
    return first


def _opened(path: Path) -> Any:
    return open_raster(str(path))


def _counted(mask: Path, values: npt.NDArray[Any]) -> dict[int, int]:
    """Return the pixels of each value."""
    if values.dtype in (np.uint8, np.uint16):  # counting is many times faster than sorting
        counts = np.bincount(values.ravel())
        return {int(value): int(counts[value]) for value in np.flatnonzero(counts)}
    if values.dtype.kind == "f":
        values = values[~np.isnan(values)]
        odd = values[np.isinf(values) | (values != np.trunc(values))]
        if odd.size:
            raise DataError(
                f"the mask {mask} holds {odd[0]:g}, but masks hold whole numbers; is it the image "
                "rather than the mask?"
            )
    found, counts = np.unique(values, return_counts=True)
    return {int(value): int(count) for value, count in zip(found, counts, strict=True)}
