"""How well predictors rank the spectral transformers of HyTAS's tables, from few that were trained.

Table 1 is RQ4 of HyTAS on Indian Pines: a random forest learns from 1 to 50 percent of the table
and ranks the rest, with four sets of features.  "as published" means each layer's heads and ratios
as one text for the whole network, one-hot, so that hardly any two networks share one; "numbers" are
those of the space.  The six proxies are those of the publication, standardised.  Beside ours stand
the figures computed from the authors' files independently of swath.

Table 2 are swath's predictors, from 100 trained networks of each scene, ranking all others: mean
and standard deviation over five seeds of Spearman's correlation with the overall accuracy, and the
mean seconds of learning and predicting.  Nothing goes from one scene to another.  Scenes whose
files are not below SWATH_DATA are left out, of the mean as well.  First come what needs no training
at all, then the reference, a random forest on one-hot genes and eight proxies.  The last row learns
from 1500 networks instead: about what can be known of these tables at all.

    python benchmarks/predictors.py             # some minutes
    python benchmarks/predictors.py --quick     # two seeds, few fractions, no graph network
    python benchmarks/predictors.py --json
    python benchmarks/predictors.py --out FILE.json --plot FILE.png    # Fig. 3 of the paper
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.stats import spearmanr
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import train_test_split

from swath.core.machine import describe
from swath.estimators import predictors, tables
from swath.report.proxy_plots import plot_learning

Floats = npt.NDArray[np.float64]

SCENES = {
    "hytas_indian": "Indian Pines",
    "hytas_houston": "Houston",
    "hytas_pavia": "Pavia",
    "hytas_ksc": "KSC",
    "hytas_salinas": "Salinas",
}
SEEDS = (0, 1, 42, 1000, 65535)
KNOWN = 100
SIX = ("snip", "grad_norm", "synflow", "dss", "zico", "fisher")
EIGHT = (*SIX, "naswot", "jacob_cov")
REFERENCE = "random forest, genes + 8 proxies"
FRACTIONS = (1, 2.5, 5, 10, 20, 30, 50)

# Mean and standard deviation over the same five seeds, by percent of the table.
PUBLISHED: dict[str, tuple[tuple[float, float], ...]] = {
    "as published + 6 proxies": (
        (0.787, 0.013), (0.790, 0.007), (0.790, 0.011), (0.802, 0.003), (0.818, 0.005),
        (0.824, 0.004), (0.832, 0.007),
    ),
    "as published": (
        (0.186, 0.127), (0.446, 0.070), (0.596, 0.023), (0.726, 0.027), (0.786, 0.010),
        (0.806, 0.004), (0.820, 0.011),
    ),
    "numbers + 6 proxies": (
        (0.761, 0.010), (0.774, 0.011), (0.792, 0.013), (0.809, 0.005), (0.825, 0.009),
        (0.834, 0.004), (0.842, 0.008),
    ),
    "numbers": (
        (0.692, 0.044), (0.766, 0.012), (0.777, 0.015), (0.797, 0.008), (0.819, 0.008),
        (0.832, 0.005), (0.840, 0.007),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Entry:
    """A predictor of table 2."""

    predictor: str
    proxies: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    known: int = KNOWN


ENTRIES = {
    REFERENCE: Entry("random-forest", EIGHT, {"features": "genes"}),
    "random forest, numbers": Entry("random-forest"),
    "random forest, numbers + 8 proxies": Entry("random-forest", EIGHT),
    "gradient boosting, numbers + 8 proxies": Entry("gradient-boosting", EIGHT),
    "ridge, summary + 8 proxies": Entry("ridge", EIGHT, {"features": "summary"}),
    "gaussian-process": Entry("gaussian-process"),
    "gin": Entry("gin"),
    "relevance": Entry("relevance"),
    "ensemble": Entry("ensemble"),
    "ensemble + 8 proxies": Entry("ensemble", EIGHT),
    "ensemble + 8 proxies, 1500 networks": Entry("ensemble", EIGHT, known=1500),
}


def proxies(table: tables.Table, names: Sequence[str]) -> Floats | None:
    """Return (architectures, names) scores of the table; None where no names are given."""
    return np.stack([table.column(name).values for name in names], axis=1) if names else None


def split(count: int, known: float | int, seed: int) -> tuple[Any, Any]:
    """Return the rows to learn from and all others."""
    return tuple(train_test_split(np.arange(count), train_size=known, random_state=seed))


def agreement(found: Floats, truth: Floats) -> float:
    """Return Spearman's correlation."""
    return float(spearmanr(found, truth).statistic)


def summary(figures: Sequence[float]) -> dict[str, float]:
    """Return mean and standard deviation, to four places."""
    return {"mean": round(float(np.mean(figures)), 4), "sd": round(float(np.std(figures)), 4)}


# --- table 1 --------------------------------------------------------------------------------------


def one_hot(texts: Sequence[str]) -> Floats:
    """Return (texts, different texts)."""
    different, places = np.unique(texts, return_inverse=True)
    return np.eye(len(different))[places]


def as_published(table: tables.Table) -> Floats:
    """Return depth, widths, heads and ratios as texts of the whole network, one-hot."""
    space: Any = table.space
    nets = table.architectures
    columns = (
        [str(space.depth(net)) for net in nets],
        [str([net["embed_dim"]] * space.depth(net)) for net in nets],
        [str(space.heads(net)) for net in nets],
        [str(space.mlp_ratios(net)) for net in nets],
    )
    return np.hstack([one_hot(column) for column in columns])


def inputs(table: tables.Table) -> dict[str, Floats]:
    """Return the four sets of features of RQ4."""
    scores = proxies(table, SIX)
    assert scores is not None
    scores = (scores - scores.mean(axis=0)) / scores.std(axis=0)
    space: Any = table.space
    texts = as_published(table)
    numbers = np.array([space.numeric(net) for net in table.architectures])
    return {
        "as published + 6 proxies": np.hstack([texts, scores]),
        "as published": texts,
        "numbers + 6 proxies": np.hstack([numbers, scores]),
        "numbers": numbers,
    }


def forest_agreement(x: Floats, y: Floats, percent: float, seed: int) -> float:
    """Learn from some percent of the table and rank the rest."""
    known, rest = split(len(y), percent / 100, seed)
    # What is zero in all that is known cannot be split on: without it the forest is the same but
    # for its draws, and much faster.
    used = x[known].any(axis=0)
    forest = RandomForestRegressor(random_state=0).fit(x[known][:, used], y[known])
    return agreement(forest.predict(x[rest][:, used]), y[rest])


def rq4(quick: bool) -> dict[str, dict[str, Any]]:
    """Return table 1: by features and percent, ours and the published figure."""
    table = tables.load_table("hytas_indian")
    accuracy = table.column("oa").values
    found: dict[str, dict[str, Any]] = {}
    for name, x in inputs(table).items():
        found[name] = {}
        for percent, (mean, sd) in zip(FRACTIONS, PUBLISHED[name], strict=True):
            if quick and percent > 5:
                break
            ours = [
                forest_agreement(x, accuracy, percent, seed)
                for seed in (SEEDS[:2] if quick else SEEDS)
            ]
            found[name][str(percent)] = {**summary(ours), "published": {"mean": mean, "sd": sd}}
    return found


# --- table 2 --------------------------------------------------------------------------------------


def trivial(table: tables.Table) -> dict[str, Floats]:
    """Return what needs no training."""
    space: Any = table.space
    sizes = [net["embed_dim"] * space.depth(net) for net in table.architectures]
    return {
        "embed_dim x depth": np.array(sizes, float),
        "FLOPs": table.column("flops").values,
        "parameters": table.column("parameters").values,
        "best of 8 proxies": best_proxy(table),
    }


def best_proxy(table: tables.Table) -> Floats:
    """Return the proxy that agrees best with this very table's accuracy: an oracle's choice."""
    accuracy = table.column("oa").values
    columns = [table.column(name).values for name in EIGHT]
    return max(columns, key=lambda values: agreement(values, accuracy))


def learned(table: tables.Table, entry: Entry, seed: int) -> tuple[float, float]:
    """Return Spearman's correlation over the networks not learned from, and seconds."""
    accuracy, scores = table.column("oa").values, proxies(table, entry.proxies)
    known, rest = split(len(table), entry.known, seed)
    nets = table.architectures
    begun = time.perf_counter()
    predictor = predictors.create(entry.predictor, **entry.options)
    predictor.fit(
        table.space,
        [nets[row] for row in known],
        accuracy[known],
        seed,
        None if scores is None else scores[known],
    )
    found = predictor.predict([nets[row] for row in rest], None if scores is None else scores[rest])
    return agreement(found, accuracy[rest]), time.perf_counter() - begun


def few_trained(names: Sequence[str], quick: bool) -> dict[str, dict[str, Any]]:
    """Return table 2: by predictor and table, and the mean over the tables."""
    found: dict[str, dict[str, Any]] = {}
    seeds = SEEDS[:2] if quick else SEEDS
    for name in names:
        table = tables.load_table(name)
        accuracy = table.column("oa").values
        for rival, values in trivial(table).items():
            rests = [split(len(table), KNOWN, seed)[1] for seed in seeds]
            figures = [agreement(values[rest], accuracy[rest]) for rest in rests]
            found.setdefault(rival, {})[name] = {**summary(figures), "seconds": 0.0}
        for title, entry in ENTRIES.items():
            if quick and entry.predictor == "gin":
                continue
            figures, seconds = zip(*(learned(table, entry, seed) for seed in seeds), strict=True)
            found.setdefault(title, {})[name] = {
                **summary(figures),
                "seconds": round(float(np.mean(seconds)), 2),
            }
    for row in found.values():
        row["mean"] = round(float(np.mean([row[name]["mean"] for name in names])), 4)
    return found


# --- all ------------------------------------------------------------------------------------------


def print_rq4(found: dict[str, dict[str, Any]]) -> None:
    """Print table 1."""
    print("Random forest on Indian Pines: Spearman on the rest, ours (published)\n")
    print(f"| train % | {' | '.join(found)} |\n{'|---' * (len(found) + 1)}|")
    for percent in next(iter(found.values())):
        cells = []
        for row in found.values():
            ours, theirs = row[percent], row[percent]["published"]
            cells.append(
                f"{ours['mean']:.3f} ± {ours['sd']:.3f} ({theirs['mean']:.3f} ± {theirs['sd']:.3f})"
            )
        print(f"| {percent} | {' | '.join(cells)} |")


def draw_rq4(found: dict[str, dict[str, Any]], path: Path) -> None:
    """Draw table 1, as figure 3 of the paper."""
    curves = {
        name: {float(percent): (one["mean"], one["sd"]) for percent, one in row.items()}
        for name, row in found.items()
    }
    plot_learning(curves, path, "Random forest, Indian Pines")


def print_few_trained(found: dict[str, dict[str, Any]], names: Sequence[str]) -> None:
    """Print table 2."""
    print(f"\nFrom {KNOWN} trained networks: Spearman on the rest\n")
    print(f"| predictor | {' | '.join(SCENES[name] for name in names)} | mean | seconds |")
    print("|---" * (len(names) + 3) + "|")
    for title, row in found.items():
        cells = [f"{row[name]['mean']:.3f} ± {row[name]['sd']:.3f}" for name in names]
        seconds = np.mean([row[name]["seconds"] for name in names])
        print(f"| {title} | {' | '.join(cells)} | {row['mean']:.3f} | {seconds:.1f} |")


def main() -> None:
    """Measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="fewer seeds and fractions")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    parser.add_argument("--out", type=Path, help="file for the figures, JSON")
    parser.add_argument("--plot", type=Path, help="picture of table 1, PNG or SVG")
    options = parser.parse_args()
    names = [name for name in SCENES if tables.table_files(name)]
    if "hytas_indian" not in names:
        sys.exit("set SWATH_DATA to the folder of the data")
    torch.set_num_threads(1)
    about = describe("scipy", "scikit-learn")
    few = few_trained(names, options.quick)
    print_few_trained(few, names)
    forests = rq4(options.quick)
    print_rq4(forests)
    found = {
        "command": f"benchmarks/predictors.py{' --quick' if options.quick else ''}",
        "machine": about,
        "rq4": forests,
        "few_trained": few,
    }
    if options.json:
        print(json.dumps(found))
    if options.out:
        options.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    if options.plot:
        draw_rq4(forests, options.plot)


if __name__ == "__main__":
    main()
