"""What a machine is, and how fast it multiplies, convolves, copies and starts swath."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from swath.core.errors import RunError

__all__ = ["describe", "processor", "rates"]


def processor() -> str:
    """Return the processor's name."""
    try:
        for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def describe(*packages: str) -> dict[str, Any]:
    """Return processor, cores, torch's threads, load, OpenMP's environment and versions.

    The load is the mean number of busy or waiting processes of the last minute, before what is
    measured begins.

    Parameters
    ----------
    packages : others whose version matters, by the names they are installed under.
    """
    from importlib.metadata import version

    import numpy
    import torch

    from swath import __version__

    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "load_before": round(os.getloadavg()[0], 1),
        "environment": {k: v for k, v in os.environ.items() if k.startswith("OMP_")},
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "swath": __version__,
        **{name: version(name) for name in packages},
    }


def rates(repeats: int = 7, clock: Callable[[], float] = time.perf_counter) -> dict[str, float]:
    """Return the machine's own limits, each the best of some repeats.

    Parameters
    ----------
    clock : gives seconds; ``time.process_time`` for one thread of a machine that does other work.
        The import is timed by the wall's clock in any case.

    Returns
    -------
    ``gemm_float32``, ``gemm_bfloat16`` : GFLOP/s of a product of 2048 x 2048 matrices.
    ``convolution_float32``, ``convolution_bfloat16`` : GFLOP/s of a 3 x 3 convolution of 256
        channels, channels last (another library computes it than the products).
    ``copy`` : GB/s read and written by copying 256 MiB.
    ``import_seconds`` : of ``import swath`` in a new interpreter, without the interpreter.
    """
    import torch
    from torch import nn

    found: dict[str, float] = {}
    with torch.no_grad():
        for kind in (torch.float32, torch.bfloat16):
            name = str(kind).removeprefix("torch.")
            a = torch.ones(2048, 2048, dtype=kind)
            found[f"gemm_{name}"] = (
                2 * 2048**3 / _least(partial(torch.matmul, a, a), repeats, clock) / 1e9
            )
            x = torch.ones(4, 256, 64, 64, dtype=kind).to(memory_format=torch.channels_last)
            layer = nn.Conv2d(256, 256, 3, padding=1, bias=False, dtype=kind)
            layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            flops = 2 * x.numel() * 256 * 9
            seconds = _least(partial(layer, x), repeats, clock)
            found[f"convolution_{name}"] = flops / seconds / 1e9
        source = torch.ones(2**26)
        target = torch.empty_like(source)
        found["copy"] = 2 * 4 * 2**26 / _least(lambda: target.copy_(source), repeats, clock) / 1e9
    found["import_seconds"] = _import_seconds(repeats)
    return found


def _least(run: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        begun = clock()
        run()
        seconds.append(clock() - begun)
    return min(seconds)


def _import_seconds(repeats: int) -> float:
    program = (
        "import time; begun = time.perf_counter(); import swath; print(time.perf_counter() - begun)"
    )
    seconds = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
        if done.returncode:
            raise RunError(
                f"a new interpreter ({sys.executable}) cannot import swath; install it there"
            )
        seconds.append(float(done.stdout))
    return statistics.median(seconds)
