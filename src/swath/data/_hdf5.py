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
from swath.data.scene import ArraySource, CubeSource, Transform

__all__ = ["H5Source", "fill_value", "h5_georeference", "h5_source", "h5_variables", "open_h5"]

IN_MEMORY = 2**29
"""HDF5 arrays up to this many bytes are read once and kept: their chunks suit no window."""


class H5Source:
    """An HDF5 array too large to keep, read in windows; packed values are unpacked."""

    def __init__(
        self,
        path: Path,
        name: str,
        order: tuple[int, ...],
        packing: tuple[float, float, float | None] | None,
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
        if not numeric or name.startswith("#refs#"):
            return
        dimensions = tuple(
            (dimension.label or (dimension[0].name if len(dimension) else ""))
            for dimension in item.dims
        )
        if item.attrs.get("NAME", b"")[:24] == b"This is a netCDF dimension"[:24]:
            return
        shape = item.shape[::-1] if transposed else item.shape
        found[name] = Variable(tuple(shape), item.dtype, dimensions, dict(item.attrs))

    with explained(path, "an HDF5 file"), open_h5(str(path)) as file:
        file.visititems(visit)
    return found


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


def _unpacked(
    stored: npt.NDArray[Any], packing: tuple[float, float, float | None]
) -> npt.NDArray[np.float32]:
    scale, offset, fill = packing
    values = (stored * scale + offset).astype(np.float32)
    if fill is not None:
        values[stored == fill] = np.nan
    return values


def _packing(found: Variable) -> tuple[float, float, float | None] | None:
    """Return scale, offset and stored no-data value of packed values, or None."""
    scale = number(found.attributes.get("scale_factor"))
    offset = number(found.attributes.get("add_offset"))
    if scale is None and offset is None:
        return None
    return 1.0 if scale is None else scale, 0.0 if offset is None else offset, _raw_fill(found)


def _raw_fill(found: Variable) -> float | None:
    for key in ("_FillValue", "missing_value"):
        value = number(found.attributes.get(key))
        if value is not None:
            return value
    return None


def fill_value(found: Variable) -> float | None:
    """Return the no-data value of the pixels as they are read (NaN once unpacked)."""
    return _raw_fill(found) if _packing(found) is None else math.nan


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
            transform, more = _geo_transform(attributes)
            return crs, transform or _from_coordinates(file, found, table), notes + more
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


def _from_coordinates(
    file: Any, image: Variable, table: Mapping[str, Variable]
) -> Transform | None:
    """Return the transform that the evenly spaced middles of columns and rows tell, or None."""
    lists = {
        name: v for name, v in table.items() if len(v.shape) == 1 and v.shape[0] in image.shape
    }
    across = _even_steps(file, lists, ("x", "lon"))
    down = _even_steps(file, lists, ("y", "lat"))
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
        values = np.asarray(file[name][()], dtype=np.float64)
        steps = np.diff(values)
        if steps[0] and np.allclose(steps, steps[0], rtol=1e-3):
            return float(values[0]), float(steps.mean())
    return None
