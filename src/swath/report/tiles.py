"""The section on tiles: some test images with their truth, the answer and where it is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from swath.report.html import Html, figure, join, section, sentence, swatch, text
from swath.report.images import data_uri, rgb_png
from swath.report.record import LabelClass, RunRecord, TileRecord
from swath.report.words import count, percent

__all__ = ["tiles"]

_STRENGTH = 0.55  # of a class's colour over the grey image
_MISSED, _FALSE = (214, 40, 40), (240, 170, 30)
_LONGEST = 320
"""Pictures with more rows or columns are thinned to every second, third, ... pixel."""


def tiles(run: RunRecord) -> Html:
    """Return some of the test tiles, evenly spaced among them: none was picked for its looks."""
    if not run.tiles:
        return section("Test tiles", sentence("This run has labelled no test tile yet."))
    panels: list[Html] = []
    for tile in run.tiles:
        panels += _row(tile, run.classes)
    used = [f"<li>{swatch(c.colour)}{text(c.name)}</li>" for c in run.classes[1:]]
    used += [
        f"<li>{swatch(_MISSED)}in the truth alone, or another class there</li>",
        f"<li>{swatch(_FALSE)}in the answer alone</li>",
    ]
    return section(
        "Test tiles",
        Html(f'<div class="maps n4">{join(*panels)}</div>'),
        Html(f'<ul class="legend">{"".join(used)}</ul>'),
        sentence(
            f"{count(len(run.tiles))} test tiles, evenly spaced among all of them; the background "
            "is left as it is. Pixels without label are not judged."
        ),
    )


def _row(tile: TileRecord, classes: tuple[LabelClass, ...]) -> list[Html]:
    step = max(1, -(-max(tile.truth.shape) // _LONGEST))
    image = tile.image[::step, ::step]
    truth, answer = tile.truth[::step, ::step], tile.prediction[::step, ::step]
    known = truth >= 0
    shown = np.where(known, answer, -1)
    right = (tile.truth == tile.prediction)[tile.truth >= 0]
    words = f"{percent(right.mean() if right.size else None)} of the pixels right"
    return [
        _panel(image, tile.name, "the image"),
        _panel(_coloured(image, truth, classes), "Truth", "the mask given"),
        _panel(_coloured(image, answer, classes), "Answer", "of the network"),
        _panel(_errors(image, truth, shown), "Errors", words),
    ]


def _panel(pixels: NDArray[np.uint8], name: str, words: str) -> Html:
    rows, columns = pixels.shape[:2]
    picture = (
        f'<img alt="{text(name)}" width="{columns}" height="{rows}" style="height:auto" '
        f'src="{data_uri(rgb_png(pixels))}">'
    )
    caption = join(Html(f"<b>{text(name)}</b>"), words, between=" ")
    return figure(picture, caption)


def _grey(image: NDArray[np.uint8]) -> NDArray[np.float64]:
    return np.repeat(image.mean(axis=2, keepdims=True), 3, axis=2)


def _coloured(
    image: NDArray[np.uint8], labels: NDArray[np.int64], classes: tuple[LabelClass, ...]
) -> NDArray[np.uint8]:
    """Lay the colours of all classes but the background over the grey image."""
    shown = _grey(image)
    for number, entry in enumerate(classes):
        if number:
            _paint(shown, labels == number, entry.colour)
    return shown.astype(np.uint8)


def _errors(
    image: NDArray[np.uint8], truth: NDArray[np.int64], answer: NDArray[np.int64]
) -> NDArray[np.uint8]:
    shown = _grey(image)
    _paint(shown, (truth != answer) & (truth > 0), _MISSED)
    _paint(shown, (truth == 0) & (answer > 0), _FALSE)
    return shown.astype(np.uint8)


def _paint(
    shown: NDArray[np.float64], where: NDArray[np.bool_], colour: tuple[int, int, int]
) -> None:
    shown[where] = (1 - _STRENGTH) * shown[where] + _STRENGTH * np.array(colour)
