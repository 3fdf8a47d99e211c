"""The command on landscapes: what it prints and writes, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import swath
from swath import spaces
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
