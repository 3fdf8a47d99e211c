"""One loop and one evaluation for patches too, and what is refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swath.core.errors import RecipeError
from swath.networks.patchwise import Patchwise
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.nasbench201 import NASBench201
from swath.tasks.metrics import score
from swath.tasks.patches import PatchTask
from swath.tasks.scene import SceneTask
from swath.training.batches import batches
from swath.training.evaluate import evaluate
from swath.training.loop import TrainingSettings, train

MakePatchTask = Callable[..., PatchTask]
SPACE = NASBench201(channels=4, cells=1)
SETTINGS = TrainingSettings(
    iterations=40, batch=16, optimiser="adamw", learning_rate=0.01, validate_every=10
)


def network(task: PatchTask) -> nn.Module:
    torch.manual_seed(0)
    architecture = SPACE.sample(np.random.default_rng(1))
    return SPACE.build(architecture, InputSpec(task.bands), OutputSpec(task.classes))


def test_networks_learn_patches(make_patch_task: MakePatchTask, tmp_path: Path) -> None:
    """Classes of different means are told apart: test accuracy is far above chance."""
    task = make_patch_task(120)
    done = train(network(task), task, SETTINGS, seed=0, folder=tmp_path)
    assert done.validation.scores.support == tuple(np.bincount(task.targets("validation")))
    with torch.no_grad():
        predicted = torch.cat([done.network(x).argmax(1) for x in task.test_images()]).numpy()
    matrix = task.test_confusion(predicted)
    assert np.trace(matrix) / matrix.sum() > 0.8


@pytest.mark.parametrize("memory", [0, 2**31])
def test_training_goes_on_as_if_nothing_had_been(
    make_patch_task: MakePatchTask, tmp_path: Path, memory: int
) -> None:
    task = make_patch_task(memory=memory, sensor_dropout=0.3)
    whole = train(network(task), task, SETTINGS, seed=0, folder=tmp_path / "whole").network

    class Stop(Exception):
        pass

    def stop(line: dict[str, object]) -> None:
        if line["iteration"] == 20:
            raise Stop

    with pytest.raises(Stop):
        train(network(task), task, SETTINGS, seed=0, folder=tmp_path / "cut", report=stop)
    resumed = train(network(task), task, SETTINGS, seed=0, folder=tmp_path / "cut").network
    ours, theirs = whole.state_dict(), resumed.state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("at_once", [1, 7, 1000])
def test_every_label_counts_once(
    make_patch_task: MakePatchTask, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    task = make_patch_task(70)
    model = network(task).eval()
    monkeypatch.setattr("swath.training.batches._PATCHES", at_once)
    found = evaluate(model, task, "validation")
    truth = task.targets("validation")
    with torch.no_grad():
        logits: Tensor = model(task.images("validation", np.arange(len(truth))))
    assert found.scores == score(truth, logits.argmax(1).numpy(), task.classes)
    loss = nn.functional.cross_entropy(logits, torch.from_numpy(truth)).item()
    assert found.loss == pytest.approx(loss, rel=1e-5)
    # one that was wrapped to map scenes is asked as it is inside
    assert evaluate(Patchwise(model, 3), task, "validation") == found


def test_what_is_of_scenes_is_refused(make_patch_task: MakePatchTask, tmp_path: Path) -> None:
    task = make_patch_task()
    repeated = dataclasses.replace(SETTINGS, sampling="repeated")
    with pytest.raises(RecipeError, match="'repeated' is for the patches around labels of a scene"):
        train(network(task), task, repeated, seed=0, folder=tmp_path)
    with pytest.raises(RecipeError, match="a pool of 5 holds windows"):
        batches(network(task), task, 0, window=8, pool=5)


def test_a_pool_is_for_windows(make_task: Callable[..., SceneTask]) -> None:
    with pytest.raises(RecipeError, match="a pool of 5 holds windows"):
        batches(Patchwise(nn.Identity(), 3), make_task(), 0, window=8, pool=5)
