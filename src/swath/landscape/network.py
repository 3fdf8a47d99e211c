"""How basins hang together, and whether the landscape leads away from its best model."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from swath.landscape.fitness import Landscape
from swath.landscape.measure import Measure, bootstrap, same, undefined
from swath.landscape.optima import Optima

__all__ = ["OptimaNetwork", "global_optima_reached", "misled_genes", "optima_network", "parts"]


@dataclass(frozen=True)
class OptimaNetwork:
    """The local optima network: plateaus, joined where a step leads from basin to basin.

    The weight of an edge is the chance that a random neighbour of a random model of the first basin
    lies in the second.

    Parameters
    ----------
    optima, edges : how many; an edge to itself does not count, and each direction does.
    leaving : the mean, over basins, of the weight that goes to other basins.
    to_best : the share of the other basins that have an edge to one of the best optima.
    largest : the share of models in the largest basin.
    largest_is_best : whether that one leads to the best fitness.

    Source: Ochoa, Tomassini, Verel, Darabos, "A study of NK landscapes' basins and local optima
    networks" (GECCO 2008): basin-transition edges.
    """

    optima: int
    edges: int
    leaving: float
    to_best: float | None
    largest: float
    largest_is_best: bool

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)


def optima_network(landscape: Landscape, optima: Optima) -> OptimaNetwork:
    """Return the network of all local optima."""
    from scipy.sparse import coo_array

    graph, count = landscape.graph, optima.count
    source, entry = np.nonzero(graph.present)
    weights = 1 / (graph.degrees[source] * optima.basins[optima.ends[source]])
    from_basin = optima.ends[source]
    to_basin = optima.ends[graph.neighbours[source, entry]]
    joined = coo_array((weights, (from_basin, to_basin)), shape=(count, count)).tocsr()
    joined.sum_duplicates()
    rows, columns = joined.nonzero()
    other = rows != columns
    is_best = np.isin(np.arange(count), optima.best)
    reaching = np.unique(rows[other & is_best[columns]])
    largest = int(optima.basins.argmax())
    rest = int((~is_best).sum())
    return OptimaNetwork(
        count,
        int(other.sum()),
        float(joined.data[other].sum() / count),
        float((~is_best[reaching]).sum() / rest) if rest else None,
        float(optima.basins[largest] / len(landscape)),
        bool(is_best[largest]),
    )


def global_optima_reached(
    optima: Optima, *, resamples: int = 1000, rng: np.random.Generator
) -> Measure:
    """Return the share of climbs from random models that end at the best fitness of all."""
    reached = np.isin(optima.ends, optima.best).astype(np.float64)
    low, high = bootstrap(lambda x: x.mean(axis=1), reached, resamples=resamples, rng=rng)
    return Measure(float(reached.mean()), low, high, len(reached))


def misled_genes(landscape: Landscape) -> Measure:
    """Return the share of genes whose best choice on average is not that of the best model.

    A gene that all models agree on does not count; of several best models the one with the fewest
    such genes does.  Where it is above 0, the mean fitness of a choice leads away from the best:
    deception of order one.

    Source: Goldberg, "Simple genetic algorithms and the minimal, deceptive problem" (1987);
    Whitley, "Fundamental principles of deception in genetic search" (FOGA 1991).
    """
    codes, merit = landscape.codes, landscape.merit
    if same(merit):
        return undefined("fitness is the same of all models", len(codes))
    winners = []
    for column in codes.T:
        counts = np.bincount(column)
        if (counts > 0).sum() < 2:
            winners.append(-1)
            continue
        with np.errstate(invalid="ignore", divide="ignore"):
            means = np.bincount(column, merit) / counts
        winners.append(int(np.nanargmax(means)))
    free = np.array(winners) >= 0
    best = codes[merit == merit.max()][:, free].astype(np.int64)
    if not free.any():
        return undefined("no two models differ in a gene", len(codes))
    wrong = (best != np.array(winners)[free]).sum(axis=1).min()
    return Measure(float(wrong / free.sum()), count=int(free.sum()), of="genes")


def parts(landscape: Landscape) -> int:
    """Return into how many parts the graph falls that no step joins."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph, count = landscape.graph, len(landscape)
    source, entry = np.nonzero(graph.present)
    links = coo_array(
        (np.ones(len(source), np.int8), (source, graph.neighbours[source, entry])),
        shape=(count, count),
    )
    return int(connected_components(links, directed=False)[0])
