"""How fast the published final network of 3D-ANAS is trained, against the authors' form.

The network is that of ``mapping.py``; a step takes 12 windows of 32 x 32 pixels with 103 bands:
forward pass, cross-entropy, backward pass, clipping, SGD.

* authors' form: torch's default layout, 3-D convolutions, float32.
* layout alone: the same in the layout ``channels_last_3d``, also in bfloat16 (autocast).
* swath: as networks are built here (:mod:`swath.networks.conv3d`), in both precisions.

Forms take turns in each round; the machine's products of matrices take turns with them.  Given are
times of the clock and of the processor (divided by torch's threads; nearly what the clock says on a
quiet machine).  ``at least`` is the time that the step's operations would take at the rate of the
products.  The last lines say what the windows of a step cost to draw, cut and augment.

    python benchmarks/training_step.py                # 5 rounds, some minutes
    python benchmarks/training_step.py --quick        # 2 rounds of 4 windows
    python benchmarks/training_step.py --out benchmarks/results/training_step.json
    python benchmarks/training_step.py --channels     # what layers reach by their width, one thread
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mapping import BANDS, CLASSES, authors_form, final_network, products, torchs
from torch import Tensor, nn

from swath.core.devices import Precision, autocast
from swath.core.files import write_json
from swath.core.machine import describe
from swath.networks.cost import count_flops_per_pixel
from swath.tasks.windows import WindowSampler

AUTHORS = "authors' form"
WINDOW = 32
SCENE = (610, 340)
"""Rows and columns of Pavia University."""


@dataclass
class Step:
    """A network in a form, ready to be trained on given windows."""

    network: nn.Module
    precision: Precision

    def __post_init__(self) -> None:
        self.network.train()
        self.optimiser = torch.optim.SGD(self.network.parameters(), lr=1e-3, momentum=0.9)

    def __call__(self, x: Tensor, y: Tensor) -> None:
        with autocast(x.device, self.precision):
            logits = self.network(x)
        self.optimiser.zero_grad(set_to_none=True)
        nn.functional.cross_entropy(logits.float(), y).backward()
        nn.utils.clip_grad_value_(self.network.parameters(), 5.0)
        self.optimiser.step()


def forms() -> dict[str, Step]:
    """Return the step of each form; all begin with the same weights."""
    return {
        AUTHORS: Step(authors_form(final_network()), "float32"),
        "layout alone, float32": Step(torchs(final_network()), "float32"),
        "layout alone, bfloat16": Step(torchs(final_network()), "bfloat16"),
        "swath, float32": Step(final_network(), "float32"),
        "swath, bfloat16": Step(final_network(), "bfloat16"),
    }


def timed(run: Callable[[], object]) -> tuple[float, float]:
    """Return seconds of the clock, and of the processor divided by torch's threads."""
    begun, busy = time.perf_counter(), time.process_time()
    run()
    clock, processor = time.perf_counter() - begun, time.process_time() - busy
    return clock, processor / torch.get_num_threads()


def measure(windows: int, rounds: int) -> dict[str, Any]:
    """Return what each form takes, in turns."""
    torch.manual_seed(0)
    x = torch.randn(windows, BANDS, WINDOW, WINDOW)
    y = torch.randint(CLASSES, (windows, WINDOW, WINDOW))
    steps = forms()
    for step in steps.values():
        step(x[:1], y[:1])
        step(x, y)
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in steps}
    gemm: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    for _ in range(rounds):
        for name, step in steps.items():
            seconds[name].append(timed(lambda step=step: step(x, y)))
        for name in gemm:
            run, done = products(getattr(torch, name)), []
            seconds_of = timed(lambda run=run, done=done: done.extend(run() for _ in range(16)))
            gemm[name].append(sum(done) / seconds_of[1])
    # A backward pass makes two products for each of the forward pass.
    operations = 3 * count_flops_per_pixel(final_network(), BANDS) * windows * WINDOW**2
    table: dict[str, Any] = {}
    for name, both in seconds.items():
        precision = steps[name].precision
        clock, processor = (statistics.median(each) for each in zip(*both, strict=True))
        least = operations / statistics.median(gemm[precision])
        table[name] = {
            "clock_seconds": clock,
            "clock_spread": [min(c for c, _ in both), max(c for c, _ in both)],
            "processor_seconds": processor,
            "at_least_seconds": least,
            "share_of_products": least / processor,
        }
    for measured in table.values():
        for by in ("clock", "processor"):
            authors = table[AUTHORS][f"{by}_seconds"]
            measured[f"times_authors_by_{by}"] = authors / measured[f"{by}_seconds"]
    return {
        "windows": windows,
        "operations": operations,
        "products_gflops": {name: statistics.median(each) / 1e9 for name, each in gemm.items()},
        "forms": table,
        "data": data(windows, rounds, table["swath, bfloat16"]["processor_seconds"]),
    }


def data(windows: int, rounds: int, step_seconds: float) -> dict[str, float]:
    """Return what the windows of a step cost, and their share of the fastest step."""
    random = np.random.default_rng(0)
    image = torch.randn(BANDS, *SCENE)
    targets = np.where(random.random(SCENE) < 0.01, random.integers(0, CLASSES, SCENE), -1)
    sampler = WindowSampler(image, targets, WINDOW, 0, "balanced")
    sampler.batch(windows, 0)
    each = [timed(lambda i=i: sampler.batch(windows, i))[1] for i in range(10 * rounds)]
    seconds = statistics.median(each)
    return {"seconds": seconds, "share_of_step": seconds / (seconds + step_seconds)}


def markdown(result: dict[str, Any]) -> str:
    """Return a Markdown table and the lines below it."""
    lines = [
        "| form | s by the clock (least to most) | times authors' | s of the processor "
        "| times authors' | share of products' rate |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, form in result["forms"].items():
        least, most = form["clock_spread"]
        lines.append(
            f"| {name} | {form['clock_seconds']:.2f} ({least:.2f} to {most:.2f}) "
            f"| {form['times_authors_by_clock']:.2f} | {form['processor_seconds']:.2f} "
            f"| {form['times_authors_by_processor']:.2f} | {form['share_of_products']:.0%} |"
        )
    rates = ", ".join(f"{name} {rate:.0f}" for name, rate in result["products_gflops"].items())
    lines += [
        "",
        f"Products of matrices, GFLOP/s: {rates}. A step of {result['windows']} windows has "
        f"{result['operations'] / 1e9:.0f} billion operations.",
        f"Its windows take {result['data']['seconds'] * 1e3:.1f} ms, "
        f"{result['data']['share_of_step']:.2%} of the fastest step.",
    ]
    return "\n".join(lines)


def channel_rates() -> str:
    """Return a Markdown table of what one thread reaches by the number of channels."""
    lines = [
        "| channels | convolution 5 x 5, GFLOP/s | 1 x 1 | depthwise 3 x 3 "
        "| BatchNorm forward, GB/s of its input | backward |",
        "|---:|---:|---:|---:|---:|---:|",
    ]
    lines += [
        f"| {channels} | {' | '.join(layer_rates(channels))} |"
        for channels in (8, 12, 16, 24, 32, 64)
    ]
    return "\n".join(lines)


def layer_rates(channels: int, repeats: int = 9) -> list[str]:
    """Return the rates of three convolutions, and of BatchNorm forward and backward."""
    x = torch.randn(46, channels, WINDOW, WINDOW).to(memory_format=torch.channels_last)

    def least(run: Callable[[], object]) -> float:
        return min(timed(run)[1] for _ in range(repeats))

    rates = []
    for size, groups in ((5, 1), (1, 1), (3, channels)):
        layer = nn.Conv2d(channels, channels, size, padding=size // 2, groups=groups, bias=False)
        layer.to(memory_format=torch.channels_last)
        operations = 2 * x.numel() * layer.weight[0].numel()
        rates.append(f"{operations / least(partial(layer, x)) / 1e9:.0f}")
    norm, gradient = nn.BatchNorm2d(channels, affine=False), torch.randn_like(x)
    x.requires_grad_()
    answer = norm(x)
    backward = partial(torch.autograd.grad, answer, x, gradient, retain_graph=True)
    rates += [f"{x.nbytes / least(run) / 1e9:.1f}" for run in (partial(norm, x), backward)]
    return rates


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="2 rounds of 4 windows")
    parser.add_argument("--channels", action="store_true", help="rates of layers by their width")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    if options.channels:
        torch.set_num_threads(1)
        print(channel_rates())
        return
    windows, rounds = (4, 2) if options.quick else (options.windows, options.rounds)
    result = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe(),
        **measure(windows, rounds),
    }
    print(f"{result['machine']}\n")
    print(markdown(result))
    if options.out:
        write_json(options.out, result)
    if options.json:
        print(json.dumps(result))


if __name__ == "__main__":
    main()
