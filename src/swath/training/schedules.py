"""Learning rates as functions of progress: a factor for each share of the work that is done."""

from __future__ import annotations

import math
from collections.abc import Callable

from swath.core.errors import RecipeError, nearest

__all__ = ["SCHEDULES", "schedule"]


def _poly(progress: float) -> float:
    return (1 - progress) ** 0.9


def _cosine(progress: float) -> float:
    return (1 + math.cos(math.pi * progress)) / 2


def _constant(progress: float) -> float:
    return 1.0


def _warm_cosine(progress: float, warm: float = 0.1) -> float:
    return progress / warm if progress < warm else _cosine((progress - warm) / (1 - warm))


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "poly": _poly,
    "warm-cosine": _warm_cosine,
}
"""``poly`` is (1 - p)^0.9; ``warm-cosine`` rises linearly for a tenth, then falls as a cosine."""


def schedule(name: str, peak: float, floor: float = 0.0) -> Callable[[float], float]:
    """Return the learning rate as a function of progress in [0, 1], from ``peak`` to ``floor``.

    Raises
    ------
    RecipeError : there is no such schedule.

    >>> rate = schedule("cosine", 0.025, 0.001)
    >>> rate(0.0), round(rate(0.5), 3), rate(1.0)
    (0.025, 0.013, 0.001)
    """
    if name not in SCHEDULES:
        known = ", ".join(SCHEDULES)
        raise RecipeError(
            f"there is no schedule '{name}'{nearest(name, SCHEDULES)}; known: {known}"
        )
    factor = SCHEDULES[name]
    return lambda progress: floor + (peak - floor) * factor(min(max(progress, 0.0), 1.0))
