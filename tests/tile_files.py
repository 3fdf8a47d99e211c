"""Images and masks written for tests."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import rasterio
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import from_origin

if TYPE_CHECKING:
    from swath.tasks.tiles import TileTask

DRIVERS = {".png": "PNG", ".jpg": "JPEG", ".tif": "GTiff", ".tiff": "GTiff"}


def write(
    path: Path, array: npt.NDArray[Any], corner: tuple[float, float] | None = None, **more: Any
) -> Path:
    """Write (rows, columns) or (rows, columns, bands); with a corner (x, y) as georeferenced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    array = array[:, :, None] if array.ndim == 2 else array
    if corner is not None:
        more = {"crs": "EPSG:32633", "transform": from_origin(*corner, 1.0, 1.0)} | more
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(
            path,
            "w",
            driver=DRIVERS[path.suffix.lower()],
            height=array.shape[0],
            width=array.shape[1],
            count=array.shape[2],
            dtype=array.dtype,
            **more,
        ) as file:
            file.write(np.moveaxis(array, 2, 0))
    return path


def image(seed: int, rows: int = 12, columns: int = 10, bands: int = 3) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, (rows, columns, bands), np.uint8)


def mask(
    seed: int, rows: int = 12, columns: int = 10, values: tuple[int, ...] = (0, 255)
) -> npt.NDArray[np.uint8]:
    drawn = np.random.default_rng(seed).choice(values, (rows, columns)).astype(np.uint8)
    drawn[0, : len(values)] = values
    return drawn


def write_set(
    images: Path,
    masks: Path,
    count: int = 3,
    *,
    ends: tuple[str, str] = (".png", ".png"),
    size: tuple[int, int] = (12, 10),
    placed: bool = False,
    first: int = 0,
) -> None:
    """Write images and masks named t00, t01, ...; placed ones lie in a row from west to east."""
    for n in range(first, first + count):
        corner = (500_000.0 + 100 * n, 5_000_000.0) if placed else None
        write(images / f"t{n:02d}{ends[0]}", image(n, *size), corner)
        write(masks / f"t{n:02d}{ends[1]}", mask(n, *size), corner)


def write_bright(
    folder: Path,
    count: int = 8,
    *,
    size: tuple[int, int] = (32, 40),
    end: str = ".png",
    values: tuple[int, int] = (0, 255),
    first: int = 0,
    placed: bool = False,
) -> Path:
    """Write images/ and masks/ in which the target is a bright rectangle, so that it is learnt."""
    for n in range(first, first + count):
        rng = np.random.default_rng(1000 + n)
        target = np.zeros(size, bool)
        rows, columns = (int(rng.integers(0, length // 2)) for length in size)
        target[rows : rows + size[0] // 2, columns : columns + size[1] // 3] = True
        grey = np.where(target, 190, 60)[:, :, None] + rng.integers(-25, 26, (*size, 3))
        corner = (500_000.0 + 100 * n, 5_000_000.0) if placed else None
        write(folder / "images" / f"t{n:02d}{end}", grey.astype(np.uint8), corner)
        mask = np.where(target, values[1], values[0]).astype(np.uint8)
        write(folder / "masks" / f"t{n:02d}{end}", mask, corner)
    return folder


def bright_task(folder: Path, **keys: Any) -> TileTask:
    """Return the task of such a folder, written where it is not there."""
    from swath.study.tile_tasks import TileTaskSettings, make_tile_task

    if not folder.exists():
        write_bright(folder)
    given = {"source": str(folder), "test": 2, "validation": 2} | keys
    return make_tile_task(TileTaskSettings(**given), 0)
