"""A table: what is known of many architectures, a row each, in columns of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, NoReturn

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture, Value
from swath.core.errors import DataError, RecipeError, UnknownName, nearest
from swath.core.evaluation import Direction
from swath.spaces.base import SearchSpace

__all__ = ["COSTS", "Column", "Role", "Table", "gene_positions"]

Role = Literal["score", "proxy", "cost"]
"""What a column tells: how good a network is, a cheap guess of that, or what it costs."""

COSTS = ("parameters", "flops", "seconds", "latency")
"""The costs of an evaluation that a table can hold."""

_Genes = tuple[tuple[str, Value], ...]


@dataclass(frozen=True, eq=False)
class Column:
    """One figure of every architecture of a table.

    Parameters
    ----------
    metric : what the figure is, the same at every budget.
    values : float64 (rows,); NaN where it is not known.
    direction : which way is better.
    budget : what the networks were trained for (epochs, say); None where there is but one.
    unit, description : for people.
    """

    metric: str
    values: npt.NDArray[np.float64]
    direction: Direction = "maximize"
    budget: int | None = None
    role: Role = "score"
    unit: str = ""
    description: str = ""

    @property
    def name(self) -> str:
        """The metric, with its budget where it has one: ``cifar10-test@200``."""
        return self.metric if self.budget is None else f"{self.metric}@{self.budget}"


@dataclass(frozen=True, eq=False)
class Table:
    """Architectures of one space and what was measured of them.

    A query is a look-up in a dictionary and a list, both made at the first query.

    Parameters
    ----------
    name : for messages.
    space : of all the architectures.
    genes : unsigned integers (rows, genes), positions among each gene's choices.
    columns : by :attr:`Column.name`.
    notes : what a user of the figures has to know.
    sources : SHA-256 of the files it was made from, by file name.
    """

    name: str
    space: SearchSpace
    genes: npt.NDArray[np.unsignedinteger]
    columns: Mapping[str, Column]
    notes: tuple[str, ...] = ()
    sources: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        name: str,
        architectures: Sequence[Architecture],
        columns: Iterable[Column],
        space: SearchSpace,
        *,
        notes: tuple[str, ...] = (),
        sources: Mapping[str, str] | None = None,
    ) -> Table:
        """Make a table of architectures, in their order.

        Raises
        ------
        DataError : an architecture occurs twice, or two columns have one name.
        """
        named: dict[str, Column] = {}
        for column in columns:
            if column.name in named:
                raise DataError(f"table '{name}' has two columns '{column.name}'; rename one")
            named[column.name] = column
        table = cls(name, space, gene_positions(space, architectures), named, notes, sources or {})
        _ = table._rows
        return table

    def __len__(self) -> int:
        return len(self.genes)

    @property
    def complete(self) -> bool:
        """Whether every architecture of the space has a row."""
        return len(self) == self.space.size()

    @cached_property
    def architectures(self) -> tuple[Architecture, ...]:
        """All architectures, in the order of the rows."""
        return tuple(Architecture(self.space.name, genes) for genes in self._rows)

    @cached_property
    def _rows(self) -> dict[_Genes, int]:
        """The row of every combination of genes."""
        columns = []
        for gene, positions in zip(self.space.genes, self.genes.T, strict=True):
            # One pair for all architectures that have it: less to make, and compared by identity.
            pairs = [(gene.name, choice) for choice in gene.choices]
            columns.append([pairs[position] for position in positions.tolist()])
        rows = {genes: row for row, genes in enumerate(zip(*columns, strict=True))}
        if len(rows) < len(self):
            _refuse_copy(self.name, zip(*columns, strict=True))
        return rows

    @cached_property
    def _lists(self) -> dict[str, list[float]]:
        """Columns that were asked for, as lists: an item of a list is had in less time."""
        return {}

    def row(self, architecture: Architecture) -> int:
        """Return the row of an architecture.

        Raises
        ------
        InvalidArchitecture : it is none of the table's space.
        DataError : it has no row.
        """
        try:
            return self._rows[architecture.genes]
        except KeyError:
            return self._row_of_another_order(architecture)

    def value(self, architecture: Architecture, column: str) -> float:
        """Return a figure of an architecture; NaN where the table has a gap.

        Parameters
        ----------
        column : its name, with the budget where it has one.

        Raises
        ------
        InvalidArchitecture, DataError : as of :meth:`row`.
        UnknownName : there is no such column.
        """
        try:
            return self._lists[column][self._rows[architecture.genes]]
        except KeyError:
            return self.listed(column)[self.row(architecture)]

    def listed(self, column: str) -> list[float]:
        """Return a column by name as a list, in the order of the rows; see :meth:`value`."""
        if column not in self.columns:
            raise UnknownName(
                f"table '{self.name}' has no column '{column}'{nearest(column, self.columns)}; "
                f"it has: {', '.join(self.columns)}"
            )
        if column not in self._lists:
            self._lists[column] = self.columns[column].values.tolist()
        return self._lists[column]

    @property
    def metrics(self) -> tuple[str, ...]:
        """The metrics of all columns, each once, in order."""
        return tuple(dict.fromkeys(column.metric for column in self.columns.values()))

    def budgets(self, metric: str) -> tuple[int, ...]:
        """Return the budgets at which a metric is known, ascending; empty where it has none.

        Raises
        ------
        UnknownName : there is no such metric.
        """
        budgets = [one.budget for one in self.columns.values() if one.metric == metric]
        if not budgets:
            raise UnknownName(
                f"table '{self.name}' has no metric '{metric}'{nearest(metric, self.metrics)}; "
                f"it has: {', '.join(self.metrics)}"
            )
        return tuple(sorted(budget for budget in budgets if budget is not None))

    def column(self, metric: str, budget: int | None = None) -> Column:
        """Return the column of a metric at a budget, by default the largest.

        Raises
        ------
        UnknownName : there is no such metric.
        RecipeError : it is not known at that budget.
        """
        budgets = self.budgets(metric)
        if budget is None and budgets:
            budget = budgets[-1]
        found = [
            one for one in self.columns.values() if one.metric == metric and one.budget == budget
        ]
        if not found:
            at = f"its budgets are: {', '.join(map(str, budgets))}" if budgets else "it has none"
            raise RecipeError(f"table '{self.name}' has no '{metric}' at budget {budget}; {at}")
        return found[0]

    def cost_column(self, cost: str, metric: str, budget: int | None = None) -> Column | None:
        """Return the column that tells a cost of the networks behind ``metric``, or None.

        A table of several data sets has one such column each, called ``DATASET-parameters`` beside
        ``DATASET-test``; the column without a data set's name serves every metric.
        """
        for one in self.columns.values():
            data_set = one.metric.removesuffix(cost)
            if (
                one.role == "cost"
                and one.metric.endswith(cost)
                and one.budget in (None, budget)
                and (data_set == "" or (data_set.endswith("-") and metric.startswith(data_set)))
            ):
                return one
        return None

    def proxy_columns(self, metric: str) -> dict[str, Column]:
        """Return the proxies of the networks behind ``metric``, by their plain names.

        A table of several data sets has them called ``DATASET-naswot``, as its costs.
        """
        prefixes = {
            one.metric.removesuffix("parameters")
            for one in self.columns.values()
            if one.role == "cost" and one.metric.endswith("-parameters")
        }
        data_set = next((one for one in prefixes if metric.startswith(one)), "")
        return {
            one.name.removeprefix(data_set): one
            for one in self.columns.values()
            if one.role == "proxy" and one.metric.startswith(data_set)
        }

    def _row_of_another_order(self, architecture: Architecture) -> int:
        """Look again with the genes in the space's order; say what is wrong otherwise."""
        self.space.validate(architecture)
        row = self._rows.get(self.space.architecture(architecture.as_dict()).genes)
        if row is None:
            raise DataError(
                f"table '{self.name}' has no architecture {_genes_text(architecture.genes)}; it "
                f"has {len(self):,} of the {self.space.size():.4g} of space '{self.space.name}'"
            )
        return row


def gene_positions(
    space: SearchSpace, architectures: Sequence[Architecture]
) -> npt.NDArray[np.unsignedinteger]:
    """Return each architecture's positions among its genes' choices, (rows, genes).

    The type is the smallest that holds them: uint8, unless a gene has more than 256 choices.
    """
    positions = [
        [gene.index(value) for gene, (_, value) in zip(space.genes, one.genes, strict=True)]
        for one in architectures
    ]
    most = max(len(gene.choices) for gene in space.genes)
    shape = len(architectures), len(space.genes)
    return np.array(positions, np.min_scalar_type(most - 1)).reshape(shape)


def _refuse_copy(name: str, rows: Iterable[_Genes]) -> NoReturn:
    seen: dict[_Genes, int] = {}
    for row, genes in enumerate(rows):
        if genes in seen:
            raise DataError(
                f"table '{name}' has the architecture {_genes_text(genes)} twice, in rows "
                f"{seen[genes]} and {row}; leave one out"
            )
        seen[genes] = row
    raise AssertionError("no copy")


def _genes_text(genes: _Genes) -> str:
    return ",".join(f"{name}={value}" for name, value in genes)
