"""The section ``study`` of a recipe: what its strategy is given where nothing was said."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath import spaces, strategies
from swath.core.errors import RecipeError, UnknownName
from swath.core.evaluation import Evaluation
from swath.core.history import History, Trial
from swath.study.recipes import load_recipe, resolve
from swath.study.study_section import StudySettings, fitted


def section(**given: Any) -> StudySettings:
    return fitted(StudySettings(**given))


@given(
    st.sampled_from(["evolution", "npenas", "local-search", "random", "rank-and-train"]),
    st.integers(1, 200),
)
def test_every_strategy_can_be_made_for_any_number_of_trials(name: str, trials: int) -> None:
    """And leaves at least half of the trials to itself, where there are enough to choose."""
    options = section(strategy=name, trials=trials).strategy.options
    strategies.create(name, **options)
    first = options.get("population", options.get("initial", 0))
    assert first <= max(2, trials / 2)


@given(st.integers(1, 60), st.integers(1, 200))
def test_successive_halving_keeps_to_the_number_of_trials(trials: int, iterations: int) -> None:
    settings = section(strategy="successive-halving", trials=trials, iterations=iterations)
    assert settings.budgets[-1] == iterations
    strategy = strategies.create("successive-halving", **settings.strategy.options)
    space, history = spaces.create("nasbench201"), History()
    while batch := strategy.propose(space, history, 0):
        start = len(history)
        done = [Trial(start + k, one, Evaluation(float(k))) for k, one in enumerate(batch)]
        history = History((*history.trials, *done))
    # (one trial cannot be halved: its second rung is cut)
    assert len(history) <= max(trials, len(settings.budgets))
    assert len(history) >= min(trials, 2) - 1


def test_options_that_are_given_stay() -> None:
    options = {"population": 3, "tournament": 2}
    kept = section(strategy={"name": "evolution", "options": options}).strategy.options
    assert kept == options
    halving = section(
        strategy={"name": "successive-halving", "options": {"number": 4}}, budgets=[5, 10, 20]
    )
    assert halving.strategy.options == {"number": 4, "budgets": [5, 10, 20]}


def test_options_without_a_number_leave_the_numbers_to_be_fitted() -> None:
    ranked = section(strategy={"name": "rank-and-train", "options": {"proxies": ["snip"]}})
    assert ranked.strategy.options == {"candidates": 120, "proxies": ["snip"]}
    published = section(strategy={"name": "npenas", "options": {"variant": "published"}}, trials=8)
    assert published.strategy.options == {"initial": 4, "batch": 2, "variant": "published"}
    told = section(strategy={"name": "npenas", "options": {"features": ["snip"]}}, trials=8)
    assert told.strategy.options == {"initial": 4, "batch": 2, "pool": 20, "features": ["snip"]}
    strategies.create("npenas", **told.strategy.options)
    alone = section(strategy={"name": "rank-and-train", "options": {"batch": 4}})
    assert alone.strategy.options == {"batch": 4}


@pytest.mark.parametrize(("trials", "candidates"), [(1, 50), (12, 120), (500, 1000)])
def test_a_few_candidates_are_ranked_for_each_trial(trials: int, candidates: int) -> None:
    options = section(strategy="rank-and-train", trials=trials).strategy.options
    assert options == {"candidates": candidates}


def test_what_was_fitted_is_written_and_reads_as_itself() -> None:
    recipe = resolve({"study": {"strategy": "evolution", "trials": 8}})
    assert recipe.study is not None
    assert recipe.study.strategy.options == {"population": 4, "tournament": 2}
    assert resolve(recipe.model_dump(mode="json")) == recipe


@pytest.mark.parametrize("name", [f"{s}-quick" for s in spaces.names() if s != "hsi3d"])
def test_quick_recipes_of_spaces_without_a_supernet_search_by_trials(name: str) -> None:
    study = resolve(load_recipe(name)).study
    assert study is not None
    options = study.strategy.options
    first = options.get("population", options.get("initial"))
    assert first < study.trials  # it learns from some, and does not only draw
    assert study.iterations < resolve(load_recipe(name)).training.iterations


@pytest.mark.parametrize(
    ("given_", "error", "said"),
    [
        ({"strategy": "rando"}, UnknownName, "did you mean 'random'"),
        ({"strategy": "differentiable"}, RecipeError, "leave the section study out"),
        ({"strategy": "random", "budgets": [2, 4]}, RecipeError, "give study.iterations instead"),
    ],
)
def test_what_cannot_be(given_: dict[str, Any], error: type[Exception], said: str) -> None:
    with pytest.raises(error, match=said):
        section(**given_)
