"""The demonstration: the main job end to end, on a real scene where there is one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from swath.cli.output import say
from swath.cli.runs import carry_out
from swath.core.errors import DataError

__all__ = ["demo"]

REAL, SIMULATED = "salinas-a", "demo-simulated"

# What makes the demo short: it still searches, but too little to find much.
SHORT = (
    "search.epochs=4",
    "search.warmup=1",
    "search.steps=3",
    "training.iterations=60",
    "training.validate_every=20",
)


def demo(
    context: typer.Context,
    out: Annotated[
        Path, typer.Option(help="Folder for what the demo makes.", metavar="FOLDER")
    ] = Path("demo"),
    short: Annotated[
        bool, typer.Option("--short", help="A minute or two, with a poorer network.")
    ] = False,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...", metavar="NAME")
    ] = None,
) -> None:
    """Search, train and map Salinas-A, a small real scene; a simulated one where it cannot be had.

    Given again, it continues, or shows the finished run.
    """
    folder = out / "run"
    given: dict[str, Any] = {"seed": 0}
    if device is not None:
        given["device"] = device
    run = carry_out(
        context,
        scene=_scene(folder),
        space="hsi3d",
        preset="quick",
        split="spatial",
        out=folder,
        overrides=SHORT if short else (),
        **given,
    )
    typer.echo(f"\nOpen {run.path / 'report.html'} in a browser.")


def _scene(folder: Path) -> str:
    """Return the scene of the run that is there; else Salinas-A if it can be had."""
    from swath.cli.data import fetch_scene
    from swath.data.catalogue import locate

    if (folder / "recipe.yaml").is_file():
        from swath.study.recipes import load_recipe

        task = load_recipe(folder / "recipe.yaml").get("task")
        scene = task.get("scene") if isinstance(task, dict) else None
        if scene == SIMULATED and locate(REAL).complete:
            say(
                f"note: the run in {folder} is of a SIMULATED scene; for Salinas-A, which is here "
                "now, move it away or give another --out"
            )
        if scene in (REAL, SIMULATED):
            return str(scene)
    located = locate(REAL)
    if located.complete:
        say(f"the scene is Salinas-A, from {located.image}")
        return REAL
    say("Salinas-A is not on this machine: downloading 1.5 MB from its official address")
    try:
        fetch_scene(REAL, retries=1)
    except DataError as error:
        say(f"note: {error}")
        say("note: the demo runs on a SIMULATED scene instead; its figures tell of no real scene")
        return SIMULATED
    return REAL
