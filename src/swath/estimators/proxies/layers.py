"""Which layers of a network are scored, and what kinds they are."""

from __future__ import annotations

from typing import Literal

from torch import nn

from swath.networks.late_fusion import LateFusion
from swath.networks.spectral_transformer import SpectralTransformer

__all__ = [
    "NORMALISING",
    "WEIGHTED",
    "LayerKind",
    "fusion_parameters",
    "nonlinearities",
    "scored_layers",
]

LayerKind = Literal["embedding", "attention", "mlp", "head", "other"]

WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
NONLINEAR = (
    nn.ReLU,
    nn.ReLU6,
    nn.LeakyReLU,
    nn.PReLU,
    nn.ELU,
    nn.SELU,
    nn.GELU,
    nn.SiLU,
    nn.Mish,
    nn.Hardswish,
)
NORMALISING = (nn.modules.batchnorm._BatchNorm, nn.LayerNorm, nn.GroupNorm)

_KINDS: dict[str, LayerKind] = {
    "embedding.project": "embedding",
    "attention.qkv": "attention",
    "attention.proj": "attention",
    "fc1": "mlp",
    "fc2": "mlp",
    "head": "head",
}


def scored_layers(network: nn.Module) -> dict[str, LayerKind]:
    """Return the names of the layers whose weights are scored, in order of declaration.

    All convolutions and linear layers; of those that share a weight the first stands for all.  Of a
    spectral transformer: the embedding, the four layers of each block and the head; its fusions mix
    tokens and are left out, as published.
    """
    shared: dict[int, str] = {}
    for name, module in network.named_modules():
        if isinstance(module, WEIGHTED):
            shared.setdefault(id(module.weight), name)
    names = list(shared.values())
    if not any(isinstance(module, SpectralTransformer) for module in _whole(network)):
        return dict.fromkeys(names, "other")
    return {name: kind for name in names for end, kind in _KINDS.items() if name.endswith(end)}


def nonlinearities(network: nn.Module) -> list[str]:
    """Return the names of the nonlinear modules."""
    return [name for name, module in network.named_modules() if isinstance(module, NONLINEAR)]


def fusion_parameters(network: nn.Module) -> set[str]:
    """Return the names of fusion, position and token parameters; empty if there are none."""
    starts = ("fusions.", "positions", "class_token")
    return {
        f"{path}.{name}" if path else name
        for path, module in network.named_modules()
        if isinstance(module, SpectralTransformer)
        for name, _ in module.named_parameters()
        if name.startswith(starts)
    }


def _whole(network: nn.Module) -> list[nn.Module]:
    """Return a network, or the one of each sensor where several are fused late."""
    return list(network.branches) if isinstance(network, LateFusion) else [network]
