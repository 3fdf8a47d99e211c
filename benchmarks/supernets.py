"""What a step of a single-path supernet costs beside the step of the same network alone.

Three figures:

* Time: forward, backward and update of one path, as the supernet's trainer makes them, over the
  same of the path's compact network alone with the same weights, batch, clipping and optimiser.
  Many architectures; supernet and child take turns, and the figure is the median of the pairs.
  Beside it the milliseconds to give the path of an architecture that was not there before.
* Memory: the most that a step holds beyond the weights and their momentum, before and after
  shrinking and expanding, by torch's own record of every allocation; and the weights themselves,
  which do grow, since each partial model has its own.
* Children: the seconds to judge many with inherited weights when what they are shown is made once,
  over the same when it is made for each.

    python benchmarks/supernets.py                 # some minutes
    python benchmarks/supernets.py --quick --json  # about a minute
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.files import write_json
from swath.core.machine import describe
from swath.data.simulate import simulate_demo
from swath.estimators.inherited import Inherited
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.narrowed import Narrowed
from swath.study.preparation import prepare_task
from swath.study.recipes import TaskSettings
from swath.supernets import create_supernet
from swath.supernets.training import SupernetTrainer, SupernetTraining
from swath.tasks.scene import SceneTask
from swath.training.optimisers import optimiser

BANDS, CLASSES, BATCH, WINDOW = 48, 9, 32, 16
SPACES: dict[str, dict[str, Any]] = {
    "nasbench201": {"cells": 1},
    "nasbenchmacro": {},
    "darts": {"channels": 8, "cells": 1},
    "mobilenet": {
        "stem_width": 16,
        "stem_stride": 1,
        "first_width": 8,
        "widths": (16, 24, 32, 48),
        "layers": (3, 3, 3, 1),
        "strides": (1, 2, 2, 1),
        "head_width": 256,
    },
    "hsi3d": {"base_width": 8, "stem_width": 16, "stem_length": 12, "head_width": 32},
    "hytas": {"embed_dims": (16, 32, 48), "max_depth": 6},
}
SETTINGS = SupernetTraining(batch=BATCH)


class One:
    """A batch for every step: what is drawn is not timed."""

    def __init__(self, space: SearchSpace) -> None:
        side = space.patch or WINDOW
        count = BATCH if space.patch else 4
        self.x = torch.randn(count, BANDS, side, side)
        shape = (count,) if space.answers == "patch" else (count, side, side)
        self.y = torch.randint(CLASSES, shape)

    def batch(self, count: int, step: int, *, augmented: bool = True) -> tuple[Tensor, Tensor]:
        """Return it."""
        return self.x, self.y


class OnePath(Narrowed):
    """A space from which one architecture is drawn."""

    architecture_now: Architecture

    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return it."""
        return self.architecture_now


def trainer(space: SearchSpace) -> SupernetTrainer:
    """Return what trains the supernet of a space."""
    torch.manual_seed(0)
    return SupernetTrainer(
        create_supernet(space, InputSpec(BANDS), OutputSpec(CLASSES)),
        OnePath(space, {}),
        One(space),
        SETTINGS,
        stage=0,
        seed=0,
        size=lambda one: 0.0,
        device=torch.device("cpu"),
    )


class Alone:
    """The training of a child by itself, as the trainer would do it."""

    def __init__(self, made: SupernetTrainer, architecture: Architecture) -> None:
        self.network = made.supernet.extract(architecture).train()
        self.batch = made.batches
        self.optimiser = optimiser(
            self.network,
            SETTINGS.optimiser,
            learning_rate=SETTINGS.learning_rate,
            momentum=SETTINGS.momentum,
            weight_decay=SETTINGS.weight_decay,
        )
        self.parameters = list(self.network.parameters())

    def __call__(self) -> None:
        """Make a step."""
        x, y = self.batch.batch(0, 0)
        self.optimiser.zero_grad(set_to_none=True)
        loss = nn.functional.cross_entropy(self.network(x), y, ignore_index=-1)
        loss.backward()
        assert np.isfinite(float(loss.detach()))
        assert SETTINGS.clip_norm is not None
        nn.utils.clip_grad_norm_(self.parameters, SETTINGS.clip_norm)
        self.optimiser.step()


def timed(step: Any) -> float:
    """Return the seconds of the processor that a step takes; other work does not count."""
    begun = time.process_time()
    step()
    return time.process_time() - begun


def steps(space: SearchSpace, architectures: int, pairs: int) -> dict[str, Any]:
    """Return the times of steps in the supernet over those of the child alone."""
    made = trainer(space)
    made.supernet.train()
    rng = np.random.default_rng(1)
    ratios, shared, single, paths = [], [], [], []
    for _ in range(architectures):
        made.space.architecture_now = architecture = space.sample(rng)  # type: ignore[attr-defined]
        paths.append(timed(lambda one=architecture: _enter(made, one)))
        alone = Alone(made, architecture)
        both = (lambda: made.update(0), alone)
        for step in both:
            for _ in range(2):
                step()
        for turn in range(pairs):
            order = both if turn % 2 else both[::-1]
            seconds = {id(step): timed(step) for step in order}
            shared.append(seconds[id(both[0])])
            single.append(seconds[id(both[1])])
            ratios.append(shared[-1] / single[-1])
    low, middle, high = np.percentile(ratios, (25, 50, 75))
    return {
        "pairs": len(ratios),
        "supernet_seconds": statistics.median(shared),
        "alone_seconds": statistics.median(single),
        "median_ratio": float(middle),
        "quartiles": [float(low), float(high)],
        "new_path_seconds": statistics.median(paths),
        "weights_in_supernet": sum(p.numel() for p in made.supernet.parameters()),
    }


def _enter(made: SupernetTrainer, architecture: Architecture) -> None:
    with made.supernet.path(architecture):
        pass


def peak(step: Any) -> int:
    """Return the most bytes that a step holds beyond what was there before it."""
    from torch.profiler import ProfilerActivity, profile

    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        step()
    held = most = 0
    for event in sorted(
        (e for e in record.profiler.kineto_results.events() if e.name() == "[memory]"),
        key=lambda e: e.start_ns(),
    ):
        held += event.nbytes()
        most = max(most, held)
    return most


def memory(space: SearchSpace, drop: int) -> dict[str, Any]:
    """Return the peak of steps of the same paths before and after expanding."""
    made = trainer(space)
    made.supernet.train()
    rng = np.random.default_rng(2)
    left = Narrowed(
        space, {g.name: g.choices[-max(2, len(g.choices) - drop) :] for g in space.genes}
    )
    paths = [left.sample(rng) for _ in range(6)]

    def peaks() -> list[int]:
        found = []
        for path in paths:
            made.space.architecture_now = path  # type: ignore[attr-defined]
            made.update(0)  # its momentum is there now
            found.append(peak(lambda: made.update(0)))
        return found

    before, weights = peaks(), sum(p.numel() for p in made.supernet.parameters())
    groups = made.supernet.expand({g.name: g.choices for g in left.genes})
    made = _again(made)
    after = peaks()
    return {
        "paths": len(paths),
        "merged": [len(group.genes) for group in groups],
        "mean_peak_before_mib": statistics.mean(before) / 2**20,
        "mean_peak_after_mib": statistics.mean(after) / 2**20,
        "ratio": statistics.mean(after) / statistics.mean(before),
        "weights_before_mib": 4 * weights / 2**20,
        "weights_after_mib": 4 * sum(p.numel() for p in made.supernet.parameters()) / 2**20,
    }


def _again(made: SupernetTrainer) -> SupernetTrainer:
    """Return a trainer of the next stage."""
    return SupernetTrainer(
        made.supernet,
        made.space,
        made.batches,
        SETTINGS,
        stage=1,
        seed=0,
        size=made.size,
        device=made.device,
    )


def task() -> SceneTask:
    """Return a simulated scene with few labels."""
    scene = simulate_demo(0, rows=96, columns=96, bands=BANDS, classes=CLASSES)
    return prepare_task(scene, TaskSettings(split="random", train=20, validation=20), 0)


def children(count: int) -> dict[str, Any]:
    """Return the seconds to judge children of a small nasbench201."""
    space = spaces.create("nasbench201", channels=4, cells=1)
    made = task()
    torch.manual_seed(0)
    supernet = create_supernet(space, InputSpec(made.bands), OutputSpec(made.classes))
    rng = np.random.default_rng(3)
    architectures = [space.sample(rng) for _ in range(count)]
    shown_once = Inherited(supernet, space, made)
    begun = time.perf_counter()
    for architecture in architectures:
        shown_once.evaluate(architecture)
    seconds = time.perf_counter() - begun
    some = architectures[: max(20, count // 20)]
    together, apart = [], []
    for architecture in some:
        together.append(timed(lambda one=architecture: shown_once.evaluate(one)))
        apart.append(timed(lambda one=architecture: Inherited(supernet, space, made).evaluate(one)))
    return {
        "children": count,
        "seconds": seconds,
        "validation_labels": int(made.split.validation.sum()),
        "recalibration_patches": 256,
        "median_seconds_a_child": statistics.median(together),
        "median_seconds_with_a_loader_each": statistics.median(apart),
        "loader_each_over_shown_once": statistics.median(apart) / statistics.median(together),
    }


def table(results: dict[str, Any]) -> str:
    """Return Markdown tables."""
    lines = [
        "| space | child alone, ms | in the supernet, ms | ratio (quartiles) | pairs "
        "| a new path, ms |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, step in results["step"].items():
        low, high = step["quartiles"]
        lines.append(
            f"| {name} | {1e3 * step['alone_seconds']:.1f} | {1e3 * step['supernet_seconds']:.1f} "
            f"| {step['median_ratio']:.2f} ({low:.2f} to {high:.2f}) | {step['pairs']} | "
            f"{1e3 * step['new_path_seconds']:.1f} |"
        )
    lines += [
        "",
        "| space | peak of a step before, MiB | after expanding, MiB | ratio | weights, MiB |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, held in results["memory"].items():
        lines.append(
            f"| {name} | {held['mean_peak_before_mib']:.1f} | {held['mean_peak_after_mib']:.1f} | "
            f"{held['ratio']:.2f} | {held['weights_before_mib']:.1f} to "
            f"{held['weights_after_mib']:.1f} |"
        )
    judged = results["children"]
    return "\n".join(lines) + (
        f"\n\n{judged['children']} children judged in {judged['seconds']:.1f} s; with a loader for "
        f"each child a child takes {judged['loader_each_over_shown_once']:.2f} times as long."
    )


def main() -> None:
    """Measure, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--spaces", nargs="+", default=list(SPACES), choices=list(SPACES))
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("--quick", action="store_true", help="fewer pairs and children")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    architectures, pairs = (3, 5) if options.quick else (8, 12)
    created = {name: spaces.create(name, **SPACES[name]) for name in options.spaces}
    results: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe(),
        "step": {name: steps(space, architectures, pairs) for name, space in created.items()},
        "memory": {name: memory(space, 5) for name, space in created.items()},
        "children": children(100 if options.quick else 1000),
    }
    print(f"{results['machine']}\n")
    print(table(results))
    if options.out:
        write_json(options.out, results)
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
