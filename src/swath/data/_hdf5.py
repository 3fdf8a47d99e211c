"""HDF5 files, MATLAB v7.3 and NetCDF-4 among them: their arrays, and windows of those."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.data._file_parts import Handle, Variable, explained, number, text
from swath.data.scene import ArraySource, CubeSource, Transform, missing

__all__ = [
    "H5Source",
    "fill_value",
    "h5_georeference",
    "h5_source",
    "h5_variables",
    "open_h5",
    "stored_fills",
]

Packing = tuple[float, float, tuple[float, ...]]
"""Scale and offset of stored values, and those of them that mean "no data"."""

IN_MEMORY = 2**29
"""HDF5 arrays up to this many bytes are read once and kept: their chunks suit no window."""

NETCDF_FILLS = {
    "i2": -32767,
    "u2": 65535,
    "i4": -2147483647,
    "u4": 4294967295,
    "f4": float(np.float32(9.969209968386869e36)),
    "f8": 9.969209968386869e36,
}
"""What NetCDF fills numbers with that nobody wrote, by type; of bytes it means nothing."""

FILLS = ("fillvalue", "missingvalue", "dataignorevalue", "nodatavalue", "nodata")
"""Attributes that name no-data values, in small letters without underscores."""

_X = ("x", "lon", "longitude", "easting")
_Y = ("y", "lat", "latitude", "northing")
_EVEN = 1e-3  # of a step between pixels, by which others may differ


class H5Source:
    """An HDF5 array too large to keep, read in windows; packed values are unpacked."""

    def __init__(
        self,
        path: Path,
        name: str,
        order: tuple[int, ...],
        packing: Packing | None,
    ) -> None:
        self._path, self._name, self._order, self._packing = path, name, order, packing
        self._file: Handle[Any] = Handle(functools.partial(open_h5, str(path)))
        array = self._file.get()[name]
        sizes = [array.shape[axis] for axis in order]
        self.shape: tuple[int, int, int] = (sizes[0], sizes[1], sizes[2] if sizes[2:] else 1)
        self.dtype: np.dtype[Any] = np.dtype(np.float32) if packing else array.dtype

    def read(self, rows: slice, columns: slice) -> npt.NDArray[Any]:
        """Return the window (rows, columns, all bands) in the stored type."""
        where = [slice(None)] * len(self._order)
        where[self._order[0]], where[self._order[1]] = rows, columns
        with explained(self._path, "an HDF5 file"):
            window = np.asarray(self._file.get()[self._name][tuple(where)])
        window = window.transpose(self._order)
        if window.ndim == 2:
            window = window[:, :, None]
        return window if self._packing is None else _unpacked(window, self._packing)


def open_h5(path: str) -> Any:
    import h5py

    return h5py.File(path, "r", rdcc_nbytes=2**26)


def h5_variables(path: Path, transposed: bool) -> dict[str, Variable]:
    import h5py

    found: dict[str, Variable] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset) or item.shape is None:
            return
        numeric = item.dtype.kind in "biufc" or item.dtype.names == ("real", "imag")
        if not numeric or name.startswith("#refs#") or _is_matlab_text(item):
            return
        dimensions = tuple(
            (dimension.label or (dimension[0].name if len(dimension) else ""))
            for dimension in item.dims
        )
        if item.attrs.get("NAME", b"")[:24] == b"This is a netCDF dimension"[:24]:
            return
        shape = item.shape[::-1] if transposed else item.shape
        found[name] = Variable(tuple(shape), item.dtype, dimensions, _attributes(item))

    with explained(path, "an HDF5 file"), open_h5(str(path)) as file:
        file.visititems(visit)
    return found


def _is_matlab_text(item: Any) -> bool:
    """Whether an array holds the characters of a text, or the size of an empty array."""
    return text(item.attrs.get("MATLAB_class", "")) == "char" or "MATLAB_empty" in item.attrs


def _attributes(item: Any) -> dict[str, Any]:
    """Return the attributes of an array, with NetCDF's own fill value where none is named."""
    attributes = dict(item.attrs)
    usual = NETCDF_FILLS.get(item.dtype.str[1:])
    if usual is not None and item.fillvalue == usual:
        attributes.setdefault("_FillValue", item.fillvalue)
    return attributes


def h5_source(
    path: Path, name: str, order: tuple[int, ...], *, transposed: bool, found: Variable
) -> CubeSource:
    if transposed:
        order = tuple(len(order) - 1 - axis for axis in order)
    if 0 in found.shape:
        raise DataError(f"{path}, variable '{name}', is empty: its shape is {found.shape}")
    with explained(path, "an HDF5 file"):
        source = H5Source(path, name, order, _packing(found))
    if math.prod(found.shape) * found.dtype.itemsize <= IN_MEMORY:
        return ArraySource(source.read(slice(None), slice(None)))
    return source


def _unpacked(stored: npt.NDArray[Any], packing: Packing) -> npt.NDArray[np.float32]:
    scale, offset, fills = packing
    values = (stored * scale + offset).astype(np.float32)
    for fill in fills:
        values[missing(stored, fill)] = np.nan
    return values


def _packing(found: Variable) -> Packing | None:
    """Return scale, offset and stored no-data values of an array, or None where it is not packed.

    An array of several no-data values is read as if it were packed, so that all of them are NaN.
    """
    scale = number(found.attributes.get("scale_factor"))
    offset = number(found.attributes.get("add_offset"))
    fills = stored_fills(found)
    if scale is None and offset is None and len(fills) < 2:
        return None
    return 1.0 if scale is None else scale, 0.0 if offset is None else offset, fills


def stored_fills(found: Variable) -> tuple[float, ...]:
    """Return the stored values that mean "no data", each once; without NaN, which always does."""
    fills: list[float] = []
    for key, values in found.attributes.items():
        if key.lower().replace("_", "") not in FILLS:
            continue
        for given in np.ravel(values):
            value = number(given)
            if value is not None and found.dtype.kind == "f":
                with np.errstate(over="ignore"):
                    value = float(np.asarray(value).astype(found.dtype))
            if value is not None and not math.isnan(value) and value not in fills:
                fills.append(value)
    return tuple(fills)


def fill_value(found: Variable) -> float | None:
    """Return the no-data value of the pixels as they are read (NaN once unpacked)."""
    if _packing(found) is not None:
        return math.nan
    fills = stored_fills(found)
    return fills[0] if fills else number(found.attributes.get("_FillValue"))


def h5_georeference(
    path: Path, found: Variable, table: Mapping[str, Variable]
) -> tuple[str | None, Transform | None, tuple[str, ...]]:
    """Read CF grid mapping attributes and regular coordinates, where there are any.

    What cannot be read of them is left out, with a note: an image is of use without its place.
    """
    try:
        with explained(path, "an HDF5 file"), open_h5(str(path)) as file:
            attributes = _grid_mapping(file, found)
            crs, notes = _coordinate_system(attributes)
            stated, more = _geo_transform(attributes)
            transform, odd = _agreed(stated, _from_coordinates(file, found, table))
            return crs, transform, notes + more + odd
    except DataError as error:
        return None, None, (f"the place of the image is left out: {error}",)


def _grid_mapping(file: Any, found: Variable) -> Mapping[str, Any]:
    """Return the attributes that place an image, of the first variable that should hold them."""
    for name in (text(found.attributes.get("grid_mapping", "")), "spatial_ref", "crs"):
        if name and name in file:
            attributes: Mapping[str, Any] = file[name].attrs
            return attributes
    return {}


def _coordinate_system(attributes: Mapping[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Return the coordinate reference system as WKT, or None with a note where it is odd."""
    from rasterio.crs import CRS
    from rasterio.errors import CRSError

    given = [text(attributes[key]) for key in ("crs_wkt", "spatial_ref") if key in attributes]
    for words in given:
        with contextlib.suppress(CRSError):
            return CRS.from_user_input(words).to_wkt() or None, ()
    if not given:
        return None, ()
    return None, (f"the coordinate system '{given[0][:60]}' is not understood and left out",)


def _geo_transform(attributes: Mapping[str, Any]) -> tuple[Transform | None, tuple[str, ...]]:
    """Return GDAL's GeoTransform, six numbers in a text or an array, or None; with a note."""
    if "GeoTransform" not in attributes:
        return None, ()
    given = np.asarray(attributes["GeoTransform"])
    try:
        parts = given.tolist() if given.size > 1 else text(given).split()
        c, a, b, f, d, e = (float(part) for part in parts)
    except (TypeError, ValueError):
        return None, ("the GeoTransform is not six numbers and left out",)
    return (a, b, c, d, e, f), ()


def _agreed(
    stated: Transform | None, told: Transform | None
) -> tuple[Transform | None, tuple[str, ...]]:
    """Return the transform of a GeoTransform, or that of the coordinates where it does not fit.

    Programs that cut an image, or turn it over, may leave the GeoTransform as it was.
    """
    if stated is None or told is None:
        return stated or told, ()
    numbered = told[0] == told[4] == 1 and {told[2], told[5]} <= {-0.5, 0.5}  # no coordinates
    apart = np.abs(np.subtract(stated, told)) / max(abs(told[0]), abs(told[4]))
    if numbered or (apart[[2, 5]].max() <= 0.5 and apart[[0, 1, 3, 4]].max() <= _EVEN):
        return stated, ()
    return told, ("the GeoTransform does not fit the coordinates of the pixels, which count",)


def _from_coordinates(
    file: Any, image: Variable, table: Mapping[str, Variable]
) -> Transform | None:
    """Return the transform that the evenly spaced middles of columns and rows tell, or None."""
    lists = {
        name: v for name, v in table.items() if len(v.shape) == 1 and v.shape[0] in image.shape
    }
    across = _even_steps(file, lists, _X)
    down = _even_steps(file, lists, _Y)
    if across is None or down is None:
        return None
    (x, width), (y, height) = across, down
    return width, 0.0, x - width / 2, 0.0, height, y - height / 2


def _even_steps(
    file: Any, lists: Mapping[str, Variable], names: Sequence[str]
) -> tuple[float, float] | None:
    """Return the first value and the step of the first variable that is evenly spaced."""
    for name in names:
        if name not in lists or lists[name].dtype.kind not in "iuf" or lists[name].shape[0] < 2:
            continue
        scale, offset, _ = _packing(lists[name]) or (1.0, 0.0, ())
        values = np.asarray(file[name][()], dtype=np.float64) * scale + offset
        steps = np.diff(values)
        if steps[0] and np.allclose(steps, steps[0], rtol=_EVEN):
            return float(values[0]), float(steps.mean())
    return None
