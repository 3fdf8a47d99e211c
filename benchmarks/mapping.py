"""How fast scenes are mapped, against the authors' form of 3D-ANAS and against this machine.

The network is the published final one (L = 2, N = 3, W = 16, 103 bands, cells of 24 and 32
channels), with each of the six operators twice, which makes 7.33 million operations a pixel.  It
is trained for a few steps on a simulated scene, so that its answers are as sure as a trained
network's.  All rates are pixels of the scene a second.

* forms: the authors' form (torch's default layout, two windows of 32 x 32 at a time), the layout
  alone, and :func:`swath.mapping.predict`, which take turns in each round; the machine's rate of
  matrix products takes turns with them.
* sizes: the same against the size of the scene, beside the plain network on the whole scene.
* modes: what overlap and several scales cost.
* patches: a 3-D network of valid convolutions that classifies patches, as it is (a loop over
  windows of patches, as DeepHyperX maps; and swath's own patches) and in its dense form.
* workers: a scene of 768 x 1024 from a file by one process with one and two threads, by two workers
  of one thread, and by two of a Dask cluster on this machine, started without nannies.
* large: a tiled GeoTIFF of 20,000 x 20,000 x 100 whose upper rows hold data; those are mapped from
  file to file, and the rest is extrapolated.

    python benchmarks/mapping.py             # all of it, some twenty minutes on two cores
    python benchmarks/mapping.py --quick     # about two minutes
    python benchmarks/mapping.py --only forms modes --json
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_model, save_model
from torch import Tensor, nn

from swath.core.files import write_json
from swath.core.machine import describe
from swath.data.simulate import simulate_demo
from swath.mapping import runner
from swath.mapping.engine import predict
from swath.mapping.prediction import MapMode, MapPrecision, read_array
from swath.networks.conv3d import Conv3d
from swath.networks.cost import count_flops_per_pixel
from swath.networks.inference import Inference
from swath.networks.patchwise import Patchwise
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.hsi3d import HSI3D

BANDS, CLASSES = 103, 9
OPERATORS = (
    ("con_3-5", "con_5-3", "con_3-3", "sep_3-5", "con_3-3", "con_3-5"),
    ("sep_5-3", "sep_3-3", "sep_5-3", "sep_3-3", "sep_3-5", "con_5-3"),
)
INPUTS = ("0,1", "1,2", "1,3")
AUTHORS = "authors' form"
BY_PROCESSOR = False
SECTIONS = ("forms", "sizes", "modes", "patches", "workers", "large")


def final_network(bands: int = BANDS, classes: int = CLASSES) -> nn.Module:
    """Return the network of the comparison, with random weights."""
    values: dict[str, str | int] = {}
    for layer, operators in enumerate(OPERATORS):
        for node, inputs in enumerate(INPUTS):
            values[f"cell{layer}.node{node}.inputs"] = inputs
            values[f"cell{layer}.node{node}.op0"] = operators[2 * node]
            values[f"cell{layer}.node{node}.op1"] = operators[2 * node + 1]
        values[f"cell{layer}.width"] = layer + 1
    space = HSI3D()
    torch.manual_seed(0)
    return space.build(space.architecture(values), InputSpec(bands), OutputSpec(classes))


def trained(steps: int, weights: Path | None) -> tuple[nn.Module, np.ndarray]:
    """Return the network after some steps on a simulated scene, and the scaled scene.

    Parameters
    ----------
    weights : where the weights are, or will be, kept.
    """
    scene = simulate_demo(0, 256, 256, BANDS, CLASSES, difficulty=0.1)
    pixels = scene.read()
    pixels = (pixels - pixels.mean((0, 1))) / pixels.std((0, 1))
    assert scene.labels is not None
    labels = torch.from_numpy(scene.labels.values)
    image = torch.from_numpy(pixels).permute(2, 0, 1)
    network = final_network().train()
    if weights is not None and weights.exists():
        load_model(network, weights)
        return network.eval(), pixels
    optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
    random = np.random.default_rng(0)
    for _ in range(steps):
        corners = random.integers(0, 224, (2, 2))
        x = torch.stack([image[:, r : r + 32, c : c + 32] for r, c in corners])
        y = torch.stack([labels[r : r + 32, c : c + 32] for r, c in corners])
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(x), y, ignore_index=-1).backward()
        optimiser.step()
    if weights is not None:
        save_model(network, str(weights))
    return network.eval(), pixels


def torchs(network: nn.Module) -> nn.Module:
    """Let torch compute the 3-D convolutions of a network, in place; return it."""
    for module in network.modules():
        if isinstance(module, Conv3d):
            module.__class__ = nn.Conv3d
    return network


def authors_form(network: nn.Module) -> nn.Module:
    """Return a copy in torch's default layout: weights, and the input, from which all follows."""
    plain = torchs(copy.deepcopy(network))
    for module in plain.modules():
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            module.to(memory_format=torch.contiguous_format)

    def default(module: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        return (inputs[0].clone(memory_format=torch.contiguous_format),)

    plain.stem.register_forward_pre_hook(default)  # type: ignore[operator, union-attr]
    return plain


def turns(variants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run variants in turns; each says how much it did.  Return what each did a second."""
    rates: dict[str, list[float]] = {name: [] for name in variants}
    for run in variants.values():
        run()
    for _ in range(rounds):
        for name, run in variants.items():
            begun, busy = time.perf_counter(), time.process_time()
            amount = run()
            seconds = time.perf_counter() - begun
            if BY_PROCESSOR:
                seconds = (time.process_time() - busy) / torch.get_num_threads()
            rates[name].append(amount / seconds)
    return rates


def figures(rates: list[float]) -> dict[str, Any]:
    """Return the median and the spread."""
    return {
        "median": statistics.median(rates),
        "least": min(rates),
        "most": max(rates),
        "rounds": len(rates),
    }


def mapper(
    network: nn.Module,
    pixels: np.ndarray,
    precision: MapPrecision,
    mode: MapMode = "plain",
) -> Callable[[], float]:
    """Return a run of the engine over a scene."""
    # The rate of bfloat16 is wanted in any case; how well it agrees is reported beside it.
    runner.AGREEMENT = 0.0
    prediction = predict(network, read_array(pixels), pixels.shape, mode=mode, precision=precision)  # type: ignore[arg-type]

    def run() -> float:
        for _ in prediction:
            pass
        return float(pixels.shape[0] * pixels.shape[1])

    return run


def windows(network: nn.Module, images: Tensor, precision: MapPrecision) -> Callable[[], float]:
    """Return a pass of the plain network over a batch."""

    def run() -> float:
        enabled = precision == "bfloat16"
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            network(images)
        return float(images.shape[0] * images.shape[2] * images.shape[3])

    return run


def products(dtype: torch.dtype, size: int = 1024) -> Callable[[], float]:
    """Return a matrix product; its amount is operations."""
    left, right = (torch.randn(size, size).to(dtype) for _ in range(2))

    def run() -> float:
        with torch.inference_mode():
            left @ right
        return 2.0 * size**3

    return run


def forms(network: nn.Module, pixels: np.ndarray, rounds: int, quick: bool) -> dict[str, Any]:
    """The engine against the authors' form and the machine."""
    image = torch.from_numpy(pixels[:32, :64]).permute(2, 0, 1).contiguous()
    batch = torch.stack([image[:, :, :32], image[:, :, 32:]])
    scene = np.tile(pixels, (1, 2, 1))[: 64 if quick else 192]
    layout = torchs(copy.deepcopy(network))
    variants = {
        AUTHORS: windows(authors_form(network), batch, "float32"),
        "layout alone, float32": windows(layout, batch, "float32"),
        "layout alone, bfloat16": windows(layout, batch, "bfloat16"),
        "engine, float32": mapper(network, scene, "float32"),
        "engine, bfloat16": mapper(network, scene, "bfloat16"),
        "products, float32": products(torch.float32),
        "products, bfloat16": products(torch.bfloat16),
    }
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        form = Inference(network, BANDS, dtype)
        variants[f"inference form on the two windows, {name}"] = windows(form, batch, "float32")  # type: ignore[arg-type]
    rates = turns(variants, rounds)
    flops = count_flops_per_pixel(network, BANDS)
    table: dict[str, Any] = {}
    base = statistics.median(rates[AUTHORS])
    for name, each in rates.items():
        table[name] = figures(each)
        if name.startswith("products"):
            continue
        dtype_name = "bfloat16" if "bfloat16" in name else "float32"
        limit = statistics.median(rates[f"products, {dtype_name}"])
        table[name]["times_authors"] = table[name]["median"] / base
        table[name]["share_of_products"] = table[name]["median"] * flops / limit
    with torch.inference_mode():
        whole = torch.from_numpy(pixels).permute(2, 0, 1)[None]
        exact = Inference(network, BANDS)(whole[:, :, :128]).argmax(1)
        rounded = Inference(network, BANDS, torch.bfloat16)(whole[:, :, :128]).argmax(1)
    return {
        "scene": list(scene.shape),
        "flops_per_pixel": flops,
        "operators": OPERATORS,
        "inputs": INPUTS,
        "bfloat16_agreement": float((exact == rounded).float().mean()),
        "rates": table,
    }


def sizes(network: nn.Module, pixels: np.ndarray, rounds: int, quick: bool) -> dict[str, Any]:
    """The rate against the size of the scene; rows are limited, as the time of one is the same."""
    result: dict[str, Any] = {}
    most = 2**16 if quick else 2**17
    for side in (32, 128, 512) if quick else (32, 64, 128, 256, 512, 1024, 2048):
        rows = max(32, min(side, most // side))
        scene = np.tile(pixels, (-(-rows // 256), -(-side // 256), 1))[:rows, :side]
        variants = {
            "engine, float32": mapper(network, scene, "float32"),
            "engine, bfloat16": mapper(network, scene, "bfloat16"),
        }
        if rows * side <= 2**16:
            image = torch.from_numpy(scene).permute(2, 0, 1)[None].contiguous()
            variants["plain network, whole"] = windows(network, image, "float32")
        rates = turns(variants, min(rounds, 3))
        result[str(side)] = {"rows": rows} | {n: figures(r) for n, r in rates.items()}
    return result


def modes(network: nn.Module, pixels: np.ndarray, rounds: int, quick: bool) -> dict[str, Any]:
    """What overlap and scales cost, in times of mode plain."""
    scene = pixels[: 96 if quick else 256, : 128 if quick else 256]
    result: dict[str, Any] = {"scene": list(scene.shape)}
    for precision in ("float32", "bfloat16"):
        names: tuple[MapMode, ...] = ("plain", "windows", "ov", "ms", "ms+ov")
        variants = {name: mapper(network, scene, precision, name) for name in names}
        rates = turns(variants, 1 if quick else 3)
        base = statistics.median(rates["plain"])
        result[precision] = {
            name: figures(each) | {"times_plain": base / statistics.median(each)}
            for name, each in rates.items()
        }
    return result


class PatchNetwork(nn.Module):
    """A 3-D network of valid convolutions on patches, as many of DeepHyperX's are.

    The first kernel has 7 bands, all others 3; a linear layer follows.

    Parameters
    ----------
    kernels : how many each convolution has; each takes two rows and columns of the patch.
    """

    def __init__(self, kernels: tuple[int, ...]) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for layer, (inputs, outputs) in enumerate(zip((1, *kernels), kernels, strict=False)):
            extent = 3 if layer else 7
            layers.append(nn.Conv3d(inputs, outputs, (extent, 3, 3), padding=(1, 0, 0)))
            layers.append(nn.ReLU())
        self.layers = nn.Sequential(*layers)
        self.last = nn.Linear(kernels[-1] * (BANDS - 4), CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """Return logits of patches."""
        return self.last(self.layers(x.unsqueeze(1)).flatten(1))


def flat_patch_network() -> nn.Module:
    """Return a 2-D network of valid convolutions on patches of 7."""
    layers: list[nn.Module] = []
    for inputs, outputs in ((BANDS, 32), (32, 32), (32, 32)):
        layers += [nn.Conv2d(inputs, outputs, 3), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(32, CLASSES))


def patch_loop(network: nn.Module, patch: int, pixels: np.ndarray) -> np.ndarray:
    """Map as DeepHyperX does: a loop cuts patch after patch, a hundred go through the network."""
    reach = patch // 2
    padded = np.pad(pixels, ((reach, reach), (reach, reach), (0, 0)), mode="symmetric")
    rows, columns, _ = pixels.shape
    answers, batch = [], []
    with torch.inference_mode():
        for row in range(rows):
            for column in range(columns):
                batch.append(padded[row : row + patch, column : column + patch])
                if len(batch) == 100 or (row + 1, column + 1) == (rows, columns):
                    data = np.stack([np.copy(each) for each in batch]).transpose(0, 3, 1, 2)
                    answers.append(network(torch.from_numpy(np.ascontiguousarray(data))))
                    batch = []
    return torch.cat(answers).view(rows, columns, -1).numpy()


def patches(pixels: np.ndarray, rounds: int, quick: bool) -> dict[str, Any]:
    """Patch networks against their dense form, with equal weights and equal outputs."""
    result: dict[str, Any] = {}
    for name, make, patch in (
        ("3-D, patches of 5", lambda: PatchNetwork((16, 32)), 5),
        ("3-D, patches of 9", lambda: PatchNetwork((8, 8, 16, 16)), 9),
        ("2-D, patches of 7", flat_patch_network, 7),
    ):
        torch.manual_seed(0)
        inner = make().eval()
        network = Patchwise(inner, patch).eval()
        few, many = pixels[:40, :64], pixels if not quick else pixels[:128]

        def loop(inner: nn.Module = inner, patch: int = patch, few: np.ndarray = few) -> float:
            patch_loop(inner, patch, few)
            return float(few.shape[0] * few.shape[1])

        cut = torch.from_numpy(few).permute(2, 0, 1)[None].contiguous()
        rates = turns(
            {
                "loop over patches": loop,
                "patches cut in tensors": windows(network, cut, "float32"),
                "dense, float32": mapper(network, many, "float32"),
                "dense, bfloat16": mapper(network, many, "bfloat16"),
            },
            rounds,
        )
        base = statistics.median(rates["loop over patches"])
        logits = torch.from_numpy(patch_loop(inner, patch, few))
        expected = torch.softmax(logits, dim=2).numpy()
        answer = predict(network, read_array(few), few.shape).array()
        result[name] = {
            "largest_difference": float(np.abs(answer - expected).max()),
            "rates": {
                n: figures(r) | {"times_loop": statistics.median(r) / base}
                for n, r in rates.items()
            },
        }
    return result


LARGE_BANDS, LARGE_SIDE = 100, 20_000


def write_large(path: Path, rows: int) -> None:
    """Write a tiled GeoTIFF of 20,000 x 20,000 x 100 whose upper rows alone hold data."""
    import rasterio
    from rasterio.windows import Window

    profile = {
        "driver": "GTiff",
        "height": LARGE_SIDE,
        "width": LARGE_SIDE,
        "count": LARGE_BANDS,
        "dtype": "float32",
        "tiled": True,
        "blockxsize": 256,
        "blockysize": 256,
        "interleave": "pixel",
        "bigtiff": "yes",
        "SPARSE_OK": "TRUE",
    }
    random = np.random.default_rng(0)
    tile = random.normal(size=(LARGE_BANDS, 256, 256)).astype(np.float32)
    with rasterio.open(path, "w", **profile) as file:
        for top in range(0, rows, 256):
            for left in range(0, LARGE_SIDE, 256):
                window = Window(left, top, min(256, LARGE_SIDE - left), min(256, rows - top))
                part = tile[:, : window.height, : window.width] + np.float32(left / LARGE_SIDE)
                file.write(part, window=window)


@dataclass(frozen=True)
class FileReader:
    """Reads windows of a cube in an .npy file, wherever it is sent to."""

    path: str

    def __call__(self, rows: slice, columns: slice) -> tuple[np.ndarray, np.ndarray]:
        """Return pixels, and that all hold data."""
        part = np.array(np.load(self.path, mmap_mode="r")[rows, columns])
        return part, np.ones(part.shape[:2], dtype=np.bool_)


def workers(network: nn.Module, pixels: np.ndarray, quick: bool) -> dict[str, Any]:
    """Return the seconds of one scene, shared in several ways, each once."""
    # Workers import what they are sent by its module's name, which a script's own is not.
    from mapping import FileReader as Reader

    scene = np.tile(pixels, (1, 2, 1) if quick else (3, 4, 1))
    shape = scene.shape
    threads = torch.get_num_threads()
    environment = {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parent)}
    seconds: dict[str, float] = {}
    answers: list[np.ndarray] = []
    with tempfile.TemporaryDirectory() as folder, environ(environment), cluster(folder) as address:
        path = Path(folder) / "scene.npy"
        np.save(path, scene)
        for name, used, count, scheduler in (
            ("one process, one thread", 1, 1, None),
            ("one process, two threads", 2, 1, None),
            ("two workers", 1, 2, None),
            ("two workers of Dask", 1, 2, address),
        ):
            torch.set_num_threads(used)
            begun = time.perf_counter()
            found = predict(
                network,
                Reader(str(path)),
                shape,
                workers=count,
                scheduler=scheduler,  # type: ignore[arg-type]
            )
            answers.append(found.array())
            seconds[name] = time.perf_counter() - begun
    torch.set_num_threads(threads)
    differences = [float(np.abs(each - answers[0]).max()) for each in answers]
    return {"scene": list(shape), "seconds": seconds, "largest_difference": max(differences)}


@contextlib.contextmanager
def environ(values: dict[str, str]) -> Iterator[None]:
    """Set variables of the environment for a while."""
    before = dict(os.environ)
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextlib.contextmanager
def cluster(folder: str) -> Iterator[str]:
    """Start a Dask scheduler and two workers; yield its address."""
    file = f"{folder}/scheduler.json"
    dask = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    words = ["--scheduler-file", file, "--no-dashboard"]
    started = [subprocess.Popen([*dask, "scheduler", "--port", "0", *words], **quiet)]  # type: ignore[call-overload]
    try:
        started += [
            subprocess.Popen([*dask, "worker", "--nthreads", "1", "--no-nanny", *words], **quiet)  # type: ignore[call-overload]
            for _ in range(2)
        ]
        import distributed

        client = distributed.Client(scheduler_file=file, set_as_default=False, timeout=60)
        client.wait_for_workers(2, timeout=60)
        address = client.scheduler.address
        client.close()
        yield address
    finally:
        for process in reversed(started):
            process.terminate()
            process.wait()


MAP_LARGE = """
import json, re, sys, time
sys.path.insert(0, sys.argv[1])
import torch
from mapping import CLASSES, LARGE_BANDS, final_network
from swath.data.readers import open_scene
from swath.data.scaling import Scaling
from swath.data.scene import Scene
from swath.mapping.product import ClassTable
from swath.mapping.scenes import map_scene

folder, rows, precision = sys.argv[2], int(sys.argv[3]), sys.argv[4]
torch.set_num_threads(int(sys.argv[5]))
scene = open_scene(folder + "/scene.tif", check=False)


class Upper:
    dtype, shape = scene.source.dtype, (rows, *scene.source.shape[1:])
    read = scene.source.read


network = final_network(LARGE_BANDS).eval()
with torch.inference_mode():
    network(torch.zeros(1, LARGE_BANDS, 32, 32))
scaling = Scaling("standard", (0.0,) * LARGE_BANDS, (1.0,) * LARGE_BANDS)
classes = ClassTable(tuple("abcdefghi"), tuple(range(1, CLASSES + 1)))
# The highest resident memory of this program; ru_maxrss would count the one that started it.
highest = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = highest()
begun = time.perf_counter()
made = map_scene(network, Scene("large", Upper()), folder + "/map.tif", scaling=scaling,
                 classes=classes, precision=precision)
seconds = time.perf_counter() - begun
after = highest()
print(json.dumps({"seconds": seconds, "before_mib": before / 1024, "after_mib": after / 1024,
                  "precision": made.precision, "notes": made.notes, "mapped": sum(made.counts)}))
"""


def large(quick: bool, folder: str | None, rows: int | None) -> dict[str, Any]:
    """Map the upper rows of a scene that is larger than memory, from file to file."""
    rows = rows or (32 if quick else 512)
    with tempfile.TemporaryDirectory(dir=folder) as place:
        path = Path(place) / "scene.tif"
        write_large(path, rows)
        on_disk = path.stat().st_blocks * 512
        done = subprocess.run(
            [
                sys.executable,
                "-c",
                MAP_LARGE,
                str(Path(__file__).parent),
                place,
                str(rows),
                "float32" if quick else "auto",
                str(torch.get_num_threads()),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(done.stderr)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    pixels = rows * LARGE_SIDE
    rate = pixels / result["seconds"]
    return result | {
        "rows_mapped": rows,
        "pixels": pixels,
        "read_gb": pixels * LARGE_BANDS * 4 / 1e9,
        "on_disk_gb": on_disk / 1e9,
        "pixels_per_second": rate,
        "memory_beyond_the_model_mib": result["after_mib"] - result["before_mib"],
        "extrapolated_hours_for_all_rows": LARGE_SIDE**2 / rate / 3600,
    }


def tables(results: dict[str, Any]) -> str:
    """Return the figures as Markdown."""
    lines: list[str] = []
    if "forms" in results:
        found = results["forms"]
        lines += [
            f"{found['flops_per_pixel'] / 1e6:.2f} million operations a pixel; bfloat16 agrees on "
            f"{100 * found['bfloat16_agreement']:.2f} % of pixels",
            "",
            "| form | pixels/s (least to most) | times authors' | share of products' rate |",
            "|---|---:|---:|---:|",
        ]
        for name, row in found["rates"].items():
            if name.startswith("products"):
                lines.append(
                    f"| {name} | {row['median'] / 1e9:.0f} ({row['least'] / 1e9:.0f} to "
                    f"{row['most'] / 1e9:.0f}) GFLOP/s | | |"
                )
            else:
                lines.append(
                    f"| {name} | {_rate(row)} | {row['times_authors']:.2f} | "
                    f"{100 * row['share_of_products']:.0f} % |"
                )
        lines.append("")
    if "sizes" in results:
        lines += [
            "| scene | float32 | bfloat16 | plain network, whole |",
            "|---|---:|---:|---:|",
        ]
        for side, row in results["sizes"].items():
            cells = [
                _rate(row[name]) if name in row else ""
                for name in ("engine, float32", "engine, bfloat16", "plain network, whole")
            ]
            lines.append(f"| {row['rows']} x {side} | {' | '.join(cells)} |")
        lines.append("")
    if "modes" in results:
        lines += [
            "| mode | float32 | times plain | bfloat16 | times plain |",
            "|---|---:|---:|---:|---:|",
        ]
        for name in results["modes"]["float32"]:
            parts = []
            for precision in ("float32", "bfloat16"):
                row = results["modes"][precision][name]
                parts += [_rate(row), f"{row['times_plain']:.2f}"]
            lines.append(f"| {name} | {' | '.join(parts)} |")
        lines.append("")
    for name, found in results.get("patches", {}).items():
        lines += [
            f"{name}: largest difference of probabilities {found['largest_difference']:.1e}",
            "",
            "| form | pixels/s (least to most) | times the loop |",
            "|---|---:|---:|",
        ]
        for form, row in found["rates"].items():
            lines.append(f"| {form} | {_rate(row)} | {row['times_loop']:.1f} |")
        lines.append("")
    if "workers" in results:
        found = results["workers"]
        rows, columns, _ = found["scene"]
        lines += [
            f"{rows} x {columns} pixels; largest difference {found['largest_difference']:.2g}",
            "",
            "| shared | s |",
            "|---|---:|",
            *(f"| {name} | {seconds:.1f} |" for name, seconds in found["seconds"].items()),
            "",
        ]
    if "large" in results:
        found = results["large"]
        lines.append(
            f"20,000 x 20,000 x 100: {found['rows_mapped']} rows read ({found['read_gb']:.1f} GB), "
            f"{found['pixels_per_second']:,.0f} pixels/s in {found['precision']}, "
            f"{found['memory_beyond_the_model_mib']:.0f} MiB beyond the model; all rows would take "
            f"{found['extrapolated_hours_for_all_rows']:.1f} hours (extrapolated)"
        )
    return "\n".join(lines)


def _rate(row: dict[str, Any]) -> str:
    return f"{row['median']:,.0f} ({row['least']:,.0f} to {row['most']:,.0f})"


def main() -> None:
    """Measure what was asked for, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, default=SECTIONS)
    parser.add_argument("--rounds", type=int)
    parser.add_argument(
        "--processor-seconds",
        action="store_true",
        help="count the time of the processor, divided by the threads, instead of the clock's: "
        "for a machine that does other work (with OMP_WAIT_POLICY=passive)",
    )
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--weights", type=Path, help="keep the trained weights in this file")
    parser.add_argument("--folder", help="for the large scene; by default the system's")
    parser.add_argument("--large-rows", type=int, help="rows of the large scene that are mapped")
    parser.add_argument("--out", type=Path, help="add the figures to this JSON file")
    parser.add_argument("--quick", action="store_true", help="small scenes, few rounds")
    parser.add_argument("--json", action="store_true", help="the figures as the last line")
    options = parser.parse_args()
    global BY_PROCESSOR
    BY_PROCESSOR = options.processor_seconds
    torch.set_num_threads(options.threads)
    quick, rounds = options.quick, options.rounds or (3 if options.quick else 7)
    about = {
        "command": shlex.join(["python", *sys.argv]),
        "machine": describe() | {"clock": "processor" if BY_PROCESSOR else "wall"},
        "seed": 0,
    }
    print(f"{about['machine']}\n")
    results: dict[str, Any] = {}
    if set(options.only) - {"large"}:
        network, pixels = trained(30 if quick else 100, options.weights)
        if "forms" in options.only:
            results["forms"] = forms(network, pixels, rounds, quick)
        if "sizes" in options.only:
            results["sizes"] = sizes(network, pixels, rounds, quick)
        if "modes" in options.only:
            results["modes"] = modes(network, pixels, rounds, quick)
        if "patches" in options.only:
            results["patches"] = patches(pixels, rounds, quick)
        if "workers" in options.only:
            results["workers"] = workers(network, pixels, quick)
    if "large" in options.only:
        results["large"] = large(quick, options.folder, options.large_rows)
    print(tables(results))
    results = {name: about | found for name, found in results.items()}
    if options.out:
        earlier = json.loads(options.out.read_text()) if options.out.exists() else {}
        write_json(options.out, earlier | results)
    if options.json:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
