"""Data-free proxies: an input of ones, and what reaches the sum of all logits.

W is a layer's weight in that pass (by default all weights are made positive first) and g the
gradient of the sum of all logits in it.
"""

from __future__ import annotations

from torch import Tensor

from swath.estimators.proxies.base import PerLayer
from swath.estimators.proxies.evidence import Layer
from swath.estimators.proxies.numerics import singular_values
from swath.estimators.proxies.registration import register

__all__ = ["dss", "logsynflow", "synflow"]


def synflow(layer: Layer) -> Tensor:
    """Return the sum of |g W|: the flow through the layer."""
    return (layer.flow.gradient * layer.flow.weight).abs().sum()


def logsynflow(layer: Layer) -> Tensor:
    """Return the sum of |log(|g| + 1) W|, which deep networks do not let explode."""
    return (layer.flow.gradient.abs().log1p() * layer.flow.weight).abs().sum()


def dss(layer: Layer) -> Tensor:
    """Return the product of the nuclear norms of g and W in attention, else the flow.

    The nuclear norm of a weight stands for its rank: how diverse what it makes can be.
    """
    if layer.kind != "attention":
        return synflow(layer)
    norms = [singular_values(t).sum() for t in (layer.flow.gradient, layer.flow.weight)]
    return norms[0] * norms[1]


def published_synflow(layer: Layer) -> Tensor:
    """Return the flow's mean over the layer's outputs, which alone is in the published tables."""
    return synflow(layer) / len(layer.weight)


def normalised_synflow(layer: Layer) -> Tensor:
    """Return the sum of |g W| with batch normalisation, of the logits before they are enlarged.

    It takes the statistics of the one sample's positions.  Known as synflow_bn.
    """
    return synflow(layer)


def published_logsynflow(layer: Layer) -> Tensor:
    """Return the same mean of |log(g + 1) W|; NaN where some g < -1, which a sum leaves out.

    The published runs had random branches dropped; these have not.
    """
    values = ((layer.flow.gradient + 1).log() * layer.flow.weight).abs()
    return values.sum() / len(layer.weight)


register(
    "synflow",
    PerLayer(synflow),
    "flow",
    source='Tanaka et al., "Pruning neural networks without any data"; without batch normalisation',
    authors=PerLayer(published_synflow),
    seg101=PerLayer(normalised_synflow),
)
register(
    "logsynflow",
    PerLayer(logsynflow),
    "flow",
    source='Cavagnero et al., "FreeREA"',
    authors=PerLayer(published_logsynflow),
)
register(
    "dss",
    PerLayer(dss),
    "flow",
    source='Zhou et al., "Training-free Transformer Architecture Search"; else synflow',
)
