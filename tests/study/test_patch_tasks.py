"""A study on patches, from its recipe."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import yaml
from torch import nn

from swath.core.errors import RecipeError, SwathError
from swath.core.seeds import derive
from swath.data.scaling import Scaling
from swath.estimators.trained import TrainedEstimator
from swath.networks.cost import count_flops, count_parameters
from swath.spaces.base import InputSpec, OutputSpec
from swath.study.conduct import run_study
from swath.study.parts import make_parts
from swath.study.patch_tasks import PatchTaskSettings, make_patch_task
from swath.study.recipes import resolve
from swath.study.scorers import make_scorer
from swath.study.settings import TaskSettings
from swath.study.study_recipe import resolve_study
from swath.study.task_section import read_task
from swath.tasks.patches import PatchTask

BASE: dict[str, Any] = {
    "space": {"name": "nasbench201", "options": {"channels": 2, "cells": 1}},
    "estimator": {"name": "trained", "options": {"device": "cpu", "threads": 1}},
    "training": {"iterations": 4, "batch": 8, "validate_every": 2},
    "trials": 2,
}


@pytest.fixture(scope="module")
def so2sat(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """170 patches of 8 x 8 pixels, ten of each class, in So2Sat's layout."""
    path = tmp_path_factory.mktemp("so2sat") / "training.h5"
    rng = np.random.default_rng(0)
    classes = np.arange(170) % 17
    with h5py.File(path, "w") as file:
        file["label"] = np.eye(17)[classes]
        file["sen1"] = rng.normal(size=(170, 8, 8, 8))
        file["sen2"] = classes[:, None, None, None] / 10 + rng.random((170, 8, 8, 10))
    return path


def recipe(task: dict[str, Any], **changes: Any) -> Any:
    return resolve_study({**BASE, **changes, "task": {"kind": "patches", **task}})


def test_a_study_trains_on_patches(so2sat: Path, tmp_path: Path) -> None:
    """Run, and continued with more trials from what was written down."""
    task = {"source": str(so2sat), "sensors": "s1+s2", "split": "random", "sensor_dropout": 0.2}
    given = {**BASE, "task": {"kind": "patches", **task}, "objectives": ["validation_kappa"]}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(given))
    study = run_study(str(file), out=tmp_path / "out")
    assert len(study.trials) == 2
    more = run_study(str(file), out=tmp_path / "out", trials=3)
    assert more.trials[:2] == study.trials
    (goal,) = more.objectives
    evaluations = [trial.evaluation for trial in more.trials]
    assert all(one is not None and -1 <= goal.value(one) <= 1 for one in evaluations)
    written = yaml.safe_load((tmp_path / "out" / "recipe.yaml").read_text())
    assert written["task"]["kind"] == "patches"
    assert written["task"]["sensors"] == "s1+s2"


@pytest.mark.parametrize(("sensors", "bands"), [("s1", 8), ("s2", 10), ("s1+s2", 18), (None, 18)])
def test_sensors_are_chosen_by_name(so2sat: Path, sensors: str | None, bands: int) -> None:
    task = {"source": str(so2sat), "sensors": sensors, "split": "random"}
    parts = make_parts(recipe(task))
    estimator = parts.estimator
    assert isinstance(estimator, TrainedEstimator)
    made = pickle.loads(pickle.dumps(estimator)).prepared()
    assert isinstance(made, PatchTask)
    assert (made.bands, made.patch, made.classes) == (bands, 8, 17)
    architecture = parts.space.sample(np.random.default_rng(0))
    network = parts.space.build(architecture, InputSpec(bands), OutputSpec(17))
    cost = estimator.cost(architecture)
    assert cost.parameters == count_parameters(network)
    assert cost.flops == count_flops(network, bands, 8)
    found = estimator.evaluate(architecture, seed=1)
    assert found.score == estimator.evaluate(architecture, seed=1).score


def test_late_fusion_has_a_network_for_each_sensor(so2sat: Path) -> None:
    task = {"source": str(so2sat), "split": "random"}
    late = make_parts(recipe({**task, "fusion": "late"}))
    architecture = late.space.sample(np.random.default_rng(0))
    estimator = late.estimator
    assert isinstance(estimator, TrainedEstimator)
    alone = [
        make_parts(recipe({**task, "sensors": sensor})).estimator.cost(architecture)
        for sensor in ("s1", "s2")
    ]
    cost = estimator.cost(architecture)
    assert cost.parameters == sum(one.parameters for one in alone)
    assert cost.flops == sum(one.flops or 0 for one in alone)
    found = estimator.evaluate(architecture, seed=1)
    assert found.score == estimator.evaluate(architecture, seed=1).score


def test_proxies_score_all_networks_that_are_fused_late(so2sat: Path) -> None:
    late = make_parts(recipe({"source": str(so2sat), "split": "random", "fusion": "late"}))
    estimator = late.estimator
    assert isinstance(estimator, TrainedEstimator)
    architectures = [late.space.sample(np.random.default_rng(seed)) for seed in range(3)]
    found = make_scorer(estimator).scores(architectures, ["l2_norm", "parameters", "synflow"], 5)
    for row, architecture in enumerate(architectures):
        torch.manual_seed(derive(5, "network"))
        network = estimator.network(architecture)
        layers = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
        assert len(network.get_submodule("branches")) == 2
        norms = sum(float(layer.weight.detach().norm()) for layer in layers)
        assert found["l2_norm"][row] == pytest.approx(norms, rel=1e-5)
        assert found["parameters"][row] == estimator.cost(architecture).parameters
    assert np.isfinite(found["synflow"]).all()


def test_settings_reach_the_task(so2sat: Path) -> None:
    settings = PatchTaskSettings(
        source=str(so2sat), split="random", test=0.5, validation=0.4, train=0.4, scaling="none"
    )
    task = make_patch_task(settings, 3)
    assert task.split.counts(task.patches).tolist() == [[2, 2, 5]] * 17
    assert task.scaling == Scaling("none", (0.0,) * 18, (1.0,) * 18)
    blocks = make_patch_task(PatchTaskSettings(source=str(so2sat), block=34, test=0.4), 3)
    assert blocks.split.protocol == "blocks"
    assert (blocks.split.test.reshape(5, 34).mean(1) % 1 == 0).all()


def test_patches_are_cut_from_the_scenes_of_a_recipe(swath_data: Path) -> None:
    stem = f"{swath_data}/sen1floods11/Spain_7370579_"
    flood = {
        "source": {"s1": f"{stem}S1Hand.tif", "s2": f"{stem}S2Hand.tif"},
        "labels": f"{stem}LabelHand.tif",
        "unlabelled": [-1],
        "patch": 64,
        "sensors": "s2+s1",
    }
    task = make_patch_task(read_task({"kind": "patches", **flood}), 0)
    assert task.patches.source.shape == (64, 15, 64, 64)
    assert [sensor.name for sensor in task.patches.sensors] == ["s2", "s1"]
    houston = f"{swath_data}/houston_crop/houston_dataset.mat"
    crop = {
        "source": {"hsi": houston, "rgb": houston},
        "variables": {"hsi": "hyprImg", "rgb": "rgbImg"},
        "label_variable": "clasLabs",
        "patch": 9,
        "per_class": 30,
        "small_classes": "drop",
        "minimum": 25,
    }
    with pytest.raises(SwathError, match=r"rgb has 512 x 512 .* hsi has 128 x 128"):
        make_patch_task(read_task({"kind": "patches", **crop}), 0)
    one = make_patch_task(
        read_task({"kind": "patches", **crop, "sensors": "rgb", "per_class": None, "stride": 8}), 0
    )
    assert one.patches.counts().min() >= 25
    assert one.bands == 3


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"sorce": "x"}, "unknown key 'task.sorce' .did you mean 'source'"),
        ({"source": "x", "stide": 3}, "unknown key 'task.stide' .did you mean 'stride'"),
        ({"source": "x", "patch": 0}, "'task.patch' cannot be 0"),
        ({"source": "x", "split": "spatial"}, "'task.split' cannot be 'spatial'"),
        ({"source": "x", "kind": "patch"}, "no kind of task 'patch' .did you mean 'patches'"),
        ({"source": "x", "kind": "scene"}, "unknown key 'task.source'"),
    ],
)
def test_wrong_keys_are_named(task: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe(task)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({"source": ""}, "no patches were given"),
        ({"patch": 8}, "task.patch says how patches are cut .* give task.labels, or leave it out"),
        ({"sensors": "s3"}, "no sensor 's3'"),
        ({"labels": "a.tif"}, "task.patch does not say how large"),
        ({"labels": "a.tif", "patch": 3, "variables": {"s9": "x"}}, "no sensor 's9'"),
        ({"source": "/nowhere.h5"}, "nowhere.h5 does not exist"),
        ({"source": {"s1": "/nowhere"}}, "nowhere is no folder"),
    ],
)
def test_settings_that_do_not_fit_are_told_before_anything_is_written(
    so2sat: Path, task: dict[str, Any], message: str
) -> None:
    with pytest.raises(SwathError, match=message):
        make_parts(recipe({"source": str(so2sat), **task}))


def test_spaces_that_cannot_learn_patches_are_refused(so2sat: Path) -> None:
    task = {"source": str(so2sat), "split": "random"}
    with pytest.raises(RecipeError, match=r"'hsi3d' label every pixel, .* such as nasbench201"):
        make_parts(recipe(task, space={"name": "hsi3d"}))
    parts = make_parts(recipe(task, space={"name": "hytas", "options": {"patch": 7}}))
    assert isinstance(parts.estimator, TrainedEstimator)
    with pytest.raises(RecipeError, match=r"patches of \(18, 7, 7\).*space.options.patch=8"):
        parts.estimator.cost(parts.space.sample(np.random.default_rng(0)))


def test_a_scene_is_still_the_task_of_a_recipe_that_names_no_kind() -> None:
    given = {"scene": "demo-simulated", "split": "random"}
    found = resolve_study({**BASE, "task": given}).task
    assert found == TaskSettings(scene="demo-simulated", split="random")
    assert resolve_study({**BASE, "task": {"kind": "scene", **given}}).task == found
    assert "kind" not in found.model_dump()
    assert resolve_study(BASE).task is None


def test_a_single_search_needs_a_scene() -> None:
    with pytest.raises(RecipeError, match="has no scene to map; search with 'swath study run'"):
        resolve({"task": {"kind": "patches", "source": "training.h5"}})


def test_the_page_tells_every_key_with_its_default() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "patches.md"
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.read_text("utf-8").split("## All keys")[1].splitlines()
        if line.startswith("| `")
    ]
    told = {key.strip("`"): yaml.safe_load(default.strip("`")) for key, default, _ in rows}
    assert told == PatchTaskSettings().model_dump(mode="json")


@pytest.mark.parametrize("number", range(3))
def test_the_examples_of_the_page_are_recipes(number: int) -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "patches.md"
    examples = page.read_text("utf-8").split("```yaml\n")[1:]
    assert len(examples) == 3
    example = yaml.safe_load(examples[number].split("```")[0])
    assert isinstance(resolve_study({**BASE, **example}).task, PatchTaskSettings)
