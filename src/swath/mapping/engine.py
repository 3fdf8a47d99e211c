"""Dense inference over a scene of any size, window by window, in the modes of 3D-ANAS and exactly.

The answers stream out from top to bottom, so memory does not grow with the number of rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

import torch
from torch import nn

from swath.core.errors import RecipeError, nearest
from swath.mapping.exact import exact
from swath.mapping.prediction import MapMode, MapPrecision, Prediction, Progress, Reader
from swath.mapping.published import published
from swath.mapping.runner import Runner
from swath.mapping.streaming import streamed
from swath.mapping.windows import HaloWindow, context_windows, halo_windows
from swath.networks.receptive_field import Halo, receptive_field

__all__ = ["predict"]


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
    read : gives windows of the scene; see :func:`~swath.mapping.prediction.read_array`.
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
    rows, columns, _ = shape
    runner = Runner(network, read, shape, classes, batch, device, progress)
    notes = runner.settle(precision)
    if mode == "plain" and runner.streams:
        return streamed(runner, window, notes, workers, scheduler)
    if workers > 1 or scheduler is not None:
        notes += (
            "only mode plain of networks made of convolutions, on processors, is shared among "
            "workers; mapped in this process",
        )
    if mode == "plain":
        found = _plain(runner, window, context, halo, notes)
        if found is not None:
            return found
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
        lambda: published(runner, clipped, overlap),
    )


def _plain(
    runner: Runner,
    window: int | None,
    context: int | None,
    halo: Halo | None,
    notes: tuple[str, ...],
) -> Prediction | None:
    """Mode ``plain`` window by window; None where the scene cannot be cut exactly."""
    rows, columns = runner.shape
    side = window or runner.default_side()
    if runner.form is not None:
        halo = runner.form.halo
    whole = rows * columns <= side * side if window is None else max(rows, columns) <= side
    if context is not None and halo is None:
        whole = max(rows, columns) <= context
    if not whole and halo is None:
        halo = receptive_field(runner.network, runner.bands)
    if halo is None and context is not None:
        return _in_context(runner, context, notes)
    if whole:
        everything = slice(0, rows), slice(0, columns)
        cut, halo, size = [HaloWindow(*everything, *everything)], None, (rows, columns)
    elif halo is not None:
        core = window or max(2 * halo.largest, side - 2 * halo.largest, 32)
        cut, size = list(halo_windows(rows, columns, core, halo)), (core, core)
    else:
        return None
    return _of_windows(runner, cut, size, halo, notes)


def _in_context(runner: Runner, context: int, notes: tuple[str, ...]) -> Prediction:
    """Mode ``plain`` of a network without a halo, in windows of the size that it looks at."""
    cut = list(context_windows(*runner.shape, context))
    if len(cut) > 1:
        notes += (
            f"the network looks at the whole image; it is shown windows of {context} x {context} "
            "pixels",
        )
    multiple = getattr(runner.network, "multiple", 1)
    return _of_windows(runner, cut, (context, context), None, notes, at_once=1, multiple=multiple)


def _of_windows(
    runner: Runner,
    cut: Sequence[HaloWindow],
    size: tuple[int, int],
    halo: Halo | None,
    notes: tuple[str, ...],
    at_once: int | None = None,
    multiple: int = 1,
) -> Prediction:
    rows, columns = runner.shape
    return Prediction(
        "plain",
        (rows, columns),
        halo,
        ((min(size[0], rows), min(size[1], columns)),),
        notes,
        runner.precision,
        lambda: exact(runner, cut, at_once, multiple),
    )
