"""Folders of GeoTIFFs as a patch set: the class of a patch is the folder that it lies in."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.core.files import expanded
from swath.data._rasters import hides_pixels, open_raster, shown_pixels
from swath.data.patch_set import PatchSet, Sensor, chosen_sensors, same_sizes
from swath.data.scene import measured, missing

__all__ = ["open_patch_folders"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float32]
PathLike = str | os.PathLike[str]

_RASTERS = (".tif", ".tiff")


def open_patch_folders(
    folders: PathLike | Mapping[str, PathLike],
    sensors: str | None = None,
    *,
    resample: bool = False,
) -> PatchSet:
    """Open folders of GeoTIFFs; a patch's class is the name of the folder it lies in.

    A patch is a file ``CLASS/NAME.tif`` with all bands, or a folder ``CLASS/NAME`` with files of
    its bands, which are taken in the order of their names.  The patches of several sensors belong
    together by CLASS and NAME.  Hidden files and folders are passed over.

    Parameters
    ----------
    folders : one folder of class folders, or one for each sensor by its name.
    sensors : which of them, such as "s1+s2"; None: all.
    resample : bring smaller bands and sensors to the pixels of the largest (bilinear); they are
        taken to cover the same ground.

    Raises
    ------
    DataError : a folder is missing or empty, sensors have other classes or patches, or differ in
        their size (without ``resample``) or coordinate reference system.
    """
    given = folders if isinstance(folders, Mapping) else {"image": folders}
    roots = {name: expanded(given[name]) for name in chosen_sensors(sensors, given)}
    tables = {name: _class_table(root) for name, root in roots.items()}
    first, reference = next(iter(tables.items()))
    for name, table in tables.items():
        _check_pairs(first, reference, name, table)
    patches = [
        {sensor: table[label][patch] for sensor, table in tables.items()}
        for label in reference
        for patch in reference[label]
    ]
    numbers = {label: number for number, label in enumerate(reference)}
    labels = [numbers[label] for label in reference for _ in reference[label]]
    found, side = _look_at(patches[0], resample)
    source = _FolderPatches(tuple(patches), tuple(len(s.bands) for s in found), side, resample)
    name = "+".join(root.name for root in roots.values())
    return PatchSet(name, source, np.array(labels, np.int64), tuple(reference), found)


def _class_table(root: Path) -> dict[str, dict[str, Path]]:
    """Return the files or folders of the patches of each class by name, sorted."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder; give one that holds a folder for each class")
    table: dict[str, dict[str, Path]] = {}
    for folder in (path for path in _entries(root) if path.is_dir()):
        patches = (p for p in _entries(folder) if p.is_dir() or p.suffix.lower() in _RASTERS)
        table[folder.name] = {p.name if p.is_dir() else p.stem: p for p in patches}
        if not table[folder.name]:
            raise DataError(f"the class folder {folder} holds no GeoTIFF; fill it, or take it away")
    if not table:
        raise DataError(f"{root} holds no folder; it should hold one for each class")
    return table


def _entries(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted, without hidden files and folders."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _check_pairs(
    first: str, reference: dict[str, dict[str, Path]], name: str, table: dict[str, dict[str, Path]]
) -> None:
    """Refuse two sensors with other classes or other patches."""
    odd = sorted(reference.keys() ^ table.keys())
    if odd:
        one, other = (first, name) if odd[0] in reference else (name, first)
        raise DataError(f"sensor '{one}' has a class '{odd[0]}', but sensor '{other}' has none")
    for label, patches in reference.items():
        apart = sorted(patches.keys() ^ table[label].keys())
        if apart:
            raise DataError(
                f"sensor '{first}' has {len(patches)} patches of class '{label}' and sensor "
                f"'{name}' {len(table[label])}; '{apart[0]}' is in one of them alone: name the "
                "patches of a place alike in both"
            )


def _files(entry: Path) -> list[Path]:
    if not entry.is_dir():
        return [entry]
    files = [p for p in _entries(entry) if p.suffix.lower() in _RASTERS]
    if not files:
        raise DataError(f"the folder {entry} of a patch holds no GeoTIFF")
    return files


def _look_at(patch: Mapping[str, Path], resample: bool) -> tuple[tuple[Sensor, ...], int]:
    """Return the sensors as one patch shows them, and its rows; what does not fit is refused."""
    sensors, sizes, systems = [], [], []
    for name, entry in patch.items():
        bands: list[str] = []
        for file in _files(entry):
            with open_raster(str(file)) as raster:
                bands += _band_names(file, raster, alone=not entry.is_dir())
                sizes.append((f"{name} ({file})", (raster.height, raster.width)))
                if raster.crs:
                    systems.append((f"{name} ({file})", raster.crs))
        sensors.append(Sensor(name, tuple(bands)))
    if not resample:
        same_sizes(sizes, "ask for them to be resampled to the larger (resample)")
        what, (rows, columns) = sizes[0]
        if rows != columns:
            raise DataError(f"{what} has {rows} x {columns} pixels; patches must be square")
    for what, system in systems[1:]:
        if system != systems[0][1]:
            raise DataError(
                f"{systems[0][0]} lies in {systems[0][1]}, but {what} in {system}; project the "
                "patches to one coordinate reference system"
            )
    return tuple(sensors), max(rows for _, (rows, _) in sizes)


def _band_names(file: Path, raster: Any, *, alone: bool) -> list[str]:
    """Return what a file calls its bands, or else their numbers, or the name of its one band."""
    if not alone and raster.count == 1:
        return [raster.descriptions[0] or file.stem]
    names = enumerate(raster.descriptions)
    return [text or (f"band {n}" if alone else f"{file.stem} band {n}") for n, text in names]


def _has_gaps(raster: Any) -> bool:
    """Whether a pixel is masked, or holds the no-data value in any band."""
    if hides_pixels(raster) and not shown_pixels(raster, None).all():
        return True
    return any(
        nodata is not None and missing(raster.read(band), nodata).any()
        for band, nodata in enumerate(raster.nodatavals, 1)
    )


@dataclass(frozen=True)
class _FolderPatches:
    """Patches of files, read one by one."""

    patches: tuple[Mapping[str, Path], ...]
    bands: tuple[int, ...]
    side: int
    resample: bool

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.patches), sum(self.bands), self.side, self.side

    def read(self, places: Ints) -> Floats:
        out = np.empty((len(places), *self.shape[1:]), np.float32)
        for row, place in enumerate(places.tolist()):
            first = 0
            for entry, bands in zip(self.patches[place].values(), self.bands, strict=True):
                out[row, first : first + bands] = self._entry(entry, bands)
                first += bands
        return out

    def _entry(self, entry: Path, bands: int) -> Floats:
        from rasterio.enums import Resampling

        parts = []
        for file in _files(entry):
            with open_raster(str(file)) as raster:
                if (raster.height, raster.width) != (self.side, self.side) and not self.resample:
                    raise DataError(
                        f"{file} has {raster.height} x {raster.width} pixels, but the first patch "
                        f"{self.side} x {self.side}; ask for them to be resampled (resample)"
                    )
                pixels = raster.read(
                    out_shape=(raster.count, self.side, self.side),
                    out_dtype=np.float32,
                    resampling=Resampling.bilinear,
                )
                if not measured(pixels).all() or _has_gaps(raster):
                    raise DataError(
                        f"{file} holds pixels without data (NaN or no-data); take it out, or fill "
                        "the gap"
                    )
                parts.append(pixels)
        stacked = np.concatenate(parts)
        if len(stacked) != bands:
            raise DataError(f"{entry} has {len(stacked)} bands, but the first patch {bands}")
        return stacked
