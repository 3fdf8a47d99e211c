"""What the pictures of a footprint show, small enough to be kept with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.landscape.distance import Box, Line, boxes, linear_fit
from swath.landscape.measure import Floats, same
from swath.landscape.persistence import Persistence
from swath.landscape.walks import autocorrelation

__all__ = ["Curves"]

_LAGS = 20
_WALKS, _STEPS = 3, 100
_LEVELS = 101
_DOTS = 400
_BINS = (10, 40)


@dataclass
class Curves:
    """Curves of one landscape; empty where there is nothing to show.

    Parameters
    ----------
    edges, counts : of the histogram of fitness.
    quantiles : fitness at 0, 1, ..., 100 % of the models.
    walks : fitness along the first walks.
    autocorrelation, autocorrelation_exact : by lag from 0: the mean over walks; of an endless one.
    dots : (distance, fitness) of models drawn at random.
    boxes, line : fitness by distance.
    budgets, positive, negative, chance : P(N) of N = 1..25 over the first two, three, ... budgets.
    """

    edges: list[float] = field(default_factory=list)
    counts: list[int] = field(default_factory=list)
    quantiles: list[float] = field(default_factory=list)
    walks: list[list[float]] = field(default_factory=list)
    autocorrelation: list[float] = field(default_factory=list)
    autocorrelation_exact: list[float] = field(default_factory=list)
    dots: list[tuple[int, float]] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    line: Line | None = None
    budgets: list[int] = field(default_factory=list)
    positive: list[list[float]] = field(default_factory=list)
    negative: list[list[float]] = field(default_factory=list)
    chance: list[float] = field(default_factory=list)

    @staticmethod
    def lags(steps: int) -> int:
        """Return how many lags a walk of so many steps tells of."""
        return min(_LAGS, steps)

    def add_distribution(self, fitness: Floats) -> None:
        """Keep the histogram and the quantiles."""
        bins = 1 if same(fitness) else int(np.clip(np.sqrt(len(fitness)), *_BINS))
        counts, edges = np.histogram(fitness, bins)
        self.counts, self.edges = counts.tolist(), edges.tolist()
        self.quantiles = np.quantile(fitness, np.linspace(0, 1, _LEVELS)).tolist()

    def add_walks(self, series: Floats, exact: Floats | None) -> None:
        """Keep the first walks and the autocorrelations."""
        self.walks = series[:_WALKS, : _STEPS + 1].tolist()
        found = autocorrelation(series, self.lags(series.shape[1] - 1))
        known = found[np.isfinite(found[:, 0])]
        if len(known):
            self.autocorrelation = known.mean(axis=0).tolist()
        if exact is not None:
            self.autocorrelation_exact = exact.tolist()

    def add_distances(
        self, distances: npt.NDArray[np.int64], fitness: Floats, rng: np.random.Generator
    ) -> None:
        """Keep some models, the boxes and the line."""
        some = rng.choice(len(fitness), min(len(fitness), _DOTS), replace=False)
        self.dots = [(int(distances[one]), float(fitness[one])) for one in some]
        self.boxes, self.line = list(boxes(distances, fitness)), linear_fit(distances, fitness)

    def add_persistence(self, found: Persistence) -> None:
        """Keep P(N)."""
        self.budgets = list(found.budgets)
        self.positive = found.positive_by_budgets.tolist()
        self.negative = found.negative_by_budgets.tolist()
        self.chance = found.chance.tolist()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Curves:
        """Read :meth:`to_dict`'s form."""
        found = cls(**data)
        found.dots = [(int(x), float(y)) for x, y in data["dots"]]
        found.boxes = [Box(**one) for one in data["boxes"]]
        found.line = None if data["line"] is None else Line.from_dict(data["line"])
        return found
