"""How well supernets rank networks that were trained on their own, on a real patch task.

    SWATH_DATA=... python benchmarks/supernet_ranking.py children [--out FILE.csv]
    SWATH_DATA=... python benchmarks/supernet_ranking.py supernets [--out FILE.json]
    SWATH_DATA=... python benchmarks/supernet_ranking.py variations [--out FILE.json]

The task: the six classes of Salinas-A from 5 x 5 patches of every twelfth of its bands, 20 training
and 60 validation labels a class, spatial split.  The space: NAS-Bench-201 with 2 channels and one
cell a stage, of which four edges are searched (CELL): 144 cells, which are 109 different networks.

``children`` trains each of these from scratch with 32 seeds and scores it on all test labels: the
truth.  ``supernets`` trains supernets in ten repeats and compares how each ranks its children with
the truth (Kendall's tau-b):

* spos: uniform paths over the whole space (Guo et al.), as many updates as the others in all;
* shrink by SI, S, angle: two shrinkings of three operators each, by Eq. 5 alone, by Eq. 7, and as
  ABS does;
* se-nas: shrink by S and expand; SI and at random with expanding beside it.

All methods of a repeat share their first stage, which is the same for all.  The rankings of
shrunken spaces are of the children that are left, so spos is asked for the same children too.
The lines that begin with "spos," are the plain supernet whose children are judged in other ways.
``variations`` trains the plain supernet three times as long, and ranks operators by other scores,
in three repeats.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import functools
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from _data import data_folder
from _ranking.bundle import Lesson, bundled, train_bundle
from scipy.stats import kendalltau, levene, wilcoxon
from torch import nn

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.evaluation import Evaluation
from swath.core.machine import describe
from swath.core.seeds import derive, numpy_generator
from swath.estimators.inherited import Inherited
from swath.networks.cost import count_parameters
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.narrowed import Narrowed
from swath.spaces.nasbench201 import NASBench201
from swath.strategies.one_shot import OneShot
from swath.strategies.one_shot_settings import OneShotSettings, Shrinking
from swath.study.preparation import open_task_scene, prepare_task
from swath.study.settings import TaskSettings
from swath.supernets.shrinking import Operator, importance, score
from swath.supernets.training import SupernetTraining, averaged
from swath.tasks.scene import SceneTask
from swath.training.loop import TrainingSettings

CELL: dict[str, tuple[str, ...]] = {
    "0-1": ("nor_conv_3x3",),
    "0-2": ("none", "skip_connect", "avg_pool_3x3"),
    "1-2": ("none", "skip_connect", "nor_conv_3x3", "avg_pool_3x3"),
    "0-3": ("none",),
    "1-3": ("skip_connect", "nor_conv_3x3", "avg_pool_3x3"),
    "2-3": ("none", "skip_connect", "nor_conv_3x3", "avg_pool_3x3"),
}
SPACE = {"channels": 2, "cells": 1, "patch": 5}
BANDS = ",".join(map(str, range(0, 204, 12)))
TRAIN, VALIDATION = 20, 60  # labels a class
CHILD_SEEDS = tuple(range(32))
BUNDLE = 32  # seeds that are trained at once
REPEATS = 10
LONGER, FEW = 3, 3  # of the variations: times the updates, repeats
CHILD = TrainingSettings(
    iterations=120,
    batch=32,
    sampling="balanced",
    learning_rate=0.05,
    weight_decay=5e-4,
    bias_rate=1.0,
    schedule="cosine",
)
STAGES = (20, 6)  # epochs of the first stage and of each later one
SUPERNET = SupernetTraining(
    epochs=STAGES[0],
    later_epochs=STAGES[1],
    steps=30,
    batch=32,
    sampling="balanced",
    learning_rate=0.05,
    snapshots=10,
)
RECALIBRATION = 128
SHRINKING_STAGES = 2
SHRINKING = Shrinking(drop=3, children=30, stages=SHRINKING_STAGES)
METHODS: dict[str, Shrinking] = {
    "shrink by SI": dataclasses.replace(SHRINKING, measure="importance", expand=False),
    "shrink by S": dataclasses.replace(SHRINKING, measure="score", expand=False),
    "shrink by angle": dataclasses.replace(SHRINKING, measure="angle", expand=False),
    "se-nas (shrink by S, expand)": dataclasses.replace(SHRINKING, measure="score"),
    "shrink by SI, expand": dataclasses.replace(SHRINKING, measure="importance"),
    "shrink at random, expand": dataclasses.replace(SHRINKING, measure="random"),
}
SPOS = "spos"
OTHER_JUDGEMENTS = {  # whether the weights are a mean of snapshots; patches of recalibration
    "spos, last weights (K = 1)": (False, RECALIBRATION),
    "spos, not recalibrated": (True, 0),
}
WHAT = ("children", "supernets", "variations")
Truth = dict[Architecture, float]
Rows = dict[str, dict[str, float]]
"""Of each method its figures."""


@functools.cache
def searched_task() -> SceneTask:
    """Return the task whose training and validation labels the supernets see."""
    folder = data_folder() / "salinas_a"
    settings = TaskSettings(
        scene=str(folder / "SalinasA_corrected.mat"),
        labels=str(folder / "SalinasA_gt.mat"),
        bands=BANDS,
        split="spatial",
        scaling="standard",
        train=TRAIN,
        validation=VALIDATION,
    )
    task = prepare_task(open_task_scene(settings), settings, 0)
    task.load()
    return task


def judged_task() -> SceneTask:
    """Return the same task with the test labels in place of the validation labels."""
    task = searched_task()
    none = np.zeros_like(task.split.test)
    split = dataclasses.replace(task.split, validation=task.split.test, test=none)
    judged = dataclasses.replace(task, split=split)
    judged.load()
    return judged


def whole_space() -> NASBench201:
    """Return the small NAS-Bench-201."""
    space = spaces.create("nasbench201", **SPACE)
    assert isinstance(space, NASBench201)
    return space


def cells(space: NASBench201) -> Narrowed:
    """Return the part of it that is searched."""
    return Narrowed(space, CELL)


def different(space: NASBench201) -> list[Architecture]:
    """Return the first of the cells of each network; networks are trained as canonical cells."""
    first: dict[Architecture, Architecture] = {}
    for one in cells(space).enumerate():
        first.setdefault(space.canonical(one), one)
    return list(first.values())


def train_children(out: Path, seeds: Sequence[int]) -> None:
    """Train every different network of the space; go on where an earlier call stopped."""
    space, task = whole_space(), judged_task()
    networks = sorted(
        {space.canonical(one) for one in cells(space).enumerate()}, key=space.arch_str
    )
    done: set[tuple[str, int]] = set()
    if out.exists():
        with open(out, newline="") as file:
            done = {(row["arch_str"], int(row["seed"])) for row in csv.DictReader(file)}
    else:
        out.write_text("arch_str,seed,accuracy,parameters,seconds\n")
    for some in (seeds[start : start + BUNDLE] for start in range(0, len(seeds), BUNDLE)):
        lesson = Lesson.of(task, space.settings.patch, CHILD, some)
        for network in networks:
            name = space.arch_str(network)
            if all((name, seed) in done for seed in some):
                continue
            begun = time.process_time()
            children = [untrained(space, network, task, seed) for seed in some]
            accuracies = train_bundle(bundled(children), lesson, CHILD)
            parameters = count_parameters(children[0])
            seconds = (time.process_time() - begun) / len(some)
            with open(out, "a") as file:
                for seed, accuracy in zip(some, accuracies, strict=True):
                    file.write(f"{name},{seed},{accuracy:.6f},{parameters},{seconds:.3f}\n")


def untrained(space: NASBench201, network: Architecture, task: SceneTask, seed: int) -> nn.Module:
    """Return a network with the first weights of a seed."""
    torch.manual_seed(derive(seed, "network"))
    return space.build(network, InputSpec(task.bands), OutputSpec(task.classes))


def read_truth(path: Path) -> tuple[Truth, Truth, dict[str, float]]:
    """Return accuracy and size of every cell of the space, and facts on the table.

    Cells that are the same network share its figures.
    """
    space = whole_space()
    runs: dict[str, list[float]] = {}
    sizes: dict[str, float] = {}
    seconds = 0.0
    with open(path, newline="") as file:
        for row in csv.DictReader(file):
            runs.setdefault(row["arch_str"], []).append(float(row["accuracy"]))
            sizes[row["arch_str"]] = float(row["parameters"])
            seconds += float(row["seconds"])
    mean, size = {}, {}
    for one in cells(space).enumerate():
        name = space.arch_str(space.canonical(one))
        mean[one], size[one] = float(np.mean(runs[name])), sizes[name]
    accuracies = np.array(list(runs.values()))
    networks = accuracies.mean(1)
    facts = {
        "networks": len(accuracies),
        "seeds": accuracies.shape[1],
        "seconds": round(seconds),
        "lowest": float(networks.min()),
        "median": float(np.median(networks)),
        "highest": float(networks.max()),
        **reliability(accuracies),
    }
    return mean, size, facts


def reliability(accuracies: npt.NDArray[np.float64]) -> dict[str, float]:
    """Return how far a table of accuracies (networks, seeds) tells its networks apart.

    What a seed does to all networks alike is no noise to their ranking, and is taken out.
    """
    networks, seeds = accuracies.shape
    means = accuracies.mean(1)
    rest = accuracies - means[:, None] - accuracies.mean(0) + accuracies.mean()
    noise = float((rest**2).sum() / ((networks - 1) * (seeds - 1)))
    between = max(0.0, float(means.var(ddof=1)) - noise / seeds)
    rng = numpy_generator(0, "halves")
    taus = []
    for _ in range(100):
        order = rng.permutation(seeds)
        one, other = (accuracies[:, half].mean(1) for half in np.array_split(order, 2))
        taus.append(tau(one.tolist(), other.tolist()))
    single = [
        tau(accuracies[:, seed].tolist(), np.delete(accuracies, seed, 1).mean(1).tolist())
        for seed in range(seeds)
    ]
    return {
        "standard deviation between networks": between**0.5,
        "of one network between seeds": noise**0.5,
        "tau between halves of the seeds": float(np.mean(taus)),
        "tau of one training with the others": mean(single),
        "its spread": spread(single),
    }


def tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Kendall's tau-b; 0 where one of the two is constant and says nothing."""
    value = float(kendalltau(first, second).statistic)
    return 0.0 if np.isnan(value) else value


def begin(seed: int) -> OneShot:
    """Return a search after its first stage, which all methods share, with all cells judged."""
    # Of the measures angle alone needs the weights of the beginning, which are kept from here on.
    shrinking = dataclasses.replace(SHRINKING, measure="angle")
    settings = OneShotSettings(training=SUPERNET, shrinking=shrinking, recalibration=RECALIBRATION)
    search = OneShot(cells(whole_space()), searched_task(), settings, seed=seed)
    train_stage(search)
    search.judge(list(search.remaining.enumerate()))
    return search


def train_stage(search: OneShot) -> None:
    """Train a stage to its end."""
    while search.trainer.epoch < search.trainer.epochs:
        search.train_epoch()


def run_method(first: OneShot, name: str) -> tuple[OneShot, float]:
    """Return a search of a method after its last stage, and the seconds beyond the first one."""
    begun = time.process_time()
    search = copy.deepcopy(first)
    search.settings = dataclasses.replace(search.settings, shrinking=METHODS[name])
    while not search.trained:
        search.shrink()
        train_stage(search)
    return search, time.process_time() - begun


def run_spos(seed: int, times: int = 1) -> OneShot:
    """Return the plain supernet after as many updates as the others have in all, or times that."""
    epochs = times * (STAGES[0] + SHRINKING_STAGES * STAGES[1])
    training = dataclasses.replace(SUPERNET, epochs=epochs)
    settings = OneShotSettings(training=training, recalibration=RECALIBRATION)
    search = OneShot(cells(whole_space()), searched_task(), settings, seed=seed)
    train_stage(search)
    return search


def ranks(
    children: Sequence[Architecture], found: Mapping[Architecture, Evaluation], truth: Truth
) -> dict[str, float]:
    """Return how judgements of children agree with the truth, and which child is picked."""
    true = [truth[one] for one in children]
    losses = [-found[one].metrics["validation_loss"] for one in children]
    picked = max(children, key=lambda o: (found[o].score, -found[o].metrics["validation_loss"]))
    return {
        "children": len(children),
        "tau": tau([found[one].score for one in children], true),
        "tau by loss": tau(losses, true),
        "mean accuracy left": float(np.mean(true)),
        "best accuracy left": max(true),
        "accuracy picked": truth[picked],
    }


def compare(search: OneShot, spos: OneShot, truth: Truth) -> dict[str, float]:
    """Return how a supernet ranks what it has left, beside spos on the same children."""
    children = list(search.remaining.enumerate())
    plain = ranks(children, spos.judge(children), truth)
    return {
        **ranks(children, search.judge(children), truth),
        "tau of spos": plain["tau"],
        "tau of spos by loss": plain["tau by loss"],
    }


def of_operators(search: OneShot, truth: Truth) -> dict[str, float]:
    """Return how well the first stage's scores rank operators, and which are left at the end.

    The true worth of an operator is the mean accuracy of all cells that have it.
    """
    space = cells(whole_space())
    true = importance(space, truth)
    said = {Operator(o["gene"], o["value"]): o["score"] for o in search.stages[0]["operators"]}
    left = {Operator(gene.name, value) for gene in search.remaining.genes for value in gene.choices}
    best = sorted(true, key=lambda one: -true[one])[: len(true) - SHRINKING_STAGES * SHRINKING.drop]
    return {
        "tau of operators": tau([said[one] for one in true], list(true.values())),
        "best operators kept": len(left & set(best)),
    }


def other_judgements(spos: OneShot, networks: Sequence[Architecture], truth: Truth) -> Rows:
    """Return how the plain supernet ranks when its children are judged in other ways."""
    rows: Rows = {}
    mean = spos.trainer.mean
    for name, (snapshots, recalibration) in OTHER_JUDGEMENTS.items():
        inherited = Inherited(
            spos.supernet,
            spos.space,
            spos.task,
            recalibration=recalibration,
            seed=derive(spos.seed, "recalibration"),
        )
        with averaged(spos.supernet, mean if snapshots else spos.supernet.tensors()):
            found = {one: inherited.evaluate(one) for one in networks}
        rows[name] = ranks(networks, found, truth)
    return rows


def repeat(seed: int, truth: Truth, size: Truth) -> Rows:
    """Return the figures of all methods with one seed."""
    networks = different(whole_space())
    begun = time.process_time()
    spos = run_spos(seed)
    spos_seconds = time.process_time() - begun
    rows: Rows = {SPOS: ranks(networks, spos.judge(networks), truth)}
    true = [truth[one] for one in networks]
    rows[SPOS] |= {
        "tau of parameters": tau([size[one] for one in networks], true),
        "seconds": spos_seconds,
    }
    begun = time.process_time()
    first = begin(seed)
    shared = time.process_time() - begun
    for name in METHODS:
        search, seconds = run_method(first, name)
        rows[name] = compare(search, spos, truth) | of_operators(search, truth)
        rows[name]["seconds"] = shared + seconds
    return rows | other_judgements(spos, networks, truth)


def variations(seed: int, truth: Truth) -> Rows:
    """Return how the plain supernet ranks after more updates, and operators by other scores."""
    networks = different(whole_space())
    spos = run_spos(seed, LONGER)
    rows: Rows = {f"spos, {LONGER} times the updates": ranks(networks, spos.judge(networks), truth)}
    first = begin(seed)
    space = cells(whole_space())
    found = first.judge(list(space.enumerate()))
    said = importance(space, {one: judged.score for one, judged in found.items()})
    scores_ = {"SI": said, "S, x / mean": score(said), "S, range": score(said, "range")}
    true = importance(space, truth)
    for name, scored in scores_.items():
        taus = tau([scored[one] for one in true], list(true.values()))
        rows[name] = {"tau of operators": taus}
    return rows


def summary(repeats: Sequence[Rows]) -> dict[str, dict[str, Any]]:
    """Return mean and standard deviation of each figure, and tests against spos."""
    table: dict[str, dict[str, Any]] = {}
    for name in repeats[0]:
        figures = {key: [run[name][key] for run in repeats] for key in repeats[0][name]}
        table[name] = {key: [mean(v), spread(v)] for key, v in figures.items()}
        if name in METHODS:
            picked = [run[SPOS]["accuracy picked"] for run in repeats]
            table[name] |= {
                "tau less that of spos": interval(figures["tau"], figures["tau of spos"]),
                "p tau above spos": better(figures["tau"], figures["tau of spos"]),
                "p tau by loss above spos": better(
                    figures["tau by loss"], figures["tau of spos by loss"]
                ),
                "p spread unlike spos": unlike(figures["tau"], figures["tau of spos"]),
                "p picked above spos": better(figures["accuracy picked"], picked),
            }
        elif name in OTHER_JUDGEMENTS:
            plain = [run[SPOS]["tau"] for run in repeats]
            table[name]["p tau unlike spos"] = better(plain, figures["tau"], "two-sided")
    return table


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return float(np.mean(values))


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation over the repeats; 0 of a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def better(
    ours: Sequence[float],
    theirs: Sequence[float],
    alternative: Literal["greater", "two-sided"] = "greater",
) -> float | None:
    """Return the p-value of Wilcoxon's signed-rank test; None where all are equal."""
    differences = np.subtract(ours, theirs)
    if not differences.any():
        return None
    return float(wilcoxon(differences, alternative=alternative).pvalue)


def interval(ours: Sequence[float], theirs: Sequence[float]) -> list[float]:
    """Return the mean difference, and the ends of its 95 % interval by bootstrap."""
    differences = np.subtract(ours, theirs)
    drawn = numpy_generator(0, "bootstrap").choice(differences, (10_000, len(differences)))
    low, high = np.percentile(drawn.mean(1), (2.5, 97.5))
    return [float(differences.mean()), float(low), float(high)]


def unlike(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return the p-value of Levene's test with medians (Brown, Forsythe); None of too few."""
    return float(levene(ours, theirs, center="median").pvalue) if len(ours) > 2 else None


def table(found: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table of a summary: how children are ranked."""
    lines = [
        "| method | children left | tau | tau of SPOS, same children | difference (95 %) | p "
        "| p, spreads | picked, % | seconds |",
        "|---" * 9 + "|",
    ]
    for name, row in found.items():
        cells_ = [
            name,
            f"{row['children'][0]:.0f}",
            plus_minus(row["tau"]),
            plus_minus(row["tau of spos"]) if name in METHODS else "",
            "{:.2f} ({:.2f} to {:.2f})".format(*row["tau less that of spos"])
            if name in METHODS
            else "",
            chance(row.get("p tau above spos", row.get("p tau unlike spos"))),
            chance(row.get("p spread unlike spos")),
            plus_minus(row["accuracy picked"], 100, 1),
            f"{row['seconds'][0]:.0f}" if "seconds" in row else "",
        ]
        lines.append(f"| {' | '.join(cells_)} |")
    return "\n".join(lines)


def operator_table(found: dict[str, dict[str, Any]]) -> str:
    """Return a Markdown table of a summary: how operators are scored."""
    lines = [
        "| method | tau of operators, first stage | best operators left in the end |",
        "|---|---|---|",
    ]
    for name in METHODS:
        row = found[name]
        kept = plus_minus(row["best operators kept"], 1, 1)
        lines.append(f"| {name} | {plus_minus(row['tau of operators'])} | {kept} |")
    return "\n".join(lines)


def plus_minus(figure: Sequence[float], factor: float = 1.0, digits: int = 2) -> str:
    """Return mean and standard deviation."""
    return " ± ".join(f"{factor * value:.{digits}f}" for value in figure)


def chance(p: float | None) -> str:
    """Return a p-value, where there is one."""
    return "" if p is None else f"{p:.3f}"


def run_supernets(children: Path, out: Path | None, seeds: Sequence[int]) -> dict[str, Any]:
    """Run the repeats, keeping each as soon as it is there."""
    about = describe()
    truth, size, facts = read_truth(children)
    result: dict[str, Any] = {"repeats": {}}
    if out is not None and out.exists():
        result = json.loads(out.read_text())
    result["truth"] = facts
    for seed in seeds:
        if str(seed) not in result["repeats"]:
            result["repeats"][str(seed)] = repeat(seed, truth, size)
        result["summary"] = summary(list(result["repeats"].values()))
        result["machine"] = about
        result["command"] = "benchmarks/supernet_ranking.py supernets"
        if out is not None:
            out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def run_variations(children: Path, out: Path | None, seeds: Sequence[int]) -> dict[str, Any]:
    """Run the variations; add them to the repeats' file."""
    truth, _, _ = read_truth(children)
    result: dict[str, Any] = {}
    if out is not None and out.exists():
        result = json.loads(out.read_text())
    result["variations"] = {str(seed): variations(seed, truth) for seed in seeds}
    if out is not None:
        out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=WHAT, default="supernets")
    default = Path(__file__).parent / "results" / "supernet_ranking_children.csv"
    parser.add_argument("--children", type=Path, default=default)
    parser.add_argument("--seeds", type=int, nargs="+", help="these alone")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="one repeat")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.what == "children":
        train_children(given.out or default, given.seeds or CHILD_SEEDS)
        return
    if given.what == "variations":
        few = run_variations(given.children, given.out, given.seeds or range(FEW))
        for name, row in summary(list(few["variations"].values())).items():
            print(name, {key: plus_minus(value) for key, value in row.items()})
        return
    seeds = given.seeds or range(1 if given.quick else REPEATS)
    result = run_supernets(given.children, given.out, seeds)
    print({key: round(value, 4) for key, value in result["truth"].items()})
    print(table(result["summary"]))
    print(operator_table(result["summary"]))
    if given.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
