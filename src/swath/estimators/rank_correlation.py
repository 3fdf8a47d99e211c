"""How well scores rank networks: rank correlations with what was measured, and how sure they are.

Intervals are percentiles of a bootstrap over the networks.  A resample is written as how often it
holds each network, so that many resamples are computed at once and nothing is sorted again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swath.core.errors import RecipeError
from swath.core.evaluation import Direction
from swath.core.seeds import numpy_generator

__all__ = [
    "Estimate",
    "RankCorrelation",
    "correlate",
    "spearman",
    "spearman_matrix",
    "top_overlap",
]

Floats = npt.NDArray[np.float64]

LEAST_ROWS = 5  # of fewer networks no correlation is worth a look
MOST_PAIRED = 4000  # of more networks, Kendall's resamples are computed to first order
NUMBERS_AT_ONCE = 2_000_000  # of one block of resamples
TOP = 50


@dataclass(frozen=True)
class Estimate:
    """A figure and its 95 % interval; NaN where it is not defined."""

    value: float
    low: float
    high: float


_UNKNOWN = Estimate(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class RankCorrelation:
    """How alike a score and a measured value rank the same networks.

    Parameters
    ----------
    rows : networks of which both are known; of fewer than five nothing else is.
    spearman, kendall : rank correlations as they are, whatever direction is good (Kendall's is
        tau-b, which corrects for ties).
    top_tenth, top_50 : which share of the best tenth, or the best 50, the score finds, when the
        same number are chosen by it in its good direction; a blind choice, which a constant score
        is, finds k / rows.
    """

    rows: int
    spearman: Estimate
    kendall: Estimate
    top_tenth: Estimate
    top_50: Estimate


def correlate(
    scores: Mapping[str, Floats],
    measured: Floats,
    *,
    directions: Mapping[str, Direction] | None = None,
    direction: Direction = "maximize",
    resamples: int = 500,
    seed: int = 0,
) -> dict[str, RankCorrelation]:
    """Correlate columns of scores with what was measured of the same networks.

    The figures of a column that is known of fewer than five networks are NaN.

    Columns that are known of the same networks share their resamples, so that their intervals can
    be compared.

    Parameters
    ----------
    scores : by name, each (networks,), NaN where it is not known.
    measured : (networks,), such as accuracies.
    directions : which way a score is good, by its name; "maximize" where it is not told.
    direction : which way ``measured`` is good.
    resamples : of the bootstrap; 0: no intervals (NaN).

    Raises
    ------
    RecipeError : no column is known of five networks.
    """
    directions = directions or {}
    both = {name: np.isfinite(one) & np.isfinite(measured) for name, one in scores.items()}
    rows = {name: int(known.sum()) for name, known in both.items()}
    if rows and max(rows.values()) < LEAST_ROWS:
        name = max(rows, key=lambda one: rows[one])
        raise RecipeError(
            f"'{name}' and the measured value are both known of {rows[name]} networks, and no "
            f"other score of more; a rank correlation needs at least {LEAST_ROWS}"
        )
    found = {}
    for name, values in scores.items():
        known = both[name]
        if rows[name] < LEAST_ROWS:
            found[name] = RankCorrelation(rows[name], *[_UNKNOWN] * 4)
            continue
        found[name] = _of_pair(
            _Side(values[known], directions.get(name, "maximize") == "maximize"),
            _Side(measured[known], direction == "maximize"),
            resamples,
            seed,
        )
    return found


def top_overlap(
    first: Floats, second: Floats, k: int, *, high: tuple[bool, bool] = (True, True)
) -> float:
    """Return the share of the best k by one value that are among the best k by another.

    It is the share that is expected where those that are equal at the border are chosen by chance,
    by either value on its own.  NaN unless 0 < k < networks.

    Parameters
    ----------
    first, second : (networks,), all known.
    high : of each value, whether large ones are good.

    >>> top_overlap(np.array([1.0, 2, 3, 4]), np.array([4.0, 1, 2, 3]), 2)
    0.5
    >>> top_overlap(np.ones(4), np.array([4.0, 1, 2, 3]), 2)
    0.5
    """
    sides = _Side(first, high[0]), _Side(second, high[1])
    once = np.ones((1, len(first)))
    return float(_overlap_of(sides, once, [one.sums(once) for one in sides], k)[0])


def spearman_matrix(columns: Mapping[str, Floats]) -> Floats:
    """Return Spearman's correlation of every two columns, each over the rows both know."""
    values = list(columns.values())
    matrix = np.eye(len(values))
    for i, one in enumerate(values):
        for j, other in enumerate(values[:i]):
            matrix[i, j] = matrix[j, i] = spearman(one, other)
    return matrix


def spearman(first: Floats, second: Floats) -> float:
    """Return Spearman's correlation over the rows both know; NaN where one of them is constant.

    >>> round(spearman(np.array([1.0, 2, 3]), np.array([10.0, 20, 15])), 12)
    0.5
    """
    from scipy.stats import rankdata

    known = np.isfinite(first) & np.isfinite(second)
    if known.sum() < 2:
        return math.nan
    ranks = [rankdata(one[known]) for one in (first, second)]
    if any(np.ptp(one) == 0 for one in ranks):
        return math.nan
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


class _Side:
    """One of two values of the same networks, all known; ``high``: whether large ones are good."""

    def __init__(self, values: Floats, high: bool) -> None:
        self.values, self.high = values, high
        _, self.group = np.unique(values, return_inverse=True)
        self._ascending = np.argsort(self.group, kind="stable")
        self._starts = np.searchsorted(self.group[self._ascending], np.arange(self.group.max() + 1))

    def sums(self, counts: Floats) -> Floats:
        """Return how often each resample holds each value, ascending: (resamples, values)."""
        return np.add.reduceat(counts[:, self._ascending], self._starts, axis=1)

    def chosen(self, counts: Floats, sums: Floats, k: int) -> Floats:
        """Return how often each row is expected among the best k of each resample.

        Of equal rows that have fewer places than they need, all are as likely.
        """
        upto = sums.cumsum(axis=1)
        before = counts.shape[1] - upto if self.high else upto - sums
        places = np.clip(k - before, 0, sums)
        return np.asarray(counts * places[:, self.group] / np.maximum(sums, 1)[:, self.group])


def _of_pair(first: _Side, second: _Side, resamples: int, seed: int) -> RankCorrelation:
    from scipy.stats import kendalltau

    rows = len(first.values)
    tops = max(1, round(rows / 10)), TOP
    pair = first.values, second.values
    varied = all(np.ptp(values) > 0 for values in pair)
    values = [
        spearman(*pair),
        float(kendalltau(*pair).statistic) if varied else math.nan,
        *(top_overlap(*pair, k, high=(first.high, second.high)) for k in tops),
    ]
    bounds = np.full((4, 2), math.nan)
    if resamples:
        drawn = np.concatenate(list(_drawn(first, second, tops, resamples, seed)), axis=1)
        for place, row in enumerate(drawn):
            if math.isfinite(values[place]) and np.isfinite(row).any():
                bounds[place] = np.nanquantile(row, (0.025, 0.975))
    return RankCorrelation(
        rows,
        *(Estimate(v, float(low), float(up)) for v, (low, up) in zip(values, bounds, strict=True)),
    )


def _drawn(
    first: _Side, second: _Side, tops: tuple[int, int], resamples: int, seed: int
) -> Iterator[Floats]:
    """Yield the four figures of blocks of resamples: (4, resamples)."""
    concordance = _Concordance(first.values, second.values)
    for counts in _resamples(len(first.values), resamples, seed):
        sums = first.sums(counts), second.sums(counts)
        yield np.stack(
            [
                _spearman_of(counts, (first.group, second.group), sums),
                concordance.of(counts, sums),
                *(_overlap_of((first, second), counts, sums, k) for k in tops),
            ]
        )


def _resamples(rows: int, count: int, seed: int) -> Iterator[Floats]:
    """Yield how often each resample holds each row: blocks of (resamples, rows)."""
    rng = numpy_generator(seed, "bootstrap")
    block = max(1, NUMBERS_AT_ONCE // rows)
    for begun in range(0, count, block):
        size = min(block, count - begun)
        drawn = rng.integers(rows, size=(size, rows)) + rows * np.arange(size)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=size * rows)
        yield counts.reshape(size, rows).astype(np.float64)


def _spearman_of(
    counts: Floats, groups: Sequence[npt.NDArray[np.intp]], sums: Sequence[Floats]
) -> Floats:
    """Return Spearman's correlation of each resample: of mean ranks of equal values."""
    centred = []
    for group, of_value in zip(groups, sums, strict=True):
        ranks = of_value.cumsum(axis=1) - of_value / 2 - counts.shape[1] / 2
        centred.append(ranks[:, group])
    weighted = [counts * one for one in centred]
    product, *squares = (
        np.einsum("ij,ij->i", weighted[i], centred[j]) for i, j in ((0, 1), (0, 0), (1, 1))
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(product / np.sqrt(squares[0] * squares[1]))


class _Concordance:
    """Kendall's tau-b of resamples.

    With counts w, sum of w_i w_j K_ij over all pairs, where K_ij is 1 for a pair that both values
    order alike, -1 for one they order differently, 0 for ties.  Of many networks, what is of
    second order in w - 1 is left out: it is of the order of 1 / networks.
    """

    def __init__(self, first: Floats, second: Floats) -> None:
        rows = len(first)
        self.alike: npt.NDArray[np.float32] | None = None
        if rows <= MOST_PAIRED:
            self.alike = _alike(first, second, slice(None))
            return
        step = NUMBERS_AT_ONCE // rows + 1
        blocks = [slice(begun, begun + step) for begun in range(0, rows, step)]
        self.sums = np.concatenate(
            [_alike(first, second, block).sum(axis=1, dtype=np.float64) for block in blocks]
        )

    def of(self, counts: Floats, sums: Sequence[Floats]) -> Floats:
        """Return tau-b of each resample."""
        if self.alike is None:
            total = 2 * counts @ self.sums - self.sums.sum()
        else:
            # Counts and their sums are whole numbers that float32 holds.
            products = counts.astype(np.float32) @ self.alike
            total = np.einsum("ij,ij->i", products, counts, dtype=np.float64)
        squared = counts.shape[1] ** 2
        untied = [squared - np.einsum("ij,ij->i", one, one) for one in sums]
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(total / np.sqrt(untied[0] * untied[1]))


def _alike(first: Floats, second: Floats, block: slice) -> npt.NDArray[np.float32]:
    signs = [
        np.sign(values[block, None] - values[None, :])
        for values in (_places(first), _places(second))
    ]
    return np.asarray(signs[0] * signs[1])


def _places(values: Floats) -> npt.NDArray[np.float32]:
    """Return the place of each value among all; their differences are exact in float32."""
    return np.unique(values, return_inverse=True)[1].astype(np.float32)


def _overlap_of(
    sides: tuple[_Side, _Side], counts: Floats, sums: Sequence[Floats], k: int
) -> Floats:
    """Return :func:`top_overlap` of each resample."""
    if not 0 < k < counts.shape[1]:
        return np.full(len(counts), math.nan)
    pairs = list(zip(sides, sums, strict=True))
    first, second = (side.chosen(counts, of_value, k) for side, of_value in pairs)
    expected = first * second / np.maximum(counts, 1)
    # What a resample holds of one network alone is that network on both sides, not a tie.
    alone = [of_value[:, side.group] == counts for side, of_value in pairs]
    both = np.where(alone[0] & alone[1], np.minimum(first, second), expected)
    return np.asarray(both.sum(axis=1) / k)
