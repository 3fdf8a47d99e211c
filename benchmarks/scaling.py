"""How costs grow: with bands, pixels, classes, candidate operators, trials and workers.

Each row stands beside its arithmetic: the operations that are needed and the bytes that must move,
counted, and the least time that these take at the rates of this machine, which the same run
measures: of matrix products (or of convolutions, which another library computes) and of copies.
The share of the limit is the least time over the measured one.

* bands, pixels, classes: the mapping engine on a scene, the plain network in one pass over the same
  scene, and a training step of sixteen windows.  The network is the final one of mapping.py.
* operators: a step of the 3D-ANAS supernet with so many of its six convolutional operators (and
  `skip_connect` and `none`), as the mixture of all and sampled; the sampled one is the mean of six
  steps.
* trials: a study with a journal whose estimator is a table, and NPENAS's proposal of ten from a
  history of so many trials.
* workers: a scene mapped, and a study's trials of some work, by so many processes.

Bytes: the engine must read the scene and write the answers, as what lies between stays in the
cache; of all others the inputs and outputs of each operation count, forward and backward.

By default the time of one thread's processor counts, which other work on the machine changes
little; --wall counts the clock's, for a quiet machine.

    python benchmarks/scaling.py --markdown         # some minutes of one core
    python benchmarks/scaling.py --wall --threads 2 --markdown   # on a quiet machine
    python benchmarks/scaling.py --quick            # less than a minute
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mapping import BANDS, CLASSES, final_network
from study_overhead import Cell, Draw, Lookup, fill_table
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from swath import spaces
from swath.core.evaluation import Cost, Evaluation
from swath.core.files import write_json
from swath.core.history import History, Proposal, Trial
from swath.core.machine import describe, rates
from swath.mapping.engine import predict
from swath.mapping.prediction import read_array
from swath.networks.cost import count_flops_per_pixel
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.hsi3d import HSI3D
from swath.strategies.npenas import NPENAS
from swath.study.studies import run_study
from swath.supernets.hsi3d import HSI3DMixture, Mode

SECTIONS = ("bands", "pixels", "classes", "operators", "trials", "workers")
WINDOWS, WINDOW = 16, 8
OPERATORS = 6
STEPS = 6
ENGINE, PLAIN, STEP = "mapping engine", "plain network", "training step"
# Neither read nor write what they return: memory that is allocated, and a view not called so.
STILL = ("empty", "empty_like", "empty_strided", "new_empty", "new_empty_strided", "_unsafe_view")

Work = Callable[[], object]
Clock = Callable[[], float]


@dataclass(frozen=True)
class Case:
    """One row: what is done, and what it needs.

    Parameters
    ----------
    at : the number it is measured against, such as bands.
    units : pixels or trials that one call does.
    flops, moved : of one call; None: not counted.
    """

    form: str
    at: int
    work: Work
    units: int
    flops: float | None = None
    moved: float | None = None


class Moved(TorchDispatchMode):
    """Counts the bytes that operations read and write: their inputs and outputs.

    Views move nothing, and memory that is only allocated is not written.  What is expanded counts
    as stored.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> object:
        result = func(*args, **(kwargs or {}))
        if not func.is_view and func.overloadpacket.__name__ not in STILL:
            for tensor in tree_leaves((args, kwargs, result)):
                if isinstance(tensor, Tensor):
                    stored = tensor.untyped_storage().nbytes()
                    self.bytes += min(tensor.numel() * tensor.element_size(), stored)
        return result


def counted(work: Work) -> tuple[int, int]:
    """Return operations (a multiply-add is two) and bytes of a work; it is done twice."""
    flops, moved = FlopCounterMode(display=False), Moved()
    with flops:
        work()
    with moved:
        work()
    return flops.get_total_flops(), moved.bytes


def engine(network: nn.Module, rows: int, columns: int, bands: int, at: int) -> Case:
    """Return the mapping of a scene by the engine, which must read it and write the answers."""
    network.eval()
    pixels = np.random.default_rng(0).normal(size=(rows, columns, bands)).astype(np.float32)
    prediction = predict(network, read_array(pixels), pixels.shape)
    classes = next(iter(prediction)).probabilities.shape[-1]
    area = rows * columns
    return Case(
        ENGINE,
        at,
        lambda: [None for _ in prediction],
        area,
        count_flops_per_pixel(network, bands) * area,
        4 * area * (bands + classes),
    )


def plain(network: nn.Module, rows: int, columns: int, bands: int, at: int) -> Case:
    """Return a pass of the network as it is over a whole scene."""
    network.eval()
    image = torch.randn(1, bands, rows, columns)

    def work() -> None:
        with torch.inference_mode():
            network(image)

    with torch.no_grad():
        flops, moved = counted(partial(network, image))
    return Case(PLAIN, at, work, rows * columns, flops, moved)


def training(bands: int, classes: int, at: int) -> Case:
    """Return a forward and a backward pass of sixteen windows."""
    network = final_network(bands, classes).train()
    torch.manual_seed(0)
    x = torch.randn(WINDOWS, bands, WINDOW, WINDOW)
    y = torch.randint(classes, (WINDOWS, WINDOW, WINDOW))

    def work() -> None:
        network.zero_grad()
        nn.functional.cross_entropy(network(x), y).backward()

    return Case(STEP, at, work, WINDOWS * WINDOW**2, *counted(work))


def by_bands(quick: bool) -> list[Case]:
    cases = []
    for bands in (16, 64) if quick else (25, 50, 100, 200):
        network, side = final_network(bands), 32 if quick else 48
        cases += [
            engine(network, side, side, bands, bands),
            plain(network, side, side, bands, bands),
            training(bands, CLASSES, bands),
        ]
    return cases


def by_pixels(quick: bool) -> list[Case]:
    bands = 32 if quick else BANDS
    network = final_network(bands)
    sides = (16, 64) if quick else (16, 32, 64, 128)
    return [make(network, side, side, bands, side**2) for side in sides for make in (engine, plain)]


def by_classes(quick: bool) -> list[Case]:
    bands, side, cases = 16 if quick else BANDS, 32 if quick else 48, []
    for classes in (2, 32) if quick else (2, 8, 32, 128):
        network = final_network(bands, classes)
        cases += [
            engine(network, side, side, bands, classes),
            training(bands, classes, classes),
        ]
    return cases


def supernet(mode: Mode, operators: int, bands: int, windows: int) -> Work:
    """Return steps of a supernet of which the first operators alone are candidates.

    A candidate of weight zero is not computed, and its logit of minus infinity makes it so.
    """
    torch.manual_seed(0)
    network = HSI3DMixture(HSI3D(), InputSpec(bands), OutputSpec(CLASSES), mode=mode).train()
    with torch.no_grad():
        network.alpha[..., operators:OPERATORS] = -math.inf
    x = torch.randn(windows, bands, WINDOW, WINDOW)
    y = torch.randint(CLASSES, (windows, WINDOW, WINDOW))
    weights = network.weight_parameters()

    def work() -> None:
        for number in range(STEPS if mode == "sampled" else 1):
            torch.manual_seed(number)
            loss = nn.functional.cross_entropy(network(x), y)
            torch.autograd.grad(loss, weights, allow_unused=True)

    return work


def by_operators(quick: bool) -> list[Case]:
    bands, windows = (16, 2) if quick else (24, WINDOWS)
    cases = []
    for operators in (1, 6) if quick else (1, 2, 4, 6):
        for form, mode, steps in (("mixture", "full", 1), ("sampled", "sampled", STEPS)):
            work = supernet(mode, operators, bands, windows)  # type: ignore[arg-type]
            flops, moved = counted(work)
            cases.append(Case(form, operators, work, steps * windows * WINDOW**2, flops, moved))
    return cases


def history(trials: int) -> tuple[Any, History]:
    """Return NAS-Bench-201 and a history of random networks with random scores."""
    space, random = spaces.create("nasbench201"), np.random.default_rng(0)
    found: dict[Any, None] = {}
    while len(found) < trials:
        found[space.sample(random)] = None
    return space, History(
        tuple(
            Trial(number, Proposal(one), Evaluation(float(random.random()), "maximize", Cost()))
            for number, one in enumerate(found)
        )
    )


def by_trials(quick: bool) -> list[Case]:
    fill_table()
    cases = []
    for trials in (50, 500) if quick else (100, 1000, 10_000):

        def work(trials: int = trials) -> None:
            with tempfile.TemporaryDirectory() as folder:
                run_study(Cell(6), Draw(), Lookup(), trials=trials, store=Path(folder))

        with tempfile.TemporaryDirectory() as folder:
            run_study(Cell(6), Draw(), Lookup(), trials=trials, store=Path(folder))
            journal = sum(file.stat().st_size for file in Path(folder).iterdir())
        cases.append(Case("study with a journal", trials, work, trials, None, journal))
    for trials in (20, 60) if quick else (25, 50, 100, 200, 400):
        space, known = history(trials)

        def propose(space: Any = space, known: History = known) -> None:
            NPENAS().propose(space, known, 0)

        cases.append(Case("proposal of NPENAS", trials, propose, 1, *counted(propose)))
    return cases


@dataclass(frozen=True)
class Working:
    """An estimator that multiplies matrices for a while."""

    products: int
    direction: str = "maximize"
    budgets: tuple[int, ...] = ()

    def cost(self, architecture: Any) -> Cost:
        return Cost()

    def evaluate(self, architecture: Any, *, budget: int | None = None, seed: int = 0) -> Any:
        matrix = torch.ones(256, 256)
        for _ in range(self.products):
            matrix @ matrix
        return Evaluation(1.0, "maximize", Cost())


def by_workers(quick: bool) -> list[Case]:
    bands = 16 if quick else BANDS
    network = final_network(bands).eval()
    rows, columns = (64, 64) if quick else (128, 512)
    pixels = np.random.default_rng(0).normal(size=(rows, columns, bands)).astype(np.float32)
    area, trials = rows * columns, 8 if quick else 20
    products = 100 if quick else 500
    cases = []
    for workers in (1, 2):

        def map_it(workers: int = workers) -> None:
            for _ in predict(network, read_array(pixels), pixels.shape, workers=workers):
                pass

        flops = count_flops_per_pixel(network, bands) * area
        cases.append(Case(ENGINE, workers, map_it, area, flops, 4 * area * (bands + CLASSES)))

        def study(workers: int = workers) -> None:
            run_study(Cell(6), Draw(), Working(products), trials=trials, workers=workers)  # type: ignore[arg-type]

        flops = 2 * 256**3 * products * trials
        cases.append(Case("study's trials", workers, study, trials, flops, 0))
    return cases


MAKERS: dict[str, Callable[[bool], list[Case]]] = {
    "bands": by_bands,
    "pixels": by_pixels,
    "classes": by_classes,
    "operators": by_operators,
    "trials": by_trials,
    "workers": by_workers,
}


def processor_seconds() -> float:
    """Return the processor's time of this process and of its children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def least_seconds(
    flops: float | None, moved: float | None, found: Mapping[str, float], kind: str
) -> tuple[float, str] | None:
    """Return the least time at a machine's rates, and what sets it; None: nothing is counted.

    Parameters
    ----------
    kind : whose rate of operations counts: "gemm" or "convolution".
    """
    if flops is None:
        return None
    computing = flops / (1e9 * found[f"{kind}_float32"])
    moving = (moved or 0) / (1e9 * found["copy"])
    return (computing, "operations") if computing >= moving else (moving, "bytes")


def measure(
    cases: Sequence[Case], rounds: int, clock: Clock, found: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Return the rows of a section; the cases take turns in each round."""
    seconds: list[list[float]] = [[] for _ in cases]
    walls: list[list[float]] = [[] for _ in cases]
    for case in cases:
        case.work()
    for _ in range(rounds):
        for place, case in enumerate(cases):
            begun, wall = clock(), time.perf_counter()
            case.work()
            seconds[place].append(clock() - begun)
            walls[place].append(time.perf_counter() - wall)
    rows = []
    for case, all_, wall_ in zip(cases, seconds, walls, strict=True):
        median = statistics.median(all_)
        row: dict[str, Any] = {
            "form": case.form,
            "at": case.at,
            "units": case.units,
            "seconds": median,
            "least_seconds": min(all_),
            "most_seconds": max(all_),
            "wall_seconds": statistics.median(wall_),
            "flops": case.flops,
            "bytes": case.moved,
        }
        for kind in ("gemm", "convolution"):
            limit = least_seconds(case.flops, case.moved, found, kind)
            if limit is not None:
                row[f"share_of_{kind}_limit"] = limit[0] / median
                row[f"limited_by_{kind}"] = limit[1]
        rows.append(row)
    return rows


def growth(rows: Sequence[Mapping[str, Any]], form: str) -> float:
    """Return the exponent with which the time grows between the last two points of a form."""
    before, last = [row for row in rows if row["form"] == form][-2:]
    ratio = math.log(last["seconds"] / before["seconds"])
    return ratio / math.log(last["at"] / before["at"])


def table(section: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a section as Markdown."""
    workers, trials = section == "workers", section == "trials"
    unit = "pixel or trial" if workers else "trial" if trials else "pixel"
    each = "s by the clock" if workers else "ms a trial" if trials else "µs a pixel"
    lines = [
        f"| | {section} | s (least to most) | {each} | operations a {unit} | bytes a {unit} | "
        "of products' limit | of convolutions' limit | set by |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---|",
    ]
    forms = list(dict.fromkeys(row["form"] for row in rows))
    for row in sorted(rows, key=lambda row: forms.index(row["form"])):
        seconds = (row[f"{which}seconds"] for which in ("", "least_", "most_"))
        scale = (1e3 if trials else 1e6) / row["units"]
        lines.append(
            f"| {row['form']} | {row['at']:,} | "
            + "{} ({} to {}) | ".format(*map(_figure, seconds))
            + f"{_figure(row['wall_seconds'] if workers else scale * row['seconds'])} | "
            f"{_short(row['flops'], row['units'])} | {_short(row['bytes'], row['units'])} | "
            f"{_percent(row.get('share_of_gemm_limit'))} | "
            f"{_percent(row.get('share_of_convolution_limit'))} | "
            f"{row.get('limited_by_gemm', '')} |"
        )
    if not workers:
        grown = ", ".join(f"{form} {growth(rows, form):.2f}" for form in forms)
        lines += ["", f"Exponents of growth between the last two sizes: {grown}."]
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _short(value: float | None, units: int) -> str:
    if value is None:
        return ""
    each = value / units
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if each >= 0.9995 * size:
            return f"{each / size:.3g}{letter}"
    return f"{each:.3g}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.3g} %"


def page(results: Mapping[str, Any]) -> str:
    """Return all tables as Markdown, each after the machine and its rates in that run."""
    lines: list[str | None] = []
    for section, found in results.items():
        machine, speed = found["machine"], found["rates"]
        lines += [
            "" if lines else None,
            f"### {section.capitalize()}",
            "",
            f"{machine['processor']}, {machine['threads']} of {machine['cores']} cores, torch "
            f"{machine['torch']}, {found['clock']}: products {speed['gemm_float32']:.0f} GFLOP/s, "
            f"convolutions {speed['convolution_float32']:.0f} GFLOP/s, copies {speed['copy']:.1f} "
            "GB/s, float32.",
            "",
            table(section, found["rows"]),
        ]
    return "\n".join(line for line in lines if line is not None)


def main() -> None:
    """Measure what was asked for, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1, help="of torch")
    parser.add_argument("--wall", action="store_true", help="the clock's time: a quiet machine")
    parser.add_argument("--out", type=Path, help="add the figures to this JSON file")
    parser.add_argument(
        "--markdown", action="store_true", help="print the tables alone, as the page has them"
    )
    parser.add_argument("--page", type=Path, help="print the tables of this file; measure nothing")
    parser.add_argument("--quick", action="store_true", help="two sizes each, 1 round")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    if options.page:
        print(page(json.loads(options.page.read_text("utf-8"))))
        return
    if options.threads > 1 and not options.wall:
        parser.error("several threads are timed with --wall")
    torch.set_num_threads(options.threads)
    clock = time.perf_counter if options.wall else processor_seconds
    about = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe(),
        "clock": "by the clock" if options.wall else "by the processor's time",
        "rates": rates(3 if options.quick else 7, clock),
    }
    results: dict[str, Any] = {}
    if options.out and options.out.exists():
        results = json.loads(options.out.read_text("utf-8"))
    for section in SECTIONS:
        if section in options.only:
            rounds = 1 if options.quick else options.rounds
            rows = measure(MAKERS[section](options.quick), rounds, clock, about["rates"])
            results[section] = about | {"rows": rows}
            if not options.markdown:
                print(f"{section}\n\n{table(section, rows)}\n", flush=True)
            if options.out:
                write_json(
                    options.out, {name: results[name] for name in SECTIONS if name in results}
                )
    if options.markdown:
        print(page(results))
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
