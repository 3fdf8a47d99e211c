"""Distance to the best model and its correlation with fitness."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy import stats

from swath.estimators._table import Table
from swath.landscape.distance import boxes, distance_correlation, distances_to_best, linear_fit
from swath.landscape.fitness import Landscape, of_mapping, of_table
from swath.landscape.network import misled_genes


def trap(bits: tuple[int, ...]) -> float:
    """Ackley's fully deceptive trap: the best is all ones, and all else leads to all zeros."""
    return float(len(bits) + 1 if all(bits) else len(bits) - 1 - sum(bits))


def test_onemax_is_straight_and_the_trap_is_deceptive(make: Callable[..., Landscape]) -> None:
    rng = np.random.default_rng(0)
    ones = make(lambda x: float(sum(x)), 8)
    distances = distances_to_best(ones)
    np.testing.assert_array_equal(distances, 8 - ones.fitness)
    found = distance_correlation(distances, ones.merit, rng=rng)
    assert found.value == pytest.approx(-1)
    line = linear_fit(distances, ones.fitness)
    assert line is not None
    assert (line.slope, line.intercept) == pytest.approx((-1, 8))
    assert misled_genes(ones).value == 0

    deceptive = make(trap, 8)
    away = distance_correlation(distances_to_best(deceptive), deceptive.merit, rng=rng)
    assert away.value is not None
    assert away.value > 0.9  # Jones and Forrest: at least .15 is misleading
    assert misled_genes(deceptive).value == 1


def test_half_the_genes_may_mislead(make: Callable[..., Landscape]) -> None:
    landscape = make(lambda x: trap(x[:4]) + 0.1 * sum(x[4:]), 8)
    assert misled_genes(landscape).value == 0.5
    flipped = make(lambda x: -trap(x[:4]) - 0.1 * sum(x[4:]), 8, direction="minimize")
    assert misled_genes(flipped).value == 0.5


def test_the_nearest_of_equal_bests_counts(make: Callable[..., Landscape]) -> None:
    twins = make(lambda x: float(abs(sum(x) - 2.5)), 5)  # all zeros and all ones are best
    expected = [min(sum(x), 5 - sum(x)) for x in twins.codes.tolist()]
    assert distances_to_best(twins).tolist() == expected
    some = np.arange(1, 31)  # neither of the two: the best are now their neighbours
    best = twins.codes[some][twins.merit[some] == twins.merit[some].max()]
    slow = [int(min((one != b).sum() for b in best)) for one in twins.codes[some]]
    assert distances_to_best(twins, some).tolist() == slow


def test_a_table_against_scipy(published: Callable[[str], Table]) -> None:
    landscape = of_table(published("hytas_houston"))
    distances = distances_to_best(landscape)
    found = distance_correlation(distances, landscape.merit, rng=np.random.default_rng(0))
    expected = stats.pearsonr(distances, landscape.fitness)
    interval = expected.confidence_interval(0.95)
    assert found.value == pytest.approx(expected.statistic)
    assert (found.low, found.high) == pytest.approx((interval.low, interval.high), abs=0.02)
    line, slow = (
        linear_fit(distances, landscape.fitness),
        stats.linregress(distances, landscape.fitness),
    )
    assert line is not None
    assert (line.slope, line.intercept) == pytest.approx((slow.slope, slow.intercept))
    spread = boxes(distances, landscape.fitness)
    assert sum(box.count for box in spread) == len(landscape)
    assert [box.distance for box in spread] == sorted(set(distances.tolist()))
    far = landscape.fitness[distances == spread[-1].distance]
    assert spread[-1].median == pytest.approx(np.median(far))


def test_what_has_no_correlation_is_said(make: Callable[..., Landscape], strings: type) -> None:
    rng = np.random.default_rng(0)
    flat = make(lambda x: 1.0, 3)
    assert (
        "the same of all" in distance_correlation(distances_to_best(flat), flat.merit, rng=rng).note
    )
    assert "the same of all" in misled_genes(flat).note
    ring = strings(1, 6)
    star = of_mapping(ring, {one: float(i == 0) for i, one in enumerate(ring.all())})
    rest = np.arange(1, 6)
    apart = distances_to_best(star)[rest]
    found = distance_correlation(apart, np.arange(5.0), rng=rng)
    assert "equally far" in found.note
    assert linear_fit(apart, star.fitness[rest]) is None


def test_sampled_correlation_agrees_with_the_whole(published: Callable[[str], Table]) -> None:
    landscape = of_table(published("nas_bench_201"), "cifar100-test")
    distances = distances_to_best(landscape)
    truth = distance_correlation(
        distances, landscape.merit, resamples=0, rng=np.random.default_rng(0)
    ).value
    assert truth is not None
    inside = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        rows = rng.choice(len(landscape), 400, replace=False)
        found = distance_correlation(distances[rows], landscape.merit[rows], resamples=300, rng=rng)
        inside += found.low <= truth <= found.high  # type: ignore[operator]
    assert inside >= 33
