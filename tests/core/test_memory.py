"""Freed memory goes back to the system, and the peak of a while is counted."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from swath.core import memory
from swath.core.memory import _trim, give_back_freed, peak_mib, reset_peak

HOLES = """
import os
from swath.core.memory import give_back_freed

def used():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

# Blocks below the size that the C library maps one by one; every second one is kept, so that the
# others cannot be returned from the end of the heap.
blocks = [bytearray(b"x" * 100_000) for _ in range(2000)]
kept = blocks[::2]
del blocks
before = used()
give_back_freed()
print(before - used())
"""


@pytest.mark.skipif(_trim() is None, reason="needs the GNU C library")
def test_holes_between_blocks_are_returned() -> None:
    out = subprocess.run(
        [sys.executable, "-c", HOLES], capture_output=True, text=True, check=True
    ).stdout
    assert float(out) > 60  # MiB, of the hundred that were freed


def test_it_may_be_called_at_any_time() -> None:
    give_back_freed()
    give_back_freed()


# In a process of its own, and mapped by hand: whether the C library keeps what was freed, or a
# thread of another test still holds some, is not what is asked.
PEAKS = """
import json, mmap, re
from swath.core.memory import peak_mib, reset_peak

def held(mib):
    block = mmap.mmap(-1, mib * 2**20)
    for page in range(0, len(block), mmap.PAGESIZE):
        block[page] = 1
    block.close()

reset = [reset_peak()]
before = peak_mib()
held(200)
most = peak_mib()
reset.append(reset_peak())
after = peak_mib()
resident = int(re.search(r"VmRSS:\\s+(\\d+)", open("/proc/self/status").read())[1]) / 1024
print(json.dumps([reset, before, most, after, resident]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="/proc is Linux's")
def test_the_peak_is_counted_anew() -> None:
    out = subprocess.run([sys.executable, "-c", PEAKS], capture_output=True, text=True, check=True)
    reset, before, most, after, resident = json.loads(out.stdout)
    assert reset == [True, True]
    assert before + 195 < most < before + 210
    assert after < most - 190  # what was given back no longer counts
    assert after == pytest.approx(resident, abs=10)


def test_elsewhere_it_is_the_most_since_the_begin(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(memory, "_PROCESS", tmp_path / "proc")
    assert not reset_peak()
    unit = 2**20 if sys.platform == "darwin" else 2**10
    assert peak_mib() == pytest.approx(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit)
