"""The parts that a study's recipe names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath import spaces, strategies
from swath.estimators._table import Column, Table
from swath.estimators.tables import TableEstimator, write_table
from swath.estimators.trained import TrainedEstimator
from swath.study.parts import make_parts
from swath.study.scoring import of_study
from swath.study.studies import run_study
from swath.study.study_recipe import resolve_study

BASE: dict[str, Any] = {
    "space": {"name": "hsi3d", "options": {"base_width": 2, "stem_width": 3, "head_width": 4}},
    "estimator": "trained",
    "task": {"scene": "demo-simulated"},
}


@pytest.mark.parametrize(
    ("asked", "measured"),
    [
        ({}, False),
        ({"objectives": ["score", "parameters"]}, False),
        ({"objectives": ["score", "latency"]}, True),
        ({"constraints": {"latency": {"max": 0.1}}}, True),
        ({"estimator": {"name": "trained", "options": {"latency": True}}}, True),
    ],
)
def test_latency_is_measured_where_it_is_asked_for(asked: dict[str, Any], measured: bool) -> None:
    parts = make_parts(resolve_study(BASE, asked))
    assert isinstance(parts.estimator, TrainedEstimator)
    assert parts.estimator.latency == measured
    goals = {one.name: one.direction for one in parts.objectives}
    assert goals.get("latency", "minimize") == "minimize"


@pytest.fixture
def own_table(tmp_path: Path) -> str:
    """A table of thirty networks; its regret is to be small, and so is its loss."""
    space = spaces.create("nasbenchmacro")
    rng = np.random.default_rng(0)
    models = list(dict.fromkeys(space.sample(rng) for _ in range(40)))[:30]
    accuracy = rng.uniform(0.2, 0.9, 30)
    columns = [
        Column("accuracy", accuracy),
        Column("regret", 1 - accuracy, "minimize"),
        Column("loss", 1 / accuracy, "minimize"),
        Column("parameters", rng.integers(100, 900, 30).astype(float), role="cost"),
    ]
    write_table(Table.of("own", models, columns, space), tmp_path / "own.safetensors")
    return str(tmp_path / "own.safetensors")


def goals_of(*layers: dict[str, Any]) -> dict[str, str]:
    return {one.name: one.direction for one in make_parts(resolve_study(*layers)).objectives}


def test_objectives_go_as_the_columns_of_the_table_do(own_table: str) -> None:
    base = {"estimator": {"name": "table", "options": {"table": own_table}}}
    names = ["score", "regret", "loss", "parameters"]
    assert goals_of(base, {"objectives": names}) == {
        "score": "maximize",
        "regret": "minimize",
        "loss": "minimize",
        "parameters": "minimize",
    }
    turned = {"objectives": [{"name": "regret", "direction": "maximize"}]}
    assert goals_of(base, turned) == {"regret": "maximize"}


def test_a_loss_of_training_is_to_be_small() -> None:
    names = ["validation_loss", "validation_oa", "latency"]
    assert goals_of(BASE, {"objectives": names}) == {
        "validation_loss": "minimize",
        "validation_oa": "maximize",
        "latency": "minimize",
    }


def test_objectives_go_as_the_proxies_do() -> None:
    options = {"space": "hsi3d", "bands": 3, "classes": 2, "proxy": "snip"}
    options["metrics"] = ["ntk_condition", "synflow"]
    recipe = {"space": "hsi3d", "estimator": {"name": "proxy", "options": options}}
    goals = {"objectives": ["score", "ntk_condition", "synflow", "flops"]}
    assert goals_of(recipe, goals) == {
        "score": "maximize",
        "ntk_condition": "minimize",
        "synflow": "maximize",
        "flops": "minimize",
    }


def test_figures_of_a_study_are_correlated_the_way_they_go(own_table: str) -> None:
    table = TableEstimator(own_table)
    study = run_study(table.search_space(), strategies.create("random"), table, trials=20, seed=1)
    measured = of_study(study)
    assert measured.directions["regret"] == measured.directions["loss"] == "minimize"
    assert measured.promised("loss", -1.0) == 1.0
    # Where the table is gone, the names tell.
    Path(own_table).unlink()
    measured = of_study(study)
    assert (measured.directions["regret"], measured.directions["loss"]) == ("maximize", "minimize")
