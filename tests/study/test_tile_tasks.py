"""Tasks of tiles from the settings of a recipe."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tile_files import write_set

from swath.core.errors import DataError, RecipeError, SplitError
from swath.data.tile_catalogue import TILE_CATALOGUE
from swath.study.settings import Strict, resolve_as
from swath.study.tile_tasks import TileTaskSettings, make_tile_task


class Sections(Strict):
    task: TileTaskSettings


def settings(**keys: Any) -> TileTaskSettings:
    return resolve_as(Sections, [{"task": keys}]).task


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_set(
        tmp_path / "images", tmp_path / "masks", 10, ends=(".tif", ".tif"), size=(20, 18),
        placed=True,
    )  # fmt: skip
    return tmp_path


def test_a_task_of_a_folder(folder: Path) -> None:
    given = settings(
        source=str(folder), names=["land", "road"], tile=[8, 9], test=2, validation=0.25, memory=0
    )
    task = make_tile_task(given, 3)
    assert task.tiles.classes.names == ("land", "road")
    assert (task.tiles.sizes == (8, 9)).all()
    assert task.split.protocol == "random"
    assert "6 train, 2 validation, 2 test" in task.split.description
    assert not task.kept
    again = make_tile_task(TileTaskSettings(**json.loads(given.model_dump_json())), 3)
    np.testing.assert_array_equal(again.split.test, task.split.test)
    assert again.scaling == task.scaling
    assert pickle.loads(pickle.dumps(task)).tiles.fingerprint() == task.tiles.fingerprint()


def test_two_folders_classes_and_places(folder: Path) -> None:
    task = make_tile_task(
        settings(
            source=str(folder / "images"),
            masks=str(folder / "masks"),
            classes={255: "road", 0: "land"},
            split="spatial",
            block=100,
        ),
        0,
    )
    assert task.tiles.classes.original == (255, 0)
    assert task.split.protocol == "spatial"


@pytest.mark.parametrize("one", TILE_CATALOGUE.values(), ids=lambda one: one.key)
def test_published_sets_open_by_their_name(
    one: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_DATA", str(tmp_path))
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path / "cache"))
    with pytest.raises(DataError, match=f"{one.title} is not on this machine; put the folders"):
        make_tile_task(settings(source=one.key), 0)
    for n, part in enumerate(one.parts):
        top = tmp_path / one.key
        write_set(top / part.images, top / part.masks, 2, ends=one.ends, first=2 * n)
    task = make_tile_task(settings(source=one.key, tile=8, remainder="drop"), 0)
    assert task.split.protocol == "folders"
    assert task.tiles.part_of == ("train",) * 2 + ("validation",) * 2 + ("test",) * 2
    assert dict(zip(task.tiles.classes.original, task.tiles.classes.names, strict=True)) == dict(
        one.classes
    )
    assert task.tiles.classes.original[1] == 255


@pytest.mark.parametrize(
    ("keys", "error", "message"),
    [
        ({"sorce": "x"}, RecipeError, "did you mean 'source'"),
        ({"test": 0}, RecipeError, "task.test"),
        ({"test": 1.5}, RecipeError, "task.test"),
        ({"tile": 0}, RecipeError, "task.tile"),
        ({"remainder": "cut"}, RecipeError, "task.remainder"),
        ({"block": 3.0}, RecipeError, "task.block is of the split 'spatial'"),
        ({"split": "folders"}, SplitError, "no folder 'train'"),
        ({"threshold": 3, "classes": {0: "a", 255: "b"}}, DataError, "exclude each other"),
        ({"source": ""}, RecipeError, "task.source"),
        ({"source": "nowhere"}, DataError, "nowhere is no folder"),
    ],
)
def test_settings_that_make_no_sense(
    folder: Path, keys: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make_tile_task(settings(**({"source": str(folder)} | keys)), 0)


def test_folders_say_what_trains(folder: Path) -> None:
    parts = folder / "parts"
    for part in ("train", "test"):
        write_set(parts / part / "images", parts / part / "masks", 5)
    task = make_tile_task(settings(source=str(parts), validation=1), 0)
    assert "4 train, 1 validation, 5 test" in task.split.description
    with pytest.raises(RecipeError, match=r"task\.train is not for the split 'folders'"):
        make_tile_task(settings(source=str(parts), train=2), 0)


def test_real_road_tiles(swath_data: Path) -> None:
    given = settings(
        source=str(swath_data / "epfl_roads"), threshold=127, test=10, validation=10, train=40
    )
    task = make_tile_task(given, 0)
    assert [task.count(part) for part in ("train", "validation")] == [40, 10]
    assert len(list(task.test_images())) == 10
    assert len(task.scaling.offset) == 3
