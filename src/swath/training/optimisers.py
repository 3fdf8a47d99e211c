"""Optimisers by name, with the parameter groups the published trainings use."""

from __future__ import annotations

from typing import Any, Literal

import torch
from torch import nn

__all__ = ["Decayed", "OptimiserName", "optimiser"]

OptimiserName = Literal["sgd", "adamw"]
Decayed = Literal["all", "layers"]
"""What decays, biases apart: every parameter, or only the weights of layers."""


def optimiser(
    network: nn.Module,
    name: OptimiserName,
    *,
    learning_rate: float,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    bias_rate: float = 1.0,
    decayed: Decayed | None = None,
) -> torch.optim.Optimizer:
    """Return an optimiser of all parameters of ``network``.

    Parameters
    ----------
    bias_rate : factor of the learning rate of every parameter whose name contains "bias"; none of
        them decays.
    decayed : "all": all others decay (3D-ANAS), the default of "sgd".  "layers": only the weights
        of layers do, no scales of normalisations and nothing else that is learned (positions and
        class token of a transformer); the default of "adamw".
    """
    decayed = decayed or ("layers" if name == "adamw" else "all")
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for key, parameter in network.named_parameters():
        bias = "bias" in key
        layer = key.endswith("weight") and parameter.ndim > 1
        undecayed = bias or (decayed == "layers" and not layer)
        settings = (bias_rate if bias else 1.0, 0.0 if undecayed else weight_decay)
        groups.setdefault(settings, []).append(parameter)
    listed: list[dict[str, Any]] = [
        {"params": parameters, "lr": learning_rate * factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]
    if name == "sgd":
        return torch.optim.SGD(listed, lr=learning_rate, momentum=momentum)
    return torch.optim.AdamW(listed, lr=learning_rate, betas=(momentum, 0.999))
