"""Random walks and ruggedness: how much one step tells of the next.

Source: Weinberger, "Correlated and uncorrelated fitness landscapes and how to tell the difference"
(Biological Cybernetics 63, 1990); ruggedness 1 / rho(1) as in the footprint papers.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from swath.core.errors import RecipeError
from swath.landscape.fitness import Landscape
from swath.landscape.measure import Floats, Measure, computed, student, undefined

__all__ = [
    "autocorrelation",
    "correlation_length",
    "exact_autocorrelation",
    "mean_autocorrelation",
    "pooled_autocorrelation",
    "random_walks",
    "ruggedness",
]

_BLOCKS = 10  # at least, for an interval


def random_walks(
    landscape: Landscape, walks: int, steps: int, rng: np.random.Generator
) -> npt.NDArray[np.int32]:
    """Return the places of walkers that each go to a random neighbour in every step.

    They start anywhere, uniformly among models that have a neighbour.

    Returns
    -------
    (walks, steps + 1), places among the landscape's models.

    Raises
    ------
    RecipeError : there is no walk or no step.
    """
    if walks < 1 or steps < 1:
        raise RecipeError(f"{walks} walks of {steps} steps are none; ask for at least one of each")
    graph = landscape.graph
    # Single entries of an array are had sooner in this way than small arrays of them.
    neighbour, degrees = graph.neighbours.item, graph.degrees.tolist()
    starts = rng.choice(np.flatnonzero(graph.degrees), walks)
    turns = rng.integers(2**62, size=(walks, steps))
    track = np.empty((walks, steps + 1), np.int32)
    for walk, (start, choices) in enumerate(zip(starts.tolist(), turns, strict=True)):
        place, way = start, [start]
        for turn in choices.tolist():
            place = neighbour(place, turn % degrees[place])
            way.append(place)
        track[walk] = way
    return track


def autocorrelation(series: Floats, lags: int = 1) -> Floats:
    """Return the biased autocorrelation of each walk, NaN where its fitness is constant.

    As ``statsmodels.tsa.stattools.acf``: the mean is taken off, and every lag is divided by the sum
    of squares of the whole walk, so that long lags lean towards zero.  In a walk of T steps rho(1)
    comes out too small, by about (1 + 4 rho) / T.

    Parameters
    ----------
    series : (walks, steps + 1), fitness along each walk.
    lags : of the last column.

    Returns
    -------
    (walks, lags + 1); the first column is 1.
    """
    apart = series - series.mean(axis=1, keepdims=True)
    length = series.shape[1]
    products = [(apart[:, : length - lag] * apart[:, lag:]).sum(axis=1) for lag in range(lags + 1)]
    # Rounding leaves a constant series with a tiny sum of squares.
    products[0] = np.where(np.ptp(series, axis=1) == 0, np.nan, products[0])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.stack(products, axis=1) / products[0][:, None]


def exact_autocorrelation(landscape: Landscape, lags: int = 1) -> Floats | None:
    """Return the autocorrelation of an endless random walk; None where fitness is constant.

    Such a walk meets each edge of the graph equally often in both ways, so a model as often as it
    has neighbours; the mean and the variance are over that distribution, and the product over all
    pairs of neighbours.  Of a graph in several parts, each part counts by its edges.

    Returns
    -------
    (lags + 1,); the first is 1.
    """
    graph, fitness = landscape.graph, landscape.fitness
    weight = graph.degrees / graph.degrees.sum()
    if np.ptp(fitness[graph.degrees > 0]) == 0:
        return None
    apart = fitness - weight @ fitness
    after, found = apart, [1.0]
    variance = weight @ apart**2
    shares = graph.present / np.maximum(graph.degrees, 1)[:, None]
    for _ in range(lags):
        after = (after[graph.neighbours] * shares).sum(axis=1)
        found.append(float(weight @ (apart * after) / variance))
    return np.array(found)


def pooled_autocorrelation(series: Floats) -> Measure:
    """Return rho(1) of all walks together: one mean and one variance for all of them.

    Not too small as the mean over short walks is, each of which takes its own mean off and may
    never have met the rare models that make most of the variance.

    Its interval is Student's, of the jackknife over walks; of fewer than ten walks over blocks of
    successive steps, ten in all.  On landscapes that are known it holds the truth in 91 to 97 of a
    hundred samples (of a single walk of 100 steps in some 85).

    Sources: Tukey, "Bias and confidence in not-quite large samples" (1958); Kuensch, "The jackknife
    and the bootstrap for general stationary observations" (Annals of Statistics 17, 1989).
    """
    walks = len(series)
    if np.ptp(series) == 0:
        return undefined("fitness is the same all along every walk", walks, "walks")
    apart = series - series.mean()
    products, squares = apart[:, :-1] * apart[:, 1:], (apart[:, :-1] ** 2 + apart[:, 1:] ** 2) / 2
    value = float(products.sum() / squares.sum())
    steps = products.shape[1]
    cuts = min(-(-_BLOCKS // walks), steps)
    length = steps // cuts
    blocks = [
        each[:, : cuts * length].reshape(walks * cuts, length).sum(axis=1)
        for each in (products, squares)
    ]
    reach = _jackknife(*blocks)
    note = f"the interval is of {walks * cuts} blocks of {length} steps" if cuts > 1 else ""
    if reach is None:
        return computed(value, count=walks, of="walks")
    return computed(value, max(value - reach, -1), min(value + reach, 1), walks, "walks", note=note)


def _jackknife(above: Floats, below: Floats) -> float | None:
    """Return half the 95 % interval of sum(above) / sum(below), leaving one out at a time."""
    count = len(above)
    rest = below.sum() - below
    if count < 2 or not (rest > 0).all():
        return None
    return student(count * above.sum() / below.sum() - (count - 1) * (above.sum() - above) / rest)


def mean_autocorrelation(series: Floats) -> Measure:
    """Return the mean of each walk's own rho(1), as the footprint papers do.

    The interval, Student's, is of what very many walks of so many steps would give, which is less
    than rho(1) of an endless walk.
    """
    rho = autocorrelation(series)[:, 1]
    known = rho[np.isfinite(rho)]
    if not len(known):
        return undefined("fitness is the same all along every walk", len(rho), "walks")
    left_out = len(rho) - len(known)
    note = f"{left_out} walks of constant fitness are left out" if left_out else ""
    value = float(known.mean())
    if len(known) < 2:
        return Measure(value, count=len(known), of="walks", note=note)
    reach = student(known)
    return Measure(value, value - reach, value + reach, len(known), "walks", note=note)


def ruggedness(rho: Measure) -> Measure:
    """Return tau = 1 / rho(1): large where a step tells little of the next.

    The footprint papers' figure.  It is not defined where neighbours are not alike (rho at most 0).
    """
    return _transformed(rho, lambda value: 1 / value, "ruggedness 1 / rho", falling=True)


def correlation_length(rho: Measure) -> Measure:
    """Return -1 / ln rho(1), in steps: large where a step tells much of the next.

    Source: Stadler, "Landscapes and their correlation functions" (J. Math. Chem. 20, 1996).
    """
    return _transformed(
        rho, lambda value: -1 / math.log(value), "the correlation length -1 / ln rho"
    )


def _transformed(
    rho: Measure, change: Callable[[float], float], name: str, *, falling: bool = False
) -> Measure:
    if rho.value is None:
        return rho
    if rho.value <= 0:
        return undefined(
            f"the autocorrelation of one step is {rho.value:.3f}, and {name} needs one above 0",
            rho.count,
            rho.of,
        )
    if rho.value >= 1:
        return undefined(f"neighbours are all alike, so that {name} has no end", rho.count, rho.of)
    ends = [None if end is None or not 0 < end < 1 else change(end) for end in (rho.low, rho.high)]
    value = change(rho.value)
    low, high = reversed(ends) if falling else ends
    return Measure(value, low, high, rho.count, rho.of, rho.exact, rho.note)
