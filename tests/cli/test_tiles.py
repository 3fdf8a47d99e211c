"""Tiles on the command line: whole runs, and wrong input that gives one line and writes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tile_files import image, mask, write, write_bright
from tile_runs import SHORT, SPACE

SPLIT = ["--set", "task.test=2", "--set", "task.validation=2"]
SEARCH = [word for one in (*SPACE, *SHORT, "study.iterations=1") for word in ("--set", one)] + SPLIT
TRAIN = [w for one in SHORT for w in ("--set", one)] + SPLIT


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bright(tmp_path_factory.mktemp("set") / "fields", 7, size=(32, 36))


@pytest.fixture(scope="module")
def searched(cli: Any, tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any]:
    """The folder of a search, and what it printed."""
    out = tmp_path_factory.mktemp("runs") / "run"
    words = ["search", "--tiles", tiles, "--space", "seg101", "--strategy", "random", "--trials", 2]
    result = cli(*words, "--out", out, *SEARCH)
    assert result.status == 0, result.err
    return out, result


@pytest.fixture(scope="module")
def unet(cli: Any, tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "unet"
    result = cli("train", "--network", "unet", "--tiles", tiles, "--out", out, *TRAIN)
    assert result.status == 0, result.err
    return out


def test_search_prints_a_summary_of_tiles(searched: Any) -> None:
    out, result = searched
    metrics = json.loads((out / "metrics.json").read_text())
    lines = result.out.splitlines()
    assert any(
        "Test accuracy of fields, random split, 3 training and 2 test tiles:" in line
        for line in lines
    )
    (head,) = [n for n, line in enumerate(lines) if "FWIoU" in line]
    assert lines[head].split() == ["mIoU", "IoU", "of", "target", "FWIoU", "PA", "MPA"]
    figures = [float(word) for word in lines[head + 2].replace("%", " ").split()]
    test = metrics["test"]
    expected = [100 * test[key] for key in ("miou", "iou_target", "fwiou", "oa", "aa")]
    assert figures == pytest.approx(expected, abs=0.006)
    assert any(line.split() == ["report", str(out / "report.html")] for line in lines)
    assert not any("kappa" in line for line in lines)
    assert "7 tiles, 3 bands, 2 classes" in result.err


def test_the_same_command_says_that_it_is_complete(cli: Any, tiles: Path, unet: Path) -> None:
    before = cli.everything(unet)
    result = cli("train", "--network", "unet", "--tiles", tiles, "--out", unet, *TRAIN)
    assert result.status == 0
    assert "complete already" in result.err
    assert cli.everything(unet) == before


@pytest.mark.parametrize("kind", ["searched", "unet"])
def test_train_on_other_tiles_uses_the_settings_again(
    cli: Any, request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    found = request.getfixturevalue(kind)
    run = found[0] if kind == "searched" else found
    other = write_bright(tmp_path / "others", 6, size=(33, 35), first=30)
    result = cli("train", run, "--tiles", other, "--out", tmp_path / "again")
    assert result.status == 0, result.err
    before, after = (
        json.loads((folder / "metrics.json").read_text()) for folder in (run, tmp_path / "again")
    )
    assert after["scene"]["name"] == "others"
    assert after["split"]["test"] == before["split"]["test"] == 2
    assert after["cost"]["parameters"] == before["cost"]["parameters"]
    for name in ("architecture", "network"):
        models = [
            json.loads((f / "best/model.json").read_text()) for f in (run, tmp_path / "again")
        ]
        assert models[0][name] == models[1][name]


def test_map_of_a_new_image(cli: Any, unet: Path, tmp_path: Path) -> None:
    import rasterio

    new = write(tmp_path / "new.png", image(5, 40, 50))
    result = cli("map", unet, new, "--out", tmp_path / "map.tif", "--any-values")
    assert result.status == 0, result.err
    with rasterio.open(tmp_path / "map.tif") as file:
        assert file.shape == (40, 50)
        assert set(np.unique(file.read(1))) <= {0, 255}


def test_score_on_tiles(cli: Any, tiles: Path, tmp_path: Path) -> None:
    words = [
        "score", "--space", "seg101", "--option", SPACE[0].removeprefix("space.options."),
        "--proxies", "synflow", "--count", 2, "--batch", 2, "--window", 32,
    ]  # fmt: skip
    result = cli(*words, "--tiles", tiles)
    assert result.status == 0, result.err
    grey = write_bright(tmp_path / "grey", 5, size=(32, 36))
    write(grey / "masks" / "t00.png", mask(0, 32, 36, (0, 3, 250, 255)))
    message = cli(*words, "--tiles", grey)
    assert message.status == 2
    assert "hold 4 values (0, 3, 250, 255)" in message.message
    assert "--threshold 127" in message.message  # and that is the way out
    assert cli(*words, "--tiles", grey, "--threshold", 127).status == 0
    assert "--threshold is of tiles" in cli(*words, "--threshold", 127).message


# --- wrong input ----------------------------------------------------------------------------------


Refused = Callable[..., str]


@pytest.fixture
def refused(cli: Any, tmp_path: Path) -> Refused:
    """Return a function that searches and trains on tiles, which must fail and write nothing."""

    def check(folder: object, *more: object) -> str:
        before = cli.everything(tmp_path)
        said = set()
        for words in (
            ["search", "--space", "seg101", *SEARCH],
            ["train", "--network", "unet", *TRAIN],
        ):
            result = cli(*words, "--tiles", folder, "--out", tmp_path / "out", *more)
            assert result.status == 2, result.err
            assert result.out == ""
            said.add(result.message)
        assert cli.everything(tmp_path) == before
        assert len(said) == 1, said
        return str(said.pop())

    return check


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bright(tmp_path / "set", 6, size=(32, 36))


def test_an_image_without_mask_is_listed(refused: Refused, folder: Path) -> None:
    (folder / "masks" / "t03.png").unlink()
    message = refused(folder)
    assert "t03.png has no mask in" in message
    for n in (0, 1, 4):
        (folder / "masks" / f"t0{n}.png").unlink()
    message = refused(folder)
    assert "t00.png, t01.png, t03.png, ... (4 files) have no mask" in message


def test_sizes_that_differ(refused: Refused, folder: Path) -> None:
    write(folder / "masks" / "t02.png", mask(2, 32, 35))
    message = refused(folder)
    assert "t02.png has 32 x 36 pixels" in message
    assert "32 x 35" in message


def test_a_mask_value_of_no_class_is_named(refused: Refused, folder: Path) -> None:
    write(folder / "masks" / "t02.png", mask(2, 32, 36, (0, 77, 255)))
    message = refused(folder, "--set", "task.classes={0: land, 255: road}")
    assert "t02.png holds the value 77, which is no class (0: land, 255: road)" in message
    message = refused(folder)
    assert "hold 3 values (0, 77, 255)" in message
    assert "--threshold 127" in message


def test_a_sixteen_bit_image_in_a_set_of_eight_bits(refused: Refused, folder: Path) -> None:
    write(folder / "images" / "t04.png", image(4, 32, 36).astype(np.uint16) * 200)
    message = refused(folder)
    assert "t04.png" in message
    assert "uint16" in message
    assert "uint8" in message


@pytest.mark.parametrize("part", ["images", "masks"])
@pytest.mark.parametrize("damage", ["cut", "bytes", "text"])
def test_a_corrupt_png(refused: Refused, folder: Path, part: str, damage: str) -> None:
    path = folder / part / "t01.png"
    good = path.read_bytes()
    middle = len(good) // 2
    bad = {
        "cut": good[:middle],
        "bytes": good[: middle - 9] + bytes(9) + good[middle:],
        "text": b"this is no picture",
    }[damage]
    path.write_bytes(bad)
    assert f"{part}/t01.png" in refused(folder)


@pytest.mark.parametrize("value", [0, 255])
def test_a_set_of_one_class(refused: Refused, folder: Path, value: int) -> None:
    for path in (folder / "masks").iterdir():
        write(path, np.full((32, 36), value, np.uint8))
    assert f"hold the value {value} alone" in refused(folder)


def test_no_such_folder(refused: Refused, tmp_path: Path) -> None:
    message = refused(tmp_path / "nowhere")
    assert "nowhere is no folder" in message


def test_a_folder_of_anything_else(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "else").mkdir()
    (tmp_path / "else" / "a.txt").write_text("no tile")
    assert "'images' and 'masks'" in refused(tmp_path / "else")


def test_a_scene_and_tiles(refused: Refused, folder: Path) -> None:
    message = refused(folder, "--scene", "salinas-a")
    assert "a scene and tiles were given" in message


def test_more_images_asked_for_than_there_are(refused: Refused, folder: Path) -> None:
    assert "more than the 6 that there are" in refused(folder, "--set", "task.test=6")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("train", "--network", "unett"), "did you mean 'unet'"),
        (("train", "--netwrk", "unet"), "--network"),
        (("search", "--space", "seg10"), "did you mean 'seg101'"),
        (("search", "--space", "seg101", "--strategy", "sposs"), "did you mean"),
        (("search", "--space", "seg101", "--set", "task.treshold=3"), "did you mean 'threshold'"),
        (("search", "--space", "seg101", "--preset", "papr"), "no preset 'papr'"),
        (("train", "--network", "unet", "--set", "training.los=dice"), "did you mean 'loss'"),
        (("train", "--network", "unet", "--threshold", "grey"), "--threshold"),
    ],
)
def test_misspelt_words(
    cli: Any, folder: Path, tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    result = cli(*words, "--tiles", folder, "--out", tmp_path / "out")
    assert result.status == 2
    assert said in result.message
    assert not (tmp_path / "out").exists()


def test_a_run_and_a_network(cli: Any, folder: Path, unet: Path, tmp_path: Path) -> None:
    result = cli("train", unet, "--network", "unet", "--tiles", folder, "--out", tmp_path / "out")
    assert result.status == 2
    assert "give one of them" in result.message


def test_train_of_a_run_on_tiles_with_a_scene(cli: Any, unet: Path, tmp_path: Path) -> None:
    """The split of tiles says nothing of a scene: what the recipe has of it is left behind."""
    result = cli("train", unet, "--scene", tmp_path / "none.tif", "--out", tmp_path / "out")
    assert result.status == 2
    assert "none.tif" in result.message
    assert not (tmp_path / "out").exists()


def test_what_looks_at_the_whole_image_is_shown_windows_as_large_as_its_tiles(
    cli: Any, searched: Any, tmp_path: Path
) -> None:
    run, _ = searched
    new = write(tmp_path / "new.png", image(5, 70, 80))
    words = ["map", run, new, "--out", tmp_path / "map.tif", "--any-values"]
    result = cli(*words)
    assert result.status == 0, result.err
    assert "windows of 36 x 36 pixels" in result.err  # its tiles have 32 rows and 36 columns
    assert "published" not in result.err
    other = cli(*words, "--context", 40)
    assert "windows of 40 x 40 pixels" in other.err
