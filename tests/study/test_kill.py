"""A run that is killed (SIGKILL) again and again ends as if it had not been.

The run tells its parent of every event and waits for a word before it goes on, so that a kill meets
the phase it is meant for however slow the machine is.  Within it, a kill comes after a random time.
"""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from safetensors import safe_open

COMMAND = """
import os, signal, sys
import safetensors.torch
import torch

torch.set_num_threads(1)
import swath
from swath.data.simulate import simulate_demo

whole = safetensors.torch.save_file


def half(tensors, path, metadata):
    whole(tensors, path, metadata)
    os.truncate(path, os.path.getsize(path) // 2)
    os.kill(os.getpid(), signal.SIGKILL)


def progress(event):
    print(event["phase"], flush=True)
    if sys.stdin.readline() == "half\\n":
        safetensors.torch.save_file = half


options = "{base_width: 2, stem_width: 4, head_width: 8, nodes: 2, stem_length: null}"
swath.search(
    simulate_demo(0, rows=24, columns=22, bands=10, classes=3),
    out=sys.argv[1],
    preset="quick",
    split="random",
    train=5,
    validation=4,
    seed=3,
    progress=progress,
    overrides=[
        f"space.options={options}",
        *(f"search.{x}" for x in ("width=2", "epochs=6", "warmup=2", "steps=4", "window=8")),
        *(f"training.{x}" for x in ("iterations=24", "validate_every=4", "window=8", "batch=3")),
        "search.batch=3",
        "training.noise=0.05",
    ],
)
"""


class Kill(NamedTuple):
    """At the ``count``-th event of a phase, kill within ``seconds``, or as a state is written."""

    phase: str
    count: int
    seconds: float
    writing: bool = False


KILLS = (
    Kill("search", 1, 0.2),  # in warm-up
    Kill("search", 2, 0.0, writing=True),  # with half of a checkpoint on the disk
    Kill("search", 1, 0.3),  # where the architecture is trained
    Kill("train", 2, 0.1),
    Kill("train", 1, 0.0, writing=True),
    Kill("map", 1, 0.2),
)


@contextmanager
def started(folder: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"},
    )
    watchdog = threading.Timer(240, process.kill)
    watchdog.start()
    try:
        yield process
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()


def run(folder: Path, kill: Kill | None = None, wait: float = 0.0) -> list[str]:
    """Run until the end, or until it is killed; return the phases of its events."""
    seen: list[str] = []
    with started(folder) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line.strip())
            due = kill is not None and seen.count(kill.phase) == kill.count
            process.stdin.write("half\n" if due and kill is not None and kill.writing else "\n")
            process.stdin.flush()
            if due and kill is not None and not kill.writing:
                time.sleep(wait)
                process.kill()
                break
        assert process.wait() == (0 if kill is None else -signal.SIGKILL)
    return seen


def half_written(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.name != ".lock"]


def tensors(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    with safe_open(path, framework="np") as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def history(path: Path) -> list[dict[str, Any]]:
    return [{**json.loads(line), "seconds": None} for line in path.read_text().splitlines()]


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kill") / "whole"
    run(folder)
    return folder


def test_a_killed_run_ends_as_if_it_had_not_been(uninterrupted: Path, tmp_path: Path) -> None:
    folder, rng = tmp_path / "killed", random.Random(0)
    for number, kill in enumerate(KILLS):
        seen = run(folder, kill, rng.uniform(0, kill.seconds))
        assert seen.count(kill.phase) == kill.count
        if number > 3:  # the search was finished before: it is not done again
            assert "search" not in seen
        if kill.writing:
            assert half_written(folder)
        assert not (folder / "report.html").exists()
    seen = run(folder)
    assert not {"search", "train"} & set(seen)
    assert half_written(folder) == []

    def both(name: str) -> tuple[Path, Path]:
        return folder / name, uninterrupted / name

    for name in ("recipe.yaml", "best/architecture.json", "best/model.json"):
        found, expected = both(name)
        assert found.read_text() == expected.read_text()
    for name in ("best/model.safetensors", "split.safetensors", "map_index.safetensors"):
        (found_tensors, found_facts), (expected_tensors, expected_facts) = map(tensors, both(name))
        assert found_facts == expected_facts
        assert found_tensors.keys() == expected_tensors.keys()
        for key, value in expected_tensors.items():
            assert found_tensors[key].dtype == value.dtype
            assert found_tensors[key].tobytes() == value.tobytes(), key
    for name in ("search/history.jsonl", "training/history.jsonl"):
        found_lines, expected_lines = map(history, both(name))
        assert found_lines == expected_lines
    figures = [json.loads(path.read_text()) for path in both("metrics.json")]
    for part in ("test", "test_modes", "validation", "training", "confusion", "classes", "split"):
        assert figures[0][part] == figures[1][part], part
    for part in ("parameters", "flops_per_pixel"):
        assert figures[0]["cost"][part] == figures[1]["cost"][part]
    assert (folder / "report.html").is_file()


def test_a_finished_run_does_nothing(uninterrupted: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in uninterrupted.rglob("*") if p.is_file()}
    assert set(run(uninterrupted)) <= {"complete"}
    after = {p: p.stat().st_mtime_ns for p in uninterrupted.rglob("*") if p.is_file()}
    assert after == before
