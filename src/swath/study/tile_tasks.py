"""The section ``task`` of a recipe where it says ``kind: tiles``, and the task it means."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from swath.core.errors import RecipeError
from swath.core.files import expanded
from swath.data.scaling import ScalingKind
from swath.study.settings import Strict

if TYPE_CHECKING:
    from swath.data.tile_set import TileSet
    from swath.tasks.tile_splits import TileSplit
    from swath.tasks.tiles import TileTask

__all__ = [
    "TileTaskSettings",
    "make_tile_task",
    "open_task_tiles",
    "prepare_tile_task",
    "split_tiles",
]

Images = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class TileTaskSettings(Strict):
    """Images whose pixels have classes: where they are, how they are cut and split.

    Parameters
    ----------
    source : a folder of images and masks (:func:`swath.data.tile_folders.find_pairs`), or the name
        of a set of ``swath data list``.  With ``masks`` the folder of images.
    masks : the folder of masks.
    classes : name of each mask value, in the order of the classes; class 1 is the target.  None:
        two values, the larger is the target (of a set by name, its published classes).
    threshold : the target is where a mask is above it; in place of ``classes``.
    names : of background and target, where ``classes`` does not name them.
    ignore : mask values that mean "no label"; None: the no-data value of the masks.
    tile : rows and columns that larger images are cut into, one number for both; None: whole
        images.
    remainder : what becomes of pixels that fill no tile; see :func:`swath.data.tile_set.cut`.
    split : "folders" (train, val, test), "random" or "spatial" by image; None: by folders where the
        source is divided into them, else random.
    test, validation, train : shares, or numbers of images; see :mod:`swath.tasks.tile_splits`.
    block : of a spatial split, in the unit of the coordinate reference system.
    scaling : see :class:`swath.data.scaling.Scaling`; "standard" and "minmax" are of each band.
    memory : gibibytes of training and validation tiles that are kept in memory; of larger sets
        tiles are read again for each batch.
    """

    kind: Literal["tiles"] = "tiles"
    source: str = ""
    masks: str | None = None
    classes: dict[int, str] | None = None
    threshold: float | None = None
    names: tuple[str, str] = ("background", "target")
    ignore: tuple[int, ...] | None = None
    tile: Images | tuple[Images, Images] | None = None
    remainder: Literal["overlap", "drop", "pad"] = "overlap"
    split: Literal["folders", "random", "spatial"] | None = None
    test: Images | Share = 0.2
    validation: Images | Share = 0.2
    train: Images | Share | None = None
    block: float | None = Field(default=None, gt=0)
    scaling: ScalingKind = "standard"
    memory: float = Field(default=2.0, ge=0)


def open_task_tiles(settings: TileTaskSettings) -> TileSet:
    """Open what a recipe calls its tiles.

    Raises
    ------
    DataError : there is no such folder, or it cannot be used.
    RecipeError : the settings name no source.
    """
    from swath.core.errors import DataError
    from swath.data.tile_catalogue import TILE_CATALOGUE, locate_tiles, where_to_put
    from swath.data.tile_folders import open_tiles

    if not settings.source:
        raise RecipeError(
            "no tiles were given; name the folder of images and masks with task.source"
        )
    source, classes = Path(settings.source), settings.classes
    known = TILE_CATALOGUE.get(settings.source.strip().lower().replace("_", "-"))
    if known is not None and settings.masks is None and not expanded(source).is_dir():
        found = locate_tiles(known.key)
        if found is None:
            raise DataError(f"{known.title} is not on this machine; {where_to_put(known)}")
        source = found
        if classes is None and settings.threshold is None:
            classes = dict(known.classes)
    return open_tiles(
        source,
        settings.masks,
        classes=classes,
        threshold=settings.threshold,
        names=settings.names,
        ignore=settings.ignore,
        tile=settings.tile,
        remainder=settings.remainder,
    )


def split_tiles(tiles: TileSet, settings: TileTaskSettings, seed: int) -> TileSplit:
    """Split tiles as a recipe says.

    Raises
    ------
    SplitError : the tiles do not allow it.
    RecipeError : a setting is of another split.
    """
    from swath.tasks.tile_splits import folder_tile_split, random_tile_split, spatial_tile_split

    way = settings.split or ("folders" if any(tiles.part_of) else "random")
    if settings.block is not None and way != "spatial":
        raise RecipeError(
            f"task.block is of the split 'spatial', but this one is '{way}'; leave it out"
        )
    if way == "folders":
        if settings.train is not None:
            raise RecipeError(
                "task.train is not for the split 'folders', whose folder says what trains; leave "
                "it out"
            )
        return folder_tile_split(tiles, seed, test=settings.test, validation=settings.validation)
    if way == "random":
        return random_tile_split(
            tiles,
            seed,
            test=settings.test,
            validation=settings.validation,
            train=settings.train,
        )
    return spatial_tile_split(
        tiles,
        seed,
        test=settings.test,
        validation=settings.validation,
        train=settings.train,
        block=settings.block,
    )


def make_tile_task(settings: TileTaskSettings, seed: int) -> TileTask:
    """Return the task of a recipe; workers call this themselves.

    Raises
    ------
    SwathError : the tiles cannot be opened, split or scaled as the settings say.
    """
    return prepare_tile_task(open_task_tiles(settings), settings, seed)


def prepare_tile_task(tiles: TileSet, settings: TileTaskSettings, seed: int) -> TileTask:
    """Return the task of open tiles, split and scaled as a recipe says.

    Raises
    ------
    SwathError : the settings do not fit the tiles.
    """
    from swath.tasks.tiles import TileTask, fit_tile_scaling

    split = split_tiles(tiles, settings, seed)
    scaling = fit_tile_scaling(tiles, split, settings.scaling)
    return TileTask(tiles, split, scaling, memory=int(settings.memory * 2**30))
