"""A run with a one-shot search: what it leaves, and that it survives being killed (SIGKILL).

As in ``test_kill``, the run tells its parent of every event and waits for a word, so that a kill
meets the moment it is meant for.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from swath.core.errors import RecipeError, UnknownName
from swath.study.one_shot_section import fitted_one_shot, with_strategy
from swath.study.recipes import resolve

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


swath.search(
    simulate_demo(0, rows=20, columns=18, bands=6, classes=3),
    out=sys.argv[1],
    recipe={
        "task": {"scaling": "whitened"},
        "space": {"name": "nasbench201", "options": {"channels": 2, "cells": 1, "patch": 5}},
        "one_shot": {
            "strategy": "se-nas",
            "training": {"epochs": 2, "later_epochs": 1, "steps": 3, "batch": 6, "snapshots": 2},
            "shrinking": {"stages": 2, "drop": 8, "children": 4, "threshold": 12},
            "recalibration": 20,
            "enumerate": 1,
            "population": 5,
            "parents": 3,
            "crossover": 2,
            "generations": 2,
            "retrain": 2,
        },
        "training": {"iterations": 6, "validate_every": 3, "batch": 6, "optimiser": "adamw"},
    },
    split="random",
    train=5,
    validation=6,
    seed=3,
    progress=progress,
)
"""


class Kill(NamedTuple):
    """At the ``count``-th event of a phase, or at the next state that is written after it."""

    phase: str
    count: int
    writing: bool = False


KILLS = (
    Kill("supernet", 1),  # before the first checkpoint
    Kill("supernet", 1, writing=True),  # with half of a checkpoint on the disk
    Kill("children", 3),  # in the first shrinking
    Kill("children", 4, writing=True),  # at its end: as the next stage is first written
    Kill("supernet", 1),  # in the second stage
    Kill("children", 2),
    Kill("children", 40),  # in the genetic search, or where the best are trained
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


def run(folder: Path, kill: Kill | None = None) -> list[str]:
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
                process.kill()
                break
        process.wait()
        if kill is None:
            assert process.returncode == 0
    return seen


def result(folder: Path) -> dict[str, Any]:
    """All that a search found, without the seconds that it took."""
    search = folder / "search"
    children = [json.loads(line) for line in (search / "children.jsonl").read_text().splitlines()]
    history = [json.loads(line) for line in (search / "history.jsonl").read_text().splitlines()]
    for line in children:
        del line["evaluation"]["cost"]
    for line in history:
        del line["seconds"]
    return {
        "architecture": (folder / "best" / "architecture.json").read_bytes(),
        "ranking": (search / "ranking.json").read_bytes(),
        "stages": json.loads((search / "stages.json").read_text()),
        "children": children,
        "history": history,
    }


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    folder = tmp_path_factory.mktemp("one-shot") / "whole"
    return folder, run(folder)


def test_a_killed_search_ends_as_if_it_had_not_been(
    uninterrupted: tuple[Path, list[str]], tmp_path: Path
) -> None:
    folder, torn = tmp_path / "killed", 0
    for kill in KILLS:
        seen = run(folder, kill)
        assert seen.count(kill.phase) >= min(kill.count, 1), kill
        torn += any(path.name != ".lock" for path in folder.rglob(".*"))
        assert not (folder / "best" / "architecture.json").exists() or kill == KILLS[-1]
    assert torn >= 2
    run(folder)
    assert result(folder) == result(uninterrupted[0])
    assert (folder / "report.html").is_file()


def test_what_a_search_leaves(uninterrupted: tuple[Path, list[str]]) -> None:
    folder, seen = uninterrupted
    found = result(folder)
    ranking = json.loads(found["ranking"])
    assert len(found["stages"]["stages"]) == 2
    assert [line["stage"] for line in found["history"]] == [0, 0, 1, 2]
    assert ranking["judged"] == len(ranking["best"]) == 10
    order = [(-one["accuracy"], one["loss"]) for one in ranking["best"]]
    assert order == sorted(order)
    genes = json.loads(found["architecture"])["genes"]
    assert genes in [one["genes"] for one in ranking["best"][:2]]  # the better of two trained
    assert sum(1 for _ in (folder / "search" / "candidates").iterdir()) == 2
    assert {"supernet", "children", "train", "map"} <= set(seen)
    assert "supernet" not in run(folder)


def test_every_default_is_written_out_and_read_again() -> None:
    recipe = resolve({"one_shot": {"strategy": "se-nas"}})
    assert recipe.one_shot is not None
    assert recipe.one_shot.shrinking is not None
    assert recipe.one_shot.shrinking.threshold == 50
    again = resolve(recipe.model_dump(mode="json"))
    assert again == recipe
    assert resolve({"one_shot": {}}).one_shot.shrinking is None  # type: ignore[union-attr]
    fair = resolve({"one_shot": {"strategy": "fairnas", "training": {"steps": 40}}}).one_shot
    assert fair is not None
    assert (fair.training.paths, fair.training.steps) == ("fair", 40)


@pytest.mark.parametrize("name", ["spos", "fairnas", "se-nas"])
def test_a_fitted_section_learns_as_the_recipe_does(name: str) -> None:
    training = resolve({"training": {"iterations": 300, "learning_rate": 0.01}}).training
    made = resolve({"one_shot": fitted_one_shot(name, training)}).one_shot
    assert made is not None
    assert made.strategy == name
    assert made.training.epochs * made.training.steps == 2 * 300
    assert made.training.learning_rate == 0.01
    assert (made.shrinking is not None) == (name == "se-nas")


def test_wrong_sections_are_refused() -> None:
    with pytest.raises(UnknownName, match=r"no one-shot strategy 'senas' .did you mean 'se-nas'"):
        with_strategy({"strategy": "senas"})
    for section, message in (
        ({"shrinkin": {}}, "shrinkin"),
        ({"training": {"step": 3}}, "step"),
        ({"shrinking": {"measure": "scores"}}, "measure"),
        ({"constraints": {"parameters": {"maximum": 3}}}, "maximum"),
        ({"training": {"steps": 3}}, r"snapshots \(10\) cannot be more than the 3 steps"),
    ):
        with pytest.raises(RecipeError, match=message):
            resolve({"one_shot": section})
    with pytest.raises(RecipeError, match="both study and one_shot"):
        resolve({"one_shot": {}, "study": {}})
