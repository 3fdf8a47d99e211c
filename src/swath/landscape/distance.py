"""Fitness and distance to the best model.

Source: Jones, Forrest, "Fitness Distance Correlation as a Measure of Problem Difficulty for Genetic
Algorithms" (ICGA 1995).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.landscape.fitness import Landscape
from swath.landscape.measure import Floats, Measure, bootstrap, computed, undefined

__all__ = ["Box", "Line", "boxes", "distance_correlation", "distances_to_best", "linear_fit"]


@dataclass(frozen=True)
class Box:
    """Fitness of all models at one distance: mean and quantiles."""

    distance: int
    count: int
    mean: float
    least: float
    quarter: float
    median: float
    three_quarters: float
    most: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)


@dataclass(frozen=True)
class Line:
    """Fitness as a straight line over the distance, by least squares."""

    slope: float
    intercept: float

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Line:
        """Read :meth:`to_dict`'s form."""
        return cls(**data)


def distances_to_best(
    landscape: Landscape, rows: npt.NDArray[np.integer] | None = None
) -> npt.NDArray[np.int64]:
    """Return the Hamming distance of each model to the best one; to the nearest of equals.

    Parameters
    ----------
    rows : the models that are known; None: all.  The best is the best of these.
    """
    codes = landscape.codes if rows is None else landscape.codes[rows]
    merit = landscape.merit if rows is None else landscape.merit[rows]
    best = np.flatnonzero(merit == merit.max())
    found = np.full(len(codes), codes.shape[1], np.int64)
    for place in best:
        found = np.minimum(found, (codes != codes[place]).sum(axis=1))
    return found


def distance_correlation(
    distances: npt.NDArray[np.int64],
    merit: Floats,
    *,
    resamples: int = 1000,
    rng: np.random.Generator,
) -> Measure:
    """Return Pearson's correlation of merit with the distance to the best, -1 to 1.

    Near -1 the way to the best leads upwards everywhere; above 0 it leads down.  The best model
    stays the same in all resamples.
    """
    count = len(merit)
    if np.ptp(merit) == 0:
        return undefined("fitness is the same of all models", count)
    if np.ptp(distances) == 0:
        return undefined("all models are equally far from the best", count)
    columns = distances.astype(np.float64), merit - merit.mean()
    value = float(_correlations(*(column[None] for column in columns))[0])
    low, high = bootstrap(_correlations, *columns, resamples=resamples, rng=rng)
    return computed(value, low, high, count)


def linear_fit(distances: npt.NDArray[np.int64], fitness: Floats) -> Line | None:
    """Return the line of least squares; None where all distances are the same."""
    if np.ptp(distances) == 0:
        return None
    slope, intercept = np.polyfit(distances, fitness, 1)
    return Line(float(slope), float(intercept))


def boxes(distances: npt.NDArray[np.int64], fitness: Floats) -> tuple[Box, ...]:
    """Return the spread of fitness at each distance, nearest first.

    The ends are the 5 and 95 % quantiles.
    """
    found = []
    for distance in np.unique(distances):
        there = fitness[distances == distance]
        quantiles = np.quantile(there, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
        found.append(Box(int(distance), len(there), float(there.mean()), *quantiles))
    return tuple(found)


def _correlations(first: Floats, second: Floats) -> Floats:
    a = first - first.mean(axis=1, keepdims=True)
    b = second - second.mean(axis=1, keepdims=True)
    return (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
