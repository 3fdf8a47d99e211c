"""The search of a run with a supernet, whose best architecture is taken."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from swath.core.architecture import Architecture
from swath.core.files import write_json
from swath.core.seeds import derive, numpy_generator
from swath.estimators.trained import TrainedEstimator
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.restricted import Restricted
from swath.strategies.one_shot import FoundOneShot, Ranked, one_shot_search
from swath.study.constraints import restricted
from swath.study.recipes import Recipe
from swath.study.run import RunFolder
from swath.tasks.scene import SceneTask
from swath.training.evaluate import Validation
from swath.training.loop import train

__all__ = ["check_one_shot", "search_one_shot"]

Progress = Callable[[dict[str, Any]], None]
_KEPT = 100  # of the ranking, in its file


def check_one_shot(space: SearchSpace, task: SceneTask, recipe: Recipe) -> None:
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
    task: SceneTask,
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
    begun = time.perf_counter()
    best = found.ranking[0].architecture
    if settings.retrain > 1:
        candidates = found.ranking[: settings.retrain]
        best = _retrained(space, task, recipe, folder, device, progress, candidates)
    return best, found, found.seconds + time.perf_counter() - begun


def _retrained(
    space: SearchSpace,
    task: SceneTask,
    recipe: Recipe,
    folder: RunFolder,
    device: torch.device,
    progress: Progress,
    candidates: tuple[Ranked, ...],
) -> Architecture:
    """Train some architectures on their own; return the best by the validation labels."""
    best: tuple[Validation, Architecture] | None = None
    for rank, candidate in enumerate(candidates, start=1):
        progress(
            {
                "phase": "begin",
                "name": f"train candidate {rank} of {len(candidates)}",
                "total": recipe.training.iterations,
            }
        )
        torch.manual_seed(derive(recipe.seed, "network"))
        network = space.build_dense(
            candidate.architecture, InputSpec(task.bands), OutputSpec(task.classes)
        )
        trained = train(
            network,
            task,
            recipe.training,
            seed=derive(recipe.seed, "training"),
            folder=folder.search / "candidates" / str(rank),
            report=progress,
            device=device,
        )
        if trained.validation.better_than(None if best is None else best[0]):
            best = trained.validation, candidate.architecture
    assert best is not None
    return best[1]


def _allowed_part(space: SearchSpace, task: SceneTask, recipe: Recipe) -> Restricted | None:
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
    )
    part = restricted(space, estimator, settings.limits())
    assert isinstance(part, Restricted)
    return part
