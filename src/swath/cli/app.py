"""The commands of ``swath``."""

from __future__ import annotations

from typing import Annotated

import typer

from swath import __version__
from swath.cli import (
    bench,
    correlate,
    data,
    demo,
    landscape,
    listings,
    proxies,
    runs,
    scores,
    studies,
    table,
)

__all__ = ["app"]

app = typer.Typer(
    name="swath",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"swath {__version__}")
        raise typer.Exit


@app.callback()
def _globals(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show where an error arose (anywhere in a command).")
    ] = False,
) -> None:
    """Neural architecture search for Earth observation: a network for your scene and labels.

    A first run: swath demo --out demo
    """


app.command("search")(runs.search)
app.command("train")(runs.train)
app.command("map")(runs.map_scene)
app.command("report")(runs.report)
app.add_typer(studies.app, name="study")
app.add_typer(data.app, name="data")
app.add_typer(table.app, name="table")
app.command("score")(scores.score)
app.command("correlate")(correlate.correlate)
app.command("landscape")(landscape.landscape)
app.command("spaces")(listings.spaces)
app.command("strategies")(listings.strategies)
app.command("estimators")(listings.estimators)
app.command("proxies")(proxies.proxies)
app.add_typer(listings.recipes, name="recipes")
app.command("bench")(bench.bench)
app.command("demo")(demo.demo)
