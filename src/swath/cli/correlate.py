"""The command that holds scores against what was measured."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swath.cli import options
from swath.cli.files import check_outputs, study_files
from swath.cli.output import facts, say, show, table
from swath.cli.scores import words
from swath.core.errors import RecipeError, nearest

if TYPE_CHECKING:
    from swath.estimators.rank_correlation import Estimate, RankCorrelation
    from swath.study.scoring import Measured

__all__ = ["correlate"]


def correlate(
    tables: Annotated[
        list[str] | None,
        typer.Option(
            "--table",
            help="A table of 'swath table list', or a file; again for more.",
            metavar="NAME|FILE",
        ),
    ] = None,
    study: Annotated[
        str | None,
        typer.Option(help="A study, in place of a table.", metavar="FOLDER|URL"),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="What was measured (the table's first).", metavar="NAME"),
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(help="Scores of the table or file, with wildcards (all).", metavar="LIST"),
    ] = None,
    scores: Annotated[
        Path | None,
        typer.Option(help="Scores of your own, as 'swath score' writes them.", metavar="FILE"),
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Correlate with these factors of the architectures too, with wildcards: genes "
            "that are numbers, how often an operator occurs, depth and widths.",
            metavar="LIST",
        ),
    ] = None,
    resamples: Annotated[
        int, typer.Option(help="Of the bootstrap (0: no intervals).", min=0, metavar="N")
    ] = 500,
    seed: Annotated[int, typer.Option(help="Of the bootstrap.", min=0, metavar="N")] = 0,
    csv: Annotated[
        Path | None, typer.Option(help="The figures as a CSV file.", metavar="FILE")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(help="Folder of pictures.", metavar="FOLDER")
    ] = None,
    kind: Annotated[
        str, typer.Option("--format", help="Of the pictures.", **options.one_of("png", "svg"))
    ] = "png",
) -> None:
    """Tell how well scores rank networks that were trained, with 95 % intervals.

    Parameters, operations, and of spectral transformers depth and width, always stand first: a
    proxy that ranks no better than these tells nothing new.

    swath correlate --table hytas_indian --columns 'snip,synflow'
    """
    check_outputs(
        [csv, None if plots is None else plots / f"relations.{kind}"],
        [*(tables or ()), scores, *([] if study is None else study_files(study))],
    )
    several = _measured(tables or (), study, metric, scores)
    if columns is not None:
        several = [one.only(words(columns)) for one in several]
    found = []
    for place, one in enumerate(several):
        if not one.scores:
            raise RecipeError(f"{one.name} has no scores; give --scores FILE of 'swath score'")
        if one.values.size > 4000 and resamples:
            say(f"{len(one.scores)} scores of {one.values.size:,} networks; --resamples 0 is quick")
        figures = one.correlations(resamples=resamples, seed=seed)
        if place:
            typer.echo()
        _show(one, figures)
        if by is not None:
            _show_factors(one, words(by))
        found.append(figures)
    written = [] if plots is None else _plot(several, found, plots, kind)
    if csv is not None:
        _write(several, found, csv)
    if csv is not None or written:
        typer.echo()
        pairs = [] if csv is None else [("figures", str(csv))]
        facts(pairs + [("picture", str(path)) for path in written])


def _measured(
    tables: Sequence[str], study: str | None, metric: str | None, scores: Path | None
) -> list[Measured]:
    from swath.estimators.scored import read_scores
    from swath.estimators.tables import load_table
    from swath.study.scoring import of_study, of_table

    if study is not None:
        if tables or metric is not None:
            raise RecipeError("--study has its own objective; leave out --table and --metric")
        from swath.study.conduct import open_study

        opened = open_study(study)
        return [of_study(opened, None if scores is None else read_scores(scores))]
    if not tables:
        raise RecipeError("give --table NAME of 'swath table list', or --study FOLDER")
    own = None if scores is None else read_scores(scores)
    return [of_table(load_table(name), metric, own) for name in tables]


def _show(one: Measured, found: Mapping[str, RankCorrelation]) -> None:
    rows = max(figures.rows for figures in found.values())
    better = "large" if one.direction == "maximize" else "small"
    typer.echo(f"{one.name}: {rows:,} networks, {one.metric} ({better} is good)\n")
    lines = [
        (
            name,
            "trivial" if name in one.rivals else "",
            "small" if one.directions.get(name) == "minimize" else "large",
            _with_interval(figures.spearman),
            _with_interval(figures.kendall),
            _with_interval(figures.top_tenth, share=True),
            _with_interval(figures.top_50, share=True),
            "" if figures.rows == rows else f"{figures.rows:,}",
        )
        for name, figures in found.items()
    ]
    gaps = any(line[-1] for line in lines)
    heads = ("score", "", "good is", "Spearman", "Kendall", "of best 10 %", "of best 50", "known")
    width = len(heads) if gaps else len(heads) - 1
    show(table(heads[:width], [line[:width] for line in lines], right=(3, 4, 5, 6, 7)))


def _show_factors(one: Measured, patterns: Sequence[str]) -> None:
    """Show Spearman's correlation of each factor with what was measured and with each score."""
    import fnmatch

    from swath.estimators.rank_correlation import spearman_matrix

    names: dict[str, None] = {}
    for pattern in patterns:
        exact = pattern in one.factors
        matching = [pattern] if exact else fnmatch.filter(one.factors, pattern)
        if not matching:
            raise RecipeError(
                f"{one.name} has no factor '{pattern}'{nearest(pattern, one.factors)}; it has: "
                f"{', '.join(one.factors) or 'none that is a number'}"
            )
        names |= dict.fromkeys(matching)
    scores = {key: values for key, values in one.scores.items() if key not in names}
    matrix = spearman_matrix(
        {"measured": one.values, **scores, **{f"by {name}": one.factors[name] for name in names}}
    )[: len(scores) + 1, len(scores) + 1 :]
    typer.echo("\nSpearman's correlation with the factors of the architectures:\n")
    rows = [
        (name, *map(_number, line))
        for name, line in zip((one.metric, *scores), matrix, strict=True)
    ]
    show(table(("", *names), rows, right=tuple(range(1, len(names) + 1))))


def _with_interval(estimate: Estimate, share: bool = False) -> str:
    if math.isnan(estimate.value):
        return "–"
    said = [
        _percent(x) if share else _number(x) for x in (estimate.value, estimate.low, estimate.high)
    ]
    unit = " %" if share else ""
    return said[0] + unit if math.isnan(estimate.low) else f"{said[0]}{unit} [{said[1]}, {said[2]}]"


def _number(value: float) -> str:
    return "–" if math.isnan(value) else f"{value:.3f}"


def _percent(value: float) -> str:
    return f"{100 * value:.0f}"


def _write(
    several: Sequence[Measured], found: Sequence[Mapping[str, RankCorrelation]], path: Path
) -> None:
    import csv
    import io

    from swath.core.files import write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    kinds = ("spearman", "kendall", "top_tenth", "top_50")
    bounds = [f"{kind}{end}" for kind in kinds for end in ("", "_low", "_high")]
    writer.writerow(["measured", "metric", "score", "trivial", "direction", "networks", *bounds])
    for one, figures in zip(several, found, strict=True):
        for name, correlation in figures.items():
            estimates = [getattr(correlation, kind) for kind in kinds]
            numbers = [x for e in estimates for x in (e.value, e.low, e.high)]
            writer.writerow(
                [
                    *(one.name, one.metric, name, int(name in one.rivals)),
                    *(one.directions.get(name, "maximize"), correlation.rows),
                    *("" if math.isnan(x) else repr(x) for x in numbers),
                ]
            )
    write_text(path, text.getvalue())


def _plot(
    several: Sequence[Measured],
    found: Sequence[Mapping[str, RankCorrelation]],
    folder: Path,
    kind: str,
) -> list[Path]:
    import numpy as np

    from swath.estimators.rank_correlation import LEAST_ROWS
    from swath.report.proxy_plots import plot_heat_map, plot_scatter, relations

    written = []
    folders: set[str] = set()
    for one, figures in zip(several, found, strict=True):
        place = folder / _file_name(one.name, "table", folders) if len(several) > 1 else folder
        used = {"relations", "tables"}
        for name, correlation in figures.items():
            path = place / f"{_file_name(name, 'score', used)}.{kind}"
            if correlation.rows >= LEAST_ROWS:
                written.append(plot_scatter(one, name, correlation, path))
        if len(one.scores) > 1:
            names, matrix = relations({one.metric: one.values, **one.scores})
            title = f"{one.name}: how alike scores rank"
            path = place / f"relations.{kind}"
            written.append(plot_heat_map(names, names, matrix, title, path))
    if len(several) > 1:
        names = list(dict.fromkeys(name for figures in found for name in figures))
        values = np.array(
            [[f[name].spearman.value if name in f else np.nan for f in found] for name in names]
        )
        path = folder / f"tables.{kind}"
        heads = [one.name for one in several]
        written.append(plot_heat_map(names, heads, values, "Scores against accuracy", path))
    return written


def _file_name(name: str, otherwise: str, used: set[str]) -> str:
    """Return a name that a file may have and that is not used yet; note it as used."""
    stem = re.sub(r"[^\w.@+-]+", "-", name).strip("-.") or otherwise
    numbered = (f"{stem}-{number}" for number in itertools.count(2))
    found = next(one for one in itertools.chain([stem], numbered) if one not in used)
    used.add(found)
    return found
