"""The command that ranks architectures by zero-cost proxies."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swath.cli import options
from swath.cli.files import check_outputs
from swath.cli.output import facts, figure, resumable, say, show, table
from swath.cli.table import space_options as read_options
from swath.core.errors import RecipeError

if TYPE_CHECKING:
    from torch import Tensor

    from swath.core.architecture import Architecture
    from swath.estimators.proxies.base import ProxyScore
    from swath.estimators.scored import ScoreColumns
    from swath.spaces.base import SearchSpace

__all__ = ["score", "words"]

_WHICH = "The architectures"
_BATCH = "The batch"
_HOW = "How they are scored"
_OUT = "What is written"


def score(
    names: Annotated[
        str,
        typer.Option(
            "--proxies",
            help="Proxies of 'swath proxies', or wildcards such as 'zico*'; the first ranks.",
            metavar="LIST",
        ),
    ],
    space: Annotated[
        str | None,
        typer.Option(
            help="The search space, one of 'swath spaces'.", metavar="NAME", rich_help_panel=_WHICH
        ),
    ] = None,
    space_options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            help="An option of the space; again for more.",
            metavar="NAME=VALUE",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            help="Draw so many (20; of a table or file: all).",
            min=1,
            metavar="N",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    architectures: Annotated[
        Path | None,
        typer.Option(
            help="These: a JSON list, or a CSV file with a column 'architecture'.",
            metavar="FILE",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    column: Annotated[
        str,
        typer.Option(
            help="Which column of the CSV file they are in.",
            metavar="NAME",
            rich_help_panel=_WHICH,
        ),
    ] = "architecture",
    of_table: Annotated[
        str | None,
        typer.Option(
            "--table",
            help="Those of a table of 'swath table list', or of a file.",
            metavar="NAME|FILE",
            rich_help_panel=_WHICH,
        ),
    ] = None,
    bands: Annotated[
        str | None,
        typer.Option(
            help="Which bands of the scene to use, counted from 0, such as 0-102,112; without a "
            "scene, how many bands random inputs have (3).",
            metavar="LIST|N",
            rich_help_panel=_BATCH,
        ),
    ] = None,
    classes: Annotated[
        int,
        typer.Option(help="Of random labels.", min=2, metavar="N", rich_help_panel=_BATCH),
    ] = 10,
    window: Annotated[
        int | None,
        typer.Option(
            help="Side of an input in pixels (32, or the patch of the space).",
            min=1,
            metavar="N",
            rich_help_panel=_BATCH,
        ),
    ] = None,
    batch: Annotated[
        int,
        typer.Option(
            help="Samples; of a scene each class equally often.",
            min=1,
            metavar="N",
            rich_help_panel=_BATCH,
        ),
    ] = 16,
    scene: options.Scene = None,
    tiles: options.Tiles = None,
    threshold: options.Threshold = None,
    labels: options.Labels = None,
    variable: options.Variable = None,
    label_variable: options.LabelVariable = None,
    axes: options.Axes = None,
    scaling: options.Scaling = None,
    split: options.SplitName = None,
    train: options.Train = None,
    validation: options.Validation = None,
    small_classes: options.SmallClasses = None,
    train_map: options.TrainMap = None,
    test_map: options.TestMap = None,
    signs: Annotated[
        str | None,
        typer.Option(
            help="Which weights data-free proxies make positive (all).",
            rich_help_panel=_HOW,
            **options.one_of("none", "caf", "all"),
        ),
    ] = None,
    variant: Annotated[
        str,
        typer.Option(
            help="As the papers define them, or as the code of HyTAS (authors) or SEG101 does.",
            rich_help_panel=_HOW,
            **options.one_of("paper", "authors", "seg101"),
        ),
    ] = "paper",
    chunks: Annotated[
        int | None,
        typer.Option(
            help="Into how many the batch is cut, of variant seg101 (two samples each).",
            min=1,
            metavar="N",
            rich_help_panel=_HOW,
        ),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(
            help="Loss that is differentiated (cross-entropy; hardest of variant seg101).",
            metavar="NAME",
            rich_help_panel=_HOW,
        ),
    ] = None,
    inputs: Annotated[
        str,
        typer.Option(
            help="What the networks read: the batch, noise, or ones.",
            rich_help_panel=_HOW,
            **options.one_of("data", "noise", "ones"),
        ),
    ] = "data",
    transform: Annotated[
        str,
        typer.Option(
            help="Logarithm of the totals, or sum of those of attention and MLP layers.",
            rich_help_panel=_HOW,
            **options.one_of("none", "log", "log-parts"),
        ),
    ] = "none",
    seed: Annotated[
        int,
        typer.Option(help="Of every random draw.", min=0, metavar="N", rich_help_panel=_HOW),
    ] = 0,
    device: options.Device = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="All scores as CSV, for 'swath correlate'.", metavar="FILE", rich_help_panel=_OUT
        ),
    ] = None,
    plots: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures.", metavar="FOLDER", rich_help_panel=_OUT),
    ] = None,
    kind: Annotated[
        str,
        typer.Option(
            "--format",
            help="Of the pictures.",
            rich_help_panel=_OUT,
            **options.one_of("png", "svg"),
        ),
    ] = "png",
    per_layer: Annotated[
        bool,
        typer.Option(
            "--per-layer",
            help="Show the scores of each layer of the first architecture in rank.",
            rich_help_panel=_OUT,
        ),
    ] = False,
    top: Annotated[
        int,
        typer.Option(help="Rows on the screen.", min=1, metavar="N", rich_help_panel=_OUT),
    ] = 20,
) -> None:
    """Rank architectures by zero-cost proxies; nothing is trained.

    swath score --space nasbench201 --proxies synflow,naswot --count 20 --out scores.csv
    """
    from swath.cli.progress import shown
    from swath.estimators.proxies.scoring import chosen
    from swath.estimators.scored import score_architectures, write_scores

    check_outputs(
        [out, None if plots is None else plots / f"relations.{kind}"],
        [architectures, of_table, scene, labels, train_map, test_map],
    )
    asked = [one.name for one in chosen(words(names))]
    searched, given = _architectures(
        space, space_options, architectures, column, of_table, count, seed
    )
    task = {
        "scene": scene,
        "source": tiles,
        "threshold": threshold,
        "labels": labels,
        "variable": variable,
        "label_variable": label_variable,
        "axes": axes,
        "bands": bands if scene is not None else None,
        "scaling": scaling,
        "split": split,
        "train": train,
        "validation": validation,
        "small_classes": small_classes,
        "train_map": train_map,
        "test_map": test_map,
    }
    sizes = {"samples": batch, "window": window or searched.patch or 32, "seed": seed}
    x, targets, number = _batch(searched, task, bands, classes, sizes)
    with resumable(), shown() as progress:
        found = score_architectures(
            searched,
            given,
            asked,
            (x, targets),
            classes=number,
            seed=seed,
            keep=per_layer,
            device=device or "auto",
            progress=lambda done, total: progress({"phase": "score", "done": done, "total": total}),
            inputs=inputs,
            signs=signs,
            variant=variant,
            chunks=chunks,
            loss=loss,
            transform=transform,
        )
    _show_ranking(found, asked, top)
    if per_layer:
        _show_layers(found, asked)
    if out is not None:
        write_scores(found, out)
    written = [] if plots is None else _plot(found, plots, kind, asked, per_layer)
    if out is not None or written:
        typer.echo()
        pairs = [] if out is None else [("scores", str(out))]
        facts(pairs + [("picture", str(path)) for path in written])


def words(text: str) -> list[str]:
    """Return the parts of a list that is written with commas."""
    found = [part.strip() for part in text.split(",") if part.strip()]
    if not found:
        raise RecipeError("the list is empty; give names with commas between, or '*' for all")
    return found


def _architectures(
    space: str | None,
    space_options: Sequence[str] | None,
    file: Path | None,
    column: str,
    of_table: str | None,
    count: int | None,
    seed: int,
) -> tuple[SearchSpace, Sequence[Architecture]]:
    """Return the space, and what is to be scored of it."""
    from swath import spaces
    from swath.core.seeds import numpy_generator
    from swath.estimators.scored import draw_architectures, read_architectures
    from swath.estimators.tables import load_table

    if of_table is not None:
        if space is not None or file is not None:
            raise RecipeError("--table tells space and architectures; leave out the other options")
        if space_options:
            raise RecipeError(
                "--option is of a space that is named with --space; a table has its own space, so "
                "leave the option or the table out"
            )
        made = load_table(of_table)
        all_of_them: Sequence[Architecture] = made.architectures
        searched = made.space
    elif space is None:
        raise RecipeError("give --space NAME of 'swath spaces', or --table NAME")
    else:
        searched = spaces.create(space, **read_options(space_options))
        if file is None:
            return searched, draw_architectures(searched, count or 20, seed)
        all_of_them = read_architectures(file, searched, column)
    if count is None or count >= len(all_of_them):
        return searched, all_of_them
    rng = numpy_generator(seed, "architectures")
    places = rng.choice(len(all_of_them), count, replace=False)
    return searched, [all_of_them[place] for place in sorted(places)]


def _batch(
    space: SearchSpace,
    task: Mapping[str, Any],
    bands: str | None,
    classes: int,
    sizes: Mapping[str, int],
) -> tuple[Tensor, Tensor, int]:
    """Return inputs, labels and the number of classes: of a scene, of tiles, or random."""
    from swath.study.scoring import random_batch, task_batch
    from swath.tasks.scene import SceneTask
    from swath.tasks.tiles import TileTask

    told = {name: value for name, value in task.items() if value is not None}
    if "scene" not in told and "source" not in told:
        if told:
            option = next(iter(told)).replace("_", "-")
            if option == "threshold":
                raise RecipeError("--threshold is of tiles; give --tiles FOLDER too")
            raise RecipeError(f"--{option} is of a scene; give --scene FILE too, or leave it out")
        return *random_batch(space, _number_of(bands), classes, **sizes), classes
    from swath.core.seeds import derive
    from swath.study.recipes import resolve
    from swath.study.task_section import make_task

    plain = {name: str(v) if isinstance(v, Path) else v for name, v in told.items()}
    if "source" in told:
        if "scene" in told:
            raise RecipeError("a scene and tiles were given; give one of them to look at")
        plain["kind"] = "tiles"
    made = make_task(resolve({"task": plain}).task, derive(sizes["seed"], "split"))
    assert isinstance(made, SceneTask | TileTask)
    for note in made.split.notes:
        say(f"note: {note}")
    return *task_batch(made, space, **sizes), made.classes


def _number_of(bands: str | None) -> int:
    """Return how many bands random inputs are to have."""
    if bands is None:
        return 3
    if not bands.isdecimal() or int(bands) < 1:
        raise RecipeError(
            f"--bands '{bands}' is no number of bands from 1, which random inputs need; to choose "
            "bands of a scene, give --scene FILE too"
        )
    return int(bands)


def _show_ranking(found: ScoreColumns, asked: Sequence[str], top: int) -> None:
    columns = list(dict.fromkeys([*asked, "parameters", "flops"]))
    heads = [f"{name} ({'–' if found.direction(name) == 'minimize' else '+'})" for name in asked]
    heads += columns[len(asked) :]
    ranked = found.ranked(asked[0])[:top]
    rows = [
        (
            str(place),
            *(figure(float(found.columns[name][row])) for name in columns),
            " ".join(str(value) for _, value in found.architectures[row].genes),
        )
        for place, row in enumerate(ranked, 1)
    ]
    show(table(("rank", *heads, "genes"), rows, right=tuple(range(len(columns) + 1))))
    typer.echo(
        f"\n{len(ranked)} of {len(found):,} architectures by {asked[0]}; "
        "+: large is good, –: small is good."
    )


def _show_layers(found: ScoreColumns, asked: Sequence[str]) -> None:
    one = found.networks[found.ranked(asked[0])[0]]
    told = [name for name in asked if one[name].per_layer]
    layers = dict.fromkeys(layer for name in told for layer in one[name].per_layer)
    rows = [
        (layer, *(figure(one[name].per_layer.get(layer, math.nan)) for name in told))
        for layer in layers
    ]
    typer.echo("\nLayers of the first:\n" if told else "\nNo proxy tells of its layers.")
    if told:
        show(table(("layer", *told), rows, right=tuple(range(1, len(told) + 1))))


def _plot(
    found: ScoreColumns, folder: Path, kind: str, asked: Sequence[str], per_layer: bool
) -> list[Path]:
    from swath.report.proxy_plots import plot_heat_map, plot_layers, plot_parts, relations

    written = []
    if len(found) >= 3 and len(found.proxies) > 1:
        names, matrix = relations({name: found.columns[name] for name in found.proxies})
        title = f"How alike proxies rank {len(found):,} networks"
        path = folder / f"relations.{kind}"
        written.append(plot_heat_map(names, names, matrix, title, path))
    parts = {
        name: {part: found.columns[f"{name}/{part}"] for part in ("attention", "mlp")}
        for name in asked
        if f"{name}/attention" in found.columns and f"{name}/mlp" in found.columns
    }
    if parts:
        written.append(plot_parts(parts, folder / f"parts.{kind}"))
    if per_layer:
        one = found.networks[found.ranked(asked[0])[0]]
        told = {name: one[name] for name in asked if _has_layers(one[name])}
        if told:
            title = f"Layers of the first of {len(found):,} by {asked[0]}"
            written.append(plot_layers(told, folder / f"layers.{kind}", title))
    if not written:
        say("nothing to draw: that takes two proxies and three architectures, or --per-layer")
    return written


def _has_layers(score: ProxyScore) -> bool:
    """Whether there are layers to compare: two with a score, and not all zero."""
    known = [value for value in score.per_layer.values() if math.isfinite(value)]
    return len(known) > 1 and any(known)
