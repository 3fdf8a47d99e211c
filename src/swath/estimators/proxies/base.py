"""What a proxy is: a pure function of what passes over an untrained network gather.

Every proxy tells what it needs; :mod:`swath.estimators.proxies.scoring` gathers all that several
of them need in as few passes as there can be, and hands it to each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from torch import Tensor

from swath.core.errors import RecipeError
from swath.core.evaluation import Direction

if TYPE_CHECKING:
    from swath.estimators.proxies.evidence import Evidence, Layer

__all__ = [
    "LOSS_NEEDS",
    "NEEDS",
    "Need",
    "PerLayer",
    "Proxy",
    "ProxyScore",
    "Rule",
    "Variant",
    "Whole",
    "add",
]

Need = Literal[
    "gradients",
    "curvature",
    "answers",
    "slopes",
    "samples",
    "logit samples",
    "jacobian",
    "codes",
    "flow",
    "perturbation",
    "noise",
    "shape",
    "labels",
]

Variant = Literal["paper", "authors", "seg101"]
"""As the papers define a proxy; as the code of HyTAS computes it; as that of SEG101 does."""

NEEDS: Mapping[str, str] = {
    "gradients": "gradient of the loss of a batch in every weight",
    "curvature": "the Hessian of that loss times that gradient: a second differentiation",
    "answers": "outputs of every layer",
    "slopes": "outputs of every layer, and the loss's gradient in them",
    "samples": "every sample's share in the gradient of the loss in every weight",
    "logit samples": "the same of the sum of all logits (of dense answers: of the positive)",
    "jacobian": "gradient of the sum of all logits (of dense answers: the positive) in the input",
    "codes": "which units of every nonlinearity are active",
    "flow": "gradient of the sum of all logits of an input of ones in every weight: no data",
    "perturbation": "outputs and gradients once more, of disturbed weights and inputs",
    "noise": "features of random inputs under random weights",
    "shape": "the network's outline, from one sample",
    "labels": "the class of every sample",
}


LOSS_NEEDS: frozenset[Need] = frozenset(
    {"gradients", "curvature", "slopes", "samples", "perturbation"}
)
"""Needs for which a loss is differentiated, and so the samples' labels are there."""


@dataclass(frozen=True)
class ProxyScore:
    """What a proxy says of a network.

    Parameters
    ----------
    total : the score; NaN where there is none, as of a network that is dead.  Never infinite.
    per_layer : the score of each layer, by the layer's name; empty where there is none.
    direction : whether a large or a small total promises a good network.
    seconds : own time and that of the passes it needed; several proxies share a pass, and it counts
        for each in full.
    parts : of proxies that add layers up: the sums over "embedding", "attention", "mlp", "head"
        (and "other") layers.
    """

    total: float
    per_layer: Mapping[str, float]
    direction: Direction
    seconds: float
    parts: Mapping[str, float] = field(default_factory=dict)


def add(values: Sequence[Tensor]) -> float:
    """Return the sum of what is finite; NaN where nothing is."""
    finite = [number for value in values if math.isfinite(number := float(value))]
    return math.fsum(finite) if finite or not values else math.nan


@dataclass(frozen=True)
class PerLayer:
    """A rule that looks at one layer at a time, and then combines what it found.

    Parameters
    ----------
    of_layer : returns a number for a layer, or another tensor that ``combine`` understands.
    combine : returns the total; it also makes the score of a layer, from that layer alone.
    """

    of_layer: Callable[[Layer], Tensor]
    combine: Callable[[Sequence[Tensor]], float] = add


@dataclass(frozen=True)
class Whole:
    """A rule that looks at everything at once; returns the total and what each layer adds."""

    of_network: Callable[[Evidence], tuple[float, Mapping[str, float]]]


Rule = PerLayer | Whole


@dataclass(frozen=True)
class Proxy:
    """A zero-cost proxy.

    Parameters
    ----------
    name : as in the literature.
    rule : how it is computed.
    needs : what must be gathered; explained in :data:`NEEDS`.
    direction : whether a large or a small score promises a good network.
    source : paper, and what is to be known beyond it.
    authors : how the HyTAS authors' code computes it, where that is known to differ.
    seg101 : how the SEG101 authors' code computes it, of a batch in chunks; None where it does not.
    """

    name: str
    rule: Rule
    needs: frozenset[Need]
    source: str
    direction: Direction = "maximize"
    authors: Rule | None = None
    seg101: Rule | None = None

    def rule_of(self, variant: Variant) -> Rule:
        """Return how a variant computes it.

        Raises
        ------
        RecipeError : the code of SEG101 has no such proxy, and it looks at more than sizes.
        """
        if variant == "authors":
            return self.authors or self.rule
        if variant == "seg101" and self.needs - {"shape"}:
            if self.seg101 is None:
                raise RecipeError(
                    f"variant 'seg101' has no proxy '{self.name}', since the code of SEG101 has "
                    "none; use variant 'paper'"
                )
            return self.seg101
        return self.rule

    @property
    def labelled(self) -> bool:
        """Whether it looks at the samples' labels."""
        return bool(self.needs & {*LOSS_NEEDS, "labels"})
