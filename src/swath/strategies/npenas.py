"""NPENAS-NP: evolution whose children are chosen by a graph predictor before they are evaluated.

Source: Wei et al., "NPENAS: Neural Predictor Guided Evolution for Neural Architecture Search",
Algorithm 1 with the predictor NPENAS-NP.

The refined variant is ours.  Its graph network learns the ranks of the figures instead of the
figures (bad architectures far off no longer drown the differences among good ones) in a third of
the steps; a Gaussian process over the genes is heard beside it, whose ranking of the candidates
counts as much; and half of a round goes to the best, by prediction, of random architectures, since
mutants alone may stay for good around an optimum that is only local.  All three were chosen on
accuracies after 12 epochs on CIFAR-10.

Of a list of architectures, such as a table of 2000 among 7.94e14, the refined variant proposes the
best by prediction of all that is untried: a list is short enough for that, and a mutant in it is
not near its parent.  The Gaussian process alone predicts there: it takes a second for a search of
150 trials, where the graph network would have to look at thousands of graphs each round.  This was
chosen on the average accuracies of HyTAS's tables (Indian Pines, Houston, Pavia).

With ``features``, one more predictor is heard in either variant, a Gaussian process that learns
which of its inputs matter: the few numbers that tell the whole of a network, and its ranks by the
named proxies among all that is known or looked at.  Ranks, since the scores of some proxies span
many orders of magnitude.  It was chosen over randomised trees, which did hardly worse, on the
average accuracies of HyTAS's tables.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError, nearest
from swath.core.history import History, Proposal, Trial
from swath.core.seeds import derive, numpy_generator
from swath.spaces.base import SearchSpace
from swath.spaces.restricted import Listed
from swath.strategies import registry
from swath.strategies._memory import Memory, mutate, require_positive
from swath.strategies.scoring import Scoring, score_names

if TYPE_CHECKING:
    from swath.estimators.predictors.base import Predictor
    from swath.estimators.predictors.gin import GINOptions

__all__ = ["NPENAS"]

VARIANTS = ("refined", "published")
CANDIDATES = ("spread", "authors")

_STRANGERS = 3  # random architectures to look at for each mutant
_ATTEMPTS = 5  # mutations a wanted mutant, after which its parent is taken to have no more


@registry.register("npenas")
@dataclass(frozen=True)
class NPENAS(Scoring):
    """Evaluates those mutants of the best architectures that a predictor thinks best.

    A round fits the predictor from scratch to all that was evaluated, makes a pool of untried
    mutants without copies of one network, and proposes the best of them by prediction.  In the
    refined variant the pool is the whole of a :class:`swath.spaces.restricted.Listed` space, and
    ``candidates``, ``pool``, ``parents``, ``mutations``, ``strangers`` and ``predictor`` do not
    count there.

    Parameters
    ----------
    variant : "published": the graph network alone, on proportional targets, 300 epochs; "refined":
        on ranks, 100 epochs, beside a Gaussian process and with strangers (see the module).
    candidates : "spread": ``pool`` mutants, as many of each of the ``parents`` best; "authors":
        all of the best one, then of the next one, until there are ``pool``, as the authors' code.
        Where the parents have no more, further architectures become parents in the order of their
        merit, then mutants are mutated again, then random ones fill up.
    initial : random architectures at the start.
    batch : K, proposed in a round.
    pool : mutants among which the predictor chooses.
    parents : best architectures that are mutated.
    mutations : times a mutant is mutated.
    strangers : how many of a batch are the best, by prediction, of three times ``pool`` random
        architectures instead of mutants; None: half of it in the refined variant, none in the
        published one.
    predictor : fields of :class:`swath.estimators.predictors.gin.GINOptions` that are to differ
        from the variant's.
    features : names of proxies whose ranks one more predictor sees (see the module); as those of
        :class:`swath.strategies.rank_and_train.RankAndTrain`.
    """

    variant: Literal["refined", "published"] = "refined"
    candidates: Literal["spread", "authors"] = "spread"
    initial: int = 10
    batch: int = 10
    pool: int = 100
    parents: int = 10
    mutations: int = 1
    strangers: int | None = None
    predictor: Mapping[str, Any] = field(default_factory=dict)
    features: tuple[str, ...] = ()
    _memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features", score_names(self.features))
        require_positive("npenas", self, "initial", "batch", "pool", "parents", "mutations")
        for option, known in (("variant", VARIANTS), ("candidates", CANDIDATES)):
            given = getattr(self, option)
            if given not in known:
                raise RecipeError(
                    f"strategy npenas: {option} cannot be {given!r}{nearest(str(given), known)}; "
                    f"it is one of: {', '.join(known)}"
                )
        if self.strangers is not None and not 0 <= self.strangers < self.batch:
            raise RecipeError(
                f"strategy npenas: strangers must be at least 0 and less than batch "
                f"({self.batch}), not {self.strangers!r}"
            )
        if self.pool < self.batch:
            raise RecipeError(
                f"strategy npenas: pool ({self.pool}) cannot be smaller than batch ({self.batch})"
            )

        if self.predictor:
            self._predictor_options()  # refuses what it does not know

    @property
    def score_names(self) -> tuple[str, ...]:
        """The features."""
        return self.features

    def propose(self, space: SearchSpace, history: History, seed: int) -> list[Proposal]:
        """Return the rest of the random start, or the best of a pool of mutants."""
        # A score that is no number teaches nothing; two are needed to tell better from worse.
        known = [trial for trial in history.ranked() if math.isfinite(history.merit(trial))]
        missing = max(self.initial - len(history), self.batch if len(known) < 2 else 0)
        if missing:
            chosen = self._memory.draw_trials(space, history, seed, "npenas", missing)
            return [Proposal(architecture) for architecture in chosen]
        rng = numpy_generator(seed, "npenas", len(history))
        taken = self._memory.taken(space, history)
        if self.variant == "refined" and isinstance(space, Listed):
            return self._best_listed(space, history, known, taken, seed)
        mutants = self._mutants(space, known, rng, taken)
        if not mutants:
            return []
        strangers = self._memory.draw_many(
            space, _STRANGERS * self.pool if self._share else 0, rng, taken
        )
        ranking = self._joint_ranking(
            space, history, known, [*mutants, *strangers], self._predictors(), seed
        )
        best = [
            *_best(mutants, ranking[: len(mutants)], self.batch - self._share),
            *_best(strangers, ranking[len(mutants) :], self._share),
        ]
        return [Proposal(architecture) for architecture in best]

    def _best_listed(
        self,
        space: Listed,
        history: History,
        known: Sequence[Trial],
        taken: set[Architecture],
        seed: int,
    ) -> list[Proposal]:
        """Return the best, by prediction, of all that is listed and untried, without copies."""
        untried: list[Architecture] = []
        for architecture in space.architectures:
            if space.canonical(architecture) not in taken:
                taken.add(space.canonical(architecture))
                untried.append(architecture)
        if not untried:
            return []
        from swath.estimators.predictors.kernel import KernelPredictor

        ranking = self._joint_ranking(space, history, known, untried, [KernelPredictor()], seed)
        return [Proposal(architecture) for architecture in _best(untried, ranking, self.batch)]

    def _joint_ranking(
        self,
        space: SearchSpace,
        history: History,
        known: Sequence[Trial],
        pool: Sequence[Architecture],
        predictors: Sequence[Predictor],
        seed: int,
    ) -> np.ndarray:
        """Return (pool,) sums of the ranks that the predictors give, the best having the largest.

        Each ranks as much as the others, and so does the one that sees the features.
        """
        from scipy.stats import rankdata

        learned = sorted(known, key=lambda trial: trial.number)
        architectures = [trial.architecture for trial in learned]
        targets = np.array([history.merit(trial) for trial in learned])
        of_round = derive(seed, "npenas", len(history))
        total = np.zeros(len(pool))
        for predictor in predictors:
            predictor.fit(space, architectures, targets, of_round)
            total += rankdata(predictor.predict(pool))
        if self.features:
            from swath.estimators.predictors.relevance import RelevancePredictor

            shares = self.ranks([*architectures, *pool], seed) / (len(learned) + len(pool))
            of_features = RelevancePredictor()
            of_features.fit(space, architectures, targets, of_round, shares[: len(learned)])
            total += rankdata(of_features.predict(pool, shares[len(learned) :]))
        return total

    @property
    def _share(self) -> int:
        """How many of a batch are strangers."""
        if self.strangers is not None:
            return self.strangers
        return self.batch // 2 if self.variant == "refined" else 0

    def _predictors(self) -> list[Predictor]:
        from swath.estimators.predictors.gin import GINPredictor
        from swath.estimators.predictors.kernel import KernelPredictor

        graphs = GINPredictor(self._predictor_options())
        return [graphs] if self.variant == "published" else [graphs, KernelPredictor()]

    def _predictor_options(self) -> GINOptions:
        from swath.estimators.predictors.gin import GINOptions

        known = [option.name for option in fields(GINOptions)]
        for option in self.predictor:
            if option not in known:
                raise RecipeError(
                    f"strategy npenas: predictor has no option '{option}'{nearest(option, known)}; "
                    f"it has: {', '.join(known)}"
                )
        ours = {} if self.variant == "published" else {"targets": "ranks", "epochs": 100}
        return GINOptions(**{**ours, **self.predictor})

    def _mutants(
        self,
        space: SearchSpace,
        known: Sequence[Trial],
        rng: np.random.Generator,
        taken: set[Architecture],
    ) -> list[Architecture]:
        """Return untried mutants, no two of them copies of one network; enter them as taken."""
        pool: list[Architecture] = []
        share = self.pool if self.candidates == "authors" else math.ceil(self.pool / self.parents)
        for parent, mutations in self._families(space, known):
            born = 0
            for _ in range(_ATTEMPTS * share):
                if born == share or len(pool) == self.pool:
                    break
                child = mutate(space, parent, rng, mutations)
                if child is not None and space.canonical(child) not in taken:
                    taken.add(space.canonical(child))
                    pool.append(child)
                    born += 1
            if len(pool) == self.pool:
                return pool
        return pool + self._memory.draw_many(space, self.pool - len(pool), rng, taken)

    def _families(
        self, space: SearchSpace, known: Sequence[Trial]
    ) -> Iterator[tuple[Architecture, int]]:
        """Yield parents with the times that they are mutated, best first."""
        for further in range(len(space.genes)):
            # First the best ones; the others where these have not enough.
            for parents in (known[: self.parents], known[self.parents :]):
                yield from ((t.architecture, self.mutations + further) for t in parents)


def _best(
    architectures: Sequence[Architecture], scores: np.ndarray, count: int
) -> list[Architecture]:
    """Return those with the highest scores, best first; of equals the earlier first."""
    return [architectures[i] for i in np.argsort(-scores, kind="stable")[:count]]
