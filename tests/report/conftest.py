"""A run folder as a search leaves it, made without any search: figures of a plausible size."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from swath.data.labels import palette

OPERATORS = [
    *(f"con_{k}" for k in ("3-3", "5-3", "3-5")),
    *(f"sep_{k}" for k in ("3-3", "5-3", "3-5")),
    "skip_connect",
    "none",
]
NAMES = [
    "Alfalfa",
    "Corn-notill",
    "Corn-mintill",
    "Corn",
    "Grass-pasture",
    "Grass-trees",
    "Grass-pasture-mowed",
    "Hay-windrowed",
    "Oats",
    "Soybean-notill",
    "Soybean-mintill",
    "Soybean-clean",
    "Wheat",
    "Woods",
    "Buildings-grass-trees-drives",
    "Stone-steel-towers",
]


def genes(rng: np.random.Generator, layers: int = 2, nodes: int = 3) -> dict[str, str | int]:
    """Random genes of hsi3d."""
    values: dict[str, str | int] = {}
    width = 0
    for layer in range(layers):
        for node in range(nodes):
            name = f"cell{layer}.node{node}"
            pair = sorted(rng.choice(2 + node, 2, replace=False).tolist())
            values[f"{name}.inputs"] = f"{pair[0]},{pair[1]}"
            for number in range(2):
                values[f"{name}.op{number}"] = OPERATORS[rng.integers(7)]
        width = int(np.clip(width + rng.integers(-1, 2), 0, 2))
        values[f"cell{layer}.width"] = width
    return values


def make_run(
    folder: Path,
    *,
    names: list[str] = NAMES,
    seed: int = 0,
    shape: tuple[int, int] = (145, 145),
    layers: int = 2,
    nodes: int = 3,
    epochs: int = 40,
    protocol: str = "spatial",
    simulated: bool = True,
    noise: float = 0.06,
) -> Path:
    """Write a complete run folder."""
    from safetensors.numpy import save_file

    rng = np.random.default_rng(seed)
    classes = len(names)
    folder.mkdir(parents=True, exist_ok=True)
    for part in ("search", "training", "best"):
        (folder / part).mkdir(exist_ok=True)

    # Fields: every pixel takes the class of the nearest of some random points.
    points = rng.random((5 * classes, 2)) * shape
    away = np.indices(shape).transpose(1, 2, 0)[:, :, None] - points
    distance = np.sort((away**2).sum(-1) ** 0.5, axis=-1)
    nearest = (away**2).sum(-1).argmin(-1)
    every = (np.arange(5 * classes) % classes)[nearest]
    truth = np.where(distance[..., 1] - distance[..., 0] > 3, every, -1)
    prediction = np.where(rng.random(shape) < noise, rng.integers(0, classes, shape), every)
    split = np.where(truth >= 0, 3, 0)
    if protocol == "spatial":
        left = np.indices(shape)[1]
        split[(left > shape[1] * 0.42) & (left < shape[1] * 0.5)] = 4
        split[(left <= shape[1] * 0.42) & (truth >= 0)] = 0
    for index in range(classes):
        near = truth == index
        if protocol == "spatial" and (near & (split == 0)).sum() > 30:
            near &= split == 0
        places = np.flatnonzero(near)
        rng.shuffle(places)
        split.flat[places[:20]] = 1
        split.flat[places[20:30]] = 2
    save_file(
        {"split": split.astype(np.uint8), "truth": truth.astype(np.int16)},
        folder / "split.safetensors",
    )
    save_file({"prediction": prediction.astype(np.int16)}, folder / "map_index.safetensors")

    tested = split == 3
    confusion = np.zeros((classes, classes), np.int64)
    np.add.at(confusion, (truth[tested], prediction[tested]), 1)
    per_class = [
        float(row[k] / row.sum()) if row.sum() else None for k, row in enumerate(confusion)
    ]
    test = {
        "oa": float(np.trace(confusion) / confusion.sum()),
        "aa": float(np.mean([p for p in per_class if p is not None])),
        "kappa": _kappa(confusion),
        "per_class": per_class,
    }
    colours = palette(classes)
    counts = {role: [int(((split == n) & (truth == k)).sum()) for k in range(classes)]
              for n, role in enumerate(("train", "validation", "test"), 1)}  # fmt: skip
    chosen = genes(rng, layers, nodes)
    options = {
        "variant": "asym-d", "layers": layers, "nodes": nodes, "base_width": 16,
        "width_factors": [1, 1.5, 2],
    }  # fmt: skip
    metrics = {
        "test": test,
        "validation": {**test, "oa": 0.9563, "aa": 0.9563},
        "test_modes": {
            "plain": {**test, "oa": test["oa"] - 0.011},
            "ms": {**test, "oa": test["oa"] - 0.006},
            "ov": {**test, "oa": test["oa"] - 0.004},
            "ms+ov": test,
        },
        "map_mode": "ms+ov",
        "confusion": confusion.tolist(),
        "classes": [
            {
                "name": name, "original": k + 1, "colour": list(colours[k]),
                **{role: counts[role][k] for role in counts},
            }
            for k, name in enumerate(names)
        ],
        "cost": {
            "parameters": 142_086, "members": 3, "flops_per_pixel": 1_843_200,
            "search_seconds": 251.4, "train_seconds": 118.2, "map_seconds": 6.1,
            "total_seconds": 381.9,
            "search_peak_memory_mib": 2210.4, "train_peak_memory_mib": 1480.2,
            "map_peak_memory_mib": 733.8, "peak_memory_mib": 2210.4, "peak_memory_by_phase": True,
        },
        "split": {
            "protocol": protocol,
            "description": "Blocks of 24 x 24 pixels were dealt to train, validation and test, "
            "20 training and 10 validation labels a class, with a guard band of 16 pixels.",
            "train": 20 * classes, "validation": 10 * classes, "test": int(tested.sum()),
            "seed": 0, "notes": ["class 'Oats' has 20 pixels: half of them were asked for"],
        },
        "scene": {
            "name": "Indian Pines", "rows": shape[0], "columns": shape[1], "bands": 200,
            "simulated": simulated, "sensor": "AVIRIS",
        },
        "device": "cpu (2 threads)",
        "versions": {"swath": "0.1.0", "torch": "2.13.0", "numpy": "2.3.1", "python": "3.11.9"},
        "command": "swath search --scene indian_pines.mat --labels indian_pines_gt.mat "
        "--space hsi3d --preset quick --split spatial --train 20 --val 10 --seed 0 --out run",
    }  # fmt: skip
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "best/architecture.json").write_text(
        json.dumps(
            {"space": "hsi3d", "genes": chosen, "key": "3fb1c02d9a77e410", "options": options}
        )
    )
    (folder / "recipe.yaml").write_text(RECIPE)
    (folder / "search/operators.json").write_text(json.dumps({"operators": OPERATORS}))
    _search_history(folder, rng, chosen, layers, nodes, epochs)
    _training_history(folder, rng)
    return folder


def _kappa(confusion: np.ndarray) -> float:
    total = confusion.sum()
    chance = (confusion.sum(0) * confusion.sum(1)).sum() / total**2
    return float((np.trace(confusion) / total - chance) / (1 - chance))


def _search_history(
    folder: Path,
    rng: np.random.Generator,
    chosen: dict[str, str | int],
    layers: int,
    nodes: int,
    epochs: int,
) -> None:
    edges = sum(2 + i for i in range(nodes))
    alpha = np.ones((layers, edges, len(OPERATORS)))
    drift = rng.normal(0, 1, alpha.shape)
    for layer in range(layers):
        for node in range(nodes):
            for number, source in enumerate(
                str(chosen[f"cell{layer}.node{node}.inputs"]).split(",")
            ):
                edge = sum(2 + i for i in range(node)) + int(source)
                operator = OPERATORS.index(str(chosen[f"cell{layer}.node{node}.op{number}"]))
                drift[layer, edge, operator] = 2.2
    beta = np.ones((sum(min(k + 1, 3) for k in range(layers)), 3))
    beta[0, 0] = -50
    turn = rng.normal(0, 1, beta.shape)
    lines, best = [], 0.0
    for epoch in range(1, epochs + 1):
        trained = epoch > epochs // 4
        if trained:
            alpha += 0.025 * drift + rng.normal(0, 0.01, alpha.shape)
            beta += 0.02 * turn
        rise = 1 - np.exp(-epoch / 9)
        record = {
            "phase": "search",
            "epoch": epoch,
            "loss": float(2.7 * np.exp(-epoch / 8) + 0.08 + 0.02 * rng.random()),
            "validation_accuracy": float(0.3 + 0.62 * rise + 0.015 * rng.normal()),
            "validation_loss": float(2.7 * np.exp(-epoch / 9) + 0.25 + 0.05 * rng.random()),
            "arch_trained": trained,
            "seconds": 6.2,
            "alpha": _softmax(alpha).round(5).tolist(),
            "beta": _softmax(beta).round(5).tolist(),
            "genes": chosen if epoch > epochs * 0.8 else genes(rng, layers, nodes),
            "skip_share": float(min(1, epoch // 8 / 12)),
        }
        record["best"] = trained and record["validation_accuracy"] > best
        best = max(best, record["validation_accuracy"]) if trained else 0.0
        lines.append(json.dumps(record))
    (folder / "search/history.jsonl").write_text("\n".join(lines) + "\n")


def _softmax(values: np.ndarray) -> np.ndarray:
    raised = np.exp(values)
    return raised / raised.sum(axis=-1, keepdims=True)


def _training_history(folder: Path, rng: np.random.Generator) -> None:
    lines, best = [], 0.0
    for iteration in range(10, 1210, 10):
        record = {
            "phase": "train",
            "iteration": iteration,
            "loss": float(2.7 * np.exp(-iteration / 150) + 0.004 + 0.004 * rng.random()),
            "learning_rate": 0.1 * (1 - iteration / 1210) ** 0.9,
            "validation_accuracy": float(
                0.965 - 0.7 * np.exp(-iteration / 180) + 0.008 * rng.normal()
            ),
            "validation_loss": float(2.7 * np.exp(-iteration / 170) + 0.11),
            "validation_aa": float(0.95 - 0.7 * np.exp(-iteration / 190) + 0.008 * rng.normal()),
            "seconds": 0.9,
        }
        record["best"] = record["validation_accuracy"] > best
        best = max(best, record["validation_accuracy"])
        lines.append(json.dumps(record))
    (folder / "training/history.jsonl").write_text("\n".join(lines) + "\n")


RECIPE = """\
preset: quick
seed: 0
task:
  kind: scene
  scene: indian_pines.mat
  labels: indian_pines_gt.mat
  split:
    protocol: spatial
    train: 20
    validation: 10
    guard: auto
  scaling: standard
space:
  name: hsi3d
  variant: asym-d
  layers: 2
  nodes: 3
  base_width: 16
  width_factors: [1, 1.5, 2]
strategy:
  name: differentiable
  epochs: 40
  warm_up: 10
  batch: 4
  crop: 24
  weights: {optimiser: sgd, rate: 0.025, momentum: 0.9, decay: 0.0003}
  architecture: {optimiser: adam, rate: 0.001, decay: 0.001}
training:
  optimiser: sgd
  rate: 0.1
  schedule: poly
  power: 0.9
  iterations: 1200
  batch: 12
mapping:
  mode: ms+ov
  scales: [16, 32, 48]
"""


@pytest.fixture
def run_folder(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a run folder; see :func:`make_run`."""
    return lambda **changes: make_run(tmp_path / "run", **changes)


@pytest.fixture(scope="session")
def random_genes() -> Callable[..., dict[str, str | int]]:
    """Return :func:`genes`."""
    return genes
