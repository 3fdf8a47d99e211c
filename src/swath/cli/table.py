"""Commands on tables: list, info, query, convert."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swath.cli.files import check_outputs
from swath.cli.output import facts, show, table
from swath.core.errors import RecipeError

if TYPE_CHECKING:
    from swath.estimators.tables import Column, Table

__all__ = ["app", "space_options"]

app = typer.Typer(
    help="Tables of trained architectures: list, describe, query them; make one of a CSV file.",
    no_args_is_help=True,
)

_Name = Annotated[
    str, typer.Argument(help="A table of 'swath table list', or a file.", metavar="NAME|FILE")
]


@app.command("list")
def list_tables() -> None:
    """List the published tables that are known by name, and which are on this machine."""
    from swath.estimators.tables import KNOWN, table_files

    rows = [(name, one.about, "yes" if table_files(name) else "no") for name, one in KNOWN.items()]
    show(table(("name", "table", "here"), rows))
    typer.echo(
        "\n'swath table info NAME' tells more, 'swath table convert' makes one of a CSV file."
    )


@app.command("info")
def info(name: _Name) -> None:
    """Describe a table: its space, its columns, and what has to be known of its figures."""
    from swath.estimators.tables import load_table

    made = load_table(name)
    facts(
        [
            ("table", made.name),
            ("space", made.space.name),
            ("architectures", _how_many(made)),
            *(("made from", f"{file} (SHA-256 {sha[:16]}...)") for file, sha in _sources(made)),
            *(("note", note) for note in made.notes),
        ]
    )
    typer.echo()
    _show_columns(made)


@app.command("query")
def query(
    name: _Name,
    architecture: Annotated[
        str,
        typer.Argument(
            help="As JSON, as gene=value,..., or as the space writes its own: arch_str of "
            "nasbench201, digits of nasbenchmacro.",
            metavar="ARCHITECTURE",
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option(help="This figure alone, at each of its budgets.", metavar="NAME"),
    ] = None,
) -> None:
    """Print what a table knows of an architecture."""
    from swath.estimators.tables import load_table, read_architecture

    made = load_table(name)
    columns = list(made.columns.values())
    if metric is not None and metric not in made.columns:
        made.budgets(metric)  # says what there is where there is no such metric
    if metric is not None:
        columns = [one for one in columns if metric in (one.name, one.metric)]
    row = made.row(read_architecture(made.space, architecture))
    facts([(one.name, _figure(float(one.values[row]), one)) for one in columns])


@app.command("convert")
def convert(
    file: Annotated[
        Path, typer.Argument(help="With a header and a line an architecture.", metavar="CSV")
    ],
    space: Annotated[
        str, typer.Option(help="The search space, one of 'swath spaces'.", metavar="NAME")
    ],
    score: Annotated[
        list[str],
        typer.Option(
            help="A column that tells how good a network is; again for more. The first is what a "
            "study takes.",
            metavar="[METRIC=]COLUMN[:BUDGET][:minimize]",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The file to write.", metavar="FILE")],
    architecture: Annotated[
        str | None,
        typer.Option(
            help="The column that holds architectures; without it each gene has a column.",
            metavar="COLUMN",
        ),
    ] = None,
    cost: Annotated[
        list[str] | None,
        typer.Option(
            help="The column of parameters, flops, seconds or latency.", metavar="COST=COLUMN"
        ),
    ] = None,
    duplicates: Annotated[
        str,
        typer.Option(
            help="Of several lines of one architecture take the mean or the first, or refuse.",
            metavar="refuse|mean|first",
        ),
    ] = "refuse",
    option: Annotated[
        list[str] | None,
        typer.Option(help="An option of the space; again for more.", metavar="NAME=VALUE"),
    ] = None,
) -> None:
    """Make a table of a CSV file, for 'table' as the estimator of a study."""
    from swath import spaces
    from swath.estimators.tables import ScoreColumn, convert_csv, write_table

    check_outputs([out], [file])
    made = convert_csv(
        file,
        spaces.create(space, **space_options(option)),
        [ScoreColumn.parse(text) for text in score],
        architecture=architecture,
        costs=dict(_pairs(cost, "--cost COST=COLUMN")),
        duplicates=duplicates,  # type: ignore[arg-type]  # checked there
        name=out.stem,
    )
    write_table(made, out)
    facts(
        [
            ("table", str(out)),
            ("architectures", _how_many(made)),
            *(("note", note) for note in made.notes),
        ]
    )
    typer.echo()
    _show_columns(made)


def space_options(texts: Sequence[str] | None) -> dict[str, Any]:
    """Return options of a space that are written as NAME=VALUE.

    Raises
    ------
    RecipeError : one is written in another way, or its value is no YAML.
    """
    from swath.study.settings import parse_override

    found: dict[str, Any] = {}
    for name, value in _pairs(texts, "--option NAME=VALUE"):
        found |= parse_override(f"{name}={value}")
    return found


def _how_many(made: Table) -> str:
    size = made.space.size()
    if made.complete:
        return f"{len(made):,}, all of the space"
    missing = f"{size - len(made):,}" if size < 1e9 else f"{size - len(made):.4g}"
    return f"{len(made):,} of {size:.4g}; {missing} are missing, a search leaves them out"


def _sources(made: Table) -> Sequence[tuple[str, str]]:
    return list(made.sources.items())


def _show_columns(made: Table) -> None:
    import numpy as np

    rows = []
    for one in made.columns.values():
        known = one.values[~np.isnan(one.values)]
        rows.append(
            (
                one.name,
                one.role,
                "large" if one.direction == "maximize" else "small",
                one.unit,
                f"{len(known):,}",
                f"{known.min():.6g}",
                f"{known.max():.6g}",
                one.description,
            )
        )
    show(
        table(
            ("column", "kind", "good is", "unit", "known", "least", "most", ""),
            rows,
            right=(4, 5, 6),
        )
    )


def _figure(value: float, column: Column) -> str:
    if math.isnan(value):
        return "not known"
    if value.is_integer() and abs(value) < 1e15:
        return f"{value:.0f}"
    return f"{value:.6g}{' ' + column.unit if column.unit not in ('', 'fraction') else ''}"


def _pairs(texts: Sequence[str] | None, form: str) -> list[tuple[str, str]]:
    pairs = []
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise RecipeError(f"'{text}' is not of the form {form}")
        pairs.append((name, value))
    return pairs
