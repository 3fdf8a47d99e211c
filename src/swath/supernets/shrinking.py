"""By which rules the space of a supernet is shrunk and expanded; no network is needed here.

Source: Hu et al., "Improving One-Shot NAS with Shrinking-and-Expanding Supernet" (SE-NAS, Pattern
Recognition 2021); where it is silent, Hu et al., "Angle-based Search Space Shrinking for Neural
Architecture Search" (ABS, ECCV 2020) with its authors' code.

Operators (:mod:`swath.supernets.operators`) are scored by how well the children do that contain
them, and the worst are dropped.  What a *child* is worth, P(a), is for the caller to say:
validation accuracy with inherited weights (SE-NAS), or the :func:`angle` of its weights (ABS).  All
scores are mappings from operator to number, the larger the better, so that :func:`dropped` takes
any of them.  A gene with a single choice decides nothing: its operator has no score.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture, Value
from swath.core.errors import NothingToSample
from swath.spaces.base import SearchSpace
from swath.supernets.operators import Operator, covering_sample, operators, without

__all__ = [
    "Normalisation",
    "Operator",
    "Scores",
    "angle",
    "covering_sample",
    "dropped",
    "importance",
    "magnitude",
    "merged_runs",
    "operators",
    "random_score",
    "score",
    "sensitivity",
    "without",
]

Scores = Mapping[Operator, float]
"""A number for each operator that can be dropped; larger is better."""

Normalisation = Literal["ratio", "range"]


def importance(space: SearchSpace, children: Mapping[Architecture, float]) -> dict[Operator, float]:
    """Return the importance SI of each operator: the mean of P over its children (Eq. 5).

    By itself the simplest score ("SI only"), and with :func:`angle` as P that of ABS.

    Parameters
    ----------
    space : of which operators are asked.
    children : P(a) of each child; see :func:`covering_sample`.

    Raises
    ------
    NothingToSample : no child contains some operator, so nothing can be said of it.
    ValueError : a P(a) is not finite.
    """
    named = {(operator.gene, operator.value): operator for operator in operators(space)}
    found: dict[tuple[str, Value], list[float]] = {name: [] for name in named}
    for child, worth in children.items():
        if not math.isfinite(worth):
            raise ValueError(f"P of child {child.key} is {worth}; leave the child out")
        for name in child.genes:
            if name in found:
                found[name].append(worth)
    for gene, value in (name for name, worths in found.items() if not worths):
        raise NothingToSample(
            f"none of {len(children)} children has '{value}' at gene '{gene}'; sample children "
            "that cover every operator"
        )
    return {named[name]: math.fsum(worths) / len(worths) for name, worths in found.items()}


def sensitivity(importances: Scores) -> dict[Operator, float]:
    """Return the sensitivity SC: the variance of SI over the operators of a gene (Eq. 6).

    The same for all operators of a gene, and 0 for one that is alone; divided by n, not n - 1.
    """
    # Of differences from the first, so that equal importances have a variance of exactly 0.
    variances = {
        gene: float(np.var([value - values[0] for value in values]))
        for gene, values in ((g, list(m.values())) for g, m in _by_gene(importances))
    }
    return {operator: variances[operator.gene] for operator in importances}


def score(importances: Scores, normalisation: Normalisation = "ratio") -> dict[Operator, float]:
    """Return S, normalised SI over normalised SC (Eq. 7), of operators that are not alone.

    The publication says "mean normalization", over all operators it seems.

    * "ratio": x / mean.  Keeps the order of both; this is the default.
    * "range": (x - mean) / (max - min), 0 where all are equal.  Normalised SC is then negative for
      genes less sensitive than the mean, and their best operators have the lowest scores.

    SC of different genes differ far more than SI of different operators (on NAS-Bench-201 the
    largest is 13 to 25 times the smallest, of SI 1.2 to 1.5 times).  So S ranks genes by 1 / SC,
    and the most sensitive one is stripped to a single operator first, the good ones with the bad.

    Where normalised SC is exactly zero, S is its limit from above: infinite with SI's sign, or 0
    for an SI that is normalised to 0.  So with "ratio" a gene whose operators are all of the same
    importance loses one only where nothing else can be dropped.

    Raises
    ------
    ValueError : SI is nowhere positive, or somewhere negative, so that x / mean has no meaning.
    """
    genes = Counter(operator.gene for operator in importances)
    kept = {operator: value for operator, value in importances.items() if genes[operator.gene] > 1}
    if not kept:
        return {}
    if normalisation == "ratio" and (min(kept.values()) < 0 or max(kept.values()) <= 0):
        raise ValueError(
            f"importances from {min(kept.values()):g} to {max(kept.values()):g} cannot be "
            "normalised by their mean: they must be positive, as accuracies and angles are"
        )
    numerators = _normalised(list(kept.values()), normalisation)
    denominators = _normalised(list(sensitivity(kept).values()), normalisation)
    return dict(zip(kept, map(_quotient, numerators, denominators), strict=True))


def random_score(names: Iterable[Operator], rng: np.random.Generator) -> dict[Operator, float]:
    """Return a random order of operators, the least that a score must beat."""
    return {operator: float(rng.random()) for operator in names}


def magnitude(parameters: Scores) -> dict[Operator, float]:
    """Return the size of architecture parameters: their softmax over each gene's operators.

    As ABS takes it: parameters are logits, and only probabilities of different genes can be
    compared.  Numbers that are no logits, such as mean absolute scales of batch normalisation, are
    scores as they stand.

    Parameters
    ----------
    parameters : the trained logit of every operator that remains.
    """
    probabilities: dict[Operator, float] = {}
    for _, members in _by_gene(parameters):
        powers = np.exp(np.array(list(members.values())) - max(members.values()))
        probabilities |= zip(members, (powers / powers.sum()).tolist(), strict=True)
    return probabilities


def angle(
    initial: Sequence[npt.NDArray[np.floating]], trained: Sequence[npt.NDArray[np.floating]]
) -> float:
    """Return the angle in radians by which a child's weights have turned, 0 to pi (ABS).

    arccos of the cosine of two vectors: all weights of the child one after the other, at the start
    of training and now.

    Parameters
    ----------
    initial, trained : the same arrays of weights, of any shapes, in the same order.

    Raises
    ------
    ValueError : shapes differ, or one of the vectors is zero or has no entry.
    """
    if [a.shape for a in initial] != [a.shape for a in trained]:
        raise ValueError("initial and trained weights differ in number or shape")
    vectors = [
        np.concatenate([np.zeros(0), *(np.asarray(a, np.float64).ravel() for a in arrays)])
        for arrays in (initial, trained)
    ]
    lengths = [float(np.linalg.norm(vector)) for vector in vectors]
    if not all(lengths):
        raise ValueError("weights that are all zero, or none at all, have no direction")
    cosine = float(vectors[0] / lengths[0] @ (vectors[1] / lengths[1]))
    return math.acos(min(1.0, max(-1.0, cosine)))


def dropped(
    scores: Scores, k: int, possible: Callable[[Sequence[Operator]], bool] = lambda gone: True
) -> list[Operator]:
    """Return the ``k`` operators to drop, the worst first; fewer where no more may go.

    ABS's rule: walking up from the worst, an operator is dropped only where a better one of the
    same gene is still to come.  So every gene keeps its best.  Of equals the earlier is the worse.

    Parameters
    ----------
    possible : whether anything remains without some operators; one that must not go with those
        before it is kept.

    Raises
    ------
    ValueError : a score is not a number, or ``k`` is negative.
    """
    if k < 0:
        raise ValueError(f"cannot drop {k} operators")
    for operator, value in scores.items():
        if math.isnan(value):
            raise ValueError(f"{operator} has no score (NaN)")
    ascending = sorted(scores, key=scores.__getitem__)
    best = {operator.gene: operator for operator in ascending}
    gone: list[Operator] = []
    for operator in ascending:
        if len(gone) < k and best[operator.gene] != operator and possible([*gone, operator]):
            gone.append(operator)
    return gone


def merged_runs(counts: Sequence[int], threshold: int = 50) -> list[range]:
    """Return the runs of adjacent layers that are expanded into one layer of partial models each.

    From the first layer on, a run takes the next layer while the product of their numbers of
    operators is at most ``threshold``; the layer that is too much begins the next run.  A run
    counts where it has two layers or more and a choice between partial models at all (a product
    above 1).  Layers with one operator left multiply by 1, so they join any run: they decide
    nothing, but in the expanded run each partial model has its own copy of their weights.

    Parameters
    ----------
    counts : operators left in each layer, shallow to deep.
    threshold : partial models that a run may have; 50 published.

    Raises
    ------
    ValueError : a count or the threshold is below 1.

    >>> merged_runs([3, 2, 4, 1, 1, 5, 7, 2], threshold=6)
    [range(0, 2), range(2, 5)]
    """
    if threshold < 1 or any(count < 1 for count in counts):
        raise ValueError(f"counts {list(counts)} and threshold {threshold} must be at least 1")
    runs: list[range] = []
    start, product = 0, 1
    for place, count in enumerate([*counts, math.inf]):
        if product * count <= threshold:
            product *= int(count)
            continue
        if place - start > 1 and product > 1:
            runs.append(range(start, place))
        # A layer that alone is too much is in no run.
        start, product = (place, int(count)) if count <= threshold else (place + 1, 1)
    return runs


def _by_gene(scores: Scores) -> Iterable[tuple[str, dict[Operator, float]]]:
    genes: dict[str, dict[Operator, float]] = {}
    for operator, value in scores.items():
        genes.setdefault(operator.gene, {})[operator] = value
    return genes.items()


def _normalised(values: Sequence[float], normalisation: Normalisation) -> list[float]:
    mean = sum(values) / len(values)
    if normalisation == "ratio":
        return [value / mean if mean else 0.0 for value in values]
    spread = max(values) - min(values)
    return [(value - mean) / spread if spread else 0.0 for value in values]


def _quotient(numerator: float, denominator: float) -> float:
    if denominator:
        return numerator / denominator
    return math.copysign(math.inf, numerator) if numerator else 0.0
