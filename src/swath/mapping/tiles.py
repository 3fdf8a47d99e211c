"""How a scene is cut for streaming: by a short measurement on this machine."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass

import torch

from swath.networks.inference import Inference

__all__ = ["Tiling", "choose_tiling"]

_WIDTHS = (256, 512, 1024)
_PIXELS = (2048, 4096, 8192)
_WHOLE = 1536
_SECONDS = 3.0
_WORTH_MEASURING = 1 << 20
_PUSHES = 3

_known: dict[tuple[object, ...], Tiling] = {}


@dataclass(frozen=True)
class Tiling:
    """How an image is streamed.

    Parameters
    ----------
    width : columns of a strip that is answered in one go, without its halo.
    rows : rows in one push.
    """

    width: int
    rows: int


def choose_tiling(form: Inference, rows: int, columns: int) -> Tiling:
    """Return the strips in which a scene is mapped fastest.

    A wider strip recomputes a smaller share at its sides; a larger push has less overhead, until it
    falls out of the cache.  Large scenes are worth a measurement of a few seconds, once per
    network and process; small ones take what did best on the machines tried.
    """
    # What the cache holds is a number of bytes.
    usual = _PIXELS[1] * 4 // form.dtype.itemsize
    whole = (columns,) if columns <= _WHOLE else ()
    widths = whole or (_WIDTHS[1],)
    if rows * columns < _WORTH_MEASURING:
        return Tiling(widths[0], _rows(usual, widths[0]))
    widths = (*(width for width in _WIDTHS if width < columns), *whole)
    shape = tuple((node.kind, node.channels, node.bands) for node in form.nodes)
    key = (shape, form.dtype, torch.get_num_threads(), widths)
    if key not in _known:
        _known[key] = _fastest(form, widths, columns)
    return _known[key]


def _rows(pixels: int, width: int) -> int:
    return max(1, round(pixels / width))


def _fastest(form: Inference, widths: tuple[int, ...], columns: int) -> Tiling:
    """Time the candidates, from the likeliest on, until the time is over."""
    halo = form.halo
    tried: dict[Tiling, float] = {}
    begun = time.perf_counter()
    for pixels in (_PIXELS[1], _PIXELS[2], _PIXELS[0]):
        for width in sorted(widths, key=lambda width: abs(width - 512)):
            if tried and time.perf_counter() - begun > _SECONDS:
                break
            tiling = Tiling(width, _rows(pixels, width))
            if tiling not in tried:
                beside = 0 if width == columns else halo.left + halo.right
                tried[tiling] = _seconds(form, tiling.rows, width + beside) / (tiling.rows * width)
    return min(tried, key=lambda tiling: tried[tiling])


def _seconds(form: Inference, rows: int, width: int) -> float:
    """Return how long a push takes once the stream is full."""
    filling = -(-form.halo.top // rows) + 1
    image = torch.randn(rows, width, form.nodes[0].channels).permute(2, 0, 1)
    seconds = []
    with torch.inference_mode():
        stream = form.stream((filling + _PUSHES + 1) * rows)
        for push in range(filling + _PUSHES):
            begun = time.perf_counter()
            stream.push(image)
            if push >= filling:
                seconds.append(time.perf_counter() - begun)
    return statistics.median(seconds)
