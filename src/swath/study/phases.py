"""The phases of a run that make the model: find an architecture, train it, keep it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError, nearest
from swath.core.files import write_json
from swath.core.seeds import derive
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.strategies.differentiable import differentiable_search, skip_share
from swath.study.models import describe_model
from swath.study.one_shot import search_one_shot
from swath.study.recipes import Recipe
from swath.study.retraining import best_retrained, train_network
from swath.study.run import RunFolder
from swath.study.trials import search_by_trials
from swath.tasks.base import Task
from swath.tasks.scene import SceneTask
from swath.tasks.tiles import TileTask
from swath.training.loop import Trained

__all__ = ["build_named", "find_architecture", "train_model"]

Progress = Callable[[dict[str, Any]], None]


def find_architecture(
    space: SearchSpace,
    task: Task,
    recipe: Recipe,
    folder: RunFolder,
    device: torch.device,
    progress: Progress,
    workers: int = 1,
) -> tuple[Architecture, float]:
    """Return the recipe's architecture, or search one; with the seconds it took.

    Parameters
    ----------
    workers : processes of a search by trials.
    """
    seconds = 0.0
    if recipe.architecture is not None:
        architecture = Architecture.from_dict(recipe.architecture)
        space.validate(architecture)
        architecture = space.architecture(architecture.as_dict())  # in the order of the genes
    elif recipe.study is not None:
        architecture, seconds = _search_by_trials(
            space, task, recipe, folder, device, progress, workers
        )
    elif recipe.one_shot is not None:
        architecture, seconds = _search_one_shot(space, task, recipe, folder, device, progress)
    else:
        architecture, seconds = _search_differentiably(
            space, task, recipe, folder, device, progress
        )
    write_json(
        folder.best / "architecture.json",
        {
            **json.loads(architecture.to_json()),
            "key": architecture.key,
            "options": dict(space.options),
        },
    )
    return architecture, seconds


def _search_by_trials(
    space: SearchSpace,
    task: Task,
    recipe: Recipe,
    folder: RunFolder,
    device: torch.device,
    progress: Progress,
    workers: int,
) -> tuple[Architecture, float]:
    """Return the architecture of the best trial, and the seconds it took to find.

    Where several are to be trained in full, it is the best of these.
    """
    assert recipe.study is not None
    progress({"phase": "begin", "name": "trials", "total": recipe.study.trials})
    found = search_by_trials(space, task, recipe, folder, progress, workers)
    best = found.study.best
    assert best is not None
    assert best.evaluation is not None
    folder.log(
        "searched",
        trials=len(found.study.trials),
        infeasible=sum(trial.evaluation is None for trial in found.study.trials),
        best=best.number,
        score=best.evaluation.score,
        seconds=found.seconds,
    )
    candidates = found.architectures[: recipe.study.retrain]
    chosen, seconds = best_retrained(candidates, space, task, recipe, folder, device, progress)
    return chosen, found.seconds + seconds


def _search_one_shot(
    space: SearchSpace,
    task: Task,
    recipe: Recipe,
    folder: RunFolder,
    device: torch.device,
    progress: Progress,
) -> tuple[Architecture, float]:
    """Return the architecture that a supernet ranks best, and the seconds it took to find."""
    progress({"phase": "begin", "name": "supernet", "total": None})
    architecture, found, seconds = search_one_shot(space, task, recipe, folder, device, progress)
    folder.log(
        "searched",
        judged=len(found.ranking),
        remaining=found.remaining.size(),
        score=found.ranking[0].evaluation.score,
        seconds=seconds,
    )
    return architecture, seconds


def _search_differentiably(
    space: SearchSpace,
    task: Task,
    recipe: Recipe,
    folder: RunFolder,
    device: torch.device,
    progress: Progress,
) -> tuple[Architecture, float]:
    """Return the architecture that a mixture supernet prefers, and the seconds it took."""
    progress({"phase": "begin", "name": "search", "total": recipe.search.epochs})
    write_json(
        folder.search / "operators.json", {"operators": list(getattr(space, "operators", ()))}
    )
    found = differentiable_search(
        space,
        task,
        recipe.search,
        seed=derive(recipe.seed, "search"),
        folder=folder.search,
        report=progress,
        device=device,
    )
    architecture = found.architecture
    folder.log(
        "searched",
        epoch=found.epoch,
        epochs=found.epochs,
        collapsed=found.collapsed,
        seconds=found.seconds,
    )
    if found.collapsed:
        all_had = skip_share(architecture) > recipe.search.collapse
        which = "the best, though all had" if all_had else "the best that had not"
        progress(
            {
                "phase": "note",
                "text": f"the search was ended in epoch {found.epochs}: its cells had "
                f"collapsed to skip connections; epoch {found.epoch} is used, {which}",
            }
        )
    return architecture, found.seconds


def train_model(
    space: SearchSpace | None,
    architecture: Architecture | None,
    task: SceneTask | TileTask,
    recipe: Recipe,
    folder: RunFolder,
    device: torch.device,
    progress: Progress,
) -> tuple[nn.Module, Trained]:
    """Train the network from scratch and save the model; return it with its best weights.

    Parameters
    ----------
    space, architecture : None: the network is the one that the recipe names.
    """
    progress({"phase": "begin", "name": "train", "total": recipe.training.iterations})

    def build() -> nn.Module:
        if space is None or architecture is None:
            return build_named(recipe, task)
        return space.build_dense(architecture, InputSpec(task.bands), OutputSpec(task.classes))

    trained = train_network(build, task, recipe, folder.training, device, progress)
    folder.log(
        "trained",
        iteration=trained.iteration,
        iterations=trained.iterations,
        stopped=trained.stopped,
        seconds=trained.seconds,
    )
    folder.save_model(describe_model(task, recipe, space, architecture), trained.network)
    return trained.network, trained


def build_named(recipe: Recipe, task: Task) -> nn.Module:
    """Return the network that a recipe names and no space has, untrained.

    Raises
    ------
    UnknownName, RecipeError : there is none of this name, or it cannot be made of its options.
    """
    from swath.networks import segmentation

    named = recipe.network
    assert named is not None
    segmentation.registry.get(named.name)
    for key, value in named.options.items():
        if key != "backbone":
            raise RecipeError(
                f"the network '{named.name}' has no option '{key}'{nearest(key, ['backbone'])}; "
                "it has: backbone"
            )
        if not isinstance(value, str):
            raise RecipeError(
                f"the backbone of the network '{named.name}' must be the name of a RegNet, such "
                f"as narrow, not {value!r}"
            )
    return segmentation.create(named.name, task.bands, task.classes, **named.options)
