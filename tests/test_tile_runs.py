"""Runs on tiles in Python: searched by trials, with a supernet, and networks to compare with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import torch
from safetensors.numpy import load_file
from tile_files import write, write_bright
from tile_runs import by_trials, comparator, with_supernet

import swath
from swath.core.errors import RecipeError, RunError, SwathError, UnknownName
from swath.study.run import RunFolder
from swath.tasks.tiles import TileTask


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bright(tmp_path_factory.mktemp("set") / "tiles", size=(32, 36))


@pytest.fixture(scope="module")
def searched(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> swath.Run:
    """A search by trials, the two best trained in full."""
    out = tmp_path_factory.mktemp("runs") / "searched"
    return by_trials(tiles, out, "study.retrain=2")


@pytest.fixture(scope="module")
def unet(tiles: Path, tmp_path_factory: pytest.TempPathFactory) -> swath.Run:
    return comparator(tiles, tmp_path_factory.mktemp("runs") / "unet")


def check_figures(run: swath.Run, tiles: Path) -> None:
    """Hold metrics.json against what was kept of the test tiles: all three are shown."""
    kept = load_file(run.path / "tiles.safetensors")
    assert {key.split(".")[0] for key in kept} == {"0", "1", "2"}
    with rasterio.open(tiles / "masks" / "t00.png") as file:
        assert set(np.unique(file.read(1))) == {0, 255}
    masks = {}
    for path in sorted((tiles / "masks").iterdir()):
        with rasterio.open(path) as file:
            masks[path.name] = (file.read(1) == 255).astype(int)
    truths = [kept[f"{n}.truth"] for n in range(3)]
    assert all(any(np.array_equal(one, mask) for mask in masks.values()) for one in truths)
    truth = np.concatenate([one.ravel() for one in truths])
    answer = np.concatenate([kept[f"{n}.prediction"].ravel() for n in range(3)])
    ious, recalls, shares = [], [], []
    for number in range(2):
        true, said = truth == number, answer == number
        ious.append((true & said).sum() / (true | said).sum())
        recalls.append((true & said).sum() / true.sum())
        shares.append(true.mean())
    test = run.metrics["test"]
    assert test["miou"] == pytest.approx(np.mean(ious))
    assert test["iou_target"] == pytest.approx(ious[1])
    assert test["fwiou"] == pytest.approx(np.dot(shares, ious))
    assert test["oa"] == pytest.approx((truth == answer).mean())
    assert test["aa"] == pytest.approx(np.mean(recalls))
    assert test["iou"] == pytest.approx(ious)
    matrix = [[int(((truth == t) & (answer == a)).sum()) for a in range(2)] for t in range(2)]
    assert run.metrics["confusion"] == matrix
    # labelled pixels by role add up to those of all masks
    for number, entry in enumerate(run.metrics["classes"]):
        total = sum((mask == number).sum() for mask in masks.values())
        assert entry["train"] + entry["validation"] + entry["test"] == total
        assert entry["test"] == (truth == number).sum()
    assert run.metrics["validation"]["miou"] <= 1


def test_a_search_by_trials_gives_a_whole_run(searched: swath.Run, tiles: Path) -> None:
    check_figures(searched, tiles)
    for name in (
        "recipe.yaml", "metrics.json", "report.html", "tiles.safetensors",
        "best/architecture.json", "best/model.json", "best/model.safetensors",
        "training/history.jsonl", "search/candidates/1/history.jsonl",
        "search/candidates/2/history.jsonl",
    ):  # fmt: skip
        assert (searched.path / name).is_file(), name
    assert not (searched.path / "map.tif").exists()
    assert (
        searched.metrics["split"] | {"train": 3, "validation": 2, "test": 3}
        == (searched.metrics["split"])
    )
    study = swath.open_study(searched.path / "search")
    assert len(study.trials) == 3
    assert searched.recipe.task.kind == "tiles"
    # the model is what labelled the test tiles
    model, network = searched.model()
    kept = load_file(searched.path / "tiles.safetensors")
    with torch.no_grad():
        for number in range(3):
            pixels = image_of(tiles, kept[f"{number}.truth"])
            scaled = torch.from_numpy(model.scaling.apply(pixels).transpose(2, 0, 1).copy())
            answer = network(scaled[None]).argmax(1)[0].numpy()
            assert np.array_equal(answer, kept[f"{number}.prediction"])


def image_of(tiles: Path, truth: np.ndarray) -> np.ndarray:
    """The image whose mask this is, float32 (rows, columns, bands)."""
    for path in sorted((tiles / "masks").iterdir()):
        with rasterio.open(path) as file:
            if np.array_equal(file.read(1) == 255, truth == 1):
                with rasterio.open(tiles / "images" / path.name) as image:
                    return image.read().transpose(1, 2, 0).astype(np.float32)
    raise AssertionError("no image has this mask")


def best_miou(history: Path) -> float:
    return max(json.loads(line)["validation_miou"] for line in history.read_text().splitlines())


def test_the_best_of_those_trained_in_full_is_taken(searched: swath.Run) -> None:
    folder = searched.path / "search" / "candidates"
    scores = [best_miou(folder / str(rank) / "history.jsonl") for rank in (1, 2)]
    assert best_miou(searched.path / "training" / "history.jsonl") == max(scores)
    ranked = list(
        dict.fromkeys(t.architecture for t in swath.open_study(searched.path / "search").ranked())
    )
    if scores[0] != scores[1]:
        assert searched.architecture == ranked[scores.index(max(scores))]
    assert searched.metrics["validation"]["miou"] == pytest.approx(max(scores))


def test_a_network_to_compare_with(unet: swath.Run, tiles: Path) -> None:
    check_figures(unet, tiles)
    assert not (unet.path / "best" / "architecture.json").exists()
    assert unet.metrics["cost"]["search_seconds"] == 0
    # it stands on the backbone of the preset's space
    assert unet.recipe.network is not None
    assert unet.recipe.network.options == {"backbone": "narrow"}
    model, _ = unet.model()
    assert model.architecture is None
    assert model.network == {"name": "unet", "options": {"backbone": "narrow"}}


def test_a_search_with_a_supernet(tiles: Path, tmp_path: Path) -> None:
    training = ("epochs=1", "steps=2", "snapshots=1", "window=16", "batch=2")
    judged = ("recalibration=2", "enumerate=1", "population=3", "generations=1", "parents=2")
    short = [f"one_shot.training.{one}" for one in training]
    short += [f"one_shot.{one}" for one in (*judged, "crossover=1")]
    run = with_supernet(tiles, tmp_path / "run", *short)
    check_figures(run, tiles)
    ranking = json.loads((run.path / "search" / "ranking.json").read_text())
    assert ranking
    assert run.architecture.space == "seg101"
    assert run.model()[0].architecture == run.architecture


def test_test_labels_are_read_once(
    tiles: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, after the model was saved; nobody asks for a test tile's mask before."""
    asked: list[bool] = []
    original, stored = TileTask.test_confusion, TileTask._stored

    def count(self: TileTask, predictions: Any) -> Any:
        asked.append((tmp_path / "run" / "best" / "model.safetensors").is_file())
        return original(self, predictions)

    def watch(self: TileTask, place: int) -> Any:
        saved = (tmp_path / "run" / "best" / "model.safetensors").is_file()
        assert saved or not self.split.test[place]
        return stored(self, place)

    monkeypatch.setattr(TileTask, "test_confusion", count)
    monkeypatch.setattr(TileTask, "_stored", watch)
    comparator(tiles, tmp_path / "run")
    assert asked == [True]


def test_the_same_call_returns_the_run_and_another_is_refused(
    unet: swath.Run, tiles: Path, tmp_path: Path
) -> None:
    before = {p: p.read_bytes() for p in unet.path.rglob("*") if p.is_file()}
    events: list[dict[str, Any]] = []
    again = comparator(tiles, unet.path, progress=events.append)
    assert again.metrics == unet.metrics
    assert [event["phase"] for event in events] == ["complete"]
    other = write_bright(tmp_path / "tiles", size=(32, 36), first=20)
    with pytest.raises(RunError, match="holds another run"):
        comparator(other, unet.path)
    with pytest.raises(RunError, match="holds another run"):
        comparator(tiles, unet.path, network="fcn")
    assert {p: p.read_bytes() for p in unet.path.rglob("*") if p.is_file()} == before


def test_a_run_goes_on_with_its_own_pixels_alone(tmp_path: Path) -> None:
    tiles = write_bright(tmp_path / "tiles", size=(32, 36))

    def stop(event: dict[str, Any]) -> None:
        if event["phase"] == "train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        comparator(tiles, tmp_path / "run", progress=stop)
    lines = (tmp_path / "run" / "training" / "history.jsonl").read_text().splitlines()
    assert len(lines) == 1
    # half-written tiles of a killed process are removed when it goes on
    half = tmp_path / "run" / ".tiles-abcdefgh.safetensors"
    half.write_bytes(b"half")
    said: list[str] = []
    run = comparator(tiles, tmp_path / "run", progress=lambda event: said.append(event["phase"]))
    assert "resume" in said
    assert not half.exists()
    check_figures(run, tiles)
    (tmp_path / "run" / "metrics.json").unlink()  # not finished: it is looked at again
    with rasterio.open(tiles / "masks" / "t00.png") as file:
        mask = file.read(1)
    write(tiles / "masks" / "t00.png", 255 - mask)
    with pytest.raises(RunError, match="begun with other"):
        comparator(tiles, tmp_path / "run")


@pytest.mark.parametrize("kind", ["png", "tif"])
@pytest.mark.parametrize("of", ["searched", "unet"])
def test_runs_map_new_images(
    request: pytest.FixtureRequest, tmp_path: Path, of: str, kind: str
) -> None:
    """The map of an image no larger than a tile is the network's answer to the whole image."""
    run: swath.Run = request.getfixturevalue(of)
    new = write_bright(tmp_path / "new", 1, size=(30, 35), end=f".{kind}", placed=kind == "tif")
    source = new / "images" / f"t00.{kind}"
    made = run.map(source, tmp_path / "map.tif", keep=True, png=tmp_path / "map.png")
    with rasterio.open(source) as file:
        pixels, crs, transform = file.read(), file.crs, file.transform
    model, network = run.model()
    scaled = model.scaling.apply(pixels.transpose(1, 2, 0).astype(np.float32))
    with torch.no_grad():
        x = torch.from_numpy(scaled.transpose(2, 0, 1).copy())[None]
        logits = network(x)[0].double()
    clear = ((logits[0] - logits[1]).abs() > 1e-4).numpy()
    assert clear.mean() > 0.9
    expected = logits.argmax(0).numpy()
    assert np.array_equal(made.indices[clear], expected[clear])
    with rasterio.open(tmp_path / "map.tif") as file:
        values = file.read(1)
        assert file.crs == crs
        if kind == "tif":
            assert file.crs.to_epsg() == 32633
            assert file.transform == transform
    assert set(np.unique(values)) <= {0, 255}
    assert np.array_equal((values == 255)[clear], (expected == 1)[clear])
    assert (tmp_path / "map.png").is_file()
    with pytest.raises(SwathError, match="4 bands"):
        run.map(write(tmp_path / "four.tif", np.zeros((9, 9, 4), np.uint8)), tmp_path / "no.tif")
    assert not (tmp_path / "no.tif").exists()


@pytest.mark.parametrize(
    ("given", "overrides", "error", "message"),
    [
        ({"network": "unett"}, (), UnknownName, "did you mean 'unet'"),
        (
            {}, ("network.options.backbone=narow",), UnknownName,
            "no RegNet 'narow' .did you mean 'narrow'",
        ),
        (
            {}, ("network.options={backbon: narrow}",), RecipeError,
            "no option 'backbon' .did you mean 'backbone'",
        ),
        ({}, ("network.options.backbone=3",), RecipeError, "must be the name of a RegNet"),
        ({"strategy": "random"}, (), RecipeError, "the network is given.*leave strategy"),
        ({"trials": 3}, (), RecipeError, "the network is given"),
        ({"workers": 2}, (), RecipeError, "workers share the trials"),
        ({"scene": "salinas-a"}, (), RecipeError, "a scene and tiles were given"),
        ({}, ("task.kind=tile",), RecipeError, "no kind of task 'tile' .did you mean 'tiles'"),
        ({}, ("task.kind=patches",), RecipeError, "swath study run"),
        ({}, ("training.loss=dise",), RecipeError, "no loss 'dise' .did you mean 'dice'"),
        ({}, ("training.orientations=none",), RecipeError, "training.orientations"),
        ({}, ("training.sampling=balanced",), RecipeError, "set training.sampling=uniform"),
        ({"labels": "a.tif"}, (), RecipeError, "tiles have masks of their own"),
        ({"bands": "0-1"}, (), RecipeError, "'bands' is of a scene, not of tiles"),
        ({"test": 5, "validation": 5}, (), SwathError, "image"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_writes_nothing(
    tiles: Path,
    tmp_path: Path,
    given: dict[str, Any],
    overrides: tuple[str, ...],
    error: type[SwathError],
    message: str,
) -> None:
    with pytest.raises(error, match=message):
        comparator(tiles, tmp_path / "run", *overrides, **given)
    assert not (tmp_path / "run").exists()


def test_a_differentiable_search_asks_for_crops_drawn_evenly(tiles: Path, tmp_path: Path) -> None:
    """The preset of hsi3d was written for scenes; what to change is said before anything begins."""
    with pytest.raises(
        RecipeError, match=r"set training\.sampling=uniform and search\.sampling=uni"
    ):
        swath.search(tiles=tiles, out=tmp_path / "run", space="hsi3d")
    even = ["training.sampling=uniform", "search.sampling=uniform", "search.pool=5"]
    with pytest.raises(RecipeError, match=r"nor a pool; set search\.pool=null$"):
        swath.search(tiles=tiles, out=tmp_path / "run", space="hsi3d", overrides=even)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("space", ["nasbench201", "hytas"])
def test_spaces_that_answer_for_a_patch_are_refused(
    tiles: Path, tmp_path: Path, space: str
) -> None:
    with pytest.raises(RecipeError, match=r"each pixel of a tile has a class.*such as seg101"):
        swath.search(tiles=tiles, out=tmp_path / "run", space=space, strategy="random", trials=2)
    assert not (tmp_path / "run").exists()


def test_workers_find_what_one_process_finds(tiles: Path, tmp_path: Path) -> None:
    runs = [
        by_trials(tiles, tmp_path / str(workers), "study.trials=2", trials=2, workers=workers)
        for workers in (1, 2)
    ]
    one, two = (swath.open_study(run.path / "search").trials for run in runs)
    assert [t.proposal for t in one] == [t.proposal for t in two]
    scores = [[t.evaluation.score for t in trials if t.evaluation] for trials in (one, two)]
    assert scores[0] == pytest.approx(scores[1])
    figures = [run.metrics["test"]["miou"] for run in runs]
    assert figures[0] == pytest.approx(figures[1])


def test_an_unfinished_folder_is_no_model(tiles: Path, tmp_path: Path) -> None:
    def stop(event: dict[str, Any]) -> None:
        if event["phase"] == "train":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        comparator(tiles, tmp_path / "run", progress=stop)
    with pytest.raises(RunError, match="no trained model yet"):
        RunFolder.open(tmp_path / "run").load_model()
