"""Train the few best of a search in full, and take the best of these by the validation labels."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from swath.core.architecture import Architecture
from swath.core.files import atomic_path
from swath.core.seeds import derive
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.study.recipes import Recipe
from swath.study.run import RunFolder
from swath.tasks.base import Task
from swath.training.evaluate import Validation
from swath.training.loop import Trained, train

__all__ = ["best_retrained", "train_network"]

Progress = Callable[[dict[str, Any]], None]
_FILES = ("history.jsonl", "checkpoint.safetensors")  # of a training; the checkpoint comes last


def train_network(
    build: Callable[[], nn.Module],
    task: Task,
    recipe: Recipe,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> Trained:
    """Train a network from scratch as the recipe says, or continue in ``folder``.

    Parameters
    ----------
    build : makes it; its first weights follow from the recipe's seed.
    """
    torch.manual_seed(derive(recipe.seed, "network"))
    return train(
        build(),
        task,
        recipe.training,
        seed=derive(recipe.seed, "training"),
        folder=folder,
        report=progress,
        device=device,
    )


def best_retrained(
    candidates: Sequence[Architecture],
    space: SearchSpace,
    task: Task,
    recipe: Recipe,
    folder: RunFolder,
    device: torch.device,
    progress: Progress,
) -> tuple[Architecture, float]:
    """Return the best of some architectures, the first one where there is one alone.

    Several are trained in ``search/candidates`` as the final network is, and the training of the
    best becomes the run's: it is not done twice.

    Returns
    -------
    The architecture, and the seconds that the training of the others took.
    """
    if len(candidates) == 1:
        return candidates[0], 0.0
    best: tuple[Validation, int] | None = None
    seconds = []
    for rank, candidate in enumerate(candidates, start=1):
        name = f"train candidate {rank} of {len(candidates)}"
        progress({"phase": "begin", "name": name, "total": recipe.training.iterations})
        build = functools.partial(
            space.build_dense, candidate, InputSpec(task.bands), OutputSpec(task.classes)
        )
        trained = train_network(build, task, recipe, _folder(folder, rank), device, progress)
        folder.log(
            "candidate",
            rank=rank,
            architecture=candidate.key,
            score=trained.validation.score,
            seconds=trained.seconds,
        )
        seconds.append(trained.seconds)
        if trained.validation.better_than(None if best is None else best[0]):
            best = trained.validation, rank
    assert best is not None
    if not (folder.training / _FILES[-1]).is_file():
        for file in _FILES:
            with atomic_path(folder.training / file) as temporary:
                shutil.copyfile(_folder(folder, best[1]) / file, temporary)
    place = best[1] - 1
    return candidates[place], sum(seconds) - seconds[place]


def _folder(folder: RunFolder, rank: int) -> Path:
    return folder.search / "candidates" / str(rank)
