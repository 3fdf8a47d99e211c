"""The search of a run with a supernet, whose best architecture is taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from swath.core.architecture import Architecture
from swath.core.files import write_json
from swath.core.seeds import derive, numpy_generator
from swath.estimators.trained import TrainedEstimator
from swath.spaces.base import SearchSpace
from swath.spaces.restricted import Restricted
from swath.strategies.one_shot import FoundOneShot, one_shot_search
from swath.study.constraints import restricted
from swath.study.recipes import Recipe
from swath.study.retraining import best_retrained
from swath.study.run import RunFolder
from swath.tasks.base import Task

__all__ = ["check_one_shot", "search_one_shot"]

Progress = Callable[[dict[str, Any]], None]
_KEPT = 100  # of the ranking, in its file


def check_one_shot(space: SearchSpace, task: Task, recipe: Recipe) -> None:
    """Refuse a search that cannot begin; nothing is trained and nothing written.

    Raises
    ------
    SwathError : the space has no supernet; constraints are unknown, contradict or leave nothing.
    """
    from swath.supernets import require_supernet

    require_supernet(space)
    part = _allowed_part(space, task, recipe)
    if part is not None:
        part.sample(numpy_generator(recipe.seed, "constraints"))


def search_one_shot(
    space: SearchSpace,
    task: Task,
    recipe: Recipe,
    folder: RunFolder,
    device: torch.device,
    progress: Progress,
) -> tuple[Architecture, FoundOneShot, float]:
    """Search with a supernet in the run's ``search`` folder, or continue.

    Returns
    -------
    The best architecture, the ranking, and the seconds it took.
    """
    settings = recipe.one_shot
    assert settings is not None
    part = _allowed_part(space, task, recipe)
    found = one_shot_search(
        space,
        task,
        settings,
        seed=derive(recipe.seed, "search"),
        folder=folder.search,
        report=progress,
        device=device,
        allows=None if part is None else part.allows,
    )
    write_json(
        folder.search / "ranking.json",
        {
            "judged": len(found.ranking),
            "remaining": found.remaining.size(),
            "best": [
                {
                    "genes": one.architecture.as_dict(),
                    "accuracy": one.evaluation.score,
                    "loss": one.evaluation.metrics["validation_loss"],
                }
                for one in found.ranking[:_KEPT]
            ],
        },
    )
    candidates = [one.architecture for one in found.ranking[: settings.retrain]]
    best, seconds = best_retrained(candidates, space, task, recipe, folder, device, progress)
    return best, found, found.seconds + seconds


def _allowed_part(space: SearchSpace, task: Task, recipe: Recipe) -> Restricted | None:
    """Return the part of a space that keeps to the recipe's constraints, where it has any."""
    settings = recipe.one_shot
    assert settings is not None
    if not settings.constraints:
        return None
    estimator = TrainedEstimator(
        recipe.space.name,
        task,
        recipe.space.options,
        recipe.training,
        device=recipe.device,
        latency="latency" in settings.constraints,
        flops="flops" in settings.constraints,
    )
    part = restricted(space, estimator, settings.limits())
    assert isinstance(part, Restricted)
    return part
