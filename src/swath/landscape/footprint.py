"""The footprint: all measures of one landscape, each with its interval, as one value."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from swath.core.errors import DataError, RecipeError
from swath.core.files import read_json, write_json
from swath.core.seeds import numpy_generator
from swath.landscape import distance, distribution, network, optima
from swath.landscape.curves import Curves
from swath.landscape.fitness import Landscape
from swath.landscape.measure import Measure
from swath.landscape.measures import (
    distribution_measures,
    optima_measures,
    persistence_measures,
    walk_measures,
)
from swath.landscape.reach import STRATEGIES, evaluations_to_reach

__all__ = ["LABELS", "Footprint", "footprint", "read_footprints", "write_footprints"]

_VERSION = 1

LABELS: Mapping[str, str] = {
    "mean": "mean fitness",
    "deviation": "standard deviation",
    "best": "best fitness",
    "autocorrelation": "autocorrelation of a step",
    "autocorrelation_walks": "autocorrelation, mean of walks",
    "autocorrelation_exact": "autocorrelation, endless walk",
    "ruggedness": "ruggedness 1 / rho",
    "ruggedness_walks": "ruggedness, mean of walks",
    "correlation_length": "correlation length, steps",
    "optima": "local optima",
    "optima_chao": "optima, Chao's lower bound",
    "optima_effective": "effective number of optima",
    "optima_meetings": "effective number, climbs that meet",
    "optima_birthday": "effective number, birthday estimate",
    "best_basin": "climbs that end at the best",
    "largest_basin": "models in the largest basin",
    "leaving": "chance to leave a basin",
    "climb": "evaluations of a climb",
    "neutrality": "equally fit neighbours",
    "distance_correlation": "fitness-distance correlation",
    "misled_genes": "genes that mislead",
    "positive_persistence": "best 25 % that stay",
    "positive_area": "area, best N %",
    "negative_persistence": "worst 25 % that stay",
    "negative_area": "area, worst N %",
    **{f"reach_{name}": f"evaluations to top 1 %, {name}" for name in STRATEGIES},
}
"""What each measure is called."""


@dataclass(frozen=True)
class Footprint:
    """The measures of one landscape.

    Parameters
    ----------
    name, metric, direction, space : of the landscape.
    models : how many have a fitness.
    facts : complete, neighbourhood, degree (mean), missing, copies, parts, and the settings of the
        measures.
    measures : by the names of :data:`LABELS`.
    fits : of the distribution, the best first.
    best_fits : in which share of resamples each family fits best.
    curves : what the pictures show.
    notes : what a reader has to know.
    """

    name: str
    metric: str
    direction: str
    space: str
    models: int
    facts: Mapping[str, Any]
    measures: Mapping[str, Measure]
    fits: tuple[distribution.Fit, ...]
    best_fits: Mapping[str, float]
    curves: Curves = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """The landscape in a word or two."""
        return f"{self.name}, {self.metric}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "name": self.name,
            "metric": self.metric,
            "direction": self.direction,
            "space": self.space,
            "models": self.models,
            "facts": dict(self.facts),
            "measures": {key: one.to_dict() for key, one in self.measures.items()},
            "fits": [one.to_dict() for one in self.fits],
            "best_fits": dict(self.best_fits),
            "curves": self.curves.to_dict(),
            "notes": list(self.notes),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Footprint:
        """Read :meth:`to_dict`'s form."""
        return cls(
            data["name"],
            data["metric"],
            data["direction"],
            data["space"],
            data["models"],
            data["facts"],
            {key: Measure.from_dict(one) for key, one in data["measures"].items()},
            tuple(distribution.Fit.from_dict(one) for one in data["fits"]),
            data["best_fits"],
            Curves.from_dict(data["curves"]),
            tuple(data["notes"]),
        )


def footprint(
    landscape: Landscape,
    *,
    walks: int = 30,
    steps: int = 1000,
    starts: int = 200,
    rounds: int = 16,
    within: float = 0.0,
    resamples: int = 500,
    searches: int = 0,
    seed: int = 0,
) -> Footprint:
    """Measure a landscape.

    Parameters
    ----------
    walks, steps : of the random walks; the papers take 30 of 100.
    starts, rounds : of the climbs that estimate the number of optima.
    within : neighbours whose fitness differs by no more are neutral.
    resamples : of the bootstrap over models (0: without these intervals).
    searches : by each strategy, for what it costs to reach the best 1 %; 0: none, since that takes
        longest.
    seed : of every draw.

    Raises
    ------
    RecipeError : a number makes no sense.
    """
    settings = {
        "walks": walks,
        "steps": steps,
        "starts": starts,
        "rounds": rounds,
        "resamples": resamples,
        "searches": searches,
    }
    for name, number in settings.items():
        least = 0 if name in ("resamples", "searches") else 1
        if number < least:
            raise RecipeError(f"{name} cannot be {number}; ask for at least {least}")
    curves = Curves()
    measures: dict[str, Measure] = {}

    def rng(name: str) -> np.random.Generator:
        return numpy_generator(seed, "footprint", name)

    measures |= distribution_measures(landscape, resamples, rng("distribution"))
    measures |= walk_measures(landscape, curves, walks, steps, rng("walks"))
    measures |= optima_measures(landscape, rounds, starts, resamples, rng("optima"))
    measures["neutrality"] = optima.neutrality(
        landscape, within, resamples=resamples, rng=rng("neutrality")
    )
    distances = distance.distances_to_best(landscape)
    measures["distance_correlation"] = distance.distance_correlation(
        distances, landscape.merit, resamples=resamples, rng=rng("distance")
    )
    measures["misled_genes"] = network.misled_genes(landscape)
    measures |= persistence_measures(landscape, curves, resamples, rng("persistence"))
    if searches:
        for name in STRATEGIES:
            measures[f"reach_{name}"] = evaluations_to_reach(
                landscape, name, searches=searches, resamples=resamples, seed=seed
            )
    curves.add_distribution(landscape.fitness)
    curves.add_distances(distances, landscape.fitness, rng("scatter"))
    facts = {
        "complete": landscape.complete,
        "size": landscape.space.size(),
        "neighbourhood": landscape.neighbourhood,
        "degree": float(landscape.graph.degrees.mean()),
        "missing": landscape.graph.missing,
        "copies": landscape.copies,
        "parts": network.parts(landscape),
        **settings,
        "within": within,
        "seed": seed,
    }
    return Footprint(
        landscape.name,
        landscape.metric,
        landscape.direction,
        landscape.space.name,
        len(landscape),
        facts,
        {key: _exact(measures[key], landscape) for key in LABELS if key in measures},
        distribution.fit_distributions(landscape.fitness),
        distribution.best_shares(
            landscape.fitness, resamples=min(resamples, 100), rng=rng("families")
        ),
        curves,
        (*landscape.notes, *_notes(facts, len(landscape))),
    )


def read_footprints(path: str | os.PathLike[str]) -> list[Footprint]:
    """Read what :func:`write_footprints` wrote.

    Raises
    ------
    RunError, DataError : the file cannot be read, or holds no footprints.
    """
    data = read_json(path)
    try:
        if data["version"] != _VERSION:
            raise ValueError(f"version {data['version']}")
        return [Footprint.from_dict(one) for one in data["footprints"]]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"{path} holds no footprints ({error!r}); 'swath landscape --json' writes such files"
        ) from error


def write_footprints(several: Sequence[Footprint], path: str | os.PathLike[str]) -> None:
    """Write footprints to a JSON file.

    Raises
    ------
    RunError : the file cannot be written.
    """
    write_json(path, {"version": _VERSION, "footprints": [one.to_dict() for one in several]})


def _exact(one: Measure, landscape: Landscape) -> Measure:
    """Mark what was computed on all models of a whole space, with no draw."""
    drawn = one.of in ("walks", "rounds", "climbs", "searches")
    return dataclasses.replace(one, exact=landscape.complete and not drawn)


def _notes(facts: Mapping[str, Any], models: int) -> tuple[str, ...]:
    notes = []
    if not facts["complete"]:
        notes.append(
            f"{models:,} of the {facts['size']:.4g} models of the space are known: optima, basins "
            "and the best are of these alone"
        )
    if facts["missing"]:
        notes.append(
            f"{facts['missing']:,} neighbours of the {models:,} models have no fitness: walks and "
            "climbs go round them"
        )
    if facts["parts"] > 1:
        notes.append(f"the models fall into {facts['parts']:,} parts that no step joins")
    if facts["copies"]:
        notes.append(
            f"{facts['copies']:,} of the {models:,} models are another encoding of one that comes "
            "before; each encoding counts as a model"
        )
    return tuple(notes)
