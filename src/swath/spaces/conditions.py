"""Conditions that tell by how much they are broken; architectures changed until one is met."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from swath.core.architecture import Architecture
from swath.spaces.base import SearchSpace

__all__ = ["Condition", "drawn", "mended"]


class Condition:
    """Whether an architecture meets a condition, and how far it is from that.

    Parameters
    ----------
    excess : by how much an architecture breaks it, 0 where it is met; a function of the
        architecture alone.  It may be costly: it is asked once for each architecture.
    """

    def __init__(self, excess: Callable[[Architecture], float]) -> None:
        self._excess = excess
        self._known: dict[Architecture, float] = {}

    def excess(self, architecture: Architecture) -> float:
        """Return by how much the architecture breaks the condition."""
        if architecture not in self._known:
            self._known[architecture] = float(self._excess(architecture))
        return self._known[architecture]

    def least(self) -> float:
        """Return the smallest excess of all architectures that were asked about."""
        return min(self._known.values(), default=0.0)

    def __call__(self, architecture: Architecture) -> bool:
        """Return whether the architecture meets the condition."""
        return self.excess(architecture) <= 0


def mended(
    space: SearchSpace, architecture: Architecture, condition: Condition, rng: np.random.Generator
) -> Architecture | None:
    """Change an architecture gene by gene until it meets a condition; None where that fails.

    Of its neighbours, in random order, the first that breaks the condition less is gone on from.
    With a limit on a sum over genes, such as parameters, this finds an architecture where there is
    one.
    """
    excess = condition.excess(architecture)
    while excess > 0:
        neighbours = list(space.neighbours(architecture))
        for place in rng.permutation(len(neighbours)):
            if condition.excess(neighbours[place]) < excess:
                architecture = neighbours[place]
                excess = condition.excess(architecture)
                break
        else:
            return None
    return architecture


def drawn(
    space: SearchSpace, condition: Condition, rng: np.random.Generator, *, plain: int, changed: int
) -> Architecture | None:
    """Draw an architecture that meets a condition; None where none is found.

    Parameters
    ----------
    plain : draws of the space, of which the first that meets it is taken.
    changed : draws after these that are changed until they meet it (:func:`mended`).
    """
    for _ in range(plain):
        architecture = space.sample(rng)
        if condition(architecture):
            return architecture
    for _ in range(changed):
        found = mended(space, space.sample(rng), condition, rng)
        if found is not None:
            return found
    return None
