"""A search by trials that is killed (SIGKILL) ends as if it had not been."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import swath
from swath.data.simulate import simulate_demo

COMMAND = """
import sys
import torch

torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from test_trials import search

search(sys.argv[2], *sys.argv[3:])
"""


def search(out: str | Path, phase: str = "", count: str = "1") -> None:
    """Search, or be killed at the ``count``-th event of a phase."""
    left = int(count)

    def progress(event: dict[str, Any]) -> None:
        nonlocal left
        left -= event["phase"] == phase
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

    swath.search(
        simulate_demo(0, rows=24, columns=22, bands=10, classes=3),
        out=out,
        space="nasbench201",
        strategy="evolution",
        trials=6,
        split="random",
        train=5,
        validation=4,
        seed=3,
        progress=progress,
        overrides=[
            "space.options={channels: 2, cells: 1, patch: 5}",
            "study.strategy.options={population: 3, tournament: 2, batch: 1}",
            *("study.iterations=4", "study.retrain=2"),
            *("training.iterations=4", "training.validate_every=2", "training.batch=8"),
        ],
    )


def test_a_killed_search_by_trials_goes_on(tmp_path: Path) -> None:
    """Killed in the trials, then in the training of the first of two candidates."""
    for phase, count in (("trials", 4), ("train", 1)):
        words = [str(Path(__file__).parent), str(tmp_path / "killed"), phase, str(count)]
        ended = subprocess.run([sys.executable, "-c", COMMAND, *words], check=False)
        assert ended.returncode == -signal.SIGKILL
    search(tmp_path / "killed")
    search(tmp_path / "whole")
    killed, whole = (swath.open_run(tmp_path / name) for name in ("killed", "whole"))
    assert killed.architecture == whole.architecture
    assert killed.metrics["confusion"] == whole.metrics["confusion"]
    trials = [
        [
            (trial.number, trial.proposal, trial.evaluation.score)
            for trial in swath.open_study(run.path / "search").trials
            if trial.evaluation is not None
        ]
        for run in (killed, whole)
    ]
    assert trials[0] == trials[1]
    assert len(trials[0]) == 6
    # each trial was trained once alone: the journal holds no more records
    journal = (tmp_path / "killed" / "search" / "study.journal").read_text("utf-8")
    assert journal.count('"number"') == len(trials[0])


def test_the_best_of_those_trained_in_full_is_taken_and_not_trained_again(tmp_path: Path) -> None:
    search(tmp_path)
    run = swath.open_run(tmp_path)
    ranked = dict.fromkeys(
        trial.architecture for trial in swath.open_study(tmp_path / "search").ranked()
    )
    finals = []
    for rank in (1, 2):
        lines = (tmp_path / f"search/candidates/{rank}/history.jsonl").read_text("utf-8")
        history = [json.loads(line) for line in lines.splitlines()]
        finals.append(max((one["validation_accuracy"], -one["validation_loss"]) for one in history))
    taken = list(ranked).index(run.architecture)
    assert taken < 2
    assert finals[taken] == max(finals)
    kept = (tmp_path / f"search/candidates/{taken + 1}/history.jsonl").read_text("utf-8")
    assert (tmp_path / "training/history.jsonl").read_text("utf-8") == kept
    assert run.metrics["validation"]["oa"] == finals[taken][0]
    # what the one that is taken cost is told as training, and not as search too
    cost = run.metrics["cost"]
    spent = [
        json.loads(line)["seconds"]
        for line in (tmp_path / "log.jsonl").read_text("utf-8").splitlines()
        if json.loads(line)["event"] == "candidate"
    ]
    assert cost["train_seconds"] == pytest.approx(spent[taken])
    trials = sum(
        one.seconds + one.proposing for one in swath.open_study(tmp_path / "search").records
    )
    assert cost["search_seconds"] > trials + spent[1 - taken]
