"""The network that is looked at: a copy, so that the one given stays as it is."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from swath.estimators.proxies.base import Variant
from swath.estimators.proxies.evidence import Evidence, Layer
from swath.estimators.proxies.layers import scored_layers

__all__ = ["BATCH_NORMS", "Loss", "Subject", "private_copy", "state_of", "weight_name"]

BATCH_NORMS = nn.modules.batchnorm._BatchNorm

Loss = Callable[[Tensor, Tensor], Tensor]
"""Returns a number from logits and targets."""


@dataclass(frozen=True)
class Subject:
    """What is looked at, and how.

    Parameters
    ----------
    network : a :func:`private_copy`.
    x : (samples, ...).
    targets : classes, or None where there are none.
    flow_dtype : in which data-free gradients are computed.
    signs : which weights lose their sign for these: "none", "caf", "all".
    variant : whose definitions are followed.
    toward : what the Hessian is multiplied with, a tensor a layer; None: the gradient.
    """

    network: nn.Module
    x: Tensor
    targets: Tensor | None
    loss: Loss
    flow_dtype: torch.dtype
    signs: str
    seed: int
    variant: Variant = "paper"
    toward: Sequence[Tensor] | None = None

    def evidence(self) -> Evidence:
        """Return evidence that holds nothing but the layers and the classes."""
        modules = dict(self.network.named_modules())
        layers = [
            Layer(name, kind, modules[name], _weight(modules[name]).detach(), len(self.x))
            for name, kind in scored_layers(self.network).items()
        ]
        return Evidence(layers, self.targets)


def private_copy(
    network: nn.Module, dtype: torch.dtype | None, *, batch_statistics: bool
) -> nn.Module:
    """Return a copy that draws nothing at random and in which no gradient is wanted yet.

    Parameters
    ----------
    dtype : of its weights; None: as they are.
    batch_statistics : whether batch normalisation takes those of the batch, as in training.
    """
    network = copy.deepcopy(network).to(dtype=dtype).eval()
    for module in network.modules():
        # Forward hooks belong to who set them; those before a pass may make weights, and stay.
        module._forward_hooks.clear()
        if isinstance(module, BATCH_NORMS):
            module.training = batch_statistics
        if getattr(module, "inplace", False):
            module.inplace = False  # type: ignore[assignment]  # outputs are looked at afterwards
    return network.requires_grad_(False)


def state_of(network: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name, detached."""
    named: Mapping[str, Tensor] = {
        **dict(network.named_parameters()),
        **dict(network.named_buffers()),
    }
    return {name: tensor.detach() for name, tensor in named.items()}


def weight_name(layer: Layer) -> str:
    """Return the name of a layer's weight in the network."""
    return f"{layer.name}.weight" if layer.name else "weight"


@contextmanager
def wanting_gradients(layers: list[Layer], *, wanted: bool) -> Iterator[list[Tensor]]:
    """Yield the layers' weights themselves, which within are differentiated if wanted."""
    weights = [_weight(layer.module) for layer in layers]
    for weight in weights:
        weight.requires_grad_(wanted)
    yield weights
    for weight in weights:
        weight.requires_grad_(False)


def _weight(module: nn.Module) -> Tensor:
    weight = module.weight
    assert isinstance(weight, Tensor)
    return weight
