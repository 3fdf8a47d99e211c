"""HDF5 files, MATLAB v7.3 and NetCDF-4 among them: their arrays, and windows of those."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
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
    packing = None
    if "scale_factor" in found.attributes or "add_offset" in found.attributes:
        packing = (
            number(found.attributes.get("scale_factor", 1.0)),
            number(found.attributes.get("add_offset", 0.0)),
            _raw_fill(found),
        )
    if 0 in found.shape:
        raise DataError(f"{path}, variable '{name}', is empty: its shape is {found.shape}")
    with explained(path, "an HDF5 file"):
        source = H5Source(path, name, order, packing)
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


def _raw_fill(found: Variable) -> float | None:
    for key in ("_FillValue", "missing_value"):
        if key in found.attributes:
            return number(found.attributes[key])
    return None


def fill_value(found: Variable) -> float | None:
    """Return the no-data value of the pixels as they are read (NaN once unpacked)."""
    if "scale_factor" in found.attributes or "add_offset" in found.attributes:
        return math.nan
    return _raw_fill(found)


def h5_georeference(
    path: Path, found: Variable, table: Mapping[str, Variable]
) -> tuple[str | None, Transform | None]:
    """Read CF grid mapping attributes and regular coordinates, where there are any."""
    with explained(path, "an HDF5 file"), open_h5(str(path)) as file:
        attributes: dict[str, Any] = {}
        for name in (text(found.attributes.get("grid_mapping", "")), "spatial_ref", "crs"):
            if name and name in file:
                attributes = dict(file[name].attrs)
                break
        crs = attributes.get("crs_wkt", attributes.get("spatial_ref"))
        transform: Transform | None = None
        if "GeoTransform" in attributes:
            c, a, b, f, d, e = (float(v) for v in text(attributes["GeoTransform"]).split())
            transform = (a, b, c, d, e, f)
        else:
            steps = {}
            for name, variable in table.items():
                if len(variable.shape) == 1 and variable.shape[0] > 1 and "/" not in name:
                    values = np.asarray(file[name][()], dtype=np.float64)
                    step = np.diff(values)
                    if name in ("x", "y", "lon", "lat") and np.allclose(step, step[0], rtol=1e-3):
                        steps[name] = (float(values[0]), float(step.mean()))
            x, y = steps.get("x", steps.get("lon")), steps.get("y", steps.get("lat"))
            if x and y:
                transform = (x[1], 0.0, x[0] - x[1] / 2, 0.0, y[1], y[0] - y[1] / 2)
    return (text(crs) if crs is not None else None), transform
