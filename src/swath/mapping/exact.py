"""Windows with a halo, or with the context that a network looks at: each pixel is answered once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import numpy as np

from swath.mapping.ahead import ahead
from swath.mapping.prediction import Block, Floats, Mask
from swath.mapping.runner import Runner
from swath.mapping.windows import HaloWindow
from swath.tasks.label_patches import mirrored

__all__ = ["exact"]


def exact(
    runner: Runner, cut: Sequence[HaloWindow], at_once: int | None = None, multiple: int = 1
) -> Iterator[Block]:
    """Yield one block for each halo window; neighbours of one shape share a forward pass."""
    total = 0
    for window in cut:
        height, width = (length + -length % multiple for length in window.read_shape)
        total += height * width
    with runner.ready(total), contextlib.closing(ahead(_seen(runner, cut, at_once))) as seen:
        for windows, pixels, valid in seen:
            answers = runner([_continued(each, multiple) for each in pixels])
            for w, known, answer in zip(windows, valid, answers, strict=True):
                yield Block(w.rows, w.columns, answer[w.inner], known[w.inner])


def _seen(
    runner: Runner, cut: Sequence[HaloWindow], at_once: int | None
) -> Iterator[tuple[list[HaloWindow], list[Floats], list[Mask]]]:
    """Read the windows of each batch."""
    for group in _runs(cut):
        height, width = group[0].read_shape
        for part in runner.batches(len(group), height * width, at_once):
            windows = group[part]
            read = [runner.read(w.read_rows, w.read_columns) for w in windows]
            yield windows, [pixels for pixels, _ in read], [valid for _, valid in read]


def _continued(pixels: Floats, multiple: int) -> Floats:
    """Continue a window by its mirror image, until its sides are multiples of a number."""
    for axis in (0, 1):
        length = pixels.shape[axis]
        beyond = -length % multiple
        if beyond:
            pixels = pixels.take(mirrored(np.arange(length + beyond), length), axis=axis)
    return pixels


def _runs(cut: Sequence[HaloWindow]) -> Iterator[list[HaloWindow]]:
    """Group consecutive windows that read the same shape."""
    group: list[HaloWindow] = []
    for window in cut:
        if group and group[0].read_shape != window.read_shape:
            yield group
            group = []
        group.append(window)
    if group:
        yield group
