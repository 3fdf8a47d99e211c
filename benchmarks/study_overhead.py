"""What a study adds to a query of a table, beside plain Optuna that asks and tells.

    python benchmarks/study_overhead.py [--quick] [--json]

The estimator is a dictionary look-up and the strategy draws at random, so that nearly all of the
time is the study's own.  Both keep every trial: swath's study in its journal or in memory, Optuna
in its JournalStorage and InMemoryStorage with its random sampler, one ask and one tell a trial and
the same categorical parameters.  Optuna's journal writes a line for each parameter and forces each
through the disk's cache, so it is given fewer trials; their cost does not depend on the number.
The rounds take turns, so that a busy machine slows all alike.
Bars: at most 5 ms a trial with the journal, at most 0.5 ms in memory.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.storages import InMemoryStorage, JournalStorage
from optuna.storages.journal import JournalFileBackend

from swath.core.architecture import Architecture, Gene
from swath.core.evaluation import Cost, Evaluation
from swath.core.history import History, Proposal
from swath.core.machine import describe
from swath.core.seeds import numpy_generator
from swath.spaces.base import SearchSpace
from swath.study.conduct import open_study
from swath.study.studies import run_study

BARS = {"journal": 5.0, "memory": 0.5}
OPTUNA_JOURNAL = 60
OPERATORS = ("none", "skip_connect", "nor_conv_1x1", "nor_conv_3x3", "avg_pool_3x3")


class Cell(SearchSpace):
    """Genes with five operators each; six are those of NAS-Bench-201."""

    name = "cell"

    def __init__(self, genes: int) -> None:
        self.genes = tuple(Gene(f"edge{i}", OPERATORS) for i in range(genes))
        self.options = {"genes": genes}


@dataclass(frozen=True)
class Draw:
    batch: int = 50

    def propose(self, space: Any, history: History, seed: int) -> list[Proposal]:
        rng = numpy_generator(seed, "draw", len(history))
        return [Proposal(space.sample(rng)) for _ in range(self.batch)]


@dataclass(frozen=True)
class Lookup:
    """As a table answers: a number by the first six genes, with costs and two more figures."""

    direction: str = "maximize"
    budgets: tuple[int, ...] = ()

    def cost(self, architecture: Architecture) -> Cost:
        return Cost()

    def evaluate(
        self, architecture: Architecture, *, budget: int | None = None, seed: int = 0
    ) -> Evaluation:
        score = SCORES[tuple(value for _, value in architecture.genes[:6])]
        return Evaluation(score, "maximize", Cost(1000, 2000), {"valid": score, "test": score})


SCORES: dict[tuple[Any, ...], float] = {}


def fill_table() -> None:
    values = np.random.default_rng(0).random(len(OPERATORS) ** 6)
    for index, value in enumerate(values):
        places = [index // len(OPERATORS) ** i % len(OPERATORS) for i in range(6)]
        SCORES[tuple(OPERATORS[place] for place in places)] = float(value)


def with_swath(genes: int, trials: int, folder: Path | None) -> None:
    estimator: Any = Lookup()
    run_study(Cell(genes), Draw(), estimator, trials=trials, store=folder)


def with_optuna(genes: int, trials: int, folder: Path | None) -> None:
    storage: Any = InMemoryStorage()
    if folder is not None:
        folder.mkdir(parents=True)
        storage = JournalStorage(JournalFileBackend(str(folder / "study.journal")))
    study = optuna.create_study(
        storage=storage, direction="maximize", sampler=optuna.samplers.RandomSampler(0)
    )
    for _ in range(trials):
        trial = study.ask()
        chosen = tuple(trial.suggest_categorical(f"edge{i}", OPERATORS) for i in range(genes))
        study.tell(trial, SCORES[chosen[:6]])


def milliseconds(run: Callable[[int, int, Path | None], None], *how: Any) -> float:
    start = time.perf_counter()
    run(*how)
    return 1e3 * (time.perf_counter() - start) / how[1]


def measure(trials: int, rounds: int, genes: int) -> list[dict[str, Any]]:
    found: dict[tuple[str, str], list[float]] = {}
    resumed = []
    with tempfile.TemporaryDirectory() as folder:
        for turn in range(rounds):
            for store in ("journal", "memory"):
                for who, run in (("swath", with_swath), ("Optuna", with_optuna)):
                    place = Path(folder) / f"{who}-{turn}" if store == "journal" else None
                    count = OPTUNA_JOURNAL if store == "journal" and who == "Optuna" else trials
                    taken = milliseconds(run, genes, count, place)
                    found.setdefault((store, who), []).append(taken)
            start = time.perf_counter()
            assert len(open_study(Path(folder) / f"swath-{turn}").trials) == trials
            resumed.append(time.perf_counter() - start)
    return [
        {
            "genes": genes,
            "trials": trials,
            "store": store,
            "swath_ms": statistics.median(found[store, "swath"]),
            "swath_ms_all": found[store, "swath"],
            "optuna_ms": statistics.median(found[store, "Optuna"]),
            "optuna_ms_all": found[store, "Optuna"],
            "bar_ms": BARS[store],
            **({"load_seconds": statistics.median(resumed)} if store == "journal" else {}),
        }
        for store in ("journal", "memory")
    ]


def print_table(results: Sequence[dict[str, Any]]) -> None:
    print(f"{results[0]['trials']:,} trials, ms a trial\n")
    print("| genes | store   | swath  (least, most) | Optuna (least, most) | bar  | reading |")
    print("|------:|---------|----------------------|----------------------|-----:|--------:|")
    for one in results:
        cells = [
            f"{one[f'{who}_ms']:6.3f} ({min(one[f'{who}_ms_all']):.3f}, "
            f"{max(one[f'{who}_ms_all']):.3f})"
            for who in ("swath", "optuna")
        ]
        reading = f"{one['load_seconds']:.2f} s" if "load_seconds" in one else ""
        print(
            f"| {one['genes']:5d} | {one['store']:7s} | {cells[0]:20s} | {cells[1]:20s} | "
            f"{one['bar_ms']:4.1f} | {reading:>7s} |"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="1,000 trials instead of 10,000")
    parser.add_argument("--json", action="store_true", help="figures as JSON on the last line")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    fill_table()
    about = describe("optuna")
    print(about)
    trials, rounds = (1_000, 3) if given.quick else (10_000, 3)
    results = [one for genes in (6, 12) for one in measure(trials, rounds, genes)]
    print_table(results)
    if given.json:
        print(json.dumps({"machine": about, "results": results}))
    missed = [one for one in results if one["swath_ms"] > one["bar_ms"]]
    for one in missed:
        print(f"{one['store']}, {one['genes']} genes: above its bar", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
