"""Proxies of the gradient of the sum of all logits in the input, sample by sample."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from swath.estimators.proxies.base import Whole
from swath.estimators.proxies.evidence import Evidence
from swath.estimators.proxies.numerics import correlation, eigenvalues
from swath.estimators.proxies.registration import register

__all__ = ["epe", "jacob_cov"]

OFFSET = 1e-5
"""Keeps logarithms and reciprocals of zero finite; the authors' value, of both proxies."""

MANY_CLASSES = 100
"""From how many classes on EPE compares classes instead of adding them up."""


def jacob_cov(evidence: Evidence) -> tuple[float, Mapping[str, float]]:
    """Return -sum(log(v + k) + 1 / (v + k)) over the eigenvalues v of the correlation matrix.

    Near to zero where the samples' gradients are uncorrelated, so the larger the better.  The
    formula in the HyTAS paper has lost the logarithm.
    """
    values = eigenvalues(correlation(evidence.jacobian)).clamp(min=0) + OFFSET
    return -float((values.log() + 1 / values).sum()), {}


def epe(evidence: Evidence) -> tuple[float, Mapping[str, float]]:
    """Return EPE-NAS: how uncorrelated the gradients are within each class.

    A class's value is the sum of log(|c| + k) over the correlations c of its samples, a class of
    one sample having next to none.  The score is the sum of the absolute values, or with more than
    100 classes the mean difference of two classes' values.
    """
    assert evidence.targets is not None
    classes = sample_classes(evidence.targets)
    present = sorted({int(one) for one in classes if one >= 0})
    values = [_class_value(evidence.jacobian[classes == one]) for one in present]
    if len(present) <= MANY_CLASSES:
        return sum(abs(float(value)) for value in values), {}
    means = torch.stack(
        [value / int((classes == one).sum()) for one, value in zip(present, values, strict=True)]
    )
    return float((means[:, None] - means[None]).abs().sum() / len(present)), {}


def _class_value(rows: Tensor) -> Tensor:
    return (correlation(rows).abs() + OFFSET).log().sum()


def sample_classes(targets: Tensor) -> Tensor:
    """Return a class for each sample: of dense labels the most frequent, -1 where there is none."""
    if targets.dim() == 1:
        return targets
    counts = [torch.bincount(one[one >= 0].flatten()) for one in targets]
    return torch.tensor([int(count.argmax()) if len(count) else -1 for count in counts])


register(
    "jacob_cov",
    Whole(jacob_cov),
    "jacobian",
    source='Mellor et al., "Neural Architecture Search without Training", first version',
    seg101=Whole(jacob_cov),
)
register(
    "epe",
    Whole(epe),
    "jacobian",
    "labels",
    source='Lopes et al., "EPE-NAS: Efficient Performance Estimation Without Training"',
)
