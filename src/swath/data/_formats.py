"""File formats: which one a file has, which of its arrays is meant, what it says of its image."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError, nearest
from swath.data._axes import axis_order, guess_order, is_turned, is_wavelength, plane_shape
from swath.data._file_parts import Cube, Variable, explained, nanometres, text
from swath.data._hdf5 import (
    fill_value,
    h5_georeference,
    h5_source,
    h5_variables,
    open_h5,
    stored_fills,
)
from swath.data._rasters import raster_cube
from swath.data.scene import (
    ArraySource,
    CubeSource,
    Transform,
    check_type,
    missing,
    shown_of,
)

__all__ = [
    "Plane",
    "choose",
    "kind_of",
    "list_variables",
    "load_variable",
    "open_cube",
    "open_plane",
    "saved_names",
    "saved_simulated",
]

Kind = Literal["mat5", "mat7.3", "hdf5", "npy", "npz", "raster"]

_MATLAB = {
    "double": "f8",
    "single": "f4",
    "logical": "?",
    **{f"{u}int{bits}": f"{u or 'i'}{bits // 8}" for u in ("", "u") for bits in (8, 16, 32, 64)},
}


def open_cube(
    path: Path,
    variable: str | None = None,
    axes: str | None = None,
    label_shape: tuple[int, ...] | None = None,
) -> Cube:
    """Open the image of a file; ``label_shape`` helps to tell its axes apart."""
    kind = kind_of(path)
    _check_choice(path, kind, variable, "variable")
    if kind == "raster":
        if axes is not None:
            raise DataError(f"the axes of the raster {path} are known; leave out axes={axes!r}")
        return raster_cube(path)
    if kind == "npy":
        array = _load_npy(path)
        return Cube(_array_source(str(path), array, axis_order(str(path), array.shape, axes)))
    table = list_variables(path)
    name = choose(path, table, variable)
    found = table[name]
    what = f"{path}, variable '{name}',"
    check_type(what, found.dtype)
    if axes is None and kind == "hdf5":
        order, notes = guess_order(what, found, table, label_shape)
    else:
        order, notes = axis_order(what, found.shape, axes), ()
    source: CubeSource
    if kind in ("mat5", "npz"):
        source = _array_source(what, load_variable(path, name), order)
    else:
        source = h5_source(path, name, order, transposed=kind == "mat7.3", found=found)
    nodata, crs, transform = None, None, None
    if kind == "hdf5":
        nodata = fill_value(found)
        crs, transform, more = h5_georeference(path, found, table)
        notes += more
    return Cube(
        source,
        wavelengths=_wavelengths(path, table, source.shape[2]),
        nodata=nodata,
        crs=crs,
        transform=transform,
        notes=notes,
    )


@dataclass(frozen=True)
class Plane:
    """What a file says of its label map.

    Parameters
    ----------
    values : (rows, columns) as they are stored.
    missing : bool (rows, columns), where the file says that there is no value.
    nodata : the value that says so, where there is one.
    crs, transform : as of :class:`~swath.data.scene.Scene`.
    """

    values: npt.NDArray[Any]
    missing: npt.NDArray[np.bool_]
    nodata: float | None
    crs: str | None
    transform: Transform | None


def open_plane(path: Path, variable: str | None = None) -> Plane:
    """Read a label map (rows, columns) whole, with what its file says of it."""
    kind = kind_of(path)
    _check_choice(path, kind, variable, "label_variable")
    if kind == "raster":
        return _raster_plane(path)
    if kind == "npy":
        return _plane(path, _load_npy(path))
    everything = list_variables(path)
    table = everything if variable is not None else _label_candidates(path, everything)
    name = choose(path, table, variable, labels=True)
    array = load_variable(path, name)
    if kind != "hdf5":
        return _plane(path, array)
    crs, transform, _ = h5_georeference(path, table[name], everything)
    fills = stored_fills(table[name])
    plane = _plane(path, array, fills[0] if fills else None, crs, transform)
    absent = [missing(plane.values, fill) for fill in fills]
    plane = replace(plane, missing=np.any([plane.missing, *absent], axis=0))
    if is_turned(table[name]):
        plane = replace(plane, values=plane.values.T, missing=plane.missing.T)
    return plane


def _label_candidates(path: Path, table: Mapping[str, Variable]) -> dict[str, Variable]:
    """Return the planes of whole numbers; lists, such as of wavelengths, if there is no other."""
    planes = {
        name: found
        for name, found in table.items()
        if plane_shape(found.shape) and _is_whole(path, name, found)
    }
    wide = {name: v for name, v in planes.items() if 1 not in (plane_shape(v.shape) or ())}
    return wide or planes


def _check_choice(path: Path, kind: Kind, variable: str | None, option: str) -> None:
    """Refuse the name of an array in a file that holds one image without a name."""
    if variable is not None and kind in ("raster", "npy"):
        raise DataError(
            f"{path} holds one image, which has no name; leave out {option}={variable!r}"
        )


def _raster_plane(path: Path) -> Plane:
    cube = raster_cube(path)
    whole = slice(None), slice(None)
    plane = _plane(path, cube.source.read(*whole), cube.nodata, cube.crs, cube.transform)
    shown = shown_of(cube.source, *whole)
    return plane if shown is None else replace(plane, missing=plane.missing | ~shown)


def _plane(
    path: Path,
    array: npt.NDArray[Any],
    nodata: float | None = None,
    crs: str | None = None,
    transform: Transform | None = None,
) -> Plane:
    shape = plane_shape(array.shape)
    if shape is None:
        sizes = " x ".join(map(str, array.shape))
        raise DataError(f"{path} is no label map: it is {sizes}, not rows x columns")
    values = np.asarray(array).reshape(shape)
    absent = np.zeros(shape, np.bool_) if nodata is None else missing(values, nodata)
    return Plane(values, absent, nodata, crs, transform)


def kind_of(path: Path) -> Kind:
    """Tell the format from the first bytes; raise :class:`DataError` where there is no file."""
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "does not exist"
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        others = [name for name in siblings if name != path.name]
        named = not path.suffix and len(path.parts) == 1
        way = ", or open a known scene by swath.data.open_catalogue_scene" * named
        raise DataError(f"{path} {reason}; give a file{nearest(path.name, others)}{way}")
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
        return h5_variables(path, transposed=kind == "mat7.3")
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
            f"{_listed(table) or 'no numeric variable at all'}{_unread(path)}"
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
    raise DataError(
        f"{path} has no {dimensions} that could be the {what}: {has}{_unread(path)}{way}"
    )


def _unread(path: Path) -> str:
    """Name what a MATLAB v5 file holds besides numeric arrays, and the way out; '' for others."""
    if kind_of(path) != "mat5":
        return ""
    import scipy.io

    with explained(path, "a MATLAB file"):
        others = [f"'{name}' ({kind})" for name, _, kind in scipy.io.whosmat(path)
                  if kind in ("struct", "cell", "sparse", "object")]  # fmt: skip
    if not others:
        return ""
    return (
        f", and {', '.join(others)}, which cannot be looked into; save the array that is in it "
        "under a name of its own, as a full numeric array"
    )


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
    with explained(path, "an HDF5 file"), open_h5(str(path)) as file:
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


def _wavelengths(path: Path, table: Mapping[str, Variable], bands: int) -> tuple[float, ...] | None:
    for name, found in table.items():
        if is_wavelength(name, found) and max(found.shape) == bands:
            values = np.asarray(load_variable(path, name), dtype=np.float64).ravel()
            return nanometres(values.tolist(), text(found.attributes.get("units", "")))
    return None


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
