"""How many evaluations a search needs until it has found one of the best models."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from swath import strategies
from swath.core.evaluation import Evaluation
from swath.core.history import History, Trial
from swath.core.seeds import derive
from swath.landscape.fitness import Landscape
from swath.landscape.measure import Measure, bootstrap, undefined

__all__ = ["STRATEGIES", "evaluations_to_reach", "expected_of_random"]

STRATEGIES: Mapping[str, Mapping[str, Any]] = {
    "random": {"batch": 1},
    "local-search": {"batch": 1},
    "evolution": {},
}
"""Strategies whose cost is told, and their options: one evaluation at a time."""


def expected_of_random(models: int, good: int) -> float:
    """Return the mean number of draws without replacement until one is good.

    >>> expected_of_random(100, 1)
    50.5
    """
    return (models + 1) / (good + 1)


def evaluations_to_reach(
    landscape: Landscape,
    strategy: str,
    *,
    share: float = 0.01,
    searches: int = 20,
    most: int = 1000,
    resamples: int = 1000,
    seed: int = 0,
) -> Measure:
    """Return the mean number of evaluations until one of the best ``share`` of models is found.

    No strategy evaluates a network, or another encoding of it, twice.  A search that has not found
    one after ``most`` counts with that number, and is told of.

    Raises
    ------
    UnknownName : there is no such strategy.
    """
    good = max(1, math.ceil(share * len(landscape)))
    bar = float(np.partition(landscape.merit, -good)[-good])
    fitness = dict(zip(landscape.architectures, landscape.fitness.tolist(), strict=True))
    counts = np.array(
        [
            _search(landscape, strategy, fitness, bar, most, derive(seed, "reach", number))
            for number in range(searches)
        ],
        np.float64,
    )
    if not len(counts):
        return undefined("no search was made", 0, "searches")
    low, high = bootstrap(
        lambda x: x.mean(axis=1),
        counts,
        resamples=resamples,
        rng=np.random.default_rng(derive(seed, "reach", strategy)),
    )
    late = int((counts > most).sum())
    note = f"{late} of {searches} searches had not found one after {most}" if late else ""
    return Measure(float(counts.clip(max=most).mean()), low, high, searches, "searches", note=note)


def _search(
    landscape: Landscape,
    strategy: str,
    fitness: Mapping[Any, float],
    bar: float,
    most: int,
    seed: int,
) -> int:
    """Return the number of the evaluation that reached the bar; ``most + 1`` where none did."""
    searcher = strategies.create(strategy, **STRATEGIES.get(strategy, {}))
    space, sign = landscape.search_space, 1.0 if landscape.direction == "maximize" else -1.0
    trials: list[Trial] = []
    while len(trials) < most:
        batch = searcher.propose(space, History(trials), seed)
        if not batch:
            break
        for proposal in batch[: most - len(trials)]:
            score = fitness[proposal.architecture]
            trials.append(Trial(len(trials), proposal, Evaluation(score, landscape.direction)))
            if sign * score >= bar:
                return len(trials)
    return most + 1
