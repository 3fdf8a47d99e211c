"""Networks trained and judged on tiles."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tile_files import bright_task, write_bright

from swath import spaces
from swath.core.errors import RecipeError
from swath.core.seeds import derive
from swath.estimators.trained import TrainedEstimator
from swath.spaces.base import InputSpec, OutputSpec
from swath.training.loop import TrainingSettings, train

OPTIONS: dict[str, Any] = {
    "backbone": {
        "depth": 4, "w_0": 16, "w_a": 10, "w_m": 1.4, "group_width": 8, "stem_width": 16,
    }
}  # fmt: skip
TRAINING = TrainingSettings(
    iterations=2, window=16, batch=2, validate_every=1, optimiser="adamw", learning_rate=0.01
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bright(tmp_path / "tiles", size=(32, 36))


def estimator(folder: Path, **changes: Any) -> TrainedEstimator:
    given: dict[str, Any] = {
        "space": "seg101",
        "task": functools.partial(bright_task, folder),
        "space_options": OPTIONS,
        "training": TRAINING,
        "device": "cpu",
    }
    return TrainedEstimator(**given | changes)


def test_the_score_is_the_mean_iou_of_the_trained_network(folder: Path, tmp_path: Path) -> None:
    space = spaces.create("seg101", **OPTIONS)
    architecture = space.sample(np.random.default_rng(0))
    found = estimator(folder).evaluate(architecture, seed=4)
    task = bright_task(folder)
    torch.manual_seed(derive(4, "network"))
    network = space.build_dense(architecture, InputSpec(3), OutputSpec(2))
    best = train(network, task, TRAINING, seed=derive(4, "training"), folder=tmp_path / "t").network
    truth, answer = [], []
    with torch.no_grad():
        for number in range(2):
            image, labels = task.read("validation", number)
            truth.append(labels.numpy().ravel())
            answer.append(best(image[None]).argmax(1).numpy().ravel())
    true, said = np.concatenate(truth), np.concatenate(answer)
    ious = [((true == c) & (said == c)).sum() / ((true == c) | (said == c)).sum() for c in range(2)]
    assert found.score == pytest.approx(np.mean(ious))
    assert found.metrics["validation_oa"] == pytest.approx((true == said).mean())
    assert found.direction == "maximize"


def test_test_masks_do_not_count(folder: Path, tmp_path: Path) -> None:
    """Other masks of the test images give the same score."""
    import rasterio
    from tile_files import write

    space = spaces.create("seg101", **OPTIONS)
    architecture = space.sample(np.random.default_rng(1))
    first = estimator(folder).evaluate(architecture)
    task = bright_task(folder)
    for number in np.unique(task.tiles.groups[task.split.test]):
        mask = task.tiles.images[number].mask
        with rasterio.open(mask) as file:
            turned = 255 - file.read(1)
        write(mask, turned)
    other = bright_task(folder)
    assert np.array_equal(other.split.test, task.split.test)
    again = estimator(folder, task=other).evaluate(architecture)
    assert (again.score, again.metrics) == (first.score, first.metrics)


@pytest.mark.parametrize("space", ["nasbench201", "hytas"])
def test_networks_that_answer_for_a_patch_are_refused(folder: Path, space: str) -> None:
    made = estimator(folder, space=space, space_options={})
    architecture = spaces.create(space).sample(np.random.default_rng(0))
    with pytest.raises(RecipeError, match=rf"space '{space}' answer for a patch.*such as seg101"):
        made.evaluate(architecture)
    with pytest.raises(RecipeError, match=r"each pixel of a tile has a class"):
        made.cost(architecture)
