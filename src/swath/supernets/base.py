"""What every supernet that runs one architecture at a time offers."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from swath.core.architecture import Architecture, Value
from swath.core.errors import InvalidArchitecture, MismatchError
from swath.supernets.shrinking import merged_runs

__all__ = ["Group", "Remaining", "Supernet"]

Remaining = Mapping[str, Sequence[Value]]
"""The values that each gene can still take."""


@dataclass(frozen=True)
class Group:
    """Genes that follow one another and are decided together.

    Parameters
    ----------
    private : whether every combination of their values has weights of its own.  Else an operator
        has the same weights whatever stands beside it.
    """

    genes: tuple[str, ...]
    private: bool = False

    def combination(self, architecture: Architecture) -> tuple[Value, ...]:
        """Return the values that an architecture has here."""
        return tuple(architecture[gene] for gene in self.genes)

    def combinations(self, remaining: Remaining) -> Iterator[tuple[Value, ...]]:
        """Yield all combinations of the values that remain."""
        return itertools.product(*(remaining[gene] for gene in self.genes))

    def count(self, remaining: Remaining) -> int:
        """Return the number of combinations that remain."""
        return math.prod(len(remaining[gene]) for gene in self.genes)


class Supernet(nn.Module):
    """One set of weights for a whole space, of which a pass uses those of one architecture.

    A subclass gives :meth:`path`, and :meth:`_separate` for expanding.

    Parameters
    ----------
    units : genes in the order of the network, those together that decide the same operators.
    """

    def __init__(self, units: Sequence[tuple[str, ...]]) -> None:
        super().__init__()
        self.groups = tuple(Group(unit) for unit in units)
        self._remaining: dict[str, tuple[Value, ...]] = {}

    def path(self, architecture: Architecture) -> contextlib.AbstractContextManager[nn.Module]:
        """Give the network of an architecture, whose weights are the supernet's own.

        It is there until the context ends; one at a time.

        Raises
        ------
        InvalidArchitecture : one of its operators was dropped when the supernet was expanded.
        """
        raise NotImplementedError

    def forward(self, x: Tensor, architecture: Architecture) -> Tensor:
        """Return what the architecture's network answers with its part of the weights."""
        with self.path(architecture) as network:
            answer: Tensor = network(x)
        return answer

    def extract(self, architecture: Architecture) -> nn.Module:
        """Return the compact network of an architecture with a copy of its weights."""
        raise NotImplementedError

    def expand(self, remaining: Remaining, threshold: int = 50) -> tuple[Group, ...]:
        """Give combinations of operators weights of their own where few enough are left.

        Groups that follow one another are merged as long as no more than ``threshold``
        combinations of them remain; each of these *partial models* then gets a copy of the weights
        that it has now.  No remaining architecture's answer changes by it, and a pass still uses
        one path.  Weights that no remaining architecture uses are dropped.

        Parameters
        ----------
        remaining : values of every gene.

        Returns
        -------
        The groups that were made.

        References
        ----------
        SE-NAS, "expanding"; the threshold is the paper's.  Merged groups are never taken apart
        again, for their weights have gone separate ways.
        """
        runs = merged_runs([group.count(remaining) for group in self.groups], threshold)
        merged = {run.start: run for run in runs}
        made, groups, place = [], [], 0
        while place < len(self.groups):
            run = merged.get(place, range(place, place + 1))
            group = self.groups[place]
            if len(run) > 1:
                group = Group(tuple(g for p in run for g in self.groups[p].genes), private=True)
                made.append(group)
            groups.append(group)
            place = run.stop
        self._separate(made, remaining)
        self.groups = tuple(groups)
        self._remaining = {gene: tuple(values) for gene, values in remaining.items()}
        return tuple(made)

    def _separate(self, made: Sequence[Group], remaining: Remaining) -> None:
        """Copy weights for the combinations of new groups; drop those that are of no use now."""
        raise NotImplementedError

    def require(self, architecture: Architecture) -> None:
        """Refuse an architecture that is no longer there.

        Raises
        ------
        InvalidArchitecture : one of its operators was dropped.
        """
        for gene, value in architecture.genes:
            if value not in self._remaining.get(gene, (value,)):
                raise InvalidArchitecture(
                    f"the supernet no longer has '{value}' at gene '{gene}': it was shrunk"
                )

    def group_of(self, gene: str) -> Group:
        """Return the group that a gene is in."""
        return next(group for group in self.groups if gene in group.genes)

    def tensors(self) -> dict[str, Tensor]:
        """Return every parameter and buffer once, by name: what a checkpoint holds."""
        return {
            name: tensor.detach()
            for name, tensor in itertools.chain(self.named_parameters(), self.named_buffers())
        }

    @torch.no_grad()
    def load_tensors(self, tensors: Mapping[str, Tensor]) -> None:
        """Take over the values of :meth:`tensors`.

        Raises
        ------
        MismatchError : they are of a supernet of another space, or shrunk and expanded otherwise.
        """
        own = self.tensors()
        strange = sorted(own.keys() ^ tensors.keys())
        if strange:
            raise MismatchError(
                f"the weights are of another supernet: '{strange[0]}' is in only one of the two"
            )
        for name, tensor in own.items():
            tensor.copy_(tensors[name])
