"""Local optima: all of them where the landscape is known, else an estimate from climbs.

* A model is a *weak* optimum where no neighbour is better, and a *strict* one where all are worse.
* Weak optima of equal fitness that are connected are one *plateau*; its number is what "number of
  local optima" means here.  A strict optimum is a plateau of one model.
* A *climb* goes to the best neighbour (of equals to the first in the order of the models) as long
  as that is better, so it ends at a weak optimum.  The models whose climbs end on a plateau are its
  *basin*.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from swath.landscape.fitness import Landscape
from swath.landscape.measure import Floats, Measure, bootstrap, student, undefined

__all__ = [
    "Climbs",
    "Optima",
    "birthday",
    "chao",
    "find_optima",
    "meetings",
    "neutrality",
    "published_birthday",
    "sampled_climbs",
]

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Optima:
    """All local optima of a landscape, and the climbs that lead to them.

    Parameters
    ----------
    strict, weak : bool (n,), which models are.
    plateaus : (n,), the number of each weak optimum's plateau, -1 of other models.
    ends : (n,), the plateau where the climb from each model ends.
    steps : (n,), how many steps that takes.
    evaluations : (n,), how many models such a climb looks at, all neighbours of each step anew.
    best : the plateaus that have the best fitness of all.
    """

    strict: npt.NDArray[np.bool_]
    weak: npt.NDArray[np.bool_]
    plateaus: Places
    ends: Places
    steps: Places
    evaluations: Places
    merits: Floats
    best: Places

    @property
    def count(self) -> int:
        """The number of plateaus."""
        return len(self.merits)

    @cached_property
    def basins(self) -> Places:
        """How many models each plateau's basin has."""
        return np.bincount(self.ends, minlength=self.count)

    @property
    def effective(self) -> float:
        """The number of equal basins among which two climbs would meet as often: 1 / sum p^2."""
        return float(1 / ((self.basins / self.basins.sum()) ** 2).sum())

    @property
    def global_basin(self) -> float:
        """The share of models whose climb ends at the best fitness of all."""
        return float(self.basins[self.best].sum() / self.basins.sum())


def find_optima(landscape: Landscape) -> Optima:
    """Find all local optima, plateaus and basins by looking at every model and neighbour."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph, merit = landscape.graph, landscape.merit
    count = len(merit)
    around = merit[graph.neighbours]  # a row that is filled up meets itself: never better
    place = np.arange(count)
    chosen = graph.neighbours[place, around.argmax(axis=1)].astype(np.int64)
    weak = merit[chosen] <= merit
    strict: npt.NDArray[np.bool_] = np.logical_not(
        ((around >= merit[:, None]) & graph.present).any(axis=1)
    )
    level = weak[:, None] & weak[graph.neighbours] & (around == merit[:, None]) & graph.present
    source, entry = np.nonzero(level)
    links = coo_array(
        (np.ones(len(source), np.int8), (source, graph.neighbours[source, entry])),
        shape=(count, count),
    )
    _, part = connected_components(links, directed=False)
    plateaus = np.full(count, -1, np.int64)
    _, plateaus[weak] = np.unique(part[weak], return_inverse=True)
    following = np.where(weak, place, chosen)
    steps, evaluations, end = np.zeros(count, np.int64), graph.degrees + 1, place
    while True:
        after = following[end]
        moved = after != end
        if not moved.any():
            break
        steps += moved
        evaluations = evaluations + moved * graph.degrees[after]
        end = after
    merits = np.empty(int(plateaus.max()) + 1)
    merits[plateaus[weak]] = merit[weak]
    return Optima(
        strict,
        weak,
        plateaus,
        plateaus[end],
        steps,
        evaluations,
        merits,
        np.flatnonzero(merits == merits.max()),
    )


@dataclass(frozen=True, eq=False)
class Climbs:
    """Repeated rounds of climbs from random models.

    Parameters
    ----------
    ends : (rounds, starts), the plateau where each climb ended.
    repeats : (rounds,), how many climbs of a round were made when one first ended where an earlier
        one had; 0 where none did.
    """

    ends: Places
    repeats: Places


def sampled_climbs(optima: Optima, rounds: int, starts: int, rng: np.random.Generator) -> Climbs:
    """Climb from random models, ``starts`` times in each of ``rounds``; with replacement."""
    ends = optima.ends[rng.integers(len(optima.ends), size=(rounds, starts))]
    return Climbs(ends, np.array([_first_repeat(one) for one in ends], np.int64))


def _first_repeat(ends: Places) -> int:
    seen: set[int] = set()
    for number, end in enumerate(ends.tolist(), 1):
        if end in seen:
            return number
        seen.add(end)
    return 0


def birthday(climbs: Climbs) -> Measure:
    """Return the number of optima by the birthday estimator, 2 (k - 2/3)^2 / pi.

    k is the mean, over the rounds that had one, of the number of climbs until two ended alike, and
    its expectation for n equal basins is sqrt(pi n / 2) + 2/3.  Where basins are not alike it
    estimates the effective number 1 / sum p^2, not how many there are.  The interval is Student's,
    of k.  The note tells what the published formula gives, see :func:`published_birthday`.

    Sources: Knuth, "The Art of Computer Programming" 3, section 6.4, exercise 2; Caruana, Mullin,
    "Estimating the Number of Local Minima in Big, Nasty Search Spaces" (IJCAI 1999 workshop).
    """
    known = climbs.repeats[climbs.repeats > 0].astype(np.float64)
    rounds, starts = climbs.ends.shape
    if not len(known):
        return undefined(
            f"no two of {starts} climbs ended alike in any round; make more", rounds, "rounds"
        )
    mean = float(known.mean())
    note = f"by the published formula {published_birthday(mean):,.1f}"
    if len(known) < rounds:
        note += f"; {rounds - len(known)} rounds without a repeat are left out"
    reach = student(known) if len(known) > 1 else math.inf  # an interval without ends
    low, high = _birthday(mean - reach), _birthday(mean + reach)
    return Measure(_birthday(mean), low, high, len(known), "rounds", note=note)


def _birthday(repeat: float) -> float:
    return 2 * max(repeat - 2 / 3, 0) ** 2 / math.pi


def published_birthday(repeat: float) -> float:
    """Return k^2 / (-2 ln 0.5), the footprint papers' number of optima.

    It is the formula of the median k.  With the mean it comes out pi / (4 ln 2) = 1.13 times too
    large where there are many equal basins, and further off where there are few.
    """
    return repeat**2 / (-2 * math.log(0.5))


def chao(climbs: Climbs) -> Measure:
    """Return a lower bound of the number of optima, from how many were met once and twice.

    The upper end is that of the log-normal interval; the lower end is how many were met.

    Source: Chao, "Estimating the population size for capture-recapture data with unequal
    catchability" (Biometrics 43, 1987): the bias-corrected form.
    """
    times = np.bincount(climbs.ends.ravel())
    met = int((times > 0).sum())
    once, twice = int((times == 1).sum()), int((times == 2).sum())
    more = once * (once - 1) / (2 * (twice + 1))
    count = climbs.ends.size
    if more == 0:
        return Measure(float(met), float(met), None, count, "climbs")
    ratio = once / max(twice, 1)
    variance = max(twice, 1) * (ratio**4 / 4 + ratio**3 + ratio**2 / 2)
    spread = math.exp(1.96 * math.sqrt(math.log(1 + variance / more**2)))
    return Measure(met + more, float(met), met + more * spread, count, "climbs")


def meetings(climbs: Climbs) -> Measure:
    """Return the effective number of optima, 1 / sum p^2, from how often two climbs meet.

    The share of pairs of climbs that end alike is an unbiased estimate of sum p^2.  The interval
    is Student's, of the jackknife over climbs, on the scale of the logarithm.

    Source: Simpson, "Measurement of diversity" (Nature 163, 1949).
    """
    times = np.bincount(climbs.ends.ravel()).astype(np.float64)
    count = climbs.ends.size
    pairs = (times * (times - 1)).sum()
    if pairs == 0:
        return undefined(f"no two of {count} climbs ended alike; make more", count, "climbs")
    value = count * (count - 1) / pairs
    rest = pairs - 2 * (times - 1)  # without one of the climbs that ended there
    if count < 3 or not (rest[times > 0] > 0).all():
        return Measure(float(value), count=count, of="climbs")
    logs = np.log((count - 1) * (count - 2) / rest[times > 0])
    weights = times[times > 0]
    mean = (weights * logs).sum() / count
    spread = math.sqrt((count - 1) / count * (weights * (logs - mean) ** 2).sum())
    reach = math.exp(1.96 * spread)
    return Measure(float(value), float(value / reach), float(value * reach), count, "climbs")


def neutrality(
    landscape: Landscape, within: float = 0.0, *, resamples: int = 1000, rng: np.random.Generator
) -> Measure:
    """Return the mean share of a model's neighbours whose fitness differs by at most ``within``.

    Source: Reidys, Stadler, "Neutrality in fitness landscapes" (Applied Mathematics and Computation
    117, 2001).
    """
    graph = landscape.graph
    apart = np.abs(landscape.fitness[graph.neighbours] - landscape.fitness[:, None])
    equal = ((apart <= within) & graph.present).sum(axis=1)
    shares = equal[graph.degrees > 0] / graph.degrees[graph.degrees > 0]
    low, high = bootstrap(lambda x: x.mean(axis=1), shares, resamples=resamples, rng=rng)
    return Measure(float(shares.mean()), low, high, len(shares))
