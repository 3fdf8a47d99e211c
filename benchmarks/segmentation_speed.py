"""What segmentation costs: images a second in training, the data's share of a step, a large image.

    SWATH_DATA=... python benchmarks/segmentation_speed.py [--quick] [--out FILE]

Training: updates of `seg101-quick` (crops of 256 pixels of the real road tiles, batch 4), alone,
and the time in which the loop waited for its batch; batches computed ahead in a thread, and, as the
rival, in the loop itself.  A large image: 5000 x 5000 RGB pixels (1500 x 1500 with --quick) in a
tiled GeoTIFF made of the road tiles, mapped by a seg101 network (context 400) and by U-Net, whose
windows give what one pass over the whole image would: pixels a second, the most memory of the
process, and the largest difference of probabilities to one pass on an image of 600 x 600 (for
seg101 of 400 x 400, its context: a larger one has no other answer than that of its windows).
"""

from __future__ import annotations

import argparse
import json
import resource
import shlex
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import torch
from _data import data_folder
from torch import Tensor, nn

import swath
from swath import mapping, spaces
from swath.core.files import write_json
from swath.core.machine import describe
from swath.data.scaling import Scaling
from swath.mapping.engine import predict
from swath.mapping.prediction import read_array
from swath.mapping.product import ClassTable
from swath.networks import segmentation
from swath.spaces.base import InputSpec, OutputSpec
from swath.study.recipes import load_recipe, resolve
from swath.study.tile_tasks import TileTaskSettings, make_tile_task
from swath.tasks.tiles import TileTask
from swath.training.batches import ahead, batches
from swath.training.loop import TrainingSettings

CONTEXT = 400


def tiles() -> TileTask:
    """Return the real road tiles as a task."""
    source = str(data_folder() / "epfl_roads")
    task = make_tile_task(TileTaskSettings(source=source, threshold=127), 0)
    task.load()
    return task


def searched(seed: int = 0) -> nn.Module:
    """Return a network of the quick space."""
    recipe = resolve(load_recipe("seg101-quick"))
    space = spaces.create("seg101", **recipe.space.options)
    torch.manual_seed(seed)
    one = space.sample(np.random.default_rng(seed))
    return space.build(one, InputSpec(3), OutputSpec(2))


def training(task: TileTask, updates: int) -> dict[str, Any]:
    """Return the time of a step and the part of it spent waiting for the batch."""
    recipe = resolve(load_recipe("seg101-quick"))
    settings = recipe.training
    found: dict[str, Any] = {"batch": settings.batch, "crop": settings.window}
    for name in ("in the loop", "ahead"):
        network = searched()
        update = torch.optim.SGD(network.parameters(), lr=1e-6)
        drawn = batches(network, task, 0, window=settings.window, scales=(0.75, 1.0, 1.5))
        waits, steps = [], []
        with ahead(drawn, task, updates) as coming:
            source = drawn if name == "in the loop" else coming
            for step in range(updates):
                begun = time.perf_counter()
                x, y = source.batch(settings.batch, step)
                waits.append(time.perf_counter() - begun)
                _update(network, update, settings, x, y)
                steps.append(time.perf_counter() - begun)
        # The first two settle caches and start the thread.
        step_seconds = statistics.median(steps[2:])
        found[name] = {
            "step_seconds": step_seconds,
            "images_a_second": settings.batch / step_seconds,
            "data_share": statistics.median(waits[2:]) / step_seconds,
        }
    return found


def _update(
    network: nn.Module, update: Any, settings: TrainingSettings, x: Tensor, y: Tensor
) -> None:
    update.zero_grad(set_to_none=True)
    settings.criterion(network(x), y).backward()
    update.step()


def write_image(path: Path, task: TileTask, side: int) -> None:
    """Write a tiled GeoTIFF of so many rows and columns from training tiles, strip by strip."""
    profile = {
        "driver": "GTiff",
        "height": side,
        "width": side,
        "count": 3,
        "dtype": "uint8",
        "tiled": True,
        "crs": "EPSG:32633",
        "transform": rasterio.transform.from_origin(0, 0, 1, 1),
    }
    pool = [task.stored("train", index)[0] for index in range(task.count("train"))]
    size = pool[0].shape[1]
    with rasterio.open(path, "w", **profile) as file:
        for row in range(0, side, size):
            strip = np.concatenate(
                [pool[(row // size * 7 + k) % len(pool)] for k in range(-(-side // size))], axis=2
            )
            strip = strip[:, : min(size, side - row), :side]
            file.write(strip, window=rasterio.windows.Window(0, row, side, strip.shape[1]))


def large_image(task: TileTask, side: int) -> dict[str, Any]:
    """Return rates and memory of mapping an image in a process of its own for each network."""
    found: dict[str, Any] = {"rows": side, "columns": side}
    with tempfile.TemporaryDirectory(prefix="swath-") as folder:
        image = Path(folder) / "image.tif"
        write_image(image, task, side)
        for name in ("seg101", "unet"):
            found[name] = _in_own_process(image, task.scaling, name, Path(folder))
    return found


def _in_own_process(image: Path, scaling: Scaling, name: str, folder: Path) -> dict[str, Any]:
    import subprocess

    words = [sys.executable, __file__, "--map", name, str(image), json.dumps(scaling.to_dict())]
    out = subprocess.run(words, check=True, capture_output=True, text=True, cwd=folder)
    return dict(json.loads(out.stdout.splitlines()[-1]))


def map_one(name: str, image: Path, scaling: Scaling) -> dict[str, Any]:
    """Map an image with a network; return what it took."""
    torch.set_num_threads(2)
    network = _network(name).eval()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    scene = swath.open_scene(image, check=False)
    table = ClassTable(("background", "road"), (0, 1))
    begun = time.perf_counter()
    made = mapping.map_scene(
        network,
        scene,
        image.parent / f"{name}.tif",
        scaling=scaling,
        classes=table,
        context=CONTEXT,
    )
    seconds = time.perf_counter() - begun
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {
        "pixels_a_second": made.pixels / seconds,
        "seconds": seconds,
        "most_memory_mib": after / 1024,
        "memory_before_mib": before / 1024,
        "difference_to_one_pass": _difference(network, scene, scaling, name),
        "notes": list(made.notes),
    }


def _network(name: str) -> nn.Module:
    if name == "seg101":
        return searched()
    torch.manual_seed(0)
    return segmentation.create(name, 3, 2, backbone="narrow")


def _difference(network: nn.Module, scene: Any, scaling: Scaling, name: str) -> float:
    """Return the largest difference of probabilities between windows and one pass."""
    side = CONTEXT if name == "seg101" else 600
    pixels, valid = scene.read_valid(slice(0, side), slice(0, side))
    scaled = scaling.apply(pixels, valid)
    with torch.inference_mode():
        x = torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))[None]
        whole = network(x).softmax(1)[0].permute(1, 2, 0).numpy()
    window = None if name == "seg101" else 128
    cut = predict(
        network, read_array(scaled), scaled.shape, classes=2, context=CONTEXT, window=window
    ).array()
    return float(np.abs(cut - whole).max())


def main() -> None:
    """Measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--map", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.map:
        name, image, scaling = options.map
        print(json.dumps(map_one(name, Path(image), Scaling.from_dict(json.loads(scaling)))))
        return
    torch.set_num_threads(1)  # the loader's thread has the other core
    task = tiles()
    found: dict[str, Any] = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe(),
        "training": training(task, 8 if options.quick else 30),
        "large_image": large_image(task, 1500 if options.quick else 5000),
    }
    for name in ("in the loop", "ahead"):
        one = found["training"][name]
        print(
            f"batches {name}: {one['images_a_second']:.1f} images/s, "
            f"data {100 * one['data_share']:.1f} % of a step"
        )
    image = found["large_image"]
    for name in ("seg101", "unet"):
        one = image[name]
        print(
            f"{name}: {image['rows']} x {image['columns']} pixels, "
            f"{one['pixels_a_second']:,.0f} px/s, "
            f"at most {one['most_memory_mib']:,.0f} MiB ({one['memory_before_mib']:,.0f} before), "
            f"difference to one pass {one['difference_to_one_pass']:.1e}"
        )
    if options.out:
        write_json(options.out, found)
    if options.json:
        print(json.dumps(found))


if __name__ == "__main__":
    main()
