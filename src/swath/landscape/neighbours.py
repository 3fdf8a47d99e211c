"""Who neighbours whom: a graph as one array, made for many architectures at once.

Three neighbourhoods, by name:

* ``space``: what the space itself calls neighbours, mostly all that differ in one gene.
* ``nearest``: the listed architectures with the fewest other genes, for lists that hold so little
  of a space that few of them differ in one gene (:class:`swath.spaces.restricted.Listed`).
* ``encoding``: architectures whose encodings differ in one place; that is how NAS-Bench-101 is
  walked in the footprint papers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError
from swath.estimators._table import gene_positions
from swath.spaces.base import SearchSpace
from swath.spaces.restricted import Listed

__all__ = [
    "Graph",
    "Neighbourhood",
    "by_encoding",
    "by_genes",
    "by_nearest",
    "by_space",
    "codes_of",
    "described",
    "from_edges",
    "graph_of",
]

Neighbourhood = Literal["space", "nearest", "encoding"]
Codes = npt.NDArray[np.unsignedinteger]
Keys = npt.NDArray[np.int64]
Places = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Graph:
    """Neighbours of every architecture, symmetric.

    Parameters
    ----------
    neighbours : int32 (n, degree), places in ascending order; rows that have fewer are filled up
        with their own place, which is never a neighbour.
    degrees : (n,), how many of a row are neighbours.
    missing : neighbours that the space has and the list has not, counted once an architecture.
    """

    neighbours: Places
    degrees: npt.NDArray[np.int64]
    missing: int = 0

    @property
    def present(self) -> npt.NDArray[np.bool_]:
        """Which entries of ``neighbours`` are neighbours."""
        return np.arange(self.neighbours.shape[1]) < self.degrees[:, None]


def codes_of(
    space: SearchSpace, architectures: Sequence[Architecture]
) -> npt.NDArray[np.unsignedinteger]:
    """Return what distances are counted on: (n, entries).

    The places of the genes' choices; of a space with an encoding of its own that encoding.

    Raises
    ------
    RecipeError : the encoding is not of zeros and ones.
    """
    if _is_genes(space):
        return gene_positions(space, architectures)
    return _encoded(space, architectures)


def graph_of(
    space: SearchSpace,
    architectures: Sequence[Architecture],
    neighbourhood: Neighbourhood,
    nearest: int,
) -> Graph:
    """Return the graph of architectures in a neighbourhood.

    Raises
    ------
    RecipeError : the neighbourhood does not suit the space, or ``nearest`` is below 1.
    """
    if neighbourhood == "nearest":
        if nearest < 1:
            raise RecipeError(f"a model cannot have {nearest} nearest others; ask for at least 1")
        return by_nearest(space, architectures, nearest)
    if neighbourhood == "encoding":
        return by_encoding(_encoded(space, architectures))
    whole = len(architectures) == space.size()
    anything_goes = type(space).problem is SearchSpace.problem
    if not _one_gene(space) or not (whole or anything_goes):
        return by_space(space, architectures)
    graph = by_genes(
        gene_positions(space, architectures), [len(gene.choices) for gene in space.genes]
    )
    # Of a whole space nothing is missing but what is no architecture.
    return replace(graph, missing=0) if whole else graph


def described(space: SearchSpace, neighbourhood: Neighbourhood, nearest: int) -> str:
    """Return a neighbourhood in words."""
    return {
        "space": "one gene other" if _one_gene(space) else "one step of the space",
        "nearest": f"the {nearest} models with the fewest other genes, both ways",
        "encoding": "one place of the encoding other",
    }[neighbourhood]


def from_edges(
    sources: npt.ArrayLike, targets: npt.ArrayLike, count: int, missing: int = 0
) -> Graph:
    """Return the graph of ``count`` architectures with these edges, each given in both ways."""
    source, target = np.asarray(sources, np.int64), np.asarray(targets, np.int64)
    order = np.lexsort((target, source))
    source, target = source[order], target[order]
    degrees = np.bincount(source, minlength=count)
    width = int(degrees.max(initial=0))
    neighbours = np.repeat(np.arange(count, dtype=np.int32)[:, None], max(width, 1), axis=1)
    place = np.arange(len(source)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    neighbours[source, place] = target
    return Graph(neighbours, degrees, missing)


def by_genes(codes: Codes, choices: Sequence[int]) -> Graph:
    """Return the graph of all that differ in exactly one gene.

    Parameters
    ----------
    codes : (n, genes), positions among each gene's choices; no two rows alike.
    choices : how many each gene has.
    """
    known, place = _keys(codes, choices)
    order = np.argsort(known)
    ordered = known[order]
    sources, targets, missing = [], [], 0
    everyone = np.arange(len(codes))
    for gene, count in enumerate(choices):
        for step in range(1, count):
            change = (codes[:, gene].astype(np.int64) + step) % count - codes[:, gene]
            wanted = known + change * place[gene]
            found = np.searchsorted(ordered, wanted).clip(max=len(codes) - 1)
            there = ordered[found] == wanted
            missing += int((~there).sum())
            sources.append(everyone[there])
            targets.append(order[found[there]])
    return from_edges(np.concatenate(sources), np.concatenate(targets), len(codes), missing)


def _keys(codes: Codes, choices: Sequence[int]) -> tuple[Keys, list[int]]:
    """Return one whole number an architecture, and what each gene is worth in it."""
    place, worth = [], 1
    for count in choices:
        place.append(worth)
        worth *= count
    if worth >= 2**63:
        raise RecipeError(
            f"a space of {worth:.3g} combinations of genes is too large for this neighbourhood; "
            "take 'nearest'"
        )
    return codes.astype(np.int64) @ np.array(place, np.int64), place


def by_encoding(codes: Codes) -> Graph:
    """Return the graph of all whose encodings of zeros and ones differ in exactly one place.

    One of two such neighbours is the other without one of its ones, so only these need be looked
    up.  A row's key is the exclusive or of random numbers, one for each of its ones (Zobrist,
    1970); whatever the keys say is then compared in full.

    Parameters
    ----------
    codes : (n, entries), zeros and ones; no two rows alike.
    """
    numbers: Keys = np.random.default_rng(0).integers(2**62, size=(codes.shape[1],))
    keys: Keys = np.zeros(len(codes), np.int64)
    for column, random_number in zip(codes.T, numbers.tolist(), strict=True):
        keys[column != 0] ^= random_number
    order = np.argsort(keys)
    ordered = keys[order]
    row, entry = np.nonzero(codes)
    wanted = keys[row] ^ numbers[entry]
    found = np.searchsorted(ordered, wanted).clip(max=len(codes) - 1)
    there = ordered[found] == wanted
    more, fewer = row[there], order[found[there]]
    alike = (codes[more] != codes[fewer]).sum(axis=1) == 1
    more, fewer = more[alike], fewer[alike]
    return from_edges(np.concatenate([more, fewer]), np.concatenate([fewer, more]), len(codes))


def by_nearest(space: SearchSpace, architectures: Sequence[Architecture], nearest: int) -> Graph:
    """Return the graph in which the ``nearest`` with the fewest other genes are neighbours."""
    return by_space(Listed(space, architectures, nearest), architectures)


def by_space(space: SearchSpace, architectures: Sequence[Architecture]) -> Graph:
    """Return the graph of what the space calls neighbours, asked of one after the other."""
    places = {architecture: place for place, architecture in enumerate(architectures)}
    sources, targets, missing = [], [], 0
    for source, architecture in enumerate(architectures):
        for neighbour in space.neighbours(architecture):
            target = places.get(neighbour)
            if target is None:
                missing += 1
            else:
                sources.append(source)
                targets.append(target)
    return from_edges(sources, targets, len(architectures), missing)


def _encoded(space: SearchSpace, architectures: Sequence[Architecture]) -> npt.NDArray[np.uint8]:
    """Return the space's own encodings, which must be of zeros and ones."""
    first = space.encode(architectures[0])
    found = np.empty((len(architectures), len(first)), np.uint8)
    for row, architecture in enumerate(architectures):
        encoding = space.encode(architecture)
        found[row] = encoding
        if not (found[row] == encoding).all() or found[row].max(initial=0) > 1:
            raise RecipeError(
                f"the encoding of space '{space.name}' is not of zeros and ones alone, so that "
                "places that differ cannot be counted"
            )
    return found


def _is_genes(space: SearchSpace) -> bool:
    """Whether a space's encoding is its genes, one-hot."""
    whole: SearchSpace = getattr(space, "space", space)
    return type(whole).encode is SearchSpace.encode


def _one_gene(space: SearchSpace) -> bool:
    """Whether a space's neighbours are all that differ in one gene."""
    return type(space).neighbours is SearchSpace.neighbours
