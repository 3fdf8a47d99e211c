"""What makes the quick preset quick: the time of one weight step of the 3D-ANAS supernet.

A step is a forward pass, the cross-entropy, a backward pass and an SGD update of the weights, on
random windows, on the CPU.  Variants, each for 200 and for 103 bands:

* authors' form: every operator and width in each pass, tensors in torch's default layout.
* layout alone: the same in the layout ``channels_last_3d``.
* as in swath: that layout, 3-D convolutions computed as images where that is the same
  (:mod:`swath.networks.conv3d`), the candidates of an edge normalised and summed together
  (:mod:`swath.supernets.mixture`).
* without sharing: as in swath, but each cell runs on each arrival (Eq. 4) instead of once on their
  mixture (Eq. 5).
* sampled: one operator an edge and one width a layer are drawn in each pass (``search.mode:
  sampled``), with the published stem.
* sampled, early reduction: the same with the stem of the recipe hsi3d-quick.
* quick: the same on that recipe's windows and batch.

All but the last take 5 windows of 32 x 32 pixels, as published for Pavia; with --quick all take two
fifths of their windows.  Variants take turns in
each round, so that what else the machine does falls on all alike.  The cost of a sampled step
depends on what is drawn, so several are timed in a round; their draws follow from a seed.

Torch with one thread computes some convolutions of batches under 16 by another method, in the
default layout.  The last column says what share of the 3-D convolutions answers channels last; with
two threads or more it is 0 or 1.
Times of the processor are divided by torch's threads, as in ``training_step.py``.

    python benchmarks/supernet_step.py             # 5 rounds
    python benchmarks/supernet_step.py --quick     # 2 rounds, fewer windows, a minute or two
    python benchmarks/supernet_step.py --bands 48 --json
"""

from __future__ import annotations

import argparse
import functools
import json
import shlex
import statistics
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from mapping import torchs
from torch import Tensor, nn
from training_step import timed

from swath.core.files import write_json
from swath.core.machine import describe
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.hsi3d import HSI3D
from swath.study.recipes import Recipe, load_recipe, resolve
from swath.supernets.hsi3d import HSI3DMixture
from swath.supernets.mixture import Mixture

CLASSES = 9
AUTHORS, QUICK = "authors' form", "quick"


@dataclass(frozen=True)
class Variant:
    """A way to make one step."""

    name: str
    space: dict[str, Any] = field(default_factory=dict)
    supernet: dict[str, Any] = field(default_factory=dict)
    default_layout: bool = False
    torchs: bool = False
    """Whether torch computes the 3-D convolutions, and each candidate is normalised by itself."""
    batch: int = 5
    window: int = 32
    steps: int = 1
    """Steps timed in a round."""


def variants(recipe: Recipe, share: float = 1.0) -> list[Variant]:
    """Return what is compared; the last ones take their settings from the quick recipe.

    Parameters
    ----------
    share : of the windows.
    """
    reduced = dict(recipe.space.options)
    sampled = {"mode": "sampled"}
    quick = {"mode": recipe.search.mode, "width": recipe.search.width}
    every = [
        Variant(AUTHORS, default_layout=True, torchs=True),
        Variant("layout alone", torchs=True),
        Variant("as in swath"),
        Variant("without sharing", supernet={"cell_sharing": False}),
        Variant("sampled", supernet=sampled, steps=4),
        Variant("sampled, early reduction", reduced, quick, steps=8),
        Variant(
            QUICK,
            reduced,
            quick,
            batch=recipe.search.batch,
            window=recipe.search.window,
            steps=8,
        ),
    ]
    return [replace(one, batch=max(1, round(share * one.batch))) for one in every]


class Step:
    """A supernet, its windows and its optimiser."""

    def __init__(self, variant: Variant, bands: int) -> None:
        torch.manual_seed(0)
        space = HSI3D(**variant.space)
        self.supernet = HSI3DMixture(
            space, InputSpec(bands), OutputSpec(CLASSES), **variant.supernet
        ).train()
        if variant.torchs:
            torchs(self.supernet)
            sum_one_by_one(self.supernet)
        if variant.default_layout:
            undo_channels_last(self.supernet)
        shape = (variant.batch, variant.window, variant.window)
        self.x = torch.randn(shape[0], bands, *shape[1:])
        self.y = torch.randint(CLASSES, shape)
        self.weights = self.supernet.weight_parameters()
        self.optimiser = torch.optim.SGD(self.weights, lr=0.025, momentum=0.9, weight_decay=3e-4)
        self.channels_last = channels_last_share(self.supernet, self.x[..., :8, :8])
        self.drawn = 0

    def __call__(self, windows: int | None = None) -> tuple[float, float]:
        """Make one step; return its seconds, as ``training_step.timed`` does."""
        torch.manual_seed(self.drawn)
        self.drawn += 1
        return timed(lambda: self._step(windows))

    def _step(self, windows: int | None) -> None:
        loss = nn.functional.cross_entropy(self.supernet(self.x[:windows]), self.y[:windows])
        gradients = torch.autograd.grad(loss, self.weights, allow_unused=True)
        for parameter, gradient in zip(self.weights, gradients, strict=True):
            parameter.grad = gradient
        self.optimiser.step()


def undo_channels_last(supernet: HSI3DMixture) -> None:
    """Bring weights and input into torch's default layout; all between follows from these two."""
    for module in supernet.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            module.to(memory_format=torch.contiguous_format)

    def default(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0].clone(memory_format=torch.contiguous_format),)

    supernet.stem.register_forward_pre_hook(default)


def sum_one_by_one(supernet: HSI3DMixture) -> None:
    """Let each candidate of an edge be normalised, weighted and added by itself."""

    def total(mixture: Mixture, x: Tensor) -> Tensor:
        pairs = zip(mixture._weights(), mixture.operators, strict=True)
        return sum(weight * operator(x) for weight, operator in pairs if weight != 0)

    for module in supernet.modules():
        if isinstance(module, Mixture):
            module.forward = functools.partial(total, module)


def channels_last_share(supernet: HSI3DMixture, x: Tensor) -> float:
    """Return the share of 3-D convolutions of a pass that answer in ``channels_last_3d``."""
    found: list[bool] = []

    def look(module: nn.Module, inputs: Any, output: Tensor) -> None:
        found.append(output.is_contiguous(memory_format=torch.channels_last_3d))

    hooks = [
        module.register_forward_hook(look)
        for module in supernet.modules()
        if isinstance(module, nn.Conv3d)
    ]
    with torch.no_grad():
        supernet(x)
    for hook in hooks:
        hook.remove()
    return sum(found) / len(found)


def measure(chosen: list[Variant], bands: int, rounds: int) -> dict[str, Any]:
    """Return the seconds of a step of each variant, which take turns."""
    steps = {variant.name: Step(variant, bands) for variant in chosen}
    for variant in chosen:  # one window is enough to warm up a step of seconds
        steps[variant.name](windows=None if variant.steps > 1 else 1)
    seconds: dict[str, list[tuple[float, float]]] = {variant.name: [] for variant in chosen}
    for _ in range(rounds):
        for variant in chosen:
            seconds[variant.name] += [steps[variant.name]() for _ in range(variant.steps)]
    medians = {
        name: [statistics.median(each) for each in zip(*both, strict=True)]
        for name, both in seconds.items()
    }
    return {
        variant.name: {
            "windows": variant.batch,
            "window": variant.window,
            "steps": len(seconds[variant.name]),
            "median_seconds": medians[variant.name][0],
            "least_seconds": min(clock for clock, _ in seconds[variant.name]),
            "most_seconds": max(clock for clock, _ in seconds[variant.name]),
            "processor_seconds": medians[variant.name][1],
            "times_as_fast_as_authors": medians[AUTHORS][0] / medians[variant.name][0],
            "times_by_processor": medians[AUTHORS][1] / medians[variant.name][1],
            "channels_last_share": steps[variant.name].channels_last,
        }
        for variant in chosen
    }


def table(results: dict[str, Any]) -> str:
    """Return a Markdown table."""
    lines = [
        "| bands | step | windows | s by the clock (least to most) | times as fast "
        "| s of the processor | times as fast | channels last |",
        "|---:|---|---|---:|---:|---:|---:|---:|",
    ]
    for bands, steps in results.items():
        for name, step in steps.items():
            lines.append(
                f"| {bands} | {name} | {step['windows']} of {step['window']} x {step['window']} | "
                f"{step['median_seconds']:.3g} ({step['least_seconds']:.3g} to "
                f"{step['most_seconds']:.3g}) | {step['times_as_fast_as_authors']:.3g} | "
                f"{step['processor_seconds']:.3g} | {step['times_by_processor']:.3g} | "
                f"{step['channels_last_share']:.0%} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure what was asked for, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bands", nargs="+", type=int, default=[200, 103])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, help="of torch; by default as many as it takes")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("--quick", action="store_true", help="2 rounds, fewer windows")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    rounds = 2 if options.quick else options.rounds
    chosen = variants(resolve(load_recipe("hsi3d-quick")), 0.4 if options.quick else 1.0)
    results: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe(),
        "rounds": rounds,
        "bands": {str(bands): measure(chosen, bands, rounds) for bands in options.bands},
    }
    print(f"{results['machine']}\n")
    print(table(results["bands"]))
    if options.out:
        write_json(options.out, results)
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
