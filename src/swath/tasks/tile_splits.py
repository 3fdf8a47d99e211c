"""Which tiles train, validate and test: by folders, at random or by place, always whole images.

Sizes are shares or, as whole numbers, numbers of images: ``test`` of all images, of the others
``validation``, and ``train`` (None: all that are left).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from swath.core.errors import SplitError
from swath.core.seeds import numpy_generator
from swath.data.tile_set import TileSet
from swath.tasks.parts import FAIR, HALVINGS, PARTS, TRIES, Parts, arranged

__all__ = ["Size", "TileSplit", "folder_tile_split", "random_tile_split", "spatial_tile_split"]

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Size = int | float
"""A number of images, or a share between 0 and 1."""

_SIDES = 8  # blocks along the longer side of the covered ground at first, unless it is given


class TileSplit(Parts):
    """The training, validation and test tiles of a set, bool (tiles,) each.

    ``protocol`` is "folders", "random" or "spatial"; ``notes`` tell of images left unused, and
    classes that a part lacks.
    """

    unit = "tile"

    def check(self, tiles: TileSet) -> None:
        """Raise :class:`SplitError` where the split is of other tiles, or cuts an image in two."""
        if len(self.train) != tiles.count:
            raise SplitError(
                f"the split is of {len(self.train)} tiles, but {tiles.name} has {tiles.count}"
            )
        owners = np.full(len(tiles.images), -1, np.int64)
        for number, name in enumerate(PARTS):
            images = np.unique(tiles.groups[getattr(self, name)])
            shared = images[owners[images] >= 0]
            if len(shared):
                raise SplitError(
                    f"{tiles.images[shared[0]].image} has tiles in two parts of the split; give "
                    "each image to one"
                )
            owners[images] = number


def folder_tile_split(
    tiles: TileSet, seed: int = 0, *, test: Size = 0.2, validation: Size = 0.2
) -> TileSplit:
    """Let the folders train, val and test say which part an image is of.

    Where there is no folder of validation or of test, such images are drawn from the training
    ones; a note says so.

    Parameters
    ----------
    test, validation : what is drawn of a part without folder; see this module.

    Raises
    ------
    SplitError : no folder says what trains, or the training images are too few.
    """
    images = _tiled(tiles)
    names = np.array([tiles.part_of[image] or "" for image in images])
    parts = {name: images[names == name] for name in PARTS}
    if not len(parts["train"]):
        raise SplitError(
            f"no folder 'train' says which images of {tiles.name} train; use the split "
            "'random', or put the images into train, val and test"
        )
    rng = numpy_generator(seed, "split", "tiles", "folders")
    notes = []
    for name, size in (("test", test), ("validation", validation)):
        if not len(parts[name]):
            drawn = rng.permutation(parts["train"])
            count = _number(name, size, len(drawn))
            parts[name], parts["train"] = np.sort(drawn[:count]), np.sort(drawn[count:])
            notes.append(f"no folder of {name} images: {count} were drawn from the training ones")
    return _split(tiles, "folders", parts, seed, "as their folders say", tuple(notes))


def random_tile_split(
    tiles: TileSet,
    seed: int,
    *,
    test: Size = 0.2,
    validation: Size = 0.2,
    train: Size | None = None,
) -> TileSplit:
    """Draw images at random.

    Parameters
    ----------
    test, validation, train : see this module; ``random_tile_split(tiles, 0, test=10,
        validation=10, train=40)`` takes 60 images.

    Raises
    ------
    SplitError : the sizes make no sense, or leave a part without image.
    """
    rng = numpy_generator(seed, "split", "tiles", "random")
    drawn = rng.permutation(_tiled(tiles))
    counts = _counts(len(drawn), test, validation, train)
    stops = np.cumsum([0, *counts])
    parts = {
        name: np.sort(drawn[start:stop])
        for name, start, stop in zip(reversed(PARTS), stops[:-1], stops[1:], strict=True)
    }
    means = "drawn by image; images side by side leak from training into test where there are any"
    return _split(tiles, "random", parts, seed, means)


def spatial_tile_split(
    tiles: TileSet,
    seed: int,
    *,
    test: Size = 0.2,
    validation: Size = 0.2,
    train: Size | None = None,
    block: float | None = None,
) -> TileSplit:
    """Give blocks of neighbouring images to one part each.

    An image belongs to the square block in which its middle lies.  Several arrangements are drawn,
    of ever smaller blocks; the first is taken in which each class finds half of its due in each
    part, or else the one in which the worst-served class finds most.

    Parameters
    ----------
    test, validation, train : see this module.  Blocks hit them nearly.
    block : side of a block in the unit of the coordinate reference system (metres, degrees); None:
        an eighth of the longer side of the ground that is covered, or smaller.

    Raises
    ------
    SplitError : images do not lie in one coordinate reference system, the sizes make no sense, or
        a part finds no image.
    """
    places = tiles.positions
    if places is None:
        raise SplitError(
            "a spatial split needs images that lie in one coordinate reference system, but not all "
            f"of {tiles.name} do; use the split 'random' or folders"
        )
    if block is not None and block <= 0:
        raise SplitError(f"a block of {block:g} makes no sense")
    images = _tiled(tiles)
    tested, validated, trained = _counts(len(images), test, validation, train)
    due = np.array([len(images) - tested - validated, validated, tested]) / len(images)
    totals = tiles.image_counts[images]
    extent = float(np.ptp(places[images], axis=0).max()) or 1.0
    sides = [extent / _SIDES / 2**n for n in range(HALVINGS)] if block is None else [block]
    best: tuple[float, list[Mask], float] | None = None
    for side in sides:
        cells = np.floor((places[images] - places[images].min(axis=0)) / side)
        blocks = np.unique(cells, axis=0, return_inverse=True)[1].ravel().astype(np.int64)
        for attempt in range(TRIES):
            rng = numpy_generator(seed, "split", "tiles", "spatial", attempt)
            masks = arranged(blocks, due.tolist(), rng)
            served = np.stack([totals[mask].sum(axis=0) for mask in masks])
            wanted = due[:, None] * totals.sum(axis=0)
            fair = float((served[:, wanted[0] > 0] / wanted[:, wanted[0] > 0]).min())
            if best is None or fair > best[0]:
                best = fair, masks, side
            if best[0] >= FAIR:
                break
        if best is not None and best[0] >= FAIR:
            break
    assert best is not None
    parts = {name: images[mask] for name, mask in zip(PARTS, best[1], strict=True)}
    if train is not None:
        rng = numpy_generator(seed, "split", "tiles", "thinned")
        parts["train"] = np.sort(rng.permutation(parts["train"])[:trained])
    means = f"in separate blocks of {best[2]:g} (unit of the coordinate reference system)"
    return _split(tiles, "spatial", parts, seed, means)


def _tiled(tiles: TileSet) -> Ints:
    """Return the images of which there are tiles."""
    return np.unique(tiles.groups)


def _split(
    tiles: TileSet,
    protocol: str,
    parts: dict[str, Ints],
    seed: int,
    means: str,
    notes: tuple[str, ...] = (),
) -> TileSplit:
    total = tiles.image_counts[_tiled(tiles)].sum(axis=0)
    said = []
    for name in PARTS:
        images = parts[name]
        if not len(images):
            raise SplitError(f"the {protocol} split leaves no {name} image; give other sizes")
        lacking = np.flatnonzero((tiles.image_counts[images].sum(axis=0) == 0) & (total > 0))
        classes = ", ".join(f"'{tiles.classes.names[number]}'" for number in lacking)
        if len(lacking) and name == "train":
            raise SplitError(
                f"the {protocol} split leaves no pixel of {classes} to train on; give other "
                "sizes or another seed"
            )
        if len(lacking):
            notes = (*notes, f"no {name} image shows {classes}")
        said.append(f"{len(images)} {name}")
    unused = len(_tiled(tiles)) - sum(map(len, parts.values()))
    if unused:
        notes = (*notes, f"{unused} images belong to no part")
    masks = {name: np.isin(tiles.groups, images) for name, images in parts.items()}
    numbers = " + ".join(str(int(masks[name].sum())) for name in PARTS)
    return TileSplit(
        protocol,
        masks["train"],
        masks["validation"],
        masks["test"],
        seed,
        f"{protocol.capitalize()} split of images: {', '.join(said)} ({numbers} tiles), {means}; "
        "no image is in two parts.",
        notes,
    )


def _counts(images: int, test: Size, validation: Size, train: Size | None) -> tuple[int, int, int]:
    """Return how many images test, validate and train."""
    tested = _number("test", test, images)
    validated = _number("validation", validation, images - tested)
    left = images - tested - validated
    trained = left if train is None else _number("train", train, images - tested)
    if trained > left or left < 1:
        raise SplitError(
            f"{tested} test, {validated} validation and {max(trained, 1)} training images are more "
            f"than the {images} that there are; lower one of them"
        )
    return tested, validated, trained


def _number(name: str, size: Size, images: int) -> int:
    """Return how many of ``images`` a size means."""
    if isinstance(size, int):
        if size < 1:
            raise SplitError(f"the number of images '{name}' must be at least 1, not {size}")
        return size
    if not 0 < size < 1:
        raise SplitError(
            f"the share '{name}' must lie between 0 and 1, not {size}; write numbers of images "
            "without a point"
        )
    return max(1, round(size * images))
