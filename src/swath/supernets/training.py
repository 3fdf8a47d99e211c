"""Training of a supernet's shared weights, one stage of it, path by path."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from swath.core.architecture import Architecture
from swath.core.devices import Precision, autocast
from swath.core.errors import RecipeError, RunError
from swath.core.memory import give_back_freed
from swath.core.seeds import derive, numpy_generator, seed_torch
from swath.spaces.base import SearchSpace
from swath.supernets.base import Supernet
from swath.supernets.sampling import Ends, PathSampling, Sizes, ends, update_paths
from swath.tasks.label_patches import PatchSampling
from swath.training.batches import Batches
from swath.training.losses import loss
from swath.training.optimisers import Decayed, OptimiserName, optimiser
from swath.training.schedules import schedule

__all__ = ["SupernetTrainer", "SupernetTraining", "averaged"]


@dataclass(frozen=True)
class SupernetTraining:
    """How a supernet is trained.  Defaults are those of SE-NAS on NAS-Bench-201.

    Parameters
    ----------
    paths : which architectures an update trains, see :func:`~.sampling.update_paths`.
    epochs, later_epochs : of the first stage, and of each stage after a shrinking.
    steps : updates an epoch.
    window : size of a training window; networks that classify patches have their own.
    batch, sampling, augmentation : of windows or patches, as of
        :class:`~swath.training.loop.TrainingSettings`.
    optimiser, learning_rate, momentum, weight_decay, decayed : of the update rule, see
        :func:`~swath.training.optimisers.optimiser`.
    schedule, final_rate : how the learning rate falls in each stage, and to what.
    later_rate : learning rate at the beginning of later stages; None: as of the first.
    clip_norm : gradients are clipped by their norm; None: not.
    loss, label_smoothing : see :mod:`swath.training.losses`.
    snapshots : K; the weights that children inherit are the mean over so many moments, evenly
        spaced in a stage's last epoch (Eq. 4).  The paper does not say K; 10 is a guess.
    precision : float32, tf32 (on NVIDIA GPUs) or bfloat16.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    paths: PathSampling = "uniform"
    epochs: int = 20
    later_epochs: int = 20
    steps: int = 100
    window: int = 32
    batch: int = 64
    sampling: PatchSampling = "uniform"
    augmentation: bool = True
    optimiser: OptimiserName = "sgd"
    learning_rate: float = 0.025
    momentum: float = 0.9
    weight_decay: float = 5e-4
    decayed: Decayed | None = None
    schedule: str = "cosine"
    final_rate: float = 0.001
    later_rate: float | None = None
    clip_norm: float | None = 5.0
    loss: str = "cross-entropy"
    label_smoothing: float = 0.0
    snapshots: int = 10
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("epochs", "later_epochs", "steps", "window", "batch", "snapshots"):
            if getattr(self, name) < 1:
                raise RecipeError(
                    f"one_shot.training.{name} must be at least 1, not {getattr(self, name)}"
                )
        if self.snapshots > self.steps:
            raise RecipeError(
                f"one_shot.training.snapshots ({self.snapshots}) cannot be more than the "
                f"{self.steps} steps of an epoch"
            )
        # An unknown name is told now.
        _ = schedule(self.schedule, self.learning_rate, self.final_rate), self.criterion

    @property
    def criterion(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss as a function of logits (n, classes, ...) and classes (n, ...)."""
        return loss(self.loss, label_smoothing=self.label_smoothing)

    def stage_epochs(self, stage: int) -> int:
        """Return the epochs of a stage, counted from 0."""
        return self.epochs if stage == 0 else self.later_epochs

    def epochs_before(self, stage: int) -> int:
        """Return the epochs of all stages before one."""
        return sum(map(self.stage_epochs, range(stage)))

    def rate(self, stage: int, progress: float) -> float:
        """Return the learning rate at a share of a stage."""
        peak = self.learning_rate
        if stage > 0 and self.later_rate is not None:
            peak = self.later_rate
        return schedule(self.schedule, peak, self.final_rate)(progress)


class SupernetTrainer:
    """One stage of training: the space does not change in it.

    Parameters
    ----------
    space : from which paths are drawn.
    batches : training data; each batch follows from its number.
    size : how large a network is, which the sandwich rule asks.
    """

    def __init__(
        self,
        supernet: Supernet,
        space: SearchSpace,
        batches: Batches,
        settings: SupernetTraining,
        *,
        stage: int,
        seed: int,
        size: Sizes,
        device: torch.device,
    ) -> None:
        self.supernet, self.space, self.batches = supernet, space, batches
        self.settings, self.stage, self.seed = settings, stage, seed
        self.size, self.device = size, device
        self.epochs = settings.stage_epochs(stage)
        self.epoch = 0
        self.mean: dict[str, Tensor] = {}
        self.snapshots = 0
        self.optimiser = optimiser(
            supernet,
            settings.optimiser,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            decayed=settings.decayed,
        )
        # Listed once: to find them takes longer than a small network's step.
        self._parameters = list(supernet.parameters())
        self._active = self._parameters  # gradients of an earlier stage are still there

    @functools.cached_property
    def ends(self) -> Ends:
        """The largest and the smallest network."""
        return ends(self.space, self.size)

    def train_epoch(self) -> float:
        """Make the updates of an epoch; return their mean loss.

        Raises
        ------
        RunError : the loss became NaN or infinite.
        """
        steps, total = self.settings.steps, 0.0
        self.supernet.train()
        for step in range(steps):
            total += self.update(self.epoch * steps + step)
            due = (step + 1) * self.settings.snapshots // steps
            if self.epoch == self.epochs - 1 and due > self.snapshots:
                self._take_snapshot()
        self.epoch += 1
        give_back_freed()
        return total / steps

    def update(self, step: int) -> float:
        """Make one update, numbered within the stage; return the mean loss of its paths."""
        settings = self.settings
        rate = settings.rate(self.stage, step / (self.epochs * settings.steps))
        for group in self.optimiser.param_groups:
            group["lr"] = rate
        # What is drawn (paths, dropout) follows from seed, stage and step alone.
        place = (self.seed, "supernet", self.stage, step)
        seed_torch(derive(*place))
        paths = update_paths(self.space, settings.paths, numpy_generator(*place), lambda: self.ends)
        # Numbered through all stages, so that no batch comes twice.
        number = settings.epochs_before(self.stage) * settings.steps + step
        x, y = self.batches.batch(settings.batch, number, augmented=settings.augmentation)
        x, y = x.to(self.device), y.to(self.device)
        for parameter in self._active:
            parameter.grad = None
        loss = sum(self._backward(path, x, y, 1 / len(paths)) for path in paths)
        if not math.isfinite(loss):
            raise RunError(
                f"the supernet's loss became {loss} in epoch {self.epoch + 1}; lower "
                "one_shot.training.learning_rate, or use one_shot.training.precision float32"
            )
        self._active = [one for one in self._parameters if one.grad is not None]
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._active, settings.clip_norm)
        self.optimiser.step()
        return loss

    def _backward(self, path: Architecture, x: Tensor, y: Tensor, share: float) -> float:
        """Add a path's share of the gradient; return its share of the loss."""
        with autocast(self.device, self.settings.precision):
            logits = self.supernet(x, path)
        value = share * self.settings.criterion(logits.float(), y)
        value.backward()  # type: ignore[no-untyped-call]
        return float(value.detach())

    def _take_snapshot(self) -> None:
        """Move the mean of the snapshots by the weights as they are now."""
        self.snapshots += 1
        for name, tensor in self.supernet.tensors().items():
            if name not in self.mean:
                self.mean[name] = tensor.clone()
            elif tensor.is_floating_point():
                self.mean[name].lerp_(tensor, 1 / self.snapshots)
            else:
                self.mean[name].copy_(tensor)

    def state(self) -> dict[str, Any]:
        """Return all that changes in a stage, for a checkpoint."""
        return {
            "epoch": self.epoch,
            "snapshots": self.snapshots,
            "mean": self.mean,
            "weights": self.supernet.tensors(),
            "optimiser": self.optimiser.state_dict(),
        }

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what :meth:`state` returned."""
        self.epoch, self.snapshots = state["epoch"], state["snapshots"]
        self.supernet.load_tensors(state["weights"])
        own = self.supernet.tensors()
        # In the weights' own layout, which files do not keep: rounding depends on it.
        self.mean = {
            name: torch.empty_like(own[name]).copy_(value) for name, value in state["mean"].items()
        }
        self.optimiser.load_state_dict(state["optimiser"])
        for parameter, values in self.optimiser.state.items():
            for name, value in values.items():
                if isinstance(value, Tensor) and value.shape == parameter.shape:
                    values[name] = torch.empty_like(parameter).copy_(value)


@contextlib.contextmanager
def averaged(supernet: Supernet, mean: Mapping[str, Tensor]) -> Iterator[None]:
    """Give a supernet other weights, such as the mean of snapshots, until the context ends."""
    before = {name: tensor.clone() for name, tensor in supernet.tensors().items()}
    try:
        supernet.load_tensors(mean)
        yield
    finally:
        supernet.load_tensors(before)
