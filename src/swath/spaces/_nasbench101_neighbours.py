"""Which cells of NAS-Bench-101 are one step apart, in two senses; both are symmetric."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from swath.spaces._nasbench101_cells import OPERATORS, Cell, canonical, prune
from swath.spaces._nasbench101_encoding import slots

__all__ = ["edits", "single_flips"]


def edits(cell: Cell, vertices: int, edges: int) -> list[Cell]:
    """Return the canonical cells that are one edit away from a canonical one, sorted.

    Parameters
    ----------
    vertices, edges : the most that a cell may have.
    """
    output = cell.vertices - 1
    found: set[Cell | None] = set()
    for vertex, operator in itertools.product(range(1, output), range(len(OPERATORS))):
        operators = (*cell.operators[: vertex - 1], operator, *cell.operators[vertex:])
        found.add(canonical(Cell(operators, cell.edges)))
    for edge in cell.edges:
        pruned = prune(cell.operators, set(cell.edges) - {edge})
        if pruned is not None and len(pruned.operators) >= len(cell.operators) - 1:
            found.add(canonical(pruned))
    spare = edges - len(cell.edges)
    sources, targets = range(output), range(1, cell.vertices)
    if spare >= 1:
        for edge in set(itertools.product(sources, targets)) - set(cell.edges):
            found.add(canonical(Cell(cell.operators, (*cell.edges, edge))))
    if spare >= 2 and cell.vertices < vertices:
        found |= {
            canonical(_with_vertex(cell, operator, into, out))
            for operator in range(len(OPERATORS))
            for into, out in _attachments(sources, targets, spare)
        }
    return sorted(one for one in found if one is not None and one != cell)


def _attachments(
    sources: Sequence[int], targets: Sequence[int], edges: int
) -> Iterator[tuple[tuple[int, ...], tuple[int, ...]]]:
    """Ways to attach a new vertex by at most so many edges, so that one edge alone holds it."""
    for count in range(1, edges):
        for several in itertools.combinations(targets, count):
            yield from (((source,), several) for source in sources)
        if count > 1:
            for several in itertools.combinations(sources, count):
                yield from ((several, (target,)) for target in targets)


def _with_vertex(cell: Cell, operator: int, into: Sequence[int], out: Sequence[int]) -> Cell:
    """The cell and one more vertex just before the output; its edges may lead backwards."""
    new, output = cell.vertices - 1, cell.vertices
    edges = [(a, output if b == new else b) for a, b in cell.edges]
    edges += [(a, new) for a in into] + [(new, output if b == new else b) for b in out]
    return Cell((*cell.operators, operator), tuple(edges))


def single_flips(cell: Cell, most_edges: int) -> list[Cell]:
    """Return the canonical cells whose bits differ from those of a canonical one in one place.

    That is an edge more or less between the same vertices, if the cell's canonical form then still
    has its vertices in the same slots.  The number of operators of each kind never changes.
    """
    inner = len(cell.operators)
    places = slots(cell, inner)
    here = {(places[a], places[b]) for a, b in cell.edges}
    found = []
    for source in range(cell.vertices - 1):
        for target in range(1, cell.vertices):
            changed = set(cell.edges) ^ {(source, target)}
            if source == target or len(changed) > most_edges:
                continue
            pruned = prune(cell.operators, changed)
            other = None if pruned is None else canonical(pruned)
            if other is None or len(other.operators) < inner:
                continue
            there = slots(other, inner)
            flipped = here ^ {(there[a], there[b]) for a, b in other.edges}
            if flipped == {(places[source], places[target])}:
                found.append(other)
    return found
