"""Which score of operators shrinks a space best, when what a child is worth comes from a table?

SE-NAS drops operators of NAS-Bench-201 in two stages, 30 -> 20 -> 10, and claims that its score S
(importance SI over sensitivity SC) keeps more of the ten operators that are truly best than SI
alone, than the magnitude of architecture parameters and than chance.  Here P(a), what a child is
worth, is a table's accuracy instead of a supernet's, and all children that remain are asked.

* The truth about an operator is the mean test accuracy after 200 epochs of all networks that have
  it, the publication's own measure (Fig. 6).  It is SI with P = test accuracy: with a P that agrees
  with it, no score can keep more of the best operators at the first stage than SI alone.
* P is validation accuracy: on CIFAR-10 after 200 epochs, on CIFAR-100 and ImageNet16-120 after 12
  (the table at hand has none after 200).
* So that P is as bad as a supernet's, noise is added to it until Kendall's tau between P and test
  accuracy is .54, as SE-NAS reports of its supernet: independent for every child ("children"), or a
  random bonus for every operator that all its children share ("operators").  Normal, drawn anew at
  each stage, the same for all scores.

Simulated noise says how the scores bear errors of these two kinds.  What errors a supernet makes it
does not say.  There are no architecture parameters on a table, so no magnitude either: the closest
thing, coefficients of the additive model that fits P best, are SI less the mean of P, the same
order.

Besides S as written other readings of Eq. 7 are tried, to find one of which the claim holds:

* "S range": (x - mean) / (max - min) for "mean normalization" instead of x / mean;
* "S, SD": the standard deviation in place of the variance;
* "S, mean of the edge": means over an edge's operators instead of all.  Normalised SC is then 1,
  and since all children are asked every edge's SI have the mean of P for their mean: the order is
  that of SI only, exactly;
* "S, SC of the rest": SC computed anew of the operators left after each single drop;
* "SI x SC": the product, which favours sensitive edges instead of stripping them;
* "SI / variance of P": over an operator's own children, which is another thing than Eq. 6.

    python benchmarks/shrinking_oracle.py                # three minutes
    python benchmarks/shrinking_oracle.py --quick        # five seeds, CIFAR-10 alone
    python benchmarks/shrinking_oracle.py --out FILE.json
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from _data import data_folder
from scipy.stats import kendalltau

from swath.core.files import write_text
from swath.core.machine import describe
from swath.core.seeds import numpy_generator
from swath.estimators.tables import Table, load_table
from swath.spaces.base import SearchSpace
from swath.supernets.shrinking import (
    Operator,
    Scores,
    dropped,
    importance,
    operators,
    random_score,
    score,
    sensitivity,
    without,
)

Floats = npt.NDArray[np.float64]

TABLE = "nas_bench_201"
STAGES = (10, 10)  # operators dropped
TAU = 0.54  # SE-NAS, Table 1: .543, .532, .539
TOPS = (10, 20)

# Data set: metric and budget of P, and of the truth.
DATA = {
    "cifar10": (("cifar10-valid", 200), ("cifar10-test", 200)),
    "cifar100": (("cifar100-valid", 12), ("cifar100-test", 200)),
    "imagenet16-120": (("imagenet16-120-valid", 12), ("imagenet16-120-test", 200)),
}
NOISES = ("none", "children", "operators")
SI, S, TRUTH, RANDOM = "SI only", "S (x / mean)", "truth", "random"


def by_product(si: Scores, _: Scores) -> Scores:
    """SI times SC; means over all operators change no order."""
    spread = sensitivity(si)
    return {operator: value * spread[operator] for operator, value in si.items()}


def by_deviation(si: Scores, _: Scores) -> Scores:
    """SI over the square root of SC."""
    spread = sensitivity(si)
    return {operator: value / spread[operator] ** 0.5 for operator, value in si.items()}


def by_edge_mean(si: Scores, _: Scores) -> Scores:
    """SI over its mean on the edge; SC over its mean there is 1."""
    of_edge: dict[str, list[float]] = {}
    for operator, value in si.items():
        of_edge.setdefault(operator.gene, []).append(value)
    return {o: value / (sum(of_edge[o.gene]) / len(of_edge[o.gene])) for o, value in si.items()}


def one_by_one(si: Scores, _: Scores) -> Scores:
    """The turn in which an operator goes when S is computed anew of those that are left."""
    left, turns = dict(si), dict.fromkeys(si, math.inf)
    while gone := dropped(score(left), 1):
        turns[gone[0]] = len(si) - len(left)
        del left[gone[0]]
    return turns


def by_own_variance(si: Scores, squares: Scores) -> Scores:
    """SI over the variance of P among the children that have the operator."""
    return {operator: value / (squares[operator] - value**2) for operator, value in si.items()}


# From SI and the mean of P squared, by operator.
MEASURES: Mapping[str, Callable[[Scores, Scores], Scores]] = {
    SI: lambda si, _: si,
    S: lambda si, _: score(si),
    "S range": lambda si, _: score(si, "range"),
    "S, SD": by_deviation,
    "S, mean of the edge": by_edge_mean,
    "S, SC of the rest": one_by_one,
    "SI x SC": by_product,
    "SI / variance of P": by_own_variance,
}


@dataclass(frozen=True)
class Problem:
    """A data set of the table.

    Parameters
    ----------
    worth, truth : P without noise and test accuracy of every network, percent.
    ranking : all operators by the mean test accuracy of their networks, the best first.
    rank : of every network by test accuracy, 1 the best.
    """

    table: Table
    worth: Floats
    truth: Floats
    ranking: list[Operator]
    rank: npt.NDArray[np.intp]

    @classmethod
    def of(cls, table: Table, data: str) -> Problem:
        """Read a data set's columns."""
        worth, truth = (table.column(*column).values for column in DATA[data])
        true = importance(table.space, dict(zip(table.architectures, truth, strict=True)))
        rank = np.empty(len(truth), np.intp)
        rank[np.argsort(-truth, kind="stable")] = np.arange(1, len(truth) + 1)
        return cls(table, worth, truth, sorted(true, key=lambda o: -true[o]), rank)

    def rows(self, space: SearchSpace) -> npt.NDArray[np.intp]:
        """Return the rows of the table that lie in a part of its space."""
        inside = np.ones(len(self.table), bool)
        for gene, part, codes in zip(
            self.table.space.genes, space.genes, self.table.genes.T, strict=True
        ):
            inside &= np.isin(codes, [gene.index(choice) for choice in part.choices])
        return np.flatnonzero(inside)

    def importance(self, space: SearchSpace, worth: Floats) -> Scores:
        """Return SI from all networks of a part of the space."""
        networks = self.table.architectures
        return importance(space, {networks[row]: worth[row] for row in self.rows(space)})

    def noise(self, kind: str, rng: np.random.Generator) -> Floats:
        """Return noise for every network, independent or of its operators."""
        if kind == "children":
            return rng.normal(size=len(self.worth))
        bonus = rng.normal(size=(self.table.genes.shape[1], 5))
        return np.asarray(bonus[np.arange(len(bonus)), self.table.genes].sum(axis=1))

    def noisy(self, kind: str, rng: np.random.Generator) -> Floats:
        """Return P with so much noise that tau is TAU, or as it is."""
        if kind == "none":
            return self.worth
        noise = self.noise(kind, rng)
        low, high = 0.0, 100.0
        for _ in range(14):
            middle = (low + high) / 2
            low, high = (
                (middle, high) if self.tau(self.worth + middle * noise) > TAU else (low, middle)
            )
        return self.worth + low * noise

    def tau(self, worth: Floats) -> float:
        """Return Kendall's tau of P with test accuracy, over the whole space."""
        return float(kendalltau(worth, self.truth).statistic)


def figures(problem: Problem, space: SearchSpace, worth: Floats) -> dict[str, Any]:
    """Return what is left: operators kept, networks, and the one that P takes for the best."""
    left = {Operator(gene.name, choice) for gene in space.genes for choice in gene.choices}
    rows = problem.rows(space)
    truth = problem.truth[rows]
    best, picked = rows[truth.argmax()], rows[worth[rows].argmax()]
    return {
        **{f"top {top} kept": len(left & set(problem.ranking[:top])) for top in TOPS},
        "rank of the best": int(problem.rank[best]),
        "best": float(problem.truth[best]),
        "mean": float(truth.mean()),
        "picked": float(problem.truth[picked]),
        "networks": len(rows),
        "an edge": [len(gene.choices) for gene in space.genes],
    }


def moments(problem: Problem, space: SearchSpace, worth: Floats) -> tuple[Scores, Scores]:
    """Return the means of P and of its square, by operator."""
    return problem.importance(space, worth), problem.importance(space, worth**2)


def shrink(
    problem: Problem,
    measure: str,
    worths: list[Floats],
    seed: int,
    first: tuple[Scores, Scores],
) -> list[dict[str, Any]]:
    """Return the figures after each stage.

    Parameters
    ----------
    worths : P of each stage and of the pick.
    first : :func:`moments` of the first stage, which are the same for all measures.
    """
    space: SearchSpace = problem.table.space
    found = []
    for stage, k in enumerate(STAGES):
        if measure == RANDOM:
            rng = numpy_generator(seed, RANDOM, str(stage))
            scores: Scores = random_score(operators(space), rng)
        elif measure == TRUTH:
            scores = problem.importance(space, problem.truth)
        else:
            known = moments(problem, space, worths[stage]) if stage else first
            scores = MEASURES[measure](*known)
        space = without(space, dropped(scores, k))
        found.append(figures(problem, space, worths[-1]))
    return found


def mean_and_spread(values: Sequence[float]) -> dict[str, float | None]:
    """Return mean and standard deviation over seeds."""
    spread = round(float(np.std(values, ddof=1)), 3) if len(values) > 1 else None
    return {"mean": round(float(np.mean(values)), 3), "sd": spread}


def average(runs: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Return mean and standard deviation over seeds of each figure, by stage."""
    stages = []
    for stage in zip(*runs, strict=True):
        one: dict[str, Any] = {}
        for name in stage[0]:
            values = [run[name] for run in stage]
            if name == "an edge":
                one[name] = [round(n, 2) for n in np.sort(values, axis=1).mean(axis=0)]
            else:
                one[name] = mean_and_spread(values)
        stages.append(one)
    return stages


def compare(problem: Problem, kind: str, seeds: int) -> dict[str, Any]:
    """Return all measures' figures under one kind of noise."""
    wanted = 1 if kind == "none" else seeds
    runs: dict[str, list[list[dict[str, Any]]]] = {}
    taus, spreads, unshrunk = [], [], []
    for seed in range(wanted):
        worths = [
            problem.noisy(kind, numpy_generator(seed, kind, str(stage)))
            for stage in range(len(STAGES) + 1)
        ]
        taus.append(problem.tau(worths[0]))
        spreads.append(float(np.std(worths[0] - problem.worth)))
        unshrunk.append(float(problem.truth[worths[-1].argmax()]))
        first = moments(problem, problem.table.space, worths[0])
        for measure in (TRUTH, *MEASURES):
            runs.setdefault(measure, []).append(shrink(problem, measure, worths, seed, first))
        for draw in range(1 if wanted > 1 else seeds):  # chance needs its seeds in any case
            runs.setdefault(RANDOM, []).append(shrink(problem, RANDOM, worths, seed + draw, first))
    against = {
        measure: [
            [int(np.sum(np.sign(difference) == sign)) for sign in (1, 0, -1)]
            for difference in (
                np.array([a[stage]["top 10 kept"] - b[stage]["top 10 kept"] for a, b in pairs])
                for stage in range(len(STAGES))
            )
        ]
        for measure in MEASURES
        for pairs in [list(zip(runs[measure], runs[SI], strict=True))]
    }
    return {
        "noise_sd": round(float(np.mean(spreads)), 3),
        "seeds": wanted,
        "tau": round(float(np.mean(taus)), 4),
        "picked_without_shrinking": mean_and_spread(unshrunk),
        "measures": {measure: average(found) for measure, found in runs.items()},
        "more_equal_less_of_top_10_than_si": against,
    }


def dominance(problem: Problem) -> dict[str, Any]:
    """How far SI and SC of the first stage differ: the largest over the smallest."""
    si = problem.importance(problem.table.space, problem.worth)
    sc = sensitivity(si)
    return {
        "si": {f"{o.gene} {o.value}": round(value, 3) for o, value in si.items()},
        "sc": {o.gene: round(value, 3) for o, value in sc.items()},
        "si_ratio": max(si.values()) / min(si.values()),
        "sc_ratio": max(sc.values()) / min(sc.values()),
    }


def most(problem: Problem) -> list[int]:
    """Return how many of the top 10 can be kept at each stage when every edge keeps one."""
    covered = len({operator.gene for operator in problem.ranking[:10]})
    uncovered = len(problem.table.space.genes) - covered
    left = len(problem.ranking) - np.cumsum(STAGES)
    return [int(min(10, n - uncovered)) for n in left]


def text(cell: Mapping[str, Any], digits: int) -> str:
    """Return a mean with its spread, where it has one."""
    spread = "" if not cell["sd"] else f" ± {cell['sd']:.{digits}f}"
    return f"{cell['mean']:.{digits}f}{spread}"


def print_table(found: Mapping[str, Any]) -> None:
    """Print one comparison in Markdown."""
    print(
        "| score | top 10 kept of 20 left | of 10 left | top 20 kept of 20 left | "
        "rank of the best, 20 left | 10 left | its accuracy, 10 left | mean, 10 left | "
        "picked by P | networks, 20 left | operators an edge, 20 left |"
    )
    print("|---" * 11 + "|")
    for measure, (first, second) in found["measures"].items():
        cells = [
            measure,
            text(first["top 10 kept"], 1),
            text(second["top 10 kept"], 1),
            text(first["top 20 kept"], 1),
            text(first["rank of the best"], 0),
            text(second["rank of the best"], 0),
            text(second["best"], 2),
            text(second["mean"], 2),
            text(second["picked"], 2),
            text(first["networks"], 0),
            " ".join(f"{n:g}" for n in first["an edge"]),
        ]
        print(f"| {' | '.join(cells)} |")


def main() -> None:
    """Run what was asked for, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", nargs="+", default=list(DATA), choices=list(DATA))
    parser.add_argument("--seeds", type=int, default=50, help="draws of the noise")
    parser.add_argument("--quick", action="store_true", help="five seeds, CIFAR-10 alone")
    parser.add_argument("--out", type=Path, help="JSON file for the figures")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    data_folder()
    if options.quick:
        options.seeds, options.data = 5, ["cifar10"]
    table = load_table(TABLE)
    results: dict[str, Any] = {
        "command": " ".join(["benchmarks/shrinking_oracle.py", *sys.argv[1:]]),
        "machine": describe(),
        "data": {},
    }
    for data in options.data:
        problem = Problem.of(table, data)
        about: dict[str, Any] = {
            "p": "{}@{}".format(*DATA[data][0]),
            "truth": "{}@{}".format(*DATA[data][1]),
            "best": float(problem.truth.max()),
            "mean": float(problem.truth.mean()),
            "most_of_top_10": most(problem),
            "ranking": [f"{o.gene} {o.value}" for o in problem.ranking],
            "first_stage": dominance(problem),
            "noise": {},
        }
        results["data"][data] = about
        print(f"\n# {data}: P {about['p']}, truth {about['truth']}")
        print(
            f"first stage, largest over smallest: SI {about['first_stage']['si_ratio']:.2f}, "
            f"SC {about['first_stage']['sc_ratio']:.0f}; "
            f"of the top 10 can be kept: {about['most_of_top_10']}"
        )
        for kind in NOISES:
            found = about["noise"][kind] = compare(problem, kind, options.seeds)
            print(
                f"\nnoise: {kind}, sd {found['noise_sd']:.2f}, tau {found['tau']:.3f}, "
                f"{found['seeds']} seeds; picked without shrinking "
                f"{text(found['picked_without_shrinking'], 2)}\n"
            )
            print_table(found)
            print("\nseeds with more / as many / less of the top 10 than SI only, by stage:")
            for measure, counts in found["more_equal_less_of_top_10_than_si"].items():
                print(f"  {measure}: {counts}")
        if options.out:
            write_text(options.out, json.dumps(results) + "\n")
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
