"""Strategies that look at zero-cost scores: what is ranked, and what they make of it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from swath import strategies
from swath.core.architecture import Architecture
from swath.core.errors import RecipeError, UnknownName
from swath.core.evaluation import Direction, Evaluation
from swath.core.history import History, Proposal, Trial
from swath.core.seeds import derive
from swath.estimators.ranking import aggregate, ranks
from swath.spaces.restricted import Listed
from swath.strategies.npenas import NPENAS
from swath.strategies.rank_and_train import RankAndTrain
from swath.strategies.scoring import Scoring

Search = Callable[..., History]


def noise(architecture: Architecture) -> float:
    """Return a figure that has nothing to do with the genes."""
    return derive(0, architecture.key) / 2**63


class Told:
    """A scorer of functions of the architecture; "loss" is good where it is small."""

    def __init__(self, **known: Callable[[Architecture], float]) -> None:
        self.known, self.asked, self.seeds = known, 0, set[int]()

    def directions(self, names: Sequence[str]) -> dict[str, Direction]:
        for name in names:
            if name not in self.known:
                raise UnknownName(f"there is no score '{name}'")
        return {name: "minimize" if name == "loss" else "maximize" for name in names}

    def scores(
        self, architectures: Sequence[Architecture], names: Sequence[str], seed: int
    ) -> dict[str, Any]:
        self.asked += len(architectures)
        self.seeds.add(seed)
        return {n: np.array([self.known[n](a) for a in architectures]) for n in names}


def first(architecture: Architecture) -> float:
    return float(int(architecture["g0"]))


def total(architecture: Architecture) -> float:
    return float(sum(int(value) for _, value in architecture.genes))


def proposed(strategy: Any, space: Any, history: History, seed: int = 0) -> list[Architecture]:
    return [one.architecture for one in strategy.propose(space, history, seed)]


def evaluated(architectures: Sequence[Architecture], score: Callable[[Any], float]) -> History:
    return History(
        [Trial(n, Proposal(a), Evaluation(score(a))) for n, a in enumerate(architectures)]
    )


# Rank and train


@pytest.mark.parametrize("how", ["mean-rank", "log-rank", "worst-rank"])
def test_candidates_are_proposed_in_the_order_of_their_ranks(how: Any, toy: Any) -> None:
    space = toy(genes=6)
    known = Told(total=total, loss=noise)
    strategy = RankAndTrain(("total", "loss"), candidates=30, aggregate=how, batch=30)
    order = proposed(strategy.with_scorer(known), space, History())
    assert len({space.canonical(one) for one in order}) == 30
    places = [
        ranks(np.array([total(one) for one in order])),
        ranks(np.array([noise(one) for one in order]), "minimize"),
    ]
    merits = aggregate(np.stack(places, axis=1), how)
    assert (np.diff(merits) <= 1e-12).all()
    assert total(order[0]) > np.mean([total(one) for one in order])


def test_the_best_of_many_are_tried_whatever_they_turn_out_to_be(toy: Any, search: Search) -> None:
    space = toy(genes=6)
    strategy = RankAndTrain("total", candidates=200, batch=5)
    runs = [
        search(space, strategy.with_scorer(Told(total=total)), 40, score=score)
        for score in (noise, total, lambda one: None)
    ]
    tried = [[trial.architecture for trial in history] for history in runs]
    assert tried[0] == tried[1] == tried[2]
    # Candidates are random: the same as those of one great batch, of which the first 40 are best.
    everyone = proposed(
        RankAndTrain("total", 200, batch=200).with_scorer(Told(total=total)), space, History()
    )
    assert tried[0] == everyone[:40]
    assert min(map(total, tried[0])) >= max(map(total, everyone[40:]))
    drawn = np.mean([total(one) for one in everyone])
    assert drawn == pytest.approx(6, abs=4 * (6 * 2 / 3 / 200) ** 0.5)  # as of uniform genes


def test_a_small_score_is_good_where_its_direction_says_so(toy: Any) -> None:
    space = toy(genes=6)
    strategy = RankAndTrain("loss", candidates=50, batch=50).with_scorer(Told(loss=total))
    assert (np.diff([total(one) for one in proposed(strategy, space, History())]) >= 0).all()


def test_a_score_that_is_missing_comes_last(toy: Any) -> None:
    def dead(architecture: Architecture) -> float:
        return math.nan if first(architecture) == 2 else total(architecture)

    strategy = RankAndTrain("dead", candidates=60, batch=60).with_scorer(Told(dead=dead))
    missing = [math.isnan(dead(one)) for one in proposed(strategy, toy(genes=5), History())]
    assert any(missing)
    assert missing == sorted(missing)


def test_when_all_are_tried_as_many_more_are_ranked(toy: Any, search: Search) -> None:
    space = toy(genes=4)  # 45 networks and their reverses
    strategy = RankAndTrain("total", candidates=20, batch=7).with_scorer(Told(total=total))
    history = search(space, strategy)
    assert len(history) == 45
    rounds = [[total(t.architecture) for t in history[k : k + 20]] for k in (0, 20, 40)]
    for one in rounds:
        assert one == sorted(one, reverse=True)
    assert rounds[1][0] > rounds[0][-1]  # a new round begins again with the best of it


def test_each_candidate_is_scored_once_with_one_seed(toy: Any, search: Search) -> None:
    known = Told(total=total)
    strategy = RankAndTrain("total", candidates=25, batch=2).with_scorer(known)
    space = toy(genes=6)
    search(space, strategy, 20)
    assert known.asked == 25
    assert len(known.seeds) == 1
    before = proposed(strategy, space, History(), seed=0)
    assert proposed(strategy, space, History(), seed=1) != before
    assert proposed(strategy, space, History(), seed=0) == before
    other = toy(genes=6)
    assert [one.genes for one in proposed(strategy, other, History())] == [a.genes for a in before]


def test_proxies_need_somebody_who_tells_them(toy: Any) -> None:
    strategy = strategies.create("rank-and-train", proxies=["total", "total"])
    assert isinstance(strategy, Scoring)
    assert strategy.score_names == ("total",)
    with pytest.raises(RecipeError, match=r"asks for scores \(total\), but has no scorer"):
        strategy.propose(toy(), History(), 0)
    with pytest.raises(UnknownName, match="no score 'total'"):
        strategy.with_scorer(Told(loss=total))
    with pytest.raises(RecipeError, match="proxies is empty"):
        RankAndTrain(())


# NPENAS-NP with scores as features

FAST: dict[str, Any] = {"predictor": {"epochs": 3}, "initial": 8, "batch": 6, "pool": 40}


@pytest.mark.parametrize("variant", ["refined", "published"])
@pytest.mark.parametrize("listed", [False, True])
def test_npenas_hears_what_a_feature_knows(variant: Any, listed: bool, toy: Any) -> None:
    """Where genes tell nothing of the merit and the feature tells all of it."""
    space = toy(genes=6, copies=False)
    if listed:
        chains = ["".join(one) for one in itertools.product("012", repeat=6)][::4]
        space = Listed(space, [space.chain(one) for one in chains])
    plain = NPENAS(variant=variant, **FAST)
    told = NPENAS(variant=variant, features=("loss",), **FAST).with_scorer(
        Told(loss=lambda one: -(noise(one) ** 9))  # monotone: only ranks are seen
    )
    gains = []
    for seed in range(4):
        start = proposed(plain, space, History(), seed)
        assert proposed(told, space, History(), seed) == start  # the random start is the same
        history = evaluated(start, noise)
        chosen = [
            np.mean([noise(one) for one in proposed(strategy, space, history, seed)])
            for strategy in (told, plain)
        ]
        gains.append(chosen[0] - chosen[1])
    assert np.mean(gains) > 0.1
    assert sum(gain > 0 for gain in gains) >= 3


def test_npenas_with_features_is_a_function_and_scores_all_with_one_seed(
    toy: Any, search: Search
) -> None:
    def run(seed: int, known: tuple[Trial, ...] = ()) -> tuple[list[Architecture], Told]:
        scorer = Told(total=total)
        strategy = NPENAS(features=("total",), **FAST).with_scorer(scorer)
        history = search(toy(genes=5), strategy, 26, seed=seed, known=known, whole_batches=True)
        trials.append(history.trials)
        return [trial.architecture for trial in history], scorer

    trials: list[Sequence[Trial]] = []
    whole, scorer = run(0)
    assert len(scorer.seeds) == 1
    assert run(0)[0] == whole
    assert run(1)[0] != whole
    assert run(0, tuple(trials[0][:14]))[0] == whole  # after the start and one batch


def test_npenas_without_features_needs_no_scorer(toy: Any) -> None:
    assert NPENAS(**FAST).score_names == ()
    assert NPENAS(features="naswot").features == ("naswot",)  # type: ignore[arg-type]
    start = evaluated([toy().chain(one) for one in ("0000", "0001", "0011", "0111")], total)
    asking = NPENAS(features=("total",), **{**FAST, "initial": 4})
    with pytest.raises(RecipeError, match="has no scorer"):
        asking.propose(toy(), start, 0)
