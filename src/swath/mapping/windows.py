"""How a scene is cut into windows: the published overlapping ones, and exact ones with a halo."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swath.networks.receptive_field import Halo

__all__ = ["HaloWindow", "context_windows", "cover", "halo_windows", "published_starts"]


@dataclass(frozen=True)
class HaloWindow:
    """A part of the scene to answer, and the larger part to look at for it.

    Parameters
    ----------
    rows, columns : the core, whose answers are kept.
    read_rows, read_columns : core and halo, cut off at the border of the scene.
    """

    rows: slice
    columns: slice
    read_rows: slice
    read_columns: slice

    @property
    def inner(self) -> tuple[slice, slice]:
        """Where the core lies in what was read."""
        top = self.rows.start - self.read_rows.start
        left = self.columns.start - self.read_columns.start
        return (
            slice(top, top + self.rows.stop - self.rows.start),
            slice(left, left + self.columns.stop - self.columns.start),
        )

    @property
    def read_shape(self) -> tuple[int, int]:
        """Rows and columns of what is read."""
        return (
            self.read_rows.stop - self.read_rows.start,
            self.read_columns.stop - self.read_columns.start,
        )


def published_starts(length: int, crop: int, step: int) -> tuple[int, ...]:
    """Return where the windows of 3D-ANAS begin along one axis.

    They are ``range(0, length - crop, step)`` and ``length - crop``: the last window ends with the
    scene, and nothing is padded.  An axis no longer than ``crop`` has the one window at 0, which
    the caller cuts to the axis.

    >>> published_starts(100, 32, 32), published_starts(64, 32, 16), published_starts(20, 32, 16)
    ((0, 32, 64, 68), (0, 16, 32), (0,))
    """
    if min(length, crop, step) < 1:
        raise ValueError(f"length {length}, crop {crop} and step {step} must be at least 1")
    last = max(0, length - crop)
    return (*range(0, last, step), last)


def halo_windows(
    rows: int, columns: int, size: int | tuple[int, int], halo: Halo
) -> Iterator[HaloWindow]:
    """Cut a scene into cores of ``size`` (rows, columns) with the surroundings their answers need.

    The cores lie side by side from the top left and cover each pixel once.  What is read ends at
    the border of the scene, so a network meets its own zero padding there and nowhere else, and
    the kept answers are those of one pass over the whole scene.  Cores and readings begin at
    multiples of the network's stride.
    """
    high, wide = (size, size) if isinstance(size, int) else size
    for core_rows, read_rows in _axis(rows, high, halo.top, halo.bottom, halo.stride):
        for core_columns, read_columns in _axis(columns, wide, halo.left, halo.right, halo.stride):
            yield HaloWindow(core_rows, core_columns, read_rows, read_columns)


def context_windows(rows: int, columns: int, context: int) -> Iterator[HaloWindow]:
    """Cut a scene into windows of ``context`` x ``context`` for a network that looks everywhere.

    Windows lie on a fixed grid from the top left, the last flush with the border, and overlap by
    twice a quarter of their side; a window answers for what is left of it without that quarter,
    and up to the border of the scene where it touches it.  An axis no longer than ``context`` has
    one window, cut to it.

    >>> [(w.rows, w.read_rows) for w in context_windows(10, 4, 8)]
    [(slice(0, 4, None), slice(0, 8, None)), (slice(4, 10, None), slice(2, 10, None))]
    """
    for core_rows, read_rows in _context_axis(rows, context):
        for core_columns, read_columns in _context_axis(columns, context):
            yield HaloWindow(core_rows, core_columns, read_rows, read_columns)


def _context_axis(length: int, context: int) -> list[tuple[slice, slice]]:
    if min(length, context) < 1:
        raise ValueError(f"length {length} and context {context} must be at least 1")
    margin = context // 4
    starts = published_starts(length, context, max(1, context - 2 * margin))
    ends = [*(start + margin for start in starts[1:]), length]
    begins = [0, *ends[:-1]]
    return [
        (slice(begin, end), cover(start, context, length))
        for begin, end, start in zip(begins, ends, starts, strict=True)
    ]


def cover(start: int, window: int, length: int) -> slice:
    """Return the part of an axis that a window covers."""
    return slice(start, min(start + window, length))


def _axis(
    length: int, size: int, before: int, after: int, stride: int
) -> Iterator[tuple[slice, slice]]:
    if min(length, size) < 1:
        raise ValueError(f"length {length} and size {size} must be at least 1")
    size = -(-size // stride) * stride
    before = -(-before // stride) * stride
    for start in range(0, length, size):
        core = cover(start, size, length)
        read_stop = -(-(core.stop + after) // stride) * stride
        yield core, slice(max(0, start - before), min(length, read_stop))
