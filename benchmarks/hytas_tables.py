"""Are the published scores of HyTAS's transformers reproduced, and what are they worth?

The published tables hold some 2000 transformers on each of three scenes: overall accuracy (OA) of
each after a training of its own, and its scores by zero-cost proxies.  Ours are computed here from
the networks.

1. Data-free scores on the authors' weights, as their code computes them, beside theirs: the first
   two networks digit by digit, then whole columns.
2. Data-free scores as their papers define them, on the authors' weights and on weights of our own:
   three supernets, one by one and averaged.  Of dss on every 32nd network: four, and two that have
   each other's fusions.
3. Every proxy on every scene: rank correlation with OA beside that of the published column, and
   with that column itself.  First what needs no network at all.  Four of them on every 8th network.
4. What the figures depend on: weights and batch.
5. The published comparison with and without sign (Table 8), from the files that it was made of.
6. Published columns that were computed in another way than told.
7. What two trainings of the same networks have in common.

The full scenes are not needed and not used.  Proxies that read data see one pixel a class of
simulated scenes: the real label map of each scene, painted with the real training spectra of
Indian Pines and of Houston; Pavia University is painted with Houston's spectra of like materials,
its 103 bands interpolated.

All proxies together score every 8th network (--every), data-free ones more; each figure says how
many there were.

    python benchmarks/hytas_tables.py            # an hour and a half on one core
    python benchmarks/hytas_tables.py --quick    # 7 networks a scene: a minute or two
    python benchmarks/hytas_tables.py --parts own_weights,compared
    python benchmarks/hytas_tables.py --scores FILE.jsonl --out benchmarks/results/hytas_tables.json

Scores are kept in --scores, and what it holds is not computed again.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from _hytas.comparisons import (
    Row,
    all_proxies,
    clean,
    compared,
    dependence,
    exact,
    fusions,
    otherwise,
    own_weights,
    signs,
    table_8,
    trained_twice,
    whole_columns,
)
from _hytas.networks import ALL, SCENES
from _hytas.scores import FUSIONS, OWN, QUICK, SETTINGS, Scores, read_scores, score_all

from swath.core.files import write_json
from swath.core.machine import describe
from swath.estimators import tables


def bars(found: Mapping[str, Sequence[Row]]) -> list[Row]:
    """Return what was to be reached, and what was."""

    def of(part: str, head: str, **wanted: object) -> list[float]:
        return [
            row[head]
            for row in found[part]
            if all(row[key] == value for key, value in wanted.items()) and row[head] is not None
        ]

    # The last of the first table is what does not stand in KSC's.
    first = [row[f"relative difference {n}"] for row in found["exact"][:-1] for n in (1, 2)]
    rows = [("first two networks as coded: relative difference", "<=", 1e-3, max(first))]
    for name in ("synflow", "dss"):
        which = {"score": name, "scene": "indian", "made positive": "none"}
        coded = of("columns", "rank correlation", **which)
        rows.append((f"{name} as coded, all of Indian Pines: correlation", ">=", 0.999, min(coded)))
        kept = of("clean", "with the published column", definition="paper", **which)
        rows.append((f"{name} as defined, authors weights: correlation", ">=", 0.99, kept[0]))
        kept = of("own_weights", "with the published column", score=name)
        title = f"{name} as defined, own weights: correlation"
        rows.append((f"{title}, worst supernet", ">=", 0.99, min(kept[:-1])))
        rows.append((f"{title}, scores averaged", ">=", 0.99, kept[-1]))
        off = [
            abs(row["with OA"][0] - row["independently"])
            for row in found["clean"]
            if row["score"] == name and row["independently"] and row["weights"] == "authors"
        ]
        if off:
            title = f"{name}: correlation with OA, from the independent one"
            rows.append((title, "<=", 0.03, max(off)))
    for name in ("snip", "grad_norm", "naswot", "zico_act", "zico_act, mean over layers"):
        least = min(of("compared", "agreement", score=name))
        rows.append((f"{name}: correlation with the published column", ">=", 0.9, least))
    off = [
        abs(row[f"{what} {sign}, files"] - row[f"{what} {sign}, published"])
        for row in found["table_8"]
        for what in ("best", "correlation")
        for sign in ("with", "without")
    ]
    # 0.69497 is printed as 0.70
    rows.append(("Table 8 from the files: difference", "<=", 0.0051, max(off)))
    return [
        {
            "what": what,
            "limit": f"{sign} {limit:g}",
            "worst": value,
            "reached": "yes" if (value <= limit if sign == "<=" else value >= limit) else "no",
        }
        for what, sign, limit, value in rows
    ]


def cell(value: Any) -> str:
    """Return a figure, an interval or a word as text."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "{:.3f} [{:.3f}, {:.3f}]".format(*value)
    if isinstance(value, float):
        form = ".1e" if 0 < abs(value) < 1e-3 else ".7g" if value > 10 else ".4f"
        return format(value, form)
    return ALL[value].title if value in ALL else str(value)


def print_table(title: str, rows: Sequence[Row]) -> None:
    """Print rows in Markdown, under the keys that any of them has."""
    heads = list(dict.fromkeys(head for row in rows for head in row))
    print(f"\n{title}\n\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for row in rows:
        print(f"| {' | '.join(cell(row.get(head)) for head in heads)} |")


TABLES: Mapping[str, Callable[[Scores], list[Row]]] = {
    "exact": lambda scores: exact(),
    "columns": whole_columns,
    "clean": clean,
    "own_weights": own_weights,
    "fusions": fusions,
    "signs": signs,
    "proxies": all_proxies,
    "compared": compared,
    "dependence": dependence,
    "table_8": lambda scores: table_8(),
    "otherwise": otherwise,
    "trained_twice": lambda scores: trained_twice(),
}

# Tables that can be had alone, and the settings of their scores.
ALONE = {"own_weights": tuple(OWN), "fusions": tuple(FUSIONS), "compared": ("compared",)}

TITLES = {
    "exact": "1. The first two networks, as coded",
    "columns": "1. Whole columns, as coded",
    "clean": "2. As the papers define them: rank correlations",
    "own_weights": "2. Weights of our own, Indian Pines: rank correlations",
    "fusions": "2. dss on weights of our own, with the fusions of another supernet",
    "signs": "2. Which weights are made positive: rank correlations on the same networks",
    "proxies": "3. All proxies: rank correlations",
    "compared": "3. Four of them on more networks: rank correlations",
    "dependence": "4. Rank correlation with the published column, Indian Pines",
    "table_8": "5. Table 8",
    "otherwise": "6. Columns that were computed in another way than told",
    "trained_twice": "7. The same networks trained twice",
    "bars": "What was to be reached",
}


def main() -> None:
    """Score, compare, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="7 networks a scene")
    parser.add_argument(
        "--every",
        type=int,
        default=8,
        choices=(1, 2, 4, 8, 16, 32),
        help="which networks proxies that read data score (8)",
    )
    parser.add_argument(
        "--parts",
        type=lambda text: text.split(","),
        help=f"some of the tables alone, with commas between: {', '.join(ALONE)}",
    )
    parser.add_argument("--scores", type=Path, help="file of scores, to be continued")
    parser.add_argument(
        "--no-scoring", action="store_true", help="use what --scores holds, no more"
    )
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    parser.add_argument("--out", type=Path, help="file for the figures, JSON")
    options = parser.parse_args()
    if not all(tables.table_files(f"hytas_{scene}") for scene in SCENES):
        sys.exit("set SWATH_DATA to the folder of the data")
    unknown = set(options.parts or ()) - set(ALONE)
    if unknown:
        parser.error(f"there is no part '{unknown.pop()}'; parts are: {', '.join(ALONE)}")
    torch.set_num_threads(1)
    about = describe()
    settings = [name for part in options.parts for name in ALONE[part]] if options.parts else None
    scores = (
        read_scores(options.scores)
        if options.no_scoring
        else score_all(
            options.scores,
            QUICK if options.quick else options.every,
            options.quick,
            settings or list(SETTINGS),
        )
    )
    found: dict[str, Any] = {
        "command": shlex.join(["benchmarks/hytas_tables.py", *sys.argv[1:]]),
        "machine": about,
    }
    for part, table in TABLES.items():
        if options.parts is None or part in options.parts:
            found[part] = table(scores)
    if options.parts is None:
        found["bars"] = bars(found)
    for part, title in TITLES.items():
        if part in found:
            print_table(title, found[part])
    if options.json:
        print(json.dumps(found))
    if options.out:
        write_json(options.out, found)


if __name__ == "__main__":
    main()
