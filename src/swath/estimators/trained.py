"""The estimator all others are measured by: train the network, look at its validation labels."""

from __future__ import annotations

import contextlib
import pickle
import re
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from swath import spaces
from swath.core import devices
from swath.core.architecture import Architecture
from swath.core.errors import Infeasible, MismatchError, RecipeError, RunError
from swath.core.evaluation import Cost, Direction, Evaluation
from swath.core.seeds import derive
from swath.estimators import registry
from swath.networks.cost import count_flops, count_flops_per_pixel, count_parameters
from swath.networks.late_fusion import LateFusion
from swath.networks.latency import measure_latency
from swath.networks.patchwise import Patchwise, patch_network
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.tasks.base import Task
from swath.tasks.patches import PatchTask
from swath.tasks.tiles import TileTask
from swath.training.loop import TrainingSettings, train

__all__ = ["TaskSource", "TrainedEstimator", "require_patch_answers", "require_pixel_answers"]

TaskSource = Task | Callable[[], Task]
"""A task, or what makes it: a function that can be pickled and is called once in a process."""


@registry.register("trained")
@dataclass(frozen=True)
class TrainedEstimator:
    """Trains each architecture from scratch; its score is ``task.criterion`` on validation labels.

    Test labels are never read.  The arguments alone are sent to a worker; it prepares the task at
    its first evaluation.

    Parameters
    ----------
    space, space_options : the search space by name, and what it is created with.
    task : of any kind, or a function that makes it (:data:`TaskSource`).
    training : how a network is trained; ``iterations`` is the budget where there are no others.
    budgets : iterations that can be asked for, ascending; the learning rate falls over the whole
        of each.
    device : as of :func:`swath.core.devices.pick`.
    threads : of torch on a CPU while it evaluates; None: as it is.
    latency : measure the time of a forward pass over one training window (or patch), too.
    flops : count operations; without them the parameters of a network are known ten times as soon.

    Raises
    ------
    UnknownName : there is no such space.
    RecipeError : budgets are not ascending whole numbers from 1, or threads are fewer than 1.
    """

    space: str
    task: TaskSource
    space_options: Mapping[str, Any] = field(default_factory=dict)
    training: TrainingSettings = field(default_factory=TrainingSettings)
    budgets: tuple[int, ...] = ()
    device: str = "auto"
    threads: int | None = None
    latency: bool = False
    flops: bool = True

    def __post_init__(self) -> None:
        if list(self.budgets) != sorted(set(self.budgets)) or any(b < 1 for b in self.budgets):
            raise RecipeError(
                "budgets must be ascending numbers of iterations from 1, not "
                f"{', '.join(map(str, self.budgets))}"
            )
        if self.threads is not None and self.threads < 1:
            raise RecipeError(f"threads must be at least 1, not {self.threads}")
        self._space()  # an unknown name is told at once

    @property
    def direction(self) -> Direction:
        """A large accuracy is good."""
        return "maximize"

    def prepared(self) -> Task:
        """Return the task with its data loaded; a process makes it once."""
        return _prepared(self.task)

    def cost(self, architecture: Architecture) -> Cost:
        """Return parameters and operations per pixel, and the latency where it is measured.

        Operations are those of a whole patch where a task has patches with one label each.
        Nothing is allocated unless the latency is measured.

        Raises
        ------
        Infeasible : the memory is not enough to measure.
        """
        task = _prepared(self.task)
        if not self.latency:
            with torch.device("meta"):
                return self._cost(self._build(architecture, task), task)
        device = devices.pick(self.device)
        with self._alone(device):
            return self._cost(self._build(architecture, task), task)

    def evaluate(
        self, architecture: Architecture, *, budget: int | None = None, seed: int = 0
    ) -> Evaluation:
        """Train an architecture; the same (architecture, budget, seed) give the same score.

        Parameters
        ----------
        budget : iterations, one of :attr:`budgets`; None: the largest.
        seed : of the first weights, the windows and whatever else is drawn.

        Returns
        -------
        The score on the validation labels with the best weights by them; ``metrics`` holds their
        accuracies, kappa and loss.

        Raises
        ------
        Infeasible : training diverged, or the memory is not enough.
        RecipeError : there is no such budget.
        InvalidArchitecture : it is none of the space's.
        """
        settings = self._settings(budget)
        self._space().validate(architecture)
        task = _prepared(self.task)
        device = devices.pick(self.device)
        begun = time.perf_counter()
        with self._alone(device), tempfile.TemporaryDirectory(prefix="swath-") as folder:
            torch.manual_seed(derive(seed, "network"))
            network = self._build(architecture, task)
            cost = self._cost(network, task)
            trained = train(
                network,
                task,
                settings,
                seed=derive(seed, "training"),
                folder=Path(folder),
                device=device,
            )
        scores = trained.validation.scores
        return Evaluation(
            trained.validation.score,
            self.direction,
            replace(cost, seconds=time.perf_counter() - begun),
            {
                "validation_oa": scores.oa,
                "validation_aa": scores.aa,
                "validation_kappa": scores.kappa,
                "validation_loss": trained.validation.loss,
            },
        )

    def _space(self) -> SearchSpace:
        return spaces.create(self.space, **self.space_options)

    def _settings(self, budget: int | None) -> TrainingSettings:
        known = self.budgets or (self.training.iterations,)
        if budget is None:
            budget = known[-1]
        if budget not in known:
            raise RecipeError(
                f"there is no budget of {budget} iterations; the budgets are: "
                f"{', '.join(map(str, known))}"
            )
        return replace(self.training, iterations=budget)

    def network(self, architecture: Architecture) -> nn.Module:
        """Return the network that is trained, with fresh weights from torch's generator."""
        return self._build(architecture, _prepared(self.task))

    def _build(self, architecture: Architecture, task: Task) -> nn.Module:
        inputs, outputs = InputSpec(task.bands), OutputSpec(task.classes)
        space = self._space()
        if isinstance(task, TileTask):
            require_pixel_answers(space)
        if task.patch is None:
            return space.build_dense(architecture, inputs, outputs)
        require_patch_answers(space)
        if not isinstance(task, PatchTask) or task.fusion == "input":
            return space.build(architecture, inputs, outputs)
        bands = list(task.patches.sensor_bands().values())
        of_each = (InputSpec(each.stop - each.start) for each in bands)
        return LateFusion([space.build(architecture, one, outputs) for one in of_each], bands)

    def _cost(self, network: nn.Module, task: Task) -> Cost:
        if task.patch is None:
            side = network.patch if isinstance(network, Patchwise) else self.training.window
        else:
            side = task.patch
        flops = self._flops(network, task) if self.flops else None
        latency = None
        if self.latency:
            shape = (1, task.bands, side, side)
            latency = measure_latency(patch_network(network), shape, self.device).median
        return Cost(count_parameters(network), flops, latency=latency)

    def _flops(self, network: nn.Module, task: Task) -> int:
        if task.patch is None:
            return count_flops_per_pixel(network, task.bands)
        return _patch_flops(network, task.bands, task.patch)

    @contextlib.contextmanager
    def _alone(self, device: torch.device) -> Iterator[None]:
        """Compute with our threads, leave no trace in torch's generators, and say what fails."""
        threads = torch.get_num_threads()
        accelerators = [device] if device.type == "cuda" else []
        try:
            torch.set_num_threads(self.threads or threads)
            with torch.random.fork_rng(accelerators), _infeasible(device):
                yield
        finally:
            torch.set_num_threads(threads)


def require_patch_answers(space: SearchSpace) -> None:
    """Raise :class:`RecipeError` where the networks of a space cannot learn a task of patches."""
    if space.answers != "patch":
        raise RecipeError(
            f"the networks of space '{space.name}' label every pixel, but the task has one label "
            "for each patch; choose a space that answers for a patch, such as nasbench201"
        )


def require_pixel_answers(space: SearchSpace) -> None:
    """Raise :class:`RecipeError` where the networks of a space cannot learn a task of tiles."""
    if space.answers == "patch":
        raise RecipeError(
            f"the networks of space '{space.name}' answer for a patch, but each pixel of a tile "
            "has a class; choose a space that labels pixels, such as seg101"
        )


def _patch_flops(network: nn.Module, bands: int, patch: int) -> int:
    try:
        return count_flops(network, bands, patch)
    except MismatchError as error:
        raise RecipeError(
            f"{error}; the space reads patches of one size: give it that of the task "
            f"(space.options.patch={patch}), or the task that of the space"
        ) from error


_TASKS: dict[bytes, Task] = {}


def _prepared(source: TaskSource) -> Task:
    """Return the task with its data loaded; one that a function makes is kept for the next.

    A function that was sent anew with each evaluation is known again by its pickled form.
    """
    if callable(source):
        key = pickle.dumps(source)
        if key not in _TASKS:
            _TASKS.clear()  # a process works for one study at a time: hold no second task's data
            _TASKS[key] = source()
        task = _TASKS[key]
    else:
        task = source
    task.load()
    return task


@contextlib.contextmanager
def _infeasible(device: torch.device) -> Iterator[None]:
    """Turn what an architecture may fail of into :class:`Infeasible`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not _memory_is_full(error):
            raise
        if device.type == "cuda":
            torch.cuda.empty_cache()
        raise Infeasible(f"out of memory on {device}") from error
    except RunError as error:
        if not re.search("loss became", str(error)):
            raise
        raise Infeasible(f"training diverged: {error}") from error


def _memory_is_full(error: BaseException) -> bool:
    """Whether an error says so; torch has no class of its own for a CPU's memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return bool(re.search("can't allocate memory|not enough memory|out of memory", str(error)))
