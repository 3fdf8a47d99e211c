"""Many architectures scored by proxies: columns of scores, as a value and as a CSV file."""

from __future__ import annotations

import csv
import io
import json
import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.errors import DataError, InvalidArchitecture, NothingToSample, RecipeError
from swath.core.evaluation import Direction
from swath.core.files import write_text
from swath.core.seeds import derive, numpy_generator
from swath.estimators import proxies
from swath.estimators._architecture_text import read_architecture
from swath.estimators._table_csv import read_csv
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace

if TYPE_CHECKING:
    from swath.estimators.proxies.base import ProxyScore
    from swath.estimators.proxies.scoring import Batch

__all__ = [
    "SIZES",
    "ScoreColumns",
    "draw_architectures",
    "read_architectures",
    "read_scores",
    "score_architectures",
    "write_scores",
]

SIZES = ("parameters", "flops")
"""The trivial rivals that stand beside every proxy."""

KEY = "architecture"
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class ScoreColumns:
    """Scores of architectures.

    Parameters
    ----------
    architectures : in the order of the rows.
    columns : by name, each float64 (architectures,), NaN where a score is not defined.  The sums
        over layers of one kind are called "synflow/attention", "synflow/mlp" and so on.
    """

    architectures: tuple[Architecture, ...]
    columns: Mapping[str, npt.NDArray[np.float64]]
    networks: tuple[Mapping[str, ProxyScore], ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.architectures)

    @property
    def proxies(self) -> tuple[str, ...]:
        """The names of the columns that are totals, not parts."""
        return tuple(name for name in self.columns if "/" not in name)

    def direction(self, name: str) -> Direction:
        """Return which way a column is good: a proxy's own; large where none has that name."""
        stem = name.partition("/")[0]
        return proxies.get(stem).direction if stem in proxies.names() else "maximize"

    def ranked(self, name: str) -> list[int]:
        """Return the rows, the best by a column first; of equals the earlier, NaN last."""
        sign = -1.0 if self.direction(name) == "maximize" else 1.0
        values = sign * self.columns[name]
        return np.argsort(np.where(np.isnan(values), np.inf, values), kind="stable").tolist()


def score_architectures(
    space: SearchSpace,
    architectures: Sequence[Architecture],
    names: str | Iterable[str],
    batch: Batch,
    *,
    classes: int,
    seed: int = 0,
    keep: bool = False,
    device: str = "auto",
    progress: Progress | None = None,
    **options: Any,
) -> ScoreColumns:
    """Score the untrained networks of architectures by zero-cost proxies.

    Every network has the same batch and the same seed of its weights.  Parameters and operations
    are always among the columns, last unless asked for.

    Parameters
    ----------
    names : proxies, or wildcard patterns of their names.
    batch : inputs (samples, bands, rows, columns) and labels.
    classes : of the networks' answers.
    seed : of the weights and whatever else is drawn.
    keep : whether to keep all that was found of each network (``networks``), layer by layer.
    device : as of :func:`swath.core.devices.pick`.
    progress : called with how many are done and how many there are.
    options : of :func:`swath.proxies.score`: loss, inputs, signs, variant, chunks, transform.

    Raises
    ------
    UnknownName : there is no such proxy.
    RecipeError : there is nothing to score, or an option cannot be used.
    InvalidArchitecture : one is none of the space's.

    Examples
    --------
    >>> space = spaces.create("nasbench201")  # doctest: +SKIP
    >>> cells = draw_architectures(space, 20)  # doctest: +SKIP
    >>> batch = torch.randn(16, 3, 32, 32), torch.randint(10, (16,))  # doctest: +SKIP
    >>> found = score_architectures(space, cells, ["naswot"], batch, classes=10)  # doctest: +SKIP
    >>> found.architectures[found.ranked("naswot")[0]]  # doctest: +SKIP
    """
    import torch

    from swath.core import devices
    from swath.estimators.proxies.scoring import chosen, score

    if not architectures:
        raise RecipeError("there is no architecture to score; give at least one")
    for architecture in architectures:
        space.validate(architecture)
    asked = list(dict.fromkeys([*(proxy.name for proxy in chosen(names)), *SIZES]))
    inputs = batch[0] if isinstance(batch, tuple | list) else batch
    place = devices.pick(device)
    rows, kept = [], []
    for done, architecture in enumerate(architectures, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "network"))
            network = space.build(architecture, InputSpec(inputs.shape[1]), OutputSpec(classes))
        found = score(network.to(place), batch, asked, seed=derive(seed, "proxy"), **options)
        rows.append(_row(found))
        if keep:
            kept.append(found)
        if progress is not None:
            progress(done, len(architectures))
    columns = {
        name: np.array([row.get(name, math.nan) for row in rows])
        for name in dict.fromkeys(name for row in rows for name in row)
    }
    totals = {name: columns.pop(name) for name in asked}
    return ScoreColumns(tuple(architectures), totals | columns, tuple(kept))


def _row(found: Mapping[str, ProxyScore]) -> dict[str, float]:
    row = {name: one.total for name, one in found.items()}
    for name, one in found.items():
        if set(one.parts) - {"other"}:  # layers of several kinds
            row |= {f"{name}/{part}": value for part, value in one.parts.items()}
    return row


def draw_architectures(space: SearchSpace, count: int, seed: int = 0) -> list[Architecture]:
    """Draw different architectures of a space; fewer where it has no more.

    Raises
    ------
    NothingToSample : the space gives none.
    """
    rng = numpy_generator(seed, "architectures")
    found: dict[Architecture, None] = {}
    for _ in range(100 * count):
        if len(found) >= min(count, space.size()):
            break
        found[space.sample(rng)] = None
    if not found:
        raise NothingToSample(f"space '{space.name}' gave no architecture")
    return list(found)


def read_architectures(
    path: str | os.PathLike[str], space: SearchSpace, column: str = KEY
) -> list[Architecture]:
    """Read the architectures of a file: a JSON list, or a column of a CSV file.

    Each is written as :func:`swath.estimators.tables.read_architecture` reads it.  One that occurs
    twice is returned once.

    Raises
    ------
    DataError : the file cannot be read; the message names the line or place.
    UnknownName : the CSV file has no such column.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        texts = [
            (f"entry {place} of {path}", one if isinstance(one, str) else json.dumps(one))
            for place, one in enumerate(_json_list(path), 1)
        ]
    else:
        file = read_csv(path)
        texts = [
            (f"line {line} of {path}", text)
            for line, text in zip(file.lines, file.texts(column), strict=True)
        ]
    found: dict[Architecture, None] = {}
    for where, text in texts:
        try:
            found[read_architecture(space, text)] = None
        except InvalidArchitecture as error:
            raise DataError(f"{where}: {error}") from error
    return list(found)


def _json_list(path: Path) -> list[Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"there is no file {path}") from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is no JSON file ({error})") from error
    if not isinstance(data, list) or not data:
        raise DataError(f"{path} holds no list of architectures; write [ARCHITECTURE, ...]")
    return data


def write_scores(scores: ScoreColumns, path: str | os.PathLike[str]) -> None:
    """Write scores as CSV: a line an architecture (as JSON), a column a score; NaN left empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([KEY, *scores.columns])
    for row, architecture in enumerate(scores.architectures):
        values = [float(column[row]) for column in scores.columns.values()]
        figures = ["" if math.isnan(value) else repr(value) for value in values]
        writer.writerow([architecture.to_json(), *figures])
    write_text(path, text.getvalue())


def read_scores(path: str | os.PathLike[str], *, space: SearchSpace | None = None) -> ScoreColumns:
    """Read what :func:`write_scores` wrote, or a CSV file of one's own with the same head.

    Parameters
    ----------
    space : of the architectures; where it is given they may be written as
        :func:`swath.estimators.tables.read_architecture` reads them, else as JSON with the space.

    Raises
    ------
    DataError : the file cannot be read, or an architecture occurs twice.
    UnknownName : it has no column "architecture".
    """
    file = read_csv(path)
    found: list[Architecture] = []
    known: dict[Any, int] = {}
    for line, text in zip(file.lines, file.texts(KEY), strict=True):
        try:
            one = read_architecture(space, text) if space else Architecture.from_json(text)
        except InvalidArchitecture as error:
            raise DataError(f"line {line} of {path}: {error}") from error
        earlier = known.setdefault((one.space, frozenset(one.genes)), line)  # in whatever order
        if earlier != line:
            raise DataError(f"line {line} of {path} has the architecture of line {earlier} again")
        found.append(one)
    columns = {name: file.numbers(name) for name in file.header if name != KEY}
    if not columns:
        raise DataError(f"{path} has no column but '{KEY}', so no scores")
    return ScoreColumns(tuple(found), columns)
