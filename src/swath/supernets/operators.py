"""Operators: what a shrinking space loses one by one, and children among which each is found."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from swath.core.architecture import Architecture, Value
from swath.core.errors import NothingToSample
from swath.spaces.base import SearchSpace
from swath.spaces.conditions import Condition, drawn, mended
from swath.spaces.narrowed import Narrowed

__all__ = ["Operator", "covering_sample", "is_possible", "operators", "reachable", "without"]

_ATTEMPTS = 10_000  # draws in a row that may be refused
_PROBES = 1_000  # of them that are looked at for one that is allowed
_PLAIN = 50  # draws refused by a condition before the next one is changed until it meets it
_CHANGED = 3  # draws that are changed so, before there is taken to be none
_REPEATED = 500  # changed draws in a row that were known already
_FEW = 10  # times as many architectures as are wanted: so few are listed instead of drawn


@dataclass(frozen=True)
class Operator:
    """One choice of one gene; the same choice of another gene is another operator."""

    gene: str
    value: Value


def operators(space: SearchSpace) -> list[Operator]:
    """Return what could be dropped: the choices of all genes that have more than one."""
    return [
        Operator(gene.name, choice)
        for gene in space.genes
        if len(gene.choices) > 1
        for choice in gene.choices
    ]


def without(space: SearchSpace, gone: Iterable[Operator]) -> Narrowed:
    """Return what remains of a space, narrowed before or not, without these operators.

    Raises
    ------
    NothingToSample : a gene would have no choice left.
    """
    gone = set(gone)
    return Narrowed(
        space,
        {g.name: [c for c in g.choices if Operator(g.name, c) not in gone] for g in space.genes},
    )


def reachable(
    space: Narrowed,
    rng: np.random.Generator,
    allows: Callable[[Architecture], bool] | None = None,
) -> Narrowed:
    """Return a space without the operators that none of its architectures has.

    Rules between genes make such operators: of layers whose widths may differ by one step, a last
    layer of width 2 is out of reach once the first has width 0 alone.

    Parameters
    ----------
    allows : a constraint; what breaks it does not count.

    Raises
    ------
    NothingToSample : nothing is left of a gene.
    """
    found: set[Operator] = set()
    for operator in operators(space):
        if operator not in found:
            part = Narrowed(space, {operator.gene: [operator.value]})
            architecture = _example(part, rng, allows)
            if architecture is not None:
                found.update(Operator(gene, value) for gene, value in architecture.genes)
    return without(space, set(operators(space)) - found)


def is_possible(
    space: Narrowed,
    rng: np.random.Generator,
    allows: Callable[[Architecture], bool] | None = None,
) -> bool:
    """Whether a space has an architecture, one that is allowed, as far as it is found."""
    return _example(space, rng, allows) is not None


def _example(
    space: Narrowed, rng: np.random.Generator, allows: Callable[[Architecture], bool] | None
) -> Architecture | None:
    """Return an allowed architecture, or None where none is found."""
    few = space.size() <= _PROBES
    try:
        if not few and isinstance(allows, Condition):
            return drawn(space, allows, rng, plain=_PLAIN, changed=_CHANGED)
        probes = _shuffled(space, rng) if few else itertools.islice(_drawn(space, rng), _PROBES)
        return next((one for one in probes if allows is None or allows(one)), None)
    except NothingToSample:
        return None


def covering_sample(
    space: SearchSpace,
    per_operator: int,
    rng: np.random.Generator,
    allows: Callable[[Architecture], bool] | None = None,
) -> list[Architecture]:
    """Return different children of which each operator is in at least ``per_operator``.

    Fewer only where all architectures with that operator are among them, or none further is found
    that meets a :class:`~swath.spaces.conditions.Condition`; so a small space comes out whole.  As
    in ABS, a child counts for all its operators, and what breaks the constraint is
    dumped.  For each operator in turn, the children that are still missing are drawn from the space
    with that operator alone in its gene.  Where a condition refuses fifty in a row, the next are
    changed until they meet it.

    Parameters
    ----------
    allows : a constraint, such as on operations; asked once for each architecture.

    Raises
    ------
    NothingToSample : the constraint leaves too little of an operator's architectures to be found.
    ValueError : ``per_operator`` is less than 1.
    """
    if per_operator < 1:
        raise ValueError(f"each operator needs at least one child, not {per_operator}")
    counts: Counter[Operator] = Counter()
    seen: set[Architecture] = set()
    children: list[Architecture] = []
    guided = isinstance(allows, Condition)
    attempts = _REPEATED if guided else _ATTEMPTS
    for operator in operators(space):
        part = Narrowed(space, {operator.gene: [operator.value]})
        few = part.size() <= _FEW * per_operator
        refused = 0
        for child in _shuffled(part, rng) if few else _tries(part, rng, allows):
            if counts[operator] >= per_operator or (refused >= attempts and not few):
                break
            new = child not in seen
            seen.add(child)
            if not new or (allows is not None and not allows(child)):
                refused += 1
                continue
            refused = 0
            children.append(child)
            counts.update(Operator(gene, value) for gene, value in child.genes)
        if not counts[operator] or (not few and not guided and counts[operator] < per_operator):
            raise NothingToSample(
                f"only {counts[operator]} of {per_operator} children with '{operator.value}' at "
                f"gene '{operator.gene}' were found that are allowed; loosen the constraint or "
                "sample fewer"
            )
    return children


def _shuffled(part: Narrowed, rng: np.random.Generator) -> Iterator[Architecture]:
    everything = list(part.enumerate())
    return (everything[place] for place in rng.permutation(len(everything)))


def _drawn(part: Narrowed, rng: np.random.Generator) -> Iterator[Architecture]:
    while True:
        yield part.sample(rng)


def _tries(
    part: Narrowed, rng: np.random.Generator, allows: Callable[[Architecture], bool] | None
) -> Iterator[Architecture]:
    """Draw; once a condition has refused fifty in a row, change what is drawn until it is met."""
    condition = allows if isinstance(allows, Condition) else None
    refused = 0
    while True:
        child = part.sample(rng)
        if condition is not None and refused < _PLAIN:
            refused = 0 if condition(child) else refused + 1
        elif condition is not None:
            child = mended(part, child, condition, rng) or child
        yield child
