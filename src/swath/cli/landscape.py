"""The command that measures the landscape of a search problem."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swath.cli import options
from swath.cli.files import check_outputs, study_files
from swath.cli.output import facts, resumable, say, show, table
from swath.cli.scores import words
from swath.core.errors import RecipeError

if TYPE_CHECKING:
    from swath.landscape.footprint import Footprint
    from swath.landscape.neighbours import Neighbourhood

__all__ = ["landscape"]

_MEASURES = "The measures"
_FILES = "Files"


def landscape(
    sources: Annotated[
        list[str],
        typer.Argument(
            help="Tables of 'swath table list' or their files, run folders of studies or of "
            "searches with a supernet, files of 'swath score', recipes of studies, or files of "
            "--json. Several are compared, with or without the word 'compare' before them.",
            metavar="SOURCE...",
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option(help="What fitness is, of tables (their first).", metavar="NAME"),
    ] = None,
    budget: Annotated[
        int | None, typer.Option(help="At which budget (the largest).", metavar="N")
    ] = None,
    columns: Annotated[
        str | None,
        typer.Option(
            help="Landscapes of these figures of the same models beside it: proxies, parameters, "
            "flops and the like, with wildcards.",
            metavar="LIST",
        ),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(
            help="Where the study of a recipe among the sources is run, or continued.",
            metavar="FOLDER",
        ),
    ] = None,
    neighbourhood: Annotated[
        str | None,
        typer.Option(
            help="Who neighbours whom: what the space says (of whole spaces), the models with the "
            "fewest other genes (of parts), or those whose encoding differs in one place.",
            **options.one_of("space", "nearest", "encoding"),
        ),
    ] = None,
    nearest: Annotated[
        int, typer.Option(help="How many nearest are neighbours.", min=1, metavar="N")
    ] = 20,
    walks: Annotated[
        int,
        typer.Option(help="Random walks.", min=1, metavar="N", rich_help_panel=_MEASURES),
    ] = 30,
    steps: Annotated[
        int,
        typer.Option(
            help="Steps of a walk; the papers take 100.",
            min=1,
            metavar="N",
            rich_help_panel=_MEASURES,
        ),
    ] = 1000,
    rounds: Annotated[
        int,
        typer.Option(
            help="Rounds of climbs that estimate the number of optima.",
            min=1,
            metavar="N",
            rich_help_panel=_MEASURES,
        ),
    ] = 16,
    starts: Annotated[
        int,
        typer.Option(help="Climbs of a round.", min=1, metavar="N", rich_help_panel=_MEASURES),
    ] = 200,
    within: Annotated[
        float,
        typer.Option(
            help="Neighbours whose fitness differs by no more are neutral; 0.01 is a percent.",
            min=0,
            metavar="VALUE",
            rich_help_panel=_MEASURES,
        ),
    ] = 0.0,
    searches: Annotated[
        int,
        typer.Option(
            help="Searches by random search, local search and evolution, to tell how many "
            "evaluations they need for the best 1 % (0: none, for they take longest).",
            min=0,
            metavar="N",
            rich_help_panel=_MEASURES,
        ),
    ] = 0,
    resamples: Annotated[
        int,
        typer.Option(
            help="Of the bootstrap (0: no intervals).",
            min=0,
            metavar="N",
            rich_help_panel=_MEASURES,
        ),
    ] = 500,
    seed: Annotated[
        int,
        typer.Option(help="Of every draw.", min=0, metavar="N", rich_help_panel=_MEASURES),
    ] = 0,
    json: Annotated[
        Path | None,
        typer.Option(
            help="All that was found, to be compared later.",
            metavar="FILE",
            rich_help_panel=_FILES,
        ),
    ] = None,
    csv: Annotated[
        Path | None,
        typer.Option(help="The measures as a table.", metavar="FILE", rich_help_panel=_FILES),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="A page with pictures.", metavar="FILE.html", rich_help_panel=_FILES),
    ] = None,
) -> None:
    """Measure the landscape of a search problem: its footprint, with 95 % intervals.

    swath landscape nas_bench_201 --metric cifar100-test --columns parameters --out landscape.html
    swath landscape compare nas_bench_macro hytas_indian run --out landscapes.html
    """
    of_studies = [file for one in sources for file in study_files(one)]
    check_outputs([json, csv, out], [*sources, *of_studies])
    found: list[Footprint] = []
    for source in _measured(sources, run):
        if Path(source).suffix.lower() == ".json":
            from swath.landscape.footprint import read_footprints

            found += read_footprints(source)
            continue
        from swath.landscape import footprint, open_landscapes

        neighbours: Neighbourhood | None = neighbourhood  # type: ignore[assignment]
        for one in open_landscapes(
            source,
            metric,
            budget,
            columns=() if columns is None else words(columns),
            neighbourhood=neighbours,
            nearest=nearest,
        ):
            say(f"{one.name}, {one.metric}: {len(one):,} models")
            found.append(
                footprint(
                    one,
                    walks=walks,
                    steps=steps,
                    starts=starts,
                    rounds=rounds,
                    within=within,
                    resamples=resamples,
                    searches=searches,
                    seed=seed,
                )
            )
    _show(found)
    _write(found, json, csv, out)


def _measured(sources: Sequence[str], run: Path | None) -> list[str]:
    """Return the sources without the word ``compare``; recipes of studies are run first."""
    from swath.study.settings import study_names

    if sources[0] == "compare" and not Path("compare").exists():
        sources = sources[1:]
        if len(sources) < 2:
            raise RecipeError("'compare' needs two sources or more; see 'swath landscape --help'")
    recipes = [
        one
        for one in sources
        if Path(one).suffix.lower() in (".yaml", ".yml") or one in study_names()
    ]
    if run is not None and len(recipes) != 1:
        raise RecipeError(
            f"--run is the folder of one recipe, and {len(recipes) or 'none'} was given; run "
            "others with 'swath study run', and give their folders"
        )
    if not recipes:
        return list(sources)
    if run is None:
        raise RecipeError(
            f"the networks of recipe '{recipes[0]}' are not evaluated yet; give --run FOLDER, "
            "where its study is run, or continued"
        )
    from swath.cli.progress import shown
    from swath.study.conduct import run_study

    with resumable(), shown() as progress:
        run_study(recipes[0], out=run, progress=progress)
    return [str(run) if one in recipes else one for one in sources]


def _show(found: Sequence[Footprint]) -> None:
    from swath.landscape.footprint import LABELS
    from swath.report.landscape_page import best_family, cell, reasons

    if not found:
        raise RecipeError("the files hold no footprint; measure a table or a study")
    names = [name for name in LABELS if any(name in one.measures for one in found)]
    alone = found[0] if len(found) == 1 else None
    rows = []
    for name in names:
        row = [LABELS[name], *(cell(one.measures.get(name)) for one in found)]
        if alone is not None:
            measure = alone.measures[name]
            row.append("exact" if measure.exact else f"{measure.count:,} {measure.of}")
        rows.append(row)
    rows.append(["family that fits best", *map(best_family, found), *([""] if alone else [])])
    heads = ("", *(one.title for one in found), *(["of"] if alone else []))
    show(table(heads, rows, right=tuple(range(1, len(found) + 1))))
    typer.echo()
    for text in reasons(found):
        typer.echo(text)


def _write(
    found: Sequence[Footprint], json: Path | None, csv: Path | None, out: Path | None
) -> None:
    pairs = []
    if json is not None:
        from swath.landscape.footprint import write_footprints

        write_footprints(found, json)
        pairs.append(("footprints", str(json)))
    if csv is not None:
        _write_csv(found, csv)
        pairs.append(("measures", str(csv)))
    if out is not None:
        from swath.report.landscape_page import write_landscape_page

        write_landscape_page(found, out)
        pairs.append(("page", str(out)))
    if pairs:
        typer.echo()
        facts(pairs)


def _write_csv(found: Sequence[Footprint], path: Path) -> None:
    import csv
    import io

    from swath.core.files import write_text

    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = ("value", "low", "high", "count", "of", "exact", "note")
    writer.writerow(["source", "metric", "measure", *heads])
    for one in found:
        for name, measure in one.measures.items():
            values = measure.to_dict()
            row = ["" if values[head] is None else values[head] for head in heads]
            writer.writerow([one.name, one.metric, name, *row])
    write_text(path, text.getvalue())
