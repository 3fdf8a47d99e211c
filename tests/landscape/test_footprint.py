"""All measures together: complete, the same again, and written without loss."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from swath.core.errors import DataError, RecipeError, UnknownName
from swath.estimators._table import Table
from swath.landscape import (
    Landscape,
    footprint,
    of_mapping,
    of_table,
    read_footprints,
    write_footprints,
)
from swath.landscape.footprint import LABELS
from swath.landscape.reach import evaluations_to_reach, expected_of_random

QUICK = {"walks": 6, "steps": 40, "starts": 50, "rounds": 4, "resamples": 40}


def test_every_measure_has_a_name_and_an_interval_or_a_reason(
    make: Callable[..., Landscape],
) -> None:
    rng = np.random.default_rng(0)
    table = rng.uniform(0.1, 0.9, (3,) * 4)
    found = footprint(make(lambda x: float(table[tuple(x)]), 4, 3), searches=3, **QUICK)
    assert list(found.measures) == list(LABELS)
    for name, one in found.measures.items():
        assert one.value is not None or one.note, name
        assert one.count > 0, name
        if one.value is not None and one.low is not None and one.high is not None:
            assert one.low <= one.value <= one.high, name
    assert "two" in found.measures["positive_area"].note
    assert found.measures["mean"].value == pytest.approx(table.mean())
    assert found.measures["deviation"].value == pytest.approx(table.std(ddof=1))
    assert found.measures["best"].value == table.max()
    assert found.measures["optima"].exact
    assert not found.measures["ruggedness"].exact
    assert sum(found.curves.counts) == 81
    assert found.curves.autocorrelation[0] == found.curves.autocorrelation_exact[0] == 1


def test_it_is_the_same_again_and_from_its_file(
    make: Callable[..., Landscape], tmp_path: Path
) -> None:
    landscape = make(lambda x: 0.1 + 0.05 * sum(x) + 0.1 * (x[0] == x[2]), 5)
    found = footprint(landscape, seed=3, **QUICK)
    assert footprint(landscape, seed=3, **QUICK) == found
    assert footprint(landscape, seed=4, **QUICK) != found
    write_footprints([found], tmp_path / "own.json")
    text = (tmp_path / "own.json").read_text()
    assert "NaN" not in text
    assert "Infinity" not in text
    assert read_footprints(tmp_path / "own.json") == [found]


def test_what_is_no_footprint_is_refused(tmp_path: Path) -> None:
    for text in ("[1]", "{}", '{"version": 2}'):
        (tmp_path / "other.json").write_text(text)
        with pytest.raises(DataError, match="no footprints"):
            read_footprints(tmp_path / "other.json")


def test_a_constant_landscape_has_words_in_place_of_figures(make: Callable[..., Landscape]) -> None:
    found = footprint(make(lambda x: 0.5, 4), **QUICK)
    for name in ("autocorrelation", "ruggedness", "correlation_length", "distance_correlation"):
        assert found.measures[name].value is None
        assert "same" in found.measures[name].note
    assert all(one.aic is None for one in found.fits)
    assert "NaN" not in json.dumps(found.to_dict())


def test_equal_up_to_rounding_is_the_same(make: Callable[..., Landscape]) -> None:
    found = footprint(make(lambda x: 0.3 if x[0] else 0.1 + 0.2, 4), **QUICK)
    assert found.curves.counts == [16]
    assert all("the same" in one.note for one in found.fits)
    assert "the same" in found.measures["misled_genes"].note


def test_the_deviation_of_huge_values_is_not_defined(make: Callable[..., Landscape]) -> None:
    with np.errstate(over="ignore", invalid="ignore"):
        found = footprint(make(lambda x: 1e200 * (1 + sum(x)), 4), **QUICK)
    assert found.measures["mean"].value == pytest.approx(3e200)
    assert found.measures["deviation"].value is None
    assert "too large" in found.measures["deviation"].note


def test_numbers_that_make_no_sense_are_refused(make: Callable[..., Landscape]) -> None:
    landscape = make(lambda x: float(sum(x)), 3)
    for options in ({"rounds": 0}, {"steps": 0}, {"resamples": -1}):
        with pytest.raises(RecipeError, match="ask for at least"):
            footprint(landscape, **options)


def test_too_few_models_at_all_budgets_leave_the_rest(strings: type) -> None:
    models = strings(3).all()
    late = {one: float(i) for i, one in enumerate(models)}
    early = {one: float(i) for i, one in enumerate(models[:4])}
    found = footprint(of_mapping(strings(3), late, stages={1: early, 9: late}), **QUICK)
    assert "only 4 models" in found.measures["positive_area"].note
    assert found.measures["mean"].value == 3.5


def test_two_budgets_give_persistence(published: Callable[[str], Table]) -> None:
    landscape = of_table(published("nas_bench_201"), "imagenet16-120-test")
    found = footprint(landscape, **{**QUICK, "resamples": 5})
    area = found.measures["positive_area"]
    assert area.value is not None
    assert 0.3 < area.value < 1
    assert found.curves.budgets == [12, 200]
    assert "another encoding" in " ".join(found.notes)


def test_random_search_takes_as_long_as_theory_says(make: Callable[..., Landscape]) -> None:
    rng = np.random.default_rng(0)
    values = rng.permutation(64).astype(float)
    landscape = make(lambda x: float(values[int(np.dot(x, [16, 4, 1]))]), 3, 4)
    found = evaluations_to_reach(landscape, "random", share=0.05, searches=150)  # four of 64
    assert expected_of_random(64, 4) == 13
    assert found.low <= 13 <= found.high  # type: ignore[operator]
    short = evaluations_to_reach(landscape, "random", share=0.01, searches=10, most=2)
    assert "had not found one after 2" in short.note
    assert short.value is not None
    assert short.value <= 2
    with pytest.raises(UnknownName):
        evaluations_to_reach(landscape, "annealing", searches=1)


def test_climbing_pays_where_the_way_leads_up(make: Callable[..., Landscape]) -> None:
    landscape = make(lambda x: float(np.dot(x, [1, 2, 4, 8, 16])), 5, 3)
    counts = {
        name: evaluations_to_reach(landscape, name, share=0.004, searches=12).value
        for name in ("random", "local-search")
    }
    assert counts["local-search"] < counts["random"]  # type: ignore[operator]
