"""Ranks by several scores, and how they become one."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from swath.core.errors import RecipeError
from swath.core.evaluation import Direction
from swath.estimators.ranking import AGGREGATES, aggregate, check_aggregate, rank_columns, ranks

# Few different values, so that there are ties; some are missing.
VALUES = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 3.0, math.nan])
COLUMNS = st.integers(1, 9).flatmap(
    lambda count: st.lists(arrays(np.float64, count, elements=VALUES), min_size=1, max_size=4)
)
DIRECTION = st.sampled_from(["maximize", "minimize"])


def beats(one: float, other: float, direction: Direction) -> float:
    """Return 1 where the first is better, a half where none is; a missing score loses."""
    if math.isnan(one) or math.isnan(other):
        return 0.5 if math.isnan(one) and math.isnan(other) else float(math.isnan(other))
    better = one > other if direction == "maximize" else one < other
    return 0.5 if one == other else float(better)


@given(COLUMNS, DIRECTION)
def test_a_rank_counts_those_that_are_better(
    columns: list[np.ndarray], direction: Direction
) -> None:
    values = columns[0]
    expected = [
        1 + sum(beats(other, one, direction) for j, other in enumerate(values) if j != i)
        for i, one in enumerate(values)
    ]
    assert ranks(values, direction).tolist() == expected


@given(COLUMNS, st.lists(DIRECTION, min_size=4, max_size=4))
def test_the_mean_rank_has_the_order_of_bordas_count(
    columns: list[np.ndarray], directions: list[Direction]
) -> None:
    """A candidate's count: how many others it beats, over all voters, ties shared."""
    named = {str(i): column for i, column in enumerate(columns)}
    ways = {str(i): directions[i] for i in range(len(columns))}
    count = len(columns[0])
    borda = [
        sum(
            beats(column[i], column[j], ways[name])
            for name, column in named.items()
            for j in range(count)
            if j != i
        )
        for i in range(count)
    ]
    merits = aggregate(rank_columns(named, ways), "mean-rank")
    for i, j in itertools.combinations(range(count), 2):
        assert np.sign(borda[i] - borda[j]) == np.sign(np.round(merits[i] - merits[j], 9))


@given(COLUMNS)
def test_one_score_ranks_as_it_is_however_it_is_aggregated(columns: list[np.ndarray]) -> None:
    ranked = ranks(columns[0])
    for how in AGGREGATES:
        merits = aggregate(ranked[:, None], how)  # type: ignore[arg-type]
        assert ranks(merits).tolist() == ranked.tolist()


def test_aggregates_by_hand() -> None:
    # Four architectures; the first is first by one score and last by the other.
    ranked = np.array([[1.0, 4.0], [2.0, 2.0], [3.0, 1.0], [4.0, 3.0]])
    assert aggregate(ranked, "mean-rank").tolist() == [-2.5, -2.0, -2.0, -3.5]
    assert aggregate(ranked, "worst-rank").tolist() == [-4, -2, -3, -4]
    # AZ-NAS: the sum of log(place from the last / number)
    expected = [math.log(4 * 1 / 16), math.log(3 * 3 / 16), math.log(2 * 4 / 16), math.log(2 / 16)]
    assert aggregate(ranked, "log-rank") == pytest.approx(expected)


def test_ranks_do_not_see_the_scale_of_scores() -> None:
    scores = np.random.default_rng(0).normal(size=20)
    assert ranks(np.exp(30 * scores)).tolist() == ranks(scores).tolist()


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(RecipeError, match="did you mean 'mean-rank'"):
        check_aggregate("mean_rank")
