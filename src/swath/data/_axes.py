"""Which axis of an array is which: rows, columns, bands."""

from __future__ import annotations

from collections.abc import Mapping

from swath.core.errors import DataError
from swath.data._file_parts import Variable

__all__ = ["axis_order", "guess_order", "is_turned", "is_wavelength", "plane_shape"]

WAVELENGTHS = ("wavelength", "wavelengths", "wl", "wavelengths_nm", "center_wavelengths")
AXES: dict[str, tuple[str, ...]] = {
    "rows": ("rows", "row", "y", "lat", "latitude", "lines", "line", "northing", "downtrack"),
    "columns": (
        *("columns", "column", "cols", "col", "x", "lon", "longitude", "samples", "sample"),
        *("easting", "crosstrack"),
    ),
    "bands": ("bands", "band", "channels", "channel", "spectral", *WAVELENGTHS),
}


def axis_order(what: str, shape: tuple[int, ...], axes: str | None) -> tuple[int, ...]:
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


def guess_order(
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
        return axis_order(what, shape, None), ()
    roles = _roles(found)
    for role in ("rows", "columns", "bands"):
        if roles.count(role) > 1:
            roles = []
    if len(roles) == 3 and roles.count(None) <= 1:
        rest = next((r for r in AXES if r not in roles), None)
        return axis_order(what, shape, ",".join(str(r or rest) for r in roles)), ()
    notes: tuple[str, ...] = ()
    band = roles.index("bands") if "bands" in roles else None
    if band is None:
        counts = {v.shape[0] for n, v in table.items() if is_wavelength(n, v)}
        fits = [axis for axis in range(3) if shape[axis] in counts]
        band = fits[0] if len(fits) == 1 else None
    if band is None and label_shape is not None:
        fits = [a for a in range(3) if shape[:a] + shape[a + 1 :] == tuple(label_shape)]
        band = fits[-1] if fits else None
        if len(fits) > 1:
            notes = (
                f"took axis {band} of {what} shape {shape}, for the bands; the size of the labels "
                f"fits axis {fits[0]} as well: say otherwise with axes=",
            )
    if band is None:
        band = min(range(3), key=lambda axis: (shape[axis], -axis))
        alone = sorted(shape)[0] < sorted(shape)[1]
        reason = "because it is the shortest" if alone else "though another is as short"
        notes = (
            f"took axis {band} of {what} shape {shape}, for the bands {reason}; "
            "say otherwise with axes=",
        )
    rows, columns = (axis for axis in range(3) if axis != band)
    return (rows, columns, band), notes


def is_turned(found: Variable) -> bool:
    """Whether the dimension names of an array say that its columns come before its rows."""
    named = [role for role in _roles(found) if role in ("rows", "columns")]
    return named == ["columns", "rows"]


def _roles(found: Variable) -> list[str | None]:
    """Return what each dimension of an array is by its name: rows, columns, bands or unknown."""
    names = [dimension.rsplit("/", 1)[-1].lower() for dimension in found.dimensions]
    return [next((role for role, known in AXES.items() if n in known), None) for n in names]


def is_wavelength(name: str, found: Variable) -> bool:
    """Whether an array is named for wavelengths and is a list of numbers."""
    listed = len(squeezed(found.shape)) == 1 and found.dtype.kind in "iuf"
    return listed and name.rsplit("/", 1)[-1].lower() in WAVELENGTHS


def squeezed(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(size for size in shape if size > 1)


def plane_shape(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """Return (rows, columns) where a shape is 2-D, or 3-D with one axis of length one."""
    if len(shape) == 3 and 1 in shape:
        axis = 2 if shape[2] == 1 else shape.index(1)
        shape = shape[:axis] + shape[axis + 1 :]
    return (shape[0], shape[1]) if len(shape) == 2 else None
