"""The tiles task: images whose pixels have classes, trained on in crops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from swath.core.errors import MismatchError, RecipeError, SplitError, nearest
from swath.core.seeds import numpy_generator
from swath.data.scaling import Scaling, ScalingKind, fit_scaling
from swath.data.scene import Scene
from swath.data.tile_set import TileSet
from swath.tasks.base import Criterion, Part
from swath.tasks.label_patches import mirrored
from swath.tasks.metrics import confusion
from swath.tasks.tile_splits import TileSplit
from swath.tasks.windows import augment

__all__ = ["Orientations", "TileSampler", "TileTask", "fit_tile_scaling"]

Ints = npt.NDArray[np.int64]
Stored = tuple[npt.NDArray[Any], npt.NDArray[np.signedinteger[Any]]]
"""Pixels (bands, rows, columns) in the type of their file, and classes (rows, columns)."""
Orientations = Literal["all", "horizontal"]
"""How crops are turned: all eight flips and quarter turns, or left and right swapped."""

_FITTED = 256  # training tiles, evenly spaced, that a scaling is fitted on
_TRIES = 10  # crops drawn of a tile until one shows a label


@dataclass(frozen=True, eq=False)
class TileTask:
    """What a network is to learn: the class of each pixel of many images.

    Training and selection read :meth:`read`, which gives no test tile.  Test labels are read in
    :meth:`test_confusion` alone.

    Parameters
    ----------
    tiles : with their labels.
    split : of them, by whole images.
    scaling : of their bands, fitted on training tiles (:func:`fit_tile_scaling`).
    memory : training and validation tiles of up to so many bytes together are kept in memory, in
        the type of their files; more are read from their files whenever they are asked for.

    Raises
    ------
    SplitError : the split is of other tiles, or gives two parts of an image to two parts.
    MismatchError : the scaling is of other bands.
    """

    tiles: TileSet
    split: TileSplit
    scaling: Scaling
    memory: int = 2**31

    def __post_init__(self) -> None:
        self.split.check(self.tiles)
        if self.scaling.bands != self.bands:
            raise MismatchError(
                f"the scaling was fitted on {self.scaling.bands} bands, but {self.tiles.name} has "
                f"{self.bands}"
            )

    @property
    def bands(self) -> int:
        """Number of bands."""
        return self.tiles.bands

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.tiles.classes.count

    @property
    def patch(self) -> None:
        """None: pixels have classes."""
        return None

    @property
    def criterion(self) -> Criterion:
        """The mean IoU, as in SEG101."""
        return "miou"

    def load(self) -> None:
        """Read training and validation tiles into memory, if they are to be kept there."""
        _ = self._kept

    @property
    def kept(self) -> bool:
        """Whether training and validation tiles are, or will be, kept in memory."""
        parts: tuple[Part, ...] = ("train", "validation")
        pixels = sum(int(self.sizes(part).prod(axis=1).sum()) for part in parts)
        each = self.bands * self.tiles.dtype.itemsize + self._label_type.itemsize
        return pixels * each <= self.memory

    def count(self, part: Part) -> int:
        """Return the number of tiles of a part."""
        return len(self._places(part))

    def sizes(self, part: Part) -> Ints:
        """Return rows and columns of each tile of a part (tiles of the part, 2)."""
        return self.tiles.sizes[self._places(part)]

    def read(self, part: Part, index: int) -> tuple[Tensor, Tensor]:
        """Return a tile, scaled, float32 (bands, rows, columns), and its classes (rows, columns).

        Classes are int64, -1 where there is no label.  Of a validation tile that overlaps another
        of its image, what that one shows has no label: each pixel counts once.

        Parameters
        ----------
        index : of the tile within the part.

        Raises
        ------
        DataError : a file cannot be read any more.
        """
        pixels, labels = self.stored(part, index)
        labels = labels.astype(np.int64)
        if part != "train":
            self._once(int(self._places(part)[index]), labels)
        return self.scaled(pixels), torch.from_numpy(labels)

    def stored(self, part: Part, index: int) -> Stored:
        """Return a tile as it is kept in memory or read from its file; not to be written to."""
        if part in self._kept:
            return self._kept[part][index]
        return self._stored(int(self._places(part)[index]))

    def scaled(self, pixels: npt.NDArray[Any]) -> Tensor:
        """Return pixels (bands, rows, columns), as stored, scaled to float32."""
        scaled = np.moveaxis(self.scaling.apply(np.moveaxis(pixels, 0, 2)), 2, 0)
        return torch.from_numpy(np.ascontiguousarray(scaled))

    def test_images(self) -> Iterator[Tensor]:
        """Yield the test tiles in their order, scaled, float32 (bands, rows, columns); no labels.

        They differ in size where the images do.
        """
        for place in np.flatnonzero(self.split.test).tolist():
            yield self.scaled(self._stored(place)[0])

    def test_confusion(self, predictions: Iterable[npt.NDArray[np.integer[Any]]]) -> Ints:
        """Return the confusion matrix of the classes (rows, columns) predicted for
        :meth:`test_images`; to be asked once, at the end.

        Each pixel counts once, also where tiles of an image overlap.

        Raises
        ------
        MismatchError : there are fewer or more predictions than test tiles.
        ValueError : a prediction has another size than its tile.
        """
        matrix = np.zeros((self.classes, self.classes), np.int64)
        places = np.flatnonzero(self.split.test).tolist()
        given = iter(predictions)
        for done, place in enumerate(places):
            prediction = next(given, None)
            if prediction is None:
                raise MismatchError(f"{done} predictions were given for {len(places)} test tiles")
            labels = self.tiles.stored(place)[1]
            self._once(place, labels)
            matrix += confusion(labels, prediction, self.classes)
        if next(given, None) is not None:
            raise MismatchError(f"more predictions were given than the {len(places)} test tiles")
        return matrix

    def _places(self, part: Part) -> Ints:
        return np.flatnonzero(self.split.train if part == "train" else self.split.validation)

    @property
    def _label_type(self) -> np.dtype[Any]:
        return np.dtype(np.int8 if self.classes <= 127 else np.int16)

    @cached_property
    def _kept(self) -> dict[Part, list[Stored]]:
        if not self.kept:
            return {}
        parts: tuple[Part, ...] = ("train", "validation")
        return {part: [self._stored(int(p)) for p in self._places(part)] for part in parts}

    def _stored(self, place: int) -> Stored:
        pixels, labels = self.tiles.stored(place)
        return np.ascontiguousarray(np.moveaxis(pixels, 2, 0)), labels.astype(self._label_type)

    def _once(self, place: int, labels: Ints) -> None:
        """Take away the labels that an earlier tile of the image shows, in place."""
        rows, columns = self.tiles.windows[place].shown
        labels[:rows] = -1
        labels[:, :columns] = -1


@dataclass(frozen=True, eq=False)
class TileSampler:
    """Draws batches of square crops of training tiles with their classes.

    A batch is a function of (seed, step) alone, for one size of batch.  Each tile is drawn once
    before any is drawn again.

    Parameters
    ----------
    task : whose training tiles are drawn.
    seed : of the draws.
    size : rows and columns of a crop.
    scales : an image is first resized by one of these factors (bilinear, its classes by nearest
        pixel).  Where it is then smaller than a crop, it is mirrored, without labels.
    orientations : "all" suits images seen from above, "horizontal" is SEG101's.

    Raises
    ------
    RecipeError : the size, a scale or the orientations make no sense.
    """

    task: TileTask
    seed: int
    size: int
    scales: tuple[float, ...] = (1.0,)
    orientations: Orientations = "all"

    def __post_init__(self) -> None:
        if self.size < 1 or not self.scales or min(self.scales) <= 0:
            raise RecipeError(
                f"crops of {self.size} pixels at the scales {self.scales} make no sense; both must "
                "be positive"
            )
        known = get_args(Orientations)
        if self.orientations not in known:
            raise RecipeError(
                f"there are no orientations '{self.orientations}'"
                f"{nearest(self.orientations, known)}; one of: {', '.join(known)}"
            )

    def batch(self, count: int, step: int, *, augmented: bool = True) -> tuple[Tensor, Tensor]:
        """Return crops (count, bands, size, size) and classes (count, size, size), -1 unlabelled.

        Each shows a label.  Crops that are not augmented are neither resized nor turned.
        """
        rng = numpy_generator(self.seed, "batch", step)
        x = torch.empty(count, self.task.bands, self.size, self.size)
        y = torch.empty(count, self.size, self.size, dtype=torch.int64)
        tiles = self.task.count("train")
        for i in range(count):
            epoch, place = divmod(step * count + i, tiles)
            scale = float(rng.choice(self.scales)) if augmented else 1.0
            pixels, labels = self._crop(int(_order(self.seed, epoch, tiles)[place]), scale, rng)
            if augmented and self.orientations == "all":
                pixels, labels = augment(pixels, labels, rng)
            elif augmented and rng.random() < 0.5:
                pixels, labels = pixels.flip(2), labels.flip(1)
            x[i], y[i] = pixels, labels
        return x, y

    def _crop(self, tile: int, scale: float, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return a crop of a tile, or of the next one that has a label."""
        side = max(1, round(self.size / scale))
        for step in range(self.task.count("train")):
            pixels, labels = self.task.stored("train", (tile + step) % self.task.count("train"))
            rows, columns = _labelled_window(labels, side, rng)
            if len(rows):
                break
        else:
            raise SplitError(f"no training tile of {self.task.tiles.name} has a label")
        x = self.task.scaled(_window(pixels, rows, columns))
        y = _window(labels, rows, columns).astype(np.int64)
        height, width = labels.shape
        y[(rows < 0) | (rows >= height)] = -1
        y[:, (columns < 0) | (columns >= width)] = -1
        if side != self.size:
            size = (self.size, self.size)
            x = nn.functional.interpolate(x[None], size, mode="bilinear", align_corners=False)[0]
            near = ((np.arange(self.size) + 0.5) * side / self.size).astype(np.int64)
            y = y[near[:, None], near]
        return x, torch.from_numpy(y)


def fit_tile_scaling(tiles: TileSet, split: TileSplit, kind: ScalingKind = "standard") -> Scaling:
    """Measure the bands over training tiles alone, of more than 256 over so many of them.

    Mirrored pixels and pixels without label count too, pixels without data as zero.

    Raises
    ------
    RecipeError, DataError : as of :func:`~swath.data.scaling.fit_scaling`.
    """
    places = np.flatnonzero(split.train)
    some = np.unique(np.linspace(0, len(places) - 1, _FITTED).astype(np.int64))
    return fit_scaling(Scene(tiles.name, _Pile(tiles, places[some])), kind)


class _Pile:
    """The pixels of tiles, one below the other, as one image, for what is measured over all.

    A row of the image is a tile, since tiles may differ in size; it is as wide as the largest, and
    NaN, which counts as missing, where a tile is smaller.
    """

    dtype: np.dtype[Any] = np.dtype(np.float32)

    def __init__(self, tiles: TileSet, places: Ints) -> None:
        self._tiles, self._places = tiles, places
        self._width = int(tiles.sizes[places].prod(axis=1).max())

    @property
    def shape(self) -> tuple[int, int, int]:
        return len(self._places), self._width, self._tiles.bands

    def read(self, rows: slice, columns: slice) -> npt.NDArray[np.float32]:
        places = self._places[rows]
        pile = np.full((len(places), self._width, self._tiles.bands), np.nan, np.float32)
        for row, place in zip(pile, places.tolist(), strict=True):
            pixels, _ = self._tiles.stored(place)
            row[: pixels.shape[0] * pixels.shape[1]] = pixels.reshape(-1, self._tiles.bands)
        return pile[:, columns]


@lru_cache(maxsize=4)
def _order(seed: int, epoch: int, tiles: int) -> Ints:
    """Return the training tiles in the order of an epoch."""
    return numpy_generator(seed, "epoch", epoch).permutation(tiles)


def _labelled_window(
    labels: npt.NDArray[Any], side: int, rng: np.random.Generator
) -> tuple[Ints, Ints]:
    """Return rows and columns, beyond the tile where that is smaller, that show a label.

    They are empty where the tile has none.
    """
    reach = np.arange(side)
    for _ in range(_TRIES):
        rows, columns = (_start(length, side, rng) + reach for length in labels.shape)
        if (
            labels[max(rows[0], 0) : rows[-1] + 1, max(columns[0], 0) : columns[-1] + 1] >= 0
        ).any():
            return rows, columns
    known = np.argwhere(labels >= 0)
    if not len(known):
        return reach[:0], reach[:0]
    # Nearly nothing is labelled: a window around one of the labels.
    place = known[int(rng.integers(len(known)))]
    starts = [
        min(max(int(at) - int(rng.integers(side)), min(0, length - side)), max(0, length - side))
        for at, length in zip(place, labels.shape, strict=True)
    ]
    return starts[0] + reach, starts[1] + reach


def _start(length: int, side: int, rng: np.random.Generator) -> int:
    """Draw where a window begins: inside, or around what is smaller than it."""
    low, high = sorted((0, length - side))
    return int(rng.integers(low, high + 1))


def _window(array: npt.NDArray[Any], rows: Ints, columns: Ints) -> npt.NDArray[Any]:
    """Return a window of (..., rows, columns), mirrored beyond the borders."""
    height, width = array.shape[-2:]
    if rows[0] >= 0 and columns[0] >= 0 and rows[-1] < height and columns[-1] < width:
        return array[..., rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return array[..., mirrored(rows, height)[:, None], mirrored(columns, width)]
