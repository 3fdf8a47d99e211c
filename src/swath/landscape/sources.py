"""Landscapes by where they come from: a table, a study, a supernet, proxies."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from swath.core.errors import RecipeError
from swath.estimators._table import Table
from swath.estimators.tables import KNOWN, load_table
from swath.landscape.estimates import children_file, score_table, supernet_table
from swath.landscape.fitness import NEAREST, Landscape, of_study, of_table
from swath.landscape.neighbours import Neighbourhood
from swath.study import scoring
from swath.study.backends import is_url, journal_path
from swath.study.conduct import open_study
from swath.study.studies import Study

if TYPE_CHECKING:
    from swath.study.scoring import Measured

__all__ = ["Source", "open_landscapes"]

Source = Landscape | Table | Study | str | os.PathLike[str]


def open_landscapes(
    source: Source,
    metric: str | None = None,
    budget: int | None = None,
    *,
    columns: Sequence[str] = (),
    neighbourhood: Neighbourhood | None = None,
    nearest: int = NEAREST,
) -> list[Landscape]:
    """Return the landscape of a source, and those of other figures of the same models.

    Parameters
    ----------
    source : a landscape, a table or a study; the name or file of a table; the run folder, journal
        or URL of a study; the run folder of a one-shot search, whose supernet judged networks; the
        CSV file of ``swath score``, with proxies.
    metric, budget : of all but a study; None: the first, and the largest.
    columns : further figures, with wildcards: proxies, parameters, operations and the like, as
        ``swath correlate`` knows them.
    neighbourhood, nearest : as of :func:`swath.landscape.fitness.of_mapping`.

    Raises
    ------
    UnknownName, DataError, RunError : there is no such source.
    RecipeError : it has no such figure, or too few models.
    """
    guessed = _guessed(source, metric)
    opened = _opened(source) if guessed is None else guessed
    if isinstance(opened, Landscape):
        if metric is not None or columns:
            raise RecipeError("a landscape has its own figure; leave metric and columns out")
        return [opened]
    measured: Measured | None = None
    if isinstance(opened, Table):
        found = of_table(
            opened,
            metric,
            budget,
            neighbourhood=neighbourhood,
            nearest=nearest,
            notes=() if guessed is None else guessed.notes,
        )
        if columns:
            measured = scoring.of_table(opened, metric, budget=budget)
    else:
        if metric is not None or budget is not None:
            raise RecipeError("a study has its own objective; leave out metric and budget")
        found = of_study(opened, neighbourhood=neighbourhood, nearest=nearest)
        if columns:
            measured = scoring.of_study(opened)
    if measured is None:
        return [found]
    # Without rivals only what was asked for counts.
    chosen = dataclasses.replace(measured, rivals=()).only(columns)
    known = np.isfinite(measured.values)
    return [
        found,
        *(
            found.with_fitness(values[known], name, chosen.directions.get(name, "maximize"))
            for name, values in chosen.scores.items()
        ),
    ]


def _guessed(source: Source, metric: str | None) -> Table | None:
    """Return the table of a source that holds guesses: of a supernet, or of proxies."""
    if isinstance(source, Landscape | Table | Study) or str(source) in KNOWN:
        return None
    if Path(source).suffix.lower() == ".csv":
        return score_table(source, metric)
    return supernet_table(source) if children_file(source).is_file() else None


def _opened(source: Source) -> Landscape | Table | Study:
    if isinstance(source, Landscape | Table | Study):
        return source
    if str(source) in KNOWN:
        return load_table(source)
    if is_url(source) or Path(source).is_dir() or journal_path(source) == Path(source):
        return open_study(source)
    return load_table(source)
