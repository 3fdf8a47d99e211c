"""The measures of what was trained, with intervals, and what the paper says of them."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from _sensors.plan import Plan, drawn_cells, random_walk, space
from _sensors.trainings import Rows
from swath import landscape
from swath.core.architecture import Architecture
from swath.core.seeds import numpy_generator
from swath.landscape import Footprint, Measure
from swath.landscape.distance import distances_to_best
from swath.landscape.footprint import LABELS
from swath.landscape.measure import interval, undefined
from swath.landscape.persistence import persistence
from swath.landscape.walks import correlation_length, ruggedness

__all__ = [
    "EXPECTED",
    "Trained",
    "footprint_of",
    "measured",
    "resampled",
    "statistics",
    "step_correlation",
    "trained",
    "verdicts",
]

Floats = npt.NDArray[np.float64]
BLOCK = 6  # steps of a walk that are drawn together


@dataclass(frozen=True)
class Trained:
    """What was trained on one choice of sensors.

    Parameters
    ----------
    stages : kappa on the validation patches after each budget, of the first seed, (budgets, cells).
    sample : the same at the last budget of each seed, (seeds, cells).
    test : on the test patches, (seeds, cells).
    walk : at the last budget along the walk, on the validation patches, (walk seeds, steps + 1).
    apart : bits between each cell and the best one, (seeds, cells).
    parameters, parameters_walk : of the networks, (cells,) and (steps + 1,).
    """

    stages: Floats
    sample: Floats
    test: Floats
    walk: Floats
    apart: npt.NDArray[np.int64]
    parameters: Floats
    parameters_walk: Floats


def trained(plan: Plan, rows: Rows, scene: str, sensors: str) -> Trained:
    """Gather the rows of one choice of sensors.

    Raises
    ------
    KeyError : one is missing.
    """
    cells, way = drawn_cells(plan), random_walk(plan)
    first, last = plan.seeds[0], plan.budgets[-1]

    def values(some: Sequence[Architecture], column: str, seed: int, epochs: int) -> list[float]:
        keys = [(scene, sensors, space().cell_hash(one), epochs, seed) for one in some]
        return [float(rows[key][column]) for key in keys]

    kappa = "kappa_validation"
    sample = [values(cells, kappa, seed, last) for seed in plan.seeds]
    grounds = [ground_of(dict(zip(cells, one, strict=True))) for one in sample]
    return Trained(
        np.array([values(cells, kappa, first, epochs) for epochs in plan.budgets]),
        np.array(sample),
        np.array([values(cells, "kappa_test", seed, last) for seed in plan.seeds]),
        np.array([values(way, kappa, seed, last) for seed in plan.walk_seeds]),
        np.array([distances_to_best(one) for one in grounds]),
        np.array(values(cells, "parameters", first, last)),
        np.array(values(way, "parameters", plan.walk_seeds[0], last)),
    )


def ground_of(fitness: Mapping[Architecture, float], **options: Any) -> Any:
    """Return the landscape of some cells."""
    return landscape.of_mapping(space(), fitness, neighbourhood="nearest", nearest=5, **options)


def statistics(one: Trained, rows: Any, steps: Any, budgets: Sequence[int]) -> dict[str, float]:
    """Return the measures of chosen cells and steps of the walk, means over the seeds.

    ``step_true`` is the autocorrelation without the noise of training: a step of one seed's walk
    against the next step of another's.
    """
    found: dict[str, list[float]] = {}

    def add(name: str, value: float | None) -> None:
        found.setdefault(name, []).append(float("nan") if value is None else value)

    for sample, test, apart in zip(one.sample, one.test, one.apart, strict=True):
        add("mean", sample[rows].mean())
        add("deviation", sample[rows].std(ddof=1))
        add("test", test[rows].mean())
        add("distance_correlation", correlation(apart[rows], sample[rows]))
        add("size", rank_correlation(one.parameters[rows], sample[rows]))
        add("validation_test", rank_correlation(sample[rows], test[rows]))
    stages = {budget: values[rows] for budget, values in zip(budgets, one.stages, strict=True)}
    stay = persistence(stages, resamples=0, rng=np.random.default_rng(0))
    for side in ("positive", "negative"):
        add(f"{side}_persistence", stay.at_25[side].value)
        add(f"{side}_area", stay.area[side].value)
    for walk in one.walk:
        add("autocorrelation", step_correlation(walk, walk, steps))
    sizes = np.log(one.parameters_walk)
    add("size_autocorrelation", step_correlation(sizes, sizes, steps))
    for a, b in itertools.combinations(one.sample, 2):
        add("repeated", correlation(a[rows], b[rows]))
    for a, b in itertools.combinations(one.walk, 2):
        add("repeated_walk", correlation(a[steps], b[steps]))
        add("step_true", step_correlation(a, b, steps))
    return {name: float(np.mean(values)) for name, values in found.items()}


def correlation(first: Any, second: Any) -> float:
    """Return Pearson's correlation, NaN where one is constant."""
    if np.ptp(first) == 0 or np.ptp(second) == 0:
        return float("nan")
    return float(np.corrcoef(first, second)[0, 1])


def rank_correlation(first: Any, second: Any) -> float:
    """Return Spearman's correlation."""
    from scipy.stats import rankdata

    return correlation(rankdata(first), rankdata(second))


def step_correlation(first: Floats, second: Floats, steps: Any) -> float:
    """Return the autocorrelation of a step, from chosen steps of a walk that was trained twice.

    Of one training (``first is second``) and all steps it is the usual one but for the two ends.
    """
    a, b = first - first.mean(), second - second.mean()
    a, b = a - a[steps].mean(), b - b[steps].mean()
    products = (a[steps] * b[steps + 1]).mean() + (b[steps] * a[steps + 1]).mean()
    squares = (a[steps] * b[steps]).mean() + (a[steps + 1] * b[steps + 1]).mean()
    return float(products / squares) if squares > 0 else float("nan")


Draws = dict[str, Floats]


def resampled(
    plan: Plan, several: Mapping[str, Trained]
) -> dict[str, tuple[dict[str, float], Draws]]:
    """Return each sensor's measures and their resamples: the same cells and steps for all.

    Cells are drawn with replacement, steps of the walk in blocks of successive ones (Kuensch,
    1989).
    """
    rng = numpy_generator(0, "sensor study", "bootstrap")
    everyone = np.arange(plan.cells), np.arange(plan.steps)
    drawn = []
    width = min(BLOCK, plan.steps // 2)
    for _ in range(plan.resamples):
        starts = rng.integers(plan.steps - width + 1, size=-(-plan.steps // width))
        steps = (starts[:, None] + np.arange(width)).ravel()[: plan.steps]
        drawn.append((rng.integers(plan.cells, size=plan.cells), steps))
    found = {}
    for sensors, one in several.items():
        values = statistics(one, *everyone, plan.budgets)
        draws = [statistics(one, *both, plan.budgets) for both in drawn]
        found[sensors] = values, {n: np.array([d[n] for d in draws]) for n in values}
    return found


def measured(name: str, value: float, draws: Floats, plan: Plan) -> Measure:
    """Return a figure with its interval."""
    of_walk = name in ("autocorrelation", "size_autocorrelation", "step_true", "repeated_walk")
    count, of = (plan.steps, "steps") if of_walk else (plan.cells, "models")
    if not np.isfinite(value):
        return undefined("it is constant", count, of)
    return Measure(value, *interval(draws), count, of)


def footprint_of(
    plan: Plan, title: str, one: Trained, values: Mapping[str, float], draws: Draws
) -> Footprint:
    """Return the footprint of one choice of sensors, with the walk that was trained."""
    cells, way = drawn_cells(plan), random_walk(plan)
    stages = {
        budget: dict(zip(cells, kappa, strict=True))
        for budget, kappa in zip(plan.budgets, one.stages.tolist(), strict=True)
    }
    ground = ground_of(stages[plan.budgets[-1]], stages=stages, name=title, metric="kappa")
    plain = landscape.footprint(
        ground, walks=1, steps=1, starts=1, rounds=1, resamples=min(plan.resamples, 100)
    )
    known = {
        name: measured(name, values[name], draws[name], plan) for name in values if name in LABELS
    }
    rho = known["autocorrelation"]
    known |= {
        "best": plain.measures["best"],
        "ruggedness": ruggedness(rho),
        "correlation_length": correlation_length(rho),
        "optima": undefined(
            f"{plan.cells} of {space().size():,} cells are no neighbours of one another",
            plan.cells,
        ),
    }
    curves = dataclasses.replace(plain.curves, autocorrelation=[], autocorrelation_exact=[])
    curves.add_walks(one.walk[:1], None)
    degrees = [len(list(space().encoding_neighbours(cell))) for cell in way]
    return dataclasses.replace(
        plain,
        measures={name: known[name] for name in plain.measures if name in known},
        facts={
            **plain.facts,
            "neighbourhood": "one place of the encoding other",
            "degree": float(np.mean(degrees)),
            **{"walks": 1, "steps": plan.steps, "rounds": 0, "starts": 0},
        },
        curves=curves,
        notes=(
            f"mean, deviation and distance correlation are means over {len(plan.seeds)} trainings "
            f"of each cell, autocorrelation over {len(plan.walk_seeds)} of the walk; persistence, "
            "fits and curves are of the first",
        ),
    )


EXPECTED = {
    "deviation": -1,
    "autocorrelation": 1,
    "step_true": 1,
    "positive_area": 1,
    "negative_area": 1,
}
"""Which way the paper says that the better-fitting sensor differs."""


def verdicts(found: Mapping[str, tuple[dict[str, float], Draws]]) -> list[dict[str, Any]]:
    """Return how the better-fitting of each two sensors differs, and whether as the paper says."""
    rows = []
    for pair in itertools.combinations(found, 2):
        better, other = sorted(pair, key=lambda name: -found[name][0]["mean"])
        row: dict[str, Any] = {"better": better, "other": other}
        sure = False
        for name in ("mean", *EXPECTED):
            if name not in found[better][0]:
                continue
            difference = found[better][0][name] - found[other][0][name]
            low, high = interval(found[better][1][name] - found[other][1][name])
            assert low is not None
            assert high is not None
            told = "cannot be told"
            if name == "mean":
                sure = low > 0
            elif sure and (low > 0 or high < 0):
                agrees = difference * EXPECTED.get(name, 1) > 0
                told = "confirmed" if agrees else "contradicted"
            row[name] = {"difference": difference, "low": low, "high": high}
            if name != "mean":
                row[name]["verdict"] = told
        rows.append(row)
    return rows
