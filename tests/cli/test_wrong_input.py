"""What cannot be used gives one clear line and exit status 2, and writes nothing."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

Arrays = Callable[..., tuple[Path, Path]]


@pytest.fixture
def refused(cli: Any, tmp_path: Path) -> Callable[..., str]:
    """Return a function that runs a command line, which must fail and write nothing."""

    def check(*words: object) -> str:
        before = cli.everything(tmp_path)
        result = cli(*words)
        assert result.status == 2, result.err
        assert cli.everything(tmp_path) == before
        assert result.out == ""
        return str(result.message)

    return check


# --- scenes and labels ----------------------------------------------------------------------------


def test_image_and_labels_of_different_size(
    cli: Any, refused: Any, arrays: Arrays, tmp_path: Path
) -> None:
    image, labels = arrays(labels=cli.fields(columns=25))
    message = refused(*cli.words(image, tmp_path / "out", "--labels", labels))
    assert "24 x 24" in message
    assert "24 x 25" in message


def test_mat_without_an_image_names_what_it_has(cli: Any, refused: Any, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"gt": cli.fields()})
    message = refused(*cli.words(tmp_path / "a.mat", tmp_path / "out"))
    assert "a.mat has no 3-D variable" in message
    assert "'gt' (24 x 24)" in message


def test_mat_with_several_images_names_them(cli: Any, refused: Any, tmp_path: Path) -> None:
    scipy.io.savemat(tmp_path / "a.mat", {"hsi": cli.image(), "lidar": cli.image(bands=3)})
    message = refused(*cli.words(tmp_path / "a.mat", tmp_path / "out"))
    assert "several variables" in message
    assert "'hsi' (24 x 24 x 6)" in message
    assert "'lidar' (24 x 24 x 3)" in message
    assert "--variable hsi" in message
    message = refused(*cli.words(tmp_path / "a.mat", tmp_path / "out", "--variable", "his"))
    assert "did you mean 'hsi'" in message


def test_mat_with_several_label_maps_names_them(cli: Any, refused: Any, tmp_path: Path) -> None:
    scipy.io.savemat(
        tmp_path / "a.mat", {"hsi": cli.image(), "gt": cli.fields(), "tr": cli.fields()}
    )
    words = cli.words(tmp_path / "a.mat", tmp_path / "out", "--labels", tmp_path / "a.mat")
    message = refused(*words)
    assert "'gt'" in message
    assert "'tr'" in message


def test_labels_all_zero(cli: Any, refused: Any, arrays: Arrays, tmp_path: Path) -> None:
    image, labels = arrays(labels=np.zeros((24, 24), np.uint8))
    message = refused(*cli.words(image, tmp_path / "out", "--labels", labels))
    assert "no pixel" in message
    assert "labels.npy" in message


def test_no_labels_at_all(cli: Any, refused: Any, arrays: Arrays, tmp_path: Path) -> None:
    image, _ = arrays()
    assert "--labels" in refused(*cli.words(image, tmp_path / "out"))


@pytest.mark.parametrize("split", ["random", "spatial"])
def test_a_class_with_too_few_labels_is_named_with_the_way_out(
    cli: Any, refused: Any, arrays: Arrays, tmp_path: Path, split: str
) -> None:
    few = cli.fields()
    few[few == 3] = 0
    few[5, 20:24] = 3
    image, labels = arrays(labels=few)
    message = refused(*cli.words(image, tmp_path / "out", "--labels", labels, "--split", split))
    assert "class 3" in message
    assert "4" in message
    assert "--small-classes halve" in message


def test_one_class(cli: Any, refused: Any, arrays: Arrays, tmp_path: Path) -> None:
    image, labels = arrays(labels=np.ones((24, 24), np.uint8))
    assert "one class" in refused(*cli.words(image, tmp_path / "out", "--labels", labels))


def test_labels_that_are_an_image(cli: Any, refused: Any, arrays: Arrays, tmp_path: Path) -> None:
    image, labels = arrays(labels=cli.image()[:, :, 0])
    assert "whole numbers" in refused(*cli.words(image, tmp_path / "out", "--labels", labels))


def test_useless_bands_are_dropped_with_a_note(cli: Any, arrays: Arrays, tmp_path: Path) -> None:
    cube = cli.image(bands=10)
    cube[:, :, 1] = np.nan
    cube[:, :, 3] = np.inf
    cube[:, :, 5] = 7
    cube[:, :, 7] = -9999
    cube[3, 4, 0] = np.nan
    image, labels = arrays(cube)
    result = cli.search(image, tmp_path / "out", "--labels", labels, "--nodata", -9999)
    assert result.status == 0, result.err
    (note,) = (line for line in result.err.splitlines() if line.startswith("note: dropped"))
    assert "dropped 4 of 10 bands" in note
    metrics = json.loads((tmp_path / "out/metrics.json").read_text())
    assert metrics["scene"]["bands"] == 6
    assert any("dropped 4 of 10 bands" in note for note in metrics["split"]["notes"])
    assert any("without data" in note for note in metrics["split"]["notes"])
    facts = json.loads((tmp_path / "out/best/model.json").read_text())
    assert facts["bands"] == [0, 2, 4, 6, 8, 9]


@pytest.mark.parametrize("value", [np.nan, np.inf, 7.0, -9999.0])
def test_no_usable_band(
    cli: Any, refused: Any, arrays: Arrays, tmp_path: Path, value: float
) -> None:
    image, labels = arrays(np.full((24, 24, 4), value, np.float32))
    message = refused(*cli.words(image, tmp_path / "out", "--labels", labels, "--nodata", -9999))
    assert "no band" in message


@pytest.mark.parametrize("shape", [(24, 24), (24, 24, 1)])
def test_one_band(
    cli: Any, refused: Any, arrays: Arrays, tmp_path: Path, shape: tuple[int, ...]
) -> None:
    image, labels = arrays(cli.image(bands=1).reshape(shape))
    assert "one usable band" in refused(*cli.words(image, tmp_path / "out", "--labels", labels))


def test_bands_that_are_not_there(cli: Any, refused: Any, arrays: Arrays, tmp_path: Path) -> None:
    image, labels = arrays()
    words = cli.words(image, tmp_path / "out", "--labels", labels)
    assert "0 to 5" in refused(*words, "--bands", "0-9")
    assert "cannot be read" in refused(*words, "--bands", "red")


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
def test_complex_numbers(cli: Any, refused: Any, tmp_path: Path, suffix: str) -> None:
    cube = cli.image().astype(np.complex64)
    path = tmp_path / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, cube)
    elif suffix == ".npz":
        np.savez(path, cube=cube)
    else:
        scipy.io.savemat(path, {"cube": cube})
    assert "complex numbers" in refused(*cli.words(path, tmp_path / "out"))


@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat"])
def test_objects(cli: Any, refused: Any, tmp_path: Path, suffix: str) -> None:
    cube = np.full((4, 4, 2), None, dtype=object)
    cube[...] = [1.0, "text"]
    path = tmp_path / f"image{suffix}"
    if suffix == ".npy":
        np.save(path, cube, allow_pickle=True)
    elif suffix == ".npz":
        np.savez(path, cube=cube)
    else:
        scipy.io.savemat(path, {"cube": cube})
    message = refused(*cli.words(path, tmp_path / "out"))
    assert str(path) in message


def _saved(cli: Any, path: Path) -> None:
    cube = cli.image()
    if path.suffix == ".npy":
        np.save(path, cube)
    elif path.suffix == ".npz":
        np.savez(path, cube=cube)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"cube": cube})
    elif path.suffix == ".h5":
        import h5py

        with h5py.File(path, "w") as file:
            file["cube"] = cube
    else:
        import rasterio

        rows, columns, bands = cube.shape
        with rasterio.open(path, "w", "GTiff", columns, rows, bands, dtype="float32") as file:
            file.write(np.moveaxis(cube, 2, 0))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("share", [0.0, 0.02, 0.6])
@pytest.mark.parametrize("suffix", [".npy", ".npz", ".mat", ".h5", ".tif"])
def test_truncated_files(cli: Any, refused: Any, tmp_path: Path, suffix: str, share: float) -> None:
    path = tmp_path / f"image{suffix}"
    _saved(cli, path)
    os.truncate(path, int(share * path.stat().st_size))
    np.save(tmp_path / "labels.npy", cli.fields())
    words = cli.words(path, tmp_path / "out", "--labels", tmp_path / "labels.npy")
    assert f"image{suffix}" in refused(*words)


@pytest.mark.parametrize("name", ["a.mat", "a.tif", "a.npy", "a.npz", "a.h5", "a.hdr", "a.txt"])
def test_files_of_another_type(cli: Any, refused: Any, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("Rows of text, not an image.\n" * 50)
    assert name in refused(*cli.words(tmp_path / name, tmp_path / "out"))


def test_a_folder_and_a_missing_file(cli: Any, refused: Any, tmp_path: Path) -> None:
    assert "is a folder" in refused(*cli.words(tmp_path, tmp_path / "out"))
    assert "there is no file" in refused(*cli.words(tmp_path / "no.tif", tmp_path / "out"))
    assert "salinas-a" in refused(*cli.words("salinasa", tmp_path / "out"))
    assert "no scene was given" in refused("search", "--out", tmp_path / "out")


def test_a_scene_that_is_known_but_not_here(
    cli: Any, refused: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SWATH_DATA", raising=False)
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path / "cache"))
    message = refused(*cli.words("salinas-a", tmp_path / "out"))
    assert "swath data get salinas-a" in message
    assert "SalinasA_corrected.mat" in message


# --- settings -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "search.epochz=3"], "did you mean 'epochs'"),
        (["--set", "serach.epochs=3"], "did you mean 'search'"),
        (["--set", "space.options.nods=3"], "did you mean 'nodes'"),
        (["--set", "search.epochs=many"], "search.epochs"),
        (["--set", "search.epochs=0"], "search.epochs"),
        (["--set", "search.epochs"], "section.key=value"),
        (["--set", "search.epochs=[1"], "YAML"),
        (["--space", "hsi4d"], "did you mean 'hsi3d'"),
        (["--preset", "quikc"], "quikc"),
        (["--device", "gpu"], "gpu"),
        (["--device", "cpu", "--set", "training.precision=tf32"], "use float32 or bfloat16"),
        (["--device", "cpu", "--set", "search.precision=tf32"], "use float32 or bfloat16"),
        (["--split", "spatail"], "did you mean 'spatial'"),
        (["--split", "fixed"], "train_map"),
        (["--train-map", "train.npy"], "task.train_map is of the split 'fixed'"),
        (["--test-map", "test.npy"], "task.test_map is of the split 'fixed'"),
        (["--strategy", "evolutoin"], "did you mean 'evolution'"),
        (["--strategy", "se-nass"], "did you mean 'se-nas'"),
        (["--strategy", "se-nas", "--trials", "3"], "makes no trials"),
        (["--strategy", "se-nas", "--set", "one_shot.shrinking.mesure=angle"], "'measure'"),
        (["--set", "study.strategy=se-nas"], "--strategy se-nas"),
        (["--strategy", "random", "--trials", "0"], "--trials"),
        (["--strategy", "random", "--set", "study.trails=3"], "did you mean 'trials'"),
        (["--trials", "3"], "makes no trials"),
        (["--workers", "2"], "give a strategy of 'swath strategies'"),
        (["--scaling", "maxx"], "did you mean 'max'"),
        (["--train", "many"], "--train"),
        (["--train", "0"], "--train"),
        (["--seed", "x"], "--seed"),
        (["--trian", "5"], "did you mean '--train'"),
    ],
)
def test_settings_that_do_not_exist(
    cli: Any, refused: Any, arrays: Arrays, tmp_path: Path, words: list[str], said: str
) -> None:
    image, labels = arrays()
    message = refused(*cli.words(image, tmp_path / "out", "--labels", labels), *words)
    assert said in message


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "search: [", "\x00\xff"])
def test_recipes_that_are_none(cli: Any, refused: Any, tmp_path: Path, text: str) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_bytes(text.encode("latin-1"))
    assert "recipe" in refused("search", recipe, "--out", tmp_path / "out")


@pytest.mark.parametrize(
    "content",
    [b"\x89PNG\xff\xfe", b"{", b"[]", b'{"space": "hsi3d", "genes": {"cell0.width": true}}',
     b'{"space": "hsi3d", "genes": {"cell0.width": null}}',
     b'{"space": "hsi3d", "genes": {"cell0.width": 1}}', b'{"space": "toy", "genes": {}}'],
)  # fmt: skip
def test_architectures_that_are_none(
    cli: Any, refused: Any, arrays: Arrays, tmp_path: Path, content: bytes
) -> None:
    image, labels = arrays()
    (tmp_path / "a.json").write_bytes(content)
    _, *rest = cli.words(image, tmp_path / "out", "--labels", labels)
    assert refused("train", tmp_path / "a.json", *rest)
    assert "No such file" in refused("train", tmp_path / "b.json", *rest)
    assert "no architecture was given" in refused("train", *rest)


# --- output folders -------------------------------------------------------------------------------


def test_output_below_a_file(cli: Any, refused: Any, arrays: Arrays, tmp_path: Path) -> None:
    image, labels = arrays()
    (tmp_path / "file").write_text("a file")
    for out in ("file", "file/x", "file/x/y"):
        message = refused(*cli.words(image, tmp_path / out, "--labels", labels))
        assert "is a file" in message


def test_output_that_may_not_be_written(
    cli: Any, refused: Any, arrays: Arrays, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image, labels = arrays()
    # Root may write anywhere, so the system is made to say no.
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)
    message = refused(*cli.words(image, tmp_path / "out", "--labels", labels))
    assert "may not be written" in message


def test_output_with_other_files(cli: Any, refused: Any, arrays: Arrays, tmp_path: Path) -> None:
    image, labels = arrays()
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    message = refused(*cli.words(image, tmp_path / "out", "--labels", labels))
    assert "holds other files" in message


def test_output_with_another_run(cli: Any, trained: Any, scene_file: Path) -> None:
    folder, words, _ = trained
    before = cli.everything(folder)
    result = cli(*words, "--set", "search.epochs=3")
    assert result.status == 2
    assert "holds another run" in result.message
    assert "search.epochs: there 2, here 3" in result.message
    assert cli.everything(folder) == before


# --- maps -----------------------------------------------------------------------------------------


@pytest.fixture
def unmapped(cli: Any, trained: Any, tmp_path: Path) -> Callable[..., str]:
    """Return a function that maps a cube with the tiny run, which must fail and write no map."""

    def check(cube: np.ndarray, *words: object) -> str:
        np.save(tmp_path / "other.npy", cube)
        (tmp_path / "map.tif").write_text("earlier")
        before = cli.everything(tmp_path)
        result = cli(
            "map", trained[0], tmp_path / "other.npy", "--out", tmp_path / "map.tif", *words
        )
        assert result.status == 2, result.err
        assert cli.everything(tmp_path) == before
        return str(result.message)

    return check


def _cube(scene_file: Path) -> np.ndarray:
    with np.load(scene_file) as file:
        return np.asarray(file["cube"])


@pytest.mark.parametrize("bands", [7, 9])
def test_map_with_other_bands(cli: Any, unmapped: Any, bands: int) -> None:
    message = unmapped(cli.image(bands=bands) * 10)
    assert f"{bands} bands" in message
    assert "8" in message


def test_map_with_another_scaling(unmapped: Any, scene_file: Path, trained: Any) -> None:
    message = unmapped(_cube(scene_file) / 10_000)
    assert "--any-values" in message
    log = (trained[0] / "log.jsonl").read_text().splitlines()
    assert "Traceback" in json.loads(log[-1])["traceback"]


def test_map_with_wrong_words(
    cli: Any, unmapped: Any, scene_file: Path, refused: Any, trained: Any, tmp_path: Path
) -> None:
    assert "did you mean 'plain'" in unmapped(_cube(scene_file), "--mode", "plane")
    cut = tmp_path / "cut.npy"
    np.save(cut, _cube(scene_file))
    assert "is the scene itself" in refused("map", trained[0], cut, "--out", cut)
    assert "is a file" in refused("map", trained[0], cut, "--out", cut / "map.tif")
    assert "no run folder" in refused("map", tmp_path, cut, "--out", tmp_path / "m.tif")
    assert "run" in refused("report", tmp_path)
    assert "run" in refused("report", tmp_path / "nothing")


# --- full disk ------------------------------------------------------------------------------------


@contextmanager
def no_more_than(size: int) -> Iterator[None]:
    """Let no file grow beyond ``size`` bytes, which the system reports as it does a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("size", [0, 600, 60_000])
def test_a_disk_that_fills_up_during_a_run(
    cli: Any, trained: Any, scene_file: Path, tmp_path: Path, size: int
) -> None:
    words = [tmp_path / "run" if word == trained[0] else word for word in trained[1]]
    with no_more_than(size):
        result = cli(*words)
    assert result.status == 2, result.err
    assert "cannot write" in result.message
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]
    again = cli(*words)
    assert again.status == 0, again.err
    first = json.loads((trained[0] / "metrics.json").read_text())
    second = json.loads((tmp_path / "run/metrics.json").read_text())
    assert second["confusion"] == first["confusion"]


@pytest.mark.parametrize(
    "name",
    ["search/checkpoint.safetensors", "best/architecture.json", "training/checkpoint.safetensors",
     "best/model.safetensors", "map.tif", "map.png", "metrics.json", "report.html"],
)  # fmt: skip
def test_a_disk_that_is_full_at_any_file_of_a_run(
    cli: Any, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    words = [tmp_path / "run" if word == trained[0] else word for word in trained[1]]
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if str(target).endswith(name):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        result = cli(*words)
    assert result.status == 2, result.err
    assert "the disk is full" in result.message
    assert name in result.message
    assert not (tmp_path / "run" / name).exists()
    assert not [path for path in tmp_path.rglob(".*") if path.name != ".lock"]
    log = (tmp_path / "run/log.jsonl").read_text().splitlines()
    assert json.loads(log[-1])["event"] == "failed"
    again = cli(*words)
    assert again.status == 0, again.err
    assert "continuing the run" in again.err
    first = (trained[0] / "best/model.safetensors").read_bytes()
    assert (tmp_path / "run/best/model.safetensors").read_bytes() == first


def test_a_disk_that_fills_up_during_mapping(
    cli: Any, trained: Any, scene_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "map.tif").write_text("earlier")
    with no_more_than(700):
        result = cli("map", trained[0], scene_file, "--out", tmp_path / "map.tif")
    assert result.status == 2
    assert "cannot write" in result.message
    assert cli.everything(tmp_path) == {"map.tif": b"earlier"}


def test_no_space_is_called_a_full_disk(
    cli: Any, trained: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run = tmp_path / "run"
    shutil.copytree(trained[0], run)
    before = (run / "report.html").read_bytes()
    monkeypatch.setattr(os, "replace", full)
    result = cli("report", run)
    assert result.status == 2
    assert "the disk is full" in result.message
    assert (run / "report.html").read_bytes() == before


# --- one-shot searches ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--strategy", "se-nsa"], "did you mean 'se-nas'"),
        (["--space", "nasbench101", "--strategy", "spos"], "'nasbench101' has no supernet"),
        (["--strategy", "spos", "--trials", 3], "makes no trials"),
        (["--strategy", "spos", "--set", "one_shot.retran=2"], "retrain"),
        (
            ["--strategy", "se-nas", "--set", "one_shot.shrinking.drop=0"],
            "one_shot.shrinking.drop must be at least 1",
        ),
        (
            ["--strategy", "spos", "--set", "one_shot.constraints={parameter: {max: 3}}"],
            "no constraint 'parameter'",
        ),
    ],
)
def test_one_shot_searches_that_cannot_begin(
    cli: Any, refused: Any, arrays: Arrays, tmp_path: Path, words: list[object], said: str
) -> None:
    image, labels = arrays()
    scene = ["--scene", image, "--labels", labels, "--out", tmp_path / "out"]
    message = refused("search", *scene, "--split", "random", "--train", 5, "--val", 3, *words)
    assert said in message


def test_an_unknown_preset_names_those_of_the_space(cli: Any, tmp_path: Path) -> None:
    result = cli("search", "--scene", "image.tif", "--preset", "quik", "--out", tmp_path / "x")
    assert result.status == 2
    assert "no preset 'quik' (did you mean 'quick'?); it has: paper, quick, standard" in result.err
    assert not (tmp_path / "x").exists()
