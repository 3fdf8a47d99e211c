"""Mode plain on processors: the scene goes through the inference form by rows."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from swath.mapping.ahead import ahead
from swath.mapping.prediction import Block, Floats, Mask, Prediction, Reader
from swath.mapping.runner import PIXELS_AT_ONCE, Runner
from swath.mapping.tiles import Tiling, choose_tiling
from swath.mapping.windows import HaloWindow, halo_windows
from swath.mapping.workers import spread

__all__ = ["streamed"]

_STRIP = 8 * 2**20  # bytes of float32 pixels that are read at once
_SHARES = 4  # of a worker, at most, if memory allows
_HALOS = 16  # that a share is high, at least
_SHARED = 2**20  # pixels of a window that a worker answers, at most


def streamed(
    runner: Runner,
    window: int | None,
    notes: tuple[str, ...],
    workers: int = 1,
    scheduler: str | None = None,
) -> Prediction:
    """Mode ``plain`` of :func:`~swath.mapping.engine.predict`, shared among workers or not."""
    rows, columns = shape = runner.shape
    form = runner.form
    assert form is not None
    halo = form.halo
    shared = workers > 1 or scheduler is not None
    if window is None:
        tiling = choose_tiling(form, rows, columns)
        size = (rows, tiling.width)
        if shared:
            total = rows * -(-columns // tiling.width)
            # Shares overlap by the halo: several for each worker only where they are much taller.
            shares = min(max(total // (workers * _HALOS * max(halo.largest, 1)), 1), _SHARES)
            part = -(-total // (shares * workers))
            size = (min(max(part, 32), _SHARED // tiling.width + 1), size[1])
    else:
        size = (window, window)
        tiling = Tiling(size[1], max(1, PIXELS_AT_ONCE // (size[1] + halo.left + halo.right)))
    cut = list(halo_windows(rows, columns, size, halo))
    if runner.mirror:
        cut = [_beyond(each, runner.mirror) for each in cut]

    def blocks() -> Iterator[Block]:
        if not shared:
            yield from _streams(runner, cut, tiling.rows)
            return
        work = _Work(runner.network, runner.read, (*shape, runner.bands), form.dtype, tiling.rows)
        threads = max(1, torch.get_num_threads() // workers)
        found = spread(work, cut, workers, scheduler, threads)
        with contextlib.closing(found), runner.ready(_total(cut)):
            for each, answers in zip(cut, found, strict=True):
                yield from answers
                runner.count(_total([each]))

    return Prediction(
        "plain",
        shape,
        halo if len(cut) > 1 or runner.mirror else None,
        ((min(size[0], rows), min(size[1], columns)),),
        notes,
        runner.precision,
        blocks,
    )


@dataclass(frozen=True)
class _Work:
    """What a worker does with a window: all that it needs, in a form that can be sent."""

    network: nn.Module
    read: Reader
    shape: tuple[int, int, int]
    dtype: torch.dtype
    rows: int

    @functools.cached_property
    def _runner(self) -> Runner:
        runner = Runner(self.network, self.read, self.shape, None, None, "cpu", None)
        runner.form = runner.simplified(self.dtype)
        return runner

    def __call__(self, window: HaloWindow) -> list[Block]:
        return list(_streams(self._runner, [window], self.rows))


def _total(cut: Sequence[HaloWindow]) -> int:
    return sum(window.read_shape[0] * window.read_shape[1] for window in cut)


def _beyond(window: HaloWindow, reach: int) -> HaloWindow:
    """Let a window read as far on all sides, beyond the scene as well."""

    def wider(axis: slice) -> slice:
        return slice(axis.start - reach, axis.stop + reach)

    return HaloWindow(window.rows, window.columns, wider(window.rows), wider(window.columns))


def _streams(runner: Runner, cut: Sequence[HaloWindow], rows: int) -> Iterator[Block]:
    """Stream window after window through the network; read the next rows meanwhile."""
    with runner.ready(_total(cut)), contextlib.closing(ahead(_read(runner, cut))) as strips:
        for window in cut:
            yield from _stream(runner, window, strips, rows)


def _read(runner: Runner, cut: Sequence[HaloWindow]) -> Iterator[tuple[Floats, Mask]]:
    """Read each window from top to bottom."""
    for window in cut:
        height, width = window.read_shape
        strip = max(1, _STRIP // (4 * width * runner.bands))
        top = window.read_rows.start
        for start in range(0, height, strip):
            lines = slice(top + start, top + min(start + strip, height))
            yield runner.read_mirrored(lines, window.read_columns)


def _stream(
    runner: Runner,
    window: HaloWindow,
    strips: Iterator[tuple[Floats, Mask]],
    rows: int,
) -> Iterator[Block]:
    """Answer one window, in blocks of the rows that one reading lets be answered."""
    height, width = window.read_shape
    inner_rows, inner_columns = window.inner
    assert runner.form is not None
    stream = runner.form.stream(height)
    seen = answered = 0
    known: Mask = np.empty((0, width), dtype=np.bool_)  # of rows that are not yet answered
    while seen < height:
        pixels, valid = next(strips)
        seen += len(valid)
        known = np.concatenate([known, valid])
        parts: list[torch.Tensor] = []
        image = torch.from_numpy(pixels).permute(2, 0, 1)
        with torch.inference_mode():
            for lines in torch.split(image, rows, dim=1):
                logits = stream.push(lines)
                if logits is not None:
                    parts.append(logits)
                runner.count(lines.shape[1] * width)
            if not parts:
                continue
            logits = torch.cat(parts, dim=1)[:, :, inner_columns].permute(1, 2, 0)
            probabilities = torch.softmax(logits, dim=2).numpy()
        begin = max(answered, inner_rows.start)
        end = min(answered + len(probabilities), inner_rows.stop)
        if begin < end:
            kept = slice(begin - answered, end - answered)
            top = window.read_rows.start
            yield Block(
                slice(top + begin, top + end),
                window.columns,
                probabilities[kept],
                known[kept, inner_columns],
            )
        answered += len(probabilities)
        known = known[len(probabilities) :]
