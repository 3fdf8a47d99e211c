"""The benchmark of rankings: networks that are trained side by side learn what each would learn
alone, and the page tells the committed figures."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swath import spaces
from swath.spaces.base import InputSpec, OutputSpec
from swath.training.loop import TrainingSettings

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from _ranking.bundle import Lesson, bundled, train_bundle  # noqa: E402

script: Any = importlib.import_module("supernet_ranking")
sys.path.remove(str(ROOT / "benchmarks"))

BANDS, CLASSES, PATCH, BATCH, STEPS = 3, 4, 5, 8, 6
BIAS_RATE = 3.0
SETTINGS = TrainingSettings(
    iterations=STEPS,
    batch=BATCH,
    learning_rate=0.05,
    weight_decay=5e-4,
    bias_rate=BIAS_RATE,
    schedule="cosine",
)


def network(seed: int) -> nn.Module:
    space = spaces.create("nasbench201", channels=2, cells=1, patch=PATCH)
    operators = ("nor_conv_3x3", "avg_pool_3x3", "skip_connect", "none", "nor_conv_1x1")
    genes = zip(space.genes, (*operators, "nor_conv_3x3"), strict=True)
    torch.manual_seed(seed)
    architecture = space.architecture({gene.name: value for gene, value in genes})
    return space.build(architecture, InputSpec(BANDS), OutputSpec(CLASSES))


def lessons(count: int) -> list[list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(7)
    return [
        [
            (torch.randn(BATCH, BANDS, PATCH, PATCH), torch.randint(CLASSES, (BATCH,)))
            for _ in range(STEPS)
        ]
        for _ in range(count)
    ]


def alone(one: nn.Module, batches: list[tuple[Tensor, Tensor]]) -> nn.Module:
    """Train by a plain loop: SGD with momentum and a cosine; decay, but none of biases."""
    biases = [p for name, p in one.named_parameters() if "bias" in name]
    others = [p for name, p in one.named_parameters() if "bias" not in name]
    rule = torch.optim.SGD(
        [{"params": biases, "weight_decay": 0.0}, {"params": others, "weight_decay": 5e-4}],
        lr=0.05,
        momentum=0.9,
    )
    one.train()
    for step, (x, y) in enumerate(batches):
        rate = 0.05 * (1 + np.cos(np.pi * step / STEPS)) / 2
        for group, factor in zip(rule.param_groups, (BIAS_RATE, 1), strict=True):
            group["lr"] = rate * factor
        rule.zero_grad()
        nn.functional.cross_entropy(one(x), y).backward()  # type: ignore[no-untyped-call]
        rule.step()
    return one.eval()


def test_a_bundle_answers_as_its_networks_do() -> None:
    networks = [network(seed).eval() for seed in (1, 2, 3)]
    x = torch.randn(BATCH, 3 * BANDS, PATCH, PATCH)
    answers = bundled(networks)(x)
    for place, one in enumerate(networks):
        own = one(x[:, place * BANDS : (place + 1) * BANDS])
        torch.testing.assert_close(answers[:, place], own, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(answers[:, 0], answers[:, 1])


def test_a_bundle_learns_what_its_networks_learn_alone() -> None:
    each = lessons(2)
    batches = [
        (torch.cat([x for x, _ in both], 1), torch.stack([y for _, y in both], 1))
        for both in zip(*each, strict=True)
    ]
    asked = (torch.randn(200, BANDS, PATCH, PATCH), torch.randint(CLASSES, (200,)))
    bundle = bundled([network(1), network(2)])
    accuracies = train_bundle(bundle, Lesson(batches, [asked]), SETTINGS)
    for place in (0, 1):
        one = alone(network(place + 1), each[place])
        with torch.no_grad():
            right = (one(asked[0]).argmax(1) == asked[1]).double().mean()
            whole = bundle(asked[0].repeat(1, 2, 1, 1))
        torch.testing.assert_close(whole[:, place], one(asked[0]), rtol=1e-3, atol=1e-4)
        assert accuracies[place] == pytest.approx(float(right), abs=0.006)  # one of 200


def test_a_bundle_is_shown_what_each_seed_draws_and_asked_every_validation_label(
    make_task: Callable[..., Any],
) -> None:
    task = make_task()
    both, second = (Lesson.of(task, PATCH, SETTINGS, seeds) for seeds in ((0, 5), (5,)))
    assert len(both.batches) == STEPS
    for (x, y), (own, classes) in zip(both.batches, second.batches, strict=True):
        assert x.shape == (BATCH, 2 * task.bands, PATCH, PATCH)
        assert torch.equal(x[:, task.bands :], own)
        assert torch.equal(y[:, 1], classes[:, 0])
        assert not torch.equal(x[:, : task.bands], own)
    targets = task.targets("validation")
    asked = torch.cat([y for _, y in both.asked])
    assert torch.bincount(asked).tolist() == np.bincount(targets[targets >= 0]).tolist()


def test_the_page_tells_what_the_committed_repeats_and_children_give() -> None:
    folder = ROOT / "benchmarks" / "results"
    result = json.loads((folder / "supernet_ranking.json").read_text("utf-8"))
    page = (ROOT / "docs" / "systems" / "se-nas.md").read_text("utf-8")
    found = script.summary(list(result["repeats"].values()))
    assert script.table(found) in page
    assert script.operator_table(found) in page
    truth, _, facts = script.read_truth(folder / "supernet_ranking_children.csv")
    assert facts == pytest.approx(result["truth"])
    assert len(truth) == 144
    for name, row in found.items():
        assert row["mean accuracy left"][0] <= row["best accuracy left"][0], name
        assert row["best accuracy left"][0] <= max(truth.values()) + 1e-9, name
