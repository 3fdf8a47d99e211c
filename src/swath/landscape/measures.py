"""The measures of a footprint, group by group."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from swath.core.errors import RecipeError
from swath.core.words import counted
from swath.landscape import network, optima, walks
from swath.landscape.curves import Curves
from swath.landscape.fitness import Landscape
from swath.landscape.measure import Floats, Measure, bootstrap, computed, undefined
from swath.landscape.persistence import persistence

__all__ = ["distribution_measures", "optima_measures", "persistence_measures", "walk_measures"]

SIDES = ("positive", "negative")


def distribution_measures(
    landscape: Landscape, resamples: int, rng: np.random.Generator
) -> dict[str, Measure]:
    """Return mean, deviation and best of fitness."""
    fitness, count = landscape.fitness, len(landscape)
    means = bootstrap(lambda x: x.mean(axis=1), fitness, resamples=resamples, rng=rng)
    spreads = bootstrap(_deviations, fitness, resamples=resamples, rng=rng)
    best = float(fitness[landscape.merit.argmax()])
    return {
        "mean": computed(float(fitness.mean()), *means, count),
        "deviation": computed(float(fitness.std(ddof=1)), *spreads, count),
        "best": Measure(best, count=count),
    }


def _deviations(values: Floats) -> Floats:
    return values.std(axis=1, ddof=1)


def walk_measures(
    landscape: Landscape,
    curves: Curves,
    count: int,
    steps: int,
    rng: np.random.Generator,
) -> dict[str, Measure]:
    """Return what random walks tell, and keep their curves."""
    series = landscape.fitness[walks.random_walks(landscape, count, steps, rng)]
    rho, plain = walks.pooled_autocorrelation(series), walks.mean_autocorrelation(series)
    exact = walks.exact_autocorrelation(landscape, curves.lags(steps))
    curves.add_walks(series, exact)
    degrees = int((landscape.graph.degrees > 0).sum())
    return {
        "autocorrelation": rho,
        "autocorrelation_walks": plain,
        "autocorrelation_exact": undefined("fitness is the same of all models", degrees)
        if exact is None
        else computed(float(exact[1]), count=degrees),
        "ruggedness": walks.ruggedness(rho),
        "ruggedness_walks": walks.ruggedness(plain),
        "correlation_length": walks.correlation_length(rho),
    }


def optima_measures(
    landscape: Landscape, rounds: int, starts: int, resamples: int, rng: np.random.Generator
) -> dict[str, Measure]:
    """Return what is known of local optima and basins."""
    found = optima.find_optima(landscape)
    net = network.optima_network(landscape, found)
    climbs = optima.sampled_climbs(found, rounds, starts, rng)
    count = len(landscape)
    note = (
        f"{int(found.strict.sum()):,} strict; plateaus of {counted(int(found.weak.sum()), 'model')}"
    )
    best = network.global_optima_reached(found, resamples=resamples, rng=rng)
    whose = "leads to the best" if net.largest_is_best else "does not lead to the best"
    costs = bootstrap(
        lambda x: x.mean(axis=1),
        found.evaluations.astype(np.float64),
        resamples=resamples,
        rng=rng,
    )
    return {
        "optima": Measure(float(found.count), count=count, note=note),
        "optima_chao": optima.chao(climbs),
        "optima_effective": Measure(found.effective, count=count),
        "optima_meetings": optima.meetings(climbs),
        "optima_birthday": optima.birthday(climbs),
        "best_basin": best,
        "largest_basin": Measure(net.largest, count=count, note=f"it {whose}"),
        "leaving": Measure(net.leaving, count=net.optima, of="basins"),
        "climb": Measure(float(found.evaluations.mean()), *costs, count),
    }


def persistence_measures(
    landscape: Landscape, curves: Curves, resamples: int, rng: np.random.Generator
) -> dict[str, Measure]:
    """Return how far the best and the worst stay so, and keep the curves."""
    names = [f"{side}_{what}" for side in SIDES for what in ("persistence", "area")]
    if len(landscape.stages) < 2:
        why = f"{landscape.metric} is known at one budget, and persistence needs two"
        return {name: undefined(why, len(landscape)) for name in names}
    try:
        found = persistence(
            landscape.stages,
            maximize=landscape.direction == "maximize",
            resamples=min(resamples, 200),
            rng=rng,
        )
    except RecipeError as error:  # too few models at all budgets; the other measures are there
        return {name: undefined(str(error), len(landscape)) for name in names}
    curves.add_persistence(found)
    values: Sequence[Measure] = [
        one for side in SIDES for one in (found.at_25[side], found.area[side])
    ]
    return dict(zip(names, values, strict=True))
