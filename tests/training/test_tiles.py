"""What a network is shown of tiles, and how it learns from them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tile_files import bright_task, write_set
from torch import Tensor, nn

from swath.core.errors import RecipeError
from swath.data._tile_files import read_image
from swath.networks.patchwise import Patchwise
from swath.tasks.metrics import score
from swath.tasks.prefetch import Prefetched
from swath.tasks.tiles import TileSampler, TileTask
from swath.training.batches import ahead, answers, batches, shown
from swath.training.checkpoints import load_state
from swath.training.evaluate import evaluate
from swath.training.loop import Trained, TrainingSettings, train
from swath.training.losses import LOSSES


@pytest.fixture
def task(tmp_path: Path) -> TileTask:
    return bright_task(tmp_path / "tiles")


def network(task: TileTask, seed: int = 0) -> nn.Module:
    """A small network that needs its neighbourhood, with BatchNorm, and dropout to draw."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(task.bands, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.1),
        nn.Conv2d(4, task.classes, 1),
    )


def settings(**changes: Any) -> TrainingSettings:
    given: dict[str, Any] = {
        "iterations": 12, "window": 16, "batch": 3, "optimiser": "adamw", "learning_rate": 0.01,
        "validate_every": 4,
    }  # fmt: skip
    return TrainingSettings(**given | changes)


def run(task: TileTask, folder: Path, report: Any = None, **changes: Any) -> Trained:
    given = settings(**changes)
    return train(network(task), task, given, seed=3, folder=folder, report=report)


def history(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]


def truth(task: TileTask, part: str) -> list[np.ndarray]:
    """The classes of the images of a part, read from the masks by another way."""
    import rasterio

    images = np.unique(task.tiles.groups[getattr(task.split, part)])
    found = []
    for number in images:
        with rasterio.open(task.tiles.images[number].mask) as file:
            found.append((file.read(1) == 255).astype(int))
    return found


# --- what is shown --------------------------------------------------------------------------------


def test_batches_are_crops_with_the_settings_given(task: TileTask) -> None:
    found = batches(network(task), task, 7, window=16, scales=(0.5, 1.0), orientations="horizontal")
    expected = TileSampler(task, 7, 16, (0.5, 1.0), "horizontal").batch(3, 5)
    x, y = found.batch(3, 5)
    assert x.shape == (3, 3, 16, 16)
    assert y.shape == (3, 16, 16)
    assert torch.equal(x, expected[0])
    assert torch.equal(y, expected[1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampling": "balanced"}, "drawn evenly among the tiles.*'balanced'"),
        ({"sampling": "repeated"}, "drawn evenly among the tiles.*'repeated'"),
        ({"pool": 5}, "drawn evenly among the tiles.*pool of 5"),
    ],
)
def test_what_tiles_have_no_use_for_is_refused(
    task: TileTask, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(RecipeError, match=message) as found:
        batches(network(task), task, 0, window=8, **options)
    assert "None" not in str(found.value)


def test_networks_that_answer_for_a_patch_are_refused(task: TileTask, tmp_path: Path) -> None:
    model = Patchwise(network(task), 5)
    with pytest.raises(RecipeError, match=r"each pixel of a tile has a class.*seg101"):
        batches(model, task, 0, window=8)
    with pytest.raises(RecipeError, match="each pixel of a tile has a class"):
        train(model, task, settings(), seed=0, folder=tmp_path / "run")


@pytest.mark.parametrize("memory", [0.0, 1.0])
@pytest.mark.parametrize(("tile", "remainder"), [(None, "overlap"), (20, "overlap"), (20, "pad")])
def test_every_validation_label_is_shown_once(
    tmp_path: Path, memory: float, tile: int | None, remainder: str
) -> None:
    """Overlapping and filled-up tiles show each labelled pixel of the images exactly once."""
    task = bright_task(tmp_path / "tiles", tile=tile, remainder=remainder, memory=memory)
    counted = sum(np.bincount(labels.ravel(), minlength=2) for labels in truth(task, "validation"))
    asked = torch.zeros(2, dtype=torch.int64)
    for x, y in shown(network(task), task, "validation"):
        assert x.shape[0] == y.shape[0] == 1
        assert x.shape[2:] == y.shape[1:]
        asked += torch.bincount(y[y >= 0], minlength=2)
    assert asked.tolist() == counted.tolist()


def test_whole_tiles_are_shown_as_they_are(task: TileTask) -> None:
    images = np.unique(task.tiles.groups[task.split.validation])
    expected = zip(images, truth(task, "validation"), strict=True)
    for (x, y), (number, labels) in zip(
        shown(network(task), task, "validation"), expected, strict=True
    ):
        image = task.tiles.images[number]
        stored = read_image(image, slice(0, image.rows), slice(0, image.columns))[0]
        scaled = task.scaling.apply(stored)
        np.testing.assert_allclose(x[0].numpy().transpose(1, 2, 0), scaled, rtol=1e-6)
        assert np.array_equal(y[0].numpy(), labels)


def test_answers_are_the_networks_at_each_label(task: TileTask) -> None:
    model = network(task).eval()

    def ask(inner: nn.Module, x: Tensor) -> Tensor:
        assert inner is model
        with torch.no_grad():
            logits: Tensor = inner(x)
        return logits

    logits, known = (
        torch.cat(parts) for parts in zip(*answers(model, task, "validation", ask), strict=True)
    )
    expected = truth(task, "validation")
    assert known.tolist() == np.concatenate([labels.ravel() for labels in expected]).tolist()
    with torch.no_grad():
        whole = [model(task.read("validation", n)[0][None])[0] for n in range(2)]
    by_hand = torch.cat([one.flatten(1).T for one in whole])
    torch.testing.assert_close(logits, by_hand)
    found = evaluate(model, task, "validation")
    assert found.criterion == "miou"
    predicted = by_hand.argmax(1).numpy()
    assert found.scores == score(known.numpy(), predicted, 2)
    # the mean IoU from sets of pixels
    ious = [
        np.sum((predicted == c) & (known.numpy() == c))
        / np.sum((predicted == c) | (known.numpy() == c))
        for c in range(2)
    ]
    assert found.score == pytest.approx(np.mean(ious))
    entropy = nn.functional.cross_entropy(by_hand, known).item()
    assert found.loss == pytest.approx(entropy, rel=1e-5)


@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_batches_computed_ahead_are_the_same(tmp_path: Path, memory: float) -> None:
    task = bright_task(tmp_path / "tiles", memory=memory)
    plain = batches(network(task), task, 1, window=16, scales=(0.75, 1.0, 1.5))
    with ahead(plain, task, 6) as prefetched:
        assert isinstance(prefetched, Prefetched)
        for step in range(6):
            for ours, theirs in zip(prefetched.batch(2, step), plain.batch(2, step), strict=True):
                assert torch.equal(ours, theirs)


# --- learning -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LOSSES)
def test_networks_learn_tiles_with_each_loss(task: TileTask, tmp_path: Path, name: str) -> None:
    """The target is bright: its IoU rises well above that of a map without it."""
    done = run(task, tmp_path / "run", loss=name, iterations=60, validate_every=20)
    assert done.validation.criterion == "miou"
    assert done.validation.scores.target_iou > 0.6
    images = [image[None] for image in task.test_images()]
    with torch.no_grad():
        predicted = [done.network(image).argmax(1)[0].numpy() for image in images]
    matrix = task.test_confusion(predicted)
    assert matrix[1, 1] / (matrix.sum() - matrix[0, 0]) > 0.6


def test_the_mean_iou_selects(
    task: TileTask, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A validation of less accuracy but more mean IoU is the better one."""
    from swath.tasks.metrics import scores
    from swath.training.evaluate import Validation

    matrices = [
        np.array([[90, 0], [10, 0]]),  # accuracy 0.9, mean IoU 0.45
        np.array([[78, 12], [0, 10]]),  # 0.88, 0.66
        np.array([[89, 1], [9, 1]]),  # 0.90, 0.50
    ]
    given = iter(Validation(scores(m), 1.0, "miou") for m in matrices)
    monkeypatch.setattr("swath.training.loop.evaluate", lambda *_, **__: next(given))
    done = run(task, tmp_path / "run")
    assert done.iteration == 8
    lines = history(tmp_path / "run")
    assert [line["best"] for line in lines] == [True, True, False]
    ious = [np.mean([(m[c, c]) / (m[c].sum() + m[:, c].sum() - m[c, c]) for c in range(2)])
            for m in matrices]  # fmt: skip
    assert [line["validation_miou"] for line in lines] == pytest.approx(ious)
    assert [line["validation_accuracy"] for line in lines] == pytest.approx([0.9, 0.88, 0.9])


@pytest.mark.parametrize(
    "changes",
    [{}, {"averaging": 0.9, "noise": 0.1, "scales": (0.5, 1.0), "loss": "cross-entropy+dice"}],
)
@pytest.mark.parametrize("memory", [0.0, 1.0])
def test_training_on_tiles_goes_on_as_if_nothing_had_been(
    tmp_path: Path, memory: float, changes: dict[str, Any]
) -> None:
    task = bright_task(tmp_path / "tiles", memory=memory)
    whole = run(task, tmp_path / "whole", **changes)

    class Stop(Exception):
        pass

    def stop(line: dict[str, Any]) -> None:
        if line["iteration"] == 8:
            raise Stop

    with pytest.raises(Stop):
        run(task, tmp_path / "cut", stop, **changes)
    assert load_state(tmp_path / "cut" / "checkpoint.safetensors")["iteration"] == 8
    resumed = run(task, tmp_path / "cut", **changes)
    ours, theirs = whole.network.state_dict(), resumed.network.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert resumed.validation == whole.validation
    told = [[{**line, "seconds": 0} for line in history(tmp_path / name)]
            for name in ("whole", "cut")]  # fmt: skip
    assert told[0] == told[1]
    # a finished training is returned as it is, with the score it had
    again = run(task, tmp_path / "cut", **changes)
    assert (again.validation, again.iteration) == (whole.validation, whole.iteration)


def test_tiles_of_several_sizes_and_bands(tmp_path: Path) -> None:
    top = tmp_path / "tiles"
    for n, size in enumerate([(20, 31), (33, 18), (24, 24), (40, 25), (19, 19)]):
        write_set(top / "images", top / "masks", 1, size=size, first=n)
    task = bright_task(top, test=1, validation=2)
    done = run(task, tmp_path / "run", window=32)  # larger than most tiles
    assert sum(done.validation.scores.support) == task.sizes("validation").prod(1).sum()
