"""The study of sensors runs on the real chip, its measures are what they are called, and the page
tells the committed figures."""

from __future__ import annotations

import csv
import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath.estimators._table_csv import ScoreColumn, convert_csv
from swath.landscape import of_table, read_footprints
from swath.landscape.walks import autocorrelation

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.fixture(scope="module")
def script() -> Iterator[Any]:
    """The script, which finds its parts beside it as it does when it is run."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    yield importlib.import_module("sensor_study")
    sys.path.remove(str(ROOT / "benchmarks"))


@pytest.fixture(scope="module")
def plan(script: Any) -> Any:
    return importlib.import_module("_sensors.plan")


@pytest.fixture(scope="module")
def measures(script: Any) -> Any:
    return importlib.import_module("_sensors.measures")


@pytest.fixture(scope="module")
def results() -> Any:
    return json.loads((RESULTS / "sensor_study.json").read_text("utf-8"))


def quick(script: Any, monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[dict[str, str]]:
    monkeypatch.setattr(sys, "argv", ["sensor_study.py", "--quick", "--out", str(folder)])
    script.main()
    with open(folder / "sensor_study.csv", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_quick_trains_on_the_real_chip_goes_on_and_writes_what_it_says(
    script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, swath_data: Path
) -> None:
    quickly = script.QUICK
    rows = quick(script, monkeypatch, tmp_path)
    sets, walk = quickly.scenes["sentinel"], set(script.walk_hashes(quickly))
    sampled = {script.space().cell_hash(cell) for cell in script.drawn_cells(quickly)}
    assert len(sampled) == quickly.cells
    expected = {(s, c, str(e)) for s in sets for c in sampled for e in quickly.budgets}
    expected |= {(s, c, str(quickly.budgets[-1])) for s in sets for c in walk}
    assert sorted((r["sensors"], r["cell"], r["epochs"]) for r in rows) == sorted(expected)

    # Cut off in the middle of a row, it trains that one anew, to the same kappa.
    path = tmp_path / "sensor_study.csv"
    path.write_text(path.read_text("utf-8")[:-20], "utf-8")
    again = quick(script, monkeypatch, tmp_path)
    without_time = [{k: v for k, v in row.items() if k != "seconds"} for row in again]
    assert without_time == [{k: v for k, v in row.items() if k != "seconds"} for row in rows]

    # The line a cell becomes a table, whose landscape has the fitness of the rows.
    last = str(quickly.budgets[-1])
    columns = [ScoreColumn.parse(f"s2=sentinel-s2-{epochs}:{epochs}") for epochs in quickly.budgets]
    table = convert_csv(
        tmp_path / "sensor_study_cells.csv", script.space(), columns, architecture="architecture"
    )
    ground = of_table(table, "s2")
    kappas = {
        row["cell"]: float(row["kappa_validation"])
        for row in rows
        if (row["sensors"], row["epochs"], row["part"]) == ("s2", last, "sample")
    }
    found = map(script.space().cell_hash, ground.architectures)
    assert dict(zip(found, ground.fitness.tolist(), strict=True)) == kappas
    footprints = read_footprints(tmp_path / "sensor_study.json")
    assert [one.name for one in footprints] == [f"sentinel {sensors}" for sensors in sets]
    assert footprints[1].measures["mean"].value == pytest.approx(np.mean(list(kappas.values())))


def test_sensors_share_patches_and_split_and_no_part_touches_another(
    plan: Any, swath_data: Path
) -> None:
    found = plan.tasks(plan.QUICK, "sentinel")
    one, two = found["s1"], found["s2"]
    assert (one.bands, two.bands) == (2, 13)
    assert one.split is two.split
    assert (one.patches.corners == two.patches.corners).all()
    seen = np.zeros((3, 512, 512), bool)
    parts = (one.split.train, one.split.validation, one.split.test)
    for number, part in enumerate(parts):
        for row, column in one.patches.corners[part]:
            seen[number, row : row + 16, column : column + 16] = True
    assert seen.sum(axis=0).max() == 1


def test_a_step_of_the_walk_is_one_bit(plan: Any) -> None:
    space = plan.space()
    walk = plan.random_walk(plan.FULL)
    assert len(walk) == plan.FULL.steps + 1
    codes = np.array([space.encode(cell) for cell in walk])
    assert (np.abs(np.diff(codes, axis=0)).sum(axis=1) == 1).all()


def test_the_correlation_of_a_step_is_that_of_theory_and_sheds_noise(measures: Any) -> None:
    rng = np.random.default_rng(0)
    true, steps = np.zeros(20_001), np.arange(20_000)
    for step in steps:
        true[step + 1] = 0.8 * true[step] + rng.normal(scale=0.6)  # of variance 1
    first, second = true + rng.normal(size=(2, len(true)))
    # Noise of the same variance halves the correlation of what is measured once.
    assert measures.step_correlation(first, first, steps) == pytest.approx(0.4, abs=0.02)
    assert measures.step_correlation(first, second, steps) == pytest.approx(0.8, abs=0.03)
    usual = autocorrelation(first[None])[0, 1]
    assert measures.step_correlation(first, first, steps) == pytest.approx(usual, abs=1e-3)


def test_verdicts_need_an_interval_without_zero(measures: Any) -> None:
    def one(**levels: tuple[float, float]) -> tuple[dict[str, float], dict[str, Any]]:
        draws = {name: np.linspace(*ends, 101) for name, ends in levels.items()}
        return {name: sum(ends) / 2 for name, ends in levels.items()}, draws

    worse = one(mean=(0.3, 0.4), deviation=(0.1, 0.1), positive_area=(0.3, 0.3))
    better = one(mean=(0.8, 0.9), deviation=(0.0, 0.05), positive_area=(0.2, 0.5))
    (row,) = measures.verdicts({"a": worse, "b": better})
    assert (row["better"], row["other"]) == ("b", "a")
    assert row["mean"]["low"] > 0
    assert row["deviation"]["verdict"] == "confirmed"
    assert row["positive_area"]["verdict"] == "cannot be told"
    even = one(mean=(0.6, 1.1), deviation=(1.0, 1.1), positive_area=(0.9, 0.9))
    (row,) = measures.verdicts({"a": even, "b": better})  # neither is the better one for sure
    assert row["deviation"]["verdict"] == "cannot be told"
    rough = one(mean=(0.9, 1.0), deviation=(0.5, 0.6), positive_area=(0.0, 0.1))
    (row,) = measures.verdicts({"a": rough, "b": worse})
    assert row["deviation"]["verdict"] == row["positive_area"]["verdict"] == "contradicted"


def test_the_committed_rows_are_complete_and_make_the_table_of_cells(
    script: Any, tmp_path: Path
) -> None:
    rows = script.read_rows(RESULTS / "sensor_study.csv")
    for scene, sets in script.SENSORS.items():
        for sensors in sets:
            one = script.trained(script.FULL, rows, scene, sensors)
            assert one.stages.shape == (3, 40)
    script.write_cells(script.FULL, rows, tmp_path / "cells.csv")
    made = (tmp_path / "cells.csv").read_text("utf-8")
    assert made == (RESULTS / "sensor_study_cells.csv").read_text("utf-8")


def test_the_committed_measures_follow_from_the_rows(script: Any, results: Any) -> None:
    from scipy.stats import pearsonr

    rows = script.read_rows(RESULTS / "sensor_study.csv").values()

    def kappa(seed: str) -> dict[str, float]:
        return {
            row["cell"]: float(row["kappa_validation"])
            for row in rows
            if (row["scene"], row["sensors"], row["epochs"]) == ("houston", "rgb", "36")
            and (row["part"], row["seed"]) == ("sample", seed)
        }

    first, second = kappa("0"), kappa("1")
    measures = results["scenes"]["houston"]["measures"]["rgb"]
    both = [*first.values(), *second.values()]
    assert measures["mean"]["value"] == pytest.approx(np.mean(both))
    told = pearsonr([first[cell] for cell in first], [second[cell] for cell in first])
    assert measures["repeated"]["value"] == pytest.approx(told.statistic)


@pytest.mark.parametrize("part", ["measures", "verdicts"])
def test_the_tables_of_the_page_are_those_of_the_results(
    part: str, script: Any, results: Any
) -> None:
    page = (ROOT / "docs" / "systems" / "footprint.md").read_text("utf-8")
    assert getattr(script, f"{part}_table")(results["scenes"]) in page
