"""Rasters: GeoTIFF, ENVI and whatever else GDAL reads."""

from __future__ import annotations

import contextlib
import functools
import math
import struct
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.data._file_parts import Cube, Handle, explained, nanometres
from swath.data._quality import ranges
from swath.data.scene import check_type, missing

__all__ = [
    "RasterSource",
    "check_whole",
    "data_bands",
    "hides_pixels",
    "open_raster",
    "raster_cube",
    "shown_pixels",
    "stored_type",
]

ENVI_SUFFIXES = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip", ".envi")
_PNG = b"\x89PNG\r\n\x1a\n"
_QUIET = threading.Lock()  # threads that silence warnings at once would bring them back


class RasterSource:
    """A raster opened once in each thread and read in windows.

    Where its bands have no-data values of their own, these are read as NaN.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Handle[Any] = Handle(functools.partial(open_raster, str(path)))
        dataset = self._file.get()
        self._bands = data_bands(dataset)
        self._hides = hides_pixels(dataset)
        self.shape: tuple[int, int, int] = (dataset.height, dataset.width, len(self._bands))
        self._stored = stored_type(path, dataset)
        self._nodata = [dataset.nodatavals[band - 1] for band in self._bands]
        self._several = several_nodata(dataset)
        floating = np.result_type(self._stored, np.float32)
        self.dtype: np.dtype[Any] = floating if self._several else self._stored

    def read(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return the window (rows, columns, all bands) in the stored type."""
        window = self._window(rows, columns)
        if not window.height or not window.width:
            return np.zeros((window.height, window.width, self.shape[2]), self.dtype)
        with explained(self._path, "a raster"):
            pixels = self._file.get().read(self._bands, window=window, out_dtype=self._stored)
        return np.moveaxis(self._without_nodata(pixels) if self._several else pixels, 0, 2)

    def _without_nodata(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return pixels (bands, rows, columns), NaN where a band holds its no-data value."""
        values = pixels.astype(self.dtype)
        for band, stored, nodata in zip(values, pixels, self._nodata, strict=True):
            if nodata is not None:
                band[missing(stored, nodata)] = np.nan
        return values

    def shown(self, rows: slice, columns: slice) -> npt.NDArray[np.bool_] | None:
        """Return which pixels of a window are neither masked nor transparent; None: all."""
        window = self._window(rows, columns)
        if not self._hides or not window.height or not window.width:
            return None
        with explained(self._path, "a raster"):
            return shown_pixels(self._file.get(), window)

    def _window(self, rows: slice, columns: slice) -> Any:
        from rasterio.windows import Window

        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        return Window(left, top, max(0, right - left), max(0, bottom - top))


def open_raster(path: str) -> Any:
    try:
        import rasterio
        from rasterio.errors import NotGeoreferencedWarning, RasterioError
    except ImportError as error:
        raise DataError(f"reading {path} needs rasterio; install it") from error
    try:
        with _QUIET, warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            return rasterio.open(path)
    except RasterioError as error:
        raise DataError(
            f"{path} is no image that can be read (MATLAB, ENVI, GeoTIFF, NumPy, HDF5, NetCDF or "
            f"another raster); is it another type of file, or was it cut off? ({error})"
        ) from error


def check_whole(path: Path) -> None:
    """Refuse a PNG that was cut off: libpng through GDAL reads one, and invents what is missing."""
    with path.open("rb") as file:
        if file.read(8) != _PNG:
            return
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"IEND":
                return
            file.seek(length + 4, 1)
    raise DataError(f"{path} was cut off: the PNG has no end; copy the file again")


def data_bands(dataset: Any) -> list[int]:
    """Return the numbers, from 1, of the bands that are not transparency."""
    transparent = _transparent_bands(dataset)
    return [band for band in dataset.indexes if band not in transparent]


def several_nodata(dataset: Any) -> bool:
    """Whether the bands of a raster name different no-data values."""
    return len({str(dataset.nodatavals[band - 1]) for band in data_bands(dataset)}) > 1


def stored_type(path: Path, dataset: Any) -> np.dtype[Any]:
    """Return the type that holds every band; complex numbers are refused."""
    if any(str(kind).startswith("complex") for kind in dataset.dtypes):
        check_type(str(path), np.dtype(np.complex64))
    return np.result_type(*(dataset.dtypes[band - 1] for band in data_bands(dataset)))


def hides_pixels(dataset: Any) -> bool:
    """Whether a raster has a mask of its own or a band of transparency."""
    return _has_mask(dataset) or bool(_transparent_bands(dataset))


def shown_pixels(dataset: Any, window: Any) -> npt.NDArray[np.bool_]:
    """Return which pixels of a window (rows, columns) are neither masked nor transparent."""
    masks = [dataset.read(band, window=window) for band in _transparent_bands(dataset)]
    if _has_mask(dataset):
        masks.append(dataset.read_masks(1, window=window))
    return np.asarray(np.all(masks, axis=0), np.bool_)


def _transparent_bands(dataset: Any) -> list[int]:
    """Return the bands that are transparency.

    Of PNG alone: GDAL calls the fourth 8-bit band of a TIFF transparent where nobody says what it
    is, and so near infrared.
    """
    from rasterio.enums import ColorInterp

    if dataset.driver != "PNG":
        return []
    return [n for n, kind in enumerate(dataset.colorinterp, 1) if kind == ColorInterp.alpha]


def _has_mask(dataset: Any) -> bool:
    """Whether a raster has a mask for all its bands, inside it or beside it, that is no band."""
    from rasterio.enums import MaskFlags

    flags = dataset.mask_flag_enums[0]
    return MaskFlags.per_dataset in flags and MaskFlags.alpha not in flags


def raster_cube(path: Path) -> Cube:
    if path.suffix.lower() == ".hdr":
        path = _envi_data(path)
    with explained(path, "a raster"):
        check_whole(path)
    dataset = open_raster(str(path))
    with dataset:
        if dataset.count == 0:
            raise DataError(
                f"{path} holds no bands of its own; write one of its datasets to a file, as with "
                "'gdal_translate DATASET image.tif'; they are "
                f"{', '.join(dataset.subdatasets[:5]) or 'none'}"
            )
        if dataset.driver == "ENVI":
            _check_envi_size(path, dataset)
        return Cube(
            RasterSource(path),
            band_names=_band_names(dataset),
            wavelengths=_raster_wavelengths(dataset),
            nodata=math.nan if several_nodata(dataset) else dataset.nodata,
            crs=dataset.crs.to_wkt() if dataset.crs else None,
            transform=None if dataset.transform.is_identity else tuple(dataset.transform)[:6],
            notes=_notes(dataset),
        )


def _notes(dataset: Any) -> tuple[str, ...]:
    notes = []
    if dataset.subdatasets:
        notes.append(
            f"the file holds {len(dataset.subdatasets)} images, as pages; only the first is read"
        )
    bad = dataset.tags(ns="ENVI").get("bbl", "").strip("{} \n").split(",")
    poor = [band for band, good in enumerate(bad) if good.strip() in ("0", "0.0")]
    if poor:
        notes.append(
            f"the header calls the bands {ranges(poor)} bad (bbl), which decides nothing here; "
            "a choice of bands leaves them out"
        )
    if dataset.transform.is_identity and dataset.gcps[0]:
        notes.append(
            "placed by ground control points, which are not used: the map has no coordinates; warp "
            "the image first"
        )
    return tuple(notes)


def _envi_data(header: Path) -> Path:
    """Find the data file of an ENVI header: ``x`` or ``x.img`` (...) beside ``x.hdr``."""
    stem = header.with_suffix("")
    for suffix in ENVI_SUFFIXES:
        for candidate in (
            stem.with_name(stem.name + suffix),
            stem.with_name(stem.name + suffix.upper()),
        ):
            if candidate.is_file() and candidate != header:
                return candidate
    raise DataError(
        f"the data file of the ENVI header {header} is missing; put '{stem.name}' or "
        f"'{stem.name}.img' beside it"
    )


def _check_envi_size(path: Path, dataset: Any) -> None:
    """Refuse a raw file shorter than its header says (GDAL would fill it with zeros)."""
    tags = dataset.tags(ns="ENVI")
    if tags.get("file_compression", "0").strip() not in ("", "0"):
        return
    itemsize = max(np.dtype(kind).itemsize for kind in dataset.dtypes)
    expected = dataset.width * dataset.height * dataset.count * itemsize
    expected += int(tags.get("header_offset", "0").strip() or 0)
    actual = path.stat().st_size
    if actual < expected:
        raise DataError(
            f"{path} has {actual} bytes, but its header asks for {expected}; it was cut off, or "
            "the header belongs to another file"
        )


def _band_names(dataset: Any) -> tuple[str, ...] | None:
    """Read ENVI's own names (GDAL's descriptions add the wavelength), or the descriptions."""
    listed = dataset.tags(ns="ENVI").get("band_names", "").strip("{} \n")
    names = [name.strip() for name in listed.split(",")] if listed else []
    if len(names) != dataset.count:
        names = [dataset.descriptions[band - 1] or "" for band in data_bands(dataset)]
    return tuple(names) if all(names) else None


def _raster_wavelengths(dataset: Any) -> tuple[float, ...] | None:
    """Read ENVI's wavelengths, or GDAL's IMAGERY domain."""
    tags = dataset.tags(ns="ENVI")
    values: list[float] = []
    units = tags.get("wavelength_units", "")
    with contextlib.suppress(ValueError):
        listed = tags.get("wavelength", "").strip("{} \n")
        values = [float(value) for value in listed.split(",")] if listed else []
    if not values:
        for band in data_bands(dataset):
            central = dataset.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM")
            if central is None:
                return None
            values.append(float(central))
        units = "um"
    return nanometres(values, units) if len(values) == len(data_bands(dataset)) else None
