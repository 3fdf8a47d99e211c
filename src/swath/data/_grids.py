"""Where the pixels of an image lie, and whether two images cover the same ground."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.data.scene import Transform

__all__ = ["Grid", "coordinate_system", "difference", "upside_down"]


@dataclass(frozen=True)
class Grid:
    """The pixels of an image on the ground.

    Parameters
    ----------
    name : of the image or its file, for messages.
    rows, columns : how many pixels there are.
    crs, transform : as of :class:`~swath.data.scene.Scene`; None where nothing is known.
    """

    name: str
    rows: int
    columns: int
    crs: str | None
    transform: Transform | None


def difference(one: Grid, other: Grid, tolerance: float) -> str | None:
    """Say how two grids cover other ground; None where they cover the same, or nothing is known.

    Parameters
    ----------
    tolerance : how far corners may be apart, in pixels of the finer grid.
    """
    if one.crs is None or other.crs is None or one.transform is None or other.transform is None:
        return None
    ours, theirs = coordinate_system(one.crs), coordinate_system(other.crs)
    if not _same_system(ours, theirs):
        return f"{one.name} lies in {ours}, but {other.name} in {theirs}"
    if _same_corners(one, other, tolerance):
        return None
    here, there = _corners(one, one.transform), _corners(other, other.transform)
    return (
        f"{one.name} begins at {tuple(here[0].tolist())}, but {other.name} at "
        f"{tuple(there[0].tolist())} of {ours}, or their pixels differ in size"
    )


def upside_down(one: Grid, other: Grid, tolerance: float) -> bool:
    """Whether two grids cover the same ground, but one of them from its other end.

    Where one names no coordinate reference system, it is taken for that of the other.
    """
    if (
        one.crs is not None
        and other.crs is not None
        and not _same_system(coordinate_system(one.crs), coordinate_system(other.crs))
    ):
        return False
    if _same_corners(one, other, tolerance):
        return False
    return _same_corners(one, _flipped(other), tolerance)


def _same_corners(one: Grid, other: Grid, tolerance: float) -> bool:
    """Whether the corners of two grids have the same coordinates; no, where one has none."""
    if one.transform is None or other.transform is None:
        return False
    here, there = _corners(one, one.transform), _corners(other, other.transform)
    pixel = min(_pixel(one.transform), _pixel(other.transform))
    return bool(np.abs(here - there).max() <= tolerance * pixel)


def _flipped(grid: Grid) -> Grid:
    """Return the grid whose first row is the last of this one."""
    if grid.transform is None:
        return grid
    a, b, c, d, e, f = grid.transform
    turned = (a, -b, c + b * grid.rows, d, -e, f + e * grid.rows)
    return dataclasses.replace(grid, transform=turned)


def coordinate_system(wkt: str) -> Any:
    """Return rasterio's coordinate reference system of a text."""
    from rasterio.crs import CRS

    return CRS.from_wkt(wkt)


def _same_system(ours: Any, theirs: Any) -> bool:
    """Whether two systems are one, though perhaps written by programs with names of their own."""
    if ours == theirs:
        return True
    number = ours.to_epsg()
    return number is not None and number == theirs.to_epsg()


def _corners(grid: Grid, transform: Transform) -> npt.NDArray[np.float64]:
    """Return the first corner and those at the ends of the first row and the first column."""
    places = np.array([[0, 0, 1], [grid.columns, 0, 1], [0, grid.rows, 1]], np.float64)
    return places @ np.array(transform, np.float64).reshape(2, 3).T


def _pixel(transform: Transform) -> float:
    """Return the length of a pixel's longer side along an axis of the coordinates."""
    return float(np.abs(np.array(transform, np.float64)[[0, 1, 3, 4]]).max())
