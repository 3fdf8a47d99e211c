"""Proxies of what layers answer, and of which units are active."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from swath.estimators.proxies.base import PerLayer, Whole, add
from swath.estimators.proxies.evidence import Codes, Evidence, Layer
from swath.estimators.proxies.numerics import log, moments, pieces, ratio, rows_alike
from swath.estimators.proxies.registration import register

__all__ = [
    "fisher",
    "linear_regions",
    "naswot",
    "published_fisher",
    "t_cet",
    "with_decay",
    "zico_act",
]

EARLY = 5
"""ZiCo++: layers that count in full."""


def fisher(layer: Layer) -> Tensor:
    """Return the Fisher information of the layer's channels: half the mean square of their slope.

    With answers z and slopes d (of the loss of the batch): the sum over channels of the mean over
    samples of (sum over positions of z d)**2 / 2.
    """
    total = layer.weight.new_zeros(())
    for answer, slope in zip(layer.sample_outputs, layer.slopes, strict=True):
        total = total + _by_channel(layer, answer * slope).square().mean(0).sum() / 2
    return total


def _by_channel(layer: Layer, values: Tensor) -> Tensor:
    """Return sums over positions (samples, channels)."""
    channels = 1 if layer.weight.dim() > 2 else -1
    return values.movedim(channels, 1).flatten(2).sum(2) if values.dim() > 2 else values


def chunked_fisher(layer: Layer) -> Tensor:
    """Return the sum over chunks of the Fisher information, each channel's times its weights."""
    weights = layer.weight[0].numel()
    return torch.stack([fisher(chunk) for chunk in layer.chunks]).sum() * weights


def published_fisher(evidence: Evidence) -> tuple[float, Mapping[str, float]]:
    """Return what the HyTAS authors' code computes: sum of n**2 over layers, times F.

    It takes tokens for channels, and one shared tensor for the values of all of them.  So n is the
    number of tokens (classes, for the head) and F the information of the last one.
    """
    scores = {}
    for layer in evidence.layers:
        (answer,), (slope,) = layer.outputs, layer.slopes
        saliency = answer * slope
        by_token = saliency.sum(2) if saliency.dim() == 3 else saliency
        last = by_token[:, -1].square().mean() / 2
        scores[layer.name] = float(by_token.shape[1] ** 2 * last)
    return sum(scores.values()), scores


def zico_act(layer: Layer) -> Tensor:
    """Return the log of the sum, over units, of mean / deviation of (z d)**2 over the samples."""
    total = layer.weight.new_zeros(())
    for answer, slope in zip(layer.sample_outputs, layer.slopes, strict=True):
        for some in pieces(*rows_alike(answer, slope)):
            saliency = some[0] * some[1]
            largest = saliency.abs().max().clamp(min=torch.finfo(saliency.dtype).tiny)
            # a common factor cancels out, and small numbers survive two squarings
            total = total + ratio(*moments(saliency.div_(largest).square_())).sum()
    return log(total)


def with_decay(values: Sequence[Tensor]) -> float:
    """Return the sum with the values of later layers weighted 1, 1/2, 1/3, ...

    The first five layers and the last count in full.
    """
    last = len(values) - 1
    return add(
        [
            value if index == last else value / max(1, index - EARLY + 1)
            for index, value in enumerate(values)
        ]
    )


def naswot(evidence: Evidence) -> tuple[float, Mapping[str, float]]:
    """Return log |det| of how often two samples agree in a unit, over all nonlinearities.

    Only those that are modules are seen.
    """
    codes = evidence.codes
    if not codes:
        return math.nan, {}
    scores = {name: float(code.log_determinant) for name, code in codes.items() if code.units}
    return float(_all(evidence).log_determinant), scores


def linear_regions(evidence: Evidence) -> tuple[float, Mapping[str, float]]:
    """Return how many different codes the samples have: in how many linear regions they lie.

    At most the number of samples, which a wide network reaches on most data.
    """
    scores = {name: float(_different(code)) for name, code in evidence.codes.items()}
    return (float(_different(_all(evidence))) if scores else math.nan), scores


def _all(evidence: Evidence) -> Codes:
    codes = list(evidence.codes.values())
    whole = Codes(len(codes[0].agreement))
    whole.agreement = torch.stack([code.agreement for code in codes]).sum(0)
    whole.units = sum(code.units for code in codes)
    return whole


def _different(codes: Codes) -> int:
    """Count the samples that agree in every unit with no earlier one."""
    equal = codes.agreement >= codes.units - 0.5
    return int((equal.tril(-1).sum(1) == 0).sum())


def _determinant(layer: Layer) -> Tensor:
    codes = Codes(layer.samples)
    for answer in layer.sample_outputs:
        codes.add(answer)
    return codes.log_determinant


def _deviation(values: Tensor) -> Tensor:
    """Return the sample standard deviation of all values."""
    return (values - values.mean()).norm() / max(1, values.numel() - 1) ** 0.5


def t_cet(layer: Layer) -> Tensor:
    """Return S / s log |det K|.

    S and s are sum and deviation of |g W| over the layer's weights, K how often two samples agree
    in the sign of its outputs.
    """
    saliency = (layer.gradient * layer.weight).abs()
    return ratio(saliency.sum(), _deviation(saliency)) * _determinant(layer)


def published_t_cet(layer: Layer) -> Tensor:
    """Return log(S / s) log |det K|; of the embedding only the first factor."""
    saliency = (layer.gradient * layer.weight).abs()
    deviation = _deviation(saliency)
    factor = log(saliency.sum() / torch.where(deviation > 0, deviation, 1))
    return factor if layer.kind == "embedding" else factor * _determinant(layer)


HYTAS = 'Zhou et al., "HyTAS", and the authors\' code'

register(
    "fisher",
    PerLayer(fisher),
    "slopes",
    source='Theis et al., "Faster gaze prediction with dense networks and Fisher pruning"',
    authors=Whole(published_fisher),
    seg101=PerLayer(chunked_fisher),
)
register("zico_act", PerLayer(zico_act), "slopes", source=HYTAS)
register("zico++", PerLayer(zico_act, with_decay), "slopes", source=HYTAS)
register(
    "naswot",
    Whole(naswot),
    "codes",
    source='Mellor et al., "Neural Architecture Search without Training"',
)
register(
    "linear_regions",
    Whole(linear_regions),
    "codes",
    source='Chen et al., "TE-NAS", on the samples of the batch',
)
register(
    "t_cet",
    PerLayer(t_cet),
    "gradients",
    "answers",
    source='T-CET, as Zhou et al., "HyTAS", state it',
    authors=PerLayer(published_t_cet),
)
