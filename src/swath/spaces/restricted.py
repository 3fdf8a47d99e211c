"""Spaces within a space: the architectures that meet a condition, or those on a list.

Both have the genes and the name of the space they lie in, so their architectures are architectures
of that space; networks, graphs and encodings are its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from swath.core.architecture import Architecture, Value
from swath.core.errors import InvalidArchitecture, NothingToSample
from swath.spaces._within import Within
from swath.spaces.base import SearchSpace
from swath.spaces.conditions import Condition, drawn

__all__ = ["Listed", "Restricted"]

# Differences between genes that are held at once while neighbours are found: 64 MB.
_BLOCK = 64_000_000
_PLAIN = 100  # draws that a condition may refuse before draws are changed until they meet it,
_CHANGED = 20  # and of these, before it is given up


class Restricted(Within):
    """The architectures of a space that a condition allows.

    Parameters
    ----------
    space : the whole.
    allows : tells whether an architecture meets the condition; a function of the architecture
        alone.  It may be costly: it is asked once for each architecture.  A
        :class:`~swath.spaces.conditions.Condition` lets architectures be found where few meet it.
    why : the condition in words, such as "at most 100,000 parameters"; errors name it.
    attempts : draws that may be refused before :meth:`sample` gives up.
    """

    def __init__(
        self,
        space: SearchSpace,
        allows: Callable[[Architecture], bool],
        why: str,
        attempts: int = 10_000,
    ) -> None:
        super().__init__(space)
        self.allows = allows
        self.why = why
        self.attempts = attempts
        self._known: dict[Architecture, bool] = {}

    def _allowed(self, architecture: Architecture) -> bool:
        if architecture not in self._known:
            self._known[architecture] = bool(self.allows(architecture))
        return self._known[architecture]

    def problem(self, values: Mapping[str, Value]) -> str | None:
        """The whole space's own rule, then the condition."""
        problem = self.space.problem(values)
        if problem is None and not self._allowed(self.space.architecture(values)):
            problem = f"the architecture is outside the restriction to {self.why}"
        return problem

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw from the whole space until the condition is met: uniform if that draw is.

        Where it is a :class:`~swath.spaces.conditions.Condition` that a hundred draws in a row do
        not meet, the next one is changed until it does; such draws are not uniform.

        Raises
        ------
        NothingToSample : so many draws as ``attempts`` were refused, or could not be changed so.
        """
        attempts, missed = self.attempts, ""
        if isinstance(self.allows, Condition):
            attempts = min(self.attempts, _PLAIN)
            found = drawn(self.space, self.allows, rng, plain=attempts, changed=_CHANGED)
            if found is not None:
                return found
            least = 100 * self.allows.least()
            missed = f" (the nearest that was found is {least:.3g} % beyond it)"
        else:
            for _ in range(attempts):
                architecture = self.space.sample(rng)
                if self._allowed(architecture):
                    return architecture
        raise NothingToSample(
            f"none of {attempts} architectures drawn from space '{self.name}' meets the "
            f"restriction to {self.why}{missed}; loosen it"
        )

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return an allowed neighbour, uniformly; where there is none, a new sample.

        Neighbours are tried in random order, so that few need be asked about.
        """
        neighbours = list(self.space.neighbours(architecture))
        for place in rng.permutation(len(neighbours)):
            if self._allowed(neighbours[place]):
                return neighbours[place]
        return self.sample(rng)

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield the whole space's neighbours that are allowed."""
        return filter(self._allowed, self.space.neighbours(architecture))

    def size(self) -> int:
        """Return the whole space's size: an upper bound, for the allowed ones are not counted."""
        return self.space.size()


class Listed(Within):
    """Architectures given one by one, such as those of a table that holds a part of its space.

    Few of them differ in a single gene, so neighbourhood means something else here: neighbours of
    an architecture are the ``neighbourhood`` listed ones with the fewest other genes (of equally
    near ones those that come first on the list), and those that count it among theirs.

    Parameters
    ----------
    space : the whole.
    architectures : all different, in an order that stays.
    neighbourhood : nearest architectures that are neighbours.

    Raises
    ------
    NothingToSample : the list is empty.
    InvalidArchitecture : an architecture is not of the space, or is listed twice.
    """

    def __init__(
        self, space: SearchSpace, architectures: Sequence[Architecture], neighbourhood: int = 20
    ) -> None:
        super().__init__(space)
        self.architectures = tuple(architectures)
        self.neighbourhood = neighbourhood
        self._places = self._index()
        self._near: list[list[int]] | None = None

    def _index(self) -> dict[Architecture, int]:
        if not self.architectures:
            raise NothingToSample(f"the list of architectures of space '{self.name}' is empty")
        places: dict[Architecture, int] = {}
        for place, architecture in enumerate(self.architectures):
            self.space.validate(architecture)
            if architecture in places:
                raise InvalidArchitecture(
                    f"architecture {architecture.to_json()} is listed twice, at places "
                    f"{places[architecture]} and {place}; leave one out"
                )
            places[architecture] = place
        return places

    def problem(self, values: Mapping[str, Value]) -> str | None:
        """The whole space's own rule, then whether the architecture is listed."""
        problem = self.space.problem(values)
        if problem is None and self.space.architecture(values) not in self._places:
            problem = f"the architecture is not among the {self.size()} listed ones"
        return problem

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw uniformly from the list."""
        return self.architectures[int(rng.integers(len(self.architectures)))]

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a neighbour, uniformly.

        Raises
        ------
        NothingToSample : nothing else is listed.
        """
        neighbours = list(self.neighbours(architecture))
        if not neighbours:
            raise NothingToSample(
                f"only one architecture of space '{self.name}' is listed: it has no neighbour"
            )
        return neighbours[int(rng.integers(len(neighbours)))]

    def neighbours(self, architecture: Architecture) -> Iterator[Architecture]:
        """Yield the neighbours (see the class) in the order of the list."""
        self.validate(architecture)
        if self._near is None:
            self._near = _symmetric(_nearest(self._codes(), self.neighbourhood))
        for place in self._near[self._places[architecture]]:
            yield self.architectures[place]

    def _codes(self) -> np.ndarray:
        """The genes' values as numbers, (architectures, genes)."""
        return np.array(
            [[gene.index(a[gene.name]) for gene in self.genes] for a in self.architectures]
        )

    def size(self) -> int:
        """Return the length of the list."""
        return len(self.architectures)


def _nearest(codes: np.ndarray, count: int) -> list[np.ndarray]:
    """For each row the ``count`` others with the fewest other entries; of equals the first ones."""
    rows = len(codes)
    count = min(count, rows - 1)
    if count <= 0:
        return [np.empty(0, int)] * rows
    nearest: list[np.ndarray] = []
    step = max(1, _BLOCK // codes.size)
    for start in range(0, rows, step):
        block = codes[start : start + step]
        distances = (block[:, None, :] != codes).sum(-1)
        # One number orders by distance and then by place; a row comes before its own neighbours.
        order = distances * rows + np.arange(rows)
        order[np.arange(len(block)), np.arange(start, start + len(block))] = -1
        nearest.extend(np.argpartition(order, count, axis=1)[:, : count + 1])
    return [row[row != place] for place, row in enumerate(nearest)]


def _symmetric(nearest: Sequence[np.ndarray]) -> list[list[int]]:
    """Join each row's neighbours with the rows that have it among theirs, in order of place."""
    joined: list[set[int]] = [set(map(int, row)) for row in nearest]
    for place, row in enumerate(nearest):
        for other in row:
            joined[int(other)].add(place)
    return [sorted(row) for row in joined]
