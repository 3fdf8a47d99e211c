"""What commands print: results on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from pathlib import Path

    from rich.table import Table

    from swath.api import Run

__all__ = [
    "Stopped",
    "facts",
    "figure",
    "in_options",
    "resumable",
    "say",
    "show",
    "summary",
    "table",
]


class Stopped(Exception):
    """The user stopped the command; the message says how to go on."""


@contextlib.contextmanager
def resumable() -> Iterator[None]:
    """Turn an interrupt into the message that the same command continues."""
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped("stopped; the same command continues where it was") from None


def in_options(message: str) -> str:
    """Turn what a message says in Python's notation (``variable='x'``) into options."""

    def option(found: re.Match[str]) -> str:
        name, value = found[1].replace("_", "-"), found[2] or found[3]
        return f"--{name} {value}" if value else f"--{name}"

    message = message.replace(", or open it with check=False", "")
    return re.sub(
        r"\b(variable|label_variable|axes|resample_labels|small_classes|unlabelled|threshold)="
        r"(?:'([^']*)'|(\d+)|\.{3})?",
        option,
        message,
    )


def say(text: str) -> None:
    """Print a line on standard error."""
    print(text, file=sys.stderr, flush=True)


def table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()
) -> Table:
    """Return a table; ``right`` are the columns that are aligned there."""
    from rich import box
    from rich.table import Table

    made = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for index, name in enumerate(columns):
        made.add_column(name, justify="right" if index in right else "left", overflow="fold")
    for row in rows:
        made.add_row(*map(_plain, row))
    return made


def show(made: Table) -> None:
    """Print a table on standard output; it is never cut off where that is no terminal."""
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        console = Console(width=max(console.width, 160))
    console.print(made)


def facts(pairs: Sequence[tuple[str, str]]) -> None:
    """Print names and values in two columns; values are never wrapped."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        typer.echo(f"{name:<{width}}  {value}")


def figure(value: float) -> str:
    """Return a score for a table."""
    if math.isnan(value):
        return "–"
    if float(value).is_integer() and abs(value) < 1e15:
        return f"{value:,.0f}"
    return f"{value:.5g}"


def summary(run: Run) -> None:
    """Print what a finished run is worth, what it cost, and where its files are."""
    from swath.report.words import count, duration, short, together

    metrics = run.metrics
    split, cost, scene = metrics["split"], metrics["cost"], metrics["scene"]
    of_tiles = "tiles" in scene
    unit = "tiles" if of_tiles else "labels"
    typer.echo(
        f"\nTest accuracy of {scene['name']}{' (simulated)' if scene['simulated'] else ''}, "
        f"{split['protocol']} split, {count(split['train'])} training and "
        f"{count(split['test'])} test {unit}:\n"
    )
    show(_tile_figures(metrics) if of_tiles else _map_figures(metrics))
    typer.echo()
    facts(
        [
            (
                "network",
                f"{count(cost['parameters'])} parameters{together(cost.get('members'))}, "
                f"{short(cost['flops_per_pixel'])} FLOPs a pixel",
            ),
            (
                "time",
                f"search {duration(cost['search_seconds'])}, "
                * bool(cost["search_seconds"])
                + f"training {duration(cost['train_seconds'])}, {'test' if of_tiles else 'map'} "
                f"{duration(cost['map_seconds'])}",
            ),
            *files(run.path),
        ]
    )


def _map_figures(metrics: Mapping[str, Any]) -> Table:
    from swath.report.words import percent, plain

    modes = metrics["test_modes"]
    return table(
        ("map mode", "OA", "AA", "kappa"),
        [
            (
                f"{mode} (map.tif)" if mode == metrics["map_mode"] and len(modes) > 1 else mode,
                percent(scores["oa"]),
                percent(scores["aa"]),
                plain(scores["kappa"]),
            )
            for mode, scores in modes.items()
        ],
        right=(1, 2, 3),
    )


def _tile_figures(metrics: Mapping[str, Any]) -> Table:
    from swath.report.words import percent

    columns = {
        "mIoU": "miou",
        f"IoU of {metrics['classes'][1]['name']}": "iou_target",
        "FWIoU": "fwiou",
        "PA": "oa",
        "MPA": "aa",
    }
    row = [percent(metrics["test"].get(key)) for key in columns.values()]
    return table(tuple(columns), [row], right=range(len(columns)))


def files(folder: Path) -> list[tuple[str, str]]:
    """Return the files of a run that a person opens, of those that are there."""
    names = {"map": "map.tif", "picture": "map.png", "report": "report.html"}
    return [(what, str(folder / name)) for what, name in names.items() if (folder / name).exists()]


def _plain(text: Any) -> str:
    from rich.markup import escape

    return escape(str(text))
