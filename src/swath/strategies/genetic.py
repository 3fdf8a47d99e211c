"""The genetic search of one-shot supernets: crossover and mutation of the best of all trials.

Source: Guo et al., "Single Path One-Shot Neural Architecture Search with Uniform Sampling"
(ECCV 2020), section 3.4 and Algorithm 1.  One difference: what cannot be found untried is drawn at
random.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError
from swath.core.history import History, Proposal
from swath.core.seeds import numpy_generator
from swath.spaces.base import SearchSpace
from swath.strategies import registry
from swath.strategies._memory import Memory, require_positive

__all__ = ["Genetic"]

_ATTEMPTS = 100  # children that are invalid or were tried, before one is drawn at random


@registry.register("genetic")
@dataclass(frozen=True)
class Genetic:
    """Crosses and mutates the best trials, a generation at a time; begins with random ones.

    Parameters
    ----------
    population : trials of a generation.
    parents : the best of all trials so far, from which the next generation is made.
    crossover : trials of a generation that have each gene from one of two parents; the others are
        a parent with some genes drawn anew.
    rate : with which probability each gene of those is.
    """

    population: int = 50
    parents: int = 10
    crossover: int = 25
    rate: float = 0.1
    _memory: Memory = field(default_factory=Memory, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        require_positive("genetic", self, "population", "parents")
        if type(self.crossover) is not int or not 0 <= self.crossover <= self.population:
            raise RecipeError(
                f"strategy genetic: crossover must be a whole number from 0 to population "
                f"({self.population}), not {self.crossover!r}"
            )
        if not isinstance(self.rate, int | float) or not 0 < self.rate <= 1:
            raise RecipeError(f"strategy genetic: rate must be in (0, 1], not {self.rate!r}")

    def propose(self, space: SearchSpace, history: History, seed: int) -> list[Proposal]:
        """Return the first population, then a generation at a time."""
        parents = [trial.architecture for trial in history.ranked()[: self.parents]]
        if len(history) < self.population or not parents:
            missing = max(1, self.population - len(history))
            drawn = self._memory.draw_trials(space, history, seed, "genetic", missing)
            return [Proposal(architecture) for architecture in drawn]
        rng = numpy_generator(seed, "genetic", len(history))
        taken = self._memory.taken(space, history)
        makers: list[Callable[[], Architecture | None]] = [
            lambda: _crossed(space, parents, rng)
        ] * self.crossover
        makers += [lambda: _mutated(space, parents, rng, self.rate)] * (
            self.population - self.crossover
        )
        proposals: list[Proposal] = []
        for make in makers:
            child = self._untried(space, make, rng, taken)
            if child is None:
                break
            taken.add(space.canonical(child))
            proposals.append(Proposal(child))
        return proposals

    def _untried(
        self,
        space: SearchSpace,
        make: Callable[[], Architecture | None],
        rng: np.random.Generator,
        taken: set[Architecture],
    ) -> Architecture | None:
        for _ in range(_ATTEMPTS):
            child = make()
            if child is not None and space.canonical(child) not in taken:
                return child
        return self._memory.draw(space, rng, taken)


def _crossed(
    space: SearchSpace, parents: list[Architecture], rng: np.random.Generator
) -> Architecture | None:
    """Return a child with each gene of one of two parents; None where that is invalid."""
    pair = [parents[int(rng.integers(len(parents)))] for _ in range(2)]
    values = {gene.name: pair[int(rng.integers(2))][gene.name] for gene in space.genes}
    return space.architecture(values) if space.problem(values) is None else None


def _mutated(
    space: SearchSpace, parents: list[Architecture], rng: np.random.Generator, rate: float
) -> Architecture | None:
    """Return a parent with some genes drawn anew; None where that is invalid."""
    values = parents[int(rng.integers(len(parents)))].as_dict()
    for gene in space.genes:
        if rng.random() < rate:
            values[gene.name] = gene.choices[int(rng.integers(len(gene.choices)))]
    return space.architecture(values) if space.problem(values) is None else None
