"""The pass of Zen: random inputs through random weights."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from swath.estimators.proxies.evidence import Evidence, Noise
from swath.estimators.proxies.layers import NORMALISING
from swath.estimators.proxies.recording import recorded
from swath.estimators.proxies.subject import BATCH_NORMS, Subject, state_of

__all__ = ["noise_pass"]

STRENGTH = 0.01
"""Of the noise that is added to an input."""

MOST = 16
"""Random inputs at most, as many as the authors take at a time."""

POOLING = (nn.AdaptiveAvgPool1d, nn.AdaptiveAvgPool2d, nn.AdaptiveAvgPool3d)


@torch.no_grad()
def noise_pass(subject: Subject, evidence: Evidence) -> None:
    """Send random inputs, and the same with a little noise, through random weights.

    Inputs, as many as the batch has samples but no more than :data:`MOST`, and scored weights are
    standard normal; biases are 0 and scales of normalisations 1.
    """
    generator = torch.Generator().manual_seed(subject.seed)
    state = _random_state(subject.network, evidence, generator)
    x = _normal(subject.x[:MOST], generator)
    disturbed = x + STRENGTH * _normal(x, generator)
    variances: dict[str, list[float]] = {}
    features = [
        _features(subject.network, evidence, state, values, found)
        for values, found in ((x, variances), (disturbed, None))
    ]
    evidence.noise = Noise(features[0], features[1], variances)


def _random_state(
    network: nn.Module, evidence: Evidence, generator: torch.Generator
) -> dict[str, Tensor]:
    state = state_of(network)
    for layer in evidence.layers:
        state[layer.parameter] = _normal(layer.weight, generator)
        _set(state, layer.name, "bias", 0)
    for name, module in network.named_modules():
        if isinstance(module, NORMALISING):
            _set(state, name, "weight", 1)
            _set(state, name, "bias", 0)
    return state


def _features(
    network: nn.Module,
    evidence: Evidence,
    state: dict[str, Tensor],
    x: Tensor,
    variances: dict[str, list[float]] | None,
) -> Tensor:
    """Return what the last pooling reads, or the last layer where there is none, or dense answers.

    Of a network without layers it is the answer.

    Writes what normalisations divide by into ``variances``.
    """
    modules = dict(network.named_modules())

    def spread(name: str, found: dict[str, list[float]]) -> Callable[[Tensor], None]:
        return lambda read: found.setdefault(name, []).append(_variance(modules[name], read))

    ends = [name for name, module in modules.items() if isinstance(module, POOLING)]
    ends += [layer.name for layer in evidence.layers]
    codes = {}
    if variances is not None:
        norms = (n for n, module in modules.items() if isinstance(module, NORMALISING))
        codes = {name: spread(name, variances) for name in norms}
    with recorded(network, ends, inputs=True, codes=codes) as record:
        logits = functional_call(network, state, (x,))
    dense = logits.dim() > 2  # poolings are parts of branches, such as squeeze and excitation
    pools = [name for name in record.order if isinstance(modules[name], POOLING) and not dense]
    return record.inputs[(pools or record.order)[-1]][-1] if record.order else logits


def _variance(module: nn.Module, read: Tensor) -> float:
    """Return the mean variance that a normalisation divides by: of its channels or groups.

    They are equally large, so it is the mean of all squared deviations.
    """
    if isinstance(module, BATCH_NORMS):
        mean = read.mean([d for d in range(read.dim()) if d != 1], keepdim=True)
    elif isinstance(module, nn.GroupNorm):
        read = read.reshape(len(read) * module.num_groups, -1)
        mean = read.mean(1, keepdim=True)
    else:
        assert isinstance(module, nn.LayerNorm)
        mean = read.mean(tuple(range(-len(module.normalized_shape), 0)), keepdim=True)
    return float((read - mean).square_().mean())


def _normal(like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw on the CPU, so that every device has the same."""
    drawn = torch.randn(like.shape, generator=generator)
    return torch.empty_like(like).copy_(drawn)  # in its memory layout, which makes it fast


def _set(state: dict[str, Tensor], module: str, parameter: str, value: float) -> None:
    name = f"{module}.{parameter}" if module else parameter
    if name in state:
        state[name] = torch.full_like(state[name], value)
