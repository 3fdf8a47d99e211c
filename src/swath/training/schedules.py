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


def _linear(progress: float) -> float:
    return 1 - progress


def _constant(progress: float) -> float:
    return 1.0


SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "linear": _linear,
    "poly": _poly,
    "warm-cosine": _cosine,
    "warm-poly": _poly,
}
"""How rates fall from one to zero.  ``poly`` is (1 - p)^0.9; those with ``warm`` rise first."""


def schedule(
    name: str,
    peak: float,
    floor: float = 0.0,
    *,
    warmup: float = 0.1,
    start: float | None = None,
) -> Callable[[float], float]:
    """Return the learning rate as a function of progress in [0, 1], from ``peak`` to ``floor``.

    Parameters
    ----------
    warmup, start : ``warm-cosine`` and ``warm-poly`` rise linearly from ``start`` (default: from
        ``floor``) for this share of the work, and then fall as ``cosine`` and ``poly`` do within
        the rest; the others have no use for them.  (Detectron2's ``WarmupPolyLR`` falls from the
        first update on, and multiplies.)

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
    falling = SCHEDULES[name]
    rising = warmup if name.startswith("warm-") else 0.0
    first = floor if start is None else start

    def rate(progress: float) -> float:
        progress = min(max(progress, 0.0), 1.0)
        if progress < rising or rising >= 1:
            return first + (peak - first) * progress / rising
        return floor + (peak - floor) * falling((progress - rising) / (1 - rising))

    return rate
