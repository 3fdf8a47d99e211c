"""What zero-cost proxies cost, in passes of the network that they score.

The unit is one build, forward and backward pass (cross-entropy, weights' gradients) of the same
network on the same batch, measured in turns with the proxies; theirs include a build, too.

* nasbench201: networks of the published size (16 channels, 5 cells a stage), batch 64 of
  3 x 32 x 32; grad_norm, snip, fisher, jacob_cov and synflow together (limit 2.5 units), every
  proxy alone, and all of them together (limit 1.5 times the dearest alone).  The limits count for
  the median over the networks.
* hytas: networks for 200 bands and 16 classes, batch 16 of 7 x 7; synflow, logsynflow and dss
  together (limit 2.5 units).

Times are of the process, not of the clock, so that other work on the machine counts little.

The operations of convolutions and matrix products are counted besides, also in units: what the
definitions ask for, whatever the machine makes of it.

    python benchmarks/proxies.py             # 4 networks a space, 3 rounds
    python benchmarks/proxies.py --dearest   # alone only what may be the dearest
    python benchmarks/proxies.py --quick     # the same, 2 networks, 1 round
    python benchmarks/proxies.py --json --out benchmarks/results/proxies.json
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from swath import proxies, spaces
from swath.core.files import write_json
from swath.core.machine import describe
from swath.spaces.base import InputSpec, OutputSpec

FIVE = ("grad_norm", "snip", "fisher", "jacob_cov", "synflow")
DATA_FREE = ("synflow", "logsynflow", "dss")
DEAREST = ("grasp", "croze", "zico", "ntk_condition")
LIMITS = {"five": 2.5, "all over dearest": 1.5, "data-free": 2.5}


@dataclass(frozen=True)
class Subject:
    """How a network is built, and what it is scored on."""

    build: Callable[[], nn.Module]
    x: Tensor
    y: Tensor

    def unit(self) -> None:
        nn.functional.cross_entropy(self.build()(self.x), self.y).backward()

    def score(self, names: Any) -> None:
        proxies.score(self.build(), (self.x, self.y), names)


def subjects(space: str, bands: int, classes: int, window: int, batch: int, count: int) -> Any:
    """Yield random networks of a space; of nasbench201 the heaviest cell is the first."""
    made = spaces.create(space)
    torch.manual_seed(0)
    x, y = torch.randn(batch, bands, window, window), torch.randint(classes, (batch,))
    rng = np.random.default_rng(0)
    architectures = [made.sample(rng) for _ in range(count)]
    if space == "nasbench201":
        architectures[0] = made.architecture({g.name: "nor_conv_3x3" for g in made.genes})
    for architecture in architectures:

        def build(architecture: Any = architecture) -> nn.Module:
            return made.build(architecture, InputSpec(bands), OutputSpec(classes)).train()

        yield Subject(build, x, y)


def seconds(work: Callable[[], None]) -> float:
    begun = time.process_time()
    work()
    return time.process_time() - begun


class Operations(TorchDispatchMode):
    """Counts the operations of convolutions and matrix products within, a multiply-add as two."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.convolution_backward.default:
            # Each gradient costs as much as the pass forward.  Torch's own count is too high for
            # groups, of which samples' gradients have many.
            slope, weight, wanted = args[0], args[2], args[10]
            self.total += 2 * slope.numel() * weight[0].numel() * sum(wanted[:2])
        elif func._overloadpacket in flop_registry:
            count = flop_registry[func._overloadpacket]
            self.total += int(count(*args, **(kwargs or {}), out_val=found))
        return found


def operations(work: Callable[[], None]) -> int:
    with Operations() as counted:
        work()
    return counted.total


def ratios(subject: Subject, jobs: Mapping[str, Any], rounds: int) -> dict[str, float]:
    """Return the median cost of each job in units of the same round."""
    subject.unit()
    found: dict[str, list[float]] = {name: [] for name in jobs}
    for _ in range(rounds):
        for name, names in jobs.items():
            unit = seconds(subject.unit)
            found[name].append(seconds(lambda names=names: subject.score(names)) / unit)
    return {name: statistics.median(values) for name, values in found.items()}


def counts(subject: Subject, jobs: Mapping[str, Any]) -> dict[str, float]:
    """Return the operations of each job in units."""
    unit = operations(subject.unit)
    return {
        name: operations(lambda names=names: subject.score(names)) / unit
        for name, names in jobs.items()
    }


def with_dearest(found: dict[str, float], singles: Iterable[str]) -> dict[str, float]:
    """Return figures with those of the dearest proxy, and how much dearer all together are."""
    dearest = max(found[name] for name in singles)
    return {**found, "dearest alone": dearest, "all over dearest": found["all"] / dearest}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    count, rounds = (2, 1) if options.quick else (options.networks, options.rounds)
    singles = DEAREST if options.quick or options.dearest else tuple(proxies.names())
    jobs = {"five": FIVE, **{name: name for name in singles}, "all": "*"}
    warm = next(subjects("nasbench201", 3, 10, 16, 2, 1))
    warm.score("*")  # torch imports what counts operations on first use
    cells = list(subjects("nasbench201", 3, 10, 32, 64, count))
    transformers = list(subjects("hytas", 200, 16, 7, 16, count))
    of_hytas = {"data-free": DATA_FREE, "all": "*"}
    return {
        "nasbench201": [with_dearest(ratios(one, jobs, rounds), singles) for one in cells],
        "nasbench201, operations": [with_dearest(counts(one, jobs), singles) for one in cells],
        "hytas": [ratios(one, of_hytas, rounds) for one in transformers],
    }


def table(results: Mapping[str, list[dict[str, float]]]) -> str:
    """Return a Markdown table of medians over the networks."""
    lines = ["| space | what | units (least to most) | limit |", "|---|---|---:|---:|"]
    for space, networks in results.items():
        for name in networks[0]:
            values = [network[name] for network in networks]
            limit = LIMITS.get(name) if "operations" not in space else None
            lines.append(
                f"| {space} | {name} | {statistics.median(values):.2f} "
                f"({min(values):.2f} to {max(values):.2f}) | {limit or ''} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Measure what was asked for, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--dearest", action="store_true", help="alone only what may be dearest")
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("--quick", action="store_true", help="2 networks, 1 round, fewer proxies")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe(),
        "units": measure(options),
    }
    print(f"{results['machine']}\n")
    print(table(results["units"]))
    if options.out:
        write_json(options.out, results)
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
