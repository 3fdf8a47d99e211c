"""Memory of this process: its peak, and what was freed given back to the system."""

from __future__ import annotations

import ctypes
import functools
import re
import sys
from collections.abc import Callable
from pathlib import Path

__all__ = ["give_back_freed", "peak_mib", "reset_peak"]

_PROCESS = Path("/proc/self")


def reset_peak() -> bool:
    """Let :func:`peak_mib` count from now on; return whether the system allows that.

    Linux does (5 in ``/proc/self/clear_refs``; man proc), where the process may write there.
    """
    try:
        (_PROCESS / "clear_refs").write_text("5")
    except OSError:
        return False
    return True


def peak_mib() -> float:
    """Return the most resident memory since :func:`reset_peak`, in MiB.

    Where that did nothing, or was never called, it is the most since the process began.
    """
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", (_PROCESS / "status").read_text())
    except OSError:
        found = None
    if found is not None:
        return int(found[1]) / 2**10
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


def give_back_freed() -> None:
    """Let the C library return to the system what was freed; where it cannot, do nothing.

    The GNU C library keeps freed blocks for later.  Where each step needs blocks of other sizes, as
    with the paths of an elastic supernet, these fit badly and the process grows to some times of
    what it uses.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@functools.cache
def _trim() -> Callable[[int], int] | None:
    try:
        found: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another C library
        return None
    return found
