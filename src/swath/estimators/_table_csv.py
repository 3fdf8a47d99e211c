"""Tables of a user's own: a CSV file with a row for each architecture."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.errors import DataError, InvalidArchitecture, RecipeError, UnknownName, nearest
from swath.core.evaluation import Direction
from swath.data.download import sha256_of
from swath.estimators._architecture_text import read_architecture, read_genes
from swath.estimators._table import COSTS, Column, Table
from swath.spaces.base import SearchSpace

__all__ = ["CsvFile", "Duplicates", "ScoreColumn", "convert_csv", "read_csv"]

Duplicates = Literal["refuse", "mean", "first"]
"""What becomes of an architecture with several rows."""

_UNKNOWN = frozenset({"", "nan", "na", "n/a", "none", "null"})


@dataclass(frozen=True)
class ScoreColumn:
    """Which column of a CSV file is a score, and what it means.

    Parameters
    ----------
    column : its name in the file.
    metric : its name in the table; by default the same.
    budget : what the networks were trained for, where the file tells several such.
    direction : which way is better.
    """

    column: str
    metric: str = ""
    budget: int | None = None
    direction: Direction = "maximize"

    @classmethod
    def parse(cls, text: str) -> ScoreColumn:
        """Read ``[METRIC=]COLUMN[:BUDGET][:minimize]``.

        What stands before the first ``=`` is the metric, so that a column whose own name has one
        is written with it.

        >>> ScoreColumn.parse("loss=val_loss:200:minimize")
        ScoreColumn(column='val_loss', metric='loss', budget=200, direction='minimize')
        """
        metric, equals, column = text.partition("=")
        if not equals:
            metric, column = "", text
        direction: Direction = "maximize"
        budget = None
        head, _, last = column.rpartition(":")
        if head and last in get_args(Direction):
            column, direction = head, last  # type: ignore[assignment]  # one of the two words
            head, _, last = column.rpartition(":")
        if head and last.isdigit():
            column, budget = head, int(last)
        return cls(column, metric, budget, direction)


@dataclass(frozen=True)
class CsvFile:
    """The texts of a CSV file, and the line at which each row ends."""

    path: Path
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    lines: tuple[int, ...]

    def texts(self, column: str) -> list[str]:
        """Return a column's fields; raise :class:`UnknownName` where there is no such column."""
        if column not in self.header:
            raise UnknownName(
                f"{self.path} has no column '{column}'{nearest(column, self.header)}; "
                f"it has: {', '.join(self.header)}"
            )
        place = self.header.index(column)
        return [row[place].strip() for row in self.rows]

    def numbers(self, column: str, read: Callable[[str], float] = float) -> npt.NDArray[np.float64]:
        """Return a column's numbers (rows,), NaN for empty fields.

        Raises
        ------
        UnknownName : there is no such column.
        DataError : a field is no number; the message names the line.
        """
        values = []
        for line, text in zip(self.lines, self.texts(column), strict=True):
            try:
                values.append(math.nan if text.lower() in _UNKNOWN else read(text))
            except ValueError:
                raise DataError(
                    f"line {line} of {self.path}: '{column}' is no number: '{text}'"
                ) from None
        return np.array(values, np.float64)


def read_csv(path: str | os.PathLike[str]) -> CsvFile:
    """Read a CSV file with a header; fields are separated by commas, semicolons or tabs.

    Which of them it is, the header tells: the one that it has most of outside quotes.

    Raises
    ------
    DataError : there is no such file, it has no rows, or a row has too few or too many fields.
    """
    path = Path(path)
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            separator = _separator(file.readline())
            file.seek(0)
            reader = csv.reader(file, delimiter=separator, strict=True)
            found = [(reader.line_num, tuple(row)) for row in reader if row]
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no CSV file ({error}); give one with a header line") from error
    if len(found) < 2:
        raise DataError(f"{path} has no rows; it needs a header line and a line an architecture")
    header = tuple(name.strip() for name in found[0][1])
    for name in header:
        if header.count(name) > 1:
            raise DataError(f"{path} has two columns '{name}'; rename one")
    for line, row in found[1:]:
        if len(row) != len(header):
            raise DataError(
                f"line {line} of {path} has {len(row)} fields, but the header has {len(header)}; "
                "correct it"
            )
    lines, rows = zip(*found[1:], strict=True)
    return CsvFile(path, header, rows, lines)


def _separator(header: str) -> str:
    """Return what separates the fields; a comma is the likeliest to be part of a name."""
    unquoted = re.sub(r'(^|[,;\t])"(?:[^"]|"")*"', r"\1", header)
    most = max(";\t,", key=unquoted.count)
    return most if most in unquoted else ","


def convert_csv(
    path: str | os.PathLike[str],
    space: SearchSpace,
    scores: Sequence[ScoreColumn],
    *,
    architecture: str | None = None,
    costs: Mapping[str, str] | None = None,
    duplicates: Duplicates = "refuse",
    name: str | None = None,
) -> Table:
    """Make a table of a CSV file.

    Parameters
    ----------
    scores : the columns that tell how good a network is; the first is what a study takes unless
        told otherwise.  An empty field is a gap.
    architecture : the column that holds architectures, written in any way that
        :func:`read_architecture` reads; None: the file has a column for each gene.
    costs : the file's column for "parameters", "flops", "seconds" or "latency".
    duplicates : of several rows of one architecture take the first or the mean, or refuse them.
    name : of the table; by default the file's, without suffix.

    Raises
    ------
    DataError : a row cannot be used; the message names its line.
    UnknownName : the file has no such column, or there is no such cost.
    RecipeError : no score column is named, or ``duplicates`` is none of its words.
    """
    if duplicates not in get_args(Duplicates):
        raise RecipeError(
            f"duplicates cannot be '{duplicates}'; it is one of: {', '.join(get_args(Duplicates))}"
        )
    if not scores:
        raise RecipeError("no score column was named; a table needs at least one")
    for cost in costs or {}:
        if cost not in COSTS:
            raise UnknownName(
                f"there is no cost '{cost}'{nearest(cost, COSTS)}; known: {', '.join(COSTS)}"
            )
    file = read_csv(path)
    columns = [
        Column(one.metric or one.column, _some(file, one.column), one.direction, one.budget)
        for one in scores
    ]
    for cost, column in (costs or {}).items():
        columns.append(Column(cost, _some(file, column), "minimize", role="cost"))
    found = _architectures(file, space, architecture)
    rows = _rows_of(found, file, duplicates)
    if duplicates == "mean":
        values = [[_mean(one.values[places]) for places in rows.values()] for one in columns]
    else:
        values = [[one.values[places[0]] for places in rows.values()] for one in columns]
    return Table.of(
        name or file.path.stem,
        list(rows),
        [
            Column(one.metric, np.array(mine), one.direction, one.budget, one.role)
            for one, mine in zip(columns, values, strict=True)
        ],
        space,
        notes=_notes(len(file.rows) - len(rows), duplicates),
        sources={file.path.name: sha256_of(file.path)},
    )


def _some(file: CsvFile, column: str) -> npt.NDArray[np.float64]:
    values = file.numbers(column)
    if np.isnan(values).all():
        raise DataError(f"column '{column}' of {file.path} is empty; leave it out")
    return values


def _architectures(file: CsvFile, space: SearchSpace, column: str | None) -> list[Architecture]:
    if column is not None:
        texts = file.texts(column)
        return [
            _at(file, line, column, lambda text=text: read_architecture(space, text))  # type: ignore[misc]  # the loop's own text
            for line, text in zip(file.lines, texts, strict=True)
        ]
    names = [gene.name for gene in space.genes]
    for name in names:
        if name not in file.header:
            raise UnknownName(
                f"{file.path} has no column for gene '{name}'{nearest(name, file.header)}; give "
                "it a column for each gene, or name the column that holds architectures"
            )
    rows = zip(*(file.texts(name) for name in names), strict=True)
    return [
        _at(file, line, None, lambda row=row: read_genes(space, dict(zip(names, row, strict=True))))  # type: ignore[misc]
        for line, row in zip(file.lines, rows, strict=True)
    ]


def _at(
    file: CsvFile, line: int, column: str | None, read: Callable[[], Architecture]
) -> Architecture:
    """Name the line where an architecture cannot be read."""
    try:
        return read()
    except InvalidArchitecture as error:
        where = f", column '{column}'" if column else ""
        raise DataError(f"line {line} of {file.path}{where}: {error}") from error


def _rows_of(
    architectures: Sequence[Architecture], file: CsvFile, duplicates: Duplicates
) -> dict[Architecture, list[int]]:
    rows: dict[Architecture, list[int]] = {}
    for row, architecture in enumerate(architectures):
        places = rows.setdefault(architecture, [])
        places.append(row)
        if len(places) > 1 and duplicates == "refuse":
            raise DataError(
                f"lines {file.lines[places[0]]} and {file.lines[row]} of {file.path} are the same "
                "architecture; leave one out, or take their mean or the first"
            )
    return rows


def _mean(values: npt.NDArray[np.float64]) -> float:
    """Return the mean of those values that are known, NaN where none is."""
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan


def _notes(copies: int, duplicates: Duplicates) -> tuple[str, ...]:
    if not copies:
        return ()
    how = "the mean was taken" if duplicates == "mean" else "the first was taken"
    return (f"{copies} rows were of architectures that had one already; {how}",)
