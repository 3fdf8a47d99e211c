"""Commands that make runs and use them: search, train, map, report."""

from __future__ import annotations

import contextlib
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from swath.cli import options
from swath.cli.class_names import read_class_names
from swath.cli.output import Stopped, facts, resumable, say, summary
from swath.core.errors import RecipeError

if TYPE_CHECKING:
    from swath.api import Run
    from swath.mapping.prediction import MapMode

__all__ = ["carry_out", "map_scene", "report", "search", "train"]


def search(
    context: typer.Context,
    out: options.Out,
    recipe: Annotated[
        str | None,
        typer.Argument(help="A YAML file, or a name of 'swath recipes'.", metavar="RECIPE"),
    ] = None,
    scene: options.Scene = None,
    tiles: options.Tiles = None,
    threshold: options.Threshold = None,
    labels: options.Labels = None,
    variable: options.Variable = None,
    label_variable: options.LabelVariable = None,
    axes: options.Axes = None,
    bands: options.Bands = None,
    nodata: options.Nodata = None,
    unlabelled: options.Unlabelled = None,
    class_names: options.ClassNames = None,
    resample_labels: options.ResampleLabels = None,
    scaling: options.Scaling = None,
    split: options.SplitName = None,
    train: options.Train = None,
    validation: options.Validation = None,
    small_classes: options.SmallClasses = None,
    minimum: options.Minimum = None,
    block: options.Block = None,
    guard: options.Guard = None,
    train_map: options.TrainMap = None,
    test_map: options.TestMap = None,
    space: options.Space = None,
    strategy: options.Strategy = None,
    trials: options.Trials = None,
    workers: options.Workers = 1,
    preset: options.Preset = None,
    overrides: options.Overrides = None,
    seed: options.Seed = None,
    device: options.Device = None,
) -> None:
    """Search a network for a scene or for tiles, train it, measure it and write the report.

    swath search --scene image.tif --labels labels.tif --preset quick --out run
    swath search --scene image.tif --labels labels.tif --space hytas --strategy evolution --out run
    swath search --tiles folder --space seg101 --preset quick --out run
    """
    carry_out(**_given(locals()))


def train(
    context: typer.Context,
    out: options.Out,
    source: Annotated[
        Path | None,
        typer.Argument(
            help="A run, or a file with an architecture (best/architecture.json of a run).",
            metavar="RUN|FILE",
        ),
    ] = None,
    architecture: Annotated[
        Path | None, typer.Option(help="The same, as an option.", metavar="RUN|FILE")
    ] = None,
    scene: options.Scene = None,
    tiles: options.Tiles = None,
    threshold: options.Threshold = None,
    labels: options.Labels = None,
    variable: options.Variable = None,
    label_variable: options.LabelVariable = None,
    axes: options.Axes = None,
    bands: options.Bands = None,
    nodata: options.Nodata = None,
    unlabelled: options.Unlabelled = None,
    class_names: options.ClassNames = None,
    resample_labels: options.ResampleLabels = None,
    scaling: options.Scaling = None,
    split: options.SplitName = None,
    train: options.Train = None,
    validation: options.Validation = None,
    small_classes: options.SmallClasses = None,
    minimum: options.Minimum = None,
    block: options.Block = None,
    guard: options.Guard = None,
    train_map: options.TrainMap = None,
    test_map: options.TestMap = None,
    space: options.Space = None,
    network: options.Network = None,
    preset: options.Preset = None,
    overrides: options.Overrides = None,
    seed: options.Seed = None,
    device: options.Device = None,
) -> None:
    """Train a known architecture, or a known network, without a search.

    With a run, its settings are used again, and its scene or tiles where no others are given:
    swath train run --seed 1 --out again
    swath train --network unet --tiles folder --out unet
    """
    given = _given(locals())
    source = given.pop("source", None) or architecture
    given.pop("architecture", None)
    if network is not None:
        if source is not None:
            raise RecipeError(f"{source} and --network {network} were given; give one of them")
        carry_out(**given)
        return
    if source is None:
        raise RecipeError(
            "no architecture was given; name a run, or a file such as run/best/architecture.json, "
            "or give --network NAME"
        )
    if architecture is not None and source != architecture:
        raise RecipeError(f"two architectures were given, {source} and {architecture}; give one")
    carry_out(trained=source, **given)


def map_scene(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", metavar="RUN")],
    scene: Annotated[
        str,
        typer.Argument(
            help="Image of the same sensor: a file, or a name of 'swath data list'.",
            metavar="SCENE",
        ),
    ],
    out: Annotated[Path, typer.Option(help="The map, a GeoTIFF of class values.", metavar="FILE")],
    mode: Annotated[
        str | None,
        typer.Option(
            help="How windows are averaged; by default as the run did.",
            **options.one_of("plain", "windows", "ov", "ms", "ms+ov"),
        ),
    ] = None,
    png: Annotated[
        Path | None, typer.Option(help="Also a picture with a legend.", metavar="FILE")
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(help="Also a GeoTIFF of class probabilities.", metavar="FILE"),
    ] = None,
    entropy: Annotated[
        Path | None,
        typer.Option(help="Also a GeoTIFF of their entropy, in bits.", metavar="FILE"),
    ] = None,
    variable: options.ImageVariable = None,
    axes: options.ImageAxes = None,
    nodata: Annotated[
        float | None,
        typer.Option(
            help="The stored value of missing pixels, if the file does not say.", metavar="VALUE"
        ),
    ] = None,
    any_values: Annotated[
        bool,
        typer.Option("--any-values", help="Map even where values are of another scale."),
    ] = False,
    precision: Annotated[
        str | None,
        typer.Option(
            help="bfloat16 where it changes next to nothing; by default as the run did.",
            **options.one_of("float32", "bfloat16", "auto"),
        ),
    ] = None,
    context: Annotated[
        int | None,
        typer.Option(
            help="Side of what a network that looks everywhere sees at a time, in pixels.",
            min=1,
            metavar="N",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option(help="Processes that share the scene.", min=1, metavar="N")
    ] = 1,
    scheduler: Annotated[
        str | None,
        typer.Option(help="Of a Dask cluster that shares the scene.", metavar="ADDRESS"),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="auto, cpu, cuda, cuda:1, ...", metavar="NAME")
    ] = None,
) -> None:
    """Map a whole scene with the network of a run.

    swath map run image.tif --out map.tif
    """
    from swath import api
    from swath.cli.progress import shown
    from swath.report.words import duration

    written = {"map": out, "picture": png, "probabilities": probabilities, "entropy": entropy}
    targets = {name: path for name, path in written.items() if path is not None}
    opened = api.open_run(run)
    with opened.folder.failures(), shown() as progress, _nothing_kept():
        result = api.map_scene(
            opened,
            scene,
            out,
            mode=cast("MapMode | None", mode),
            check_values=not any_values,
            progress=lambda done, total: progress({"phase": "map", "done": done, "total": total}),
            png=png,
            probabilities=probabilities,
            entropy=entropy,
            workers=workers,
            scheduler=scheduler,
            context=context,
            precision=precision,
            variable=variable,
            axes=axes,
            nodata=nodata,
            device=device,
        )
    for note in result.notes:
        say(f"note: {note}")
    missing = f", {result.missing:,} without data" if result.missing else ""
    facts(
        [
            (
                "mapped",
                f"{result.pixels:,} pixels{missing}, mode {result.mode}, {result.precision}, "
                f"{duration(result.seconds)}",
            ),
            *((name, str(path)) for name, path in targets.items()),
        ]
    )


def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run.", metavar="RUN")],
    out: Annotated[
        Path | None,
        typer.Option(help="Of the page; report.html in the run by default.", metavar="FILE"),
    ] = None,
) -> None:
    """Write the report of a run again."""
    from swath.report import write_report

    facts([("report", str(write_report(run, out)))])


def carry_out(context: typer.Context, trained: Path | None = None, **given: Any) -> Run:
    """Search, or train what a run or a file holds; show the progress, and print the summary."""
    from swath import api
    from swath.cli.progress import shown

    if "unlabelled" in given:
        given["unlabelled"] = tuple(given["unlabelled"])
    if "class_names" in given:
        given["class_names"] = read_class_names(given["class_names"])
    for key in ("train_map", "test_map"):
        if key in given:
            given[key] = str(given[key])
    command = shlex.join(["swath", *(context.obj or ())])
    with resumable(), shown() as progress:
        given |= {"progress": progress, "command": command}
        run = api.search(**given) if trained is None else api.train(trained, **given)
    summary(run)
    return run


def _given(arguments: dict[str, Any]) -> dict[str, Any]:
    """Leave out options that were not given (an empty list counts as that)."""
    return {name: value for name, value in arguments.items() if value not in (None, [], ())}


@contextlib.contextmanager
def _nothing_kept() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Stopped("stopped; no map was written") from None
