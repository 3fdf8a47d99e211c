"""Weights inherited from a supernet: how good a child is without training of its own."""

from __future__ import annotations

import contextlib
import time

import numpy as np
import torch
from torch import Tensor, nn

from swath.core.architecture import Architecture
from swath.core.devices import Precision, autocast
from swath.core.evaluation import Cost, Evaluation
from swath.networks.cost import count_parameters
from swath.networks.patchwise import Patchwise
from swath.spaces.base import SearchSpace
from swath.supernets.base import Supernet
from swath.tasks.base import Task
from swath.tasks.metrics import confusion, scores
from swath.training.batches import batches, shown
from swath.training.evaluate import recalibrated

__all__ = ["Inherited", "asked_as"]

_AT_ONCE = 256  # inputs of a pass that gathers statistics


def asked_as(network: nn.Module, space: SearchSpace) -> nn.Module:
    """Return a network of a space as a task asks it, dense also where it answers for a patch."""
    return network if space.patch is None else Patchwise(network, space.patch)


class Inherited:
    """Scores children of a supernet with its weights as they are.

    What children are shown is made once for all of them.

    Parameters
    ----------
    recalibration : training patches (or windows) over which each child's BatchNorm statistics are
        gathered anew; those of the supernet are of all its paths, and fit none.  0: not.
    window : of the windows of dense networks for recalibration.
    seed : of the choice of these.
    """

    def __init__(
        self,
        supernet: Supernet,
        space: SearchSpace,
        task: Task,
        *,
        recalibration: int = 256,
        window: int = 32,
        seed: int = 0,
        device: torch.device | None = None,
        precision: Precision = "float32",
    ) -> None:
        self.supernet, self.task = supernet, task
        self.device = device or torch.device("cpu")
        self.precision = precision
        template = asked_as(supernet, space)
        self._shown = [
            (x.to(self.device), truth) for x, truth in shown(template, task, "validation")
        ]
        drawn = batches(template, task, seed, window=window)
        self._calibration: list[Tensor] = []
        # Batches of one size, to within one: each counts alike in the statistics.
        passes = -(-recalibration // _AT_ONCE)
        for number in range(passes):
            count = (recalibration + number) // passes
            x, _ = drawn.batch(count, number, augmented=False)
            self._calibration.append(x.to(self.device))

    @torch.no_grad()
    def evaluate(self, architecture: Architecture) -> Evaluation:
        """Return a child's score (``task.criterion``) on the validation labels.

        ``metrics`` holds its accuracies and loss there.
        """
        begun = time.perf_counter()
        with self.supernet.path(architecture) as network:
            parameters = count_parameters(network)
            was_training = network.training
            network.eval()
            matrix = np.zeros((self.task.classes, self.task.classes), np.int64)
            losses = 0.0
            with self._statistics(network):
                for x, shown_truth in self._shown:
                    logits, truth = self._answer(network, x, shown_truth)
                    losses += float(nn.functional.cross_entropy(logits, truth, reduction="sum"))
                    matrix += confusion(truth.numpy(), logits.argmax(1).numpy(), len(matrix))
            network.train(was_training)
        found = scores(matrix)
        loss = losses / int(matrix.sum())
        return Evaluation(
            float(getattr(found, self.task.criterion)),
            "maximize",
            Cost(parameters=parameters, seconds=time.perf_counter() - begun),
            {"validation_oa": found.oa, "validation_aa": found.aa, "validation_loss": loss},
        )

    def _statistics(self, network: nn.Module) -> contextlib.AbstractContextManager[None]:
        if not self._calibration:
            return contextlib.nullcontext()
        return recalibrated(network, self._calibration)

    def _answer(self, network: nn.Module, x: Tensor, truth: Tensor) -> tuple[Tensor, Tensor]:
        with autocast(self.device, self.precision):
            logits: Tensor = network(x)
        labelled = truth >= 0
        return logits.float().cpu().movedim(1, -1)[labelled], truth[labelled]
