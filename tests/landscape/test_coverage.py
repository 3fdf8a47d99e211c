"""Intervals hold the truth: on landscapes whose measures are known, of a hundred samples some 95.

The bound is 88, which intervals that are right miss once in 500 times; the draws are fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from swath.estimators._table import Table
from swath.landscape.distance import distance_correlation, distances_to_best
from swath.landscape.fitness import Landscape, of_table
from swath.landscape.measure import Measure, bootstrap
from swath.landscape.optima import (
    Optima,
    birthday,
    chao,
    find_optima,
    meetings,
    sampled_climbs,
)
from swath.landscape.walks import (
    correlation_length,
    exact_autocorrelation,
    mean_autocorrelation,
    pooled_autocorrelation,
    random_walks,
    ruggedness,
)

SAMPLES, BOUND = 100, 88
Truth = tuple[Measure, float]


def held(draw: Callable[[np.random.Generator], Iterator[Truth]]) -> list[int]:
    """Return how many of a hundred samples hold the truth, for each estimate."""
    found = [
        [
            (one.low is None or one.low <= truth) and (one.high is None or truth <= one.high)
            for one, truth in draw(np.random.default_rng(seed))
        ]
        for seed in range(SAMPLES)
    ]
    return np.array(found).sum(axis=0).tolist()


def walks_of(landscape: Landscape, rho: float) -> list[int]:
    """Of the papers' 30 walks of 100 steps: rho(1), ruggedness, correlation length, and the mean
    of each walk's own rho(1), whose truth is what very many such walks give."""
    many = landscape.fitness[random_walks(landscape, 4000, 100, np.random.default_rng(1000))]
    short = mean_autocorrelation(many).value
    assert short is not None

    def draw(rng: np.random.Generator) -> Iterator[Truth]:
        series = landscape.fitness[random_walks(landscape, 30, 100, rng)]
        pooled = pooled_autocorrelation(series)
        yield pooled, rho
        yield ruggedness(pooled), 1 / rho
        yield correlation_length(pooled), -1 / np.log(rho)
        yield mean_autocorrelation(series), short

    return held(draw)


@pytest.mark.parametrize("k", [0, 1, 3, 5])
def test_walks_on_nk_landscapes(k: int, nk: Callable[[int, int, int], Landscape]) -> None:
    landscape = nk(10, k, 3)
    exact = exact_autocorrelation(landscape)
    assert exact is not None
    assert exact[1] == pytest.approx(1 - (k + 1) / 10, abs=0.12)  # one draw of the ensemble
    assert min(walks_of(landscape, float(exact[1]))) >= BOUND


@pytest.mark.parametrize(
    ("table", "metric"),
    [
        ("nas_bench_201", "cifar10-test"),
        ("nas_bench_201", "cifar100-test"),
        ("nas_bench_201", "imagenet16-120-test"),
        ("nas_bench_macro", "cifar10-test"),
    ],
)
def test_walks_on_whole_tables(table: str, metric: str, published: Callable[[str], Table]) -> None:
    landscape = of_table(published(table), metric)
    exact = exact_autocorrelation(landscape)
    assert exact is not None
    assert min(walks_of(landscape, float(exact[1]))) >= BOUND


def climbs_of(landscape: Landscape, optima: Optima) -> list[int]:
    def draw(rng: np.random.Generator) -> Iterator[Truth]:
        climbs = sampled_climbs(optima, 16, 200, rng)
        yield chao(climbs), optima.count
        yield meetings(climbs), optima.effective

    return held(draw)


@pytest.mark.parametrize("blocks", [2, 3, 4])
def test_climbs_on_functions_with_a_known_number_of_optima(
    blocks: int, make: Callable[..., Landscape]
) -> None:
    # Of each block of three bits 000 and 111 are best, and each is next to three others: 2^blocks
    # optima with basins of the same size.
    landscape = make(
        lambda x: float(sum(len(set(x[i : i + 3])) == 1 for i in range(0, len(x), 3))), 3 * blocks
    )
    optima = find_optima(landscape)
    assert optima.count == 2**blocks
    assert set(optima.basins.tolist()) == {4**blocks}
    assert optima.effective == 2**blocks
    assert min(climbs_of(landscape, optima)) >= BOUND

    def draw(rng: np.random.Generator) -> Iterator[Truth]:
        yield birthday(sampled_climbs(optima, 16, 200, rng)), 2**blocks

    assert held(draw)[0] >= BOUND


@pytest.mark.parametrize(
    ("table", "metric"), [("nas_bench_201", "cifar100-test"), ("nas_bench_macro", "cifar10-test")]
)
def test_climbs_on_whole_tables(table: str, metric: str, published: Callable[[str], Table]) -> None:
    landscape = of_table(published(table), metric)
    assert min(climbs_of(landscape, find_optima(landscape))) >= BOUND


@pytest.mark.parametrize("k", [0, 3])
def test_samples_of_models(k: int, nk: Callable[[int, int, int], Landscape]) -> None:
    landscape = nk(10, k, 5)
    distances, fitness = distances_to_best(landscape), landscape.fitness
    whole = distance_correlation(
        distances, landscape.merit, resamples=0, rng=np.random.default_rng(0)
    ).value
    assert whole is not None

    def draw(rng: np.random.Generator) -> Iterator[Truth]:
        rows = rng.choice(len(landscape), 100)
        yield (
            distance_correlation(distances[rows], landscape.merit[rows], resamples=400, rng=rng),
            whole,
        )
        for statistic, truth in (
            (lambda x: x.mean(axis=1), fitness.mean()),
            (lambda x: x.std(axis=1, ddof=1), fitness.std()),
        ):
            ends = bootstrap(statistic, fitness[rows], resamples=400, rng=rng)
            yield Measure(0.0, *ends), truth

    assert min(held(draw)) >= BOUND
