"""What holds for every strategy of discrete search, whatever it proposes."""

from __future__ import annotations

import itertools
import math
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from swath import strategies
from swath.core.architecture import Architecture
from swath.core.errors import NothingToSample, RecipeError, SwathError, UnknownName
from swath.core.evaluation import Direction
from swath.core.history import History
from swath.spaces.base import SearchSpace
from swath.spaces.restricted import Listed, Restricted
from swath.strategies.scoring import Scoring

Search = Callable[..., History]

FAST: dict[str, dict[str, Any]] = {
    "random": {"batch": 7},
    "rank-and-train": {"proxies": ["total"], "candidates": 17, "batch": 5},
    "evolution": {"population": 8, "tournament": 3, "batch": 2},
    "genetic": {"population": 8, "parents": 4, "crossover": 4},
    "local-search": {"initial": 4},
    "npenas": {"predictor": {"epochs": 3}, "initial": 6, "batch": 5, "pool": 20, "parents": 4},
    "successive-halving": {"budgets": [1, 3, 9], "number": 9, "brackets": 2},
    "tpe": {},
    "nsga2": {"population_size": 6},
    "optuna": {"sampler": "RandomSampler"},
}


def make(name: str) -> strategies.base.Strategy:  # type: ignore[name-defined]
    strategy = strategies.create(name, **FAST[name])
    asks = isinstance(strategy, Scoring) and strategy.score_names
    return strategy.with_scorer(Totals()) if asks else strategy


class Totals:
    """Tells strategies that ask for scores the sum of the operators."""

    def directions(self, names: Sequence[str]) -> dict[str, Direction]:
        return dict.fromkeys(names, "maximize")

    def scores(
        self, architectures: Sequence[Architecture], names: Sequence[str], seed: int
    ) -> dict[str, Any]:
        totals = [sum(int(v) for _, v in one.genes) for one in architectures]
        return {name: np.array(totals, float) for name in names}


def genes(history: History) -> list[tuple[str, int | None]]:
    return [(trial.architecture.to_json(), trial.budget) for trial in history]


def test_every_registered_strategy_is_tested() -> None:
    assert set(strategies.names()) == set(FAST)


@pytest.mark.parametrize("name", FAST)
def test_a_function_of_space_history_and_seed(name: str, toy: Any, search: Search) -> None:
    space = toy()
    whole = search(space, make(name), 24, whole_batches=True)
    assert genes(search(space, make(name), 24, whole_batches=True)) == genes(whole)
    assert genes(search(space, make(name), 24, seed=1, whole_batches=True)) != genes(whole)


@pytest.mark.parametrize("name", FAST)
def test_a_cut_history_goes_on_as_it_was(name: str, toy: Any, search: Search) -> None:
    space, strategy = toy(), make(name)
    # As a study does: one batch after the other, and the place where each begins.
    starts, whole = [0], search(space, strategy, 1, whole_batches=True)
    while len(whole) < 20:
        starts.append(len(whole))
        whole = search(space, strategy, len(whole) + 1, known=whole.trials, whole_batches=True)
        if len(whole) == starts[-1]:
            break
    for start in starts[:: max(1, len(starts) // 4)]:
        # A fresh strategy, and the old one with its caches, which has seen more than it is shown.
        for asked in (make(name), strategy):
            again = search(space, asked, len(whole), known=whole.trials[:start], whole_batches=True)
            assert genes(again)[: len(whole)] == genes(whole)


@pytest.mark.parametrize("name", FAST)
def test_nothing_is_tried_twice_and_all_is_valid(name: str, toy: Any, search: Search) -> None:
    space = toy(least=2)
    history = search(space, make(name), 10_000 if name != "nsga2" else 40)
    tried = [(space.canonical(t.architecture), t.budget) for t in history]
    assert len(set(tried)) == len(tried)
    for trial in history:
        space.validate(trial.architecture)
    if name in ("successive-halving", "nsga2"):
        return
    # Everything there is, by brute force, once for each pair of copies.
    texts = ("".join(t) for t in itertools.product("012", repeat=4))
    every = {min(t, t[::-1]) for t in texts if sum(map(int, t)) >= 2}
    assert {space.chain(text) for text in every} == {canonical for canonical, _ in tried}


@pytest.mark.parametrize("name", FAST)
def test_infeasible_trials_are_lived_with(name: str, toy: Any, search: Search) -> None:
    def score(architecture: Architecture) -> float | None:
        total = sum(int(v) for _, v in architecture.genes)
        return None if total > 5 else math.nan if total == 1 else float(total)

    history = search(toy(), make(name), 30, score=score)
    assert len({t.architecture for t in history}) >= 9
    assert search(toy(), make(name), 12, score=lambda a: None).best() is None


@pytest.mark.parametrize("name", FAST)
def test_a_list_is_searched_within(name: str, toy: Any, search: Search) -> None:
    whole = toy(copies=False)
    listed = [whole.chain("".join(t)) for t in itertools.product("012", repeat=4)][::3]
    space = Listed(whole, listed, neighbourhood=3)
    history = search(space, make(name), 27)
    assert {t.architecture for t in history} <= set(listed)
    if name != "successive-halving":
        assert len(history) == 27  # all of the list


@pytest.mark.parametrize("name", FAST)
def test_impossible_constraints_are_named(name: str, toy: Any) -> None:
    space: SearchSpace = Restricted(toy(), lambda a: False, "no parameters", attempts=50)
    with pytest.raises(NothingToSample, match="no parameters"):
        make(name).propose(space, History(), 0)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("random", {"batch": 0}, "random: batch must be a whole number of at least 1, not 0"),
        ("evolution", {"tournament": 31}, r"tournament \(31\) cannot be larger than population"),
        ("local-search", {"improvement": "bst"}, "did you mean 'best'"),
        ("npenas", {"variant": "publishd"}, "did you mean 'published'"),
        ("npenas", {"candidates": "author"}, "did you mean 'authors'"),
        ("npenas", {"pool": 5}, r"pool \(5\) cannot be smaller than batch \(10\)"),
        ("npenas", {"predictor": {"epoch": 3}}, "no option 'epoch' .did you mean 'epochs'"),
        ("npenas", {"predictor": {"epochs": 0}}, "epochs must be at least 1, not 0"),
        ("rank-and-train", {"candidates": 0}, "candidates must be a whole number of at least 1"),
        ("rank-and-train", {"aggregate": "mean"}, "did you mean 'mean-rank'"),
        ("successive-halving", {}, "budgets must be a list of ascending whole numbers"),
        ("successive-halving", {"budgets": [9, 3]}, "ascending"),
        ("successive-halving", {"budgets": [1, 3], "eta": 1}, "eta must be at least 2"),
        ("optuna", {"sampler": "TPESample"}, "did you mean 'TPESampler'"),
        ("tpe", {"n_startup": 3}, "did you mean 'n_startup_trials'"),
    ],
)
def test_unusable_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises((RecipeError, UnknownName), match=message):
        strategies.create(name, **options)


def test_unknown_strategies_are_refused() -> None:
    with pytest.raises(SwathError, match="did you mean 'evolution'"):
        strategies.create("evolutoin")


def test_proposals_are_the_same_in_another_process(toy: Any, search: Search) -> None:
    # Sets and hashes of texts differ from process to process; proposals must not.
    code = (
        "import swath.strategies as s; from swath.core.history import *;"
        "from swath.core.evaluation import Evaluation; from swath.spaces.hsi3d import HSI3D\n"
        "space, done = HSI3D(), []\n"
        "strategy = s.create('npenas', predictor={'epochs': 2}, initial=4, batch=3, pool=6)\n"
        "while len(done) < 10:\n"
        "    for p in strategy.propose(space, History(tuple(done)), 0):\n"
        "        print(p.architecture.key)\n"
        "        done.append(Trial(len(done), p, Evaluation(int(p.architecture.key, 16) % 97)))\n"
    )
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(outputs) == 1
    assert len(outputs.pop().split()) == 10
