"""A figure with its 95 % interval and what it was taken of; where there is none, why."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "Measure",
    "bootstrap",
    "computed",
    "interval",
    "resamples_of",
    "same",
    "student",
    "undefined",
]

Floats = npt.NDArray[np.float64]

_AT_ONCE = 2_000_000  # numbers drawn in one block of resamples
_BEYOND = "fitness is too large, or differs too little, for computing with it"


@dataclass(frozen=True)
class Measure:
    """A figure, never NaN.

    Parameters
    ----------
    value : None where it is not defined; then ``note`` says why.
    low, high : 95 % interval; None where that end is not known or not bounded.
    count, of : how many of what it was taken of: 30 "walks".
    exact : whether it was computed on all models of the space.  It is no estimate then, and the
        interval tells what a landscape of as many models, drawn anew from these, would give.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    count: int = 0
    of: str = "models"
    exact: bool = False
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            number = getattr(self, name)
            if number is not None and not math.isfinite(number):
                object.__setattr__(self, name, None)
        if self.value is None and not self.note:
            raise ValueError("a measure without a value must say why")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Measure:
        """Read :meth:`to_dict`'s form."""
        return cls(**data)


def undefined(note: str, count: int = 0, of: str = "models") -> Measure:
    """Return the measure that is not defined, with the reason in words."""
    return Measure(None, count=count, of=of, note=note)


def computed(
    value: float,
    low: float | None = None,
    high: float | None = None,
    count: int = 0,
    of: str = "models",
    note: str = "",
) -> Measure:
    """Return a figure that was computed; not defined where it is not finite."""
    if math.isfinite(value):
        return Measure(value, low, high, count, of, note=note)
    return undefined(_BEYOND, count, of)


def same(values: npt.ArrayLike) -> bool:
    """Whether values are equal up to rounding, to one part in a million million."""
    known = np.asarray(values, np.float64)
    if not known.size:
        return True
    with np.errstate(over="ignore"):
        return bool(np.ptp(known) <= 1e-12 * np.abs(known).max())


def resamples_of(
    count: int, resamples: int, rng: np.random.Generator
) -> Iterator[npt.NDArray[np.int64]]:
    """Yield blocks of bootstrap resamples: rows drawn with replacement, (block, count)."""
    step = max(1, _AT_ONCE // max(count, 1))
    for begin in range(0, resamples, step):
        yield rng.integers(count, size=(min(step, resamples - begin), count))


def bootstrap(
    statistic: Callable[..., Floats],
    *columns: Floats,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float | None, float | None]:
    """Return the percentile interval of a statistic of rows.

    Parameters
    ----------
    statistic : of columns that are each (resamples, rows), answers (resamples,).
    columns : (rows,), resampled together.
    resamples : 0: no interval.

    Source: Efron, Tibshirani, "An Introduction to the Bootstrap" (1993), section 13.3.
    """
    if not resamples or len(columns[0]) < 2:
        return None, None
    with np.errstate(invalid="ignore", divide="ignore"):
        drawn = np.concatenate(
            [
                statistic(*(column[rows] for column in columns))
                for rows in resamples_of(len(columns[0]), resamples, rng)
            ]
        )
    return interval(drawn)


def interval(drawn: Floats) -> tuple[float | None, float | None]:
    """Return the 2.5 and 97.5 % quantiles of the finite values; None where there are none."""
    finite = drawn[np.isfinite(drawn)]
    if not len(finite):
        return None, None
    low, high = np.quantile(finite, (0.025, 0.975))
    return float(low), float(high)


def student(values: Floats) -> float:
    """Return half of Student's 95 % interval of the mean of independent values."""
    from scipy import special

    count = len(values)
    return float(special.stdtrit(count - 1, 0.975) * values.std(ddof=1) / math.sqrt(count))
