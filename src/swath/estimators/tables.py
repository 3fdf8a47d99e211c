"""Tables as estimators: what others trained, looked up.

A *table* holds figures of many architectures of one space.  Published ones are known by name
(:data:`KNOWN`); they are converted once into a columnar file with a checksum in the cache folder,
which is read in milliseconds.  A user's own come from CSV files (:func:`convert_csv`).

>>> from swath import estimators
>>> estimator = estimators.create("table", table="nas_bench_macro")  # doctest: +SKIP
>>> space = estimator.search_space()  # doctest: +SKIP
>>> estimator.evaluate(space.from_digits("00000000")).score  # doctest: +SKIP
45.36333211263021
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from swath.core.architecture import Architecture
from swath.core.errors import DataError, Infeasible, RunError, UnknownName, nearest
from swath.core.evaluation import Cost, Direction, Evaluation
from swath.core.files import expanded
from swath.data.catalogue import cache_folder
from swath.data.download import sha256_of
from swath.estimators import registry
from swath.estimators._architecture_text import read_architecture
from swath.estimators._table import Column, Table
from swath.estimators._table_csv import ScoreColumn, convert_csv
from swath.estimators._table_file import read_table, write_table
from swath.estimators._table_formats import KNOWN, KnownTable
from swath.spaces.base import SearchSpace
from swath.spaces.restricted import Listed

__all__ = [
    "KNOWN",
    "Column",
    "ScoreColumn",
    "Table",
    "TableEstimator",
    "convert_csv",
    "load_table",
    "read_architecture",
    "read_table",
    "table_files",
    "write_table",
]


def load_table(table: str | os.PathLike[str]) -> Table:
    """Return a table by name or from a file; in one process the same table is read once.

    Parameters
    ----------
    table : a name of :data:`KNOWN`, or a file of :func:`write_table`.

    Raises
    ------
    UnknownName : there is no such table and no such file.
    DataError : its files are missing or damaged.
    """
    if str(table) in KNOWN:
        return _load_known(str(table), table_files(str(table)), cache_folder())
    path = expanded(table)
    _check_known(table)
    return _load_file(path.resolve(), path.stat().st_mtime_ns)


def table_files(name: str) -> tuple[Path, ...]:
    """Return the places of a published table's files, empty where one is missing.

    They are looked for in ``$SWATH_DATA``, then in the cache folder.
    """
    given = os.environ.get("SWATH_DATA")
    for folder in [*([expanded(given)] if given else []), cache_folder()]:
        paths = tuple(folder / file for file in KNOWN[name].files)
        if all(path.is_file() for path in paths):
            return paths
    return ()


@registry.register("table")
@dataclass(frozen=True)
class TableEstimator:
    """Looks architectures up in a table.

    Parameters
    ----------
    table : name of a published table, or file of one's own; see :func:`load_table`.
    metric : which of its figures is the score, without the budget; None: its first.
    metrics : which others an evaluation tells; None: every score known at the same budget.

    Raises
    ------
    UnknownName : there is no such table; that there is no such metric is told at the first use.
    """

    table: str
    metric: str | None = None
    metrics: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check_known(self.table)

    def __reduce__(self) -> tuple[Any, ...]:
        """Send the arguments alone to a worker, which reads the table itself."""
        return TableEstimator, (self.table, self.metric, self.metrics)

    @cached_property
    def data(self) -> Table:
        """The table."""
        return load_table(self.table)

    @cached_property
    def _metric(self) -> str:
        return self.data.metrics[0] if self.metric is None else self.metric

    @property
    def direction(self) -> Direction:
        """Whether a large or a small score is good."""
        return self.data.column(self._metric).direction

    @property
    def directions(self) -> dict[str, Direction]:
        """Which way each of the table's metrics is good; costs are not told."""
        columns = self.data.columns.values()
        return {one.metric: one.direction for one in columns if one.role != "cost"}

    @property
    def budgets(self) -> tuple[int, ...]:
        """The budgets at which the score is known, ascending; empty where there is but one."""
        return self.data.budgets(self._metric)

    def unit(self, name: str = "score") -> str:
        """Return the unit of the score or of another metric; empty where there is none."""
        metric = self._metric if name == "score" else name
        return self.data.column(metric).unit if metric in self.data.metrics else ""

    def search_space(self) -> SearchSpace:
        """Return the space to search: the table's where it is complete, else its rows alone."""
        table = self.data
        return table.space if table.complete else Listed(table.space, table.architectures)

    def cost(self, architecture: Architecture) -> Cost:
        """Return the costs that the table tells of a network, without what its training took."""
        answers = self._answers(None)
        known = answers.cost(self.data.row(architecture))
        return Cost(known.parameters, known.flops, 0.0, known.latency)

    def evaluate(
        self, architecture: Architecture, *, budget: int | None = None, seed: int = 0
    ) -> Evaluation:
        """Return a row of the table as an evaluation.

        Parameters
        ----------
        budget : one of :attr:`budgets`; None: the largest.
        seed : not used.

        Raises
        ------
        Infeasible : the table has a gap there.
        InvalidArchitecture, DataError : it has no such architecture.
        RecipeError : it has no such budget.
        """
        answers = self._answers(budget)
        row = self.data.row(architecture)
        score = answers.scores[row]
        if math.isnan(score):
            raise Infeasible(
                f"table '{self.data.name}' has no {answers.column.name} of this architecture"
            )
        metrics = {
            name: values[row] for name, values in answers.metrics if not math.isnan(values[row])
        }
        return Evaluation(score, answers.column.direction, answers.cost(row), metrics)

    def gap(
        self, architecture: Architecture, names: Iterable[str], budget: int | None = None
    ) -> str | None:
        """Return that the table knows figures of these names, but one not of this architecture.

        None where it knows them all, or has no column of that name at that budget.

        Parameters
        ----------
        names : of costs, and of the metrics that an evaluation tells.
        """
        figures = self._answers(budget).figures
        row = self.data.row(architecture)
        for name in names:
            if name in figures and math.isnan(figures[name][row]):
                return f"table '{self.data.name}' has no {name} of this architecture"
        return None

    @cached_property
    def _by_budget(self) -> dict[int | None, _Answers]:
        return {}

    def _answers(self, budget: int | None) -> _Answers:
        if budget not in self._by_budget:
            self._by_budget[budget] = _Answers.of(self.data, self._metric, budget, self.metrics)
        return self._by_budget[budget]


@dataclass(frozen=True)
class _Answers:
    """The lists in which an estimator looks at one budget."""

    column: Column
    scores: list[float]
    metrics: tuple[tuple[str, list[float]], ...]
    costs: Mapping[str, list[float]]

    @classmethod
    def of(
        cls, table: Table, metric: str, budget: int | None, metrics: tuple[str, ...] | None
    ) -> _Answers:
        column = table.column(metric, budget)
        if metrics is None:
            others = [
                one
                for one in table.columns.values()
                if one.role == "score" and one.budget == column.budget and one is not column
            ]
        else:
            others = [table.column(name, column.budget) for name in metrics]
        costs = {
            cost: table.cost_column(cost, metric, column.budget)
            for cost in ("parameters", "flops", "seconds", "latency")
        }
        return cls(
            column,
            table.listed(column.name),
            tuple((one.metric, table.listed(one.name)) for one in others),
            {cost: table.listed(one.name) for cost, one in costs.items() if one is not None},
        )

    @cached_property
    def figures(self) -> dict[str, list[float]]:
        """The lists by the names that objectives and constraints have for them."""
        return {**dict(self.metrics), **self.costs, "score": self.scores}

    def cost(self, row: int) -> Cost:
        """Return the costs of a row; what the table does not tell stays None."""
        known = {
            cost: values[row] for cost, values in self.costs.items() if not math.isnan(values[row])
        }
        return Cost(
            parameters=_whole(known.get("parameters")),
            flops=_whole(known.get("flops")),
            seconds=known.get("seconds", 0.0),
            latency=known.get("latency"),
        )


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)


def _check_known(table: str | os.PathLike[str]) -> None:
    if str(table) not in KNOWN and not expanded(table).is_file():
        raise UnknownName(
            f"there is no table or file '{table}'{nearest(str(table), KNOWN)}; "
            f"known tables: {', '.join(KNOWN)}"
        )


@lru_cache(maxsize=8)
def _load_file(path: Path, changed: int) -> Table:
    return read_table(path)


@lru_cache(maxsize=8)
def _load_known(name: str, files: tuple[Path, ...], folder: Path) -> Table:
    """Read a published table from the cache, converting its files where they are newer."""
    known = KNOWN[name]
    converted = folder / "tables" / f"{name}.safetensors"
    table = _cached(converted, files)
    if table is not None:
        return table
    if not files:
        raise _missing(name, known)
    table = known.convert(name, files)
    with contextlib.suppress(RunError):  # a cache that cannot be written costs time, no more
        write_table(table, converted)
    return table


def _cached(converted: Path, files: tuple[Path, ...]) -> Table | None:
    """Return the converted table where it is whole and of these files (or there are none)."""
    try:
        table = read_table(converted)
    except DataError:
        return None
    made_of = {file.name: sha256_of(file) for file in files}
    return table if not files or table.sources == made_of else None


def _missing(name: str, known: KnownTable) -> DataError:
    return DataError(
        f"table '{name}' is not on this machine: put {' and '.join(known.files)} into $SWATH_DATA "
        f"or {cache_folder()}; source: {known.source}"
    )
