"""Line charts and heat strips as SVG, coloured by the page's style sheet."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

import numpy as np
from numpy.typing import NDArray

from swath.report.html import Html
from swath.report.images import data_uri, indexed_png

__all__ = [
    "Mark",
    "Panel",
    "Series",
    "heat_panels",
    "legend_scale",
    "line_chart",
    "ticks",
]

_LONGEST = 600
"""A line with more points is averaged down to this many."""


@dataclass(frozen=True)
class Series:
    """Points and their name; values that are None or not finite are left out.

    Parameters
    ----------
    dots : points that no line joins.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A point worth naming."""

    x: float
    y: float
    text: str


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Return round numbers (1, 2, 2.5 or 5 times a power of ten apart) within [low, high].

    >>> ticks(0, 1)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    span = high - low
    if not span > 0:
        return [low]
    rough = span / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((m * power for m in (1, 2, 2.5, 5, 10)), key=lambda s: abs(span / s - about))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [round(k * step, 12) for k in range(first, last + 1)]


def line_chart(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    percent: bool = False,
    shade: tuple[float, float, str] | None = None,
    mark: Mark | None = None,
    y_range: tuple[float, float] | None = None,
    dividers: Sequence[float] = (),
    size: tuple[float, float] = (520, 260),
) -> str | None:
    """Return an SVG line chart, or None where no series has a point.

    A positive quantity that spans more than a factor of fifty gets a logarithmic axis, and its
    title says so.

    Parameters
    ----------
    percent : values are fractions, shown as percent.
    shade : a range of x shown apart, with its meaning.
    y_range : limits of the vertical axis; by default those of the values.
    dividers : values of x at which something new begins.
    size : width and height in pixels.
    """
    lines = [(one, _points(one)) for one in series]
    lines = [(one, points) for one, points in lines if points]
    if not lines:
        return None
    xs = [x for _, points in lines for x, _ in points]
    ys = [y for _, points in lines for _, y in points]
    log = y_range is None and not percent and min(ys) > 0 and max(ys) > 50 * min(ys)
    frame = _Frame.around(xs, ys, y_range, log, size, headroom=0.12 if mark else 0.0)
    parts = [_label(0, 14, title + (" (log scale)" if log else ""), "title")]
    if shade and shade[1] > shade[0]:
        x1, x2 = frame.x(max(shade[0], frame.low_x)), frame.x(min(shade[1], frame.high_x))
        parts.append(
            f'<rect class="shade" x="{x1:.1f}" y="{frame.top:g}" width="{x2 - x1:.1f}" '
            f'height="{frame.bottom - frame.top:g}"/>'
        )
        parts.append(_label(x1, frame.top - 6, shade[2], "small"))
    for value in frame.y_ticks():
        y = frame.y(value)
        parts.append(f'<path class="grid" d="M{frame.left:g} {y:.1f}H{frame.right:g}"/>')
        parts.append(_label(frame.left - 7, y + 4, _number(value, percent), "tick end"))
    for value in ticks(frame.low_x, frame.high_x, 6):
        parts.append(_label(frame.x(value), frame.bottom + 17, _number(value), "tick middle"))
    parts.append(_label(frame.right, frame.bottom + 34, x_label, "small end"))
    parts.append(f'<path class="axis" d="M{frame.left:g} {frame.bottom:g}H{frame.right:g}"/>')
    for value in dividers:
        place = f"M{frame.x(value):.1f} {frame.top:g}V{frame.bottom:g}"
        parts.append(f'<path class="divider" d="{place}"/>')
    for number, (one, points) in enumerate(lines):
        if not one.dots:
            route = "L".join(f"{frame.x(x):.1f} {frame.y(y):.1f}" for x, y in points)
            parts.append(f'<path class="line s{number % 6}" d="M{route}"/>')
        if one.dots or len(points) == 1:
            for x, y in points:
                place = f'cx="{frame.x(x):.1f}" cy="{frame.y(y):.1f}" r="3"'
                parts.append(f'<circle class="dot s{number % 6}" {place}/>')
    if mark is not None:
        x, y = frame.x(mark.x), frame.y(mark.y)
        side = "end" if x > (frame.left + frame.right) / 2 else "start"
        parts.append(f'<circle class="mark" cx="{x:.1f}" cy="{y:.1f}" r="4"/>')
        parts.append(_label(x, y - 10, mark.text, f"small strong halo {side}"))
    if len(lines) > 1:
        parts.append(_legend([one for one, _ in lines], frame))
    return _svg(size, "chart", title, parts)


@dataclass(frozen=True)
class Panel:
    """One heat strip: values (rows, steps) with a title; ``outlined`` rows carry a frame."""

    title: str
    values: NDArray[np.float64]
    outlined: tuple[int, ...] = ()


def heat_panels(
    grid: Sequence[Sequence[Panel]],
    *,
    rows: Sequence[str],
    groups: Sequence[str],
    steps: tuple[float, float],
    reach: float,
    middle: float,
    title: str,
    step_name: str = "epoch",
    width: float = 1040,
) -> str:
    """Return an SVG of heat strips in rows of panels, all on one scale.

    A value at ``middle`` has no colour, one at ``middle + reach`` the full first colour and one at
    ``middle - reach`` the full second.

    Parameters
    ----------
    grid : the panels of each group, one group a line.
    rows : names of the rows of every panel.
    groups : the name of each line of panels.
    steps : first and last step, written under the last line.
    """
    pitch, left, gap, head = 13.0, 104.0, 16.0, 44.0
    most = max(len(line) for line in grid)
    panel = (width - left - gap * (most - 1)) / most
    tall = pitch * len(rows)
    parts: list[str] = []
    y = 0.0
    for name, line in zip(groups, grid, strict=True):
        parts.append(_label(0, y + 14, name, "title"))
        for number, row in enumerate(rows):
            text = y + head + pitch * (number + 0.5) + 3.5
            parts.append(_label(left - 8, text, row, "mono end"))
        for column, one in enumerate(line):
            x = left + column * (panel + gap)
            parts.append(_label(x, y + head - 7, one.title, "small"))
            image = data_uri(_heat(one.values, middle, reach))
            parts.append(
                f'<image class="pixels" href="{image}" x="{x:.1f}" y="{y + head:.1f}" '
                f'width="{panel:.1f}" height="{tall:g}" preserveAspectRatio="none"/>'
                f'<rect class="frame" x="{x:.1f}" y="{y + head:.1f}" width="{panel:.1f}" '
                f'height="{tall:g}"/>'
            )
            for row_number in one.outlined:
                parts.append(
                    f'<rect class="outline" x="{x:.1f}" y="{y + head + pitch * row_number:.1f}" '
                    f'width="{panel:.1f}" height="{pitch:g}"/>'
                )
        y += head + tall + 14
    parts.append(_label(left, y + 2, f"{step_name} {steps[0]:g}", "small"))
    parts.append(_label(left + panel, y + 2, f"{steps[1]:g}", "small end"))
    return _svg((width, y + 10), "chart heat", title, parts)


BLUE, ORANGE = (34, 102, 170), (205, 102, 32)
"""The two colours of heat strips; their opacity is the value, so that they suit any background."""


def _heat(values: NDArray[np.float64], middle: float, reach: float) -> bytes:
    share = np.nan_to_num((values - middle) / (reach or 1.0)).clip(-1, 1)
    palette = [(*(BLUE if k >= 0 else ORANGE), 2 * abs(k)) for k in range(-127, 128)]
    return indexed_png(np.rint(share * 127).astype(np.int64) + 127, palette)


@dataclass(frozen=True)
class _Frame:
    """The map from values to pixels, and its limits."""

    low_x: float
    high_x: float
    low_y: float
    high_y: float
    log: bool
    left: float
    right: float
    top: float
    bottom: float

    @classmethod
    def around(
        cls,
        xs: Sequence[float],
        ys: Sequence[float],
        y_range: tuple[float, float] | None,
        log: bool,
        size: tuple[float, float],
        headroom: float = 0.0,
    ) -> _Frame:
        low, high = y_range or (min(ys), max(ys))
        if log:
            low, high = low / 1.2, high * 1.2
        elif y_range is None:
            room = 0.06 * (high - low) or 0.05 * abs(high) or 0.5
            low, high = (low - room if low < 0 or low > room else 0.0), high + room
            high += headroom * (high - low)
        low_x, high_x = min(xs), max(xs)
        if low_x == high_x:
            low_x, high_x = low_x - 1, high_x + 1
        width, height = size
        return cls(low_x, high_x, low, high, log, 54, width - 18, 56, height - 42)

    def x(self, value: float) -> float:
        share = (value - self.low_x) / (self.high_x - self.low_x)
        return self.left + share * (self.right - self.left)

    def y(self, value: float) -> float:
        if self.log:
            share = math.log(value / self.low_y) / math.log(self.high_y / self.low_y)
        else:
            share = (value - self.low_y) / (self.high_y - self.low_y)
        return self.bottom - min(1.0, max(0.0, share)) * (self.bottom - self.top)

    def y_ticks(self) -> list[float]:
        if not self.log:
            return ticks(self.low_y, self.high_y)
        powers = range(math.floor(math.log10(self.low_y)), math.ceil(math.log10(self.high_y)) + 1)
        factors = (1, 3) if len(powers) <= 5 else (1,)
        values = [round(f * 10.0**p, 12) for p in powers for f in factors]
        return [value for value in values if self.low_y <= value <= self.high_y]


def _points(series: Series) -> list[tuple[float, float]]:
    pairs = [
        (float(x), float(y))
        for x, y in zip(series.x, series.y, strict=True)
        if isinstance(y, int | float) and math.isfinite(y)
    ]
    if len(pairs) <= _LONGEST:
        return pairs
    blocks = np.array_split(np.array(pairs), _LONGEST)
    return [(float(x), float(y)) for x, y in (block.mean(axis=0) for block in blocks)]


def _number(value: float, percent: bool = False) -> str:
    if percent:
        return f"{100 * value:g} %"
    if abs(value) >= 1e6:
        return f"{value / 1e6:g} M"
    if abs(value) >= 1e4:
        return f"{value / 1e3:g} k"
    return f"{value:g}"


def _legend(series: Sequence[Series], frame: _Frame) -> str:
    parts, x = [], frame.left
    for number, one in enumerate(series):
        key = f'<path class="line s{number % 6}" d="M{x:.1f} 30h14"/>'
        if one.dots:
            key = f'<circle class="dot s{number % 6}" cx="{x + 7:.1f}" cy="30" r="3"/>'
        parts.append(key)
        parts.append(_label(x + 19, 34, one.name, "small"))
        x += 19 + 6.4 * len(one.name) + 20
    return "".join(parts)


def _label(x: float, y: float, text: str, kind: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _svg(size: tuple[float, float], kind: str, title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="{kind}" viewBox="0 0 {size[0]:g} {size[1]:.0f}" width="{size[0]:g}" '
        f'height="{size[1]:.0f}" role="img" aria-label="{escape(title)}">'
        + "".join(parts)
        + "</svg>"
    )


def legend_scale(reach: float, middle: float, words: str) -> Html:
    """Return an HTML scale for :func:`heat_panels`: second colour, none, first colour."""
    second, first = (f"rgb{colour}" for colour in (ORANGE, BLUE))
    return Html(
        f'<span class="scale">{max(0.0, middle - reach):.3f}'
        f'<i style="background:linear-gradient(90deg,{second},transparent,{first})"></i>'
        f"{middle + reach:.3f}</span> {escape(words)}"
    )
