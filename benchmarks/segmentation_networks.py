"""A searched segmentation network beside U-Net, PSPNet and DeepLabV3+, trained as long as it was.

    SWATH_DATA=... python benchmarks/segmentation_networks.py [--seeds 0 1 2] [--quick] [--out FILE]

Roads in 60 aerial tiles (40 train, 10 validate, 10 test, split by image; the seed draws the split,
the first weights and the crops).  `seg101-quick` searches and trains a network from scratch.  Each
rival stands on the same backbone, from scratch too, with the same loop, loss, optimiser and crops;
it is given as many updates as fit into the processor time that the searched network's own training
took; with ``--whole`` PSPNet also gets as many as fit into its search and training together.
Processor time
is measured in the same run: each network's step in turn with the searched one's.  All networks are
chosen and compared by the mean IoU of the validation tiles; test tiles are read once, at the end of
each run.  One thread.
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from _data import data_folder
from torch import nn

import swath
from swath.core.architecture import Architecture
from swath.core.files import write_json
from swath.core.machine import describe
from swath.networks import segmentation
from swath.networks.cost import count_parameters
from swath.spaces.base import InputSpec, OutputSpec
from swath.study.recipes import Recipe
from swath.training.losses import loss
from swath.training.optimisers import optimiser

RIVALS = ("unet", "pspnet", "deeplabv3plus")
SPLIT = {"threshold": 127, "train": 40, "test": 10, "split": "random"}
SHORT = ("study.trials=3", "study.iterations=4", "study.retrain=1", "training.iterations=12")
STEPS = 7


def search(tiles: Path, seed: int, out: Path, quick: bool) -> swath.Run:
    """Return the finished run of the quick preset."""
    return swath.search(
        tiles=tiles,
        space="seg101",
        preset="quick",
        seed=seed,
        out=out / "searched",
        validation=10,
        overrides=SHORT if quick else (),
        **SPLIT,
    )


def train_rival(
    tiles: Path, seed: int, out: Path, name: str, iterations: int, quick: bool
) -> swath.Run:
    """Return the finished run of a rival with so many updates, on the same backbone."""
    every = max(1, iterations // 8)
    return swath.search(
        tiles=tiles,
        network=name,
        preset="quick",
        seed=seed,
        out=out / f"{name}-{iterations}",
        validation=10,
        overrides=[f"training.iterations={iterations}", f"training.validate_every={every}"],
        **SPLIT,
    )


def step_seconds(network: nn.Module, recipe: Recipe) -> float:
    """Return the processor seconds of an update."""
    training = recipe.training
    update = optimiser(network, training.optimiser, learning_rate=1e-6)
    criterion = loss(training.loss)
    x = torch.randn(training.batch, 3, training.window, training.window)
    y = torch.randint(0, 2, (training.batch, training.window, training.window))
    times = []
    for _ in range(STEPS):
        begun = time.process_time()
        update.zero_grad(set_to_none=True)
        criterion(network(x), y).backward()
        update.step()
        times.append(time.process_time() - begun)
    return statistics.median(times)


def run_seed(tiles: Path, seed: int, quick: bool, also_whole: bool) -> dict[str, Any]:
    """Return the figures of one seed."""
    with tempfile.TemporaryDirectory(prefix="swath-") as folder:
        out = Path(folder)
        begun = time.process_time()
        run = search(tiles, seed, out, quick)
        whole = time.process_time() - begun
        recipe = run.recipe
        space = swath.spaces.create(recipe.space.name, **recipe.space.options)
        own = Architecture.from_dict(json.loads(run.architecture.to_json()))
        built = space.build(own, InputSpec(3), OutputSpec(2)).train()
        step = step_seconds(built, recipe)
        training = recipe.training.iterations * step
        found: dict[str, Any] = {
            "searched": {
                **_figures(run),
                "architecture": run.architecture.as_dict(),
                "updates": recipe.training.iterations,
                "step_processor_seconds": step,
                "training_processor_seconds": training,
                "whole_processor_seconds": whole,
                "wall_seconds": run.metrics["cost"]["total_seconds"],
            }
        }
        for name in RIVALS:
            network = segmentation.create(name, 3, 2, backbone=recipe.space.options["backbone"])
            its = step_seconds(network.train(), recipe)
            budgets = {"": training}
            if also_whole and name == "pspnet":  # the strongest, by a first look at seed 0
                budgets["whole"] = whole
            for label, seconds in budgets.items():
                updates = max(8, round(seconds / its))
                made = train_rival(tiles, seed, out, name, updates, quick)
                found[f"{name} {label}".strip()] = {
                    **_figures(made),
                    "updates": updates,
                    "step_processor_seconds": its,
                    "parameters": count_parameters(network),
                }
        return found


def _figures(run: swath.Run) -> dict[str, float]:
    return {
        "validation_miou": run.metrics["validation"]["miou"],
        "test_miou": run.metrics["test"]["miou"],
        "test_iou_road": run.metrics["test"]["iou_target"],
        "parameters": run.metrics["cost"]["parameters"],
        "flops_per_pixel": run.metrics["cost"]["flops_per_pixel"],
    }


def show(found: dict[str, Any]) -> None:
    """Print a line for each network: mean and each seed."""
    seeds = list(found["seeds"])
    print(f"validation mean IoU in percent, seeds {', '.join(seeds)} (test in brackets)")
    for name in found["seeds"][seeds[0]]:
        rows = [found["seeds"][seed][name] for seed in seeds]
        values = [100 * row["validation_miou"] for row in rows]
        tests = [100 * row["test_miou"] for row in rows]
        each = "  ".join(f"{a:.1f} ({b:.1f})" for a, b in zip(values, tests, strict=True))
        print(
            f"  {name:<14} {statistics.mean(values):5.1f} ({statistics.mean(tests):.1f})   {each}"
            f"   {rows[0]['updates']} updates, {rows[0]['parameters']:,} parameters"
        )


def main() -> None:
    """Run the seeds, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--quick", action="store_true", help="one seed, a few updates")
    parser.add_argument("--whole", action="store_true", help="see above")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tiles = data_folder() / "epfl_roads"
    seeds = options.seeds[:1] if options.quick else options.seeds
    found: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe(),
        "split": SPLIT | {"validation": 10},
        "seeds": {str(seed): run_seed(tiles, seed, options.quick, options.whole) for seed in seeds},
    }
    show(found)
    if options.out:
        write_json(options.out, found)
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
