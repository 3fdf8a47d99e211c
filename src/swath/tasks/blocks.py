"""Blocks of a scene, dealt to training, validation and test so that each class finds its labels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from swath.core.seeds import numpy_generator

__all__ = ["Blocks", "arrange"]

Mask = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

_SIDES = (64, 48, 32, 24, 16, 12, 8, 6, 4)  # of blocks, largest first
_LEAST_BLOCKS = 64  # blocks that the labels must be able to fill
_TRIES = 12  # arrangements drawn for each side
_SAMPLE = 24  # blocks compared at each step
_TEST_SHARE = 0.5  # of all labels,
_TEST_SHARE_OF_EACH = 0.2  # and of the labels of each class, that the test should keep


class Blocks:
    """The labelled blocks of a randomly shifted grid and what each is for.

    ``role`` of a block is 0 (test), 1 (training) or 2 (validation); ``held`` counts its labels
    (blocks, classes); ``left`` counts the labels outside every guard band, which are those left to
    test, and ``total`` all labels (classes,).
    """

    def __init__(
        self, values: Ints, classes: int, side: int, guard: int, rng: np.random.Generator
    ) -> None:
        rows, columns = values.shape
        shift = rng.integers(0, side, 2)
        across = (columns + side - 1) // side + 1
        ids = ((np.arange(rows) + shift[0]) // side)[:, None] * across
        ids = ids + ((np.arange(columns) + shift[1]) // side)[None, :]
        labelled = values >= 0
        present, inverse = np.unique(ids[labelled], return_inverse=True)
        self.side, self.guard = side, guard
        self.held = np.zeros((present.size, classes), np.int64)
        np.add.at(self.held, (inverse, values[labelled]), 1)
        self.role = np.zeros(present.size, np.int64)
        self.total = self.held.sum(axis=0)
        self.left = self.total.copy()
        self._corners = np.stack(np.divmod(present, across), axis=1) * side - shift
        self._values = values
        self._testable = labelled.copy()

    def area(self, role: int) -> Mask:
        """Return the pixels of all blocks of a role."""
        mask = np.zeros(self._values.shape, np.bool_)
        for block in np.flatnonzero(self.role == role).tolist():
            mask[self._box(block, 0)] = True
        return mask

    def after(self, block: int) -> Ints:
        """Return what would be left to test if the block were given away."""
        box = self._box(block, self.guard)
        lost = self._values[box][self._testable[box]]
        return np.asarray(self.left - np.bincount(lost, minlength=self.total.size), np.int64)

    def give(self, block: int, role: int) -> None:
        """Give a block to training or validation; its labels and its guard band leave the test."""
        self.left = self.after(block)
        self._testable[self._box(block, self.guard)] = False
        self.role[block] = role

    def shares(self) -> tuple[float, float]:
        """Return the share of all labels left to test, and that of the class with the smallest."""
        some = self.total > 0
        return (
            float(self.left.sum() / self.total.sum()),
            float((self.left[some] / self.total[some]).min()),
        )

    def _box(self, block: int, margin: int) -> tuple[slice, slice]:
        row, column = self._corners[block].tolist()
        end = self.side + margin
        return (
            slice(max(row - margin, 0), max(row + end, 0)),
            slice(max(column - margin, 0), max(column + end, 0)),
        )


def arrange(values: Ints, want: Ints, guard: int, block: int | None, seed: int) -> Blocks | int:
    """Find blocks that serve every class, or return the class that was hardest to serve."""
    longest = np.sqrt((values >= 0).sum() / _LEAST_BLOCKS)
    sides = [b for b in _SIDES if b <= longest] or [_SIDES[-1]]
    if block is not None:
        sides = [block]
    best: tuple[bool, float] | None = None
    chosen: Blocks | None = None
    failures = np.zeros(len(want), np.int64)
    for side in sides:
        for attempt in range(_TRIES):
            rng = numpy_generator(seed, "split", "spatial", side, attempt)
            blocks = Blocks(values, len(want), side, guard, rng)
            failed = _serve(blocks, want, rng)
            if failed is not None:
                failures[failed] += 1
                continue
            _extend(blocks, rng)
            share, least = blocks.shares()
            enough = share >= _TEST_SHARE and least >= _TEST_SHARE_OF_EACH
            if best is None or (enough, share + least) > best:
                best, chosen = (enough, share + least), blocks
        if best is not None and best[0]:
            break
    return int(failures.argmax()) if chosen is None else chosen


def _serve(blocks: Blocks, want: Ints, rng: np.random.Generator) -> int | None:
    """Give each class the blocks it needs, rarest class first; return the class that failed.

    Of a sample of candidates the block is taken that serves most needs for what it costs the test
    (in log shares, so that rare classes are spared), give or take some chance.
    """
    need, active = want.copy(), want[:, 0] > 0
    for c in sorted(np.flatnonzero(active).tolist(), key=lambda c: (blocks.total[c], c)):
        for part in (0, 1):
            while need[c, part] > 0:
                candidates = np.flatnonzero((blocks.role == 0) & (blocks.held[:, c] > 0))
                if candidates.size > _SAMPLE:
                    weight = np.minimum(blocks.held[candidates, c], need[c, part]).astype(float)
                    candidates = rng.choice(candidates, _SAMPLE, False, weight / weight.sum())
                chosen, merit = -1, -np.inf
                for b in candidates.tolist():
                    after = blocks.after(b)
                    if (after[active] < 1).any():
                        continue
                    useful = np.minimum(blocks.held[b], np.maximum(need[:, part], 0))[active]
                    gain = float((useful / np.maximum(want[active, part], 1)).sum())
                    cost = float(np.log((blocks.left + 1) / (after + 1)).sum())
                    value = np.log(gain / (cost + 0.01)) + 0.5 * rng.standard_normal()
                    if value > merit:
                        chosen, merit = b, value
                if chosen < 0:
                    return c
                blocks.give(chosen, part + 1)
                need[:, part] -= blocks.held[chosen]
    return None


def _extend(blocks: Blocks, rng: np.random.Generator) -> None:
    """Give more blocks to training and validation (two to one) while the test keeps its share.

    The labels of a class are then drawn from several places rather than from one.
    """
    floor = _TEST_SHARE_OF_EACH * blocks.total
    given = 0
    for b in rng.permutation(np.flatnonzero(blocks.role == 0)).tolist():
        after = blocks.after(b)
        enough = after.sum() >= _TEST_SHARE * blocks.total.sum()
        if enough and not ((after < floor) & (after < blocks.left)).any():
            given += 1
            blocks.give(b, 2 if given % 3 == 0 else 1)
