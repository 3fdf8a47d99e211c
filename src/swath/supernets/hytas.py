"""The HyTAS supernet: one large spectral transformer, from which all others are cut.

Source: the authors' code (embed_dim 360, 10 layers, 6 heads, ratio 6; AutoFormer's slicing).  They
never train it: it is a store of one random initialisation, from which all 2000 networks of the
tables take their weights when zero-cost proxies score them.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

from swath.core.errors import RecipeError, nearest
from swath.networks.spectral_transformer import (
    WEIGHT_SPREAD,
    Block,
    Fusion,
    SpectralTransformer,
    TransformerSizes,
)
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.hytas import NO_LAYER, HyTAS
from swath.supernets.elastic import Elastic, interleaved

__all__ = ["WEIGHT_ORDERS", "hytas_elastic"]

WEIGHT_ORDERS = ("plain", "authors")


def hytas_elastic(
    space: HyTAS,
    inputs: InputSpec,
    outputs: OutputSpec,
    *,
    embed_dim: int = 360,
    order: str = "plain",
    seed: int = 0,
) -> Elastic:
    """Return the elastic supernet of a hytas space.

    Parameters
    ----------
    embed_dim : length of a token of the shared weights.  The published 360 is more than any
        network of the space uses; it matters for the random draws alone.
    order : "plain" draws the initial weights as any network of the space does, from torch's
        generator as it stands.  "authors" draws the very weights that the published scores were
        computed with, on a generator of its own.
    seed : of the authors' order (0 published).

    Raises
    ------
    RecipeError : unknown order, or an ``embed_dim`` that is too short or no multiple of the heads.
    """
    settings = space.settings
    if order not in WEIGHT_ORDERS:
        raise RecipeError(
            f"a hytas supernet has no weight order '{order}'{nearest(order, WEIGHT_ORDERS)}; "
            f"known: {', '.join(WEIGHT_ORDERS)}"
        )
    least, heads = max(settings.embed_dims), max(settings.heads)
    if embed_dim < least or embed_dim % heads != 0:
        raise RecipeError(
            f"the embed_dim of a hytas supernet must be a multiple of {heads} (heads) and at "
            f"least {least} (the space's longest), not {embed_dim}"
        )
    depth = settings.max_depth
    sizes = space.network_sizes(
        embed_dim,
        (heads,) * depth,
        (max(settings.mlp_ratios),) * depth,
        inputs,
        outputs,
    )
    weights = SpectralTransformer(sizes) if order == "plain" else _published(sizes, seed)
    return Elastic(
        weights,
        lambda architecture: space.build(architecture, inputs, outputs),
        cuts={"qkv.weight": interleaved(3)},
        owned=_owned(space),
        absent=NO_LAYER,
    )


def _owned(space: HyTAS) -> dict[str, tuple[str, ...]]:
    """Return how the names of the parameters begin that each gene decides over."""
    width, *layers = (gene.name for gene in space.genes)
    embedding = ("embedding.", "class_token", "positions")
    return {width: embedding} | {
        layer: (f"blocks.{number}.",) for number, layer in enumerate(layers)
    }


def _published(sizes: TransformerSizes, seed: int) -> SpectralTransformer:
    """Return the large network with the weights that follow from a seed in the authors' code.

    Every draw from torch's generator before and between theirs counts: one for each class, of the
    sample that is scored; then each layer at its creation, the linear ones twice over; last the
    linear layers again, which alone is what they keep.
    """
    with torch.random.fork_rng(devices=[]):
        network = SpectralTransformer(sizes)
        modules = list(network.modules())
        blocks = [module.linear_layers for module in modules if isinstance(module, Block)]
        torch.manual_seed(seed)
        for _ in range(sizes.classes):
            torch.randint(2, (1,))
        network.embedding.project.reset_parameters()
        for layers in blocks:
            for layer in layers:
                _draw_at_creation(layer)
        for module in modules:
            if isinstance(module, Fusion):
                module.mix.reset_parameters()
        _draw_truncated(network.positions)
        _draw_truncated(network.class_token)
        _draw_at_creation(network.head)
        for layer in itertools.chain(*blocks, [network.head]):
            _draw_truncated(layer.weight)
            nn.init.zeros_(layer.bias)
    return network


def _draw_at_creation(layer: nn.Linear) -> None:
    layer.reset_parameters()
    nn.init.xavier_uniform_(layer.weight)


@torch.no_grad()
def _draw_truncated(tensor: Tensor) -> None:
    """Draw from the normal distribution by its inverse, one uniform number a value.

    torch's own ``trunc_normal_`` drew so once, but no longer does.
    """
    tensor.uniform_(-1, 1).erfinv_().mul_(WEIGHT_SPREAD * math.sqrt(2)).clamp_(-2, 2)
