"""Networks trained as an estimator, on tiny tasks."""

from __future__ import annotations

import functools
import os
import pickle
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from swath import estimators, spaces
from swath.core.errors import Infeasible, InvalidArchitecture, RecipeError, RunError, UnknownName
from swath.core.seeds import derive
from swath.data.scaling import fit_scaling
from swath.data.simulate import simulate_demo
from swath.estimators import trained as module
from swath.estimators.trained import TrainedEstimator
from swath.networks.cost import count_flops, count_flops_per_pixel, count_parameters
from swath.networks.latency import Latency, measure_latency
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.hsi3d import HSI3D
from swath.tasks.metrics import score
from swath.tasks.scene import SceneTask
from swath.tasks.splits import random_split
from swath.training.loop import TrainingSettings, train

OPTIONS = {"layers": 1, "nodes": 1, "base_width": 2, "stem_width": 4, "head_width": 8}
TRAINING = TrainingSettings(
    iterations=6, window=8, batch=2, validate_every=3, optimiser="adamw", learning_rate=0.01
)
SPACE = HSI3D(**OPTIONS)
ARCHITECTURE = SPACE.sample(np.random.default_rng(0))

_made = 0


def demo_task(seed: int = 0) -> SceneTask:
    """Make a task; a function of a module, so that it can be pickled."""
    global _made
    _made += 1
    scene = simulate_demo(seed, rows=24, columns=24, bands=8, classes=3)
    assert scene.labels is not None
    split = random_split(scene.labels, 5, 5, seed)
    return SceneTask(scene, split, fit_scaling(scene, "standard"))


def estimator(**changes: Any) -> TrainedEstimator:
    given: dict[str, Any] = {
        "space": "hsi3d",
        "task": functools.partial(demo_task, 0),
        "space_options": OPTIONS,
        "training": TRAINING,
        "device": "cpu",
    }
    made = estimators.create("trained", **{**given, **changes})
    assert isinstance(made, TrainedEstimator)
    return made


def test_the_score_is_the_validation_accuracy_of_the_trained_network(tmp_path: Path) -> None:
    found = estimator().evaluate(ARCHITECTURE, seed=4)
    task = demo_task()
    torch.manual_seed(derive(4, "network"))
    network = SPACE.build(ARCHITECTURE, InputSpec(8), OutputSpec(3))
    best = train(network, task, TRAINING, seed=derive(4, "training"), folder=tmp_path).network
    with torch.no_grad():
        classes = best(task.image[None])[0].argmax(0).numpy()
    mask = task.split.validation
    truth = task.labels.values[mask]
    expected = score(truth, classes[mask], 3)
    assert found.score == expected.oa
    assert found.metrics["validation_aa"] == pytest.approx(expected.aa)
    assert found.metrics["validation_kappa"] == pytest.approx(expected.kappa)
    assert found.direction == "maximize"
    assert found.cost.parameters == count_parameters(network)
    assert found.cost.flops == count_flops_per_pixel(network, 8)
    assert found.cost.seconds > 0
    assert found.cost.latency is None


def test_test_labels_are_never_read() -> None:
    task = demo_task()
    values = task.labels.values.copy()
    # The labels of the test pixels go round: whoever read them would see another score.
    values[task.split.test] = (values[task.split.test] + 1) % 3
    other = replace(task, scene=task.scene.with_labels(replace(task.labels, values=values)))
    one, two = (estimator(task=each).evaluate(ARCHITECTURE) for each in (task, other))
    assert (one.score, one.metrics) == (two.score, two.metrics)


def test_the_same_arguments_give_the_same_score() -> None:
    first = estimator().evaluate(ARCHITECTURE, seed=1)
    torch.manual_seed(99)
    estimator().evaluate(SPACE.sample(np.random.default_rng(5)), seed=3)
    again = pickle.loads(pickle.dumps(estimator())).evaluate(ARCHITECTURE, seed=1)
    assert (again.score, again.metrics) == (first.score, first.metrics)
    other = estimator().evaluate(ARCHITECTURE, seed=2)
    assert other.metrics["validation_loss"] != first.metrics["validation_loss"]


def test_budgets_are_iterations(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def note(network: nn.Module, task: SceneTask, settings: TrainingSettings, **rest: Any) -> Any:
        asked.append(settings.iterations)
        return train(network, task, settings, **rest)

    monkeypatch.setattr(module, "train", note)
    several = estimator(budgets=(2, 4))
    for budget in (None, 2, 4):
        several.evaluate(ARCHITECTURE, budget=budget)
    estimator().evaluate(ARCHITECTURE)
    assert asked == [4, 2, 4, 6]
    assert several.budgets == (2, 4)
    assert estimator().budgets == ()
    with pytest.raises(RecipeError) as error:
        several.evaluate(ARCHITECTURE, budget=3)
    assert str(error.value) == "there is no budget of 3 iterations; the budgets are: 2, 4"


def test_the_task_is_made_once_in_a_process() -> None:
    module._TASKS.clear()
    before = _made
    source = functools.partial(demo_task, 7)
    for _ in range(2):
        pickle.loads(pickle.dumps(estimator(task=source))).evaluate(ARCHITECTURE)
    assert _made == before + 1
    estimator(task=functools.partial(demo_task, 8)).cost(ARCHITECTURE)
    assert _made == before + 2


def test_a_study_s_own_function_is_known_again_in_a_worker() -> None:
    from swath.study.recipes import TaskSettings
    from swath.study.task_section import make_task

    settings = TaskSettings(scene="demo-simulated", train=5, validation=5, split="random")
    sent = pickle.dumps(functools.partial(make_task, settings, 3))
    module._TASKS.clear()
    first, again = (module._prepared(pickle.loads(sent)) for _ in range(2))
    assert first is again


def test_costs_are_known_before_training() -> None:
    network = SPACE.build(ARCHITECTURE, InputSpec(8), OutputSpec(3))
    cost = estimator().cost(ARCHITECTURE)
    assert cost.parameters == count_parameters(network)
    assert cost.flops == count_flops_per_pixel(network, 8)
    assert cost.latency is None
    assert cost.seconds == 0


def test_latency_is_measured_where_asked() -> None:
    measured = estimator(latency=True)
    assert 0 < measured.cost(ARCHITECTURE).latency < 1
    evaluation = measured.evaluate(ARCHITECTURE)
    assert 0 < evaluation.cost.latency < 1
    plain = estimator().evaluate(ARCHITECTURE)
    assert (evaluation.score, evaluation.metrics) == (plain.score, plain.metrics)


def test_diverged_training_is_infeasible() -> None:
    wild = TrainingSettings(
        iterations=6, window=8, batch=2, validate_every=3, learning_rate=1e30, clip_value=None
    )
    with pytest.raises(Infeasible, match=r"^training diverged: the (training|validation) loss "):
        estimator(training=wild).evaluate(ARCHITECTURE)


@pytest.mark.parametrize(
    "failure",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3 GiB"),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:119] DefaultCPUAllocator: can't allocate"
                     " memory: you tried to allocate 8 bytes"),
    ],
)  # fmt: skip
def test_a_full_memory_is_infeasible(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(module, "train", fail)
    with pytest.raises(Infeasible, match=r"^out of memory on cpu$"):
        estimator().evaluate(ARCHITECTURE)


def test_a_real_allocation_that_fails_is_infeasible(monkeypatch: pytest.MonkeyPatch) -> None:
    def greedy(*_: Any, **__: Any) -> None:
        torch.empty(2**60)

    monkeypatch.setattr(module, "train", greedy)
    with pytest.raises(Infeasible, match=r"^out of memory on cpu$"):
        estimator().evaluate(ARCHITECTURE)


@pytest.mark.parametrize(
    "failure", [RunError("the disk is full: x was not written"), RuntimeError("a defect")]
)
def test_other_failures_stay_what_they_are(
    monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise failure

    monkeypatch.setattr(module, "train", fail)
    with pytest.raises(type(failure), match=str(failure)):
        estimator().evaluate(ARCHITECTURE)


@pytest.mark.parametrize("fails", [False, True])
def test_nothing_is_left_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    used: list[Path] = []

    def look(*args: Any, folder: Path, **rest: Any) -> Any:
        used.append(folder)
        assert torch.get_num_threads() == 1
        found = train(*args, folder=folder, **rest)
        assert any(folder.iterdir())
        if fails:
            raise MemoryError
        return found

    monkeypatch.setattr(module, "train", look)
    torch.set_num_threads(2)
    state = torch.get_rng_state()
    try:
        estimator(threads=1).evaluate(ARCHITECTURE)
    except Infeasible:
        assert fails
    assert used[0].parent == tmp_path
    assert os.listdir(tmp_path) == []
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == 2


def test_what_cannot_be_trained_is_told_at_once(make_task: Callable[..., SceneTask]) -> None:
    with pytest.raises(UnknownName, match=r"no search space 'hsi3' \(did you mean 'hsi3d'\?\)"):
        estimator(space="hsi3", space_options={})
    for budgets in ((0, 5), (5, 2), (3, 3)):
        with pytest.raises(RecipeError, match=r"^budgets must be ascending numbers of iterations"):
            estimator(budgets=budgets)
    with pytest.raises(RecipeError, match=r"^threads must be at least 1, not 0$"):
        estimator(threads=0)
    with pytest.raises(InvalidArchitecture):
        estimator().evaluate(ARCHITECTURE.replace(**{ARCHITECTURE.genes[0][0]: "nonsense"}))
    made = estimator(task=make_task())
    assert 0 <= made.evaluate(ARCHITECTURE).score <= 1


@pytest.mark.parametrize(
    ("name", "options", "patch"),
    [
        ("hytas", {"embed_dims": [8], "min_depth": 1, "max_depth": 2, "patch": 5, "heads": [2]}, 5),
        ("nasbench201", {"channels": 2, "cells": 1}, 9),
    ],
)
def test_networks_of_patches_are_trained_too(
    make_task: Callable[..., SceneTask],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    options: dict[str, Any],
    patch: int,
) -> None:
    task = make_task()
    space = spaces.create(name, **options)
    architecture = space.sample(np.random.default_rng(1))
    timed: list[tuple[int, ...]] = []

    def note(network: nn.Module, shape: tuple[int, ...], device: str) -> Latency:
        timed.append(shape)
        return measure_latency(network, shape, device, repeats=1)

    monkeypatch.setattr(module, "measure_latency", note)
    made = estimator(space=name, space_options=options, task=task, latency=True)
    found = made.evaluate(architecture)
    assert found == replace(made.evaluate(architecture), cost=found.cost)
    assert 0 <= found.score <= 1
    network = space.build(architecture, InputSpec(task.bands), OutputSpec(task.classes))
    assert found.cost.parameters == count_parameters(network)
    assert found.cost.flops == count_flops(network, task.bands, patch)
    assert set(timed) == {(1, task.bands, patch, patch)}
