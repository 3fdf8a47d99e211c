"""The command on landscapes: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import swath
from swath import spaces
from swath.data.simulate import simulate_demo
from swath.estimators._table import Column, Table
from swath.estimators.tables import write_table
from swath.landscape import read_footprints

QUICK = ["--walks", "4", "--steps", "30", "--starts", "30", "--rounds", "3", "--resamples", "30"]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of a user's own: one budget of accuracy more than one, sizes, and a proxy."""
    space = spaces.create("nasbenchmacro")
    rng = np.random.default_rng(0)
    models = list(dict.fromkeys(space.sample(rng) for _ in range(70)))
    early, late = rng.uniform(20, 60, (2, len(models)))
    columns = [
        Column("accuracy", early, budget=12, unit="percent"),
        Column("accuracy", late + 20, budget=200, unit="percent"),
        Column("loss", 1 / late, "minimize"),
        Column("guess", late + rng.normal(size=len(models)), role="proxy"),
        Column("parameters", rng.integers(1000, 9000, len(models)).astype(float), role="cost"),
    ]
    path = tmp_path_factory.mktemp("landscape") / "own.safetensors"
    write_table(Table.of("own", models, columns, space), path)
    return path


def test_a_table_is_measured_and_written(cli: Any, own: Path, tmp_path: Path) -> None:
    files = [tmp_path / name for name in ("a.json", "a.csv", "a.html")]
    result = cli(
        "landscape", own, *QUICK, "--json", files[0], "--csv", files[1], "--out", files[2]
    )  # fmt: skip
    assert result.status == 0, result.err
    (found,) = read_footprints(files[0])
    assert found.metric == "accuracy@200"
    assert found.measures["mean"].value == pytest.approx(
        np.mean(swath.estimators.tables.load_table(own).columns["accuracy@200"].values) / 100
    )
    lines = list(csv.DictReader(files[1].open()))
    assert [line["measure"] for line in lines] == list(found.measures)
    for line in lines:
        value = found.measures[line["measure"]].value
        assert float(line["value"]) == value if line["value"] else value is None
    assert "mean fitness" in result.out
    assert "69 of the 6561 models of the space are known" in result.out
    assert "<svg" in files[2].read_text()
    for path in files:
        assert str(path) in result.out


def test_the_same_in_python(cli: Any, own: Path, tmp_path: Path) -> None:
    assert cli("landscape", own, *QUICK, "--json", tmp_path / "a.json").status == 0
    (found,) = read_footprints(tmp_path / "a.json")
    options: Any = {"walks": 4, "steps": 30, "starts": 30, "rounds": 3, "resamples": 30}
    assert swath.footprint(own, **options) == found
    other = swath.footprint(own, "accuracy", 12, nearest=5, **options)
    assert other.metric == "accuracy@12"
    assert "the 5 models" in other.facts["neighbourhood"]


def test_several_stand_side_by_side(cli: Any, own: Path, tmp_path: Path) -> None:
    assert cli("landscape", own, *QUICK, "--json", tmp_path / "a.json").status == 0
    result = cli(
        "landscape", tmp_path / "a.json", own, *QUICK, "--metric", "loss",
        "--columns", "parameters,gue*", "--json", tmp_path / "b.json",
    )  # fmt: skip
    assert result.status == 0, result.err
    found = read_footprints(tmp_path / "b.json")
    assert [one.metric for one in found] == ["accuracy@200", "loss", "parameters", "guess"]
    assert found[1].direction == "minimize"
    assert found[1].measures["best"].value == pytest.approx(
        swath.estimators.tables.load_table(own).columns["loss"].values.min()
    )
    for title in ("accuracy@200", "loss", "parameters", "guess"):
        assert title in result.out
    assert "persistence needs two" in result.out


def test_a_study_is_measured(cli: Any, own: Path, tmp_path: Path) -> None:
    recipe = {
        "trials": 20,
        "strategy": {"name": "random"},
        "estimator": {"name": "table", "options": {"table": str(own)}},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    assert cli("study", "run", tmp_path / "recipe.yaml", "--out", tmp_path / "run").status == 0
    result = cli("landscape", tmp_path / "run", *QUICK, "--columns", "parameters")
    assert result.status == 0, result.err
    assert "the strategy 'random' proposed" in result.out
    refused = cli("landscape", tmp_path / "run", "--metric", "loss")
    assert "a study has its own objective" in refused.message


def test_compare_is_a_word_that_may_be_left_out(cli: Any, own: Path, tmp_path: Path) -> None:
    assert cli("landscape", own, *QUICK, "--json", tmp_path / "a.json").status == 0
    several = [tmp_path / "a.json", own, *QUICK, "--metric", "loss", "--json", tmp_path / "b.json"]
    with_the_word = cli("landscape", "compare", *several)
    assert with_the_word.status == 0, with_the_word.err
    found = read_footprints(tmp_path / "b.json")
    assert cli("landscape", *several).out == with_the_word.out
    assert read_footprints(tmp_path / "b.json") == found
    assert "'compare' needs two sources" in cli("landscape", "compare", own).message


def test_a_recipe_is_run_first(cli: Any, own: Path, tmp_path: Path) -> None:
    recipe = {
        "trials": 20,
        "strategy": {"name": "random"},
        "estimator": {"name": "table", "options": {"table": str(own)}},
    }
    file = tmp_path / "recipe.yaml"
    file.write_text(yaml.safe_dump(recipe))
    refused = cli("landscape", file)
    assert "give --run FOLDER" in refused.message
    result = cli(
        "landscape", file, "--run", tmp_path / "run", *QUICK, "--json", tmp_path / "a.json"
    )
    assert result.status == 0, result.err
    assert cli("landscape", tmp_path / "run", *QUICK, "--json", tmp_path / "b.json").status == 0
    assert read_footprints(tmp_path / "a.json") == read_footprints(tmp_path / "b.json")
    assert "and none was given" in cli("landscape", own, "--run", tmp_path / "run").message


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny search with a supernet."""
    out = tmp_path_factory.mktemp("supernet") / "judged"
    swath.search(
        simulate_demo(0, rows=20, columns=18, bands=6, classes=3),
        out=out,
        recipe={
            "space": {"name": "nasbench201", "options": {"channels": 2, "cells": 1, "patch": 5}},
            "one_shot": {
                "strategy": "se-nas",
                "training": {
                    "epochs": 2,
                    "later_epochs": 1,
                    "steps": 3,
                    "batch": 6,
                    "snapshots": 2,
                },
                "shrinking": {"stages": 1, "drop": 8, "children": 4},
                "enumerate": 1,
                "population": 5,
                "parents": 3,
                "crossover": 2,
                "generations": 2,
            },
            "training": {"iterations": 4, "validate_every": 2, "batch": 6, "optimiser": "adamw"},
        },
        split="random",
        train=5,
        validation=9,
    )
    return out


def test_a_supernet_is_measured(cli: Any, judged: Path, tmp_path: Path) -> None:
    lines = [json.loads(x) for x in (judged / "search" / "children.jsonl").read_text().splitlines()]
    files = [tmp_path / "a.json", tmp_path / "a.html"]
    result = cli("landscape", judged, "--budget", 2, *QUICK, "--json", files[0], "--out", files[1])
    assert result.status == 0, result.err
    (found,) = read_footprints(files[0])
    first = [one["evaluation"] for one in lines if one["stage"] == 0]  # after two epochs
    assert (found.name, found.metric, found.models) == ("judged", "inherited@2", len(first))
    assert found.measures["mean"].value == pytest.approx(np.mean([one["score"] for one in first]))
    assert "what a supernet says" in result.out
    assert "<svg" in files[1].read_text()
    result = cli(
        "landscape", judged, "--metric", "loss", *QUICK, "--columns", "parameters",
        "--json", files[0],
    )  # fmt: skip
    assert result.status == 0, result.err
    loss, size = read_footprints(files[0])
    last = {one["key"]: one["evaluation"] for one in lines if one["stage"] == 1}
    assert (loss.metric, loss.direction, size.metric) == ("loss@3", "minimize", "parameters")
    assert loss.measures["best"].value == pytest.approx(
        min(one["metrics"]["validation_loss"] for one in last.values())
    )
    assert size.measures["mean"].value == pytest.approx(
        np.mean([one["cost"]["parameters"] for one in last.values()])
    )


def test_scores_of_proxies_are_measured(cli: Any, tmp_path: Path) -> None:
    file = tmp_path / "scores.csv"
    scored = cli(
        "score", "--space", "nasbench201", "--option", "channels=2", "--option", "cells=1",
        "--proxies", "synflow,grad_norm", "--count", 12, "--window", 8, "--out", file,
    )  # fmt: skip
    assert scored.status == 0, scored.err
    rows = list(csv.DictReader(file.open()))
    result = cli(
        "landscape", file, "--metric", "grad_norm", "--columns", "synflow,parameters", *QUICK,
        "--json", tmp_path / "a.json",
    )  # fmt: skip
    assert result.status == 0, result.err
    found = read_footprints(tmp_path / "a.json")
    assert [one.metric for one in found] == ["grad_norm", "synflow", "parameters"]
    for one in found:
        values = [float(row[one.metric]) for row in rows]
        assert one.measures["mean"].value == pytest.approx(np.mean(values))
    assert "a proxy's guess" in result.out
    mixed = file.read_text().splitlines()
    mixed[2] = mixed[2].replace("nasbench201", "nasbenchmacro")
    file.write_text("\n".join(mixed))
    assert "of nasbench201, nasbenchmacro" in cli("landscape", file).message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nosuch"], "there is no table or file 'nosuch'"),
        (["own", "--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["own", "--columns", "gues"], "has no column 'gues'"),
        (["own", "--neighbourhood", "far"], "choose one of: space, nearest, encoding"),
        (["own", "--neighbourhood", "encoding"], "no two of the 69 models"),
        (["empty.json"], "holds no footprints"),
        (["own", "--out", "folder"], "cannot write"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    cli: Any, own: Path, tmp_path: Path, words: list[str], message: str
) -> None:
    (tmp_path / "empty.json").write_text("{}")
    places = {"own": str(own), "empty.json": str(tmp_path / "empty.json")}
    places["folder"] = str(tmp_path)
    result = cli("landscape", *(places.get(word, word) for word in words))
    assert result.status == 2
    assert message in result.message
