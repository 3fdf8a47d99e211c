"""Which labelled pixels train, validate and test: at random, by spatial blocks, or as given.

The three sets of a split never share a pixel.  A spatial split also keeps them apart: no test pixel
lies within the guard distance of a training or validation block.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from swath.core.errors import SplitError
from swath.core.seeds import numpy_generator
from swath.data.labels import LabelMap
from swath.tasks.blocks import arrange

__all__ = [
    "SmallClasses",
    "Split",
    "fixed_split",
    "random_split",
    "spatial_split",
    "without_classes",
    "without_small_classes",
]

SmallClasses = Literal["raise", "halve", "drop"]
"""What happens to a class with few labels; see :func:`random_split`."""

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """The training, validation and test pixels of one scene.

    Parameters
    ----------
    protocol : "random", "spatial" or "fixed".
    train, validation, test : bool (rows, columns), disjoint.
    visible : bool (rows, columns), the pixels whose spectra a training window may read; a window
        blanked elsewhere never reads a test pixel.  None: all pixels.
    seed : what the draw was made with.
    description : one plain sentence that names the protocol and what it means.
    notes : labels left unused, classes halved or left out.

    Raises
    ------
    SplitError : the maps differ in size or share a pixel, or a test pixel is visible.
    """

    protocol: str
    train: Mask
    validation: Mask
    test: Mask
    visible: Mask | None
    seed: int
    description: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        maps = [self.train, self.validation, self.test]
        if self.visible is not None:
            maps.append(self.visible)
        if len({m.shape for m in maps}) != 1:
            raise SplitError(f"the maps of a split differ in size: {[m.shape for m in maps]}")
        shared = (self.train & self.validation) | (self.train & self.test)
        shared |= self.validation & self.test
        if shared.any():
            row, column = np.argwhere(shared)[0]
            raise SplitError(
                f"pixel ({row}, {column}) is in two sets of the split; give each pixel to one"
            )
        if self.visible is not None and (self.visible & self.test).any():
            row, column = np.argwhere(self.visible & self.test)[0]
            raise SplitError(f"test pixel ({row}, {column}) is visible to training windows")

    def counts(self, labels: LabelMap) -> Ints:
        """Return the labels of each class in (train, validation, test), int64 (classes, 3)."""
        rows = [
            np.bincount(labels.values[m & (labels.values >= 0)], minlength=labels.classes)
            for m in (self.train, self.validation, self.test)
        ]
        return np.stack(rows, axis=1).astype(np.int64)

    def as_map(self) -> npt.NDArray[np.uint8]:
        """Return one uint8 map (rows, columns).

        0 no set, 1 training, 2 validation, 3 test, 4 no set and hidden from training windows.
        """
        out = np.zeros(self.train.shape, dtype=np.uint8)
        if self.visible is not None:
            out[~self.visible] = 4
        for value, mask in enumerate((self.train, self.validation, self.test), start=1):
            out[mask] = value
        return out


def without_classes(labels: LabelMap, classes: Sequence[int]) -> LabelMap:
    """Return the label map with some classes (indices) made unlabelled and the rest renumbered.

    Raises
    ------
    SplitError : no class would be left.
    """
    kept = [c for c in range(labels.classes) if c not in set(classes)]
    if not kept:
        raise SplitError(f"all {labels.classes} classes would be left out; keep at least one")
    table = np.full(labels.classes + 1, -1, dtype=np.int64)  # its last entry serves index -1
    table[kept] = np.arange(len(kept))
    return LabelMap(
        table[labels.values],
        tuple(labels.original[c] for c in kept),
        tuple(labels.names[c] for c in kept),
        labels.unlabelled,
    )


def without_small_classes(labels: LabelMap, minimum: int) -> LabelMap:
    """Return the label map without the classes of fewer than ``minimum`` labels, renumbered."""
    return without_classes(labels, np.flatnonzero(labels.counts() < minimum).tolist())


def random_split(
    labels: LabelMap,
    train: int | Sequence[int],
    validation: int,
    seed: int,
    *,
    small_classes: SmallClasses = "raise",
    minimum: int | None = None,
) -> Split:
    """Draw ``train`` + ``validation`` labels of each class at random; all others test.

    The papers' protocol.  Neighbouring pixels are alike, so its figures are optimistic.

    Parameters
    ----------
    labels : the label map.
    train, validation : labels per class; for training also a list, one number a class.
    seed : of the draw.
    small_classes : what to do with a class of fewer than ``minimum`` labels.  "raise": refuse.
        "halve": half of its labels (rounded down) are divided between training and validation in
        the proportion asked for, the rest test.  "drop": its labels belong to no set (to take it
        out of the task altogether, see :func:`without_small_classes`).
    minimum : the number of labels below which a class is small; default: for "raise" one more than
        train + validation, for the others 2 x (train + validation), so that no class gives more
        than half of its labels (with 20 + 10 labels asked for: classes under 60).

    Raises
    ------
    SplitError : a class is too small (the message says which and what to do), or a count asked for
        makes no sense.
    """
    want, notes = _wanted(labels, train, validation, small_classes, minimum)
    rng = numpy_generator(seed, "split", "random")
    flat = labels.values.ravel()
    train_map, validation_map = np.zeros(flat.size, np.bool_), np.zeros(flat.size, np.bool_)
    test_map = np.zeros(flat.size, np.bool_)
    for c, (t, v) in enumerate(want):
        if t == 0:
            continue
        pixels = rng.permutation(np.flatnonzero(flat == c))
        train_map[pixels[:t]] = True
        validation_map[pixels[t : t + v]] = True
        test_map[pixels[t + v :]] = True
    shape = labels.shape
    return Split(
        "random",
        train_map.reshape(shape),
        validation_map.reshape(shape),
        test_map.reshape(shape),
        None,
        seed,
        f"Random split: {_asked(train, validation)} drawn at random, all "
        f"{int(test_map.sum())} other labels test; neighbouring pixels leak from training into "
        "test, so the accuracy is optimistic.",
        tuple(notes),
    )


def spatial_split(
    labels: LabelMap,
    train: int | Sequence[int],
    validation: int,
    seed: int,
    *,
    block: int | None = None,
    guard: int = 4,
    small_classes: SmallClasses = "raise",
    minimum: int | None = None,
) -> Split:
    """Cut the scene into square blocks and keep training, validation and test in different ones.

    Blocks are given to training and to validation so that each class finds its labels there,
    rarest class first, and then further ones at random while at least half of all labels (and a
    fifth of each class's) are left to test; all other blocks with labels are test blocks.  The
    labels asked for are drawn inside the training (validation) blocks.  Test pixels are the
    labelled pixels farther than ``guard`` (Chebyshev distance) from *every pixel* of the training
    and validation blocks, labelled or not; so no square patch of half-width ``guard`` around any
    pixel of those blocks touches a test pixel.  ``visible`` is everything but the test blocks, plus
    the guard bands within them: it holds no test pixel.

    Labels of training and validation blocks that were not drawn, and those in guard bands, belong
    to no set; the notes count them.

    Parameters
    ----------
    block : side of the blocks in pixels.  Default: the largest of 64, 48, 32, 24, 16, 12, 8, 6, 4
        of which the labels can fill 64, that divides every class, and that leaves half of all
        labels and a fifth of each class's to test; where none does, the one that leaves most.
    guard : width of the guard band in pixels; 4 is the half-width of a 9 x 9 patch.
    labels, train, validation, seed, small_classes, minimum : see :func:`random_split`.

    Raises
    ------
    SplitError : a class is too small or lies too close together; the message names it and what
        would work.
    """
    from scipy.ndimage import maximum_filter

    if guard < 0 or (block is not None and block < 1):
        raise SplitError(f"a block of {block} with a guard of {guard} pixels makes no sense")
    want, notes = _wanted(labels, train, validation, small_classes, minimum)
    kept = np.append(want[:, 0] > 0, False)  # the last entry serves index -1
    values = np.where(kept[labels.values], labels.values, -1)
    blocks = arrange(values, want, guard, block, seed)
    if isinstance(blocks, int):
        smaller = (
            g
            for g in range(guard - 1, -1, -1)
            if not isinstance(arrange(values, want, g, block, seed), int)
        )
        raise SplitError(_cannot(labels, blocks, want[blocks], block, guard, next(smaller, None)))

    train_area, validation_area = blocks.area(1), blocks.area(2)
    rng = numpy_generator(seed, "split", "spatial", "draw")
    train_map = np.zeros(values.shape, np.bool_)
    validation_map = np.zeros(values.shape, np.bool_)
    for c, wanted in enumerate(want):
        for target, area, count in (
            (train_map, train_area, wanted[0]),
            (validation_map, validation_area, wanted[1]),
        ):
            pixels = np.flatnonzero((values == c) & area)
            target.ravel()[rng.permutation(pixels)[:count]] = True
    # within a Chebyshev distance of ``guard``
    near = maximum_filter(train_area | validation_area, 2 * guard + 1, mode="constant")
    test_map = (values >= 0) & ~near
    visible = near | ~blocks.area(0)
    unused = int((values >= 0).sum() - train_map.sum() - validation_map.sum() - test_map.sum())
    if unused:
        notes.append(
            f"{unused} labels in training and validation blocks (not drawn) or in guard bands "
            "belong to no set"
        )
    tested = int(test_map.sum())
    return Split(
        "spatial",
        train_map,
        validation_map,
        test_map,
        visible,
        seed,
        f"Spatial split: {_asked(train, validation)} drawn from separate "
        f"{blocks.side} x {blocks.side} pixel blocks; the {tested} test labels "
        f"({tested / int((values >= 0).sum()):.0%} of all) lie more than {guard} pixels from every "
        "training and validation block.",
        tuple(notes),
    )


def fixed_split(
    labels: LabelMap,
    train_map: npt.ArrayLike,
    test_map: npt.ArrayLike,
    validation: int,
    seed: int,
    *,
    small_classes: SmallClasses = "raise",
    left_out: Mask | None = None,
) -> Split:
    """Use published training and test maps; draw validation from the training map.

    Parameters
    ----------
    labels : the label map, which names the class of every pixel of both maps.
    train_map, test_map : (rows, columns); a pixel belongs to a map where the map is above 0 (True,
        or a label value).
    validation : labels per class taken out of the training map.
    small_classes : for a class of the training map with no more than ``validation`` labels.
        "raise": refuse; "halve": half of them (rounded down) validate; "drop": none validate.
    left_out : bool (rows, columns), pixels that belong to no set although a map holds them: those
        without data, or of classes that are no part of the task.

    Raises
    ------
    SplitError : the maps differ in size, overlap, hold pixels without a label or hold no pixel, or
        a class has too few training labels.
    """
    if validation < 0:
        raise SplitError(
            f"{validation} validation labels per class make no sense; ask for 0 or more"
        )
    masks = []
    for name, given in (("training", train_map), ("test", test_map)):
        mask = np.asarray(given) > 0
        if mask.shape != labels.shape:
            raise SplitError(
                f"the {name} map is {_size(mask.shape)}, the label map {_size(labels.shape)}; "
                "give maps of the same scene"
            )
        if left_out is not None:
            mask &= ~left_out
        if not mask.any():
            raise SplitError(f"the {name} map holds no pixel that can be used; give another map")
        stray = mask & (labels.values < 0)
        if stray.any():
            row, column = np.argwhere(stray)[0]
            raise SplitError(
                f"{int(stray.sum())} pixels of the {name} map are unlabelled in the label map, "
                f"first ({row}, {column}); give labels that cover both maps"
            )
        masks.append(mask)
    train, test = masks
    if (train & test).any():
        row, column = np.argwhere(train & test)[0]
        raise SplitError(
            f"{int((train & test).sum())} pixels are in both the training and the test map, first "
            f"({row}, {column}); take them out of one, or say with unlabelled= which value means "
            "that a pixel is in none"
        )
    rng = numpy_generator(seed, "split", "fixed")
    validation_map, notes = np.zeros(labels.shape, np.bool_), []
    for c in range(labels.classes):
        pixels = np.flatnonzero(train & (labels.values == c))
        count = validation
        tested = int((test & (labels.values == c)).sum())
        if not pixels.size and tested:
            notes.append(
                f"class '{labels.names[c]}' has no label in the training map, so its {tested} test "
                "labels cannot be told right"
            )
        if 0 < pixels.size <= validation:
            if small_classes == "raise":
                raise SplitError(
                    f"class '{labels.names[c]}' has {pixels.size} labels in the training map, too "
                    f"few to take {validation} for validation; ask for fewer, or use "
                    "small_classes='halve' or 'drop'"
                )
            count = pixels.size // 2 if small_classes == "halve" else 0
            notes.append(
                f"class '{labels.names[c]}' gives {count} of its {pixels.size} training labels to "
                "validation"
            )
        validation_map.ravel()[rng.permutation(pixels)[:count]] = True
    train = train & ~validation_map
    return Split(
        "fixed",
        train,
        validation_map,
        test,
        None,
        seed,
        f"Fixed split: the given maps of {int(train.sum() + validation_map.sum())} training and "
        f"{int(test.sum())} test labels, {int(validation_map.sum())} of the former drawn for "
        "validation.",
        tuple(notes),
    )


def _wanted(
    labels: LabelMap,
    train: int | Sequence[int],
    validation: int,
    small_classes: SmallClasses,
    minimum: int | None,
) -> tuple[Ints, list[str]]:
    """Return the (train, validation) labels to draw of each class, 0 where left out, and notes."""
    counts = _each_class(labels, train)
    if min(counts) < 1 or validation < 0:
        raise SplitError(
            f"{min(counts)} training and {validation} validation labels per class make no sense; "
            "ask for at least 1 and 0"
        )
    if small_classes not in ("raise", "halve", "drop"):
        raise SplitError(f"small_classes is 'raise', 'halve' or 'drop', not {small_classes!r}")
    want = np.zeros((labels.classes, 2), np.int64)
    notes: list[str] = []
    for c, (n, count) in enumerate(zip(labels.counts().tolist(), counts, strict=True)):
        name, asked = labels.names[c], count + validation
        least = asked + 1 if small_classes == "raise" else 2 * asked
        if minimum is not None:
            least = max(minimum, asked + 1)
        if n >= least:
            want[c] = count, validation
        elif small_classes == "raise":
            raise SplitError(
                f"class '{name}' has {n} labels, fewer than the {least} that "
                f"{_asked(count, validation)} and a test need; ask for fewer, or use "
                f"small_classes='halve' ({_halves(n, count, validation)}) or 'drop' (leaves the "
                "class out)"
            )
        elif small_classes == "drop":
            notes.append(f"class '{name}' ({n} labels) is left out: fewer than {least}")
        else:
            t, v = _half(n, count, validation)
            if t < 1 or (validation and v < 1):
                raise SplitError(
                    f"class '{name}' has {n} labels, too few to halve; use small_classes='drop' to "
                    "leave it out"
                )
            want[c] = t, v
            notes.append(
                f"class '{name}' ({n} labels) is halved: {t} training and {v} validation labels"
            )
    if not want.any():
        raise SplitError(f"every class has fewer than {least} labels; ask for fewer per class")
    return want, notes


def _each_class(labels: LabelMap, counts: int | Sequence[int]) -> list[int]:
    """Return a number for each class from one for all, or from a list of them."""
    if isinstance(counts, int):
        return [counts] * labels.classes
    if len(counts) != labels.classes:
        raise SplitError(
            f"{len(counts)} numbers of training labels were given for {labels.classes} classes; "
            f"give one for each of: {', '.join(labels.names)}"
        )
    return list(counts)


def _half(n: int, train: int, validation: int) -> tuple[int, int]:
    """Divide half of ``n`` labels in proportion, never more than asked, at least one each."""
    half = min(n // 2, train + validation)
    v = min(max(round(half * validation / (train + validation)), 1), half) if validation else 0
    return half - v, v


def _halves(n: int, train: int, validation: int) -> str:
    t, v = _half(n, train, validation)
    return f"{t} training, {v} validation, {n - t - v} test"


def _asked(train: int | Sequence[int], validation: int) -> str:
    if not isinstance(train, int):
        numbers = ", ".join(map(str, train))
        return (
            f"{numbers} training labels of the classes in turn, {validation} validation labels each"
        )
    return f"{train} training and {validation} validation labels per class"


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _cannot(
    labels: LabelMap, c: int, wanted: Ints, block: int | None, guard: int, works: int | None
) -> str:
    n = int(labels.counts()[c])
    blocks = "blocks of any size" if block is None else f"blocks of {block} pixels"
    ways = [
        f"leave it out (small_classes='drop', minimum={n + 1})",
        "ask for fewer labels" if wanted.sum() > 2 else "use other blocks",
        "use the random split",
    ]
    if works is not None:
        ways.insert(0, f"use guard={works}, which works")
    return (
        f"class '{labels.names[c]}' ({n} labels) cannot be kept apart as {int(wanted[0])} "
        f"training, {int(wanted[1])} validation and some test labels by {blocks} with a "
        f"guard of {guard} pixels: {', or '.join(ways)}"
    )
