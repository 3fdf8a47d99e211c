"""Does the quick preset beat tuned support vector machines with the same few labels?

Three scenes, two protocols, three split seeds.  Rivals: an RBF support vector machine on spectra,
on 5 x 5 and on 9 x 9 means, each band standardised, C and gamma tuned on the validation labels.
Network and rivals have the same training, validation and test labels.  The network's input is
whitened (swath.data.scaling), so the same machines on whitened bands stand beside them.

Protocol a: random, 20 training and 10 validation labels a class.
Protocol b: spatial blocks with a guard band of 4 pixels, otherwise the same.

Classes of fewer than 60 pixels are left out.  The real data are read from SWATH_DATA:

* Salinas-A (real).
* Houston crop (real): 48 hyperspectral bands; the 512-pixel labels reduced to the 128-pixel grid by
  majority.
* Indian Pines (simulated): the real label map, spectra drawn after 695 real ones.

    python benchmarks/quick_accuracy.py                          # everything; hours on two cores
    python benchmarks/quick_accuracy.py --quick                  # one short run, a smoke test
    python benchmarks/quick_accuracy.py --scenes salinas-a --protocols a --seeds 0

Finished cells are kept in --out and not run again.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from _data import data_folder

import swath
from swath.core.files import read_json, write_json
from swath.core.machine import describe
from swath.core.seeds import derive
from swath.data.scaling import ScalingKind, fit_scaling
from swath.study.preparation import open_task_scene, prepare_task
from swath.study.recipes import TaskSettings
from swath.tasks.metrics import score
from swath.tasks.scene import SceneTask

SCENES = ("salinas-a", "houston-crop", "indian-pines-simulated")
PROTOCOLS = {"a": "random", "b": "spatial"}
RIVALS = {
    "SVM spectra": (1, "standard"),
    "SVM 5 x 5": (5, "standard"),
    "SVM 9 x 9": (9, "standard"),
    "SVM whitened spectra": (1, "whitened"),
    "SVM whitened 5 x 5": (5, "whitened"),
    "SVM whitened 9 x 9": (9, "whitened"),
}
FIGURES = ("oa", "aa", "kappa")


def scene_settings(name: str) -> dict[str, Any]:
    """Keys of the recipe's task that say where a scene is."""
    if name != "houston-crop":
        return {"scene": name}
    file = data_folder() / "houston_crop" / "houston_dataset.mat"
    return {
        "scene": str(file),
        "variable": "hyprImg",
        "label_variable": "clasLabs",
        "labels": str(file),
        "resample_labels": "majority",
    }


def support_vectors(task: SceneTask, window: int, kind: ScalingKind) -> dict[str, float]:
    """Return test figures and seconds of the best of 20 RBF machines by validation accuracy."""
    from scipy.ndimage import uniform_filter
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    begun = time.perf_counter()
    cube = fit_scaling(task.scene, kind).apply(*task.scene.read_valid())
    if window > 1:
        cube = uniform_filter(cube, (window, window, 1), mode="reflect")
    labels, split = task.labels.values, task.split
    if kind == "standard":
        cube = StandardScaler().fit(cube[split.train]).transform(cube.reshape(-1, task.bands))
        cube = cube.reshape(task.scene.shape)
    variance = float(cube[split.train].var(axis=0).sum())

    def part(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return cube[mask], labels[mask]

    train, validation, test = part(split.train), part(split.validation), part(split.test)
    machines = [
        SVC(C=c, gamma=g / variance).fit(*train)
        for c in (1, 10, 100, 1000, 10000)
        for g in (0.1, 0.3, 1, 3)
    ]
    best = max(machines, key=lambda machine: machine.score(*validation))
    scores = score(test[1], best.predict(test[0]), task.classes)
    figures = {name: float(getattr(scores, name)) for name in FIGURES}
    return {**figures, "seconds": time.perf_counter() - begun}


def run_cell(
    cell: dict[str, Any], name: str, protocol: str, seed: int, overrides: list[str]
) -> dict[str, Any]:
    """Return the figures of all methods for one scene, protocol and seed.

    What ``cell`` holds already is kept.
    """
    keys = {
        **scene_settings(name),
        "split": PROTOCOLS[protocol],
        "train": 20,
        "validation": 10,
        "small_classes": "drop",
    }
    settings = TaskSettings.model_validate(keys)
    task = prepare_task(open_task_scene(settings), settings, derive(seed, "split"))
    known = cell.get("methods", {})
    methods = {rival: known.get(rival) or support_vectors(task, *RIVALS[rival]) for rival in RIVALS}
    if "swath quick" in known:
        return {**cell, "methods": {**methods, **known}}
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        run = swath.search(
            out=Path(folder) / "run", preset="quick", seed=seed, overrides=overrides, **keys
        )
        seconds = time.perf_counter() - begun
        metrics, key = run.metrics, run.architecture.key
    for mode, figures in metrics["test_modes"].items():
        method = "swath quick" if mode == metrics["map_mode"] else f"swath quick, {mode} map"
        methods[method] = {f: figures[f] for f in FIGURES} | {"seconds": seconds}
    return {
        "methods": methods,
        "labels": {part: metrics["split"][part] for part in ("train", "validation", "test")},
        "simulated": metrics["scene"]["simulated"],
        "validation_oa": metrics["validation"]["oa"],
        "cost": metrics["cost"],
        "architecture": key,
    }


def table(cells: dict[str, Any], figure: str) -> str:
    """Return a Markdown table: a row a scene and protocol, mean (and each seed's figure)."""
    rows: dict[tuple[str, str], dict[str, list[float]]] = {}
    for key, cell in cells.items():
        name, protocol, _ = key.split("/")
        for method, figures in cell["methods"].items():
            rows.setdefault((name, protocol), {}).setdefault(method, []).append(figures[figure])
    found = dict.fromkeys(m for row in rows.values() for m in row)
    methods = [*(m for m in RIVALS if m in found), *(m for m in found if m not in RIVALS)]
    lines = [
        f"| scene, protocol | {' | '.join(methods)} |",
        "|---" * (len(methods) + 1) + "|",
    ]
    for (name, protocol), row in rows.items():
        parts = []
        for method in methods:
            values = 100 * np.array(row.get(method, [np.nan]))
            spread = f" ± {values.std(ddof=1):.1f}" if len(values) > 1 else ""
            each = ", ".join(f"{v:.1f}" for v in values)
            parts.append(f"{values.mean():.1f}{spread} ({each})")
        lines.append(f"| {name}, {protocol} ({PROTOCOLS[protocol]}) | {' | '.join(parts)} |")
    return "\n".join(lines)


def main() -> None:
    """Run what was asked for, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenes", nargs="+", default=list(SCENES), choices=SCENES)
    parser.add_argument("--protocols", nargs="+", default=list(PROTOCOLS), choices=list(PROTOCOLS))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--out", type=Path, help="JSON file of finished cells, to be continued")
    parser.add_argument("--threads", type=int, default=1, help="other numbers round differently")
    parser.add_argument("--set", nargs="+", default=[], help="overrides of the quick recipe")
    parser.add_argument("--quick", action="store_true", help="one cell on a short schedule")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    data_folder()
    # Rounding depends on the number of threads, and a search's outcome on rounding.
    torch.set_num_threads(options.threads)
    overrides = list(options.set)
    if options.quick:
        options.scenes, options.protocols, options.seeds = ["salinas-a"], ["a"], [0]
        overrides += ["search.epochs=4", "search.warmup=2", "training.iterations=100"]
    results: dict[str, Any] = {
        "command": " ".join(sys.argv),
        "machine": describe("scikit-learn"),
        "cells": {},
    }
    if options.out and options.out.exists():
        results["cells"] = read_json(options.out)["cells"]
    for name in options.scenes:
        for protocol in options.protocols:
            for seed in options.seeds:
                key = f"{name}/{protocol}/{seed}"
                before = results["cells"].get(key, {})
                cell = run_cell(before, name, protocol, seed, overrides)
                results["cells"][key] = cell
                if options.out:
                    write_json(options.out, results)
                line = ", ".join(
                    f"{m} {100 * f['oa']:.1f}/{100 * f['aa']:.1f}"
                    for m, f in cell["methods"].items()
                )
                print(f"{key}: {line}; {cell['cost']['total_seconds']:.0f} s", flush=True)
    print(f"\n{results['machine']}\n")
    for figure in FIGURES:
        print(f"{figure.upper()} (%), mean ± standard deviation (each seed)\n")
        print(table(results["cells"], figure) + "\n")
    if options.json:
        print(json.dumps(results["cells"]))


if __name__ == "__main__":
    main()
