"""What tells strategies the scores of zero-cost proxies: computed, or looked up in columns.

A strategy asks by name and never knows where scores come from.  Beside the proxies stand their
trivial rivals, asked in the same way: parameters, operations, depth and width.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Protocol

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.errors import Infeasible, UnknownName, nearest
from swath.core.evaluation import Direction
from swath.estimators import proxies

if TYPE_CHECKING:
    from swath.estimators.proxy import ProxyEstimator

__all__ = ["ColumnScorer", "Scorer", "UntrainedScorer"]

Floats = npt.NDArray[np.float64]
Progress = Callable[[int, int], None]


class Scorer(Protocol):
    """Scores architectures without training them: a function of names, architectures and seed.

    It may keep what it has computed, as long as no answer changes by it.
    """

    def directions(self, names: Sequence[str]) -> dict[str, Direction]:
        """Return which way each score is good.

        Raises
        ------
        UnknownName : there is no score of that name.
        """

    def scores(
        self, architectures: Sequence[Architecture], names: Sequence[str], seed: int
    ) -> dict[str, Floats]:
        """Return the scores by name, each (architectures,); NaN where there is none."""


class UntrainedScorer:
    """Scores untrained networks by proxies, all on one batch; each once in a process.

    Parameters
    ----------
    make : gives the estimator whose space, batch and device are used, when a first score is asked
        for; its own proxies do not count.
    progress : called with how many networks are scored, and how many there are.
    """

    def __init__(self, make: Callable[[], ProxyEstimator], progress: Progress | None = None):
        self._make, self._progress = make, progress
        self._known: dict[tuple[Architecture, tuple[str, ...], int], tuple[float, ...]] = {}

    @cached_property
    def _estimator(self) -> ProxyEstimator:
        return self._make()

    def directions(self, names: Sequence[str]) -> dict[str, Direction]:
        """Return the proxies' own directions.

        Raises
        ------
        UnknownName : there is no such proxy.
        """
        return {name: proxies.get(name).direction for name in names}

    def scores(
        self, architectures: Sequence[Architecture], names: Sequence[str], seed: int
    ) -> dict[str, Floats]:
        """Score networks whose first weights and batch all come from ``seed``.

        The score of a network that does not fit into memory is NaN.
        """
        asked = tuple(names)
        new = [one for one in architectures if (one, asked, seed) not in self._known]
        for done, architecture in enumerate(new, 1):
            self._known[architecture, asked, seed] = self._score(architecture, asked, seed)
            if self._progress is not None:
                self._progress(done, len(new))
        rows = [self._known[one, asked, seed] for one in architectures]
        return _columns(asked, rows)

    def _score(
        self, architecture: Architecture, names: tuple[str, ...], seed: int
    ) -> tuple[float, ...]:
        estimator = replace(self._estimator, proxy=names[0], metrics=names[1:])
        try:
            found = estimator.evaluate(architecture, seed=seed)
        except Infeasible:
            return (math.nan,) * len(names)
        return found.score, *(float(found.metrics[name]) for name in names[1:])


class ColumnScorer:
    """Looks scores up, such as those that a published table has of its architectures.

    Parameters
    ----------
    where : of whom the columns are; for messages.
    row : tells the row of an architecture.
    columns : by name, each (rows,).
    directions : which way each is good; of those that are missing, large is.
    """

    def __init__(
        self,
        where: str,
        row: Callable[[Architecture], int],
        columns: Mapping[str, Floats],
        directions: Mapping[str, Direction],
    ):
        self._where, self._row = where, row
        self._columns, self._directions = columns, directions

    def directions(self, names: Sequence[str]) -> dict[str, Direction]:
        """Return which way columns are good.

        Raises
        ------
        UnknownName : there is no such column.
        """
        for name in names:
            if name not in self._columns:
                raise UnknownName(
                    f"{self._where} has no scores '{name}'{nearest(name, self._columns)}; it has: "
                    f"{', '.join(self._columns) or 'none'}"
                )
        return {name: self._directions.get(name, "maximize") for name in names}

    def scores(
        self, architectures: Sequence[Architecture], names: Sequence[str], seed: int
    ) -> dict[str, Floats]:
        """Return rows of the columns; the seed does not count.

        Raises
        ------
        DataError : an architecture is not among the rows.
        """
        rows = [self._row(one) for one in architectures]
        return {name: self._columns[name][rows] for name in names}


def _columns(names: Sequence[str], rows: Sequence[Sequence[float]]) -> dict[str, Floats]:
    values = np.array(rows, np.float64).reshape(len(rows), len(names))
    return dict(zip(names, values.T, strict=True))
