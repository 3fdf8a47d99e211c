"""Numbers in words: percent, counts, sizes and times; a dash where there is none."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

__all__ = ["count", "duration", "is_number", "percent", "plain", "short", "together"]


def percent(value: Any) -> str:
    """Return a fraction of one as percent with two decimals."""
    return f"{100 * value:.2f} %" if is_number(value) else "–"


def plain(value: Any, digits: int = 4) -> str:
    """Return a number with a fixed count of decimals."""
    return f"{value:.{digits}f}" if is_number(value) else "–"


def count(value: Any) -> str:
    """Return a whole number with its thousands apart."""
    return f"{int(value):,}" if is_number(value) else "–"


def short(value: Any) -> str:
    """Return a large number with three digits and k, M, G or T."""
    if not is_number(value):
        return "–"
    for size, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= 0.9995 * size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def duration(seconds: Any) -> str:
    """Return a time in the two units that matter."""
    if not is_number(seconds):
        return "–"
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def is_number(value: Any) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, Real) and math.isfinite(value)


def together(members: Any) -> str:
    """Return what is said after a number of parameters where several networks share it."""
    return f" of {int(members)} networks together" if is_number(members) and members > 1 else ""
