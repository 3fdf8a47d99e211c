"""The Python API: what it takes as a scene and labels, and which run it continues."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.io import savemat

import swath
from swath import spaces
from swath.api.resolving import resolve_call
from swath.api.scene_runs import open_given_scene
from swath.core.errors import (
    DataError,
    NothingToSample,
    RecipeError,
    RunError,
    SplitError,
    SwathError,
    UnknownName,
)
from swath.data.scene import Scene, array_scene
from swath.spaces.base import InputSpec, OutputSpec
from swath.study.preparation import prepare_task
from swath.study.recipes import resolve
from swath.tasks.label_patches import patches_around

# A run of a second or two.
TINY = [
    "space.options={base_width: 2, stem_width: 4, head_width: 8, nodes: 1}",
    *(f"search.{x}" for x in ("width=2", "epochs=2", "warmup=1", "steps=1", "window=8", "batch=2")),
    *(f"training.{x}" for x in ("iterations=2", "validate_every=2", "window=8", "batch=2")),
    "mapping.also=[]",
]


def scene(seed: int = 0) -> Scene:
    rng = np.random.default_rng(seed)
    labels = np.tile(1 + np.arange(16) // 8, (16, 1))
    return array_scene(rng.normal(labels[..., None], 0.1, (16, 16, 6)), labels, name="mine")


def search(out: Path, given: Scene, progress: Any = None, **settings: Any) -> swath.Run:
    return swath.search(
        given,
        out=out,
        split="random",
        train=5,
        validation=5,
        overrides=TINY,
        progress=progress,
        **settings,
    )


def stop(event: dict[str, Any]) -> None:
    if event["phase"] == "search":
        raise KeyboardInterrupt


def test_a_run_is_continued_on_its_own_scene_alone(tmp_path: Path) -> None:
    """Arrays have no path that would tell them apart: two of one name may hold other pixels."""
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, scene(0), stop)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match="begun with other pixel values than those of mine now"):
        search(tmp_path, scene(1))
    labels = scene(0).labels
    assert labels is not None
    turned = np.where(labels.values[:, ::-1] > 0, 9, 7)
    with pytest.raises(RunError, match="begun with other labels"):
        swath.search(
            scene(0), turned, out=tmp_path, split="random", train=5, validation=5, overrides=TINY
        )
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    said: list[str] = []
    run = search(tmp_path, scene(0), lambda event: said.append(event["phase"]))
    assert "resume" in said
    assert run.metrics["scene"]["name"] == "mine"
    # finished: returned for its own scene, refused for another
    assert search(tmp_path, scene(0)).architecture == run.architecture
    with pytest.raises(RunError, match="begun with other pixel values"):
        search(tmp_path, scene(1))


def test_what_a_map_does_otherwise_is_said_in_a_run_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as float32 in place of a precision that changes classes."""
    from swath import mapping

    original = mapping.map_scene

    def noting(*args: Any, **options: Any) -> Any:
        return replace(original(*args, **options), notes=("computed in float32",))

    monkeypatch.setattr(mapping, "map_scene", noting)
    said: list[dict[str, Any]] = []
    search(tmp_path, scene(0), said.append)
    assert {"phase": "note", "text": "computed in float32"} in said


def test_a_finished_run_is_of_its_files_alone(tmp_path: Path) -> None:
    def written(seed: int) -> tuple[Path, Path]:
        given = scene(seed)
        assert given.labels is not None
        for name, array in (("image", given.read()), ("labels", given.labels.values + 1)):
            np.save(tmp_path / f"{name}.npy", array)
        return tmp_path / "image.npy", tmp_path / "labels.npy"

    def again(progress: Any = None) -> swath.Run:
        return search(tmp_path / "run", image, progress, labels=labels)  # type: ignore[arg-type]

    image, labels = written(0)
    run = again()
    assert again().metrics == run.metrics
    written(1)
    with pytest.raises(RunError, match="begun with other pixel values than those of image now"):
        again()
    image.unlink()
    said: list[dict[str, Any]] = []
    assert again(said.append).metrics == run.metrics
    assert [event["phase"] for event in said] == ["note", "complete"]
    assert "there is no file" in said[0]["text"]


def test_a_run_is_continued_with_its_own_maps_alone(tmp_path: Path) -> None:
    truth = scene().labels
    assert truth is not None

    def begin(rows: int) -> None:
        train = np.where(np.arange(16)[:, None] < rows, truth.values + 1, 0)
        np.save(tmp_path / "train.npy", train)
        np.save(tmp_path / "test.npy", np.where(train == 0, truth.values + 1, 0))
        maps = {f"{part}_map": str(tmp_path / f"{part}.npy") for part in ("train", "test")}
        swath.search(
            scene(), out=tmp_path / "run", split="fixed", validation=5, overrides=TINY,
            progress=stop, **maps,
        )  # fmt: skip

    for _ in range(2):  # begun, and continued
        with pytest.raises(KeyboardInterrupt):
            begin(6)
    with pytest.raises(RunError, match="begun with other training and test maps than those"):
        begin(8)


def test_a_split_without_validation_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Classes of one training label each have none to give to validation, even when halved."""
    train, test = np.zeros((2, 16, 16), np.uint8)
    train[0, [0, 15]] = test[1] = 1
    for name, given in (("train", train), ("test", test)):
        np.save(tmp_path / f"{name}.npy", given)
    with pytest.raises(SplitError, match="the fixed split leaves no validation label"):
        swath.search(
            scene(),
            out=tmp_path / "run",
            split="fixed",
            small_classes="halve",
            train_map=str(tmp_path / "train.npy"),
            test_map=str(tmp_path / "test.npy"),
        )
    assert not (tmp_path / "run").exists()


def test_bands_and_label_settings_hold_for_open_scenes_too(tmp_path: Path) -> None:
    given = scene()
    recipe = resolve({"task": {"bands": "0-2,5", "label_variable": "gt", "unlabelled": [0, 2]}})
    opened = open_given_scene(given, None, recipe.task)
    assert opened.bands == (0, 1, 2, 5)
    assert opened.labels is given.labels
    with pytest.raises(DataError, match="has no band 7"):
        open_given_scene(given, None, resolve({"task": {"bands": "7"}}).task)
    values = np.arange(256).reshape(16, 16) % 4
    np.savez(tmp_path / "maps.npz", gt=values, other=values)
    for labels in (tmp_path / "maps.npz", values, values.tolist()):
        found = open_given_scene(given, labels, recipe.task).labels
        assert found is not None
        assert found.original == (1, 3)


PATCH_SPACES: dict[str, dict[str, Any]] = {
    "hytas": {"embed_dims": [8], "min_depth": 1, "max_depth": 2, "heads": [2], "patch": 5},
    "nasbench201": {"channels": 2, "cells": 1},
}


@pytest.mark.parametrize("name", PATCH_SPACES)
def test_networks_of_patches_are_trained_and_map_scenes(tmp_path: Path, name: str) -> None:
    space = spaces.create(name, **PATCH_SPACES[name])
    run = swath.train(
        space.sample(np.random.default_rng(1)),
        scene(),
        out=tmp_path / "run",
        recipe={"space": {"name": name, "options": PATCH_SPACES[name]}},
        split="spatial",
        train=5,
        validation=5,
        overrides=[
            *("training.iterations=2", "training.validate_every=2", "training.batch=4"),
            *("mapping.also=[windows]", "task.block=4", "task.guard=0"),
        ],
    )
    assert run.metrics["test"].keys() == run.metrics["test_modes"]["windows"].keys()
    assert name in (tmp_path / "run" / "report.html").read_text("utf-8")
    model, network = run.model()
    saved = load_file(tmp_path / "run" / "best" / "model.safetensors")
    plain = space.build(model.architecture, InputSpec(6), OutputSpec(2))
    plain.load_state_dict(saved)  # the keys are those of the network of the space
    # the map of another scene, in any mode, is what the network says of the patch at each pixel
    other = scene(1)
    made = run.map(other, tmp_path / "map.tif", window=7, keep=True)
    assert (made.mode, made.notes) == ("plain", ())
    scaled = torch.from_numpy(model.scaling.apply(*other.read_valid()).transpose(2, 0, 1).copy())
    places = np.argwhere(np.ones((16, 16)))
    with torch.no_grad():
        logits = plain.eval()(patches_around(scaled, places, network.patch)).reshape(16, 16, 2)
    clear = ((logits[..., 0] - logits[..., 1]).abs() > 1e-4).numpy()
    assert clear.mean() > 0.9
    assert np.array_equal(made.indices[clear], logits.argmax(2).numpy()[clear])
    assert run.map(other, tmp_path / "w.tif", mode="windows", crop=8).mode == "windows"


def test_a_run_is_trained_again_with_its_settings(tmp_path: Path) -> None:
    space = spaces.create("nasbench201", **PATCH_SPACES["nasbench201"])
    given = scene()
    assert given.labels is not None
    np.save(tmp_path / "cube.npy", given.source.read(slice(None), slice(None)))
    labels = given.labels.to_original(given.labels.values)
    np.save(tmp_path / "labels.npy", labels)
    first = swath.train(
        space.sample(np.random.default_rng(1)),
        tmp_path / "cube.npy",
        tmp_path / "labels.npy",
        out=tmp_path / "first",
        recipe={"space": {"name": "nasbench201", "options": PATCH_SPACES["nasbench201"]}},
        split="random",
        train=5,
        validation=5,
        overrides=["training.iterations=2", "training.validate_every=2", "training.batch=4"],
    )
    again = swath.train(tmp_path / "first", seed=1, out=tmp_path / "again")
    assert again.architecture == first.architecture
    before, after = first.recipe.model_dump(), again.recipe.model_dump()
    assert after.pop("seed") == 1
    assert before.pop("seed") == 0
    assert after == before
    with pytest.raises(RecipeError, match=r"no option 'halos' .did you mean 'halo'.*axes, batch"):
        again.map(scene(1), tmp_path / "map.tif", halos=3)
    assert not list(tmp_path.glob("map*"))
    other = swath.train(str(tmp_path / "first"), scene(1), out=tmp_path / "other")
    assert other.recipe.training == first.recipe.training
    assert other.recipe.task.labels is None  # type: ignore[union-attr]


def test_what_is_to_be_trained_must_be_an_architecture(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="an architecture, its file or a run folder, not"):
        swath.train({"op": 1}, scene(), out=tmp_path / "run")  # type: ignore[arg-type]


def test_a_space_without_a_search_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UnknownName, match=r"space 'hytas' has no mixture supernet.*--strategy"):
        swath.search(
            scene(),
            out=tmp_path / "run",
            recipe={"space": {"name": "hytas"}},
            split="random",
            train=5,
            validation=5,
        )
    assert not (tmp_path / "run").exists()


SEARCHED: dict[str, list[str]] = {
    "hsi3d": TINY,
    "nasbench201": [
        "space.options={channels: 2, cells: 1, patch: 5}",
        *("training.iterations=2", "training.validate_every=1", "training.batch=4"),
        "mapping.also=[]",
    ],
}


def by_trials(out: Path, space: str, *overrides: str, **settings: Any) -> swath.Run:
    options: dict[str, Any] = {
        "strategy": "random", "trials": 3, "split": "random", "train": 5, "validation": 5,
        **settings,
    }  # fmt: skip
    short = ["study.iterations=1"] if options["strategy"] else []
    return swath.search(
        options.pop("scene", scene()),
        out=out,
        space=space,
        overrides=[*SEARCHED[space], *short, *overrides],
        **options,
    )


@pytest.mark.parametrize("space", SEARCHED)
def test_any_strategy_searches_any_space_to_a_map(tmp_path: Path, space: str) -> None:
    events: list[dict[str, Any]] = []
    run = by_trials(tmp_path / "run", space, progress=events.append)
    assert [e["done"] for e in events if e["phase"] == "trials"] == [1, 2, 3]
    study = swath.open_study(tmp_path / "run" / "search")
    assert study.facts["strategy"]["name"] == "random"
    # the first of the best by validation labels is what was trained and maps the scene
    scores = [trial.evaluation.score for trial in study.trials if trial.evaluation]
    assert len(scores) == 3
    assert run.architecture == study.trials[scores.index(max(scores))].architecture
    assert run.model()[0].architecture == run.architecture
    assert (tmp_path / "run" / "map.tif").is_file()
    cost = run.metrics["cost"]
    assert cost["search_seconds"] > 0
    assert cost["report_seconds"] > 0
    phases = [cost[f"{name}_peak_memory_mib"] for name in ("search", "train", "map", "report")]
    assert max(phases) <= cost["peak_memory_mib"]
    assert min(phases) > 50  # with torch in memory no phase holds less
    assert "The trivial rival" in (tmp_path / "run" / "report.html").read_text("utf-8")
    # a run of the same recipe from its file is the same run
    assert run.recipe.study is not None
    assert run.recipe.study.trials == 3


def test_an_interrupted_search_by_trials_goes_on(tmp_path: Path) -> None:
    class Broken(Exception):
        pass

    def fail(event: dict[str, Any]) -> None:
        if event["phase"] == "trials" and event["done"] == 4:
            raise Broken

    adaptive: dict[str, Any] = {"strategy": "evolution", "trials": 6}
    whole = by_trials(tmp_path / "whole", "nasbench201", **adaptive)
    with pytest.raises(Broken):
        by_trials(tmp_path / "run", "nasbench201", progress=fail, **adaptive)
    begun = swath.open_study(tmp_path / "run" / "search")
    assert len(begun.trials) == 4
    again = by_trials(tmp_path / "run", "nasbench201", **adaptive)
    assert again.architecture == whole.architecture
    found, expected = (
        swath.open_study(tmp_path / name / "search").trials for name in ("run", "whole")
    )
    assert found[:4] == begun.trials  # nothing is trained twice
    assert [(t.proposal, t.evaluation.score) for t in found if t.evaluation] == [
        (t.proposal, t.evaluation.score) for t in expected if t.evaluation
    ]


def test_workers_find_what_one_process_finds(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    labels = np.tile(1 + np.arange(16) // 8, (16, 1))
    cube = rng.normal(labels[..., None], 0.5, (16, 16, 6))
    np.savez(tmp_path / "scene.npz", cube=cube, labels=labels)
    runs = [
        by_trials(
            tmp_path / str(workers),
            "nasbench201",
            scene=tmp_path / "scene.npz",
            workers=workers,
            label_variable="labels",
        )
        for workers in (1, 2)
    ]
    one, two = (swath.open_study(run.path / "search").trials for run in runs)
    assert [t.proposal for t in one] == [t.proposal for t in two]
    scores = [[t.evaluation.score for t in trials if t.evaluation] for trials in (one, two)]
    assert scores[0] == pytest.approx(scores[1])
    assert runs[0].architecture == runs[1].architecture


@pytest.mark.parametrize(
    ("settings", "overrides", "error", "said"),
    [
        ({"strategy": "evolutoin"}, (), UnknownName, "did you mean 'evolution'"),
        ({"workers": 2}, (), RecipeError, "workers open the scene and its labels themselves"),
        ({"workers": 0}, (), RecipeError, "cannot have 0 workers"),
        (
            {"strategy": None, "trials": None, "workers": 2},
            (),
            RecipeError,
            "workers share the trials of a search, and this one makes none",
        ),
        ({"strategy": "differentiable"}, (), RecipeError, "makes no trials; leave their number"),
        ({"strategy": None}, (), RecipeError, "makes no trials; leave their number"),
        ({}, ("study.trails=3",), RecipeError, "unknown key 'study.trails' .did you mean 'trials'"),
        ({}, ("study.trials=0",), RecipeError, "'study.trials' cannot be 0"),
        ({}, ("study.budgets=[1, 2]",), RecipeError, "trains all networks alike"),
        ({}, ("study.strategy.options.bach=3",), RecipeError, "no option 'bach'.*'batch'"),
        ({}, ("study.constraints.params.max=3",), RecipeError, "there is no constraint 'params'"),
        (
            {"strategy": "successive-halving"},
            ("study.budgets=[2, 1]",),
            RecipeError,
            "budgets must be",
        ),
        (
            {},
            ("study.constraints.parameters={min: 3, max: 2}",),
            NothingToSample,
            "contradict each other",
        ),
    ],
)
def test_searches_that_cannot_begin_write_nothing(
    tmp_path: Path,
    settings: dict[str, Any],
    overrides: tuple[str, ...],
    error: type[SwathError],
    said: str,
) -> None:
    with pytest.raises(error, match=said):
        by_trials(tmp_path / "run", "hsi3d", *overrides, **settings)
    assert not (tmp_path / "run").exists()


def test_a_search_without_a_feasible_trial_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr("swath.estimators.trained.train", full)
    with pytest.raises(
        RunError, match=r"none of the 3 trials gave a network \(3 times: out of mem"
    ):
        by_trials(tmp_path / "run", "nasbench201")


def test_training_a_given_architecture_leaves_the_search_out(tmp_path: Path) -> None:
    architecture = spaces.create("nasbench201").sample(np.random.default_rng(0))
    resolved = resolve_call({}, architecture=architecture)
    assert resolved.study is None
    with pytest.raises(RecipeError, match="architecture is given, so that nothing is searched"):
        resolve_call({"strategy": "random"}, architecture=architecture)


def test_a_strategy_by_name_replaces_the_recipes_alone() -> None:
    """Its options go with it; how many trials there are and how long they train stays."""

    def study(**settings: Any) -> Any:
        given = {"space": {"name": "hytas"}, "study": {"strategy": EVOLUTION, "iterations": 7}}
        return resolve_call(settings, recipe=given).study

    kept = study(strategy="evolution", trials=5)
    assert (kept.strategy.options, kept.trials, kept.iterations) == (EVOLUTION["options"], 5, 7)
    other = study(strategy="random")
    assert (other.strategy.name, other.strategy.options, other.iterations) == ("random", {}, 7)
    assert study(strategy="differentiable") is None


EVOLUTION: dict[str, Any] = {"name": "evolution", "options": {"population": 3, "tournament": 2}}


def test_a_fixed_split_takes_its_labels_from_its_maps(tmp_path: Path) -> None:
    """The files of SpectralFormer and HyTAS: image, TR and TE in one, and no map of all labels."""
    given = scene()
    assert given.labels is not None
    labels = given.labels.values + 3
    train = np.where(np.arange(16)[:, None] < 6, labels, 0)
    savemat(tmp_path / "scene.mat", {"TR": train, "TE": np.where(train == 0, labels, 0)})
    recipe = resolve(
        {
            "task": {
                "split": "fixed",
                "validation": 4,
                "train_map": str(tmp_path / "scene.mat"),
                "test_map": str(tmp_path / "scene.mat"),
                "train_variable": "TR",
                "test_variable": "TE",
            }
        }
    )
    task = prepare_task(replace(given, labels=None), recipe.task, 0)
    assert task.labels.original == (3, 4)
    assert task.split.counts(task.labels).tolist() == [[6 * 8 - 4, 4, 10 * 8]] * 2
    assert np.array_equal(task.labels.values, given.labels.values)
