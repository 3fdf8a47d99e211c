"""Scores of a network on the labels of a task."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from swath.core.devices import Precision, autocast
from swath.tasks.base import Criterion, Part, Task
from swath.tasks.metrics import Scores, confusion, scores
from swath.training.batches import WINDOW, answers

__all__ = ["Validation", "batch_statistics", "evaluate", "recalibrated"]


@dataclass(frozen=True)
class Validation:
    """Scores and mean cross-entropy over the labels of a part of a split.

    Parameters
    ----------
    criterion : the one of the scores that counts.
    """

    scores: Scores
    loss: float
    criterion: Criterion = "oa"

    @property
    def score(self) -> float:
        """The figure that counts; larger is better."""
        return float(getattr(self.scores, self.criterion))

    def better_than(self, other: Validation | None) -> bool:
        """Whether the score is higher, or equal at a lower loss (the rule of 3D-ANAS)."""
        if other is None:
            return True
        return (self.score, -self.loss) > (other.score, -other.loss)


@contextlib.contextmanager
def batch_statistics(network: nn.Module) -> Iterator[None]:
    """Let BatchNorm use the statistics of what it is given, not those gathered in training.

    The paths of a one-shot supernet share running statistics, which then fit none of them (Guo et
    al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling", recalibrate them
    for each path).
    """
    layers = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    before = [(layer.running_mean, layer.running_var) for layer in layers]
    try:
        for layer in layers:
            layer.running_mean = layer.running_var = None
        yield
    finally:
        for layer, (mean, variance) in zip(layers, before, strict=True):
            layer.running_mean, layer.running_var = mean, variance


@contextlib.contextmanager
def recalibrated(network: nn.Module, inputs: Sequence[Tensor]) -> Iterator[None]:
    """Let BatchNorm use statistics gathered anew over some training inputs, in evaluation mode.

    So Guo et al. recalibrate each path of a one-shot supernet before they judge it.  Statistics
    and mode are as before when the context ends.

    Parameters
    ----------
    inputs : batches that the network reads; their statistics are averaged.
    """
    layers = [
        module
        for module in network.modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None
    ]
    names = ("running_mean", "running_var", "num_batches_tracked", "momentum")
    before = [{name: getattr(layer, name) for name in names} for layer in layers]
    inputs = inputs if layers else []  # nothing else is to be gathered
    was_training = network.training
    try:
        network.eval()
        for layer, kept in zip(layers, before, strict=True):
            for name in names[:-1]:
                setattr(layer, name, kept[name].clone())
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over all batches
            layer.train()
        with torch.no_grad():
            for x in inputs if layers else ():
                network(x)
        network.eval()
        yield
    finally:
        network.train(was_training)
        for layer, kept in zip(layers, before, strict=True):
            for name, value in kept.items():
                setattr(layer, name, value)


@torch.no_grad()
def evaluate(
    network: nn.Module,
    task: Task,
    part: Part,
    *,
    precision: Precision = "float32",
    window: int = WINDOW,
) -> Validation:
    """Compare a network's answers with the labels of ``part``; every label counts once.

    Of a scene the windows that hold such labels are labelled, by a
    :class:`~swath.networks.patchwise.Patchwise` the labelled pixels alone.  The network is left in
    the mode (training or evaluation) it was in.
    """
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    matrix = np.zeros((task.classes, task.classes), np.int64)
    losses = 0.0

    def run(network: nn.Module, x: Tensor) -> Tensor:
        with autocast(device, precision):
            logits: Tensor = network(x.to(device))
        return logits.float().cpu()

    for logits, known in answers(network, task, part, run, window=window):
        losses += float(nn.functional.cross_entropy(logits, known, reduction="sum"))
        matrix += confusion(known.numpy(), logits.argmax(1).numpy(), task.classes)
    network.train(was_training)
    return Validation(scores(matrix), losses / int(matrix.sum()), task.criterion)
