"""Published sets of tiles: where they come from, how they are laid out, where they lie here.

They are large and not downloaded; a person puts them into ``$SWATH_DATA`` or the cache folder.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swath.core.errors import DataError, UnknownName, nearest
from swath.core.files import expanded
from swath.data.catalogue import cache_folder
from swath.data.tile_folders import find_pairs

__all__ = ["TILE_CATALOGUE", "TileEntry", "TilePart", "locate_tiles", "tile_entry", "where_to_put"]


@dataclass(frozen=True)
class TilePart:
    """A part of a set as published: its folders of images and masks, and how many images."""

    name: str
    images: str
    masks: str
    count: int


@dataclass(frozen=True)
class TileEntry:
    """A set of tiles of the catalogue.

    Parameters
    ----------
    key, title, sensor : its names.
    shape : rows, columns, bands of each image.
    parts : its parts with their folders.
    ends : of the file names of images and masks.
    classes : name of each mask value, in the order of the classes; class 1 is the target.
    source : where it comes from and on what terms.
    page : where it is offered.
    """

    key: str
    title: str
    sensor: str
    shape: tuple[int, int, int]
    parts: tuple[TilePart, ...]
    ends: tuple[str, str]
    classes: tuple[tuple[int, str], ...]
    source: str
    page: str

    @property
    def count(self) -> int:
        """How many images there are."""
        return sum(part.count for part in self.parts)


def tile_entry(key: str) -> TileEntry:
    """Return the catalogue's entry ``key``; raise :class:`UnknownName` with the nearest one."""
    normal = key.strip().lower().replace("_", "-").replace(" ", "-")
    if normal not in TILE_CATALOGUE:
        raise UnknownName(
            f"there is no set of tiles '{key}' in the catalogue{nearest(normal, TILE_CATALOGUE)}; "
            f"known: {', '.join(TILE_CATALOGUE)}"
        )
    return TILE_CATALOGUE[normal]


def locate_tiles(key: str, folders: Sequence[str | os.PathLike[str]] | None = None) -> Path | None:
    """Look for the folder of a set; None: it is not on this machine.

    Parameters
    ----------
    key : of the catalogue; the folder is named so, with hyphens or underscores.
    folders : that hold it; by default ``$SWATH_DATA``, then the cache.

    Raises
    ------
    UnknownName : the catalogue has no such set.
    """
    one = tile_entry(key)
    if folders is None:
        given = os.environ.get("SWATH_DATA")
        folders = [*([given] if given else []), cache_folder()]
    for folder in folders:
        for name in (one.key, one.key.replace("-", "_")):
            place = expanded(folder) / name
            if place.is_dir():
                try:
                    find_pairs(place)
                except DataError:
                    continue
                return place
    return None


def where_to_put(one: TileEntry) -> str:
    """Say where the folders of a set belong, in one sentence's part."""
    names = ", ".join(f"{part.images} and {part.masks}" for part in one.parts)
    return f"put the folders {names} into {cache_folder() / one.key}, from {one.page}"


_ENTRIES = (
    TileEntry(
        key="massachusetts-roads",
        title="Massachusetts Roads",
        sensor="aerial, RGB, 1 m",
        shape=(1500, 1500, 3),
        parts=(
            TilePart("train", "tiff/train", "tiff/train_labels", 1108),
            TilePart("validation", "tiff/val", "tiff/val_labels", 14),
            TilePart("test", "tiff/test", "tiff/test_labels", 49),
        ),
        ends=(".tiff", ".tif"),
        classes=((0, "background"), (255, "road")),
        source="Volodymyr Mnih, Machine Learning for Aerial Image Labeling, University of Toronto",
        page="https://www.cs.toronto.edu/~vmnih/data/",
    ),
    TileEntry(
        key="whu-building",
        title="WHU Building, aerial",
        sensor="aerial, RGB, 0.3 m",
        shape=(512, 512, 3),
        parts=(
            TilePart("train", "train/image", "train/label", 4736),
            TilePart("validation", "val/image", "val/label", 1036),
            TilePart("test", "test/image", "test/label", 2416),
        ),
        ends=(".tif", ".tif"),
        classes=((0, "background"), (255, "building")),
        source="Ji, Wei and Lu, Wuhan University; New Zealand, from Land Information New Zealand",
        page="http://gpcv.whu.edu.cn/data/building_dataset.html",
    ),
)

TILE_CATALOGUE: dict[str, TileEntry] = {one.key: one for one in _ENTRIES}
"""The sets of tiles by key."""
