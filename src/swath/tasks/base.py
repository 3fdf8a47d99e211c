"""What every kind of task tells those that train on it."""

from __future__ import annotations

from typing import Literal, Protocol

__all__ = ["Criterion", "Part", "Task"]

Part = Literal["train", "validation"]
"""The parts of a split that training and selection may read."""


Criterion = Literal["oa", "miou"]
"""The figure of :class:`~swath.tasks.metrics.Scores` by which networks are compared."""


class Task(Protocol):
    """Data, their split and what is to be learned of them.

    How a kind of task gives its batches, and how a network answers for its labels, is told by
    :mod:`swath.training.batches`, which knows all kinds.  No kind gives test labels there: they are
    read once, at the end, by a method of its own.
    """

    @property
    def bands(self) -> int:
        """Number of bands of what a network reads."""

    @property
    def classes(self) -> int:
        """Number of classes."""

    @property
    def patch(self) -> int | None:
        """Rows, and columns, of images that have one class each; None: pixels have classes."""

    @property
    def criterion(self) -> Criterion:
        """What networks are chosen by, on the validation labels; larger is better."""

    def load(self) -> None:
        """Bring into memory what is kept there, so that it is no part of a training's time."""
