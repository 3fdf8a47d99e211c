"""Persistence: whether the models that are best, or worst, stay so as training goes on.

Source: Traoré, Camero, Zhu, "Fitness Landscape Footprint" (arXiv 2111.01584), with the rule of
quantiles of the authors' code.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swath.core.errors import RecipeError
from swath.landscape.measure import Floats, Measure, interval, resamples_of

__all__ = ["PERCENTS", "Persistence", "area", "chance", "persistence"]

Counts = npt.NDArray[np.int64]

PERCENTS = tuple(range(1, 26))
"""N of the top or bottom N percent."""


@dataclass(frozen=True, eq=False)
class Persistence:
    """Shares of the models that were best (or worst) at the first budget and remained so.

    Parameters
    ----------
    budgets : ascending.
    count : models.
    positive, negative : P(N) for N = 1..25, of models that stay among the best, or the worst,
        N percent at all budgets.
    positive_by_budgets, negative_by_budgets : the same over the first two, three, ... budgets.
    at_25, area : P(25) and the area under P(N), of "positive" and "negative", with a bootstrap over
        models.
    chance : P(N) of sets that have nothing to do with one another.
    """

    budgets: tuple[int, ...]
    count: int
    positive: Floats
    negative: Floats
    positive_by_budgets: Floats
    negative_by_budgets: Floats
    at_25: Mapping[str, Measure]
    area: Mapping[str, Measure]
    chance: Floats


def persistence(
    stages: Mapping[int, Floats],
    *,
    maximize: bool = True,
    resamples: int = 200,
    rng: np.random.Generator,
) -> Persistence:
    """Return how far the best and the worst models stay so over the budgets.

    The worst N percent are all models not above the N-th percentile (linear interpolation); the
    best N percent are as many from the other end, of equals those that come later.  P(N) is the
    number of models in that set at every budget over the size of the set at the first.

    Parameters
    ----------
    stages : fitness after each budget, (models,); models without one of them are left out.

    Raises
    ------
    RecipeError : there are fewer than two budgets, or fewer than five models with all of them.
    """
    if len(stages) < 2:
        raise RecipeError(
            f"persistence compares fitness at several budgets, and {len(stages) or 'none'} is "
            "known; take a metric that is known at two or more"
        )
    budgets = tuple(sorted(stages))
    merit = np.stack([stages[one] if maximize else -stages[one] for one in budgets])
    merit = merit[:, np.isfinite(merit).all(axis=0)]
    count = merit.shape[1]
    if count < 5:
        raise RecipeError(f"only {count} models are known at all budgets; persistence needs five")
    tops, bottoms = _by_budgets(merit)
    drawn = np.array(
        [_at_all_budgets(merit[:, rows]) for rows in _resamples(count, resamples, rng)]
    )
    at_25, areas, blind = {}, {}, chance(len(budgets))
    for side, values in enumerate((tops[-1], bottoms[-1])):
        name = ("positive", "negative")[side]
        ends: list[tuple[float | None, float | None]] = [(None, None), (None, None)]
        if len(drawn):
            both = drawn[:, side, -1], np.array([area(one) for one in drawn[:, side]])
            ends = [interval(one) for one in both]
        by_chance = [f"by chance {x:.2g}" for x in (blind[-1], area(blind))]
        at_25[name] = Measure(float(values[-1]), *ends[0], count, note=by_chance[0])
        areas[name] = Measure(area(values), *ends[1], count, note=by_chance[1])
    return Persistence(
        budgets,
        count,
        tops[-1],
        bottoms[-1],
        tops,
        bottoms,
        at_25,
        areas,
        blind,
    )


def area(shares: Floats) -> float:
    """Return the sum of P(N) in percent over N = 1..25, divided by 100 * 25.

    >>> area(np.ones(25))
    1.0
    """
    return float((100 * np.asarray(shares)).sum() / (100 * len(PERCENTS)))


def chance(budgets: int) -> Floats:
    """Return P(N) of rankings that have nothing to do with one another: (N / 100)^(budgets - 1)."""
    return (np.array(PERCENTS) / 100) ** (budgets - 1)


def _resamples(count: int, resamples: int, rng: np.random.Generator) -> Iterator[Counts]:
    for block in resamples_of(count, resamples, rng):
        yield from block


def _by_budgets(merit: Floats) -> tuple[Floats, Floats]:
    """Return P(N) over the first two, three, ... budgets: (budgets - 1, 25) of best and worst."""
    sizes = _sizes(merit)
    best, worst = (
        np.stack([_shares(places[:stage], sizes[:stage]) for stage in range(2, len(merit) + 1)])
        for places in _places(merit)
    )
    return best, worst


def _at_all_budgets(merit: Floats) -> Floats:
    """Return P(N) over all budgets: (2, 25)."""
    sizes = _sizes(merit)
    return np.stack([_shares(places, sizes) for places in _places(merit)])


def _shares(places: Counts, sizes: Counts) -> Floats:
    inside = [(places < sizes[:, n, None]).all(axis=0).sum() for n in range(len(PERCENTS))]
    return np.array(inside) / sizes[0]


def _places(merit: Floats) -> tuple[Counts, Counts]:
    """Return each model's place from the best and from the worst end at each budget, from 0."""
    stages, count = merit.shape
    order = np.argsort(merit, axis=1, kind="stable")
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(count)[None].repeat(stages, axis=0), axis=1)
    return count - 1 - rank, rank


def _sizes(merit: Floats) -> Counts:
    """Return the number of values at most each percentile: (stages, 25)."""
    ordered = np.sort(merit, axis=1)
    levels = np.quantile(ordered, np.array(PERCENTS) / 100, axis=1).T
    return np.stack(
        [
            np.searchsorted(one, level, side="right")
            for one, level in zip(ordered, levels, strict=True)
        ]
    )
