"""Persistence against the rule written out in sets, the published shares, and chance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swath.core.errors import RecipeError
from swath.landscape.persistence import PERCENTS, area, chance, persistence


def by_sets(stages: list[list[float]], percent: int, best: bool) -> float:
    """The authors' rule as they wrote it: quantile, sorted list, sets."""
    sets = []
    for values in stages:
        bound = np.quantile(values, percent / 100)
        size = sum(value <= bound for value in values)
        ascending = sorted(range(len(values)), key=lambda i: (values[i], i))
        sets.append(set(ascending[-size:] if best else ascending[:size]))
    return len(set.intersection(*sets)) / len(sets[0])


@settings(max_examples=20)
@given(
    st.integers(6, 40).flatmap(
        lambda count: st.lists(
            st.lists(st.integers(0, 12).map(float), min_size=count, max_size=count),
            min_size=2,
            max_size=4,
        )
    )
)
def test_it_is_the_rule_in_sets(stages: list[list[float]]) -> None:
    given_stages = {4 * 3**i: np.array(values) for i, values in enumerate(stages)}
    found = persistence(given_stages, resamples=0, rng=np.random.default_rng(0))
    for place, percent in enumerate(PERCENTS):
        for several in range(2, len(stages) + 1):
            expected = [by_sets(stages[:several], percent, best) for best in (True, False)]
            assert found.positive_by_budgets[several - 2, place] == expected[0]
            assert found.negative_by_budgets[several - 2, place] == expected[1]
    assert found.area["positive"].value == pytest.approx(found.positive.sum() / 25)


def test_sizes_are_those_behind_the_published_shares() -> None:
    # 31.82 % = 7 of 22 (88 models), 4.0 % = 1 of 25 (100), 5.26 % = 1 of 19 (75).
    for count, size in ((88, 22), (100, 25), (75, 19)):
        values = np.arange(count, dtype=float)
        other = np.roll(values, size - 1)  # one of the worst quarter stays in it
        found = persistence({4: values, 12: other}, resamples=0, rng=np.random.default_rng(0))
        assert found.negative[-1] == pytest.approx(1 / size)


def test_what_stays_the_same_persists_and_what_turns_does_not() -> None:
    rng = np.random.default_rng(0)
    values = rng.random(80)
    same = persistence({4: values, 12: values + 1, 36: 2 * values}, resamples=50, rng=rng)
    for side in ("positive", "negative"):
        assert same.at_25[side].value == same.area[side].value == 1
        assert same.at_25[side].low == 1
    turned = persistence({4: values, 12: -values}, resamples=50, rng=rng)
    assert turned.at_25["positive"].value == turned.area["negative"].value == 0
    loss = persistence({4: 1 - values, 12: 1 - values**2}, maximize=False, resamples=0, rng=rng)
    assert loss.area["positive"].value == 1


def test_what_has_nothing_to_do_with_one_another_persists_by_chance() -> None:
    rng = np.random.default_rng(1)
    stages = {budget: rng.random(20_000) for budget in (4, 12, 36)}
    found = persistence(stages, resamples=0, rng=rng)
    np.testing.assert_allclose(found.positive, found.chance, atol=0.015)
    assert found.area["negative"].value == pytest.approx(area(chance(3)), abs=0.005)


def test_the_interval_holds_the_whole() -> None:
    rng = np.random.default_rng(2)
    skill = rng.normal(size=50_000)
    stages = {budget: skill + 0.5 * rng.normal(size=50_000) for budget in (4, 12)}
    truth = persistence(stages, resamples=0, rng=rng).at_25["positive"].value
    assert truth is not None
    inside = 0
    for _ in range(12):
        rows = rng.choice(50_000, 300, replace=False)
        few = persistence({b: v[rows] for b, v in stages.items()}, resamples=80, rng=rng)
        inside += few.at_25["positive"].low <= truth <= few.at_25["positive"].high  # type: ignore[operator]
    assert inside >= 9


def test_one_budget_is_an_error_and_gaps_are_left_out() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(RecipeError, match="1 is known; take a metric"):
        persistence({200: np.arange(9.0)}, rng=rng)
    first, second = np.arange(20.0), np.arange(20.0)
    second[3] = np.nan
    assert persistence({4: first, 12: second}, resamples=0, rng=rng).count == 19
    with pytest.raises(RecipeError, match="only 4 models"):
        persistence({4: first[:5], 12: second[:5]}, rng=rng)
