"""The page on the footprint tells the figures of the results file, and the script makes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmark_scripts import FOLDER, script

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def tables() -> Iterator[ModuleType]:
    with script("landscape") as module:
        yield module


@pytest.fixture(scope="module")
def results() -> Any:
    return json.loads((FOLDER / "results" / "landscape.json").read_text("utf-8"))


@pytest.mark.parametrize("part", ["truth", "rivals", "thinned", "coverage", "reach", "speed"])
def test_the_tables_of_the_page_are_those_of_the_results(
    part: str, tables: ModuleType, results: Any
) -> None:
    page = (ROOT / "docs" / "systems" / "footprint.md").read_text("utf-8")
    assert getattr(tables, f"{part}_table")(results[part]) in page


def test_the_limits_are_kept(tables: ModuleType, results: Any) -> None:
    for row in results["speed"].values():
        assert row["optima"] < tables.OPTIMA_LIMIT
        assert row["step of one walk, us"] < tables.STEP_LIMIT


def test_what_the_page_says_of_samples_is_in_the_results(results: Any) -> None:
    for rows in results["coverage"].values():
        theirs = rows["ρ(1), mean of 30 walks' own, of 100"]
        assert -9.5 < theirs["bias"] < -5.5
        assert theirs["inside"] < 0.6
        for estimate in ("ρ(1), one walk of 1,000", "ρ(1), 30 walks of 100", "optima by Chao"):
            assert rows[estimate]["inside"] > 0.9
        assert rows["effective optima by meetings"]["inside"] > 0.9
