"""Pictures of landscapes, as SVG for a page: the radar of several, and what is behind each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from html import escape

import numpy as np

from swath.landscape.footprint import LABELS, Footprint
from swath.landscape.measure import Measure, same
from swath.report.charts import Series, line_chart, ticks

__all__ = [
    "AXES",
    "autocorrelation_chart",
    "cumulative_chart",
    "density_chart",
    "distance_chart",
    "persistence_chart",
    "radar",
    "walk_chart",
]

AXES = (
    "mean",
    "deviation",
    "optima",
    "ruggedness",
    "positive_persistence",
    "positive_area",
    "negative_persistence",
    "negative_area",
)
"""The eight axes of the footprint papers."""

_GRID = 200  # points of a fitted curve
_COLOURS = 6


def radar(several: Sequence[Footprint], size: tuple[float, float] = (760, 470)) -> str:
    """Return a radar chart of the eight measures, one line a footprint.

    An axis runs from 0 in the middle to a round number, which stands at its end; a bar along it is
    the 95 % interval.  Where a measure is not defined the line has a gap, and so it has at mean and
    deviation of figures such as parameters beside others that are shares of one.
    """
    width, height = size
    middle, radius = (width / 2, (height - 24) / 2 + 8), min(width, height) / 2 - 84
    parts = []
    places = []
    for number, name in enumerate(AXES):
        angle = 2 * math.pi * number / len(AXES) - math.pi / 2
        toward = (math.cos(angle), math.sin(angle))
        end = _axis_end([_shown(one, name, several) for one in several])
        places.append((name, toward, end))
        x, y = (middle[i] + radius * toward[i] for i in (0, 1))
        parts.append(f'<path class="grid" d="M{middle[0]:.1f} {middle[1]:.1f}L{x:.1f} {y:.1f}"/>')
        side = "middle" if abs(toward[0]) < 0.3 else ("end" if toward[0] < 0 else "")
        tx, ty = middle[0] + (radius + 14) * toward[0], middle[1] + (radius + 20) * toward[1]
        parts.append(_text(tx, ty, LABELS[name], f"strong small {side}"))
        note = "not known" if end is None else f"0 to {end:g}"
        parts.append(_text(tx, ty + 15, note, f"small {side}"))
    for ring in (0.25, 0.5, 0.75, 1.0):
        corners = " ".join(
            f"{middle[0] + ring * radius * dx:.1f},{middle[1] + ring * radius * dy:.1f}"
            for _, (dx, dy), _ in places
        )
        parts.append(f'<polygon class="grid" points="{corners}"/>')
    for number, one in enumerate(several):
        shown = [(_shown(one, name, several), way, end) for name, way, end in places]
        parts.append(_outline(shown, middle, radius, number % _COLOURS))
    parts.append(_legend([one.title for one in several]))
    return _svg(size, "radar of the footprint", parts)


def _axis_end(measures: Sequence[Measure | None]) -> float | None:
    """Return a round number that no value lies beyond; None where there is none, or it is 0."""
    known = [
        one.value if one.high is None else one.high
        for one in measures
        if one is not None and one.value is not None
    ]
    most = max((value for value in known if value is not None), default=None)
    if most is None or most <= 0:
        return None
    power = 10.0 ** math.floor(math.log10(most))
    ends = (f * power for f in (1, 1.5, 2, 3, 4, 5, 6, 8, 10))
    return round(next(end for end in ends if end >= most), 12) or None


def _shown(one: Footprint, name: str, several: Sequence[Footprint]) -> Measure | None:
    """Return a measure for the radar: mean and deviation only of figures of the same scale."""
    if name in ("mean", "deviation") and len({_is_share(other) for other in several}) > 1:
        return one.measures.get(name) if _is_share(one) else None
    return one.measures.get(name)


def _is_share(one: Footprint) -> bool:
    levels = one.curves.quantiles
    return bool(levels) and levels[0] >= 0 and levels[-1] <= 1


def _outline(
    shown: Sequence[tuple[Measure | None, tuple[float, float], float | None]],
    middle: tuple[float, float],
    radius: float,
    colour: int,
) -> str:
    points: list[tuple[float, float] | None] = []
    bars = []
    for measure, (dx, dy), end in shown:
        if end is None or measure is None or measure.value is None or measure.value < 0:
            points.append(None)
            continue
        away = radius * measure.value / end
        points.append((middle[0] + away * dx, middle[1] + away * dy))
        if measure.low is not None and measure.high is not None:
            ends = [radius * max(0.0, x) / end for x in (measure.low, measure.high)]
            (x1, y1), (x2, y2) = ((middle[0] + r * dx, middle[1] + r * dy) for r in ends)
            bars.append(
                f'<path class="s{colour}" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" '
                'style="stroke-width:5;stroke-opacity:.4"/>'
            )
    closed = [*points, points[0]]
    sides = [
        f"M{a[0]:.1f} {a[1]:.1f}L{b[0]:.1f} {b[1]:.1f}"
        for a, b in itertools.pairwise(closed)
        if a is not None and b is not None
    ]
    known = [point for point in points if point is not None]
    dots = [f'<circle class="dot s{colour}" cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in known]
    return "".join([*bars, f'<path class="line s{colour}" d="{"".join(sides)}"/>', *dots])


def density_chart(one: Footprint) -> str | None:
    """Return the density of fitness: the histogram as steps, and the fits."""
    curves = one.curves
    if len(curves.edges) < 2 or same(curves.quantiles):
        return None
    widths = np.diff(curves.edges)
    heights = np.array(curves.counts) / (sum(curves.counts) * widths)
    edges = np.repeat(curves.edges, 2)[1:-1]
    series = [Series("models", edges.tolist(), np.repeat(heights, 2).tolist())]
    grid = np.linspace(curves.edges[0], curves.edges[-1], _GRID)[1:-1]
    series += [
        Series(fit.family, grid.tolist(), fit.density(grid).tolist())
        for fit in one.fits
        if fit.aic is not None
    ]
    title = f"Density of fitness, {one.models:,} models"
    high = float(1.15 * heights.max())
    return line_chart(series, title=title, x_label=one.metric, y_range=(0.0, high))


def cumulative_chart(one: Footprint) -> str | None:
    """Return the share of models that are at most so fit, and the fits."""
    levels = one.curves.quantiles
    if len(levels) < 2 or same(levels):
        return None
    series = [Series("models", levels, np.linspace(0, 1, len(levels)).tolist())]
    grid = np.linspace(levels[0], levels[-1], _GRID)
    series += [
        Series(fit.family, grid.tolist(), fit.cumulative(grid).tolist())
        for fit in one.fits
        if fit.aic is not None
    ]
    return line_chart(
        series,
        title="Share of models at most so fit",
        x_label=one.metric,
        percent=True,
        y_range=(0.0, 1.0),
    )


def walk_chart(one: Footprint) -> str | None:
    """Return fitness along the first random walks."""
    walks = [
        Series(f"walk {number}", list(range(len(walk))), walk)
        for number, walk in enumerate(one.curves.walks, 1)
    ]
    count = one.facts["walks"]
    return line_chart(
        walks,
        title=f"Fitness along {len(walks)} of {count} walks",
        x_label="step",
        y_range=_spread(one),
    )


def autocorrelation_chart(one: Footprint) -> str | None:
    """Return the autocorrelation by lag: over the walks, and of an endless one."""
    curves = one.curves
    walks, steps = one.facts["walks"], one.facts["steps"]
    found, exact = curves.autocorrelation, curves.autocorrelation_exact
    series = [
        Series(f"{walks} walks of {steps} steps", list(range(len(found))), found),
        Series("endless walk", list(range(len(exact))), exact),
    ]
    lowest = min([0.0, *found, *exact])
    return line_chart(
        series, title="Autocorrelation of fitness", x_label="steps apart", y_range=(lowest, 1.0)
    )


def persistence_chart(one: Footprint) -> str | None:
    """Return P(N), of the best and the worst N percent, over all budgets; and by chance."""
    curves = one.curves
    if not curves.positive:
        return None
    percents = list(range(1, len(curves.chance) + 1))
    series = [
        Series("best", percents, curves.positive[-1]),
        Series("worst", percents, curves.negative[-1]),
        Series("by chance", percents, curves.chance),
    ]
    budgets = ", ".join(map(str, curves.budgets))
    return line_chart(
        series,
        title=f"Models that stay in their N %, budgets {budgets}",
        x_label="N, per cent",
        percent=True,
        y_range=(0.0, 1.0),
    )


def distance_chart(one: Footprint, size: tuple[float, float] = (520, 260)) -> str | None:
    """Return fitness by distance to the best: some models, a box a distance, and the line.

    A box spans the middle half, its line the 5 to 95 % quantiles; under it stands the distance.
    """
    boxes = one.curves.boxes
    if len(boxes) < 2:
        return None
    left, right, top, bottom = 52.0, size[0] - 18, 40.0, size[1] - 46
    values = [value for box in boxes for value in (box.least, box.most)]
    room = 0.5 if same(values) else 0.05 * (max(values) - min(values))
    low, high = min(values) - room, max(values) + room
    far = max(box.distance for box in boxes)
    pitch = (right - left) / (far + 1)

    def x(distance: float) -> float:
        return left + (distance + 0.5) * pitch

    def y(value: float) -> float:
        return bottom - (min(max(value, low), high) - low) / (high - low) * (bottom - top)

    rho = one.measures["distance_correlation"]
    told = "" if rho.value is None else f", correlation {rho.value:.2f}{_interval(rho)}"
    title = f"Fitness by distance to the best{told}"
    parts = [_text(0, 14, title, "title")]
    for tick in ticks(low, high):
        parts.append(f'<path class="grid" d="M{left:g} {y(tick):.1f}H{right:g}"/>')
        parts.append(_text(left - 7, y(tick) + 4, f"{tick:g}", "tick end"))
    rng = np.random.default_rng(0)  # dots of one distance lie beside one another
    for (distance, value), shift in zip(
        one.curves.dots, rng.uniform(-0.3, 0.3, len(one.curves.dots)), strict=True
    ):
        if low <= value <= high:
            place = f'cx="{x(distance + shift):.1f}" cy="{y(value):.1f}" r="1.5"'
            parts.append(f'<circle {place} style="fill:var(--s0);opacity:.35"/>')
    step = max(1, math.ceil((far + 1) / 24))
    half = min(13.0, 0.32 * pitch)
    for box in boxes:
        at = x(box.distance)
        parts.append(
            f'<path class="line s0" style="stroke-width:1.2" d="M{at:.1f} {y(box.least):.1f}'
            f'V{y(box.most):.1f}"/>'
            f'<rect class="line s0" x="{at - half:.1f}" y="{y(box.three_quarters):.1f}" '
            f'width="{2 * half:.1f}" style="stroke-width:1.2" '
            f'height="{max(0.5, y(box.quarter) - y(box.three_quarters)):.1f}"/>'
            f'<path class="line s0" d="M{at - half:.1f} {y(box.median):.1f}h{2 * half:.1f}"/>'
        )
        if box.distance % step == 0:
            parts.append(_text(at, bottom + 17, str(box.distance), "tick middle"))
    line = one.curves.line
    if line is not None:
        ends = [(d, line.intercept + line.slope * d) for d in (0.0, float(far))]
        route = "L".join(f"{x(d):.1f} {y(value):.1f}" for d, value in ends)
        parts.append(f'<path class="line s1" d="M{route}"/>')
    parts.append(f'<path class="axis" d="M{left:g} {bottom:g}H{right:g}"/>')
    parts.append(_text(right, bottom + 34, "places that differ from the best", "small end"))
    return _svg(size, title, parts)


def _spread(one: Footprint) -> tuple[float, float]:
    low, high = one.curves.quantiles[0], one.curves.quantiles[-1]
    return (low - 0.5, high + 0.5) if same((low, high)) else (low, high)


def _interval(measure: Measure) -> str:
    if measure.low is None or measure.high is None:
        return ""
    return f" [{measure.low:.2f}, {measure.high:.2f}]"


def _legend(names: Sequence[str]) -> str:
    return "".join(
        f'<path class="line s{number % _COLOURS}" d="M0 {10 + 18 * number}h14"/>'
        + _text(20, 14 + 18 * number, name, "small")
        for number, name in enumerate(names)
    )


def _text(x: float, y: float, text: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def _svg(size: tuple[float, float], title: str, parts: Sequence[str]) -> str:
    return (
        f'<svg class="chart" viewBox="0 0 {size[0]:g} {size[1]:g}" width="{size[0]:g}" '
        f'height="{size[1]:g}" role="img" aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )
