"""Ranks of architectures by several scores, made into one.

Scores of different proxies have no unit in common, and some grow with the exponential of a depth;
ranks are alike for all.  A score that is NaN, as of a dead network, promises least.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt

from swath.core.errors import RecipeError, nearest
from swath.core.evaluation import Direction

__all__ = ["AGGREGATES", "Aggregate", "aggregate", "check_aggregate", "rank_columns", "ranks"]

Floats = npt.NDArray[np.float64]
Aggregate = Literal["mean-rank", "log-rank", "worst-rank"]

AGGREGATES: Mapping[str, str] = {
    "mean-rank": "the smallest mean of the ranks, which is the order of Borda's count",
    "log-rank": "the largest sum of logarithms of the places from the last, which one bad rank "
    'spoils (Lee, Ham, "AZ-NAS: Assembling Zero-Cost Proxies", CVPR 2024)',
    "worst-rank": "the smallest worst rank: no score may object",
}
"""How ranks are made into one, by name."""


def ranks(values: Floats, direction: Direction = "maximize") -> Floats:
    """Return ranks from 1, the best; equals share the mean of their places, NaN comes last.

    Parameters
    ----------
    values : (architectures,).
    direction : whether a large or a small value is good.

    >>> ranks(np.array([3.0, np.nan, 7.0, 3.0])).tolist()
    [2.5, 4.0, 1.0, 2.5]
    """
    from scipy.stats import rankdata

    behind = -values if direction == "maximize" else values
    return rankdata(np.where(np.isnan(values), np.inf, behind))


def rank_columns(columns: Mapping[str, Floats], directions: Mapping[str, Direction]) -> Floats:
    """Return (architectures, columns), the ranks by each column; see :func:`ranks`."""
    return np.stack([ranks(values, directions[name]) for name, values in columns.items()], axis=1)


def aggregate(ranked: Floats, how: Aggregate = "mean-rank") -> Floats:
    """Return one figure for each architecture, (architectures,): the larger, the better.

    Parameters
    ----------
    ranked : (architectures, columns), from 1, the best, as of :func:`rank_columns`.
    how : one of :data:`AGGREGATES`.

    Raises
    ------
    RecipeError : there is no such way.
    """
    check_aggregate(how)
    if how == "mean-rank":
        return -ranked.mean(axis=1)
    if how == "worst-rank":
        return -ranked.max(axis=1)
    count = len(ranked)
    return np.log((count + 1 - ranked) / count).sum(axis=1)


def check_aggregate(how: str) -> None:
    """Refuse what is none of :data:`AGGREGATES`.

    Raises
    ------
    RecipeError : with the nearest name.
    """
    if how not in AGGREGATES:
        raise RecipeError(
            f"ranks cannot be aggregated by {how!r}{nearest(str(how), AGGREGATES)}; it is one of: "
            f"{', '.join(AGGREGATES)}"
        )
