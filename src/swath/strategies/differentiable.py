"""Differentiable search: weights and architecture parameters of a mixture supernet in turn.

Source: 3D-ANAS, section III-D (first-order alternation as in DARTS: Liu, Simonyan, Yang,
"DARTS: Differentiable Architecture Search").
"""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from swath.core.architecture import Architecture
from swath.core.devices import Precision, autocast
from swath.core.errors import RecipeError, RunError
from swath.core.files import append_json_line
from swath.core.seeds import derive, seed_torch
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.supernets import create_mixture
from swath.supernets.hsi3d import HSI3DMixture, Mode
from swath.tasks.base import Task
from swath.tasks.metrics import Scores
from swath.tasks.windows import Sampling
from swath.training.batches import Batches, batches
from swath.training.checkpoints import cut_history, load_state, save_state
from swath.training.evaluate import Validation, batch_statistics, evaluate
from swath.training.losses import cross_entropy
from swath.training.optimisers import OptimiserName
from swath.training.ranges import BELOW_ONE, NOT_NEGATIVE, POSITIVE, SHARE, check_ranges

__all__ = [
    "DifferentiableSettings",
    "Found",
    "differentiable_search",
    "learning_rate",
    "skip_share",
]

Progress = Callable[[dict[str, Any]], None]

_PATIENCE = 3  # collapsed epochs in a row that end the search
_RANGES = {
    "learning_rate": POSITIVE,
    "final_rate": NOT_NEGATIVE,
    "momentum": BELOW_ONE,
    "weight_decay": NOT_NEGATIVE,
    "architecture_rate": NOT_NEGATIVE,
    "architecture_decay": NOT_NEGATIVE,
    "collapse": SHARE,
}


@dataclass(frozen=True)
class DifferentiableSettings:
    """How the search runs.  Defaults are those of 3D-ANAS.

    Parameters
    ----------
    mode : "full" mixes all operators and widths in each pass; "sampled" draws one operator an edge
        and one width a layer, at about the cost of one child.
    width : base width of the supernet.
    cell_sharing : run each cell once on what arrives, mixed (Eq. 5), or on each arrival (Eq. 4).
    epochs, warmup : architecture parameters are trained from epoch ``warmup`` + 1 on.
    steps : weight steps an epoch (each after one architecture step, once those begin).
    pool : training windows are this many, drawn once, for each of the two lists; None: drawn anew.
    window, batch, sampling : of the training windows.
    optimiser, learning_rate, final_rate, momentum, weight_decay : of the weights.
    schedule : "cosine" falls once (the paper); "oscillating" has a period of 20 epochs times a
        polynomial decay (the authors' code).
    architecture_rate, architecture_decay : Adam of alpha and beta.
    recalibrate : validate with BatchNorm statistics of the validated windows themselves: those
        gathered in training by a sampled supernet are of all its paths, and fit none.
    collapse : an epoch has collapsed when more than this share of a cell's operators are skip
        connections.  It is kept as the best only where no other is, and three in a row end the
        search.  1: none has.
    precision : float32, tf32 (on NVIDIA GPUs) or bfloat16.
    """

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    mode: Mode = "full"
    width: int = 8
    cell_sharing: bool = True
    epochs: int = 100
    warmup: int = 20
    steps: int = 40
    pool: int | None = 200
    window: int = 32
    batch: int = 5
    sampling: Sampling = "uniform"
    optimiser: OptimiserName = "sgd"
    learning_rate: float = 0.025
    final_rate: float = 0.001
    momentum: float = 0.9
    weight_decay: float = 3e-4
    schedule: Literal["cosine", "oscillating"] = "cosine"
    architecture_rate: float = 1e-3
    architecture_decay: float = 1e-3
    recalibrate: bool = False
    collapse: float = 0.67
    precision: Precision = "float32"

    def __post_init__(self) -> None:
        for name in ("width", "epochs", "steps", "window", "batch"):
            if getattr(self, name) < 1:
                raise RecipeError(f"search.{name} must be at least 1, not {getattr(self, name)}")
        check_ranges(self, "search", _RANGES)
        if self.pool is not None and self.pool < 1:
            raise RecipeError(f"search.pool must be at least 1, or null, not {self.pool}")
        if not 0 <= self.warmup < self.epochs:
            raise RecipeError(
                f"search.warmup must be less than search.epochs ({self.epochs}), not "
                f"{self.warmup}: the architecture is trained only after it"
            )


@dataclass(frozen=True)
class Found:
    """What a search ended with.

    Parameters
    ----------
    architecture : decoded at the best epoch.
    validation : of the supernet at that epoch.
    epoch, epochs : the best one (from 1), and how many were run.
    collapsed : whether the collapse detector ended the search.
    """

    architecture: Architecture
    validation: Validation
    epoch: int
    epochs: int
    seconds: float
    collapsed: bool


def learning_rate(settings: DifferentiableSettings, epoch: int) -> float:
    """Return the weights' learning rate of an epoch (from 1)."""
    span = settings.learning_rate - settings.final_rate
    if settings.schedule == "cosine":
        return settings.final_rate + span * (
            (1 + math.cos(math.pi * (epoch - 1) / settings.epochs)) / 2
        )
    # Chained without a restart in the authors' code, so the cosine of T_max 10 goes up and down.
    wave = (1 + math.cos(math.pi * epoch / 10)) / 2
    return settings.final_rate + span * wave * (1 - epoch / settings.epochs) ** 0.9


def skip_share(architecture: Architecture) -> float:
    """Return the largest share of skip connections among the operators of a cell."""
    cells: dict[str, list[bool]] = {}
    for gene, value in architecture.genes:
        cell, _, rest = gene.partition(".")
        if ".op" in f".{rest}":
            cells.setdefault(cell, []).append(value == "skip_connect")
    return max((sum(skips) / len(skips) for skips in cells.values()), default=0.0)


def differentiable_search(
    space: SearchSpace,
    task: Task,
    settings: DifferentiableSettings,
    *,
    seed: int,
    folder: Path,
    report: Progress | None = None,
    device: torch.device | None = None,
) -> Found:
    """Search ``space`` for the task and return the architecture of the best epoch.

    The best epoch has the highest validation score (``task.criterion``), then the lowest validation
    loss, among those in which alpha and beta were trained and the decoded cells had not collapsed
    to skip connections; where all of those had, it is the best of them.  State is written to
    ``folder`` at each epoch; called again after an interruption, the search goes on from there, on
    a CPU to the same result.

    Raises
    ------
    RunError : the loss became NaN or infinite, or the folder cannot be written.
    """
    search = _Search(space, task, settings, seed, folder, device or torch.device("cpu"))
    search.restore()
    return search.run(report or (lambda line: None))


class _Search:
    def __init__(
        self,
        space: SearchSpace,
        task: Task,
        settings: DifferentiableSettings,
        seed: int,
        folder: Path,
        device: torch.device,
    ) -> None:
        self.space, self.task, self.settings = space, task, settings
        self.seed, self.folder, self.device = seed, folder, device
        torch.manual_seed(derive(seed, "supernet"))
        self.supernet: HSI3DMixture = create_mixture(
            space,
            InputSpec(task.bands),
            OutputSpec(task.classes),
            width=settings.width,
            mode=settings.mode,
            cell_sharing=settings.cell_sharing,
        ).to(device)
        self.weight_optimiser = _weight_optimiser(self.supernet.weight_parameters(), settings)
        self.architecture_optimiser = torch.optim.Adam(
            self.supernet.architecture_parameters(),
            lr=settings.architecture_rate,
            weight_decay=settings.architecture_decay,
        )
        self.weight_batches, self.architecture_batches = (
            batches(
                self.supernet,
                task,
                derive(seed, "search", name),
                window=settings.window,
                sampling=settings.sampling,
                pool=settings.pool,
            )
            for name in ("weights", "architecture")
        )
        self.epoch = 0
        self.seconds = 0.0
        self.collapsing = 0
        self.best: dict[str, Any] | None = None

    def run(self, report: Progress) -> Found:
        begun = time.perf_counter() - self.seconds
        while self.epoch < self.settings.epochs and self.collapsing < _PATIENCE:
            loss = self.train_epoch()
            self.epoch += 1
            self.seconds = time.perf_counter() - begun
            line = self.validate(loss)
            self.save(line)
            report(line)
        assert self.best is not None
        return Found(
            Architecture.from_dict(self.best["architecture"]),
            self._of_best(self.best),
            self.best["epoch"],
            self.epoch,
            self.seconds,
            self.collapsing >= _PATIENCE,
        )

    def train_epoch(self) -> float:
        """One epoch of alternating steps; return the mean loss of the weight steps."""
        settings, total = self.settings, 0.0
        self.supernet.train()
        for group in self.weight_optimiser.param_groups:
            group["lr"] = learning_rate(settings, self.epoch + 1)
        for step in range(self.epoch * settings.steps, (self.epoch + 1) * settings.steps):
            if self.epoch >= settings.warmup:
                self.step(
                    self.architecture_optimiser, self.architecture_batches, "architecture", step
                )
            total += self.step(self.weight_optimiser, self.weight_batches, "weights", step)
        return total / settings.steps

    def step(self, optimiser: torch.optim.Optimizer, given: Batches, name: str, step: int) -> float:
        """One update of weights or architecture parameters; return the loss."""
        # What a sampled supernet draws follows from the seed and the step alone.
        seed_torch(derive(self.seed, "search", name, step))
        x, y = given.batch(self.settings.batch, step, augmented=self.settings.pool is None)
        x, y = x.to(self.device), y.to(self.device)
        self.supernet.trains_architecture = name == "architecture"
        trained = (
            self.supernet.architecture_parameters()
            if name == "architecture"
            else self.supernet.weight_parameters()
        )
        with autocast(self.device, self.settings.precision):
            logits = self.supernet(x)
        loss = cross_entropy(logits.float(), y)
        if not torch.isfinite(loss):
            raise RunError(
                f"the search loss became {loss.item()} in epoch {self.epoch + 1}; lower "
                "search.learning_rate, or use search.precision float32"
            )
        optimiser.zero_grad(set_to_none=True)
        gradients = torch.autograd.grad(loss, trained, allow_unused=True)
        for parameter, gradient in zip(trained, gradients, strict=True):
            parameter.grad = gradient
        optimiser.step()
        return float(loss.detach())

    def validate(self, loss: float) -> dict[str, Any]:
        """Score the supernet, decode it, and keep the architecture if it is the best so far."""
        statistics = batch_statistics if self.settings.recalibrate else contextlib.nullcontext
        with statistics(self.supernet):
            validation = evaluate(
                self.supernet, self.task, "validation", precision=self.settings.precision
            )
        if not math.isfinite(validation.loss):
            raise RunError(
                f"the search's validation loss became {validation.loss} in epoch {self.epoch}; "
                "lower search.learning_rate, or use search.precision float32"
            )
        architecture = self.supernet.decode()
        trained = self.epoch > self.settings.warmup
        share = skip_share(architecture)
        collapsed = share > self.settings.collapse
        self.collapsing = self.collapsing + 1 if trained and collapsed else 0
        if trained and self._is_best(validation, collapsed):
            self.best = {
                "epoch": self.epoch,
                "collapsed": collapsed,
                "architecture": json.loads(architecture.to_json()),
                "scores": validation.scores.to_dict(),
                "loss": validation.loss,
            }
        return {
            "phase": "search",
            "epoch": self.epoch,
            "epochs": self.settings.epochs,
            "loss": loss,
            "validation_accuracy": validation.scores.oa,
            "validation_loss": validation.loss,
            "arch_trained": trained,
            "best": self.best is not None and self.best["epoch"] == self.epoch,
            "skip_share": share,
            "seconds": self.seconds,
            "alpha": _rounded(self.supernet.alpha.detach().softmax(-1)),
            "beta": _rounded(self.supernet.move_logits().detach().softmax(-1)),
            "genes": architecture.as_dict(),
        }

    def _is_best(self, validation: Validation, collapsed: bool) -> bool:
        """Whether an epoch beats the best so far; a collapsed one never beats another."""
        if self.best is None:
            return True
        if collapsed != self.best["collapsed"]:
            return not collapsed
        return validation.better_than(self._of_best(self.best))

    def _of_best(self, best: dict[str, Any]) -> Validation:
        """Return the validation of the best epoch so far."""
        return Validation(Scores.from_dict(best["scores"]), best["loss"], self.task.criterion)

    def save(self, line: dict[str, Any]) -> None:
        """Write the history line, then the checkpoint; lines beyond it are cut off on resume."""
        append_json_line(self.folder / "history.jsonl", line)
        save_state(
            self.folder / "checkpoint.safetensors",
            {
                "epoch": self.epoch,
                "seconds": self.seconds,
                "collapsing": self.collapsing,
                "best": self.best,
                "supernet": self.supernet.state_dict(),
                "weights": self.weight_optimiser.state_dict(),
                "architecture": self.architecture_optimiser.state_dict(),
            },
        )

    def restore(self) -> None:
        """Continue from the checkpoint, if there is one."""
        path, history = self.folder / "checkpoint.safetensors", self.folder / "history.jsonl"
        if not path.exists():
            history.unlink(missing_ok=True)
            return
        state = load_state(path)
        for name in ("epoch", "seconds", "collapsing", "best"):
            setattr(self, name, state[name])
        self.supernet.load_state_dict(state["supernet"])
        self.weight_optimiser.load_state_dict(state["weights"])
        self.architecture_optimiser.load_state_dict(state["architecture"])
        cut_history(history, "epoch", self.epoch)


def _weight_optimiser(
    parameters: list[nn.Parameter], settings: DifferentiableSettings
) -> torch.optim.Optimizer:
    decay = settings.weight_decay
    if settings.optimiser == "adamw":
        return torch.optim.AdamW(
            parameters,
            lr=settings.learning_rate,
            betas=(settings.momentum, 0.999),
            weight_decay=decay,
        )
    return torch.optim.SGD(
        parameters, lr=settings.learning_rate, momentum=settings.momentum, weight_decay=decay
    )


def _rounded(values: Tensor) -> Any:
    """Return nested lists with five decimals."""
    return [_rounded(v) for v in values] if values.ndim else round(float(values), 5)
