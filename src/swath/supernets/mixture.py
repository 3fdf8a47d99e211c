"""Mixtures: every candidate at once, weighted by architecture parameters.

Made from the same declaration as a child: each :class:`~swath.spaces.choices.Choice` becomes a
:class:`Mixture` of all its candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from swath.networks.conv3d import images, volumes
from swath.spaces.choices import Choice, Zero

__all__ = ["Mixture", "hard_sample"]


class Mixture(nn.Module):
    """The sum of all candidates of a choice, each times its weight.

    Candidates of weight exactly zero are not computed, so a sampled (one-hot) weighting costs one
    operator.  In training, those that end in a BatchNorm without scale and offset are normalised
    and summed together (:func:`_normalised_sum`).

    Parameters
    ----------
    choice : the declaration.
    weights : gives the current weights (options,), differentiable.
    """

    def __init__(self, choice: Choice, weights: Callable[[], Tensor]) -> None:
        super().__init__()
        self.name = choice.name
        self.operators = nn.ModuleList([choice.make(option) for option in choice.options])
        self._weights = weights

    def forward(self, x: Tensor) -> Tensor:
        """Return the weighted sum, shaped as the candidates' outputs."""
        weights = self._weights()
        active = weights.detach().ne(0).tolist()
        terms = [
            (operator, weight)
            for operator, weight, on in zip(self.operators, weights, active, strict=True)
            if on and not isinstance(operator, Zero)
        ]
        together = [(o, w) for o, w in terms if _ends_in_plain_norm(o)] if self.training else []
        total: Tensor | None = None
        if len(together) > 1:
            total = _normalised_sum([o for o, _ in together], [w for _, w in together], x)
            terms = [(o, w) for o, w in terms if not _ends_in_plain_norm(o)]
        for operator, weight in terms:
            term = weight * operator(x)
            total = term if total is None else total + term
        return torch.zeros_like(x) if total is None else total


def _ends_in_plain_norm(operator: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether an operator ends in a BatchNorm3d that only normalises, and averages as usual."""
    if not isinstance(operator, nn.Sequential) or not isinstance(operator[-1], nn.BatchNorm3d):
        return False
    last, usual = operator[-1], nn.BatchNorm3d(0)
    return (last.affine, last.momentum, last.eps) == (False, usual.momentum, usual.eps)


def _normalised_sum(
    operators: Sequence[nn.Sequential], weights: Sequence[Tensor], x: Tensor
) -> Tensor:
    """Return the sum of operators' answers (batch, channels, bands, rows, columns), each weighted.

    A few channels do not fill the vectors that a processor computes with.  Side by side, those of
    all candidates do: one BatchNorm normalises them, and a pointwise convolution sums them up.
    """
    answers = torch.cat([operator[:-1](x) for operator in operators], dim=1)
    kind = operators[0][-1].get_buffer("running_mean").dtype
    together = nn.BatchNorm3d(answers.shape[1], affine=False, device=x.device, dtype=kind)
    channels = answers.shape[1] // len(operators)
    parts = [slice(i * channels, (i + 1) * channels) for i in range(len(operators))]
    for operator, part in zip(operators, parts, strict=True):
        for name, value in operator[-1].named_buffers():
            _piece(together, name, part).copy_(value)
    normalised = together(answers)
    for operator, part in zip(operators, parts, strict=True):
        for name, value in operator[-1].named_buffers():
            value.copy_(_piece(together, name, part))
    identity = torch.eye(channels, device=x.device, dtype=weights[0].dtype)
    kernel = (torch.stack(list(weights))[None, :, None] * identity[:, None]).flatten(1)
    return volumes(F.conv2d(images(normalised), kernel[..., None, None]), len(x))


def _piece(norm: nn.Module, buffer: str, part: slice) -> Tensor:
    """Return a part of a buffer; the count of batches, which has none, whole."""
    value = norm.get_buffer(buffer)
    return value[part] if value.ndim else value


def hard_sample(logits: Tensor, temperature: float = 1.0, *, gradients: bool = True) -> Tensor:
    """Draw one option a row by the Gumbel rule; one-hot forward, soft backward.

    Parameters
    ----------
    logits : (..., options), unnormalised log-probabilities.
    temperature : of the softmax that carries the gradient.
    gradients : False gives a plain one-hot draw (for weight steps).

    Returns
    -------
    (..., options), exactly one-hot in value.

    References
    ----------
    Jang, Gu, Poole, "Categorical Reparameterization with Gumbel-Softmax"; used for search by Dong,
    Yang, "Searching for a Robust Neural Architecture in Four GPU Hours" (GDAS).
    """
    noise = -torch.empty_like(logits).exponential_().log()
    soft = ((logits + noise) / temperature).softmax(-1)
    hard = torch.zeros_like(soft).scatter_(-1, soft.argmax(-1, keepdim=True), 1.0)
    if not gradients:
        return hard
    # hard + soft - soft.detach() is one-hot only up to rounding.  This is exact, so that what was
    # not drawn is not computed.
    return hard * (1 + (soft - soft.detach()))
