"""Which patches train, validate and test: at random, or by blocks that keep neighbours together.

Sizes are shares, of each class alike: ``test`` of all patches; of the others ``validation``, and
``train`` (None: all that are left).
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from swath.core.errors import SplitError
from swath.core.seeds import numpy_generator
from swath.data.patch_set import PatchSet
from swath.tasks.parts import FAIR, HALVINGS, PARTS, TRIES, Parts, arranged

__all__ = ["PatchSplit", "block_patch_split", "random_patch_split"]

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_BLOCKS = 64  # that a set is cut into at first, unless their size is given


class PatchSplit(Parts):
    """The training, validation and test patches of a set, bool (patches,) each.

    ``protocol`` is "random" or "blocks"; ``notes`` tell of patches left unused, and leaks that
    are known.
    """

    unit = "patch"

    def counts(self, patches: PatchSet) -> Ints:
        """Return the patches of each class in (train, validation, test), int64 (classes, 3)."""
        return _counts(patches, [getattr(self, name) for name in PARTS])


def random_patch_split(
    patches: PatchSet,
    seed: int,
    *,
    test: float = 0.2,
    validation: float = 0.2,
    train: float | None = None,
) -> PatchSplit:
    """Draw the parts of each class at random.

    ``test=0.2, train=0.35`` are those of the footprint of Sentinel-1 and -2 on So2Sat: 80/20, and
    35 % of the former train.  Where patches lie side by side or overlap, such figures are
    optimistic; of patches cut from a scene a note says how many do.

    Parameters
    ----------
    test, validation, train : shares of each class; see this module.

    Raises
    ------
    SplitError : the shares make no sense, or a class is too small for one patch in each part.
    """
    _check_shares(test, validation, train)
    parts = [np.zeros(patches.count, np.bool_) for _ in PARTS]
    rng = numpy_generator(seed, "split", "patches", "random")
    for number in range(patches.classes):
        drawn = rng.permutation(np.flatnonzero(patches.labels == number))
        stops = np.cumsum([0, *_sizes(len(drawn), test, validation, train)])
        for part, start, stop in zip(parts[::-1], stops[:-1], stops[1:], strict=True):
            part[drawn[start:stop]] = True
    _check_parts(patches, parts, "a random split of these shares")
    train_part, validation_part, test_part = parts
    notes = []
    if patches.corners is not None:
        touching = _near(patches.corners[test_part], patches.corners[train_part], patches.side)
        notes.append(
            f"{int(touching.sum())} of {int(test_part.sum())} test patches share pixels with a "
            "training patch"
        )
    return PatchSplit(
        "random",
        parts[0],
        parts[1],
        parts[2],
        seed,
        f"Random split: {int(train_part.sum())} patches train, {int(validation_part.sum())} "
        f"validate, {int(test_part.sum())} test, drawn from each class; patches of one place leak "
        "from training into test, so the accuracy is optimistic.",
        tuple(notes),
    )


def block_patch_split(
    patches: PatchSet,
    seed: int,
    *,
    test: float = 0.2,
    validation: float = 0.2,
    train: float | None = None,
    block: int | None = None,
    guard: int = 0,
) -> PatchSplit:
    """Give whole blocks of patches to one part each.

    Of patches cut from a scene a block is a square of it, a patch belongs to the block of its
    middle, and no patch of one part shares a pixel with one of another: what would is left out.  Of
    other sets a block is a run of patches as they follow one another in the file.  That keeps
    neighbours together where the file lists place after place, which it does not say.

    Several arrangements are drawn, of ever smaller blocks; the first is taken in which each class
    finds half of its due in each part, or else the one in which the worst-served class finds most.

    Parameters
    ----------
    test, validation, train : shares; see this module.  Blocks hit them nearly.
    block : pixels, or patches of a run; None: such that there are about 64 blocks, or smaller.
    guard : further pixels (patches of a run) that must lie between patches of two parts.

    Raises
    ------
    SplitError : the shares make no sense, or a class finds no patch in a part.
    """
    _check_shares(test, validation, train)
    if (block is not None and block < 1) or guard < 0:
        raise SplitError(f"a block of {block} with a guard of {guard} makes no sense")
    apart = guard if patches.corners is None else patches.side + guard
    due = [(1 - test) * (1 - validation), (1 - test) * validation, test]
    sides = _sides(patches) if block is None else [block]
    parts, block = _best_arrangement(patches, sides, due, apart, seed)
    unit = "patches in a row" if patches.corners is None else "pixels"
    if train is not None:
        parts[0] = _thinned(patches, parts[0], train * (1 - test), seed)
    _check_parts(patches, parts, f"blocks of {block} {unit} with a guard of {guard}")
    used = sum(int(part.sum()) for part in parts)
    notes = (f"{patches.count - used} patches belong to no part",) if used < patches.count else ()
    kept = (
        "blocks follow the order of the file, which does not say where its patches lie"
        if patches.corners is None
        else "no patch shares a pixel with one of another part"
    )
    return PatchSplit(
        "blocks",
        parts[0],
        parts[1],
        parts[2],
        seed,
        f"Block split: {int(parts[0].sum())} patches train, {int(parts[1].sum())} validate, "
        f"{int(parts[2].sum())} test, in separate blocks of {block} {unit}; {kept}.",
        notes,
    )


def _check_shares(test: float, validation: float, train: float | None) -> None:
    for name, share in (("test", test), ("validation", validation), ("train", train)):
        if share is not None and not 0 < share < 1:
            raise SplitError(f"the share '{name}' must lie between 0 and 1, not {share}")
    if train is not None and train + validation > 1 + 1e-9:
        raise SplitError(
            f"{train} to train and {validation} to validate are more than the patches that do not "
            "test; lower one of the two"
        )


def _sizes(count: int, test: float, validation: float, train: float | None) -> list[int]:
    """Return how many of ``count`` patches test, validate and train."""
    tested = round(test * count)
    rest = count - tested
    validated = round(validation * rest)
    left = rest - validated
    return [tested, validated, left if train is None else min(left, round(train * rest))]


def _check_parts(patches: PatchSet, parts: list[Mask], way: str) -> None:
    """Refuse parts that lack a class."""
    counts = _counts(patches, parts)
    if (counts == 0).any():
        number, part = np.argwhere(counts == 0)[0]
        raise SplitError(
            f"class '{patches.names[number]}' ({patches.counts()[number]} patches) finds no "
            f"{PARTS[part]} patch by {way}; leave the class out (small_classes 'drop' with a "
            "minimum), or give other shares or smaller blocks"
        )


def _counts(patches: PatchSet, parts: list[Mask]) -> Ints:
    rows = [np.bincount(patches.labels[part], minlength=patches.classes) for part in parts]
    return np.stack(rows, axis=1).astype(np.int64)


def _sides(patches: PatchSet) -> list[int]:
    """Return sizes of blocks to try: such that there are about 64, then halves of it."""
    if patches.corners is None:
        largest, least = patches.count // _BLOCKS, 1
    else:
        extent = np.ptp(patches.corners, axis=0) + patches.side
        largest, least = math.ceil(math.sqrt(extent.prod() / _BLOCKS)), patches.side
    sides = [max(largest, least)]
    while sides[-1] // 2 >= least and len(sides) < HALVINGS:
        sides.append(sides[-1] // 2)
    return sides


def _block_numbers(patches: PatchSet, block: int) -> Ints:
    """Return the number of the block of each patch, 0 to blocks - 1."""
    if patches.corners is None:
        return np.arange(patches.count, dtype=np.int64) // block
    cells = (patches.corners + patches.side // 2) // block
    return np.unique(cells, axis=0, return_inverse=True)[1].ravel().astype(np.int64)


def _best_arrangement(
    patches: PatchSet, sides: list[int], due: list[float], apart: int, seed: int
) -> tuple[list[Mask], int]:
    """Return the first fair parts, or the fairest, and the size of their blocks."""
    best: tuple[float, list[Mask], int] | None = None
    for side in sides:
        blocks = _block_numbers(patches, side)
        for attempt in range(TRIES):
            rng = numpy_generator(seed, "split", "patches", "blocks", side, attempt)
            parts = _without_touching(patches, arranged(blocks, due, rng), apart)
            shares = _counts(patches, parts) / np.maximum(patches.counts()[:, None] * due, 1e-9)
            if best is None or shares.min() > best[0]:
                best = float(shares.min()), parts, side
            if best[0] >= FAIR:
                return best[1:]
    assert best is not None
    return best[1:]


def _without_touching(patches: PatchSet, parts: list[Mask], apart: int) -> list[Mask]:
    """Leave out training patches too near to others, and validation patches too near to test."""
    if not apart:
        return parts
    train, validation, test = (part.copy() for part in parts)
    corners = patches.corners
    if corners is None:  # of a run: neighbours by number, the guard between them
        corners, apart = np.arange(patches.count, dtype=np.int64)[:, None], apart + 1
    for part, others in ((validation, test), (train, test), (train, validation)):
        part[np.flatnonzero(part)[_near(corners[part], corners[others], apart)]] = False
    return [train, validation, test]


def _near(corners: Ints, others: Ints, distance: int) -> Mask:
    """Whether one of ``others`` is nearer than ``distance`` (Chebyshev) to each corner."""
    from scipy.spatial import cKDTree

    if not len(corners) or not len(others):
        return np.zeros(len(corners), np.bool_)
    nearest, _ = cKDTree(others).query(corners, p=np.inf)
    return np.asarray(nearest < distance)


def _thinned(patches: PatchSet, train: Mask, share: float, seed: int) -> Mask:
    """Keep at most this share of all patches of each class."""
    kept = np.zeros_like(train)
    rng = numpy_generator(seed, "split", "patches", "thinned")
    for number, count in enumerate(patches.counts().tolist()):
        drawn = rng.permutation(np.flatnonzero(train & (patches.labels == number)))
        kept[drawn[: round(share * count)]] = True
    return kept
