"""The trainings: a row each in a CSV file, which is continued where it ends."""

from __future__ import annotations

import csv
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from _sensors.plan import Plan, drawn_cells, random_walk, space, tasks
from swath.core.architecture import Architecture
from swath.core.files import write_text
from swath.core.seeds import derive
from swath.networks.cost import count_parameters
from swath.spaces.base import InputSpec, OutputSpec
from swath.tasks.metrics import scores
from swath.training.loop import TrainingSettings, train

__all__ = ["FIELDS", "Key", "Rows", "read_rows", "train_all", "train_cell", "wanted"]

BATCH, RATE = 64, 0.01
FIELDS = (
    *("scene", "sensors", "part", "cell", "epochs", "seed", "kappa_validation", "kappa_test"),
    *("oa_validation", "oa_test", "parameters", "seconds"),
)

Key = tuple[str, str, str, int, int]
Rows = Mapping[Key, Mapping[str, str]]


def train_cell(cell: Architecture, task: Any, epochs: int, seed: int) -> dict[str, Any]:
    """Return what a network of a cell attains after so many epochs, and what it cost."""
    begun = time.perf_counter()
    updates = max(1, round(epochs * int(task.split.train.sum()) / BATCH))
    settings = TrainingSettings(
        iterations=updates,
        batch=BATCH,
        optimiser="adamw",
        learning_rate=RATE,
        weight_decay=1e-4,
        bias_rate=1.0,
        schedule="cosine",
        validate_every=updates,  # once, at the end: no epoch is chosen
    )
    torch.manual_seed(derive(seed, "network"))
    network = space().build(cell, InputSpec(task.bands), OutputSpec(task.classes))
    with tempfile.TemporaryDirectory(prefix="swath-") as folder:
        trained = train(network, task, settings, seed=derive(seed, "training"), folder=Path(folder))
    with torch.inference_mode():
        answers = [trained.network(x).argmax(1).numpy() for x in task.test_images()]
    test = scores(task.test_confusion(np.concatenate(answers)))
    return {
        "kappa_validation": round(trained.validation.scores.kappa, 6),
        "kappa_test": round(test.kappa, 6),
        "oa_validation": round(trained.validation.scores.oa, 6),
        "oa_test": round(test.oa, 6),
        "parameters": count_parameters(network),
        "seconds": round(time.perf_counter() - begun, 3),
    }


def wanted(plan: Plan, scene: str) -> Iterator[tuple[str, Architecture, str, int, int]]:
    """Yield (part, cell, sensors, epochs, seed), the most needed first."""
    sampled, walk, last = drawn_cells(plan), random_walk(plan), plan.budgets[-1:]
    rounds = [("sample", sampled, last, plan.seeds[0])]
    rounds += [("sample", sampled, plan.budgets[:-1], plan.seeds[0])]
    rounds += [("walk", walk, last, plan.walk_seeds[0])]
    rounds += [("sample", sampled, last, seed) for seed in plan.seeds[1:]]
    rounds += [("walk", walk, last, seed) for seed in plan.walk_seeds[1:]]
    for part, cells, budgets, seed in rounds:
        for cell in cells:
            for sensors in plan.scenes[scene]:
                for epochs in budgets:
                    yield part, cell, sensors, epochs, seed


def read_rows(path: Path) -> dict[Key, dict[str, str]]:
    """Return the finished trainings; a last line that was cut off is left out."""
    if not path.exists():
        return {}
    whole = path.read_text("utf-8").rpartition("\n")[0].splitlines()
    rows = [row for row in csv.DictReader(whole) if row.get("seconds")]
    return {
        (r["scene"], r["sensors"], r["cell"], int(r["epochs"]), int(r["seed"])): r for r in rows
    }


def train_all(plan: Plan, path: Path, scenes: Sequence[str]) -> None:
    """Train what is not there yet and append it, a line each."""
    text = path.read_text("utf-8") if path.exists() else ""
    if not text:
        write_text(path, ",".join(FIELDS) + "\n")
    elif not text.endswith("\n"):
        write_text(path, text[: text.rfind("\n") + 1])
    done = set(read_rows(path))
    for scene in scenes:
        found = tasks(plan, scene)
        todo = list(wanted(plan, scene))
        for number, (part, cell, sensors, epochs, seed) in enumerate(todo, start=1):
            name = space().cell_hash(cell)
            key = (scene, sensors, name, epochs, seed)
            if key in done:
                continue
            one = derive(seed, "sensor study", *map(str, key[:4]))
            row = train_cell(cell, found[sensors], epochs, one)
            about = dict(zip(("scene", "sensors", "cell", "epochs", "seed"), key, strict=True))
            row = {**about, "part": part, **row}
            with open(path, "a", encoding="utf-8") as file:
                file.write(",".join(str(row[field]) for field in FIELDS) + "\n")
            done.add(key)
            if number % 20 == 0:
                print(f"{scene}: {number} of {len(todo)}", file=sys.stderr, flush=True)
