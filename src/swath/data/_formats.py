"""File formats: what each says of its image, and how its pixels are read in windows."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import threading
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError, nearest
from swath.data.scene import ArraySource, CubeSource, Transform, check_type

T = TypeVar("T")
Kind = Literal["mat5", "mat7.3", "hdf5", "npy", "npz", "raster"]

IN_MEMORY = 2**29
"""HDF5 arrays up to this many bytes are read once and kept: their chunks suit no window."""

ENVI_SUFFIXES = ("", ".img", ".dat", ".raw", ".bin", ".bsq", ".bil", ".bip", ".envi")
WAVELENGTHS = ("wavelength", "wavelengths", "wl", "wavelengths_nm", "center_wavelengths")
AXES: dict[str, tuple[str, ...]] = {
    "rows": ("rows", "row", "y", "lat", "latitude", "lines", "line", "northing", "downtrack"),
    "columns": (
        *("columns", "column", "cols", "col", "x", "lon", "longitude", "samples", "sample"),
        *("easting", "crosstrack"),
    ),
    "bands": ("bands", "band", "channels", "channel", "spectral", *WAVELENGTHS),
}


@dataclass(frozen=True)
class Cube:
    """What a file says of its image; band metadata is for all bands of the file."""

    source: CubeSource
    band_names: tuple[str, ...] | None = None
    wavelengths: tuple[float, ...] | None = None
    nodata: float | None = None
    crs: str | None = None
    transform: Transform | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Variable:
    """An array inside a file: its shape as the user knows it, type and dimension names."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    dimensions: tuple[str, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)


def open_cube(
    path: Path,
    variable: str | None = None,
    axes: str | None = None,
    label_shape: tuple[int, ...] | None = None,
) -> Cube:
    """Open the image of a file; ``label_shape`` helps to tell its axes apart."""
    kind = kind_of(path)
    if kind == "raster":
        if axes is not None:
            raise DataError(f"the axes of the raster {path} are known; leave out axes={axes!r}")
        return _raster_cube(path)
    if kind == "npy":
        array = _load_npy(path)
        return Cube(_array_source(str(path), array, _order(str(path), array.shape, axes)))
    table = list_variables(path)
    name = choose(path, table, variable)
    found = table[name]
    what = f"{path}, variable '{name}',"
    check_type(what, found.dtype)
    if axes is None and kind == "hdf5":
        order, notes = _guess_order(what, found, table, label_shape)
    else:
        order, notes = _order(what, found.shape, axes), ()
    source: CubeSource
    if kind in ("mat5", "npz"):
        source = _array_source(what, load_variable(path, name), order)
    else:
        source = _h5_source(path, name, order, transposed=kind == "mat7.3", found=found)
    nodata, crs, transform = None, None, None
    if kind == "hdf5":
        nodata = _fill_value(found)
        crs, transform = _h5_georeference(path, found, table)
    return Cube(
        source,
        wavelengths=_wavelengths(path, table, source.shape[2]),
        nodata=nodata,
        crs=crs,
        transform=transform,
        notes=notes,
    )


def open_plane(path: Path, variable: str | None = None) -> tuple[npt.NDArray[Any], float | None]:
    """Read a label map (rows, columns) whole, with its no-data value."""
    kind = kind_of(path)
    nodata = None
    if kind == "raster":
        cube = _raster_cube(path)
        nodata = cube.nodata
        array = cube.source.read(slice(None), slice(None))
    elif kind == "npy":
        array = _load_npy(path)
    else:
        table = list_variables(path)
        if variable is None:
            table = {
                name: found
                for name, found in table.items()
                if _plane_shape(found.shape) and _is_whole(path, name, found)
            }
        name = choose(path, table, variable, labels=True)
        array = load_variable(path, name)
        nodata = _fill_value(table[name]) if kind == "hdf5" else None
    shape = _plane_shape(array.shape)
    if shape is None:
        sizes = " x ".join(map(str, array.shape))
        raise DataError(f"{path} is no label map: it is {sizes}, not rows x columns")
    return np.asarray(array).reshape(shape), nodata


def kind_of(path: Path) -> Kind:
    """Tell the format from the first bytes; raise :class:`DataError` where there is no file."""
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        others = [name for name in siblings if name != path.name]
        raise DataError(f"{path} {reason}; give a file{nearest(path.name, others)}")
    try:
        with open(path, "rb") as file:
            head = file.read(2056)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from error
    if not head:
        raise DataError(f"{path} is empty; was the download or copy cut off?")
    suffix = path.suffix.lower()
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if suffix == ".npz" and head.startswith(b"PK"):
        return "npz"
    if any(head[at : at + 8] == b"\x89HDF\r\n\x1a\n" for at in (0, 512, 1024, 2048)):
        return "mat7.3" if suffix == ".mat" or head.startswith(b"MATLAB") else "hdf5"
    if head.startswith(b"MATLAB") or suffix == ".mat":
        return "mat5"
    if head.startswith(b"CDF") and head[3:4] in (b"\x01", b"\x02", b"\x05"):
        raise DataError(
            f"{path} is a classic NetCDF file; convert it first, for example with "
            f"'nccopy -k netCDF-4 {path.name} new.nc'"
        )
    if suffix in (".npy", ".npz"):
        raise DataError(f"{path} is no NumPy file; was the download or copy cut off?")
    return "raster"


def list_variables(path: Path) -> dict[str, Variable]:
    """List the numeric arrays of a MATLAB, HDF5, NetCDF or .npz file (empty for others)."""
    kind = kind_of(path)
    if kind == "mat5":
        import scipy.io

        with explained(path, "a MATLAB file"):
            listed = scipy.io.whosmat(path)
        return {
            name: Variable(tuple(shape), np.dtype(_MATLAB[matlab_class]))
            for name, shape, matlab_class in listed
            if matlab_class in _MATLAB
        }
    if kind == "npz":
        with explained(path, "a NumPy .npz file"), zipfile.ZipFile(path) as archive:
            return {
                member.removesuffix(".npy"): _npz_header(archive, member)
                for member in archive.namelist()
            }
    if kind in ("mat7.3", "hdf5"):
        return _h5_variables(path, transposed=kind == "mat7.3")
    return {}


def choose(
    path: Path, table: Mapping[str, Variable], variable: str | None, labels: bool = False
) -> str:
    """Return the variable meant, or raise :class:`DataError` naming the candidates."""
    what, option = ("label map", "label_variable") if labels else ("image", "variable")
    if variable is not None:
        if variable in table:
            return variable
        ends = [name for name in table if name.rsplit("/", 1)[-1] == variable]
        if len(ends) == 1:
            return ends[0]
        raise DataError(
            f"{path} has no variable '{variable}'{nearest(variable, table)}; it has "
            f"{_listed(table)}"
        )
    candidates = dict(table) if labels else {n: v for n, v in table.items() if len(v.shape) == 3}
    if len(candidates) == 1:
        return next(iter(candidates))
    if candidates:
        raise DataError(
            f"{path} has several variables that could be the {what}: {_listed(candidates)}; "
            f"choose with {option}={next(iter(candidates))!r}"
        )
    dimensions = "2-D variable of whole numbers" if labels else "3-D variable"
    everything = list_variables(path)
    has = f"it has {_listed(everything)}" if everything else "it has no numeric variable at all"
    way = f"; name one with {option}=... if it is among them" if everything else ""
    raise DataError(f"{path} has no {dimensions} that could be the {what}: {has}{way}")


def load_variable(path: Path, name: str) -> npt.NDArray[Any]:
    """Read one array whole, with its axes as the user knows them."""
    kind = kind_of(path)
    if kind == "mat5":
        import scipy.io

        with explained(path, "a MATLAB file"):
            return np.asarray(scipy.io.loadmat(path, variable_names=[name])[name])
    if kind == "npz":
        with (
            explained(path, "a NumPy .npz file"),
            np.load(path, allow_pickle=False) as archive,
        ):
            return np.asarray(archive[name])
    with explained(path, "an HDF5 file"), _open_h5(str(path)) as file:
        array = np.asarray(file[name][()])
    return array.T if kind == "mat7.3" else array


def saved_names(path: Path) -> dict[int, str] | None:
    """Return the class names by label value that an .npz scene holds, or None."""
    if kind_of(path) != "npz":
        return None
    table = list_variables(path)
    named = table.get("names"), table.get("label_values")
    if any(found is None or len(found.shape) != 1 for found in named):
        return None
    values, names = load_variable(path, "label_values"), load_variable(path, "names")
    if values.dtype.kind not in "iu" or names.dtype.kind != "U" or len(values) != len(names):
        return None
    return {int(value): str(name) for value, name in zip(values, names, strict=True)}


def saved_simulated(path: Path) -> bool:
    """Return whether an .npz scene says that it was simulated."""
    if kind_of(path) != "npz" or "simulated" not in list_variables(path):
        return False
    return bool(np.any(load_variable(path, "simulated")))


# --- arrays ---------------------------------------------------------------------------------------


_MATLAB = {
    "double": "f8",
    "single": "f4",
    "logical": "?",
    **{f"{u}int{bits}": f"{u or 'i'}{bits // 8}" for u in ("", "u") for bits in (8, 16, 32, 64)},
}


def _load_npy(path: Path) -> npt.NDArray[Any]:
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "allow_pickle" in str(error) or "Python objects" in str(error):
            raise DataError(
                f"{path} holds Python objects, not numbers; save a plain numeric array"
            ) from error
        raise DataError(f"{path} cannot be read ({error}); was it cut off?") from error
    except (OSError, EOFError) as error:
        raise DataError(f"{path} cannot be read ({error}); was it cut off?") from error
    check_type(str(path), array.dtype)
    return np.asanyarray(array)


def _npz_header(archive: zipfile.ZipFile, member: str) -> Variable:
    with archive.open(member) as file:
        version = np.lib.format.read_magic(file)
        read = (
            np.lib.format.read_array_header_1_0
            if version == (1, 0)
            else np.lib.format.read_array_header_2_0
        )
        shape, _, dtype = read(file)
    return Variable(tuple(shape), dtype)


def _array_source(what: str, array: npt.NDArray[Any], order: tuple[int, ...]) -> ArraySource:
    check_type(what, array.dtype)
    if 0 in array.shape:
        raise DataError(f"{what} is empty: its shape is {array.shape}")
    if array.ndim == 2:
        return ArraySource(array.transpose(order)[:, :, None])
    return ArraySource(array.transpose(order))


def _order(what: str, shape: tuple[int, ...], axes: str | None) -> tuple[int, ...]:
    """Return the transposition that makes an array (rows, columns[, bands])."""
    wanted = ("rows", "columns", "bands")[: len(shape)]
    if len(shape) not in (2, 3):
        raise DataError(
            f"{what} has {len(shape)} dimensions {shape}; a scene has rows, columns and bands"
        )
    if axes is None:
        return tuple(range(len(shape)))
    given = [axis.strip() for axis in axes.split(",")]
    if sorted(given) != sorted(wanted):
        raise DataError(
            f"axes={axes!r} does not fit {what} of shape {shape}; name its axes in order, such as "
            f"'{','.join(('bands', 'rows', 'columns')[-len(shape) :])}'"
        )
    return tuple(given.index(axis) for axis in wanted)


def _guess_order(
    what: str,
    found: Variable,
    table: Mapping[str, Variable],
    label_shape: tuple[int, ...] | None,
) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Tell the axes of an HDF5 array apart, with a note where that was a guess.

    In this order: dimension names; the length of a wavelength variable; the size of the labels;
    the shortest axis is the bands.
    """
    shape = found.shape
    if len(shape) != 3:
        return _order(what, shape, None), ()
    roles = [
        next((r for r, names in AXES.items() if d.rsplit("/", 1)[-1].lower() in names), None)
        for d in found.dimensions
    ]
    for role in ("rows", "columns", "bands"):
        if roles.count(role) > 1:
            roles = []
    if len(roles) == 3 and roles.count(None) <= 1:
        rest = next((r for r in AXES if r not in roles), None)
        return _order(what, shape, ",".join(str(r or rest) for r in roles)), ()
    band = roles.index("bands") if "bands" in roles else None
    if band is None:
        counts = {v.shape[0] for n, v in table.items() if _is_wavelength(n, v)}
        fits = [axis for axis in range(3) if shape[axis] in counts]
        band = fits[0] if len(fits) == 1 else None
    if band is None and label_shape is not None:
        fits = [a for a in range(3) if shape[:a] + shape[a + 1 :] == tuple(label_shape)]
        band = fits[-1] if fits else None
    notes: tuple[str, ...] = ()
    if band is None:
        band = min(range(3), key=lambda axis: (shape[axis], -axis))
        notes = (
            f"took axis {band} of {what} shape {shape}, for the bands because it is the shortest; "
            "say otherwise with axes=",
        )
    rows, columns = (axis for axis in range(3) if axis != band)
    return (rows, columns, band), notes


def _is_wavelength(name: str, found: Variable) -> bool:
    return len(_squeezed(found.shape)) == 1 and name.rsplit("/", 1)[-1].lower() in WAVELENGTHS


def _wavelengths(path: Path, table: Mapping[str, Variable], bands: int) -> tuple[float, ...] | None:
    for name, found in table.items():
        if _is_wavelength(name, found) and max(found.shape) == bands:
            values = np.asarray(load_variable(path, name), dtype=np.float64).ravel()
            return nanometres(values.tolist(), _text(found.attributes.get("units", "")))
    return None


def nanometres(values: Sequence[float], units: str = "") -> tuple[float, ...] | None:
    """Convert wavelengths to nanometres; numbers below 100 without a unit are micrometres."""
    if not values or not all(math.isfinite(value) and value > 0 for value in values):
        return None
    unit = units.strip().lower()
    if unit in ("um", "µm", "μm") or unit.startswith(("microm", "micron")):
        factor = 1000.0
    elif unit in ("nm",) or unit.startswith("nanom"):
        factor = 1.0
    elif unit in ("m", "meters", "metres", "meter", "metre"):
        factor = 1e9
    elif unit in ("", "unknown", "1", "index", "none"):
        factor = 1000.0 if max(values) < 100 else 1.0
    else:
        return None
    return tuple(round(value * factor, 6) for value in values)


def _squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size > 1)


def _plane_shape(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return (rows, columns) where a shape is 2-D, or 3-D with one axis of length one."""
    if len(shape) == 3 and 1 in shape:
        axis = 2 if shape[2] == 1 else shape.index(1)
        shape = shape[:axis] + shape[axis + 1 :]
    return (shape[0], shape[1]) if len(shape) == 2 else None


def _is_whole(path: Path, name: str, found: Variable) -> bool:
    if found.dtype.kind in "biu":
        return True
    if found.dtype.kind != "f" or 1 in found.shape:
        return False
    values = load_variable(path, name)
    if values.dtype.kind not in "biuf":
        return False
    return bool(np.all((values == np.trunc(values)) | np.isnan(values)))


def _listed(table: Mapping[str, Variable]) -> str:
    return ", ".join(
        f"'{name}' ({' x '.join(map(str, found.shape)) or 'a number'})"
        for name, found in table.items()
    )


@contextlib.contextmanager
def explained(path: Path, what: str) -> Iterator[None]:
    """Turn whatever a format library raises on a broken file into one :class:`DataError`."""
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        if "allow_pickle" in str(error):
            raise DataError(f"{path} holds Python objects, not numbers") from error
        raise DataError(
            f"{path} cannot be read as {what} ({type(error).__name__}: {error}); is it another "
            "type of file, or was it cut off?"
        ) from error


# --- open files -----------------------------------------------------------------------------------


class _Handle(Generic[T]):
    """A file opened once in each thread of each process, and again after pickling."""

    def __init__(self, opener: Callable[[], T]) -> None:
        self._opener = opener
        self._local = threading.local()

    def get(self) -> T:
        if getattr(self._local, "process", None) != os.getpid():
            self._local.file = self._opener()
            self._local.process = os.getpid()
        file: T = self._local.file
        return file

    def __reduce__(self) -> tuple[Any, ...]:
        return _Handle, (self._opener,)


# --- HDF5: MATLAB v7.3, NetCDF-4 ------------------------------------------------------------------


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
        self._file: _Handle[Any] = _Handle(functools.partial(_open_h5, str(path)))
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


def _open_h5(path: str) -> Any:
    import h5py

    return h5py.File(path, "r", rdcc_nbytes=2**26)


def _h5_variables(path: Path, transposed: bool) -> dict[str, Variable]:
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

    with explained(path, "an HDF5 file"), _open_h5(str(path)) as file:
        file.visititems(visit)
    return found


def _h5_source(
    path: Path, name: str, order: tuple[int, ...], *, transposed: bool, found: Variable
) -> CubeSource:
    if transposed:
        order = tuple(len(order) - 1 - axis for axis in order)
    packing = None
    if "scale_factor" in found.attributes or "add_offset" in found.attributes:
        packing = (
            _number(found.attributes.get("scale_factor", 1.0)),
            _number(found.attributes.get("add_offset", 0.0)),
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
            return _number(found.attributes[key])
    return None


def _fill_value(found: Variable) -> float | None:
    """Return the no-data value of the pixels as they are read (NaN once unpacked)."""
    if "scale_factor" in found.attributes or "add_offset" in found.attributes:
        return math.nan
    return _raw_fill(found)


def _number(value: Any) -> float:
    return float(np.asarray(value).ravel()[0])


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _h5_georeference(
    path: Path, found: Variable, table: Mapping[str, Variable]
) -> tuple[str | None, Transform | None]:
    """Read CF grid mapping attributes and regular coordinates, where there are any."""
    with explained(path, "an HDF5 file"), _open_h5(str(path)) as file:
        attributes: dict[str, Any] = {}
        for name in (_text(found.attributes.get("grid_mapping", "")), "spatial_ref", "crs"):
            if name and name in file:
                attributes = dict(file[name].attrs)
                break
        crs = attributes.get("crs_wkt", attributes.get("spatial_ref"))
        transform: Transform | None = None
        if "GeoTransform" in attributes:
            c, a, b, f, d, e = (float(v) for v in _text(attributes["GeoTransform"]).split())
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
    return (_text(crs) if crs is not None else None), transform


# --- rasters: GeoTIFF, ENVI and whatever GDAL reads -----------------------------------------------


class RasterSource:
    """A raster opened once in each thread and read in windows."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: _Handle[Any] = _Handle(functools.partial(open_raster, str(path)))
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


_QUIET = threading.Lock()  # threads that silence warnings at once would bring them back


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


def _raster_cube(path: Path) -> Cube:
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
