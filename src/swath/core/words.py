"""Words of messages."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, word: str, plural: str | None = None) -> str:
    """Return a number with its noun: 1 epoch, 2 epochs."""
    return f"{number:,} {word if number == 1 else plural or word + 's'}"
