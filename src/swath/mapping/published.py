"""The modes of 3D-ANAS: windows side by side or overlapping, at one scale or several, averaged."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from swath.mapping.prediction import Block, Floats, Mask
from swath.mapping.runner import Runner
from swath.mapping.windows import cover, published_starts

__all__ = ["published"]


@dataclass
class _Strip:
    """Full-width rows of averaged probabilities."""

    start: int
    probabilities: Floats
    valid: Mask

    @property
    def stop(self) -> int:
        return self.start + len(self.valid)


def published(runner: Runner, sizes: Sequence[tuple[int, int]], overlap: bool) -> Iterator[Block]:
    """Yield the average over the scales, in full-width strips.

    Parameters
    ----------
    sizes : rows and columns of a window at each scale, none larger than the scene.
    overlap : in steps of half a window instead of a whole one.
    """
    shape = runner.shape
    columns = slice(0, shape[1])
    total = 0
    for size in sizes:
        starts = _starts(shape, size, overlap)
        total += len(starts[0]) * len(starts[1]) * size[0] * size[1]
    with runner.ready(total):
        strips = [_one_scale(runner, size, overlap) for size in sizes]
        for strip in strips[0] if len(strips) == 1 else _mean(strips):
            yield Block(slice(strip.start, strip.stop), columns, strip.probabilities, strip.valid)


def _starts(
    shape: tuple[int, int], size: tuple[int, int], overlap: bool
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    rows, columns = (
        published_starts(length, crop, max(1, crop // 2) if overlap else crop)
        for length, crop in zip(shape, size, strict=True)
    )
    return rows, columns


def _one_scale(runner: Runner, size: tuple[int, int], overlap: bool) -> Iterator[_Strip]:
    """Average the windows of one scale; a strip leaves as soon as no later window reaches it."""
    rows, columns = runner.shape
    height, width = size
    row_starts, column_starts = _starts(runner.shape, size, overlap)
    seen_down = _times_seen(row_starts, height, rows)
    seen_across = _times_seen(column_starts, width, columns)
    total: Floats | None = None  # sums of rows start .. start + height
    valid = np.ones((height, columns), dtype=np.bool_)
    for position, start in enumerate(row_starts):
        for part in runner.batches(len(column_starts), height * width):
            lefts = column_starts[part]
            across = slice(lefts[0], lefts[-1] + width)
            pixels, known = runner.read(cover(start, height, rows), across)
            valid[:, across] = known
            windows = [pixels[:, left - lefts[0] : left - lefts[0] + width] for left in lefts]
            for left, answer in zip(lefts, runner(windows), strict=True):
                if total is None:
                    total = np.zeros((height, columns, answer.shape[2]), dtype=np.float32)
                total[:, left : left + width] += answer
        last = position + 1 == len(row_starts)
        finished = height if last else row_starts[position + 1] - start
        assert total is not None
        count = np.outer(seen_down[start : start + finished], seen_across)[..., None]
        yield _Strip(start, total[:finished] / count, valid[:finished].copy())
        total = np.concatenate([total[finished:], np.zeros_like(total[:finished])])


def _times_seen(starts: Iterable[int], window: int, length: int) -> Floats:
    """Return how many windows cover each pixel of an axis."""
    seen = np.zeros(length, dtype=np.float32)
    for start in starts:
        seen[start : start + window] += 1
    return seen


def _mean(scales: Sequence[Iterator[_Strip]]) -> Iterator[_Strip]:
    """Average strips of equal rows from several scales, each of which cuts the rows differently."""
    heads = [next(scale) for scale in scales]
    while True:
        start, stop = heads[0].start, min(head.stop for head in heads)
        rows = stop - start
        total = heads[0].probabilities[:rows].copy()
        for head in heads[1:]:
            total += head.probabilities[:rows]
        yield _Strip(start, total / np.float32(len(heads)), heads[0].valid[:rows])
        following: list[_Strip] = []
        for head, scale in zip(heads, scales, strict=True):
            rest = _Strip(stop, head.probabilities[rows:], head.valid[rows:])
            if rest.start == rest.stop:
                ended = next(scale, None)
                if ended is None:
                    return
                rest = ended
            following.append(rest)
        heads = following
