"""The search of a run by trials: a study in its folder, whose best architecture is taken."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from swath import strategies
from swath.core.architecture import Architecture
from swath.core.errors import RunError
from swath.core.seeds import derive
from swath.estimators.trained import TaskSource, TrainedEstimator
from swath.spaces.base import SearchSpace
from swath.strategies.base import Strategy
from swath.study.backends import journal_path
from swath.study.constraints import restricted
from swath.study.parts import create_part
from swath.study.recipes import Recipe
from swath.study.run import RunFolder
from swath.study.scorers import with_scores
from swath.study.store import load
from swath.study.studies import Study, run_study
from swath.study.task_section import make_task
from swath.tasks.base import Task

__all__ = ["FoundByTrials", "check_trials", "search_by_trials"]

Progress = Callable[[dict[str, Any]], None]


class FoundByTrials(NamedTuple):
    """What came of a search by trials.

    Parameters
    ----------
    architectures : the best first, each once.
    study : all trials.
    seconds : that the search took; of an earlier, interrupted call the sum over its trials.
    """

    architectures: tuple[Architecture, ...]
    study: Study
    seconds: float


def check_trials(space: SearchSpace, task: Task, recipe: Recipe) -> None:
    """Refuse a search that cannot begin; nothing is trained and nothing written.

    Raises
    ------
    SwathError : the strategy has no such option, or constraints are unknown or contradict.
    """
    _, estimator = _parts(task, recipe)
    assert recipe.study is not None
    restricted(space, estimator, recipe.study.limits())


def search_by_trials(
    space: SearchSpace,
    task: Task,
    recipe: Recipe,
    folder: RunFolder,
    progress: Progress,
    workers: int = 1,
) -> FoundByTrials:
    """Run the study of a recipe in the run's ``search`` folder, or continue it.

    Parameters
    ----------
    task : on whose training labels each trial learns, and whose validation labels judge it.
    workers : processes; with several, each makes the task for itself from the recipe.

    Raises
    ------
    RunError : no trial gave a network.
    NothingToSample : the constraints leave nothing to try.
    """
    settings = recipe.study
    assert settings is not None
    source = task if workers == 1 else _from_recipe(recipe)
    strategy, estimator = _parts(source, recipe, progress)
    begun = time.perf_counter()
    earlier = _seconds_of_trials(folder.search)
    study = run_study(
        space,
        strategy,
        estimator,
        trials=settings.trials,
        seed=derive(recipe.seed, "study"),
        constraints=settings.limits(),
        store=folder.search,
        workers=workers,
        facts=_facts(space, recipe),
        progress=progress,
    )
    ranked = tuple(dict.fromkeys(trial.architecture for trial in study.ranked()))
    if not ranked:
        raise RunError(_none_feasible(study))
    return FoundByTrials(ranked, study, earlier + time.perf_counter() - begun)


def _parts(
    source: TaskSource, recipe: Recipe, progress: Progress | None = None
) -> tuple[Strategy, TrainedEstimator]:
    settings = recipe.study
    assert settings is not None
    strategy = create_part(strategies.registry, settings.strategy.name, settings.strategy.options)
    estimator = TrainedEstimator(
        recipe.space.name,
        source,
        recipe.space.options,
        recipe.training,
        budgets=settings.budgets or (settings.iterations,),
        device=recipe.device,
        latency="latency" in settings.constraints,
    )
    return with_scores(strategy, estimator, progress), estimator


def _from_recipe(recipe: Recipe) -> Callable[[], Task]:
    """Return a function that makes the run's task, and can be sent to another process."""
    return functools.partial(make_task, recipe.task, derive(recipe.seed, "split"))


def _facts(space: SearchSpace, recipe: Recipe) -> dict[str, Any]:
    """Return what the study is of; the run's recipe and scene are compared by its folder."""
    settings = recipe.study
    assert settings is not None
    return {
        "space": {"name": space.name, "options": dict(space.options)},
        "strategy": settings.strategy.model_dump(mode="json"),
        "estimator": {
            "name": "trained",
            "options": {"budgets": list(settings.budgets or (settings.iterations,))},
        },
    }


def _seconds_of_trials(store: Path) -> float:
    """Return the seconds that the trials took which are there already."""
    if not journal_path(store).is_file():
        return 0.0
    try:
        _, _, records = load(store)
    except RunError:  # begun without a trial; whatever else is wrong, the study itself says
        return 0.0
    return sum(record.seconds + record.proposing for record in records)


def _none_feasible(study: Study) -> str:
    if not study.trials:
        return "the strategy proposed nothing to try; choose another one, or widen the constraints"
    reasons = Counter(trial.reason for trial in study.trials)
    reason, times = reasons.most_common(1)[0]
    return (
        f"none of the {len(study.trials)} trials gave a network ({times} times: {reason}); give "
        "smaller networks (space.options, study.constraints) or another training, in a new run"
    )
