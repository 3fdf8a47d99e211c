"""Scenes of several sensors brought onto one grid, their bands one after another."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.data._grids import Grid, coordinate_system, difference
from swath.data.patch_set import Sensor, same_sizes
from swath.data.scene import Scene

__all__ = ["Stack", "stack_scenes"]

_SHIFT = 0.01  # of a pixel, which two grids may differ by and still be one
_ASK = "ask for the other to be resampled onto the finer grid (resample)"


@dataclass(frozen=True, eq=False)
class Stack:
    """Co-registered sensors in memory.

    Parameters
    ----------
    image : float32 (bands, rows, columns), zero where not valid.
    valid : bool (rows, columns), where every band of every sensor holds data.
    sensors : whose bands the image has, in this order.
    notes : of the scenes, and what was resampled.
    """

    image: npt.NDArray[np.float32]
    valid: npt.NDArray[np.bool_]
    sensors: tuple[Sensor, ...]
    notes: tuple[str, ...]


def stack_scenes(scenes: Mapping[str, Scene], *, resample: bool = False) -> Stack:
    """Read scenes by the names of their sensors and put their bands one after another.

    The grid is that of the scene with the most pixels.

    Parameters
    ----------
    resample : bring the others onto it (bilinear): by their georeference, or, where one of the two
        has none, as if both covered the same ground.

    Raises
    ------
    DataError : without ``resample``, scenes of other sizes, places or coordinate reference systems;
        the message names both.
    """
    reference = max(
        scenes, key=lambda name: scenes[name].source.shape[0] * scenes[name].source.shape[1]
    )
    grid = scenes[reference]
    images, sensors, notes = [], [], []
    valid = np.ones(grid.shape[:2], np.bool_)
    for name, scene in scenes.items():
        pixels, known = scene.read_valid()
        pixels[~known] = np.nan
        image = np.moveaxis(pixels, 2, 0)
        if not _same_grid((reference, grid), (name, scene), resample):
            image = _onto(grid, scene, image)
            rows, columns, _ = scene.shape
            notes.append(
                f"{name} resampled from {rows} x {columns} pixels onto the grid of {reference} "
                f"({grid.shape[0]} x {grid.shape[1]})"
            )
        valid &= np.isfinite(image).all(axis=0)
        images.append(image)
        bands = scene.band_names or tuple(f"band {band}" for band in scene.bands)
        sensors.append(Sensor(name, bands))
        notes += [f"{name}: {note}" for note in scene.notes]
    stacked = np.concatenate(images)
    stacked[:, ~valid] = 0
    return Stack(stacked, valid, tuple(sensors), tuple(notes))


def _same_grid(first: tuple[str, Scene], second: tuple[str, Scene], resample: bool) -> bool:
    """Whether two scenes lie pixel on pixel; where not, refuse them unless they are resampled."""
    (one, a), (other, b) = first, second
    if a.shape[:2] != b.shape[:2] and resample:
        return False
    same_sizes([(one, a.shape[:2]), (other, b.shape[:2])], _ASK)
    apart = difference(_grid(one, a), _grid(other, b), _SHIFT)
    if apart is None:
        return True
    if resample:
        return False
    raise DataError(f"{apart}; {_ASK}")


def _grid(name: str, scene: Scene) -> Grid:
    rows, columns, _ = scene.shape
    return Grid(name, rows, columns, scene.crs, scene.transform)


def _onto(grid: Scene, scene: Scene, image: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Resample an image (bands, rows, columns), NaN where missing, onto the grid of a scene."""
    from rasterio.transform import Affine
    from rasterio.warp import Resampling, reproject

    rows, columns, _ = grid.shape
    if grid.crs and scene.crs and grid.transform and scene.transform:
        systems = coordinate_system(scene.crs), coordinate_system(grid.crs)
        places = Affine(*scene.transform), Affine(*grid.transform)
    else:  # any place will do (but the identity, which GDAL takes for none): both cover it
        systems = ("EPSG:3857", "EPSG:3857")
        own_rows, own_columns, _ = scene.shape
        places = (
            Affine(columns / own_columns, 0, 1000, 0, -rows / own_rows, 1000),
            Affine(1, 0, 1000, 0, -1, 1000),
        )
    out = np.full((len(image), rows, columns), np.nan, np.float32)
    reproject(
        image,
        out,
        src_transform=places[0],
        dst_transform=places[1],
        src_crs=systems[0],
        dst_crs=systems[1],
        src_nodata=np.nan,
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
    )
    return out
