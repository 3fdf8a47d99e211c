"""Memory that was freed, given back to the system."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable

__all__ = ["give_back_freed"]


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
