"""Cells of NAS-Bench-101 as bits: an adjacency matrix with a slot for every possible vertex.

Source: Traoré, Camero, Zhu, "Fitness Landscape Footprint: A Framework to Compare Neural
Architecture Search Problems" (arXiv 2111.01584), and the authors' code.

Slots are the input, as many as a cell may have inner vertices of each operator in turn, and the
output: 17 where there are at most seven vertices, so 289 bits.  The j-th vertex with an operator,
in the order of the matrix, takes the j-th slot of it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from swath.spaces._nasbench101_cells import OPERATORS, Cell, canonical, prune

__all__ = ["SLOT_ORDER", "collisions", "from_vector", "slots", "to_vector", "upper_triangle"]

SLOT_ORDER = ("conv1x1-bn-relu", "conv3x3-bn-relu", "maxpool3x3")
"""The operators in the order of their slots."""

Vector = npt.NDArray[np.float32]

_GROUPS = [SLOT_ORDER.index(operator) for operator in OPERATORS]


def slots(cell: Cell, inner: int) -> list[int]:
    """Return the slot of each vertex, where a cell has at most ``inner`` inner vertices."""
    taken = [0] * len(OPERATORS)
    places = [0]
    for operator in cell.operators:
        places.append(1 + _GROUPS[operator] * inner + taken[operator])
        taken[operator] += 1
    return [*places, 1 + len(OPERATORS) * inner]


def to_vector(cell: Cell, inner: int) -> Vector:
    """Return the bits of a cell as it is written, the rows of the matrix one after another."""
    places = slots(cell, inner)
    size = 2 + len(OPERATORS) * inner
    matrix = np.zeros((size, size), np.float32)
    for source, target in cell.edges:
        matrix[places[source], places[target]] = 1
    return matrix.ravel()


def from_vector(vector: npt.ArrayLike, inner: int) -> Cell | None:
    """Return the canonical cell of some bits; None where they are those of no cell.

    Vertices of one operator may stand in any of its slots.
    """
    size = 2 + len(OPERATORS) * inner
    bits = np.asarray(vector)
    if bits.shape != (size**2,) or not np.isin(bits, (0, 1)).all():
        return None
    matrix = bits.reshape(size, size)
    used = [slot for slot in range(1, size - 1) if matrix[slot].any() or matrix[:, slot].any()]
    place = {slot: vertex for vertex, slot in enumerate((0, *used, size - 1))}
    operators = [OPERATORS.index(SLOT_ORDER[(slot - 1) // inner]) for slot in used]
    edges = [(place[int(a)], place[int(b)]) for a, b in np.argwhere(matrix)]
    cell = prune(operators, edges)
    if (
        cell is None
        or len(used) > inner
        or (len(cell.operators), len(cell.edges))
        != (
            len(used),
            len(edges),
        )
    ):
        return None
    return canonical(cell)


def upper_triangle(vectors: npt.ArrayLike) -> Vector:
    """Return the bits above the diagonal, 136 of 289; (..., bits) to (..., fewer bits).

    Part of the authors' evaluations use these alone.  They lose every edge to a slot farther in
    front, such as from a 3 x 3 to a 1 x 1 convolution, so that different cells become one.
    """
    bits = np.asarray(vectors, np.float32)
    size = round(bits.shape[-1] ** 0.5)
    rows, columns = np.triu_indices(size, k=1)
    return bits[..., rows * size + columns]


def collisions(vectors: npt.ArrayLike | Sequence[Vector]) -> int:
    """Return how many vectors of (vectors, bits) are equal to an earlier one."""
    packed = np.packbits(np.asarray(vectors) != 0, axis=1)
    return len(packed) - len(np.unique(packed, axis=0))
