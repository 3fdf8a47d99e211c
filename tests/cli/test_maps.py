"""Where maps may be written, scenes whose axes or names could mean several things, odd labels."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import yaml

Refused = Callable[..., str]


@pytest.fixture
def refused(
    cli: Any, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., str]:
    """Return a function that maps with the tiny run: it must fail at once and write nothing."""

    def computed(*_: object, **__: object) -> None:
        raise AssertionError("the map was computed")

    monkeypatch.setattr("swath.mapping.map_scene", computed)

    def check(*words: object) -> str:
        before = cli.everything(tmp_path)
        result = cli("map", trained[0], *words)
        assert result.status == 2, result.err
        assert cli.everything(tmp_path) == before
        return str(result.message)

    return check


def cube_of(scene_file: Path) -> np.ndarray:
    with np.load(scene_file) as file:
        return np.asarray(file["cube"])


def envi(folder: Path, cube: np.ndarray) -> tuple[Path, Path]:
    """Write a cube as ENVI; return data and header."""
    rows, columns, bands = cube.shape
    profile = {"driver": "ENVI", "height": rows, "width": columns, "count": bands}
    with rasterio.open(folder / "scene.img", "w", dtype=cube.dtype, **profile) as file:
        file.write(np.moveaxis(cube, 2, 0))
    return folder / "scene.img", folder / "scene.hdr"


# --- targets --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("option", ["--out", "--png", "--probabilities", "--entropy"])
def test_no_file_of_the_scene_is_written_over(
    refused: Refused, scene_file: Path, tmp_path: Path, option: str
) -> None:
    data, header = envi(tmp_path, cube_of(scene_file))
    others = [] if option == "--out" else ["--out", tmp_path / "map.tif"]
    for scene in (data, header):
        for target in (data, header):
            message = refused(scene, option, target, *others)
            assert f"{target} is the scene itself, or a file that belongs to it" in message


def test_names_that_say_another_format_are_refused(
    refused: Refused, scene_file: Path, tmp_path: Path
) -> None:
    assert "name it map.tif" in refused(scene_file, "--out", tmp_path / "map.png")
    tif = "--out", tmp_path / "map.tif"
    assert "the picture is a PNG; name it map.png" in refused(
        scene_file, *tif, "--png", tmp_path / "map.jpg"
    )
    message = refused(scene_file, *tif, "--entropy", tmp_path / "doubt.JPG")
    assert "the entropy is a GeoTIFF; name it doubt.tif" in message


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_files_beside_the_scene_are_free(
    cli: Any, trained: Any, scene_file: Path, tmp_path: Path
) -> None:
    """A map may have the scene's name with another ending, and be written again."""
    _, header = envi(tmp_path, cube_of(scene_file))
    words = ["map", trained[0], header, "--out", tmp_path / "scene.tif"]
    for _ in range(2):
        result = cli(*words, "--png", tmp_path / "scene.png")
        assert result.status == 0, result.err


def test_no_file_of_a_scene_known_by_name_is_written_over(
    refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_DATA", str(tmp_path))
    for name in ("SalinasA_corrected.mat", "SalinasA_gt.mat"):
        (tmp_path / name).write_text("")
        assert "is the scene itself" in refused("salinas-a", "--out", tmp_path / name)


@pytest.mark.parametrize("option", ["--png", "--probabilities", "--entropy"])
def test_each_part_of_a_map_has_a_file_of_its_own(
    refused: Refused, scene_file: Path, tmp_path: Path, option: str
) -> None:
    (tmp_path / "folder").mkdir()
    other = tmp_path / "folder/../map.tif"
    message = refused(scene_file, "--out", tmp_path / "map.tif", option, other)
    assert "would both be written to" in message
    assert str(other) in message


@pytest.mark.parametrize("option", ["--out", "--png", "--probabilities", "--entropy"])
def test_a_folder_is_no_map(
    refused: Refused, scene_file: Path, tmp_path: Path, option: str
) -> None:
    (tmp_path / "folder").mkdir()
    others = [] if option == "--out" else ["--out", tmp_path / "map.tif"]
    message = refused(scene_file, option, tmp_path / "folder", *others)
    assert f"cannot write {tmp_path / 'folder'}: it is a folder" in message


# --- names ----------------------------------------------------------------------------------------


def test_a_folder_of_a_scenes_name_hides_no_scene(
    cli: Any, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run of a scene may lie in a folder of the scene's name, and goes on there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo-simulated").mkdir()
    first = cli.search("demo-simulated", "demo-simulated")
    assert first.status == 0, first.err
    (tmp_path / "demo-simulated/metrics.json").unlink()
    again = cli.search("demo-simulated", "demo-simulated")
    assert again.status == 0, again.err
    assert "continuing the run" in again.err
    mapped = cli("map", "demo-simulated", "demo-simulated", "--out", "map.tif")
    assert mapped.status == 0, mapped.err


@pytest.mark.parametrize(
    ("name", "said"),
    [("salinas-a", "5,348"), ("Salinas_A", "5,348"), ("massachusetts-roads", "255 = road"),
     ("demo-simulated", "swath data simulate demo-simulated")],
)  # fmt: skip
def test_data_info_of_a_name_that_a_folder_has_too(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / name).mkdir()
    result = cli("data", "info", name)
    assert result.status == 0, result.err
    assert said in result.out


def test_a_file_comes_before_a_name(
    cli: Any, scene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save(tmp_path / "a.npy", cube_of(scene_file))
    (tmp_path / "a.npy").rename(tmp_path / "demo-simulated")
    result = cli("data", "info", "demo-simulated")
    assert result.status == 0, result.err
    assert "32 x 32 pixels, 8 bands" in result.out


# --- axes -----------------------------------------------------------------------------------------


def write_h5(path: Path, cube: np.ndarray) -> Path:
    with h5py.File(path, "w") as file:
        file["cube"] = cube
    return path


def test_axes_that_labels_told_apart_are_found_again_without_labels(
    cli: Any, tmp_path: Path
) -> None:
    """Of 30 bands, 24 rows and 28 columns, the shortest axis is that of the rows."""
    cube = np.moveaxis(cli.image(24, 28, 30), 2, 0)
    scene = write_h5(tmp_path / "scene.h5", cube)
    np.save(tmp_path / "labels.npy", cli.fields(24, 28))
    run = tmp_path / "run"
    result = cli.search(scene, run, "--labels", tmp_path / "labels.npy")
    assert result.status == 0, result.err

    def mapped(scene: Path, *words: object) -> np.ndarray:
        result = cli("map", run, scene, "--out", tmp_path / "map.tif", *words)
        assert result.status == 0, result.err
        with rasterio.open(tmp_path / "map.tif") as file:
            return np.asarray(file.read(1))

    with rasterio.open(run / "map.tif") as file:
        own = file.read(1)
    np.testing.assert_array_equal(mapped(scene), own)
    np.testing.assert_array_equal(mapped(scene, "--variable", "cube"), own)
    turned = write_h5(tmp_path / "turned.h5", np.moveaxis(cube, 0, 1))
    np.testing.assert_array_equal(mapped(turned), own)
    np.testing.assert_array_equal(mapped(turned, "--axes", "rows,bands,columns"), own)
    # Where two axes are as long as there are bands, swath does not choose.
    square = write_h5(tmp_path / "square.h5", np.concatenate([cube, cube[:, :6]], axis=1))
    words = ["map", run, square, "--out", tmp_path / "square.tif"]
    result = cli(*words)
    assert result.status == 2
    assert "more than one axis" in result.message
    assert not (tmp_path / "square.tif").exists()
    assert cli(*words, "--axes", "bands,rows,columns").status == 0
    few = write_h5(tmp_path / "few.h5", cube[:20])
    result = cli("map", run, few, "--out", tmp_path / "few.tif")
    assert "the model was trained on a scene of 30" in result.message


def test_missing_pixels_that_the_file_does_not_tell_of(
    cli: Any, trained: Any, scene_file: Path, tmp_path: Path
) -> None:
    cube = cube_of(scene_file)
    cube[:3, :4] = 65535
    np.save(tmp_path / "new.npy", cube)
    words = "map", trained[0], tmp_path / "new.npy", "--out", tmp_path / "map.tif", "--any-values"
    result = cli(*words, "--nodata", "65535")
    assert result.status == 0, result.err
    assert "12 without data" in result.out
    with rasterio.open(tmp_path / "map.tif") as file:
        empty = file.read(1) == file.nodata
    assert empty[:3, :4].all()
    assert empty.sum() == 12


def test_data_info_of_a_file_whose_axes_it_cannot_tell(cli: Any, tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["cube"] = np.random.default_rng(0).normal(size=(5, 6, 7))
    assert "axes=" in cli("data", "info", tmp_path / "x.h5").out
    told = cli("data", "info", tmp_path / "x.h5", "--axes", "rows,columns,bands").out
    assert "5 x 6 pixels, 7 bands" in told
    assert "axes=" not in told


def test_axes_are_not_for_scenes_known_by_name(refused: Refused, tmp_path: Path) -> None:
    words = ["--out", tmp_path / "map.tif", "--axes", "bands,rows,columns"]
    assert "leave it out" in refused("demo-simulated", *words)


# --- label values ---------------------------------------------------------------------------------


def test_label_values_beyond_32_bits_come_to_a_map(cli: Any, tmp_path: Path) -> None:
    large = 2**40
    np.save(tmp_path / "image.npy", cli.image())
    fields = cli.fields().astype(np.int64)
    np.save(tmp_path / "labels.npy", np.where(fields == 3, large, fields))
    result = cli.search(
        tmp_path / "image.npy", tmp_path / "run", "--labels", tmp_path / "labels.npy"
    )
    assert result.status == 0, result.err
    with rasterio.open(tmp_path / "run/map.tif") as file:
        assert file.dtypes == ("int64",)
        assert set(np.unique(file.read(1))) <= {1, 2, large}
        assert file.tags(1)["CLASSES"] == f"1,2,{large}"


# --- fixed splits ---------------------------------------------------------------------------------


def test_train_with_another_split_leaves_the_maps_behind(cli: Any, tmp_path: Path) -> None:
    values = cli.fields()
    upper = np.arange(24)[:, None] < 12
    for name, array in (
        ("image", cli.image()),
        ("train", np.where(upper, values, 0)),
        ("test", np.where(upper, 0, values)),
        ("labels", values),
    ):
        np.save(tmp_path / f"{name}.npy", array)
    maps = ["--train-map", tmp_path / "train.npy", "--test-map", tmp_path / "test.npy"]
    labels = ["--labels", tmp_path / "labels.npy"]
    run = tmp_path / "run"
    first = cli.search(tmp_path / "image.npy", run, *labels, "--split", "fixed", *maps)
    assert first.status == 0, first.err
    again = cli("train", run, "--split", "random", "--out", tmp_path / "again")
    assert again.status == 0, again.err
    task = yaml.safe_load((tmp_path / "again/recipe.yaml").read_text())["task"]
    assert (task["split"], task["train_map"], task["test_map"]) == ("random", None, None)
