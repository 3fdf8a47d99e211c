"""Children judged with inherited weights, against the compact child judged by itself."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from swath import spaces
from swath.estimators.inherited import Inherited, asked_as
from swath.networks.cost import count_parameters
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.supernets import create_supernet
from swath.supernets.base import Supernet
from swath.training.batches import batches
from swath.training.evaluate import evaluate, recalibrated

SPACES: dict[str, dict[str, Any]] = {
    "nasbench201": {"channels": 4, "cells": 1, "patch": 5},
    "hsi3d": {"nodes": 1, "base_width": 2, "stem_width": 3, "head_width": 4},
    "hytas": {"embed_dims": (8, 12), "min_depth": 2, "max_depth": 3, "heads": (2,), "patch": 3},
}


def made(name: str, task: Any) -> tuple[SearchSpace, Supernet]:
    torch.manual_seed(0)
    space = spaces.create(name, **SPACES[name])
    supernet = create_supernet(space, InputSpec(task.bands), OutputSpec(task.classes))
    rng = np.random.default_rng(0)
    side = space.patch or 6
    for _ in range(8):  # so that running statistics are of many paths
        supernet(torch.randn(4, task.bands, side, side), space.sample(rng))
    return space, supernet


@pytest.mark.parametrize("recalibration", [0, 10, 300])
@pytest.mark.parametrize("name", SPACES)
def test_a_child_is_judged_as_it_would_be_alone(
    name: str, recalibration: int, make_task: Callable[..., Any]
) -> None:
    task = make_task(20, 18)
    space, supernet = made(name, task)
    recalibration = min(recalibration, 40) if name == "hsi3d" else recalibration
    judge = Inherited(supernet, space, task, recalibration=recalibration, window=8, seed=3)
    before = {key: value.clone() for key, value in supernet.state_dict().items()}
    rng, scores = np.random.default_rng(1), set()
    for architecture in [space.sample(rng) for _ in range(4)]:
        found = judge.evaluate(architecture)
        child = supernet.extract(architecture)
        if recalibration:
            # By another way: torch's own running mean, with a momentum for each batch.
            template = asked_as(supernet, space)
            drawn = batches(template, task, 3, window=8)
            sizes = {10: [10], 40: [40], 300: [150, 150]}[recalibration]
            child.eval()
            layers = [m for m in child.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
            for layer in layers:
                layer.train()
            for number, size in enumerate(sizes):
                for layer in layers:
                    layer.momentum = 1 / (number + 1)
                with torch.no_grad():
                    child(drawn.batch(size, number, augmented=False)[0])
        expected = evaluate(asked_as(child.eval(), space), task, "validation")
        assert found.score == pytest.approx(expected.scores.oa, abs=1e-12)
        assert found.metrics["validation_aa"] == pytest.approx(expected.scores.aa)
        assert found.metrics["validation_loss"] == pytest.approx(expected.loss, rel=1e-4)
        scores.add(found.metrics["validation_loss"])
    assert len(scores) > 2
    for key, value in supernet.state_dict().items():
        assert torch.equal(value, before[key]), key


def test_the_answer_does_not_depend_on_what_was_judged_before(make_task: Any) -> None:
    task = make_task()
    space, supernet = made("nasbench201", task)
    judge = Inherited(supernet, space, task, recalibration=30)
    rng = np.random.default_rng(2)
    one, other = space.sample(rng), space.sample(rng)
    first = judge.evaluate(one)
    judge.evaluate(other)
    again = judge.evaluate(one)
    fresh = Inherited(copy.deepcopy(supernet), space, task, recalibration=30).evaluate(one)
    for found in (again, fresh):
        assert (found.score, found.metrics) == (first.score, first.metrics)


@pytest.mark.parametrize("training", [True, False])
def test_the_mode_of_the_supernet_stays(training: bool, make_task: Any) -> None:
    task = make_task()
    space, supernet = made("nasbench201", task)
    supernet.train(training)
    Inherited(supernet, space, task).evaluate(space.sample(np.random.default_rng(0)))
    assert {module.training for module in supernet.modules()} == {training}


def test_validation_labels_alone_are_read(make_task: Any) -> None:
    task = make_task()
    space, supernet = made("nasbench201", task)
    architecture = space.sample(np.random.default_rng(0))
    asked: list[str] = []
    targets = type(task).targets

    class Watched(type(task)):  # type: ignore[misc]
        def targets(self, part: Any) -> Any:
            asked.append(part)
            return targets(self, part)

    watched = Watched(task.scene, task.split, task.scaling)
    Inherited(supernet, space, watched).evaluate(architecture)
    assert set(asked) == {"train", "validation"}


def test_patches_of_a_patch_task_are_shown(make_patch_task: Any) -> None:
    task = make_patch_task(side=5)
    torch.manual_seed(0)
    space = spaces.create("nasbench201", channels=4, cells=1, patch=5)
    supernet = create_supernet(space, InputSpec(task.bands), OutputSpec(task.classes))
    architecture = space.sample(np.random.default_rng(5))
    judge = Inherited(supernet, space, task, recalibration=20)
    found = judge.evaluate(architecture)
    child = supernet.extract(architecture)
    with recalibrated(child, judge._calibration):
        expected = evaluate(asked_as(child, space), task, "validation")
    assert found.score == pytest.approx(expected.scores.oa)
    assert found.cost.seconds is not None
    assert count_parameters(child) > 0
