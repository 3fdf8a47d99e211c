"""Which architectures one update of a supernet trains."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np

from swath.core.architecture import Architecture
from swath.spaces.base import SearchSpace

__all__ = ["Ends", "PathSampling", "Sizes", "ends", "fair_paths", "sandwich_paths", "update_paths"]

PathSampling = Literal["uniform", "fair", "sandwich"]

Sizes = Callable[[Architecture], float]
"""How large the network of an architecture is, such as its number of parameters."""

Ends = tuple[Architecture, Architecture]
"""The largest and the smallest network of a space."""

_DRAWS = 20  # of permutations, of which the one with the most valid networks is taken


def update_paths(
    space: SearchSpace, sampling: PathSampling, rng: np.random.Generator, ends: Callable[[], Ends]
) -> list[Architecture]:
    """Return the architectures whose mean gradient is one update.

    Parameters
    ----------
    space : what remains of it.
    sampling : "uniform": one, drawn from the space (SPOS).  "fair": see :func:`fair_paths`.
        "sandwich": see :func:`sandwich_paths`.
    ends : of the space, see :func:`ends`; the sandwich asks for them at each update.

    References
    ----------
    Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling" (SPOS).
    """
    if sampling == "fair":
        return fair_paths(space, rng)
    if sampling == "sandwich":
        return sandwich_paths(space, rng, ends())
    return [space.sample(rng)]


def fair_paths(space: SearchSpace, rng: np.random.Generator) -> list[Architecture]:
    """Return as many architectures as the widest gene has choices; each choice is in one of them.

    A gene with fewer choices goes through them again.  Where a rule between genes makes some of
    the networks impossible they are left out, of the fewest in twenty draws; so fairness is strict
    in spaces whose genes combine freely.

    References
    ----------
    Chu, Zhang, Xu, "FairNAS: Rethinking Evaluation Fairness of Weight Sharing Neural Architecture
    Search": strict fairness.
    """
    widest = max(len(gene.choices) for gene in space.genes)
    best: list[Architecture] = []
    for _ in range(_DRAWS):
        orders = [_repeated(len(gene.choices), widest, rng) for gene in space.genes]
        valid = []
        for places in zip(*orders, strict=True):
            values = {g.name: g.choices[p] for g, p in zip(space.genes, places, strict=True)}
            if space.problem(values) is None:
                valid.append(space.architecture(values))
        best = max(best, valid, key=len)
        if len(best) == widest:
            break
    return best or [space.sample(rng)]


def _repeated(count: int, length: int, rng: np.random.Generator) -> list[int]:
    """Return ``length`` of 0 ... count - 1 in random order, each equally often up to one."""
    rounds = -(-length // count)
    drawn: list[int] = np.concatenate([rng.permutation(count) for _ in range(rounds)]).tolist()
    return drawn[:length]


def sandwich_paths(
    space: SearchSpace, rng: np.random.Generator, ends: Ends, between: int = 2
) -> list[Architecture]:
    """Return the largest and the smallest network, and some drawn at random.

    References
    ----------
    Yu, Huang, "Universally Slimmable Networks and Improved Training Techniques": the sandwich
    rule (without their distillation).
    """
    return [*ends, *(space.sample(rng) for _ in range(between))]


def ends(space: SearchSpace, size: Sizes) -> Ends:
    """Return the largest and the smallest network of a space.

    The largest is found gene by gene: from any network, the choice that makes it largest, and so
    on until no gene makes it larger; the smallest likewise.
    """
    start = space.sample(np.random.default_rng(0))
    return _climb(space, start, size), _climb(space, start, lambda one: -size(one))


def _climb(space: SearchSpace, start: Architecture, size: Sizes) -> Architecture:
    """Return the architecture that no change of one gene makes larger."""
    here, largest = start, size(start)
    climbing = True
    while climbing:
        climbing = False
        for gene in space.genes:
            for choice in gene.choices:
                values = {**here.as_dict(), gene.name: choice}
                if space.problem(values) is None:
                    other = space.architecture(values)
                    if size(other) > largest:
                        here, largest, climbing = other, size(other), True
    return here
