"""What are zero-cost proxies worth to a search?  Strategies on tables with proxies of their own.

Three ways to use them, each with its rival that has to be beaten:

* ``rank-and-train``: 1000 random architectures of the table are ranked, and tried best first; by
  single proxies, and by several whose ranks are aggregated.  Rivals: ``random``, and the same road
  with sizes in place of proxies: embedding width times depth of HyTAS, parameters of the other.
* ``npenas`` with the ranks by proxies as features of a further predictor.  Rivals: ``npenas``
  without, and with sizes as the features, which has the further predictor too.

Regret: the table's best score less the best one found, in percentage points, after 1 to 50 trials.
HyTAS: overall accuracy of some 2000 transformers on each of three scenes (test labels: the tables
have no other), with the proxies of its authors.  NAS-Bench-201: test accuracy on CIFAR-100 after
200 epochs, with the proxies of FreeREA.  A table's proxies take no time here; 'swath proxies' and
docs/how-to/proxies.md say what they take.

Which predictor sees the features was chosen on the average accuracies of HyTAS's tables, which go
with the figures here; nothing else was chosen on these tables, and no proxy by its result.

Significance: two-sided Wilcoxon signed-rank tests of the regrets after 10 and after 50 trials,
paired by seed, with Holm's correction over the rows of a table.  Searches of one table try many of
the same networks: the tests tell of that table, and not how the next one will be.

    python benchmarks/proxy_strategies.py             # some minutes on one core
    python benchmarks/proxy_strategies.py --quick     # two tables, three seeds
    python benchmarks/proxy_strategies.py --json
    python benchmarks/proxy_strategies.py --out FILE.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import data_folder
from strategies_on_tables import PROBLEMS, best_score, holm, machine, signed_rank

from swath import estimators, strategies
from swath.core.files import write_json
from swath.core.history import History, Trial
from swath.estimators.scorers import Scorer
from swath.strategies.scoring import Scoring
from swath.study.scorers import make_scorer

TRIALS = 50
SHOWN = (1, 5, 10, 20, 50)
TESTED = (10, 50)
TABLES = ("hytas_indian", "hytas_houston", "hytas_pavia", "nas_bench_201")
HYTAS = ("snip", "grad_norm", "synflow", "dss", "zico", "fisher", "naswot", "jacob_cov")
ALL = {"nas_bench_201": ("synflow", "logsynflow", "naswot", "nregions")}
SIZES = {"nas_bench_201": ("parameters",)}


@dataclass(frozen=True)
class Row:
    """A strategy with its options, and the row whose regrets it is held against."""

    strategy: str
    options: dict[str, Any] = field(default_factory=dict)
    rival: str = ""


def rows(table: str) -> dict[str, Row]:
    """Return what is compared on a table: rivals first."""
    every = ALL.get(table, HYTAS)
    sizes = SIZES.get(table, ("embed_dim x depth", "parameters", "flops"))

    def rank(*proxies: str, how: str = "mean-rank") -> Row:
        rival = "" if proxies[0] in sizes else f"rank: {sizes[0]}"
        return Row("rank-and-train", {"proxies": proxies, "aggregate": how}, rival)

    return {
        "random": Row("random"),
        **{f"rank: {name}": rank(name) for name in sizes},
        **{f"rank: {name}": rank(name) for name in dict.fromkeys([*every, "logsynflow"])},
        "rank: naswot + logsynflow": rank("naswot", "logsynflow"),
        "rank: all proxies, mean rank": rank(*every),
        "rank: all proxies, log rank": rank(*every, how="log-rank"),
        "rank: all proxies, worst rank": rank(*every, how="worst-rank"),
        "npenas": Row("npenas"),
        "npenas + sizes": Row("npenas", {"features": sizes}, "npenas"),
        "npenas + all proxies": Row("npenas", {"features": every}, "npenas + sizes"),
    }


@lru_cache(maxsize=1)
def opened(table: str) -> tuple[Any, Scorer]:
    """Return the estimator of a table, with the figure that is searched for, and its proxies."""
    problem = PROBLEMS[table]
    estimator = estimators.create("table", table=problem.table, metric=problem.metric)
    return estimator, make_scorer(estimator)


def search(table: str, row: Row, seed: int) -> tuple[list[float], float]:
    """Return the regrets of one search after each number of trials in SHOWN, and its seconds."""
    problem, (estimator, scorer) = PROBLEMS[table], opened(table)
    space = estimator.search_space()
    strategy = strategies.create(row.strategy, **row.options)
    if isinstance(strategy, Scoring):
        strategy = strategy.with_scorer(scorer)
    trials: list[Trial] = []
    scores: list[float] = []
    begun = time.process_time()
    while len(trials) < TRIALS:
        for proposal in strategy.propose(space, History(trials), seed)[: TRIALS - len(trials)]:
            evaluation = estimator.evaluate(proposal.architecture, budget=problem.budget)
            trials.append(Trial(len(trials), proposal, evaluation))
            scores.append(evaluation.score)
    seconds = time.process_time() - begun
    best = best_score(table)
    return [problem.percent * (best - max(scores[:shown])) for shown in SHOWN], seconds


def compare(table: str, seeds: int) -> dict[str, dict[str, Any]]:
    """Return the figures of every row of a table."""
    found: dict[str, dict[str, Any]] = {}
    for name, row in rows(table).items():
        searches = [search(table, row, seed) for seed in range(seeds)]
        regrets = np.array([one for one, _ in searches])
        spread = regrets.std(axis=0, ddof=1)
        found[name] = {
            "regret": dict(zip(map(str, SHOWN), regrets.mean(axis=0).tolist(), strict=True)),
            "spread": dict(zip(map(str, SHOWN), spread.tolist(), strict=True)),
            "cpu_seconds": float(np.mean([seconds for _, seconds in searches])),
            "regrets": {
                str(shown): regrets[:, SHOWN.index(shown)].round(3).tolist() for shown in TESTED
            },
        }
        print(f"{table}, {name}: {found[name]['regret']}", file=sys.stderr, flush=True)
    judge(found, rows(table))
    return found


def judge(found: Mapping[str, dict[str, Any]], compared: Mapping[str, Row]) -> None:
    """Enter the p-values of each row against random search and against its rival."""
    held = {
        "random": {name: "random" for name in compared if name != "random"},
        "rival": {name: row.rival for name, row in compared.items() if row.rival},
    }
    for against, pairs in held.items():
        for shown in map(str, TESTED):
            values = [
                signed_rank(found[name]["regrets"][shown], found[other]["regrets"][shown])
                for name, other in pairs.items()
            ]
            for name, p in zip(pairs, holm(values), strict=True):
                found[name].setdefault(f"p_{against}", {})[shown] = p
                found[name][against] = pairs[name]


def markdown(found: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the figures of one table in Markdown."""
    heads = [
        "strategy",
        *(f"regret after {shown}" for shown in SHOWN),
        *(f"p against random, {shown}" for shown in TESTED),
        "rival",
        *(f"p against it, {shown}" for shown in TESTED),
        "seconds",
    ]
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for name, row in found.items():
        regrets = [f"{row['regret'][str(shown)]:.2f}" for shown in SHOWN]
        for shown in TESTED:
            regrets[SHOWN.index(shown)] += f" ± {row['spread'][str(shown)]:.2f}"
        cells = [name, *regrets, *_values(row, "random"), row.get("rival", "")]
        cells += [*_values(row, "rival"), f"{row['cpu_seconds']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def summary(tables: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> str:
    """Return regrets after 10 and 50 trials on all tables, in Markdown.

    "+" is better and "-" worse than the row's rival, with p below 0.05 after correction.
    """
    names: list[str] = []
    for found in tables.values():
        place = 0
        for name in found:  # after the row that it follows in its own table
            if name not in names:
                names.insert(place, name)
            place = names.index(name) + 1
    lines = [f"| strategy | {' | '.join(tables)} |", "|---" * (1 + len(tables)) + "|"]
    for name in names:
        cells = [_short(found, name) if name in found else "" for found in tables.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _short(found: Mapping[str, Mapping[str, Any]], name: str) -> str:
    row = found[name]
    texts = []
    for shown in map(str, TESTED):
        mark = ""
        if row.get("p_rival", {}).get(shown, 1.0) < 0.05:
            better = row["regret"][shown] < found[row["rival"]]["regret"][shown]
            mark = " +" if better else " -"
        texts.append(f"{row['regret'][shown]:.2f}{mark}")
    return ", ".join(texts)


def _values(row: Mapping[str, Any], against: str) -> Sequence[str]:
    known = row.get(f"p_{against}", {})
    return [f"{known[str(shown)]:.2g}" if known else "" for shown in TESTED]


def main() -> None:
    """Run what was asked for, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", nargs="+", default=list(TABLES), choices=TABLES)
    parser.add_argument("--seeds", type=int, default=50, help="searches of each strategy")
    parser.add_argument("--out", type=Path, help="JSON file of the figures")
    parser.add_argument("--quick", action="store_true", help="two tables, three seeds")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    data_folder()
    if options.quick:
        options.seeds, options.tables = 3, ["hytas_indian", "nas_bench_201"]
    torch.set_num_threads(1)
    command = " ".join(["benchmarks/proxy_strategies.py", *sys.argv[1:]])
    results: dict[str, Any] = {
        "command": command,
        "machine": machine(),
        "trials": TRIALS,
        "seeds": options.seeds,
        "tables": {},
    }
    for table in options.tables:
        results["tables"][table] = compare(table, options.seeds)
        if options.out:
            write_json(options.out, results)
        problem = PROBLEMS[table]
        print(f"\n{table} ({problem.metric}), {options.seeds} seeds: percentage points\n")
        print(markdown(results["tables"][table]))
    print(f"\nAll tables, after {TESTED[0]} and {TESTED[1]} trials\n")
    print(summary(results["tables"]))
    print(f"\n{results['machine']}")
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
