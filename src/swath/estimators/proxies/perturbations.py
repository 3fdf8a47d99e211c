"""Proxies that disturb a network or its input and look at what changes."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

from swath.estimators.proxies.base import PerLayer, Whole
from swath.estimators.proxies.evidence import Evidence, Layer
from swath.estimators.proxies.numerics import cosine
from swath.estimators.proxies.registration import register

__all__ = ["croze", "zen"]


def croze(layer: Layer) -> Tensor:
    """Return (1 + cos z) (1 + cos W) |cos g|: how alike answers, weights and gradients stay.

    Each cosine is between the tensor of the network and that of the disturbed one, whose weights
    took a step of twice their length, and whose input values a step of 0.01, up the loss.
    """
    disturbed = layer.perturbation
    answers = [cosine(*pair) for pair in zip(layer.outputs, disturbed.outputs, strict=True)]
    alike = sum(answers[1:], start=answers[0]) / len(answers) if answers else 0
    weights = cosine(layer.weight, disturbed.weight)
    gradients = cosine(layer.gradient, disturbed.gradient)
    return (1 + alike) * (1 + weights) * gradients.abs()


def zen(evidence: Evidence) -> tuple[float, Mapping[str, float]]:
    """Return log of how far the last features move, plus log deviations that normalisations hide.

    The features are those before the last pooling to one place, or before the last layer.  Layer
    normalisations count like batch normalisations, of which alone the paper speaks.
    """
    noise = evidence.noise
    moved = float((noise.disturbed - noise.features).flatten(1).double().norm(dim=1).mean())
    hidden = {
        name: sum(math.log(one) / 2 for one in each if one > 0)
        for name, each in noise.variances.items()
    }
    total = (math.log(moved) if moved > 0 else math.nan) + sum(hidden.values())
    return (total if math.isfinite(total) else math.nan), hidden


register(
    "croze",
    PerLayer(croze),
    "gradients",
    "answers",
    "perturbation",
    source=(
        'Ha et al., "Generalizable Lightweight Proxy for Robust NAS against Diverse Perturbations"'
    ),
)
register(
    "zen",
    Whole(zen),
    "noise",
    source='Lin et al., "Zen-NAS: A Zero-Shot NAS for High-Performance Image Recognition"',
)
