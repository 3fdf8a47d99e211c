"""The most memory of each phase of a run."""

from __future__ import annotations

import mmap
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from swath.core import memory as core_memory
from swath.study.phase_memory import PhaseMemory
from swath.study.run import RunFolder

CPU = torch.device("cpu")


def hold(mib: int, stop: bool = False) -> None:
    """Hold memory for a moment, at the end of which a user may stop.

    Mapped by hand, so that all of it goes back to the system at once.
    """
    with mmap.mmap(-1, mib * 2**20) as block:
        np.frombuffer(block, dtype=np.uint8)[:: mmap.PAGESIZE] = 1
    if stop:
        raise KeyboardInterrupt


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_a_phase_has_its_own_peak(tmp_path: Path) -> None:
    memory = PhaseMemory(RunFolder(tmp_path), CPU)
    with memory.phase("search"):
        hold(10)
    with memory.phase("train"):
        hold(210)
    with memory.phase("map"):
        hold(10)
    found = memory.figures()
    search, train, mapping = (found[f"{n}_peak_memory_mib"] for n in ("search", "train", "map"))
    assert train > search + 195
    assert train > mapping + 195
    assert found["peak_memory_mib"] >= train
    assert found["peak_memory_by_phase"]
    assert "report_peak_memory_mib" not in found
    assert "train_peak_device_memory_mib" not in found


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_of_several_processes_the_most_counts(tmp_path: Path) -> None:
    """A resumed run has the figures of the one that was stopped, unless it needs more."""
    folder = RunFolder(tmp_path)
    first = PhaseMemory(folder, CPU)
    with pytest.raises(KeyboardInterrupt), first.phase("search"):
        hold(300, stop=True)
    with open(tmp_path / "log.jsonl", "a") as file:
        file.write('{"event": "phase", "na')  # as a killed process may leave it
    stopped = first.figures()["search_peak_memory_mib"]
    folder.log("resumed")  # its line is lost to the cut one
    again = PhaseMemory(folder, CPU)
    with again.phase("search"):
        hold(10)
    assert again.figures()["search_peak_memory_mib"] == stopped
    with again.phase("search"):
        hold(400)
    assert again.figures()["search_peak_memory_mib"] > stopped + 90


def test_a_running_maximum_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(core_memory, "_PROCESS", tmp_path / "proc")
    memory = PhaseMemory(RunFolder(tmp_path), CPU)
    with memory.phase("search"):
        hold(200)
    with memory.phase("train"):
        hold(1)
    found = memory.figures()
    assert not found["peak_memory_by_phase"]
    assert found["train_peak_memory_mib"] >= found["search_peak_memory_mib"]


def test_on_a_gpu_torch_counts_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a GPU, torch's two calls are played: a counter that a reset sets to zero."""
    allocated = [7 * 2**20]
    asked: list[torch.device] = []

    def reset(device: torch.device) -> None:
        asked.append(device)
        allocated[0] = 0

    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", reset)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda device: allocated[0])
    device = torch.device("cuda", 1)
    memory = PhaseMemory(RunFolder(tmp_path), device)
    with memory.phase("search"):
        allocated[0] = 5 * 2**20
    with memory.phase("train"):
        allocated[0] = 3 * 2**20
    found = memory.figures()
    assert found["search_peak_device_memory_mib"] == 5
    assert found["train_peak_device_memory_mib"] == 3
    assert asked == [device, device]
