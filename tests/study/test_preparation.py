"""From settings to a task: which file a name means, and fixed splits of scenes as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.core.errors import DataError, RecipeError, SplitError
from swath.data.labels import LabelMap
from swath.data.readers import open_labels
from swath.data.scene import Scene, array_scene
from swath.study.preparation import open_task_scene, prepare_task, scene_path
from swath.study.settings import TaskSettings
from swath.tasks.scene import SceneTask

Prepare = Callable[..., SceneTask]


# --- names ----------------------------------------------------------------------------------------


def test_a_name_means_a_file_then_a_known_scene_then_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("salinas-a", "demo-simulated", "other"):
        assert scene_path(name) is None
        (tmp_path / name).mkdir()
    assert scene_path("salinas-a") is None
    assert open_task_scene(TaskSettings(scene="demo-simulated")).simulated
    with pytest.raises(DataError, match="other is a folder; give a file"):
        open_task_scene(TaskSettings(scene="other"))
    (tmp_path / "demo-simulated").rmdir()
    np.save(tmp_path / "a.npy", np.arange(24.0).reshape(2, 3, 4))
    (tmp_path / "a.npy").rename("demo-simulated")
    assert open_task_scene(TaskSettings(scene="demo-simulated")).shape == (2, 3, 4)


def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    np.save(tmp_path / "x.npy", np.arange(24.0).reshape(2, 3, 4))
    assert open_task_scene(TaskSettings(scene="~/x.npy")).shape == (2, 3, 4)
    with pytest.raises(DataError, match=r"there is no file '~nobody-here/x\.npy'"):
        open_task_scene(TaskSettings(scene="~nobody-here/x.npy"))


# --- fixed splits ---------------------------------------------------------------------------------

TRAIN_ROWS = 6


def classes(*, first: int = 1) -> np.ndarray:
    """Return two classes of 8 columns each, and a third in the last row; all pixels labelled."""
    values = np.tile(first + np.arange(16) // 8, (16, 1))
    values[-1] = first + 2
    values[0, :4] = first + 2
    return values


def scene(labels: np.ndarray | None, *, missing: tuple[int, int] | None = None) -> Scene:
    cube = np.random.default_rng(0).normal(size=(16, 16, 6))
    if missing is not None:
        cube[missing] = np.nan
    return array_scene(cube, labels, name="mine")


@pytest.fixture
def maps(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Return a function that writes the upper rows as training map and the others as test map."""

    def write(values: np.ndarray, *, unlabelled: int = 0) -> dict[str, Any]:
        upper = np.arange(16)[:, None] < TRAIN_ROWS
        for name, part in (("train", upper), ("test", ~upper)):
            np.save(tmp_path / f"{name}.npy", np.where(part, values, unlabelled))
        return {
            "split": "fixed",
            "validation": 2,
            "train_map": str(tmp_path / "train.npy"),
            "test_map": str(tmp_path / "test.npy"),
        }

    return write


@pytest.mark.parametrize("labelled", [True, False])
@pytest.mark.parametrize("row", [2, 9])
def test_pixels_without_data_are_left_out_of_the_maps(maps: Any, labelled: bool, row: int) -> None:
    """In row 2 the pixel is of the training map, in row 9 of the test map."""
    values = classes()
    settings = TaskSettings(**maps(values))
    given = scene(values if labelled else None, missing=(row, 3))
    task = prepare_task(given, settings, 0)
    whole = prepare_task(scene(values), settings, 0)
    assert "1 labels lie on pixels without data and are left out" in task.split.notes
    changed = task.split.counts(task.labels) - whole.split.counts(whole.labels)
    expected = np.zeros((3, 3), int)
    expected[0, 0 if row == 2 else 2] = -1
    np.testing.assert_array_equal(changed, expected)
    assert not any(part[row, 3] for part in (task.split.train, task.split.test))


def test_pixels_of_a_dropped_class_are_left_out_of_the_maps(maps: Any) -> None:
    values = classes()
    settings = TaskSettings(**maps(values), small_classes="drop", minimum=21)
    task = prepare_task(scene(values), settings, 0)
    assert task.labels.original == (1, 2)
    assert "left out, with fewer than 21 labels: class 3 (20)" in task.split.notes
    counts = task.split.counts(task.labels)
    assert counts.tolist() == [[6 * 8 - 4 - 2, 2, 9 * 8], [6 * 8 - 2, 2, 9 * 8]]


def test_a_kept_class_with_few_training_labels_does_not_validate_where_small_ones_drop(
    maps: Any,
) -> None:
    """As the guide says of the fixed split."""
    values = classes()
    given = maps(values) | {"validation": 5, "small_classes": "drop", "minimum": 20}
    task = prepare_task(scene(values), TaskSettings(**given), 0)
    assert task.split.counts(task.labels)[2].tolist() == [4, 0, 16]


@pytest.mark.parametrize("labelled", [True, False])
def test_maps_share_the_value_for_unlabelled(maps: Any, labelled: bool) -> None:
    values = classes(first=0)
    settings = TaskSettings(**maps(values, unlabelled=255), unlabelled=(255,))
    labels = LabelMap.from_array(values, unlabelled=(255,)) if labelled else None
    task = prepare_task(scene(None).with_labels(labels), settings, 0)
    assert task.labels.original == (0, 1, 2)
    np.testing.assert_array_equal(task.labels.values, values)
    np.testing.assert_array_equal(
        task.split.test, np.repeat(np.arange(16) >= TRAIN_ROWS, 16).reshape(16, 16)
    )


def test_united_maps_leave_pixels_of_neither_unlabelled(maps: Any) -> None:
    """Whatever the values of the classes are: here 0 and a negative one."""
    values = classes(first=-1)
    values[3, 3] = values[12, 12] = 255
    settings = TaskSettings(**maps(values, unlabelled=255), unlabelled=(255,))
    task = prepare_task(scene(None), settings, 0)
    assert task.labels.original == (-1, 0, 1)
    assert np.argwhere(task.labels.values < 0).tolist() == [[3, 3], [12, 12]]


def test_maps_with_another_value_for_unlabelled_say_what_to_do(maps: Any) -> None:
    values = classes()
    with pytest.raises(SplitError, match="say with unlabelled= which value"):
        prepare_task(scene(values), TaskSettings(**maps(values, unlabelled=255)), 0)


@pytest.mark.parametrize("split", ["spatial", "random"])
@pytest.mark.parametrize("key", ["train_map", "test_map", "train_variable", "test_variable"])
def test_maps_of_another_split_are_not_ignored(split: str, key: str) -> None:
    settings = TaskSettings(split=split, train=5, validation=3, **{key: "train.npy"})  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match=rf"task.{key} is of the split 'fixed'.* '{split}'"):
        prepare_task(scene(classes()), settings, 0)


# --- places ---------------------------------------------------------------------------------------

PLACE = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_000.0)


def write_map(path: Path, values: np.ndarray, place: tuple[float, ...]) -> str:
    import rasterio

    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        height=values.shape[0],
        width=values.shape[1],
        count=1,
        dtype="uint8",
        crs="EPSG:32633",
        transform=rasterio.Affine(*place),
    ) as file:
        file.write(values.astype(np.uint8), 1)
    return str(path)


def placed(labels: np.ndarray | None) -> Scene:
    import rasterio

    crs = rasterio.CRS.from_epsg(32633).to_wkt()
    return dataclasses.replace(scene(labels), crs=crs, transform=PLACE)


def test_the_maps_of_a_fixed_split_lie_where_the_scene_lies(tmp_path: Path) -> None:
    values = classes()
    train, test = values.copy(), values.copy()
    train[TRAIN_ROWS:], test[:TRAIN_ROWS] = 0, 0
    turned = (10.0, 0.0, 500_000.0, 0.0, 10.0, 5_000_000.0 - 160)
    elsewhere = (10.0, 0.0, 500_030.0, 0.0, -10.0, 5_000_000.0)
    settings: dict[str, Any] = {
        "scene": "x",
        "split": "fixed",
        "train_map": write_map(tmp_path / "train.tif", train, PLACE),
        "test_map": write_map(tmp_path / "test.tif", test, PLACE),
        "validation": 1,
        "small_classes": "halve",
    }
    wanted = prepare_task(placed(values), TaskSettings(**settings), 0).split
    settings["train_map"] = write_map(tmp_path / "turned.tif", train[::-1], turned)
    found = prepare_task(placed(values), TaskSettings(**settings), 0).split
    np.testing.assert_array_equal(found.train | found.validation, wanted.train | wanted.validation)
    settings["train_map"] = write_map(tmp_path / "elsewhere.tif", train, elsewhere)
    with pytest.raises(DataError, match=r"begins at .*warp the labels to the image's grid"):
        prepare_task(placed(values), TaskSettings(**settings), 0)


def test_labels_given_for_an_open_scene_lie_where_it_lies(tmp_path: Path) -> None:
    values = classes()
    turned = (10.0, 0.0, 500_000.0, 0.0, 10.0, 5_000_000.0 - 160)
    path = write_map(tmp_path / "turned.tif", values[::-1], turned)
    found = open_labels(path, scene=placed(None))
    np.testing.assert_array_equal(found.to_original(found.values), values)
    lower = (10.0, 0.0, 500_000.0, 0.0, -10.0, 5_000_040.0)
    with pytest.raises(DataError, match="begins at"):
        open_labels(write_map(tmp_path / "lower.tif", values, lower), scene=placed(None))


def test_one_class_alone_tells_how_to_have_another() -> None:
    values = np.zeros((16, 16), dtype=np.int64)
    values[4:9] = 1
    with pytest.raises(SplitError, match=r"one class to learn, class 1; .*\(0 means no label: if"):
        prepare_task(scene(values), TaskSettings(scene="x", train=2, validation=2), 0)
