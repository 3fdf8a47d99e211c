"""Rank many architectures by zero-cost proxies, and train those that promise most.

Source: Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS" (ICLR 2021), the warm-up of
their searches; with one proxy and one training, the search of Zhou et al., "HyTAS".  Ranking by
"parameters" or "flops" is the rival that a proxy has to beat.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError
from swath.core.history import History, Proposal
from swath.core.seeds import numpy_generator
from swath.estimators.ranking import Aggregate, aggregate, check_aggregate
from swath.spaces.base import SearchSpace
from swath.strategies import registry
from swath.strategies._memory import Memory, require_positive
from swath.strategies.scoring import Scoring, score_names

__all__ = ["RankAndTrain"]


class _Drawn:
    """The rounds of candidates that are known; nothing in it changes an answer."""

    def __init__(self) -> None:
        self._of: tuple[SearchSpace, int] | None = None
        self._rounds: list[list[Architecture]] = []

    def rounds(self, space: SearchSpace, seed: int) -> list[list[Architecture]]:
        """Return the rounds of a space and seed, a list to be continued; of others, a new one."""
        if self._of is None or self._of[0] is not space or self._of[1] != seed:
            self._of, self._rounds = (space, seed), []
        return self._rounds


@registry.register("rank-and-train")
@dataclass(frozen=True)
class RankAndTrain(Scoring):
    """Ranks random architectures by zero-cost proxies, and evaluates the first in rank.

    How many are evaluated is the number of trials.  What they turn out to be worth changes
    nothing, but where all candidates were tried, as many further ones are drawn and ranked.

    Parameters
    ----------
    proxies : names of 'swath proxies' ("parameters" and "flops" are among them), or of the proxies
        of the study's table; several are aggregated.
    candidates : random architectures that are ranked.
    aggregate : how the ranks by several proxies become one: "mean-rank" (Borda's count),
        "log-rank" or "worst-rank"; see :data:`swath.estimators.ranking.AGGREGATES`.
    batch : trials proposed at a time.
    """

    proxies: tuple[str, ...] = ("naswot", "logsynflow")
    candidates: int = 1000
    aggregate: Aggregate = "mean-rank"
    batch: int = 64
    _memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)
    _drawn: _Drawn = field(default_factory=_Drawn, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "proxies", score_names(self.proxies))
        require_positive("rank-and-train", self, "candidates", "batch")
        check_aggregate(self.aggregate)
        if not self.proxies:
            raise RecipeError(
                "strategy rank-and-train: proxies is empty; name at least one of 'swath proxies'"
            )

    @property
    def score_names(self) -> tuple[str, ...]:
        """The proxies."""
        return self.proxies

    def propose(self, space: SearchSpace, history: History, seed: int) -> list[Proposal]:
        """Return the next in rank that were not tried; empty where the space is exhausted."""
        taken = self._memory.taken(space, history)
        for ranked in self._rounds(space, seed):
            untried = [one for one in ranked if space.canonical(one) not in taken]
            if untried:
                return [Proposal(one) for one in untried[: self.batch]]
        return []

    def _rounds(self, space: SearchSpace, seed: int) -> Iterator[list[Architecture]]:
        """Yield the candidates of one round after the other, best first.

        They follow from space and seed alone, whatever was tried.
        """
        rounds = self._drawn.rounds(space, seed)
        for number in itertools.count():
            if number == len(rounds):
                earlier = {space.canonical(one) for ranked in rounds for one in ranked}
                rng = numpy_generator(seed, "rank-and-train", number)
                drawn = self._memory.draw_many(space, self.candidates, rng, earlier)
                rounds.append(self._best_first(drawn, seed))
            if not rounds[number]:
                return
            yield rounds[number]

    def _best_first(self, candidates: Sequence[Architecture], seed: int) -> list[Architecture]:
        """Return candidates in the order of their ranks; of equals the one drawn first."""
        if not candidates:
            return []
        merits = aggregate(self.ranks(candidates, seed), self.aggregate)
        return [candidates[place] for place in np.argsort(-merits, kind="stable")]
