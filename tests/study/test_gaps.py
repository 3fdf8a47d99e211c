"""Studies over tables in which some figures of some networks are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from swath import spaces, strategies
from swath.core.errors import RecipeError
from swath.core.history import Objective
from swath.estimators._table import Column, Table
from swath.estimators.tables import TableEstimator, write_table
from swath.study.studies import Study, run_study

GOALS = {
    "loss": (Objective(), Objective("loss", "minimize")),
    "latency": (Objective(), Objective("latency", "minimize")),
    "seconds": (Objective("seconds", "minimize"),),
}


@pytest.fixture
def table(tmp_path: Path) -> TableEstimator:
    """A table of thirty networks; every third has no loss, latency or seconds."""
    space = spaces.create("nasbenchmacro")
    rng = np.random.default_rng(0)
    models = list(dict.fromkeys(space.sample(rng) for _ in range(40)))[:30]
    accuracy = rng.uniform(0.2, 0.9, 30)
    holed = np.where(np.arange(30) % 3 == 0, np.nan, rng.uniform(1, 9, 30))
    columns = [
        Column("accuracy", accuracy),
        Column("loss", holed, "minimize"),
        Column("latency", holed, role="cost"),
        Column("seconds", holed, role="cost"),
    ]
    write_table(Table.of("own", models, columns, space), tmp_path / "own.safetensors")
    return TableEstimator(str(tmp_path / "own.safetensors"))


def run(table: TableEstimator, trials: int = 30, **options: object) -> Study:
    space, strategy = table.search_space(), strategies.create("random")
    return run_study(space, strategy, table, trials=trials, seed=1, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", list(GOALS))
def test_a_gap_in_an_objective_is_infeasible(
    name: str, table: TableEstimator, tmp_path: Path
) -> None:
    run(table, 12, objectives=GOALS[name], store=tmp_path)
    study = run(table, objectives=GOALS[name], store=tmp_path)
    assert len(study.trials) == 30
    for trial in study.trials:
        lacking = table.data.row(trial.architecture) % 3 == 0
        assert (trial.evaluation is None) == lacking
        if lacking:
            assert trial.reason == f"table 'own' has no {name} of this architecture"
    assert {trial.evaluation is None for trial in study.trials} == {True, False}


def test_a_gap_in_another_figure_does_not_matter(table: TableEstimator) -> None:
    assert len(run(table).comparable) == 30


def test_a_gap_in_what_is_constrained_is_outside(table: TableEstimator) -> None:
    study = run(table, constraints={"latency": {"max": 6.0}})
    tried = {table.data.row(trial.architecture) for trial in study.comparable}
    assert tried == set(np.flatnonzero(table.data.columns["latency"].values <= 6).tolist())


def test_what_the_table_does_not_have_is_still_refused(table: TableEstimator) -> None:
    with pytest.raises(RecipeError, match="gives no 'flops'"):
        run(table, objectives=(Objective("flops", "minimize"),))
    with pytest.raises(RecipeError, match="does not tell the flops"):
        run(table, constraints={"flops": {"max": 5}})
