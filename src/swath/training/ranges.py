"""Ranges of settings: what lies outside one is refused before any work."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

from swath.core.errors import RecipeError

__all__ = ["BELOW_ONE", "NOT_NEGATIVE", "POSITIVE", "SHARE", "Range", "check_ranges"]


class Range(NamedTuple):
    """Which numbers a setting may be, and what is said of those that it may not be."""

    words: str
    holds: Callable[[float], bool]


POSITIVE = Range("be positive", lambda value: 0 < value < math.inf)
NOT_NEGATIVE = Range("be at least 0", lambda value: 0 <= value < math.inf)
BELOW_ONE = Range("lie in [0, 1)", lambda value: 0 <= value < 1)
SHARE = Range("lie in [0, 1]", lambda value: 0 <= value <= 1)


def check_ranges(settings: object, section: str, ranges: Mapping[str, Range]) -> None:
    """Raise :class:`RecipeError` for the first setting outside its range; None is in every one.

    Parameters
    ----------
    section : of the recipe, for the message.
    ranges : by name of an attribute of the settings.
    """
    for name, (words, holds) in ranges.items():
        value = getattr(settings, name)
        if value is not None and not holds(value):
            raise RecipeError(f"{section}.{name} must {words}, not {value}")
