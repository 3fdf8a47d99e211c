"""Landscapes of tables and studies with further figures of the same models."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swath import spaces, strategies
from swath.core.architecture import Architecture
from swath.estimators._table import Column, Table
from swath.estimators.tables import TableEstimator, write_table
from swath.landscape.fitness import Landscape
from swath.landscape.sources import open_landscapes
from swath.study.studies import run_study


@pytest.fixture
def table() -> Table:
    """Thirty networks; each of two budgets has gaps of its own, and a proxy is known of all."""
    space = spaces.create("nasbenchmacro")
    rng = np.random.default_rng(0)
    models = list(dict.fromkeys(space.sample(rng) for _ in range(40)))[:30]
    late = rng.uniform(20, 60, 30)
    early = late - 10
    late[[0, 1, 2]], early[[20, 25]] = np.nan, np.nan
    columns = [
        Column("accuracy", early, budget=12, unit="percent"),
        Column("accuracy", late, budget=200, unit="percent"),
        Column("loss", 1 / rng.uniform(1, 9, 30), "minimize", 200),
        Column("guess", np.arange(30.0), role="proxy"),
    ]
    return Table.of("own", models, columns, space)


def by_model(landscape: Landscape) -> dict[Architecture, float]:
    return dict(zip(landscape.architectures, landscape.fitness.tolist(), strict=True))


@pytest.mark.parametrize("budget", [12, 200, None])
def test_figures_beside_are_of_the_same_models(table: Table, budget: int | None) -> None:
    found, guess = open_landscapes(table, budget=budget, columns=["guess"])
    assert len(found) == (28 if budget == 12 else 27)
    assert guess.metric == "guess"
    for model, value in by_model(guess).items():
        assert value == table.row(model)


def test_a_study_has_the_unit_and_the_directions_of_its_table(table: Table, tmp_path: Path) -> None:
    write_table(table, tmp_path / "own.safetensors")
    estimator = TableEstimator(str(tmp_path / "own.safetensors"))
    space, strategy = estimator.search_space(), strategies.create("random")
    study = run_study(space, strategy, estimator, trials=30, seed=1)
    found, loss = open_landscapes(study, columns=["loss"])
    (whole,) = open_landscapes(table)
    assert by_model(found) == by_model(whole)
    assert (loss.metric, loss.direction) == ("loss", "minimize")
    for model, value in by_model(loss).items():
        assert value == table.value(model, "loss@200")


def test_the_stages_of_a_study_are_shares_too(table: Table, tmp_path: Path) -> None:
    write_table(table, tmp_path / "own.safetensors")
    estimator = TableEstimator(str(tmp_path / "own.safetensors"))
    halving = strategies.create("successive-halving", budgets=[12, 200])
    study = run_study(estimator.search_space(), halving, estimator, trials=90, seed=1)
    (found,) = open_landscapes(study)
    assert list(found.stages) == [12, 200]
    for stage in found.stages.values():
        assert np.nanmax(stage) < 1
