"""A landscape: architectures, how fit each is, and who neighbours whom.

Every encoding is a point of its own.  Two encodings of one network are two points, which may have
the same fitness and then are a plateau, or lie beside each other on one (:attr:`Landscape.copies`
counts them; :mod:`swath.landscape.optima` counts a plateau once).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture, RecipeError, RunError
from swath.core.evaluation import Direction
from swath.estimators._table import Table
from swath.landscape.neighbours import Graph, Neighbourhood, codes_of, described, graph_of
from swath.spaces.base import SearchSpace
from swath.spaces.restricted import Listed

if TYPE_CHECKING:
    from swath.study.studies import Study

__all__ = ["NEAREST", "Landscape", "of_mapping", "of_study", "of_table"]

Floats = npt.NDArray[np.float64]

NEAREST = 20
"""Neighbours of an architecture in the neighbourhood ``nearest``."""

LEAST = 5  # of fewer models no measure is worth a look


@dataclass(frozen=True, eq=False)
class Landscape:
    """Fitness over a graph of architectures.

    Parameters
    ----------
    name : of the table or study, for people.
    metric, direction : what fitness is, and which way it is good.
    space : of the architectures.
    architectures : the points, all different.
    fitness : float64 (n,), as measured; shares of one where the source says percent.
    graph : neighbours of each.
    neighbourhood : which, in words.
    complete : whether they are all of the space.
    stages : fitness after each budget, ascending; empty where there is but one.
    notes : what a reader of the figures has to know.
    """

    name: str
    metric: str
    direction: Direction
    space: SearchSpace
    architectures: Sequence[Architecture]
    fitness: Floats
    graph: Graph = field(repr=False)
    neighbourhood: str
    complete: bool
    stages: Mapping[int, Floats] = field(default_factory=dict, repr=False)
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.fitness)

    @cached_property
    def merit(self) -> Floats:
        """Fitness turned so that larger is better."""
        return self.fitness if self.direction == "maximize" else -self.fitness

    @cached_property
    def codes(self) -> npt.NDArray[np.unsignedinteger]:
        """What distances are counted on: (n, entries).

        The places of the genes' choices; of a space with an encoding of its own that encoding.
        """
        return codes_of(self.space, self.architectures)

    @cached_property
    def copies(self) -> int:
        """How many points are another encoding of a network that comes before them."""
        return len(self) - len({self.space.canonical(one) for one in self.architectures})

    @cached_property
    def search_space(self) -> SearchSpace:
        """The space that a search on this landscape draws from."""
        return self.space if self.complete else Listed(self.space, self.architectures)

    def with_fitness(
        self, values: Floats, metric: str, direction: Direction = "maximize"
    ) -> Landscape:
        """Return the landscape of another figure of the same architectures.

        Parameters
        ----------
        values : (n,), in the order of the architectures.

        Raises
        ------
        RecipeError : it is not known of all of them, or they are more or fewer.
        """
        if len(values) != len(self):
            raise RecipeError(
                f"'{metric}' has {len(values):,} values and {self.name} {len(self):,} models; "
                "give one for each, in their order"
            )
        unknown = int((~np.isfinite(values)).sum())
        if unknown:
            raise RecipeError(
                f"'{metric}' is not known of {unknown:,} of the {len(self):,} models of "
                f"{self.name}, so that its landscape has holes; leave it out"
            )
        return dataclasses.replace(
            self, fitness=values, metric=metric, direction=direction, stages={}
        )


def of_mapping(
    space: SearchSpace,
    fitness: Mapping[Architecture, float],
    *,
    name: str = "landscape",
    metric: str = "fitness",
    direction: Direction = "maximize",
    neighbourhood: Neighbourhood | None = None,
    nearest: int = NEAREST,
    stages: Mapping[int, Mapping[Architecture, float]] | None = None,
    notes: tuple[str, ...] = (),
) -> Landscape:
    """Return the landscape of architectures with their fitness.

    Parameters
    ----------
    fitness : architectures whose fitness is NaN are left out.
    neighbourhood : None: "space" where the architectures are all of the space, else "nearest".
    nearest : of that neighbourhood.
    stages : fitness at each budget.

    Raises
    ------
    RecipeError : fewer than five architectures have a fitness, or the neighbourhood gives them no
        neighbours.
    InvalidArchitecture : one is none of the space's, or is given twice.
    """
    known = {a: float(value) for a, value in fitness.items() if np.isfinite(value)}
    for one in known:
        space.validate(one)
    # In the space's order of genes, whatever the order of those that were given.
    architectures = tuple(space.architecture(one.as_dict()) for one in known)
    if len(set(architectures)) < len(architectures):
        raise InvalidArchitecture(
            f"an architecture of {name} is given twice, with its genes in different orders"
        )
    return _landscape(
        space,
        architectures,
        np.fromiter(known.values(), np.float64, len(known)),
        len(fitness) - len(known),
        {
            budget: np.array([values.get(a, np.nan) for a in known], np.float64)
            for budget, values in sorted((stages or {}).items())
        },
        name,
        metric,
        direction,
        neighbourhood,
        nearest,
        notes,
    )


def of_table(
    table: Table,
    metric: str | None = None,
    budget: int | None = None,
    *,
    neighbourhood: Neighbourhood | None = None,
    nearest: int = NEAREST,
    notes: tuple[str, ...] = (),
) -> Landscape:
    """Return the landscape of a table's figure.

    Parameters
    ----------
    metric : None: the table's first.
    budget : None: the largest.
    neighbourhood, nearest, notes : as of :func:`of_mapping`.

    Raises
    ------
    UnknownName, RecipeError : the table has no such figure; or as of :func:`of_mapping`.
    """
    column = table.column(table.metrics[0] if metric is None else metric, budget)
    known = np.flatnonzero(np.isfinite(column.values))
    everything = table.architectures
    stages = {
        one: table.column(column.metric, one).values[known] / _unit(column.unit)
        for one in table.budgets(column.metric)
    }
    return _landscape(
        table.space,
        tuple(everything[row] for row in known),
        column.values[known] / _unit(column.unit),
        len(table) - len(known),
        stages if len(stages) > 1 else {},
        table.name,
        column.name,
        column.direction,
        neighbourhood,
        nearest,
        notes,
    )


def of_study(
    study: Study, *, neighbourhood: Neighbourhood | None = None, nearest: int = NEAREST
) -> Landscape:
    """Return the landscape of a study's first objective, at the largest budget that was tried.

    Of an architecture that was tried several times the first trial counts.  What its table has in
    percent becomes shares of one, as in :func:`of_table`.

    Raises
    ------
    RunError : the study has no feasible trial.
    RecipeError : as of :func:`of_mapping`.
    """
    from swath import spaces

    objective = study.objectives[0]
    unit = _unit(_unit_in(study, objective.name))
    fitness: dict[Architecture, float] = {}
    for trial in study.comparable:
        if trial.evaluation is not None:
            fitness.setdefault(trial.architecture, objective.value(trial.evaluation) / unit)
    if not fitness:
        raise RunError("the study has no feasible trial yet, so that it has no landscape")
    stages: dict[int, dict[Architecture, float]] = {}
    for trial in study.trials:
        if trial.evaluation is not None and trial.budget is not None:
            stage = stages.setdefault(trial.budget, {})
            stage.setdefault(trial.architecture, objective.value(trial.evaluation) / unit)
    about = study.facts["space"]
    strategy = study.facts["strategy"]["name"]
    return of_mapping(
        spaces.create(about["name"], **about["options"]),
        fitness,
        name=study.name,
        metric=objective.name,
        direction=objective.direction,
        neighbourhood=neighbourhood,
        nearest=nearest,
        stages=stages if len(stages) > 1 else None,
        notes=(f"the models are those that the strategy '{strategy}' proposed",),
    )


def _landscape(
    space: SearchSpace,
    architectures: tuple[Architecture, ...],
    fitness: Floats,
    gaps: int,
    stages: Mapping[int, Floats],
    name: str,
    metric: str,
    direction: Direction,
    neighbourhood: Neighbourhood | None,
    nearest: int,
    notes: tuple[str, ...],
) -> Landscape:
    if len(architectures) < LEAST:
        raise RecipeError(
            f"{metric} is known of {len(architectures)} models of {name}; a landscape needs at "
            f"least {LEAST}"
        )
    complete = len(architectures) == space.size()
    # A table of a whole space may have gaps: who is left still has the space's neighbours.
    whole = complete or len(architectures) + gaps == space.size()
    chosen = neighbourhood or ("space" if whole else "nearest")
    graph = graph_of(space, architectures, chosen, nearest)
    if not graph.degrees.any():
        raise RecipeError(
            f"no two of the {len(architectures):,} models of {name} are neighbours in the "
            f"neighbourhood '{chosen}'; take 'nearest'"
        )
    if gaps:
        notes = (*notes, f"{gaps:,} models without {metric} are left out")
    return Landscape(
        name,
        metric,
        direction,
        space,
        architectures,
        fitness,
        graph,
        described(space, chosen, nearest),
        complete,
        stages,
        notes,
    )


def _unit(unit: str) -> float:
    return 100.0 if unit == "percent" else 1.0


def _unit_in(study: Study, name: str) -> str:
    """Return the unit of a study's figure: its table's."""
    from swath.study.directions import table_of

    table = table_of(study)
    return "" if table is None else table.unit(name)
