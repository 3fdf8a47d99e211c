"""Hard constraints: what a network may cost is checked before it is evaluated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from swath.core.errors import Infeasible, NothingToSample, RecipeError, nearest

if TYPE_CHECKING:
    from swath.core.architecture import Architecture
    from swath.core.evaluation import Cost
    from swath.estimators.base import Estimator
    from swath.spaces.base import SearchSpace

__all__ = ["Limits", "gap_of", "restricted"]

Limits = Mapping[str, float]
"""{"min": ..., "max": ...}, one of them or both; both belong to what is allowed."""

_COSTS = {"parameters": "", "flops": "", "latency": " seconds"}


def restricted(
    space: SearchSpace, estimator: Estimator, constraints: Mapping[str, Limits]
) -> SearchSpace:
    """Return the part of a space whose networks keep to the constraints.

    Raises
    ------
    RecipeError : a constraint has an unknown name, or the estimator does not tell that cost.
    NothingToSample : no network can keep to them.
    """
    if not constraints:
        return space
    for name, limits in constraints.items():
        _check(name, limits)
    from swath.spaces.conditions import Condition
    from swath.spaces.restricted import Restricted

    why = " and ".join(_words(name, limits) for name, limits in constraints.items())
    return Restricted(space, Condition(_beyond(estimator, constraints)), why)


def gap_of(
    estimator: Estimator,
    architecture: Architecture,
    names: Iterable[str],
    budget: int | None = None,
) -> str | None:
    """Return which of these figures a table lacks of an architecture, in words; None: none.

    Figures that the table has no column of do not count.
    """
    from swath.estimators.tables import TableEstimator

    if not isinstance(estimator, TableEstimator):
        return None
    return estimator.gap(architecture, names, budget)


def _check(name: str, limits: Limits) -> None:
    if name not in _COSTS:
        raise RecipeError(
            f"there is no constraint '{name}'{nearest(name, _COSTS)}; known: {', '.join(_COSTS)}"
        )
    for key, value in limits.items():
        if key not in ("min", "max"):
            raise RecipeError(
                f"the constraint '{name}' has no '{key}'{nearest(key, ('min', 'max'))}; give its "
                "min, its max, or both"
            )
        if not isinstance(value, int | float) or math.isnan(value):
            raise RecipeError(f"the {key} of the constraint '{name}' cannot be {value!r}")
    if not limits:
        raise RecipeError(f"the constraint '{name}' has no limit; give its min, its max, or both")
    if limits.get("min", -math.inf) > limits.get("max", math.inf):
        raise NothingToSample(
            f"the constraints contradict each other: {_words(name, limits)} leaves nothing to "
            "sample; widen them"
        )


def _beyond(
    estimator: Estimator, constraints: Mapping[str, Limits]
) -> Callable[[Architecture], float]:
    """Return by how much an architecture is beyond the limits, as a share of them, summed up.

    Beyond all limits is one of which a constrained figure is not known.
    """

    def excess(architecture: Architecture) -> float:
        try:
            cost = estimator.cost(architecture)
        except Infeasible:
            return math.inf
        if gap_of(estimator, architecture, constraints) is not None:
            return math.inf
        return sum(_miss(_figure(cost, name), limits) for name, limits in constraints.items())

    return excess


def _miss(figure: float, limits: Limits) -> float:
    low, high = limits.get("min", -math.inf), limits.get("max", math.inf)
    if low <= figure <= high:
        return 0.0
    limit = high if figure > high else low
    return abs(figure - limit) / (abs(limit) or 1.0)


def _figure(cost: Cost, name: str) -> float:
    figure = getattr(cost, name)
    if figure is None:
        known = [one for one in _COSTS if getattr(cost, one) is not None]
        raise RecipeError(
            f"the estimator does not tell the {name} before an evaluation, so that it cannot be "
            f"constrained; it tells: {', '.join(known) or 'nothing'}"
        )
    return float(figure)


def _words(name: str, limits: Limits) -> str:
    parts = {"min": "at least", "max": "at most"}
    said = [
        f"{parts[key]} {limits[key]:,}{_COSTS[name]}" for key in ("min", "max") if key in limits
    ]
    return f"{name} {' and '.join(said)}"
