"""Walks and autocorrelation against theory, a plain sum over all pairs, and one another."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from swath.core.errors import RecipeError
from swath.estimators._table import Table
from swath.landscape.fitness import Landscape, of_mapping, of_table
from swath.landscape.measure import Measure, undefined
from swath.landscape.walks import (
    autocorrelation,
    correlation_length,
    exact_autocorrelation,
    mean_autocorrelation,
    pooled_autocorrelation,
    random_walks,
    ruggedness,
)


def test_walkers_go_to_neighbours_uniformly(make: Callable[..., Landscape]) -> None:
    landscape = make(lambda x: float(sum(x)), 3, 3)
    walks = random_walks(landscape, 50, 400, np.random.default_rng(0))
    assert walks.shape == (50, 401)
    codes = landscape.codes[walks]
    assert ((codes[:, 1:] != codes[:, :-1]).sum(-1) == 1).all()
    # Each of 27 models has 6 neighbours: 162 steps, equally often.
    counts = np.bincount((walks[:, :-1] * 27 + walks[:, 1:]).ravel(), minlength=27 * 27)
    seen = counts[counts > 0]
    assert len(seen) == 162
    assert abs(seen - 20000 / 162).max() < 6 * math.sqrt(20000 / 162)
    again = random_walks(landscape, 50, 400, np.random.default_rng(0))
    np.testing.assert_array_equal(walks, again)
    with pytest.raises(RecipeError, match="at least one of each"):
        random_walks(landscape, 3, 0, np.random.default_rng(0))


def test_walkers_start_where_there_is_a_neighbour(strings: Any) -> None:
    models = strings(8).all()
    chosen = [*models[:6], models[-1]]  # the last one is far from all others
    landscape = of_mapping(
        strings(8), {one: float(i) for i, one in enumerate(chosen)}, neighbourhood="space"
    )
    walks = random_walks(landscape, 40, 20, np.random.default_rng(0))
    assert 6 not in walks
    assert set(walks.ravel().tolist()) == set(range(6))


@given(st.lists(st.floats(-1, 1), min_size=4, max_size=30).filter(lambda x: np.ptp(x) > 1e-3))
def test_autocorrelation_is_the_biased_one(values: list[float]) -> None:
    # The textbook sum, as statsmodels' acf(adjusted=False).
    found = autocorrelation(np.array([values]), 3)[0]
    mean = sum(values) / len(values)
    total = sum((x - mean) ** 2 for x in values)
    for lag in range(4):
        products = [
            (a - mean) * (b - mean)
            for a, b in zip(values[: len(values) - lag], values[lag:], strict=True)
        ]
        assert found[lag] == pytest.approx(sum(products) / total, abs=1e-9)


def pairs_sum(landscape: Landscape) -> float:
    """Rho(1) by a sum over all pairs of neighbours, one by one."""
    graph, fitness = landscape.graph, landscape.fitness
    both = [
        (fitness[one], fitness[other])
        for one in range(len(landscape))
        for other in graph.neighbours[one, : graph.degrees[one]]
    ]
    return float(np.corrcoef(np.array(both).T)[0, 1])


@pytest.mark.parametrize("k", [0, 1, 3, 7])
def test_nk_landscapes_have_the_autocorrelation_of_theory(
    k: int, nk: Callable[[int, int, int], Landscape]
) -> None:
    n, draws = 8, 40
    several = [nk(n, k, seed) for seed in range(draws)]
    # Weinberger (1991), Fontana et al. (1993), random others: over the ensemble, whose mean is 1/2,
    # a step leaves 1 - (K + 1) / N.
    apart = [one.fitness - 0.5 for one in several]
    products = sum(
        float((x * x[one.graph.neighbours].mean(axis=1)).sum())
        for x, one in zip(apart, several, strict=True)
    )
    squares = sum(float((x**2).sum()) for x in apart)
    assert products / squares == pytest.approx(1 - (k + 1) / n, abs=0.05)
    # Of a single landscape the mean is taken off, which is the share 2^-(K + 1) of the variance.
    exact = [exact_autocorrelation(one) for one in several]
    rho = np.array([one[1] for one in exact if one is not None])
    spread = rho.std(ddof=1) / math.sqrt(draws)
    theory = 1 - (k + 1) / (n * (1 - 2.0 ** -(k + 1)))
    assert abs(rho.mean() - theory) < 4 * spread + 0.005
    assert rho[0] == pytest.approx(pairs_sum(several[0]))


def test_additive_landscapes_lose_a_fixed_share_a_step(make: Callable[..., Landscape]) -> None:
    # A sum over genes is an eigenvector of the walk: N genes of A letters keep 1 - A / (N (A - 1)).
    landscape = make(lambda x: float(np.dot(x, [1, 5, 2, 3])), 4, 3)
    found = exact_autocorrelation(landscape, 5)
    assert found is not None
    np.testing.assert_allclose(found, (1 - 3 / (4 * 2)) ** np.arange(6), atol=1e-12)


def test_irregular_graphs_are_weighted_by_degree(published: Callable[[str], Table]) -> None:
    landscape = of_table(published("hytas_indian"))
    assert np.ptp(landscape.graph.degrees) > 0
    found = exact_autocorrelation(landscape)
    assert found is not None
    assert found[1] == pytest.approx(pairs_sum(landscape))


@pytest.mark.parametrize(
    ("table", "metric"), [("nas_bench_201", "cifar100-test"), ("nas_bench_macro", "cifar10-test")]
)
def test_sampled_walks_agree_with_the_whole_landscape(
    table: str, metric: str, published: Callable[[str], Table]
) -> None:
    landscape = of_table(published(table), metric)
    exact = exact_autocorrelation(landscape)
    assert exact is not None
    for seed in range(20):
        rng = np.random.default_rng(seed)
        series = landscape.fitness[random_walks(landscape, 30, 500, rng)]
        plain, pooled = mean_autocorrelation(series), pooled_autocorrelation(series)
        assert plain.value is not None
        assert pooled.value is not None
        # Each walk's own mean takes away from what it has in common with itself.
        assert plain.value < exact[1] + 0.02
        assert pooled.value == pytest.approx(exact[1], abs=0.06)


def test_the_interval_of_walks_is_the_jackknife_written_out() -> None:
    rng = np.random.default_rng(0)
    series = rng.normal(size=(12, 9)).cumsum(axis=1)
    products, squares = [], []
    for walk in series - series.mean():
        products.append(sum(a * b for a, b in itertools.pairwise(walk)))
        squares.append(sum((a * a + b * b) / 2 for a, b in itertools.pairwise(walk)))
    whole = sum(products) / sum(squares)
    pseudo = [
        12 * whole - 11 * (sum(products) - p) / (sum(squares) - s)
        for p, s in zip(products, squares, strict=True)
    ]
    reach = stats.t.ppf(0.975, 11) * stats.sem(pseudo)
    found = pooled_autocorrelation(series)
    assert found.value == pytest.approx(whole)
    assert (found.low, found.high) == pytest.approx((whole - reach, min(1, whole + reach)))


def test_few_walks_are_cut_into_blocks() -> None:
    rng = np.random.default_rng(0)
    walk = rng.normal(size=(1, 1001))
    one, three = pooled_autocorrelation(walk), pooled_autocorrelation(rng.normal(size=(3, 101)))
    assert "10 blocks of 100 steps" in one.note
    assert "12 blocks of 25 steps" in three.note
    # Independent values: rho is 0, with a spread of 1 / sqrt(T).
    assert one.low is not None
    assert one.high is not None
    assert one.low < 0 < one.high
    assert (one.high - one.low) / 2 == pytest.approx(2.26 / math.sqrt(1000), rel=0.6)
    shortest = pooled_autocorrelation(np.array([[0.1, 0.9]]))
    assert shortest.value == pytest.approx(-1)
    assert shortest.low is None


def test_ruggedness_and_length_have_opposite_senses() -> None:
    # The parent paper's two landscapes: rho .517 and .572 of tau 1.93 and 1.75.
    for rho, tau in ((0.517, 1.93), (0.572, 1.75)):
        measure = Measure(rho, rho - 0.1, rho + 0.1, 30, "walks")
        found, length = ruggedness(measure), correlation_length(measure)
        assert found.value == pytest.approx(tau, abs=0.01)
        assert found.low == pytest.approx(1 / (rho + 0.1))
        assert found.high == pytest.approx(1 / (rho - 0.1))
        assert length.value == pytest.approx(-1 / math.log(rho))
        assert length.low is not None
        assert length.high is not None
        assert length.low < length.value < length.high  # type: ignore[operator]


def test_what_is_not_defined_is_said_in_words(make: Callable[..., Landscape]) -> None:
    rng = np.random.default_rng(0)
    flat = make(lambda x: 0.25, 3)
    assert exact_autocorrelation(flat) is None
    series = flat.fitness[random_walks(flat, 4, 9, rng)]
    assert np.isnan(autocorrelation(series)).all()
    for estimate in (mean_autocorrelation, pooled_autocorrelation):
        rho = estimate(series)
        assert rho.value is None
        assert "the same all along every walk" in rho.note
        assert ruggedness(rho).note == correlation_length(rho).note == rho.note
    # Parity turns with every step: rho is -1.
    parity = make(lambda x: float(sum(x) % 2), 4)
    exact = exact_autocorrelation(parity)
    assert exact is not None
    assert exact[1] == pytest.approx(-1)
    series = parity.fitness[random_walks(parity, 4, 99, rng)]
    rho = mean_autocorrelation(series)
    assert rho.value == pytest.approx(-1, abs=0.02)
    for change in (ruggedness, correlation_length):
        assert change(rho).value is None
        assert "needs one above 0" in change(rho).note
    one_flat = np.vstack([series, np.full((1, 100), 0.3)])
    assert "1 walks of constant fitness" in mean_autocorrelation(one_flat).note
    wide = Measure(0.1, -0.1, 0.3, 5, "walks")
    assert ruggedness(wide).high is None
    assert correlation_length(wide).low is None
    assert "no end" in ruggedness(Measure(1.0, count=3, of="walks")).note


def test_a_measure_without_a_value_says_why() -> None:
    with pytest.raises(ValueError, match="must say why"):
        Measure(math.nan)
    assert undefined("no walk").value is None
    assert Measure(1.0, -math.inf, math.nan).low is None
    measure = Measure(1.0, 0.5, None, 3, "walks", note="x")
    assert Measure.from_dict(measure.to_dict()) == measure
