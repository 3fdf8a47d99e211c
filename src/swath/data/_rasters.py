"""Rasters: GeoTIFF, ENVI and whatever else GDAL reads."""

from __future__ import annotations

import contextlib
import functools
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.data._file_parts import Cube, Handle, explained, nanometres
from swath.data.scene import check_type

__all__ = ["RasterSource", "open_raster", "raster_cube"]

ENVI_SUFFIXES = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip", ".envi")
_QUIET = threading.Lock()  # threads that silence warnings at once would bring them back


class RasterSource:
    """A raster opened once in each thread and read in windows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: Handle[Any] = Handle(functools.partial(open_raster, str(path)))
        dataset = self._file.get()
        self.shape: tuple[int, int, int] = (dataset.height, dataset.width, dataset.count)
        if any(str(kind).startswith("complex") for kind in dataset.dtypes):
            check_type(str(path), np.dtype(np.complex64))
        self.dtype: np.dtype[Any] = np.result_type(*dataset.dtypes)

    def read(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return the window (rows, columns, all bands) in the stored type."""
        from rasterio.windows import Window

        top, bottom, _ = rows.indices(self.shape[0])
        left, right, _ = columns.indices(self.shape[1])
        if bottom <= top or right <= left:
            return np.zeros((max(0, bottom - top), max(0, right - left), self.shape[2]), self.dtype)
        window = Window(left, top, right - left, bottom - top)
        with explained(self._path, "a raster"):
            pixels = self._file.get().read(window=window, out_dtype=self.dtype)
        return np.moveaxis(pixels, 0, 2)


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


def raster_cube(path: Path) -> Cube:
    if path.suffix.lower() == ".hdr":
        path = _envi_data(path)
    source = RasterSource(path)
    dataset = open_raster(str(path))
    with dataset:
        if dataset.count == 0:
            raise DataError(
                f"{path} holds no bands of its own; give one of its datasets: "
                f"{', '.join(dataset.subdatasets[:5]) or 'none'}"
            )
        if dataset.driver == "ENVI":
            _check_envi_size(path, dataset)
        names = _band_names(dataset)
        values = set(dataset.nodatavals)
        notes: tuple[str, ...] = ()
        if len({str(value) for value in values}) > 1:
            notes = ("the bands name different no-data values; that of the first is used",)
        placed = not dataset.transform.is_identity
        return Cube(
            source,
            band_names=names,
            wavelengths=_raster_wavelengths(dataset),
            nodata=dataset.nodata,
            crs=dataset.crs.to_wkt() if dataset.crs else None,
            transform=tuple(dataset.transform)[:6] if placed else None,
            notes=notes,
        )


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
        names = [str(name) if name else "" for name in dataset.descriptions]
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
        for band in range(1, dataset.count + 1):
            central = dataset.tags(band, ns="IMAGERY").get("CENTRAL_WAVELENGTH_UM")
            if central is None:
                return None
            values.append(float(central))
        units = "um"
    return nanometres(values, units) if len(values) == dataset.count else None
