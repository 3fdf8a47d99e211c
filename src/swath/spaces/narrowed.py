"""A space of which every gene has only some of its choices left: what shrinking makes of a space.

Unlike the other spaces within a space (:mod:`swath.spaces.restricted`) it has genes of its own, so
that drawing, neighbours and sizes never look at what is gone.  Its architectures are those of the
whole, and so are networks, graphs and encodings.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from swath.core.architecture import Architecture, Gene, Value
from swath.core.errors import InvalidArchitecture, NothingToSample, nearest
from swath.spaces._within import Within
from swath.spaces.base import SearchSpace

__all__ = ["Narrowed"]

_COUNTED = 10_000  # combinations of genes that are tried one by one to be counted


class Narrowed(Within):
    """The architectures of a space whose genes have only the remaining choices.

    Parameters
    ----------
    space : the whole, or what was narrowed before: then the whole is that one's whole.
    remaining : what each gene can still be, in any order (the whole's is kept); a gene that is not
        mentioned keeps the choices that it has.
    attempts : draws that may break a rule between genes before :meth:`sample` gives up.

    Raises
    ------
    InvalidArchitecture : there is no such gene, or the gene has no such choice.
    NothingToSample : a gene has no choice left.
    """

    def __init__(
        self,
        space: SearchSpace,
        remaining: Mapping[str, Sequence[Value]],
        attempts: int = 10_000,
    ) -> None:
        super().__init__(space.space if isinstance(space, Narrowed) else space)
        names = [gene.name for gene in space.genes]
        for name in remaining:
            if name not in names:
                raise InvalidArchitecture(
                    f"'{name}' is no gene of space '{space.name}'{nearest(name, names)}"
                )
        self.genes = tuple(
            _narrowed(gene, remaining.get(gene.name, gene.choices)) for gene in space.genes
        )
        self.attempts = attempts

    def problem(self, values: Mapping[str, Value]) -> str | None:
        """The whole space's own rule; that a choice remains is asked of the genes."""
        return self.space.problem(values)

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Draw uniformly, unless the whole space has its own way to draw, which is then followed.

        Of such a one (``hytas`` draws all depths alike often) an architecture is drawn, and genes
        whose values are gone are drawn anew.

        Raises
        ------
        NothingToSample : so many draws as ``attempts`` broke the whole's rule between genes.
        """
        own = type(self.space).sample is not SearchSpace.sample
        for _ in range(self.attempts):
            wished = self.space.sample(rng).as_dict() if own else {}
            values: dict[str, Value] = {
                g.name: wished[g.name]
                if wished.get(g.name) in g.choices
                else g.choices[int(rng.integers(len(g.choices)))]
                for g in self.genes
            }
            if self.problem(values) is None:
                return self.architecture(values)
        raise NothingToSample(
            f"none of {self.attempts} combinations of what remains of space '{self.name}' is "
            f"valid; keep more choices"
        )

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Return a neighbour, uniformly.

        Raises
        ------
        NothingToSample : the architecture has no neighbour among what remains.
        """
        neighbours = list(self.neighbours(architecture))
        if not neighbours:
            raise NothingToSample(
                f"nothing that remains of space '{self.name}' differs from the architecture in "
                "one gene"
            )
        return neighbours[int(rng.integers(len(neighbours)))]

    def enumerate(self) -> Iterator[Architecture]:
        """Yield every architecture, the last gene changing fastest.  For small spaces."""
        names = [gene.name for gene in self.genes]
        for combination in itertools.product(*(gene.choices for gene in self.genes)):
            values = dict(zip(names, combination, strict=True))
            if self.problem(values) is None:
                yield self.architecture(values)

    def size(self) -> int:
        """Return the number of architectures.

        Exact where the whole has no rule between genes, or there are at most 10,000 combinations of
        choices.  Otherwise an upper bound: these combinations, or the whole's size if less.
        """
        combinations = math.prod(len(gene.choices) for gene in self.genes)
        if type(self.space).problem is SearchSpace.problem:
            return combinations
        if combinations <= _COUNTED:
            return sum(1 for _ in self.enumerate())
        return min(combinations, self.space.size())


def _narrowed(gene: Gene, remaining: Sequence[Value]) -> Gene:
    if not remaining:
        raise NothingToSample(f"gene '{gene.name}' has no choice left; keep at least one")
    kept = {gene.index(value) for value in remaining}
    return Gene(gene.name, tuple(c for place, c in enumerate(gene.choices) if place in kept))
