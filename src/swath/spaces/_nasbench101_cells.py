"""Cells of NAS-Bench-101 as values: pruning, one canonical form, all of them, the benchmark's key.

Source: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search" (ICML 2019),
with the authors' code where the paper is silent (the order in which cells were listed, the hash).
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = ["OPERATORS", "Cell", "canonical", "catalogue", "cell_hash", "from_code", "prune"]

OPERATORS = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
"""In the benchmark's order, on which canonical form and hash depend."""

_AT_ONCE = 10_000  # matrices whose orders are held at once
_BACKWARD = 2.0**40  # stands in a sum of bits for an edge that would lead backwards

Edge = tuple[int, int]


class Cell(NamedTuple):
    """A directed acyclic graph from vertex 0, the input, to the last vertex, the output.

    Parameters
    ----------
    operators : place in :data:`OPERATORS` of each vertex between input and output.
    edges : (source, target), sorted.
    """

    operators: tuple[int, ...]
    edges: tuple[Edge, ...]

    @property
    def vertices(self) -> int:
        """Their number, input and output included."""
        return len(self.operators) + 2

    def matrix(self) -> npt.NDArray[np.int64]:
        """Return the adjacency matrix, (vertices, vertices)."""
        matrix = np.zeros((self.vertices, self.vertices), np.int64)
        matrix[tuple(np.transpose(self.edges))] = 1
        return matrix


def prune(operators: Sequence[int], edges: Iterable[Edge]) -> Cell | None:
    """Return what lies on a path from the input to the output; None where there is no path.

    Parameters
    ----------
    operators : of the vertices between input and output.
    edges : in any order; they may lead backwards, but not in a circle.
    """
    edges = list(edges)
    output = len(operators) + 1
    behind = _reached(0, edges)
    before = _reached(output, [(target, source) for source, target in edges])
    live = sorted(behind & before - {0, output})
    if output not in behind:
        return None
    place = {vertex: i for i, vertex in enumerate((0, *live, output))}
    return Cell(
        tuple(operators[vertex - 1] for vertex in live),
        tuple(sorted((place[a], place[b]) for a, b in edges if a in place and b in place)),
    )


def _reached(start: int, edges: list[Edge]) -> set[int]:
    reached, front = {start}, [start]
    while front:
        vertex = front.pop()
        new = {target for source, target in edges if source == vertex} - reached
        reached |= new
        front += new
    return reached


class _Orders(NamedTuple):
    """All orders of the vertices between input and output, and what edges become in them.

    permutations : new place of each vertex, (orders, vertices).
    bits : the bit of each edge in each order, (vertices, vertices, orders).
    """

    permutations: npt.NDArray[np.int64]
    bits: npt.NDArray[np.float64]


@cache
def _orders(vertices: int) -> _Orders:
    inner = itertools.permutations(range(1, vertices - 1))
    permutations = np.array([(0, *order, vertices - 1) for order in inner])
    source, target = permutations[:, :, None], permutations[:, None, :]
    bits = np.where(source < target, 2.0 ** (source + target * (target - 1) // 2), _BACKWARD)
    return _Orders(permutations, bits.transpose(1, 2, 0))


@lru_cache(maxsize=1 << 16)
def canonical(cell: Cell) -> Cell | None:
    """Return the one representative of all cells that are isomorphic; None if it has a circle.

    Of all orders of its vertices in which every edge leads forwards it is that with the smallest
    matrix, read as a number whose bit s + t(t - 1) / 2 is the edge from s to t, and of these the
    one with the smallest operators.  The benchmark lists its cells in this order and keeps the
    first of those that are isomorphic, so these are its own matrices.  Nothing is hashed: cells of
    one canonical form are isomorphic.
    """
    orders = _orders(cell.vertices)
    sources, targets = zip(*cell.edges, strict=True)
    bits = orders.bits[list(sources), list(targets)].sum(axis=0)
    smallest = bits.min()
    if smallest >= _BACKWARD:
        return None
    best: Cell | None = None
    for order in orders.permutations[bits == smallest]:
        operators = [0] * len(cell.operators)
        for vertex, operator in enumerate(cell.operators, start=1):
            operators[order[vertex] - 1] = operator
        if best is None or tuple(operators) < best.operators:
            edges = sorted((int(order[a]), int(order[b])) for a, b in cell.edges)
            best = Cell(tuple(operators), tuple(edges))
    return best


@cache
def catalogue(vertices: int, edges: int) -> npt.NDArray[np.int64]:
    """Return codes (see :func:`from_code`) of all canonical cells, ascending.

    Parameters
    ----------
    vertices, edges : the most that a cell may have.
    """
    codes = [_cells_of(count, edges) for count in range(2, vertices + 1)]
    found = np.concatenate(codes)
    found.setflags(write=False)
    return found


def _cells_of(vertices: int, edges: int) -> npt.NDArray[np.int64]:
    """Codes of all canonical cells of exactly so many vertices and at most so many edges."""
    orders = _orders(vertices)
    pairs = [(a, b) for b in range(vertices) for a in range(b)]  # bit by bit
    matrices = np.arange(1 << len(pairs))
    matrices = matrices[sum(matrices >> bit & 1 for bit in range(len(pairs))) <= edges]
    for vertex in range(vertices):  # every vertex follows another one and feeds another one
        into = sum(1 << bit for bit, pair in enumerate(pairs) if pair[1] == vertex)
        out = sum(1 << bit for bit, pair in enumerate(pairs) if pair[0] == vertex)
        keep = np.ones(len(matrices), bool)
        if vertex > 0:
            keep &= (matrices & into) != 0
        if vertex < vertices - 1:
            keep &= (matrices & out) != 0
        matrices = matrices[keep]
    weights = np.array([orders.bits[pair] for pair in pairs])
    inner = vertices - 2
    labels = np.array(list(itertools.product(range(3), repeat=inner)), np.int64)
    numbers = labels @ _powers(inner)
    codes = [np.empty(0, np.int64)]
    for some in np.array_split(matrices, len(matrices) // _AT_ONCE + 1):
        reordered = (some[:, None] >> np.arange(len(pairs)) & 1).astype(float) @ weights
        smallest = reordered.min(axis=1) == some
        for matrix, row in zip(some[smallest], reordered[smallest], strict=True):
            # Of labellings that some order takes into each other the first one counts.
            same = orders.permutations[row == matrix][:, 1:-1] - 1
            images = np.empty((len(same), *labels.shape), np.int64)
            for image, order in zip(images, same, strict=True):
                image[:, order] = labels
            first = (images @ _powers(inner)).min(axis=0) == numbers
            codes.append(_code(vertices, int(matrix), numbers[first]))
    return np.concatenate(codes)


def _powers(inner: int) -> npt.NDArray[np.int64]:
    return 3 ** np.arange(inner)[::-1]


def _code(vertices: int, matrix: int, labels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    return (vertices << 29 | matrix << 8) + labels


def from_code(code: int) -> Cell:
    """Return the cell of a code: vertices, bits of the matrix, operators as digits of base 3.

    The last 8 bits are the operators, the 21 before them the matrix.
    """
    vertices, matrix, labels = code >> 29, code >> 8 & (1 << 21) - 1, code & 255
    pairs = [(a, b) for b in range(vertices) for a in range(b)]
    return Cell(
        tuple(labels // 3**place % 3 for place in reversed(range(vertices - 2))),
        tuple(sorted(pair for bit, pair in enumerate(pairs) if matrix >> bit & 1)),
    )


def cell_hash(cell: Cell) -> str:
    """Return the benchmark's key of a cell, an MD5 digest that isomorphic cells share.

    Every vertex has a digest of its degrees and operator; as often as there are vertices it is
    replaced by one of those of its predecessors, its successors and itself.  It tells all cells of
    the benchmark apart, but larger graphs need not be told apart by it.
    """
    places = range(cell.vertices)
    before = [[a for a, b in cell.edges if b == vertex] for vertex in places]
    behind = [[b for a, b in cell.edges if a == vertex] for vertex in places]
    labels = (-1, *cell.operators, -2)
    digests = [_md5(str((len(behind[v]), len(before[v]), labels[v]))) for v in places]
    for _ in places:
        digests = [
            _md5(
                "|".join(
                    (
                        "".join(sorted(digests[a] for a in before[v])),
                        "".join(sorted(digests[b] for b in behind[v])),
                        digests[v],
                    )
                )
            )
            for v in places
        ]
    return _md5(str(sorted(digests)))


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()
