"""One page that shows landscapes side by side: measures, radar, and the curves of each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from swath.core.files import write_text
from swath.landscape.footprint import LABELS, Footprint
from swath.landscape.measure import Measure
from swath.report.html import (
    Column,
    Html,
    facts,
    figure,
    join,
    page,
    section,
    sentence,
    table,
    text,
)
from swath.report.landscape_plots import (
    autocorrelation_chart,
    cumulative_chart,
    density_chart,
    distance_chart,
    persistence_chart,
    radar,
    walk_chart,
)

__all__ = ["best_family", "cell", "reasons", "write_landscape_page"]

_CHARTS = (
    density_chart,
    cumulative_chart,
    distance_chart,
    walk_chart,
    autocorrelation_chart,
    persistence_chart,
)


def write_landscape_page(several: Sequence[Footprint], path: str | Path) -> None:
    """Write the page; it loads nothing from anywhere.

    Raises
    ------
    RunError : it cannot be written.
    """
    title = several[0].title if len(several) == 1 else f"{len(several)} landscapes"
    write_text(
        path,
        page(
            title,
            Html(f'<header><p class="kind">Landscape</p><h1>{text(title)}</h1></header>'),
            _overview(several),
            *(_of_one(one) for one in several),
        ),
    )


def cell(measure: Measure | None) -> str:
    """Return a measure with its interval as a cell of a table; a dash where it is not defined."""
    if measure is None or measure.value is None:
        return "–"
    if measure.low is None and measure.high is None:
        return _number(measure.value)
    low, high = ("…" if end is None else _number(end) for end in (measure.low, measure.high))
    return f"{_number(measure.value)} [{low}, {high}]"


def _number(value: float) -> str:
    whole = 1e4 <= abs(value) < 1e12 or (value.is_integer() and abs(value) >= 10)
    return f"{value:,.0f}" if whole else f"{value:.4g}"


def _overview(several: Sequence[Footprint]) -> Html:
    names = [name for name in LABELS if any(name in one.measures for one in several)]
    rows = [[LABELS[name], *(cell(one.measures.get(name)) for one in several)] for name in names]
    rows.append(["family that fits best", *(best_family(one) for one in several)])
    columns = [Column("measure"), *(Column(one.title, "number") for one in several)]
    return section(
        "Measures",
        figure(
            radar(several),
            "From 0 in the middle to the number at the end of each axis; a bar is the 95 % "
            "interval. A gap: the measure is not defined or not known there.",
        ),
        table(columns, rows, kind="full"),
        sentence(
            "In brackets the 95 % interval: a bootstrap over models, a jackknife over walks or "
            "climbs. What is computed on all models of a space is exact; its interval tells how "
            "far other models of the same kind would lead elsewhere."
        ),
        *map(sentence, reasons(several)),
    )


def reasons(several: Sequence[Footprint]) -> list[str]:
    """Return what has to be said of measures and landscapes, a line each."""
    found = []
    for one in several:
        before = "" if len(several) == 1 else f"{one.title}: "
        by_note: dict[str, list[str]] = {}
        for name, measure in one.measures.items():
            if measure.note:
                by_note.setdefault(measure.note, []).append(LABELS[name])
        found += [f"{before}{'; '.join(names)}: {note}" for note, names in by_note.items()]
        found += [f"{before}{note}" for note in one.notes]
    return found


def best_family(one: Footprint) -> str:
    """Return the family that fits best, and in how many resamples it does."""
    best = one.fits[0]
    if best.aic is None:
        return "–"
    share = one.best_fits.get(best.family)
    return best.family if share is None else f"{best.family} ({100 * share:.0f} % of resamples)"


def _of_one(one: Footprint) -> Html:
    settings = one.facts
    pairs = [
        ("space", one.space),
        ("models", f"{one.models:,} of {_number(float(settings['size']))}"),
        ("neighbours", f"{settings['neighbourhood']}; {settings['degree']:.1f} on average"),
        ("random walks", f"{settings['walks']} of {settings['steps']} steps"),
        ("climbs", f"{settings['rounds']} rounds of {settings['starts']}"),
        ("seed", str(settings["seed"])),
    ]
    charts = [chart for chart in (draw(one) for draw in _CHARTS) if chart is not None]
    return section(
        one.title,
        Html(
            f'<div class="pair"><figure>{facts(pairs)}</figure><figure>{_fits(one)}</figure></div>'
        ),
        Html(f'<div class="pair">{join(*(figure(chart) for chart in charts))}</div>'),
    )


def _fits(one: Footprint) -> Html:
    columns = [Column("fit")] + [
        Column(name, "number") for name in ("log-likelihood", "AIC", "BIC", "models", "best in")
    ]
    rows = [
        [
            fit.family if fit.aic is not None else f"{fit.family}: {fit.note}",
            *(
                "–" if value is None else f"{value:,.2f}"
                for value in (fit.log_likelihood, fit.aic, fit.bic)
            ),
            f"{fit.count:,}",
            f"{100 * one.best_fits[fit.family]:.0f} %" if fit.family in one.best_fits else "–",
        ]
        for fit in one.fits
    ]
    return table(columns, rows)
