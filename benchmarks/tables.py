"""How fast published tables are loaded and asked, beside a plain dictionary.

For each table that is on this machine:

* converted: reading the published files once, with all checks, and writing the columnar file.
* loaded: reading that file with its checksum, and checking that the published files are still the
  same; limit 50 ms.
* first query: the dictionary of rows is made then.
* value: one figure of an architecture (``Table.value``); limit 1 us.
* evaluation: the same as an ``Evaluation`` with its costs and further scores.
* dictionary: the same figure from a plain ``dict`` by the architecture's genes.
* by text: the same from a plain ``dict`` by the architecture's JSON form, which has to be made.

The last four are asked of 300 architectures that were made as a strategy makes them: they share no
object with those of the table.  Each round counts the shortest of ten passes, since what else the
machine does only adds.  A cache folder of its own is used and removed.

    python benchmarks/tables.py             # 25 rounds
    python benchmarks/tables.py --quick     # 5 rounds
    python benchmarks/tables.py --json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
import timeit
from collections.abc import Callable
from typing import Any

import numpy as np

from swath.core.architecture import Architecture
from swath.core.machine import describe
from swath.estimators import tables

LOAD_LIMIT, QUERY_LIMIT = 50e-3, 1e-6
COLUMNS = {
    "loaded": 1e3,
    "first query": 1e3,
    "value": 1e6,
    "evaluation": 1e6,
    "dictionary": 1e6,
    "by text": 1e6,
}


def seconds(work: Callable[[], Any]) -> float:
    """Time one call."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def load(name: str) -> tables.Table:
    """Load a table as a new process does."""
    tables._load_known.cache_clear()
    return tables.load_table(name)


def drawn(table: tables.Table, count: int = 300) -> list[Architecture]:
    """Return architectures that share no object with the table's, as strategies make them."""
    rows = np.random.default_rng().integers(len(table), size=count)
    return [table.space.architecture(table.architectures[row].as_dict()) for row in rows]


def each(architectures: list[Architecture], ask: Callable[..., Any], *more: Any) -> float:
    """Return the seconds of one question, the loop's own time included."""

    def all_of_them() -> None:
        for one in architectures:
            ask(one, *more)

    return best_pass(all_of_them) / len(architectures)


def each_of(values: dict[Any, float], architectures: list[Architecture]) -> float:
    """Return the seconds of one look-up in a plain dictionary, the loop's own time included."""

    def all_of_them() -> None:
        for one in architectures:
            values[one.genes]

    return best_pass(all_of_them) / len(architectures)


def best_pass(work: Callable[[], None]) -> float:
    """Return the shortest of several passes, which is the one that the machine disturbed least."""
    return min(timeit.repeat(work, number=1, repeat=10))


def one_round(name: str) -> dict[str, float]:
    """Return the seconds of each job."""
    loaded = seconds(lambda: load(name))
    table = tables.load_table(name)
    column = table.column(table.metrics[0])
    choices = zip(table.space.genes, table.genes[0], strict=True)
    some = table.space.architecture({gene.name: gene.choices[place] for gene, place in choices})
    first = seconds(lambda: table.value(some, column.name))
    estimator = tables.TableEstimator(name)
    estimator.evaluate(some)
    figures = column.values.tolist()
    by_genes = {one.genes: figure for one, figure in zip(table.architectures, figures, strict=True)}
    by_text = {
        one.to_json(): figure for one, figure in zip(table.architectures, figures, strict=True)
    }
    return {
        "loaded": loaded,
        "first query": first,
        "value": each(drawn(table), table.value, column.name),
        "evaluation": each(drawn(table), estimator.evaluate),
        "dictionary": each_of(by_genes, drawn(table)),
        "by text": each(drawn(table), lambda one: by_text[one.to_json()]),
    }


def main() -> None:
    """Measure, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="5 rounds")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    here = [name for name in tables.KNOWN if tables.table_files(name)]
    if not here:
        sys.exit("set SWATH_DATA to the folder of the data")
    about = describe()
    results: dict[str, dict[str, dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as cache:
        os.environ["SWATH_CACHE"] = cache
        for name in here:
            converted = seconds(lambda name=name: load(name))  # type: ignore[misc]
            rounds = [one_round(name) for _ in range(5 if options.quick else 25)]
            results[name] = {"converted": {"median": converted}}
            results[name] |= {
                column: {
                    "median": statistics.median(one[column] for one in rounds),
                    "least": min(one[column] for one in rounds),
                    "most": max(one[column] for one in rounds),
                }
                for column in COLUMNS
            }
    print(f"{about}\n\nmedian (least to most)\n")
    units = {1e3: "ms", 1e6: "us"}
    names = [f"{column}, {units[unit]}" for column, unit in COLUMNS.items()]
    print(f"| table | converted, ms | {' | '.join(names)} |")
    print("|---" * (len(COLUMNS) + 2) + "|")
    for name, row in results.items():
        cells = [f"{1e3 * row['converted']['median']:.3g}"]
        for column, unit in COLUMNS.items():
            figures = {key: unit * value for key, value in row[column].items()}
            cells.append("{median:.3g} ({least:.3g} to {most:.3g})".format(**figures))
        print(f"| {name} | {' | '.join(cells)} |")
    worst_load = max(row["loaded"]["median"] for row in results.values())
    worst_query = max(row["value"]["median"] for row in results.values())
    print(
        f"\nslowest median: loaded {1e3 * worst_load:.1f} ms (limit {1e3 * LOAD_LIMIT:.0f}), "
        f"value {1e6 * worst_query:.2f} us (limit {1e6 * QUERY_LIMIT:.0f})"
    )
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
