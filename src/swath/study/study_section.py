"""The section ``study`` of a recipe: a search by trials, with a strategy that fits their number."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field, field_validator

from swath import strategies
from swath.core.errors import RecipeError, UnknownName, nearest
from swath.study.one_shot_section import ONE_SHOT
from swath.study.settings import LimitSettings, PartSettings, Strict, given_limits, named_part

__all__ = ["DIFFERENTIABLE", "StudySettings", "fitted", "require_strategy"]

DIFFERENTIABLE = "differentiable"
"""The name of the search that needs no trials: a recipe without the section."""

_HALVING = "successive-halving"


class StudySettings(Strict):
    """How an architecture is searched by trials: each trains a network on the run's own task.

    Parameters
    ----------
    strategy : its name, or name and options.
    trials : how many networks are trained.
    iterations : of each, in place of ``training.iterations``.
    budgets : iterations of a strategy that trains some networks longer than others, ascending, in
        place of ``iterations``.
    retrain : so many of the best are trained in full, and the best of these is taken.
    constraints : limits of "parameters", "flops" and "latency", checked before a network is
        trained.
    """

    strategy: PartSettings = PartSettings(name="random")
    trials: int = Field(default=12, ge=1)
    iterations: int = Field(default=60, ge=1)
    budgets: tuple[Annotated[int, Field(ge=1)], ...] = ()
    retrain: int = Field(default=1, ge=1)
    constraints: dict[str, LimitSettings] = Field(default_factory=dict)

    @field_validator("strategy", mode="before")
    @classmethod
    def _read_name(cls, given: Any) -> Any:
        return named_part(given)

    def limits(self) -> dict[str, dict[str, float]]:
        """Return the constraints as :func:`swath.study.studies.run_study` takes them."""
        return given_limits(self.constraints)


def require_strategy(name: str) -> None:
    """Refuse a name that is neither of a search by trials nor of one with a supernet.

    Raises
    ------
    UnknownName : with the nearest name.
    """
    known = sorted({*strategies.names(), *ONE_SHOT, DIFFERENTIABLE})
    if name not in known:
        raise UnknownName(
            f"there is no strategy '{name}'{nearest(name, known)}; known: {', '.join(known)}"
        )


def fitted(settings: StudySettings) -> StudySettings:
    """Return the section with the options that its strategy needs for so few trials.

    Strategies are published with populations that a search of a dozen trials would never fill; it
    would be a random search under another name.  Options that are given stay as they are.

    Raises
    ------
    UnknownName : there is no such strategy.
    RecipeError : budgets are given to a strategy that has but one.
    """
    strategy = settings.strategy
    if strategy.name == DIFFERENTIABLE:
        raise RecipeError(
            "the differentiable search makes no trials; leave the section study out (study: null)"
        )
    require_strategy(strategy.name)
    if strategy.name in ONE_SHOT:
        raise RecipeError(
            f"the strategy '{strategy.name}' makes no trials; leave the section study out and give "
            f"the section one_shot (--strategy {strategy.name} does both)"
        )
    if strategy.name == _HALVING:
        budgets = settings.budgets or tuple(strategy.options.get("budgets", ()))
        budgets = budgets or _two_budgets(settings.iterations)
        # "number" is a guess for the given rungs, "budgets" is one fact in two places.
        options = {"number": _first_rung(settings, budgets), **strategy.options}
        options["budgets"] = list(budgets)
        settings = settings.model_copy(update={"budgets": budgets})
    elif settings.budgets:
        raise RecipeError(
            f"the strategy '{strategy.name}' trains all networks alike; give study.iterations "
            f"instead of study.budgets, or the strategy {_HALVING}"
        )
    else:
        options = _with_fitting(strategy.name, strategy.options, settings.trials)
    part = strategy.model_copy(update={"options": options})
    return settings.model_copy(update={"strategy": part})


def _with_fitting(strategy: str, given: Mapping[str, Any], trials: int) -> dict[str, Any]:
    """Return the given options; with those that fit the trials, unless a number is among them.

    Numbers go together: a given tournament need not fit into a population that was not asked for.
    """
    numbers = any(isinstance(value, int | float) for value in given.values())
    fitting = {} if numbers else _fitting(strategy, trials)
    if fitting and strategy == "npenas" and given.get("features"):
        fitting["pool"] = max(20, 5 * fitting["batch"])  # each that is looked at is scored
    return {**fitting, **given}


def _fitting(strategy: str, trials: int) -> dict[str, Any]:
    """Return options with which half of the trials at most are drawn at random.

    Scoring a candidate takes a fraction of a second where training one takes seconds, so that ten
    for each trial, and never fewer than fifty, are a small part of the whole.
    """
    half = max(2, trials // 2)
    if strategy == "evolution":
        return {"population": min(30, half), "tournament": min(10, max(2, half // 2))}
    if strategy == "npenas":
        return {"initial": min(10, half), "batch": min(10, max(1, trials // 4))}
    if strategy == "local-search":
        return {"initial": min(10, half)}
    if strategy == "rank-and-train":
        return {"candidates": min(1000, max(50, 10 * trials))}
    return {}


def _two_budgets(iterations: int) -> tuple[int, ...]:
    return (iterations // 3, iterations) if iterations >= 3 else (iterations,)


def _first_rung(settings: StudySettings, budgets: tuple[int, ...]) -> int:
    """Return the most architectures with which all rungs have no more than the trials."""
    eta = settings.strategy.options.get("eta", 3)
    if not isinstance(eta, int) or eta < 2:
        return settings.trials  # the strategy says what is wrong

    def all_rungs(number: int) -> int:
        return sum(max(1, number // eta**rung) for rung in range(len(budgets)))

    return max(
        (n for n in range(1, settings.trials + 1) if all_rungs(n) <= settings.trials), default=1
    )
