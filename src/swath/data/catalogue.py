"""The classic hyperspectral scenes: where they lie here, how they are opened and downloaded.

Files are looked for in ``$SWATH_DATA`` (and its subfolders) and in the cache folder,
``$SWATH_CACHE`` or ``~/.cache/swath``.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from swath.core.errors import DataError, UnknownName, nearest
from swath.core.files import expanded
from swath.data.catalogue_entries import (
    CATALOGUE,
    CatalogueClass,
    CatalogueEntry,
    CatalogueFile,
)
from swath.data.download import Progress, fetch
from swath.data.labels import LabelMap
from swath.data.readers import open_labels, open_scene, variables
from swath.data.scene import Scene

__all__ = [
    "CATALOGUE",
    "CatalogueClass",
    "CatalogueEntry",
    "CatalogueFile",
    "Located",
    "cache_folder",
    "download_scene",
    "entry",
    "locate",
    "open_catalogue_scene",
]


@dataclass(frozen=True)
class Located:
    """Where the files of a scene lie on this machine; None for what is not there."""

    image: Path | None
    labels: tuple[Path, ...] | None

    @property
    def complete(self) -> bool:
        """Whether image and labels are both there."""
        return self.image is not None and self.labels is not None


def entry(key: str) -> CatalogueEntry:
    """Return the catalogue's entry ``key``; raise :class:`UnknownName` with the nearest one."""
    normal = key.strip().lower().replace("_", "-").replace(" ", "-")
    if normal not in CATALOGUE:
        raise UnknownName(
            f"there is no scene '{key}' in the catalogue{nearest(normal, CATALOGUE)}; known: "
            f"{', '.join(CATALOGUE)}"
        )
    return CATALOGUE[normal]


def cache_folder() -> Path:
    """Return the folder downloads go to: ``$SWATH_CACHE``, or ``~/.cache/swath``."""
    return expanded(os.environ.get("SWATH_CACHE") or "~/.cache/swath")


def locate(key: str, folders: Sequence[str | os.PathLike[str]] | None = None) -> Located:
    """Look for a scene's files.

    Parameters
    ----------
    key : of the catalogue.
    folders : where to look, subfolders included; by default ``$SWATH_DATA``, then the cache.

    Raises
    ------
    UnknownName : the catalogue has no such scene.
    """
    scene = entry(key)
    if folders is None:
        given = os.environ.get("SWATH_DATA")
        folders = [*([given] if given else []), cache_folder()]
    places: list[Path] = []
    for folder in folders:
        top = expanded(folder)
        if top.is_dir():
            own = [top / scene.key, top / scene.key.replace("-", "_")]
            inside = sorted(path for path in top.iterdir() if path.is_dir() and path not in own)
            places += [*own, top, *inside]
    found = [
        next((place / file.name for place in places if (place / file.name).is_file()), None)
        for file in scene.files
    ]
    labels = tuple(path for path in found[1:] if path is not None)
    return Located(found[0], labels if len(labels) == len(scene.labels) else None)


def open_catalogue_scene(
    key: str, folders: Sequence[str | os.PathLike[str]] | None = None, *, check: bool = True
) -> Scene:
    """Open a scene of the catalogue that is on this machine, with its class names.

    Where its size or class counts are not those of the catalogue, a note says so.

    Raises
    ------
    UnknownName : the catalogue has no such scene.
    DataError : a file is missing (the message says which one to put where) or cannot be read.
    """
    scene = entry(key)
    located = locate(key, folders)
    if located.image is None or located.labels is None:
        missing = scene.files if located.image is None else scene.labels
        raise DataError(
            f"{scene.title} is not on this machine: neither $SWATH_DATA nor {cache_folder()} has "
            f"{' and '.join(f.name for f in missing)}; {_way_out(scene)}"
        )
    labels = _merged([_labels(f, p) for f, p in zip(scene.labels, located.labels, strict=True)])
    opened = open_scene(
        located.image,
        LabelMap.from_array(labels, scene.names),
        variable=_variable(scene.image, located.image),
        check=check,
    )
    notes = list(opened.notes)
    if opened.source.shape != scene.shape:
        notes.append(
            f"the image is {_sizes(opened.source.shape)}, not {_sizes(scene.shape)} as published"
        )
    assert opened.labels is not None
    counts = dict(zip(opened.labels.original, opened.labels.counts().tolist(), strict=True))
    if counts != {one.value: one.count for one in scene.classes}:
        notes.append("the pixels per class are not those of the published label map")
    return dataclasses.replace(opened, name=scene.key, sensor=scene.sensor, notes=tuple(notes))


def download_scene(
    key: str,
    folder: str | os.PathLike[str] | None = None,
    *,
    retries: int = 3,
    progress: Progress | None = None,
) -> Located:
    """Download the files of a scene that are not on this machine yet.

    Parameters
    ----------
    key : of the catalogue.
    folder : where to put them; by default a folder of the scene's name in the cache.
    retries, progress : see :func:`swath.data.download.fetch`.

    Raises
    ------
    UnknownName : the catalogue has no such scene.
    DataError : it needs registration, or a file could not be had; the message says what to do.
    """
    scene = entry(key)
    located = locate(key, None if folder is None else [folder])
    if located.complete:
        return located
    target = cache_folder() / scene.key if folder is None else expanded(folder)
    if any(file.url is None for file in scene.files):
        raise DataError(f"{scene.title} cannot be downloaded directly; {_way_out(scene, target)}")
    there = [located.image, *(located.labels or [None] * len(scene.labels))]
    paths = []
    for file, path in zip(scene.files, there, strict=True):
        if path is None:
            path = fetch(
                str(file.url),
                target / file.name,
                file.size,
                file.sha256,
                retries,
                progress=progress,
            )
        paths.append(path)
    return Located(paths[0], tuple(paths[1:]))


def _way_out(scene: CatalogueEntry, target: Path | None = None) -> str:
    target = target or cache_folder() / scene.key
    names = ", ".join(file.name for file in scene.files)
    if scene.registration:
        return f"register at {scene.registration} and put {names} into {target}"
    return f"run 'swath data get {scene.key}', or put {names} into {target}"


def _variable(file: CatalogueFile, path: Path) -> str | None:
    """Return the published variable name, or None where a copy uses another one."""
    return file.variable if file.variable in variables(path) else None


def _labels(file: CatalogueFile, path: Path) -> LabelMap:
    return open_labels(path, variable=_variable(file, path))


def _merged(maps: Sequence[LabelMap]) -> np.typing.NDArray[np.int64]:
    """Put label maps together in original values; earlier ones win."""
    merged = maps[0].to_original(maps[0].values)
    for other in maps[1:]:
        if other.shape != maps[0].shape:
            raise DataError(
                f"the label files have {_sizes(maps[0].shape)} and {_sizes(other.shape)} pixels; "
                "they must be of one image"
            )
        merged = np.where(merged == 0, other.to_original(other.values), merged)
    return merged


def _sizes(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
