"""Small networks of one form, trained side by side as one network of grouped convolutions.

A network of two channels spends its time on calling operators, not on numbers.  A *bundle* of K
networks holds all of their weights, has K times their channels, and computes each of them from its
own channels alone; so each learns what it would learn by itself, at a quarter of the time.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from swath.core.seeds import derive
from swath.networks.layout import channels_last
from swath.tasks.label_patches import PatchSampler, patches_around
from swath.tasks.scene import SceneTask
from swath.training.loop import TrainingSettings
from swath.training.optimisers import optimiser

__all__ = ["Lesson", "bundled", "train_bundle"]

_AT_ONCE = 512  # patches of a pass that scores


class Heads(nn.Module):
    """K linear layers, each on its share of the features.

    Parameters
    ----------
    layers : of one form, with biases.
    """

    def __init__(self, layers: Sequence[nn.Linear]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.stack([one.weight.detach() for one in layers]))
        self.bias = nn.Parameter(torch.stack([one.bias.detach() for one in layers]))

    def forward(self, x: Tensor) -> Tensor:
        """Return logits (batch, K, classes) of features (batch, K x features)."""
        features = x.view(len(x), len(self.weight), -1)
        return torch.einsum("nkf,kcf->nkc", features, self.weight) + self.bias


def bundled(networks: Sequence[nn.Module]) -> nn.Module:
    """Return one network that computes all, from a copy of their weights.

    Parameters
    ----------
    networks : K of one form, of 2-D convolutions without groups, batch normalisation, a linear
        head, and layers without weights that look at each channel alone.

    Returns
    -------
    A network of (batch, K x bands, rows, columns), in evaluation or training mode as the first of
    ``networks``; its answers are (batch, K, classes).
    """
    bundle = copy.deepcopy(networks[0])
    for path, module in list(bundle.named_modules()):
        layers = [network.get_submodule(path) for network in networks]
        joined: nn.Module
        if isinstance(module, nn.Conv2d):
            joined = copy.deepcopy(module)
            joined.in_channels *= len(layers)
            joined.out_channels *= len(layers)
            joined.groups = len(layers)
            _join(joined, layers)
        elif isinstance(module, nn.BatchNorm2d):
            joined = copy.deepcopy(module)
            joined.num_features *= len(layers)
            _join(joined, layers)
        elif isinstance(module, nn.Linear):
            joined = Heads([layer for layer in layers if isinstance(layer, nn.Linear)])
        else:
            continue
        parent, _, key = path.rpartition(".")
        bundle.get_submodule(parent).add_module(key, joined)
    return channels_last(bundle)


def _join(joined: nn.Module, layers: Sequence[nn.Module]) -> None:
    """Give a layer the weights and statistics of several, one after the other."""
    for name, parameter in joined.named_parameters():
        parameter.data = torch.cat([layer.get_parameter(name).detach() for layer in layers])
    for name, buffer in joined.named_buffers():
        if buffer.ndim:
            joined.register_buffer(name, torch.cat([layer.get_buffer(name) for layer in layers]))


@dataclass(frozen=True)
class Lesson:
    """What a bundle of networks is shown: the batches of each, and what all are scored on.

    Parameters
    ----------
    batches : inputs (batch, K x bands, rows, columns) and classes (batch, K) of each update.
    asked : inputs (batch, bands, rows, columns) and classes (batch,).
    """

    batches: list[tuple[Tensor, Tensor]]
    asked: list[tuple[Tensor, Tensor]]

    @classmethod
    def of(
        cls, task: SceneTask, patch: int, settings: TrainingSettings, seeds: Sequence[int]
    ) -> Lesson:
        """Draw the batches of each seed; ask all validation labels of the task."""
        samplers = [
            PatchSampler(
                task.image,
                task.targets("train"),
                patch,
                derive(seed, "train"),
                settings.sampling,
                task.split.visible,
            )
            for seed in seeds
        ]
        batches = []
        for step in range(settings.iterations):
            drawn = [one.batch(settings.batch, step) for one in samplers]
            x = torch.cat([x for x, _ in drawn], 1)
            x = x.contiguous(memory_format=torch.channels_last)  # as the weights are
            batches.append((x, torch.stack([y for _, y in drawn], 1)))
        targets = task.targets("validation")
        places = np.argwhere(targets >= 0)
        asked = [
            (
                patches_around(task.image, some, patch),
                torch.from_numpy(targets[tuple(some.T)]),
            )
            for some in np.array_split(places, -(-len(places) // _AT_ONCE))
        ]
        return cls(batches, asked)


def train_bundle(
    bundle: nn.Module, lesson: Lesson, settings: TrainingSettings
) -> npt.NDArray[np.float64]:
    """Train a bundle; return the accuracy (K,) of each network after the last update.

    Of the settings those of the update rule, the schedule and the loss hold; gradients are not
    clipped, nor are weights averaged.
    """
    rule = optimiser(
        bundle,
        settings.optimiser,
        learning_rate=settings.learning_rate,
        momentum=settings.momentum,
        weight_decay=settings.weight_decay,
        bias_rate=settings.bias_rate,
    )
    factors = [group["lr"] / settings.learning_rate for group in rule.param_groups]
    bundle.train()
    for step, (x, y) in enumerate(lesson.batches):
        rate = settings.rate(step / len(lesson.batches))
        for group, factor in zip(rule.param_groups, factors, strict=True):
            group["lr"] = rate * factor
        # The mean over K networks, times K: each has the gradient of its own loss.
        loss = y.shape[1] * settings.criterion(bundle(x).flatten(0, 1), y.flatten())
        rule.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        rule.step()
    return _accuracies(bundle.eval(), lesson.asked)


@torch.no_grad()
def _accuracies(
    bundle: nn.Module, asked: Sequence[tuple[Tensor, Tensor]]
) -> npt.NDArray[np.float64]:
    right: list[Tensor] = []
    for x, y in asked:
        copies = next(m for m in bundle.modules() if isinstance(m, Heads)).weight.shape[0]
        right.append(bundle(x.repeat(1, copies, 1, 1)).argmax(2) == y[:, None])
    return torch.cat(right).double().mean(0).numpy()
