"""How a HyTAS supernet ranks transformers whose accuracy is published (Indian Pines).

    SWATH_DATA=... python benchmarks/supernet_hytas.py [--quick] [--json] [--out FILE]

The elastic supernet of the published space is trained with uniform paths on the SIMULATED Indian
Pines (the real label map, painted with the real training spectra; the image itself is not to be had
here), random split.  Children of the published table, drawn at random, are judged with its weights
by the validation labels; Kendall's tau and Spearman's rho are with the published overall accuracy
of the same architectures, trained by the authors on the real image.  Beside it stands what needs no
training at all.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import data_folder
from scipy.stats import kendalltau, spearmanr

from swath import spaces
from swath.core.machine import describe
from swath.core.seeds import numpy_generator
from swath.estimators.tables import load_table
from swath.strategies.one_shot import OneShot
from swath.strategies.one_shot_settings import OneShotSettings
from swath.study.preparation import open_task_scene, prepare_task
from swath.study.settings import TaskSettings
from swath.supernets.training import SupernetTraining

TABLE = "hytas_indian"
CHILDREN = 120
EPOCHS, STEPS = 16, 50


def training(epochs: int, steps: int) -> SupernetTraining:
    """Return how the supernet learns: as the published networks do, with smaller batches."""
    return SupernetTraining(
        epochs=epochs,
        steps=steps,
        batch=16,
        sampling="balanced",
        augmentation=False,
        optimiser="adamw",
        learning_rate=5e-4,
        final_rate=1e-5,
        weight_decay=5e-3,
        clip_norm=None,
        snapshots=min(10, steps),
    )


def measure(seed: int, epochs: int, steps: int, children: int) -> dict[str, Any]:
    """Train a supernet and return how it ranks children of the table, every few epochs."""
    data_folder()
    settings = TaskSettings(
        scene="indian-pines-simulated",
        split="random",
        train=40,
        validation=10,
        small_classes="halve",
        scaling="minmax",
    )
    task = prepare_task(open_task_scene(settings), settings, seed)
    task.load()
    table = load_table(TABLE)
    rows = numpy_generator(seed, "children").choice(len(table), children, replace=False)
    chosen = [table.architectures[row] for row in rows]
    published = np.array([table.value(one, "oa") for one in chosen])
    space = spaces.create("hytas")
    search = OneShot(space, task, OneShotSettings(training=training(epochs, steps)), seed=seed)
    begun, curve = time.process_time(), []
    while search.trainer.epoch < search.trainer.epochs:
        line = search.train_epoch()
        if search.trainer.epoch % max(1, epochs // 2) == 0:
            found = search.judge(chosen)
            scores = np.array([found[one].score for one in chosen])
            losses = np.array([-found[one].metrics["validation_loss"] for one in chosen])
            curve.append(
                {
                    "epoch": search.trainer.epoch,
                    "loss": line["loss"],
                    "mean accuracy of children": float(scores.mean()),
                    "accuracy": correlations(scores, published),
                    "minus loss": correlations(losses, published),
                }
            )
            print(f"seed {seed}", json.dumps(curve[-1]), flush=True)
    size = np.array([table.value(one, "parameters") for one in chosen])
    numbers = np.array([space.numeric(one)[:2] for one in chosen])
    return {
        "seed": seed,
        "split": task.split.description,
        "children": children,
        "curve": curve,
        "rivals": {
            "embed_dim x depth": correlations(numbers.prod(1), published),
            "parameters": correlations(size, published),
            "depth": correlations(numbers[:, 0], published),
        },
        "seconds": time.process_time() - begun,
    }


def correlations(scores: np.ndarray, published: np.ndarray) -> dict[str, float]:
    """Return Kendall's tau-b and Spearman's rho."""
    return {
        "tau": float(kendalltau(scores, published).statistic),
        "rho": float(spearmanr(scores, published).statistic),
    }


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few updates and children")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--seeds", type=int, default=2)
    given = parser.parse_args()
    torch.set_num_threads(1)
    about = describe()
    sizes = (2, 3, 10) if given.quick else (EPOCHS, STEPS, CHILDREN)
    runs = []
    for seed in range(1 if given.quick else given.seeds):
        runs.append(measure(seed, *sizes))
        result = {
            "command": "benchmarks/supernet_hytas.py",
            "machine": about,
            "runs": runs,
        }
        if given.out is not None:
            given.out.write_text(json.dumps(result, indent=1) + "\n")
    last = [run["curve"][-1]["accuracy"]["tau"] for run in runs]
    print(f"tau of inherited accuracy: {np.mean(last):.3f} +- {np.std(last):.3f}")
    for rival in runs[0]["rivals"]:
        taus = [run["rivals"][rival]["tau"] for run in runs]
        print(f"tau of {rival}: {np.mean(taus):.3f} +- {np.std(taus):.3f}")
    if given.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
