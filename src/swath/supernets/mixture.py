"""Mixtures: every candidate at once, weighted by architecture parameters.

Made from the same declaration as a child: each :class:`~swath.spaces.choices.Choice` becomes a
:class:`Mixture` of all its candidates.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from swath.spaces.choices import Choice, Zero

__all__ = ["Mixture", "hard_sample"]


class Mixture(nn.Module):
    """The sum of all candidates of a choice, each times its weight.

    Candidates of weight exactly zero are not computed, so a sampled (one-hot) weighting costs one
    operator.

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
        total: Tensor | None = None
        for operator, weight, on in zip(self.operators, weights, active, strict=True):
            if on and not isinstance(operator, Zero):
                term = weight * operator(x)
                total = term if total is None else total + term
        return torch.zeros_like(x) if total is None else total


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
