"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from swath.core.errors import RecipeError, nearest

__all__ = ["one_of"]

_SCENE = "The scene and its labels"
_SPLIT = "The split"
_HOW = "Search and training"
_RUN = "The run"


def one_of(*choices: str) -> dict[str, Any]:
    """Return what makes an option a choice: its notation, and a check that names the nearest."""

    def check(option: typer.CallbackParam, value: str | None) -> str | None:
        if value is not None and value not in choices:
            raise RecipeError(
                f"{option.opts[0]} cannot be '{value}'{nearest(value, choices)}; choose one of: "
                f"{', '.join(choices)}"
            )
        return value

    return {"metavar": "|".join(choices), "callback": check}


Scene = Annotated[
    str | None,
    typer.Option(
        help="The image: a file, or a name of 'swath data list'.",
        metavar="FILE|NAME",
        rich_help_panel=_SCENE,
    ),
]
Tiles = Annotated[
    Path | None,
    typer.Option(
        help="In place of a scene: a folder of images with masks.",
        metavar="FOLDER",
        rich_help_panel=_SCENE,
    ),
]
Threshold = Annotated[
    float | None,
    typer.Option(
        help="Of tiles: the target is where a mask is above it (127 for grey edges).",
        metavar="VALUE",
        rich_help_panel=_SCENE,
    ),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        help="The label map, where the image's file or the catalogue has none.",
        metavar="FILE",
        rich_help_panel=_SCENE,
    ),
]
_WHICH_ARRAY = "Which array of the file is the image."
_WHICH_AXES = "Order of the image array's axes, such as bands,rows,columns."
# Of commands that take nothing else of a scene, and so have no group of such options.
ImageVariable = Annotated[str | None, typer.Option(help=_WHICH_ARRAY, metavar="NAME")]
ImageAxes = Annotated[str | None, typer.Option(help=_WHICH_AXES, metavar="LIST")]
Variable = Annotated[
    str | None,
    typer.Option(help=_WHICH_ARRAY, metavar="NAME", rich_help_panel=_SCENE),
]
LabelVariable = Annotated[
    str | None,
    typer.Option(
        help="Which array is the label map, in the label file or else in the image's file.",
        metavar="NAME",
        rich_help_panel=_SCENE,
    ),
]
Axes = Annotated[
    str | None,
    typer.Option(help=_WHICH_AXES, metavar="LIST", rich_help_panel=_SCENE),
]
Bands = Annotated[
    str | None,
    typer.Option(
        help="Which bands to use, counted from 0, such as 0-102,112.",
        metavar="LIST",
        rich_help_panel=_SCENE,
    ),
]
Nodata = Annotated[
    float | None,
    typer.Option(
        help="The stored value of missing pixels.", metavar="VALUE", rich_help_panel=_SCENE
    ),
]
Unlabelled = Annotated[
    list[int] | None,
    typer.Option(
        help="Label value that means 'no label' (0); may be given several times.",
        metavar="VALUE",
        rich_help_panel=_SCENE,
    ),
]
ClassNames = Annotated[
    str | None,
    typer.Option(
        help="Names of label values, such as '1=water, 2=bare soil', or a text file of such lines.",
        metavar="LIST|FILE",
        rich_help_panel=_SCENE,
    ),
]
ResampleLabels = Annotated[
    str | None,
    typer.Option(
        help="Reduce labels that are finer than the image.",
        rich_help_panel=_SCENE,
        **one_of("majority"),
    ),
]
Scaling = Annotated[
    str | None,
    typer.Option(
        help="How band values are scaled.",
        rich_help_panel=_SCENE,
        **one_of("whitened", "standard", "minmax", "max", "none"),
    ),
]
SplitName = Annotated[
    str | None,
    typer.Option(
        help="Blocks with a guard band between (the default); pixels at random, which leaks; or "
        "the two maps below.",
        rich_help_panel=_SPLIT,
        **one_of("spatial", "random", "fixed"),
    ),
]
Train = Annotated[
    int | None,
    typer.Option(
        help="Training labels per class (20).", min=1, metavar="N", rich_help_panel=_SPLIT
    ),
]
Validation = Annotated[
    int | None,
    typer.Option(
        "--val",
        help="Validation labels per class (10).",
        min=1,
        metavar="N",
        rich_help_panel=_SPLIT,
    ),
]
SmallClasses = Annotated[
    str | None,
    typer.Option(
        help="What to do with classes of too few labels: refuse, take half of them, or leave the "
        "class out.",
        rich_help_panel=_SPLIT,
        **one_of("raise", "halve", "drop"),
    ),
]
Minimum = Annotated[
    int | None,
    typer.Option(
        help="Below so many labels a class is small.", min=1, metavar="N", rich_help_panel=_SPLIT
    ),
]
Block = Annotated[
    int | None,
    typer.Option(
        help="Side of the blocks in pixels (chosen to fit).",
        min=1,
        metavar="N",
        rich_help_panel=_SPLIT,
    ),
]
Guard = Annotated[
    int | None,
    typer.Option(
        help="Width of the guard band in pixels (4).", min=0, metavar="N", rich_help_panel=_SPLIT
    ),
]
TrainMap = Annotated[
    Path | None,
    typer.Option(
        help="Label map of the training pixels, of the fixed split.",
        metavar="FILE",
        rich_help_panel=_SPLIT,
    ),
]
TestMap = Annotated[
    Path | None,
    typer.Option(
        help="Label map of the test pixels, of the fixed split.",
        metavar="FILE",
        rich_help_panel=_SPLIT,
    ),
]
Space = Annotated[
    str | None,
    typer.Option(
        help="Search space (hsi3d); see 'swath spaces'.", metavar="NAME", rich_help_panel=_HOW
    ),
]
Network = Annotated[
    str | None,
    typer.Option(
        help="In place of an architecture: unet, fcn, pspnet or deeplabv3plus, to compare with.",
        metavar="NAME",
        rich_help_panel=_HOW,
    ),
]
Strategy = Annotated[
    str | None,
    typer.Option(
        help="How to search: a name of 'swath strategies'; by default as the recipe says.",
        metavar="NAME",
        rich_help_panel=_HOW,
    ),
]
Trials = Annotated[
    int | None,
    typer.Option(
        help="How many networks a strategy trains to compare them, where it makes trials.",
        min=1,
        metavar="N",
        rich_help_panel=_HOW,
    ),
]
Workers = Annotated[
    int,
    typer.Option(
        help="Processes that train them (1: none but this one).",
        min=1,
        metavar="N",
        rich_help_panel=_HOW,
    ),
]
Preset = Annotated[
    str | None,
    typer.Option(
        help="quick (minutes on two processor cores), standard (for a GPU) or paper.",
        metavar="NAME",
        rich_help_panel=_HOW,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        help="Any other setting of the recipe, such as training.iterations=500; may be given "
        "several times.",
        metavar="KEY=VALUE",
        rich_help_panel=_HOW,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(help="Of every random draw (0).", min=0, metavar="N", rich_help_panel=_HOW),
]
Device = Annotated[
    str | None,
    typer.Option(help="auto, cpu, cuda, cuda:1, ...", metavar="NAME", rich_help_panel=_HOW),
]
Out = Annotated[
    Path,
    typer.Option(
        help="Folder of the run; the same command continues what is in it.",
        metavar="FOLDER",
        rich_help_panel=_RUN,
    ),
]
