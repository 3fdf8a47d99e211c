"""The command that measures this machine and puts another's figures beside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from swath.cli.output import figure, say, show, table
from swath.core.words import counted

__all__ = ["bench"]

_WORDS = {
    "gemm_float32": "matrix product, float32, GFLOP/s",
    "gemm_bfloat16": "matrix product, bfloat16, GFLOP/s",
    "convolution_float32": "convolution, float32, GFLOP/s",
    "convolution_bfloat16": "convolution, bfloat16, GFLOP/s",
    "copy": "copy, GB/s",
    "train_float32": "training step, float32, pixels/s",
    "train_bfloat16": "training step, bfloat16, pixels/s",
    "import_seconds": "import swath, s",
}


def bench(
    compare: Annotated[
        bool,
        typer.Option("--compare", help="Show the figures of another machine beside."),
    ] = False,
    other: Annotated[
        Path | None,
        typer.Argument(
            help="With --compare: a file that --out wrote; without it, the machine of the "
            "documentation's figures.",
            metavar="FILE",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Keep the figures in this JSON file.", metavar="FILE")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Measure this machine in some seconds: products, convolutions, copies, a training step."""
    from swath.core.errors import RecipeError
    from swath.core.files import write_json
    from swath.training.speed import measured, stored

    if other is not None and not compare:
        raise RecipeError(f"'{other}' is a file to compare with; say --compare {other}")
    beside = stored(other) if compare else None
    found = measured()
    if out is not None:
        write_json(out, found)
    if as_json:
        typer.echo(json.dumps({"this": found, "other": beside} if beside else found))
        return
    say(f"{_machine(found)}")
    if beside is None:
        alone = [(words, figure(found["rates"][name])) for name, words in _WORDS.items()]
        show(table(("", "this machine"), alone, right=(1,)))
        return
    say(f"other: {_machine(beside)}")
    rows = []
    for name, words in _WORDS.items():
        here, there = found["rates"][name], beside["rates"][name]
        rows.append((words, figure(here), figure(there), f"{here / there:.2f}"))
    show(table(("", "this machine", "the other", "ratio"), rows, right=(1, 2, 3)))


def _machine(figures: dict[str, Any]) -> str:
    one = figures["machine"]
    return (
        f"{one['processor']}, {counted(one['cores'], 'core')}, "
        f"{counted(one['threads'], 'thread')}, "
        f"torch {one['torch']}, swath {one['swath']}, load {one['load_before']}"
    )
