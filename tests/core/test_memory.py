"""Freed memory goes back to the system."""

from __future__ import annotations

import subprocess
import sys

import pytest

from swath.core.memory import _trim, give_back_freed

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
