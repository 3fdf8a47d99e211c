"""How fast an NVIDIA GPU maps, trains and searches with 3D-ANAS, against the authors' form there.

The networks are those of ``mapping.py``, ``training_step.py`` and ``supernet_step.py``, and so are
their forms.  Variants take turns in each round; each is waited for.

* mapping: the authors' form (torch's default layout, two windows of 32 x 32 at a time), the same on
  a whole image, the network as it is built here, the inference form on pixels that lie on the GPU,
  and :func:`swath.mapping.predict` from an array in the machine's memory to probabilities there.
  Rates are pixels a second.
* compile: ``torch.compile`` of the network against the same as it is.
* training: a step of 12 windows of 32 x 32 x 103.
* supernet: a step of the weights, 103 bands.

``busy`` is the share of a step's time in which the GPU computes; for the rest it waits for Python
to tell it what.  Kernels that run side by side count each, so it can exceed one.

    python benchmarks/gpu.py                          # --quick: fewer rounds
    python benchmarks/gpu.py --only mapping --rounds 3
    python benchmarks/gpu.py --out benchmarks/results/gpu.json
"""

from __future__ import annotations

import argparse
import copy
import json
import shlex
import statistics
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import mapping
import numpy as np
import supernet_step
import torch
import training_step
from torch import Tensor, nn

from swath.core.devices import autocast
from swath.core.files import write_json
from swath.core.machine import describe
from swath.mapping import runner
from swath.mapping.engine import predict
from swath.mapping.prediction import read_array
from swath.networks.cost import count_flops_per_pixel
from swath.networks.inference import Inference
from swath.study.recipes import load_recipe, resolve

DEVICE = torch.device("cuda")
SIDE, RESIDENT = 1024, 512
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}
SECTIONS = ("mapping", "compile", "training", "supernet")


def waited(run: Callable[[], object]) -> Callable[[], None]:
    """Return a run that ends when the GPU has done it."""

    def wait() -> None:
        run()
        torch.cuda.synchronize()

    return wait


def rate(run: Callable[[], object], amount: float) -> Callable[[], float]:
    """Return a run for :func:`mapping.turns`."""
    wait = waited(run)

    def measured() -> float:
        wait()
        return amount

    return measured


def passes(network: nn.Module, images: Tensor, precision: str) -> Callable[[], float]:
    """Return forward passes over a batch that lies on the GPU."""

    def run() -> None:
        with torch.inference_mode(), autocast(DEVICE, precision):  # type: ignore[arg-type]
            network(images)

    return rate(run, float(images.shape[0] * images.shape[2] * images.shape[3]))


def maps(rounds: int, precisions: list[str], weights: Path | None) -> dict[str, Any]:
    """Return the rates of mapping."""
    network, pixels = mapping.trained(60, weights)
    scene = np.tile(pixels, (SIDE // 256, SIDE // 256, 1))
    image = torch.from_numpy(scene[:RESIDENT, :RESIDENT]).permute(2, 0, 1)[None].contiguous()
    two = torch.stack([image[0, :, :32, :32], image[0, :, :32, 32:64]]).to(DEVICE)
    image = image.to(DEVICE)
    plain, ours = mapping.authors_form(network).to(DEVICE), network.to(DEVICE)
    runner.AGREEMENT = 0.0  # the rate of bfloat16 is wanted in any case
    variants = {
        mapping.AUTHORS: passes(plain, two, "float32"),
        f"authors' form, {RESIDENT} x {RESIDENT}": passes(plain, image, "float32"),
    }
    for precision in precisions:
        dtype = PRECISIONS[precision]
        form = Inference(ours, mapping.BANDS, dtype, DEVICE)
        variants[f"as built, {precision}"] = passes(ours, image, precision)
        variants[f"inference form, {precision}"] = passes(form, image, "float32")  # type: ignore[arg-type]
        variants[f"engine, {precision}"] = rate(
            partial(_map, ours, scene, precision), float(SIDE * SIDE)
        )
        size = 8192
        left, right = (torch.randn(size, size, device=DEVICE, dtype=dtype) for _ in range(2))
        variants[f"products, {precision}"] = rate(partial(torch.matmul, left, right), 2.0 * size**3)
    rates = mapping.turns(variants, rounds)
    base = statistics.median(rates[mapping.AUTHORS])
    table = {name: mapping.figures(each) for name, each in rates.items()}
    for name, row in table.items():
        if not name.startswith("products"):
            row["times_authors"] = row["median"] / base
    return {
        "flops_per_pixel": count_flops_per_pixel(network.cpu(), mapping.BANDS),
        "scene": [SIDE, SIDE, mapping.BANDS],
        "resident": RESIDENT,
        "agreement": {name: agreement(ours, image, PRECISIONS[name]) for name in precisions},
        "rates": table,
    }


def agreement(network: nn.Module, image: Tensor, dtype: torch.dtype) -> float:
    """Return the share of pixels to which the inference form gives the class of a processor."""
    part = image[:, :, :128, :128]
    form = Inference(network, mapping.BANDS, dtype, DEVICE)
    with torch.inference_mode(), autocast(DEVICE, "float32"):
        ours = form(part).argmax(1).cpu()
        return float((ours == network.cpu()(part.cpu()).argmax(1)).float().mean())


def compiled(rounds: int, weights: Path | None) -> dict[str, Any]:
    """Return the rates of the network in bfloat16, with and without ``torch.compile``."""
    network, pixels = mapping.trained(60, weights)
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].contiguous().to(DEVICE)
    plain = mapping.torchs(network.to(DEVICE))
    variants = {
        "as torch has it": passes(plain, image, "bfloat16"),
        "torch.compile": passes(torch.compile(copy.deepcopy(plain)), image, "bfloat16"),  # type: ignore[arg-type]
    }
    rates = mapping.turns(variants, rounds)
    return {name: mapping.figures(each) for name, each in rates.items()}


def _map(network: nn.Module, scene: np.ndarray, precision: str) -> None:
    found = predict(
        network,
        read_array(scene),
        scene.shape,  # type: ignore[arg-type]
        device=DEVICE,
        precision=precision,  # type: ignore[arg-type]
    )
    for _ in found:
        pass


def training(rounds: int) -> dict[str, Any]:
    """Return the seconds of a training step of each form."""
    torch.manual_seed(0)
    x = torch.randn(12, mapping.BANDS, 32, 32, device=DEVICE)
    y = torch.randint(mapping.CLASSES, (12, 32, 32), device=DEVICE)
    built = mapping.final_network
    forms = {
        mapping.AUTHORS: (mapping.authors_form(built()), "float32"),
        "layout alone, float32": (mapping.torchs(built()), "float32"),
        "layout alone, bfloat16": (mapping.torchs(built()), "bfloat16"),
        "swath, float32": (built(), "float32"),
        "swath, tf32": (built(), "tf32"),
        "swath, bfloat16": (built(), "bfloat16"),
    }
    steps = {
        name: partial(training_step.Step(network.to(DEVICE), precision), x, y)  # type: ignore[arg-type]
        for name, (network, precision) in forms.items()
    }
    return seconds_of(steps, 3, 4, rounds)


def supernet(rounds: int) -> dict[str, Any]:
    """Return the seconds of a step of the supernet's weights of each variant."""
    recipe = resolve(load_recipe("hsi3d-quick"))
    steps: dict[str, Callable[[], object]] = {}
    with autocast(DEVICE, "float32"):
        for variant in supernet_step.variants(recipe):
            step = supernet_step.Step(variant, mapping.BANDS)
            step.supernet.to(DEVICE)
            step.x, step.y = step.x.to(DEVICE), step.y.to(DEVICE)
            steps[variant.name] = step
        return seconds_of(steps, 1, 1, rounds)


def seconds_of(
    steps: dict[str, Callable[[], object]], before: int, repeats: int, rounds: int
) -> dict[str, Any]:
    """Time steps in turns; say how busy the GPU is in each.

    Parameters
    ----------
    before : steps that are made first, and not timed.
    repeats : of a step in a round.
    """
    for step in steps.values():
        for _ in range(before):
            waited(step)()
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            for _ in range(repeats):
                seconds[name].append(training_step.timed(waited(step))[0])
    base = statistics.median(seconds[mapping.AUTHORS])
    table: dict[str, Any] = {}
    for name, each in seconds.items():
        median = statistics.median(each)
        table[name] = {
            "seconds": median,
            "spread": [min(each), max(each)],
            "times_authors": base / median,
        } | computing(steps[name], median)
    return table


def computing(step: Callable[[], object], seconds: float) -> dict[str, float]:
    """Return how many kernels a step starts, and the share of its time in which they run."""
    activities = [torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        waited(step)()
    kernels = [event for event in profile.events() if event.device_type.name == "CUDA"]
    busy = sum(event.self_device_time_total for event in kernels) / 1e6
    return {"kernels": len(kernels), "busy": busy / seconds}


def markdown(result: dict[str, Any]) -> str:
    """Return the tables."""
    lines: list[str] = []
    if "mapping" in result:
        lines += ["| mapping | pixels a second | x authors' |", "|---|---|---|"]
        for name, row in result["mapping"]["rates"].items():
            if name.startswith("products"):
                lines.append(f"| {name} | {row['median'] / 1e12:,.0f} TFLOP/s | |")
            else:
                lines.append(f"| {name} | {row['median']:,.0f} | {row['times_authors']:.1f} |")
        lines.append("")
    for name, row in result.get("compile", {}).items():
        lines.append(f"{name}: {row['median']:,.0f} pixels a second")
    for section in ("training", "supernet"):
        if section in result:
            lines += [f"| {section} | ms | x authors' | kernels | busy |", "|---|---|---|---|---|"]
            lines += [
                f"| {name} | {1e3 * row['seconds']:.1f} | {row['times_authors']:.2f} | "
                f"{row['kernels']} | {100 * row['busy']:.0f} % |"
                for name, row in result[section].items()
            ]
            lines.append("")
    return "\n".join(lines)


def main() -> None:
    """Measure, print, and write where asked."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    parser.add_argument(
        "--precisions", nargs="+", choices=list(PRECISIONS), default=list(PRECISIONS)
    )
    parser.add_argument("--weights", type=Path, help="keep the trained weights in this file")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="two rounds")
    parser.add_argument("--out", type=Path, help="where to write the figures as JSON")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("not measured: this machine has no CUDA GPU that torch can use")
        return
    result: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe() | {"gpu": torch.cuda.get_device_name(DEVICE)},
    }
    run = {
        "mapping": partial(maps, precisions=arguments.precisions, weights=arguments.weights),
        "compile": partial(compiled, weights=arguments.weights),
        "training": training,
        "supernet": supernet,
    }
    for section in arguments.only:
        result[section] = run[section](2 if arguments.quick else arguments.rounds)
    print(json.dumps(result, indent=1) if arguments.json else markdown(result))
    if arguments.out is not None:
        write_json(arguments.out, result)


if __name__ == "__main__":
    main()
