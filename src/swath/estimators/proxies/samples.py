"""Proxies that compare the gradients of single samples.

G (samples, weights) holds every sample's share in the gradient in a layer's weights.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from swath.estimators.proxies.base import PerLayer, add
from swath.estimators.proxies.evidence import Layer
from swath.estimators.proxies.numerics import condition, gram, log, moments, pieces, ratio
from swath.estimators.proxies.registration import register

__all__ = ["gradsign", "ntk_condition", "zico"]


def zico(layer: Layer) -> Tensor:
    """Return the log of the sum, over weights, of mean / deviation of |G| over the samples."""
    total = layer.weight.new_zeros(())
    for (gradients,) in pieces(layer.sample_gradients):
        total = total + ratio(*moments(gradients.abs())).sum()
    return log(total)


def gradsign(layer: Layer) -> Tensor:
    """Return the sum, over weights, of how many more samples pull one way than the other."""
    total = layer.weight.new_zeros(())
    for (gradients,) in pieces(layer.sample_gradients):
        total = total + gradients.sign().sum(0).abs().sum()
    return total


def ntk(layer: Layer) -> Tensor:
    """Return the layer's part of the neural tangent kernel of the summed logits.

    (samples, samples): how alike two samples' gradients are.
    """
    return gram(layer.sample_logit_gradients).double()


def ntk_condition(kernels: Sequence[Tensor]) -> float:
    """Return the condition number of the sum of the layers' kernels; NaN without layers."""
    if not kernels:
        return math.nan
    return float(condition(torch.stack(list(kernels)).sum(0)))


def published_zico(layer: Layer) -> Tensor:
    """Return the same with sums: the i-th "sample" has the gradients of the first i samples.

    The HyTAS authors' code never clears a gradient.  It also takes the deviation of G, not of |G|.
    """
    gradients = layer.sample_gradients.cumsum(0)
    deviation = gradients.std(dim=0, correction=0)
    return log(ratio(gradients.abs().mean(0), deviation).sum())


def published_gradsign(layer: Layer) -> Tensor:
    """Return the same of gradients that were never cleared, as in :func:`published_zico`."""
    return layer.sample_gradients.cumsum(0).sign().sum(0).abs().sum()


def log_of_sum(values: Sequence[Tensor]) -> float:
    """Return the log of a sum."""
    return float(log(torch.tensor(add(values), dtype=torch.float64)))


register(
    "zico",
    PerLayer(zico),
    "samples",
    source='Li et al., "ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on Gradients"',
    authors=PerLayer(published_zico),
)
register(
    "gradsign",
    PerLayer(gradsign),
    "samples",
    source='Zhang, Jia, "GradSign: Model Performance Inference with Theoretical Insights"',
    authors=PerLayer(published_gradsign, log_of_sum),
)
register(
    "ntk_condition",
    PerLayer(ntk, ntk_condition),
    "logit samples",
    source='Chen et al., "TE-NAS", of the weights of scored layers',
    direction="minimize",
)
