"""Proxies of the weights and the gradient of the loss in them.

W is a layer's weight (no biases), g the gradient of the loss of the batch in it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from swath.estimators.proxies.base import PerLayer
from swath.estimators.proxies.evidence import Layer
from swath.estimators.proxies.numerics import log, ratio, singular_values
from swath.estimators.proxies.registration import register

__all__ = ["cond_num", "grad_norm", "grasp", "l2_norm", "plain", "snip", "snip_grad_norm"]

ABDELFATTAH = 'Abdelfattah et al., "Zero-Cost Proxies for Lightweight NAS"'
HYTAS = 'Zhou et al., "HyTAS", and the authors\' code'


def grad_norm(layer: Layer) -> Tensor:
    """Return the Euclidean norm of g."""
    return layer.gradient.norm()


def chunked_grad_norm(layer: Layer) -> Tensor:
    """Return the sum over chunks of the norm of g, which the code never clears between them.

    So g after a chunk is the sum over all chunks so far, each with the loss of its own samples.
    """
    so_far = torch.stack([chunk.gradient for chunk in layer.chunks]).cumsum(0)
    return so_far.flatten(1).norm(dim=1).sum()


def snip(layer: Layer) -> Tensor:
    """Return the sum of |g W|: how much the loss feels the loss of each weight."""
    return (layer.gradient * layer.weight).abs().sum()


def plain(layer: Layer) -> Tensor:
    """Return the sum of g W."""
    return (layer.gradient * layer.weight).sum()


def l2_norm(layer: Layer) -> Tensor:
    """Return the Euclidean norm of W."""
    return layer.weight.norm()


def grasp(layer: Layer) -> Tensor:
    """Return the sum of -W Hg, where H is the Hessian of the loss in the weights of all layers."""
    return -(layer.weight * layer.curvature).sum()


def chunked_grasp(layer: Layer) -> Tensor:
    """Return the sum of -W Hg, where H is the sum over chunks, but g that of the last chunk."""
    return grasp(layer)


def snip_grad_norm(layer: Layer) -> Tensor:
    """Return the sum of |g W| over its Euclidean norm."""
    saliency = layer.gradient * layer.weight
    return ratio(saliency.abs().sum(), saliency.norm())


def cond_num(layer: Layer) -> Tensor:
    """Return the sum of |g W| over the logarithm of the condition number of W.

    W has a row for each output.  The least singular value is no less than the rounding error of the
    largest.  A layer of one output has condition 1, the logarithm 0, and counts nothing; nor does
    one whose weights are zero.
    """
    values = singular_values(layer.weight.flatten(1).double())
    error = values[0] * max(layer.weight.flatten(1).shape) * torch.finfo(layer.weight.dtype).eps
    spread = log(values[0]) - log(torch.maximum(values[-1], error))
    return ratio(snip(layer).double(), torch.where(values[0] == 0, 0, spread))


register(
    "grad_norm",
    PerLayer(grad_norm),
    "gradients",
    source=ABDELFATTAH,
    seg101=PerLayer(chunked_grad_norm),
)
register(
    "snip",
    PerLayer(snip),
    "gradients",
    source='Lee et al., "SNIP"; summed as by Abdelfattah et al.',
    seg101=PerLayer(snip),
)
register("plain", PerLayer(plain), "gradients", source=ABDELFATTAH, seg101=PerLayer(plain))
register("l2_norm", PerLayer(l2_norm), source=ABDELFATTAH)
register(
    "grasp",
    PerLayer(grasp),
    "gradients",
    "curvature",
    source=(
        'Wang et al., "GraSP", signed as by Abdelfattah et al. so that large is good; on all five '
        "scenes of the HyTAS tables it is the other way round (rank correlation -0.63 to -0.88)"
    ),
    seg101=PerLayer(chunked_grasp),
)
register("snip_grad_norm", PerLayer(snip_grad_norm), "gradients", source=HYTAS)
register("cond_num", PerLayer(cond_num), "gradients", source=HYTAS)
