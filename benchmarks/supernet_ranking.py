"""How well supernets rank networks that were trained on their own, on a real patch task.

    SWATH_DATA=... python benchmarks/supernet_ranking.py children [--out FILE.csv]
    SWATH_DATA=... python benchmarks/supernet_ranking.py supernets [--out FILE.json]

The task: water or land from 9 x 9 patches of one Sentinel-2 chip of Sen1Floods11 (13 bands),
spatial split.  The space: the 243 cells of NAS-Bench-201 that have skip_connect, nor_conv_3x3 or
avg_pool_3x3 on five edges and none on the edge from input to output; 4 channels, one cell a stage.
They are 185 different networks.

``children`` trains each of these from scratch, several times, and scores it on 6,000 labels of the
test part: the truth.  ``supernets`` trains supernets in ten repeats and compares how each ranks
its children with the truth (Kendall's tau-b):

* spos: uniform paths over the whole space (Guo et al.), as many updates as the others in all;
* shrink SI, shrink S: two shrinkings of three operators each, by Eq. 5 alone and by Eq. 7;
* se-nas: shrink S and expand; SI + expand: the same by Eq. 5; random + expand: the control.

All methods of a repeat share their first stage, which is the same for all.  The rankings of
shrunken spaces are of the children that are left, so spos is asked for the same children too.
"""

from __future__ import annotations

import argparse
import copy
import csv
import dataclasses
import functools
import json
import os
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.stats import kendalltau, wilcoxon

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.machine import describe
from swath.core.seeds import derive, numpy_generator
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.narrowed import Narrowed
from swath.spaces.nasbench201 import NASBench201
from swath.strategies.one_shot import OneShot
from swath.strategies.one_shot_settings import OneShotSettings, Shrinking
from swath.study.preparation import open_task_scene, prepare_task
from swath.study.settings import TaskSettings
from swath.supernets.training import SupernetTraining
from swath.tasks.scene import SceneTask
from swath.training.loop import TrainingSettings, train

CELL = ("skip_connect", "nor_conv_3x3", "avg_pool_3x3")
EMPTY = "0-3"
SPACE = {"channels": 4, "cells": 1, "patch": 9}
LABELS = {"train": 2000, "validation": 2000}
TRUTH = 6000
CHILD_SEEDS = (0, 1, 2, 3)
REPEATS = 10
CHILD = TrainingSettings(
    iterations=200,
    batch=64,
    sampling="balanced",
    learning_rate=0.05,
    weight_decay=5e-4,
    bias_rate=1.0,
    schedule="cosine",
    clip_value=None,
    clip_norm=5.0,
    averaging=0.98,
    validate_every=200,
)
STAGES = (12, 6)  # epochs of the first stage and of each later one
SUPERNET = SupernetTraining(
    epochs=STAGES[0],
    later_epochs=STAGES[1],
    steps=40,
    batch=64,
    sampling="balanced",
    learning_rate=0.05,
    snapshots=10,
)
SHRINKING = Shrinking(drop=3, children=30, stages=2)
METHODS: dict[str, Shrinking] = {
    "shrink SI": dataclasses.replace(SHRINKING, measure="importance", expand=False),
    "shrink S": dataclasses.replace(SHRINKING, measure="score", expand=False),
    "se-nas (shrink S + expand)": dataclasses.replace(SHRINKING, measure="score"),
    "shrink SI + expand": dataclasses.replace(SHRINKING, measure="importance"),
    "shrink at random + expand": dataclasses.replace(SHRINKING, measure="random"),
}
SPOS = "spos"
Truth = dict[Architecture, float]


@functools.cache
def searched_task() -> SceneTask:
    """Return the task whose training and validation labels the supernets see."""
    chip = Path(os.environ["SWATH_DATA"]) / "sen1floods11" / "Spain_7370579_"
    settings = TaskSettings(
        scene=f"{chip}S2Hand.tif",
        labels=f"{chip}LabelHand.tif",
        unlabelled=(-1,),
        split="spatial",
        scaling="standard",
        **LABELS,
    )
    task = prepare_task(open_task_scene(settings), settings, 0)
    task.load()
    return task


def judged_task() -> SceneTask:
    """Return the same task with some test labels in place of the validation labels."""
    task = searched_task()
    places = np.argwhere(task.split.test)
    chosen = places[numpy_generator(0, "truth").choice(len(places), TRUTH, replace=False)]
    mask = np.zeros_like(task.split.test)
    mask[tuple(chosen.T)] = True
    split = dataclasses.replace(task.split, validation=mask, test=task.split.test & ~mask)
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
    choices = {gene.name: CELL for gene in space.genes}
    return Narrowed(space, {**choices, EMPTY: ("none",)})


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
    for seed in seeds:
        for network in networks:
            name = space.arch_str(network)
            if (name, seed) in done:
                continue
            begun = time.process_time()
            accuracy, parameters = train_child(space, network, task, seed)
            seconds = time.process_time() - begun
            with open(out, "a") as file:
                file.write(f"{name},{seed},{accuracy:.6f},{parameters},{seconds:.2f}\n")


def train_child(
    space: NASBench201, network: Architecture, task: SceneTask, seed: int
) -> tuple[float, int]:
    """Return the accuracy of a network trained on its own, and its number of weights."""
    torch.manual_seed(derive(seed, "network"))
    built = space.build_dense(network, InputSpec(task.bands), OutputSpec(task.classes))
    parameters = sum(p.numel() for p in built.parameters())
    with tempfile.TemporaryDirectory() as folder:
        trained = train(built, task, CHILD, seed=derive(seed, "training"), folder=Path(folder))
    return trained.validation.scores.oa, parameters


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
    count = min(map(len, runs.values()))
    halves = np.array([accuracies[:count] for accuracies in runs.values()])
    odd, even = halves[:, ::2].mean(1), halves[:, 1::2].mean(1)
    facts = {
        "networks": len(runs),
        "seeds": count,
        "seconds": round(seconds),
        "lowest": float(halves.mean(1).min()),
        "median": float(np.median(halves.mean(1))),
        "highest": float(halves.mean(1).max()),
        "noise of one run": float(halves.std(1, ddof=1).mean()),
        "tau between halves of the seeds": tau(odd.tolist(), even.tolist()),
    }
    return mean, size, facts


def tau(first: Sequence[float], second: Sequence[float]) -> float:
    """Return Kendall's tau-b; 0 where one of the two is constant and says nothing."""
    value = float(kendalltau(first, second).statistic)
    return 0.0 if np.isnan(value) else value


def begin(seed: int) -> OneShot:
    """Return a search after its first stage, which all methods share."""
    settings = OneShotSettings(training=SUPERNET, shrinking=SHRINKING)
    search = OneShot(cells(whole_space()), searched_task(), settings, seed=seed)
    train_stage(search)
    return search


def train_stage(search: OneShot) -> None:
    """Train a stage to its end."""
    while search.trainer.epoch < search.trainer.epochs:
        search.train_epoch()


def run_method(first: OneShot, shrinking: Shrinking) -> tuple[OneShot, float]:
    """Return a search of a method after its last stage, and the seconds beyond the first one."""
    begun = time.process_time()
    search = copy.deepcopy(first)
    search.settings = dataclasses.replace(search.settings, shrinking=shrinking)
    while not search.trained:
        search.shrink()
        train_stage(search)
    return search, time.process_time() - begun


def run_spos(seed: int) -> OneShot:
    """Return the plain supernet after as many updates as the others have in all."""
    epochs = STAGES[0] + 2 * STAGES[1]
    training = dataclasses.replace(SUPERNET, epochs=epochs)
    settings = OneShotSettings(training=training)
    search = OneShot(cells(whole_space()), searched_task(), settings, seed=seed)
    train_stage(search)
    return search


def compare(search: OneShot, spos: OneShot, truth: Truth) -> dict[str, float]:
    """Return how a supernet ranks what it has left, beside spos on the same children."""
    children = list(search.remaining.enumerate())
    true = [truth[one] for one in children]
    own = search.judge(children)
    plain = spos.judge(children)
    picked = max(children, key=lambda one: (own[one].score, -own[one].metrics["validation_loss"]))
    return {
        "children": len(children),
        "tau": tau([own[one].score for one in children], true),
        "tau of spos": tau([plain[one].score for one in children], true),
        "mean accuracy left": float(np.mean(true)),
        "best accuracy left": max(true),
        "accuracy picked": truth[picked],
    }


def repeat(seed: int, truth: Truth, size: Truth) -> dict[str, dict[str, float]]:
    """Return the figures of all methods with one seed."""
    space = whole_space()
    networks = different(space)
    begun = time.process_time()
    spos = run_spos(seed)
    spos_seconds = time.process_time() - begun
    found = spos.judge(networks)
    true = [truth[one] for one in networks]
    picked = max(networks, key=lambda one: found[one].score)
    rows: dict[str, dict[str, float]] = {
        SPOS: {
            "children": len(networks),
            "tau": tau([found[one].score for one in networks], true),
            "tau of parameters": tau([size[one] for one in networks], true),
            "mean accuracy left": float(np.mean(true)),
            "best accuracy left": max(true),
            "accuracy picked": truth[picked],
            "seconds": spos_seconds,
        }
    }
    begun = time.process_time()
    first = begin(seed)
    shared = time.process_time() - begun
    for name, shrinking in METHODS.items():
        search, seconds = run_method(first, shrinking)
        rows[name] = compare(search, spos, truth) | {"seconds": shared + seconds}
    return rows


def summary(repeats: Sequence[dict[str, dict[str, float]]]) -> dict[str, dict[str, Any]]:
    """Return mean and standard deviation of each figure, and tests against spos."""
    table: dict[str, dict[str, Any]] = {}
    for name in repeats[0]:
        figures = {key: [run[name][key] for run in repeats] for key in repeats[0][name]}
        table[name] = {key: [mean(v), spread(v)] for key, v in figures.items()}
        if name != SPOS:
            table[name]["p tau above spos on the same children"] = better(
                figures["tau"], figures["tau of spos"]
            )
            picked = [run[SPOS]["accuracy picked"] for run in repeats]
            table[name]["p picked above spos"] = better(figures["accuracy picked"], picked)
    return table


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return float(np.mean(values))


def spread(values: Sequence[float]) -> float:
    """Return the standard deviation over the repeats; 0 of a single one."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def better(ours: Sequence[float], theirs: Sequence[float]) -> float | None:
    """Return the one-sided p-value of Wilcoxon's signed-rank test; None where all are equal."""
    differences = np.subtract(ours, theirs)
    if not differences.any():
        return None
    return float(wilcoxon(differences, alternative="greater").pvalue)


def print_summary(table: dict[str, dict[str, Any]]) -> None:
    """Print one line a method."""
    keys = ("children", "tau", "tau of spos", "mean accuracy left", "accuracy picked", "seconds")
    print(f"{'':30}" + "".join(f"{key:>22}" for key in keys))
    for name, row in table.items():
        cells_ = [f"{row[k][0]:.3f} +- {row[k][1]:.3f}" if k in row else "" for k in keys]
        print(f"{name:30}" + "".join(f"{cell:>22}" for cell in cells_))


def run_supernets(children: Path, out: Path | None, seeds: Sequence[int]) -> dict[str, Any]:
    """Run the repeats, keeping each as soon as it is there."""
    about = describe()
    truth, size, facts = read_truth(children)
    result: dict[str, Any] = {"truth": facts, "repeats": {}}
    if out is not None and out.exists():
        result["repeats"] = json.loads(out.read_text())["repeats"]
    for seed in seeds:
        if str(seed) not in result["repeats"]:
            result["repeats"][str(seed)] = repeat(seed, truth, size)
        result["summary"] = summary(list(result["repeats"].values()))
        result["machine"] = about
        result["command"] = "benchmarks/supernet_ranking.py supernets"
        if out is not None:
            out.write_text(json.dumps(result, indent=1) + "\n")
    return result


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("what", nargs="?", choices=("children", "supernets"), default="supernets")
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
    seeds = given.seeds or range(1 if given.quick else REPEATS)
    result = run_supernets(given.children, given.out, seeds)
    print({key: round(value, 4) for key, value in result["truth"].items()})
    print_summary(result["summary"])
    if given.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
