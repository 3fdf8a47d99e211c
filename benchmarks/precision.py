"""Does training in bfloat16 cost accuracy, and does it save time?

The final training of the recipe hsi3d-quick, of one network, on the real Houston crop (48 bands,
random split, 20 training and 10 validation labels a class): the same networks, drawn at random,
first weights and batches in float32 and in bfloat16 (autocast).  Test labels are read once for
each, at its end, and choose nothing.  To tell rounding from chance, float32 is trained once more
with other batches.  What TF32 rounds on a GPU is rounded here on the processor: the factors of each
convolution and product, forward and backward, to 10 bits.

    SWATH_DATA=... python benchmarks/precision.py             # 4 networks, some ten minutes
    SWATH_DATA=... python benchmarks/precision.py --quick     # 1 network, a short schedule
    SWATH_DATA=... python benchmarks/precision.py --out benchmarks/results/precision.json
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _data import data_folder
from mapping import torchs
from quick_accuracy import scene_settings
from scipy.stats import t
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from swath import spaces
from swath.core.devices import Precision, autocast
from swath.core.files import write_json
from swath.core.machine import describe
from swath.core.seeds import derive
from swath.spaces.base import InputSpec, OutputSpec
from swath.study.preparation import open_task_scene, prepare_task
from swath.study.recipes import Recipe, TaskSettings, load_recipe, resolve
from swath.tasks.metrics import scores
from swath.tasks.scene import SceneTask
from swath.training.loop import TrainingSettings, train

SCENE = "houston-crop"
ONE = ("space.options.members=1", "training.batch=16")
"""One network instead of the recipe's three that answer together."""
TF32 = "tf32, emulated"
FORMS: dict[str, tuple[Precision, int]] = {
    "float32": ("float32", 0),
    "bfloat16": ("bfloat16", 0),
    TF32: ("float32", 0),
    "float32, other batches": ("float32", 1),
}
"""Precision, and what is added to the seed of the batches."""


def rounded(x: Tensor) -> Tensor:
    """Return float32 numbers with 10 bits after the leading one, to nearest, ties to even."""
    bits = x.detach().contiguous().view(torch.int32)
    even = (bits >> 13) & 1
    return ((bits + 0xFFF + even) & ~0x1FFF).view(torch.float32)


class _Factor(torch.autograd.Function):
    """A factor of a product: rounded on the way in."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return rounded(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient


class _Product(torch.autograd.Function):
    """A product, whose gradient is a factor of the backward products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return rounded(gradient)


class EmulatedTF32(TorchFunctionMode):
    """Rounds as a GPU does in TF32, in convolutions and linear layers of torch's own."""

    FUNCTIONS = (torch.conv2d, torch.conv3d, nn.functional.linear)

    def __torch_function__(
        self, function: Any, types: Any, arguments: Any = (), options: Any = None
    ) -> Any:
        """Call the function, between the roundings where it is a product."""
        if function not in self.FUNCTIONS:
            return function(*arguments, **(options or {}))
        x, weight, *rest = arguments
        factors = _Factor.apply(x), _Factor.apply(weight)
        return _Product.apply(function(*factors, *rest, **(options or {})))


def emulation(form: str) -> contextlib.AbstractContextManager[object]:
    """Return the context in which a form computes."""
    return EmulatedTF32() if form == TF32 else contextlib.nullcontext()


def task_of(recipe: Recipe, seed: int) -> SceneTask:
    """Return the scene with the split of a seed."""
    keys = {
        **recipe.task.model_dump(include={"scaling"}),
        **scene_settings(SCENE),
        "split": "random",
        "train": 20,
        "validation": 10,
        "small_classes": "drop",
    }
    settings = TaskSettings.model_validate(keys)
    return prepare_task(open_task_scene(settings), settings, derive(seed, "split"))


def trained(
    recipe: Recipe, settings: TrainingSettings, task: SceneTask, seed: int, form: str
) -> dict[str, float]:
    """Train one network in a form; return its test figures and seconds of the processor."""
    precision, other = FORMS[form]
    space = spaces.create(recipe.space.name, **recipe.space.options)
    architecture = space.sample(np.random.default_rng(seed))
    torch.manual_seed(seed)
    network = space.build(architecture, InputSpec(task.bands), OutputSpec(task.classes))
    if form == TF32:
        torchs(network)  # what our own convolutions compute backward is out of the mode's sight
    settings = dataclasses.replace(settings, precision=precision)
    begun = time.process_time()
    with tempfile.TemporaryDirectory() as folder, emulation(form):
        done = train(network, task, settings, seed=seed + 1000 * other, folder=Path(folder))
    seconds = time.process_time() - begun
    with torch.inference_mode(), autocast(task.image.device, precision), emulation(form):
        answers = done.network.eval()(task.image[None]).argmax(1)[0]
    figures = scores(task.test_confusion(answers.numpy()))
    return {"oa": figures.oa, "aa": figures.aa, "seconds": seconds}


def compared(results: dict[str, list[dict[str, float]]], form: str) -> dict[str, float]:
    """Return a form's mean difference to float32 in points of OA, with a 95 % interval."""
    pairs = zip(results[form], results["float32"], strict=True)
    differences = [100 * (a["oa"] - b["oa"]) for a, b in pairs]
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return {"mean": mean, "low": float("nan"), "high": float("nan")}
    error = statistics.stdev(differences) / len(differences) ** 0.5
    reach = float(t.ppf(0.975, len(differences) - 1)) * error
    return {"mean": mean, "low": mean - reach, "high": mean + reach}


def markdown(results: dict[str, list[dict[str, float]]]) -> str:
    """Return a Markdown table."""
    lines = [
        "| training | OA (each) | AA | difference in OA, points (95 %) | s of the processor |",
        "|---|---|---|---:|---:|",
    ]
    for form, runs in results.items():
        oa, aa = ([100 * run[name] for run in runs] for name in ("oa", "aa"))
        found = compared(results, form)
        beside = f"{found['mean']:+.2f} ({found['low']:+.2f} to {found['high']:+.2f})"
        lines.append(
            f"| {form} | {statistics.mean(oa):.1f} ({', '.join(f'{v:.1f}' for v in oa)}) "
            f"| {statistics.mean(aa):.1f} | {'' if form == 'float32' else beside} "
            f"| {statistics.median(run['seconds'] for run in runs):.0f} |"
        )
    return "\n".join(lines)


def main() -> None:
    """Train what was asked for, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--networks", type=int, default=4)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="1 network, 20 updates")
    parser.add_argument("--out", type=Path, help="also write the figures to this JSON file")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    data_folder()
    torch.set_num_threads(options.threads)
    recipe = resolve(load_recipe("hsi3d-quick"), overrides=ONE)
    settings, networks = recipe.training, options.networks
    if options.quick:
        settings, networks = dataclasses.replace(settings, iterations=20, validate_every=10), 1
    machine = describe()
    results: dict[str, list[dict[str, float]]] = {form: [] for form in FORMS}
    for seed in range(networks):
        task = task_of(recipe, seed)
        for form in FORMS:
            results[form].append(trained(recipe, settings, task, seed, form))
            print(f"network {seed}, {form}: {results[form][-1]}", flush=True)
    print(f"{SCENE} (real), random split, {networks} networks\n\n{markdown(results)}")
    found: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": machine,
        "scene": SCENE,
        "iterations": settings.iterations,
        "networks": results,
        "differences": {form: compared(results, form) for form in FORMS if form != "float32"},
    }
    if options.out:
        write_json(options.out, found)
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
