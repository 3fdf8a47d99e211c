"""Dense inference over a scene of any size, window by window, in the modes of 3D-ANAS and exactly.

The answers stream out from top to bottom, so memory does not grow with the number of rows.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from swath.core.devices import Precision, autocast, pick
from swath.core.errors import MismatchError, RecipeError, nearest
from swath.mapping.ahead import ahead
from swath.mapping.tiles import Tiling, choose_tiling
from swath.mapping.windows import (
    HaloWindow,
    context_windows,
    cover,
    halo_windows,
    published_starts,
)
from swath.mapping.workers import spread
from swath.networks.dense_graph import NotDense
from swath.networks.dense_patches import DensePatches, dense_patches
from swath.networks.inference import Inference
from swath.networks.inference_calls import can_fuse, has_bfloat16
from swath.networks.patchwise import Patchwise, continued
from swath.networks.receptive_field import Halo, receptive_field
from swath.tasks.label_patches import mirrored

__all__ = [
    "Block",
    "MapMode",
    "MapPrecision",
    "Prediction",
    "Progress",
    "Reader",
    "predict",
    "read_array",
]

MapMode = Literal["plain", "windows", "ov", "ms", "ms+ov"]
MapPrecision = Literal["float32", "bfloat16", "auto"]
Floats = npt.NDArray[np.float32]
Mask = npt.NDArray[np.bool_]

Reader = Callable[[slice, slice], tuple[Floats, Mask]]
"""Returns a window: scaled pixels (rows, columns, bands) and which of them hold data."""

Progress = Callable[[int, int], None]
"""Called with the pixels looked at so far and in all."""

AGREEMENT = 0.999
"""Share of the sample whose class bfloat16 must not change."""

_SAMPLE = 48  # side of a sample window; there are nine
_STRIP = 8 * 2**20  # bytes of float32 pixels that are read at once
_SHARES = 4  # of a worker, at most, if memory allows
_HALOS = 16  # that a share is high, at least
_SHARED = 2**20  # pixels of a window that a worker answers, at most
_PIXELS_AT_ONCE = 4096  # in one pass of the inference form over windows: what the cache holds
_MEMORY = 2**30
_BYTES_PER_BAND = 352  # of activations, measured on the published network
_FEWEST_BANDS = 32
_LARGEST_BATCH = 16
_LARGEST_BATCH_ON_GPU = 256
_VALUES_PER_BAND = 16  # and pixel, of the largest activation: 32 channels of half the bands
_LARGEST_ACTIVATION = 2**30  # values; a GPU's calls count them in 32 bits


class Block(NamedTuple):
    """The answers for one part of the scene.

    Parameters
    ----------
    rows, columns : where it lies.
    probabilities : (rows, columns, classes), summing to one over the classes.
    valid : (rows, columns), False where the scene holds no data.
    """

    rows: slice
    columns: slice
    probabilities: Floats
    valid: Mask


@dataclass(frozen=True)
class Prediction:
    """A prediction to be computed block by block, while it is iterated over.

    Parameters
    ----------
    mode : how it is done, which may differ from what was asked for; ``notes`` then say why.
    shape : rows and columns of the scene.
    halo : what each window of mode ``plain`` looks at beyond itself; None in the other modes, and
        where the scene is passed whole.
    window : core size of mode ``plain``, or the window sizes (rows, columns) of the other modes.
    precision : in which it is computed, which may differ from what was asked for as well.
    """

    mode: MapMode
    shape: tuple[int, int]
    halo: Halo | None
    window: tuple[tuple[int, int], ...]
    notes: tuple[str, ...]
    precision: Precision
    _blocks: Callable[[], Iterator[Block]]

    def __iter__(self) -> Iterator[Block]:
        return self._blocks()

    def array(self) -> Floats:
        """Compute all of it and return the probabilities (rows, columns, classes)."""
        result: Floats | None = None
        for block in self:
            if result is None:
                result = np.zeros((*self.shape, block.probabilities.shape[2]), dtype=np.float32)
            result[block.rows, block.columns] = block.probabilities
        assert result is not None
        return result


def predict(
    network: nn.Module,
    read: Reader,
    shape: tuple[int, int, int],
    *,
    classes: int | None = None,
    mode: MapMode = "plain",
    crop: int = 32,
    scales: Sequence[int] = (16, 32, 48),
    window: int | None = None,
    context: int | None = None,
    halo: Halo | None = None,
    batch: int | None = None,
    device: str | torch.device | None = None,
    precision: MapPrecision = "float32",
    workers: int = 1,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Prediction:
    """Prepare the class probabilities of each pixel of a scene.

    Modes
    -----
    ``plain`` : the answers of one pass over the whole scene, to float tolerance.  A scene that
        fits into one window is passed whole; a larger one is cut into windows with a halo as wide
        as the network's measured receptive field.  A network without such a halo (global pooling,
        attention over the image) cannot be cut exactly.  With a ``context`` it answers for windows
        of that size (see there), without one it is run in mode ``windows``; a note says so.
    ``windows`` : the published windows, ``crop`` x ``crop`` side by side, the last flush with the
        border; where windows overlap, their softmax probabilities are averaged.
    ``ov`` : the same in steps of half a window.
    ``ms`` : ``windows`` at each of ``scales``; the averages are averaged over the scales.
    ``ms+ov`` : ``ov`` at each of ``scales``.

    Windows larger than the scene are cut to it, and scales that thereby become equal count once.

    Networks made of convolutions that keep the image's size (:mod:`swath.networks.dense_graph`) run
    in a form with the same answers that is several times as fast.  On a processor, mode ``plain``
    then streams the scene through the network by rows, and computes no pixel twice but those beside
    the strips that a wide scene is cut into.

    Parameters
    ----------
    network : takes (batch, bands, rows, columns) float32, returns logits (batch, classes, rows,
        columns).  It is run in evaluation mode; each module's own mode is restored at the end.
    read : gives windows of the scene; see :func:`read_array`.
    shape : rows, columns, bands of the scene.
    classes : how many classes the network must answer, if known.
    crop, scales : window sizes of the published modes, in pixels.
    window : core size of mode ``plain``, in pixels; by default by a short measurement, or from the
        memory a window may take.  The answers do not depend on it.
    context : rows and columns that a network without a halo looks at at a time, in mode ``plain``.
        A scene no larger is one pass.  A larger one is covered by windows of exactly this size, on
        a fixed grid from the top left, the last flush with the border; they overlap by a quarter
        on each side, and what they answer there is dropped
        (:func:`~swath.mapping.windows.context_windows`).  The map is thus a function of the scene
        and the context alone.  A network with an attribute ``multiple`` takes images whose sides
        are multiples of it; windows are then continued at the bottom and the right by their
        mirror image.
    halo : of the network, where it was measured before.
    batch : windows in one forward pass; by default from the memory they may take.
    device : where to compute (the network is moved there); by default where the network is.
    precision : ``bfloat16`` is taken where it leaves the class of 99.9 % of the pixels of sample
        windows as it is, otherwise float32, with a note.  ``auto`` is ``bfloat16`` on processors
        and GPUs that compute in it, else float32.  Probabilities are float32 in any case.
    workers : processes that share the windows of mode ``plain``; with a ``scheduler``, how many
        windows are under way at a time.  The answers are those of one process, to float tolerance.
    scheduler : address of a Dask scheduler whose workers compute, where swath is installed too and
        the scene's files have the same paths.
    progress : called after each forward pass; with workers, after each window.

    Raises
    ------
    RecipeError : unknown mode, or sizes below one.
    MismatchError : the network does not answer each pixel with ``classes`` logits.

    Source: 3D-ANAS, multi-scale and overlap inference; the authors' code averages probabilities,
    not logits.
    """
    if mode not in get_args(MapMode):
        known = ", ".join(get_args(MapMode))
        raise RecipeError(
            f"there is no map mode '{mode}'{nearest(mode, get_args(MapMode))}; use one of: {known}"
        )
    for name, values in (
        ("crop", (crop,)),
        ("scales", tuple(scales)),
        ("window", () if window is None else (window,)),
        ("context", () if context is None else (context,)),
        ("workers", (workers,)),
        ("batch", () if batch is None else (batch,)),
    ):
        if any(value < 1 for value in values) or (name == "scales" and not values):
            raise RecipeError(f"map option '{name}' is {values}; it needs sizes of at least 1")
    rows, columns, bands = shape
    runner = _Runner(network, read, shape, classes, batch, device, progress)
    notes = runner.settle(precision)
    if workers > 1 or scheduler is not None:
        if mode != "plain" or not runner.streams:
            notes += (
                "only mode plain of networks made of convolutions, on processors, is shared among "
                "workers; mapped in this process",
            )
        else:
            return _streamed(runner, (rows, columns), window, notes, workers, scheduler)
    if mode == "plain" and runner.streams:
        return _streamed(runner, (rows, columns), window, notes)
    if mode == "plain":
        side = window or runner.default_side()
        if runner.form is not None:
            halo = runner.form.halo
        whole = rows * columns <= side * side if window is None else max(rows, columns) <= side
        if context is not None and halo is None:
            whole = max(rows, columns) <= context
        if not whole and halo is None:
            halo = receptive_field(runner.network, bands)
        if halo is None and context is not None:
            cut = list(context_windows(rows, columns, context))
            if len(cut) > 1:
                notes += (
                    "the network looks at the whole image; it is shown windows of "
                    f"{context} x {context} pixels",
                )
            return Prediction(
                mode,
                (rows, columns),
                None,
                ((min(context, rows), min(context, columns)),),
                notes,
                runner.precision,
                lambda: _exact(runner, cut, at_once=1, multiple=getattr(network, "multiple", 1)),
            )
        if whole or halo is not None:
            if whole:
                cut = [HaloWindow(*_whole(rows, columns), *_whole(rows, columns))]
                used, size = None, (rows, columns)
            else:
                assert halo is not None
                core = window or max(2 * halo.largest, side - 2 * halo.largest, 32)
                cut = list(halo_windows(rows, columns, core, halo))
                used, size = halo, (min(core, rows), min(core, columns))
            return Prediction(
                mode,
                (rows, columns),
                used,
                (size,),
                notes,
                runner.precision,
                lambda: _exact(runner, cut),
            )
        mode = "windows"
        notes += (
            "the network looks at the whole image, so it cannot be cut into windows exactly; "
            f"mapped in published windows of {crop} x {crop} pixels instead",
        )
    sizes = scales if mode in ("ms", "ms+ov") else (crop,)
    clipped = tuple(dict.fromkeys((min(size, rows), min(size, columns)) for size in sizes))
    overlap = mode in ("ov", "ms+ov")
    return Prediction(
        mode,
        (rows, columns),
        None,
        clipped,
        notes,
        runner.precision,
        lambda: _published(runner, (rows, columns), clipped, overlap),
    )


def read_array(pixels: npt.ArrayLike, valid: npt.ArrayLike | None = None) -> Reader:
    """Return the reader of a scaled cube (rows, columns, bands) in memory.

    Parameters
    ----------
    pixels : scaled as the network expects, no-data already replaced.
    valid : (rows, columns); by default every pixel holds data.
    """
    cube = np.asarray(pixels, dtype=np.float32)
    known = np.ones(cube.shape[:2], dtype=np.bool_) if valid is None else np.asarray(valid)
    return _ArrayReader(cube, known)


@dataclass(frozen=True)
class _ArrayReader:
    cube: Floats
    known: Mask

    def __call__(self, rows: slice, columns: slice) -> tuple[Floats, Mask]:
        return self.cube[rows, columns], self.known[rows, columns]


class _Runner:
    """Runs the network on batches of equally large windows."""

    def __init__(
        self,
        network: nn.Module,
        read: Reader,
        shape: tuple[int, int, int],
        classes: int | None,
        batch: int | None,
        device: str | torch.device | None,
        progress: Progress | None,
    ) -> None:
        self.shape, self.bands = shape[:2], shape[2]
        if isinstance(network, Patchwise):
            network = dense_patches(network, self.bands) or network
        self.read = read
        self.form: Inference | None = None
        self.mirror = network.reach if isinstance(network, DensePatches) else 0
        """Pixels by which the form's images are continued by their mirror image."""
        self.precision: Precision = "float32"
        self.network = network
        self._classes = classes
        self._batch = batch
        if device is None:
            first = next(iter(network.parameters()), None)
            device = torch.device("cpu") if first is None else first.device
        self.device = pick(device) if isinstance(device, str) else device
        self._progress = progress
        self._done = 0
        self.total = 0

    def settle(self, precision: MapPrecision) -> tuple[str, ...]:
        """Decide on form and precision; say what is not as it was asked for."""
        if self.device.type == "cuda" or (self.device.type == "cpu" and can_fuse()):
            with contextlib.suppress(NotDense):
                self.form = self.simplified(torch.float32)
                self._check_classes(self.form.classes)
        here = has_bfloat16() if self.device.type == "cpu" else True
        if precision == "float32" or (precision == "auto" and not here):
            return ()
        windows = [self.read(*window)[0] for window in _sample(self.shape)]
        plain, certain = self.form, self._likeliest(windows)
        self.precision = "bfloat16"
        if plain is not None:
            self.form = self.simplified(torch.bfloat16)
        rounded = self._likeliest(windows)
        equal = sum(int((a == b).sum()) for a, b in zip(rounded, certain, strict=True))
        agreement = equal / sum(classes.numel() for classes in certain)
        if agreement >= AGREEMENT:
            return ()
        self.form, self.precision = plain, "float32"
        return (
            f"bfloat16 changes the class of {100 * (1 - agreement):.2g} % of the sample's pixels, "
            "so the map is computed in float32",
        )

    def simplified(self, dtype: torch.dtype) -> Inference:
        """Return the inference form, or raise that there is none."""
        inner = self.network.network if isinstance(self.network, DensePatches) else self.network
        return Inference(inner, self.bands, dtype, self.device)

    @property
    def streams(self) -> bool:
        """Whether the scene goes through the form by rows, which pays where caches are small."""
        return self.form is not None and self.device.type == "cpu"

    def default_side(self) -> int:
        """Return the side of the largest square that fits into memory."""
        return int(self._pixels() ** 0.5)

    def batches(self, count: int, pixels: int, most: int | None = None) -> Iterator[slice]:
        """Cut ``count`` windows of ``pixels`` each into batches."""
        at_once = _PIXELS_AT_ONCE if self.streams else self._pixels()
        largest = _LARGEST_BATCH if self.device.type == "cpu" else _LARGEST_BATCH_ON_GPU
        size = most or self._batch or max(1, min(largest, at_once // pixels))
        for start in range(0, count, size):
            yield slice(start, min(start + size, count))

    @contextlib.contextmanager
    def ready(self, total: int) -> Iterator[None]:
        """Hold the network in evaluation mode, on its device; ``total`` pixels will be read."""
        self._done, self.total = 0, total
        training = {module: module.training for module in self.network.modules()}
        self.network.to(self.device)
        self.network.eval()
        try:
            yield
        finally:
            for module, mode in training.items():
                module.training = mode

    def __call__(self, windows: Sequence[Floats]) -> list[Floats]:
        """Return the probabilities (rows, columns, classes) of windows of one shape."""
        rows, columns, _ = windows[0].shape
        softmax = torch.softmax(self._logits(windows), dim=1).permute(0, 2, 3, 1)
        answers: list[Floats] = list(softmax.cpu().numpy())
        self.count(len(windows) * rows * columns)
        return answers

    def read_mirrored(self, rows: slice, columns: slice) -> tuple[Floats, Mask]:
        """Read a window that may reach beyond the scene, into its mirror image."""
        height, width = self.shape
        if min(rows.start, columns.start) >= 0 and rows.stop <= height and columns.stop <= width:
            return self.read(rows, columns)
        down, across = (
            mirrored(np.arange(axis.start, axis.stop), length)
            for axis, length in zip((rows, columns), self.shape, strict=True)
        )
        top, left = int(down.min()), int(across.min())
        pixels, valid = self.read(
            slice(top, int(down.max()) + 1), slice(left, int(across.max()) + 1)
        )
        inner = np.ix_(down - top, across - left)
        return pixels[inner], valid[inner]

    def count(self, pixels: int) -> None:
        """Say that so many pixels more have been looked at."""
        self._done += pixels
        if self._progress is not None:
            self._progress(self._done, self.total)

    def _logits(self, windows: Sequence[Floats]) -> torch.Tensor:
        """Return float32 logits (batch, classes, rows, columns) of windows of one shape."""
        rows, columns, _ = windows[0].shape
        stack = windows[0][None] if len(windows) == 1 else np.stack(windows)
        inputs = torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            if self.form is not None:
                with autocast(self.device, "float32"):  # what is to be rounded is so in the form
                    reach = self.mirror
                    if not reach:
                        return self.form(inputs)
                    inputs = continued(continued(inputs, reach, 2), reach, 3)
                    return self.form(inputs)[:, :, reach : reach + rows, reach : reach + columns]
            with autocast(self.device, self.precision):
                logits = self.network(inputs.contiguous())
            self._check(logits, (len(windows), rows, columns))
            return logits.float()

    def _likeliest(self, windows: Sequence[Floats]) -> list[torch.Tensor]:
        with self.ready(0):
            return [self._logits([window]).argmax(dim=1) for window in windows]

    def _pixels(self) -> int:
        memory: int = _MEMORY
        if self.device.type == "cuda":
            memory = max(memory, torch.cuda.mem_get_info(self.device)[0] // 4)
        bands = max(self.bands, _FEWEST_BANDS)
        fits = memory // (bands * _BYTES_PER_BAND)
        return min(fits, _LARGEST_ACTIVATION // (bands * _VALUES_PER_BAND))

    def _check(self, logits: Any, expected: tuple[int, int, int]) -> None:
        batch, rows, columns = expected
        shape = tuple(logits.shape)
        if len(shape) != 4 or (shape[0], *shape[2:]) != expected:
            raise MismatchError(
                f"the network answers {shape} to {batch} windows of {rows} x {columns} pixels; a "
                "map needs (batch, classes, rows, columns), one answer a pixel"
            )
        self._check_classes(int(shape[1]))

    def _check_classes(self, classes: int) -> None:
        if self._classes is not None and classes != self._classes:
            raise MismatchError(
                f"the network knows {classes} classes, but {self._classes} classes are named; "
                "give the class names it was trained with"
            )


def _whole(rows: int, columns: int) -> tuple[slice, slice]:
    return slice(0, rows), slice(0, columns)


def _sample(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return up to nine windows spread over the scene."""
    rows, columns = (
        sorted({(length - min(_SAMPLE, length)) * part // 2 for part in range(3)})
        for length in shape
    )
    return [
        (cover(r, _SAMPLE, shape[0]), cover(c, _SAMPLE, shape[1])) for r in rows for c in columns
    ]


def _streamed(
    runner: _Runner,
    shape: tuple[int, int],
    window: int | None,
    notes: tuple[str, ...],
    workers: int = 1,
    scheduler: str | None = None,
) -> Prediction:
    """Mode ``plain`` with the inference form."""
    rows, columns = shape
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
        tiling = Tiling(size[1], max(1, _PIXELS_AT_ONCE // (size[1] + halo.left + halo.right)))
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
    def _runner(self) -> _Runner:
        runner = _Runner(self.network, self.read, self.shape, None, None, "cpu", None)
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


def _streams(runner: _Runner, cut: Sequence[HaloWindow], rows: int) -> Iterator[Block]:
    """Stream window after window through the network; read the next rows meanwhile."""
    with runner.ready(_total(cut)), contextlib.closing(ahead(_read(runner, cut))) as strips:
        for window in cut:
            yield from _stream(runner, window, strips, rows)


def _read(runner: _Runner, cut: Sequence[HaloWindow]) -> Iterator[tuple[Floats, Mask]]:
    """Read each window from top to bottom."""
    for window in cut:
        height, width = window.read_shape
        strip = max(1, _STRIP // (4 * width * runner.bands))
        top = window.read_rows.start
        for start in range(0, height, strip):
            lines = slice(top + start, top + min(start + strip, height))
            yield runner.read_mirrored(lines, window.read_columns)


def _stream(
    runner: _Runner,
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


def _exact(
    runner: _Runner, cut: Sequence[HaloWindow], at_once: int | None = None, multiple: int = 1
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
    runner: _Runner, cut: Sequence[HaloWindow], at_once: int | None
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


@dataclass
class _Strip:
    """Full-width rows of averaged probabilities."""

    start: int
    probabilities: Floats
    valid: Mask

    @property
    def stop(self) -> int:
        return self.start + len(self.valid)


def _published(
    runner: _Runner, shape: tuple[int, int], sizes: Sequence[tuple[int, int]], overlap: bool
) -> Iterator[Block]:
    """Yield the average over the scales, in full-width strips."""
    columns = slice(0, shape[1])
    total = 0
    for size in sizes:
        starts = _starts(shape, size, overlap)
        total += len(starts[0]) * len(starts[1]) * size[0] * size[1]
    with runner.ready(total):
        strips = [_one_scale(runner, shape, size, overlap) for size in sizes]
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


def _one_scale(
    runner: _Runner, shape: tuple[int, int], size: tuple[int, int], overlap: bool
) -> Iterator[_Strip]:
    """Average the windows of one scale; a strip leaves as soon as no later window reaches it."""
    rows, columns = shape
    height, width = size
    row_starts, column_starts = _starts(shape, size, overlap)
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
