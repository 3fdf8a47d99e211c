"""Rank correlations against SciPy, resample by resample, and against published figures."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, spearmanr

from swath.core.errors import RecipeError
from swath.core.evaluation import Direction
from swath.estimators import rank_correlation
from swath.estimators._table import Table
from swath.estimators.factors import factors
from swath.estimators.rank_correlation import correlate, spearman, spearman_matrix, top_overlap

values = st.lists(st.integers(-4, 4), min_size=6, max_size=30)


def drawn_pair(rows: int, seed: int, choices: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Two correlated values with ties."""
    rng = np.random.default_rng(seed)
    first = rng.integers(0, choices, rows).astype(float)
    return first, first + rng.integers(0, choices, rows)


def slow_overlap(first: list[float], second: list[float], k: int) -> float:
    """The best k of each, by sorting pairs of value and place, where no networks are tied."""
    best = [
        {place for _, place in sorted((-value, place) for place, value in enumerate(column))[:k]}
        for column in (first, second)
    ]
    return len(best[0] & best[1]) / k


def expected_overlap(first: list[float], second: list[float], k: int) -> float:
    """The share that is expected where ties are broken by chance, one network after another."""

    def chance(column: list[float], value: float) -> float:
        better = sum(other > value for other in column)
        return min(1.0, max(0, k - better) / column.count(value))

    return sum(chance(first, a) * chance(second, b) for a, b in zip(first, second, strict=True)) / k


@given(values, st.integers(0, 99))
def test_values_are_those_of_scipy(first: list[int], seed: int) -> None:
    second = np.random.default_rng(seed).permutation(first).astype(float)
    found = correlate({"x": np.array(first, float)}, second, resamples=0)["x"]
    if len(set(first)) == 1:
        assert math.isnan(found.spearman.value)
        assert math.isnan(found.kendall.value)
        return
    assert found.spearman.value == pytest.approx(spearmanr(first, second).statistic)
    assert found.kendall.value == pytest.approx(kendalltau(first, second).statistic)
    assert math.isnan(found.spearman.low)


@pytest.mark.parametrize("rows", [40, 60])
@pytest.mark.parametrize("tied", [False, True])
def test_intervals_are_those_of_resamples_made_one_by_one(rows: int, tied: bool) -> None:
    first, second = drawn_pair(rows, rows)
    overlap = expected_overlap
    if tied:
        second = np.arange(rows) // 20 % 2 + 0.0  # never alone at the border
    else:
        first, second = first + np.arange(rows) / rows, second + np.arange(rows)[::-1] / rows
        overlap = slow_overlap
    found = correlate({"x": first}, second, resamples=300, seed=5)["x"]
    rng = rank_correlation.numpy_generator(5, "bootstrap")
    slow: dict[str, list[float]] = {"spearman": [], "kendall": [], "tenth": [], "50": []}
    for places in np.sort(rng.integers(rows, size=(300, rows)), axis=1):
        pair = first[places].tolist(), second[places].tolist()
        slow["spearman"].append(spearmanr(*pair).statistic)
        slow["kendall"].append(kendalltau(*pair).statistic)
        slow["tenth"].append(overlap(*pair, round(rows / 10)))
        slow["50"].append(overlap(*pair, 50) if rows > 50 else math.nan)
    estimates = (found.spearman, found.kendall, found.top_tenth, found.top_50)
    for estimate, several in zip(estimates, slow.values(), strict=True):
        expected = np.quantile(several, (0.025, 0.975))
        assert [estimate.low, estimate.high] == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_kendall_of_many_networks_is_nearly_that_of_all_pairs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first, second = drawn_pair(600, 1, choices=1000)
    whole = correlate({"x": first}, second)["x"].kendall
    monkeypatch.setattr(rank_correlation, "MOST_PAIRED", 0)
    nearly = correlate({"x": first}, second)["x"].kendall
    assert nearly.value == whole.value
    width = whole.high - whole.low
    assert abs(nearly.low - whole.low) < 0.1 * width
    assert abs(nearly.high - whole.high) < 0.1 * width


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    # Of a bivariate normal, Spearman's rho is 6 / pi asin(r / 2).
    rng = np.random.default_rng(0)
    held = 0
    for trial in range(80):
        x, noise = rng.normal(size=(2, 150))
        found = correlate({"x": x}, 0.6 * x + 0.8 * noise, resamples=200, seed=trial)["x"].spearman
        held += found.low <= 6 / math.pi * math.asin(0.3) <= found.high
    assert 0.86 <= held / 80 <= 0.995


def test_the_best_are_chosen_in_the_good_direction() -> None:
    accuracy = np.arange(100.0)
    found = correlate(
        {"grasp": -accuracy, "turned": -accuracy},
        accuracy,
        directions={"grasp": "minimize"},
        resamples=50,
    )
    assert found["grasp"].spearman.value == pytest.approx(-1)
    assert (found["grasp"].top_tenth.value, found["turned"].top_tenth.value) == (1, 0)
    loss = correlate({"x": accuracy}, -accuracy, direction="minimize", resamples=50)["x"]
    assert (loss.top_50.value, loss.top_50.low) == (1, 1)


def test_only_what_both_know_counts() -> None:
    first, second = drawn_pair(40, 0)
    gaps = first.copy()
    gaps[::4] = np.nan
    known = np.isfinite(gaps)
    found = correlate({"gaps": gaps}, second)["gaps"]
    alone = correlate({"alone": first[known]}, second[known])["alone"]
    assert (found.rows, found.kendall, found.top_tenth) == (30, alone.kendall, alone.top_tenth)
    assert found.spearman == alone.spearman
    assert spearman_matrix({"a": gaps, "b": second})[0, 1] == pytest.approx(alone.spearman.value)


def test_a_column_of_too_few_networks_has_no_figures() -> None:
    first, second = drawn_pair(40, 0)
    few = np.where(np.arange(40) < 3, first, np.nan)
    found = correlate({"few": few, "whole": first}, second)
    assert found["few"].rows == 3
    estimates = (found["few"].spearman, found["few"].kendall, found["few"].top_tenth)
    assert all(math.isnan(x) for one in estimates for x in (one.value, one.low, one.high))
    assert found["whole"].kendall == correlate({"whole": first}, second)["whole"].kendall
    with pytest.raises(RecipeError, match=r"'few' .* known of 3 networks"):
        correlate({"none": np.full(40, np.nan), "few": few}, second)


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_a_constant_score_finds_what_a_blind_choice_finds(direction: Direction) -> None:
    for measured in (np.arange(100.0), np.arange(100.0)[::-1]):
        found = correlate(
            {"constant": np.ones(100)}, measured, directions={"constant": direction}, resamples=50
        )["constant"]
        for share, estimate in ((0.1, found.top_tenth), (0.5, found.top_50)):
            assert (estimate.value, estimate.low, estimate.high) == pytest.approx((share,) * 3)
    both = correlate({"x": np.ones(100)}, np.ones(100), resamples=0)["x"]
    assert both.top_tenth.value == pytest.approx(0.1)


@given(values, st.integers(0, 99), st.integers(1, 5))
def test_overlap_does_not_depend_on_the_order_of_rows(first: list[int], seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = np.array(first, float), rng.integers(0, 4, len(first)).astype(float)
    order = rng.permutation(len(first))
    found = top_overlap(one, other, k)
    assert found == pytest.approx(top_overlap(one[order], other[order], k))
    # A network that is alone in its value on both sides is counted alike in both.
    assert found == pytest.approx(expected_overlap(one.tolist(), other.tolist(), k))


@given(st.integers(2, 30), st.integers(0, 99))
def test_overlap_without_ties_is_that_of_the_best_sets(rows: int, seed: int) -> None:
    first, second = np.random.default_rng(seed).permuted(np.tile(np.arange(rows), (2, 1)), axis=1)
    k = max(1, rows // 3)
    expected = slow_overlap(first.tolist(), second.tolist(), k)
    assert top_overlap(first.astype(float), second.astype(float), k) == expected


def test_overlap_by_hand() -> None:
    # Two of three equal ones are chosen, and two of these three are not among the best two.
    assert top_overlap(np.array([3.0, 3, 3, 1]), np.array([1.0, 5, 4, 9]), 2) == pytest.approx(
        1 / 3
    )
    assert math.isnan(top_overlap(np.arange(3.0), np.arange(3.0), 3))


# Analysis of the released tables: Indian Pines, Houston 2013, Pavia University.
PUBLISHED = {
    "flops": (0.687, 0.663, 0.706),
    "m_size": (0.685, 0.732, 0.497),
    "grasp": (-0.669, -0.632, -0.671),
    "snip": (0.700, 0.664, 0.694),
    "grad_norm": (0.708, 0.700, 0.622),
    "synflow": (0.601, 0.527, 0.729),
    "dss": (0.604, 0.531, 0.729),
    "jacob_cov": (0.584, 0.715, 0.404),
    "naswot": (0.695, 0.712, 0.618),
    "embed_dim x depth": (0.727, 0.731, 0.642),
    "depth": (0.28, 0.40, 0.00),
    "embed_dim": (0.61, 0.53, 0.73),
    "mean heads": (0.01, 0.02, 0.02),
    "mean mlp_ratio": (-0.02, 0.01, 0.08),
    "sum of head widths": (0.72, 0.72, 0.63),
    "sum of mlp widths": (0.69, 0.70, 0.64),
}


@pytest.mark.parametrize(("place", "scene"), [(0, "indian"), (1, "houston"), (2, "pavia")])
def test_published_correlations(published: Callable[[str], Table], place: int, scene: str) -> None:
    table = published(f"hytas_{scene}")
    columns = {name: one.values for name, one in table.columns.items() if one.role != "score"}
    columns |= factors(table.space, table.architectures)
    found = correlate(columns, table.columns["oa"].values, resamples=0)
    for name, expected in PUBLISHED.items():
        # published to two or three digits
        assert found[name].spearman.value == pytest.approx(expected[place], abs=6e-3), name


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=3, max_size=12))
def test_one_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    first, second = zip(*pairs, strict=True)
    found = spearman(np.array(first, float), np.array(second, float))
    if len(set(first)) == 1 or len(set(second)) == 1:
        assert math.isnan(found)
    else:
        assert found == pytest.approx(spearmanr(np.array(first), np.array(second)).statistic)
