"""One loop that trains a network on a task, resumes exactly, and keeps the best."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from swath.core.devices import Precision, autocast
from swath.core.errors import RecipeError, RunError
from swath.core.files import append_json_line
from swath.core.seeds import derive, seed_torch
from swath.networks.patchwise import patch_network
from swath.tasks.base import Task
from swath.tasks.label_patches import PatchSampling
from swath.tasks.metrics import Scores
from swath.tasks.tiles import Orientations
from swath.training.batches import ahead, batches
from swath.training.checkpoints import cut_history, load_state, save_state
from swath.training.evaluate import Validation, evaluate
from swath.training.losses import loss
from swath.training.optimisers import Decayed, OptimiserName, optimiser
from swath.training.ranges import BELOW_ONE, NOT_NEGATIVE, POSITIVE, SHARE, check_ranges
from swath.training.schedules import schedule

__all__ = ["Trained", "TrainingSettings", "train"]

Progress = Callable[[dict[str, Any]], None]

_RANGES = {
    "learning_rate": POSITIVE,
    "final_rate": NOT_NEGATIVE,
    "first_rate": NOT_NEGATIVE,
    "momentum": BELOW_ONE,
    "weight_decay": NOT_NEGATIVE,
    "bias_rate": NOT_NEGATIVE,
    "clip_value": POSITIVE,
    "clip_norm": POSITIVE,
    "label_smoothing": SHARE,
    "noise": NOT_NEGATIVE,
    "averaging": BELOW_ONE,
}


@dataclass(frozen=True)
class TrainingSettings:
    """How a network is trained.  Defaults are those of 3D-ANAS's final training.

    Parameters
    ----------
    iterations : the most updates, and the length of the learning-rate schedule.
    window : size of a training window, or of a crop of a tile; networks that classify patches have
        their own.
    batch : windows or patches per update.
    sampling : see :class:`~swath.tasks.windows.WindowSampler`, and for networks that classify
        patches :class:`~swath.tasks.label_patches.PatchSampler`; "repeated" is for these alone.
    augmentation : flip and turn windows and patches at random.
    scales, orientations : of the crops of tiles, see :class:`~swath.tasks.tiles.TileSampler`.
    loss : "cross-entropy", "hardest" (of the hardest fifth of the pixels, SEG101), "dice" or
        "cross-entropy+dice"; see :mod:`swath.training.losses`.
    optimiser, learning_rate, momentum, weight_decay : of the update rule.
    bias_rate : factor of the learning rate of every parameter named bias (whose decay is zero).
    decayed : what else decays, see :func:`~swath.training.optimisers.optimiser`; None: as usual
        with the optimiser.
    schedule, final_rate : how the learning rate falls, and to what.
    warmup, first_rate : for how long ``warm-cosine`` and ``warm-poly`` rise, below 1 a share of
        the updates, else a number of them; and from what rate, None: from ``final_rate``.
    clip_value, clip_norm : gradients are clipped elementwise, or by their norm; None: not.
    label_smoothing : of the cross-entropy.
    noise : standard deviation of Gaussian noise on the scaled inputs, plus the same for a random
        gain and a random offset of each window (illumination); 0: none.
    averaging : decay of an exponential moving average of the weights, which is then what is
        validated and kept; 0: none.
    validate_every : updates between validations.
    keep : "best", the weights that do best on the validation labels, or "last".
    patience : stop after so many validations without a better accuracy and without a lower loss.
    precision : float32, tf32 (on NVIDIA GPUs) or bfloat16.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    iterations: int = 600_000
    window: int = 32
    batch: int = 12
    sampling: PatchSampling = "uniform"
    augmentation: bool = True
    scales: tuple[float, ...] = (1.0,)
    orientations: Orientations = "all"
    loss: str = "cross-entropy"
    optimiser: OptimiserName = "sgd"
    learning_rate: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 4e-5
    bias_rate: float = 2.0
    decayed: Decayed | None = None
    schedule: str = "poly"
    final_rate: float = 0.0
    warmup: float = 0.1
    first_rate: float | None = None
    clip_value: float | None = 5.0
    clip_norm: float | None = None
    label_smoothing: float = 0.0
    noise: float = 0.0
    averaging: float = 0.0
    validate_every: int = 100
    keep: Literal["best", "last"] = "best"
    patience: int = 100
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("iterations", "window", "batch", "validate_every", "patience"):
            if getattr(self, name) < 1:
                raise RecipeError(f"training.{name} must be at least 1, not {getattr(self, name)}")
        _ = self.rate, self.criterion  # an unknown name is told before the search
        check_ranges(self, "training", _RANGES)
        if self.warmup < 0 or (self.warmup >= 1 and self.warmup != int(self.warmup)):
            raise RecipeError(
                "training.warmup is a share below 1 or a whole number of updates, not "
                f"{self.warmup}"
            )

    @property
    def criterion(self) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss as a function of logits (n, classes, ...) and classes (n, ...)."""
        return loss(self.loss, label_smoothing=self.label_smoothing)

    @property
    def rate(self) -> Callable[[float], float]:
        """The learning rate as a function of progress in [0, 1]."""
        return schedule(
            self.schedule,
            self.learning_rate,
            self.final_rate,
            warmup=self.warmup if self.warmup < 1 else self.warmup / self.iterations,
            start=self.first_rate,
        )


@dataclass(frozen=True)
class Trained:
    """The best network by validation, in evaluation mode, and how it came about."""

    network: nn.Module
    validation: Validation
    iteration: int
    iterations: int
    seconds: float
    stopped: str


def train(
    network: nn.Module,
    task: Task,
    settings: TrainingSettings,
    *,
    seed: int,
    folder: Path,
    report: Progress | None = None,
    device: torch.device | None = None,
) -> Trained:
    """Train ``network`` on the training labels and return it with its best or its last weights.

    The best weights are those of the highest validation score (``task.criterion``), then the lowest
    validation loss.
    State is written to ``folder`` at each validation; called again after an interruption, training
    goes on from there, on a CPU to the same weights as without one.

    Parameters
    ----------
    network : maps (batch, bands, rows, columns) to logits (batch, classes, rows, columns), or of a
        task of patches to (batch, classes).
    task : gives the batches as :func:`~swath.training.batches.batches` says: of a scene windows, or
        for a :class:`~swath.networks.patchwise.Patchwise` patches around single labels.
    folder : for ``checkpoint.safetensors`` and ``history.jsonl``.
    report : called with each line of the history.

    Raises
    ------
    RunError : the loss became NaN or infinite, or the folder cannot be written.
    RecipeError : the sampling is none for this kind of network.
    """
    device = device or torch.device("cpu")
    loop = _Loop(network.to(device), task, settings, seed, folder, device)
    loop.restore()
    return loop.run(report or (lambda line: None))


class _Loop:
    def __init__(
        self,
        network: nn.Module,
        task: Task,
        settings: TrainingSettings,
        seed: int,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.network, self.task, self.settings = network, task, settings
        self.seed, self.folder, self.device = seed, folder, device
        self.average = copy.deepcopy(network).requires_grad_(False) if settings.averaging else None
        self.optimiser = optimiser(
            network,
            settings.optimiser,
            learning_rate=settings.learning_rate,
            momentum=settings.momentum,
            weight_decay=settings.weight_decay,
            bias_rate=settings.bias_rate,
            decayed=settings.decayed,
        )
        self.rates = [group["lr"] / settings.learning_rate for group in self.optimiser.param_groups]
        self.rate = settings.rate
        self.batches = batches(
            network,
            task,
            derive(seed, "train"),
            window=settings.window,
            sampling=settings.sampling,
            scales=settings.scales,
            orientations=settings.orientations,
        )
        self.criterion = settings.criterion
        self.iteration = 0
        self.seconds = 0.0
        self.since_better = 0
        self.lowest_loss, self.highest_score = math.inf, -math.inf
        self.best: Validation | None = None
        self.best_iteration = 0
        self.best_weights: dict[str, Tensor] = {}

    @property
    def candidate(self) -> nn.Module:
        """The network that is validated and kept: the average where there is one."""
        return self.network if self.average is None else self.average

    def run(self, report: Progress) -> Trained:
        with ahead(self.batches, self.task, self.settings.iterations) as self.batches:
            return self._run(report)

    def _run(self, report: Progress) -> Trained:
        stopped = "schedule complete"
        begun = time.perf_counter() - self.seconds
        total, every = self.settings.iterations, self.settings.validate_every
        while self.iteration < total:
            if self.since_better >= self.settings.patience:
                stopped = "validation accuracy and loss saturated"
                break
            loss = 0.0
            block = min(every, total - self.iteration)
            for _ in range(block):
                loss += self.step() / block
            self.seconds = time.perf_counter() - begun
            line = self.validate(loss)
            self.save(line)
            report(line)
        self.candidate.load_state_dict(self.best_weights)
        assert self.best is not None
        return Trained(
            self.candidate.eval(),
            self.best,
            self.best_iteration,
            self.iteration,
            self.seconds,
            stopped,
        )

    def step(self) -> float:
        """One update; return the loss."""
        settings = self.settings
        self.network.train()
        rate = self.rate(self.iteration / settings.iterations)
        for group, factor in zip(self.optimiser.param_groups, self.rates, strict=True):
            group["lr"] = rate * factor
        # Whatever a network draws (dropout, noise) follows from the seed and the step alone.
        seed_torch(derive(self.seed, "step", self.iteration))
        x, y = self.batches.batch(settings.batch, self.iteration, augmented=settings.augmentation)
        x, y = x.to(self.device), y.to(self.device)
        if settings.noise:
            x = _disturb(x, settings.noise)
        with autocast(self.device, settings.precision):
            logits = patch_network(self.network)(x)
        value = self.criterion(logits.float(), y)
        if not torch.isfinite(value):
            raise RunError(
                f"the training loss became {value.item()} at iteration {self.iteration}; "
                "lower training.learning_rate, or use training.precision float32"
            )
        self.optimiser.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        if settings.clip_value is not None:
            nn.utils.clip_grad_value_(self.network.parameters(), settings.clip_value)
        if settings.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip_norm)
        self.optimiser.step()
        self.iteration += 1
        if self.average is not None:
            _average(self.average, self.network, settings.averaging, self.iteration)
        return float(value.detach())

    def validate(self, loss: float) -> dict[str, Any]:
        """Score the candidate on the validation labels; keep it if it is the best so far."""
        validation = evaluate(
            self.candidate, self.task, "validation", precision=self.settings.precision
        )
        if not math.isfinite(validation.loss):
            raise RunError(
                f"the validation loss became {validation.loss} at iteration {self.iteration}; "
                "lower training.learning_rate, or use training.precision float32"
            )
        better = self.settings.keep == "last" or validation.better_than(self.best)
        improved = (
            (better and self.settings.keep == "best")
            or validation.score > self.highest_score
            or validation.loss < self.lowest_loss
        )
        self.since_better = 0 if improved else self.since_better + 1
        self.lowest_loss = min(self.lowest_loss, validation.loss)
        self.highest_score = max(self.highest_score, validation.score)
        if better:
            self.best, self.best_iteration = validation, self.iteration
            self.best_weights = {
                key: value.detach().cpu().clone()
                for key, value in self.candidate.state_dict().items()
            }
        return {
            "phase": "train",
            "iteration": self.iteration,
            "iterations": self.settings.iterations,
            "loss": loss,
            "learning_rate": self.rate((self.iteration - 1) / self.settings.iterations),
            "validation_accuracy": validation.scores.oa,
            "validation_aa": validation.scores.aa,
            **({"validation_miou": validation.score} if validation.criterion == "miou" else {}),
            "validation_loss": validation.loss,
            "best": better,
            "seconds": self.seconds,
        }

    def save(self, line: dict[str, Any]) -> None:
        """Write the history line, then the checkpoint; lines beyond it are cut off on resume."""
        assert self.best is not None
        append_json_line(self.folder / "history.jsonl", line)
        save_state(
            self.folder / "checkpoint.safetensors",
            {
                "iteration": self.iteration,
                "seconds": self.seconds,
                "since_better": self.since_better,
                "lowest_loss": self.lowest_loss,
                "highest_score": self.highest_score,
                "best_iteration": self.best_iteration,
                "best_scores": self.best.scores.to_dict(),
                "best_loss": self.best.loss,
                "best_weights": self.best_weights,
                "network": self.network.state_dict(),
                "average": None if self.average is None else self.average.state_dict(),
                "optimiser": self.optimiser.state_dict(),
            },
        )

    def restore(self) -> None:
        """Continue from the checkpoint, if there is one."""
        path = self.folder / "checkpoint.safetensors"
        history = self.folder / "history.jsonl"
        if not path.exists():
            history.unlink(missing_ok=True)
            return
        state = load_state(path)
        for name in ("iteration", "seconds", "since_better", "lowest_loss", "best_iteration"):
            setattr(self, name, state[name])
        self.highest_score = state.get("highest_score", -math.inf)  # not in older checkpoints
        self.best = Validation(
            Scores.from_dict(state["best_scores"]), state["best_loss"], self.task.criterion
        )
        self.best_weights = state["best_weights"]
        self.network.load_state_dict(state["network"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.optimiser.load_state_dict(state["optimiser"])
        cut_history(history, "iteration", self.iteration)


def _disturb(x: Tensor, strength: float) -> Tensor:
    """Add noise to every value, and a gain and an offset to every window."""
    shape = (x.shape[0], 1, 1, 1)
    gain = 1 + strength * torch.randn(shape, device=x.device)
    offset = strength * torch.randn(shape, device=x.device)
    return x * gain + offset + strength * torch.randn_like(x)


@torch.no_grad()
def _average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the network; faster at first, so that it forgets the start."""
    decay = min(decay, step / (step + 9))
    ours, theirs = average.state_dict(), network.state_dict()
    for key, value in ours.items():
        if value.is_floating_point():
            value.lerp_(theirs[key], 1 - decay)
        else:
            value.copy_(theirs[key])
