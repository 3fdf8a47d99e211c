"""What `swath score` and `swath correlate` do: batches to score on, and columns to compare."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError, RunError, nearest
from swath.core.evaluation import Direction
from swath.core.history import Trial
from swath.core.seeds import derive
from swath.estimators._table import Table
from swath.estimators.factors import factors, trivial_rivals
from swath.estimators.rank_correlation import RankCorrelation, correlate
from swath.estimators.scored import SIZES, ScoreColumns
from swath.study.directions import directions_in

if TYPE_CHECKING:
    from torch import Tensor

    from swath.spaces.base import SearchSpace
    from swath.study.studies import Study
    from swath.tasks.scene import SceneTask
    from swath.tasks.tiles import TileTask

__all__ = [
    "Measured",
    "of_study",
    "of_table",
    "random_batch",
    "task_batch",
]

Floats = npt.NDArray[np.float64]


def random_batch(
    space: SearchSpace, bands: int, classes: int, *, samples: int, window: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return standard normal inputs and random labels, as the networks of a space take them.

    The same as :class:`swath.estimators.proxy.ProxyEstimator` draws without a batch of its own.
    """
    import torch

    generator = torch.Generator().manual_seed(derive(seed, "batch"))
    pixels = (window, window)
    x = torch.randn((samples, bands, *pixels), generator=generator)
    labelled = pixels if space.answers == "pixels" else ()
    return x, torch.randint(classes, (samples, *labelled), generator=generator)


def task_batch(
    task: SceneTask | TileTask, space: SearchSpace, *, samples: int, window: int, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return a batch of training data: of a scene around its labels, each class equally often.

    Patches with a class each for spaces that answer for a patch, else windows with a class for
    each of their training labels and -1 elsewhere.  Of tiles crops with the class of each pixel.

    Parameters
    ----------
    samples : patches or windows.
    window : their side; a space whose patches have a size of their own decides that.
    """
    from swath.tasks.label_patches import PatchSampler
    from swath.tasks.tiles import TileSampler, TileTask
    from swath.tasks.windows import WindowSampler

    of_batch = derive(seed, "batch")
    if isinstance(task, TileTask):
        return TileSampler(task, of_batch, window).batch(samples, 0, augmented=False)
    targets = task.targets("train")
    if space.answers == "patch":
        side = space.patch or window
        return PatchSampler(task.image, targets, side, of_batch).batch(samples, 0, augmented=False)
    x, labels = WindowSampler(task.image, targets, window, of_batch).batch(samples, 0)
    return x, labels


@dataclass(frozen=True, eq=False)
class Measured:
    """What was measured of architectures, and the scores that are to be held against it.

    Parameters
    ----------
    name : of the table or study.
    metric, direction : what was measured, and which way it is good.
    values : (architectures,).
    scores : columns by name; the trivial rivals come first.
    directions : which way each is good.
    rivals : names of the columns that are trivial.
    factors : numbers that describe the architectures; see :mod:`swath.estimators.factors`.
    """

    name: str
    metric: str
    direction: Direction
    values: Floats
    scores: Mapping[str, Floats]
    directions: Mapping[str, Direction]
    rivals: tuple[str, ...]
    factors: Mapping[str, Floats]

    def correlations(self, *, resamples: int = 500, seed: int = 0) -> dict[str, RankCorrelation]:
        """Return how well each score ranks the architectures: rivals first, then the best first."""
        found = correlate(
            self.scores,
            self.values,
            directions=self.directions,
            direction=self.direction,
            resamples=resamples,
            seed=seed,
        )
        return dict(sorted(found.items(), key=lambda one: self._place(*one)))

    def _place(self, name: str, found: RankCorrelation) -> tuple[bool, float]:
        worth = self.promised(name, found.spearman.value)
        return name not in self.rivals, -worth if worth == worth else 2.0

    def promised(self, name: str, correlation: float) -> float:
        """Return a correlation with the sign that makes 1 the best there can be."""
        alike = self.directions.get(name, "maximize") == self.direction
        return correlation if alike else -correlation

    def only(self, patterns: Sequence[str]) -> Measured:
        """Return the same with the scores of these names, else patterns, and the rivals.

        Raises
        ------
        RecipeError : one matches no column.
        """
        kept = dict.fromkeys(self.rivals)
        for pattern in patterns:
            exact = pattern in self.scores
            matching = [pattern] if exact else fnmatch.filter(self.scores, pattern)
            if not matching:
                raise RecipeError(
                    f"{self.name} has no column '{pattern}'{nearest(pattern, self.scores)}; it "
                    f"has: {', '.join(self.scores)}"
                )
            kept |= dict.fromkeys(matching)
        return dataclasses.replace(self, scores={name: self.scores[name] for name in kept})


def of_table(
    table: Table,
    metric: str | None = None,
    own: ScoreColumns | None = None,
    *,
    budget: int | None = None,
) -> Measured:
    """Return what a table measured, beside its proxies, and scores of one's own if given.

    With scores of one's own only the architectures that have them count, and the table's proxies
    of the same names are called "NAME (table)".

    Parameters
    ----------
    metric, budget : None: the table's first, and its largest.

    Raises
    ------
    UnknownName : the table has no such metric.
    RecipeError : it has no such budget, or none of the architectures with scores.
    """
    column = table.column(table.metrics[0] if metric is None else metric, budget)
    architectures = table.architectures
    rows = np.arange(len(table))
    scores: dict[str, Floats] = {}
    sizes = {}
    for size in SIZES:
        found = table.cost_column(size, column.metric, column.budget)
        if found is not None:
            sizes[size] = found.values
    given: Mapping[str, Floats] = {}
    if own is not None:
        given, rows = _joined(own, architectures, f"table '{table.name}'")
    directions: dict[str, Direction] = {}
    for name, one in table.proxy_columns(column.metric).items():
        told = f"{name} (table)" if name in given else name
        scores[told], directions[told] = one.values[rows], one.direction
    chosen = [architectures[row] for row in rows]
    rivals = trivial_rivals(table.space, chosen)
    rivals |= {name: given[name] if name in given else v[rows] for name, v in sizes.items()}
    rivals |= {name: given[name] for name in SIZES if name in given}
    columns = {**rivals, **{k: v for k, v in given.items() if k not in rivals}, **scores}
    if own is not None:
        directions |= {name: own.direction(name) for name in given}
    return Measured(
        table.name,
        column.name,
        column.direction,
        column.values[rows],
        columns,
        directions,
        tuple(rivals),
        factors(table.space, chosen),
    )


def of_study(study: Study, own: ScoreColumns | None = None) -> Measured:
    """Return the first objective of a study's comparable trials, beside scores of one's own.

    Without these, what else the estimator told of the trials (its metrics) are the scores.  Of an
    architecture that was tried several times the first trial counts.

    Raises
    ------
    RunError : the study has no feasible trial.
    RecipeError : none of the architectures with scores was tried.
    """
    from swath import spaces

    objective = study.objectives[0]
    trials: dict[Architecture, Trial] = {}
    for trial in study.comparable:
        trials.setdefault(trial.architecture, trial)
    if not trials:
        raise RunError("the study has no feasible trial yet, so that nothing can be correlated")
    architectures = tuple(trials)
    evaluations = [one.evaluation for one in trials.values() if one.evaluation is not None]
    rows = np.arange(len(architectures))
    given: Mapping[str, Floats] = {}
    if own is not None:
        given, rows = _joined(own, architectures, "the study")
    sizes: dict[str, Floats] = {}
    for size in SIZES:
        known = [getattr(one.cost, size) for one in evaluations]
        if None not in known and size != objective.name:
            sizes[size] = np.array(known, np.float64)[rows]
    about = study.facts["space"]
    space = spaces.create(about["name"], **about["options"])
    chosen = [architectures[row] for row in rows]
    rivals = trivial_rivals(space, chosen) | sizes
    rivals |= {name: given[name] for name in SIZES if name in given}
    told = {
        name: np.array([_number(one.metrics.get(name)) for one in evaluations])[rows]
        for name in dict.fromkeys(key for one in evaluations for key in one.metrics)
    }
    others = given if own is not None else told
    way = directions_in(study) if own is None else own.direction
    directions = {name: way(name) for name in others if name not in rivals}
    return Measured(
        study.name,
        objective.name,
        objective.direction,
        np.array([objective.value(one) for one in evaluations], np.float64)[rows],
        {**rivals, **{k: v for k, v in others.items() if np.isfinite(v).any() and k not in rivals}},
        directions,
        tuple(rivals),
        factors(space, chosen),
    )


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else np.nan


def _joined(
    own: ScoreColumns, known: Sequence[Architecture], where: str
) -> tuple[dict[str, Floats], npt.NDArray[np.intp]]:
    """Return the scores of architectures that are known, and the rows where these are."""
    rows = {(one.space, frozenset(one.genes)): row for row, one in enumerate(known)}
    found = [
        (place, rows[key])
        for place, one in enumerate(own.architectures)
        if (key := (one.space, frozenset(one.genes))) in rows
    ]
    if not found:
        raise RecipeError(
            f"none of the {len(own):,} architectures with scores is in {where}; score those that "
            "are, with 'swath score --table', or with --architectures those that 'swath study "
            "export' writes"
        )
    places, chosen = np.array(found).T
    return {name: values[places] for name, values in own.columns.items()}, chosen
