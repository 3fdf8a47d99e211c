"""Batches computed ahead are the same batches; errors come out, threads end."""

from __future__ import annotations

import threading
import time

import pytest
import torch
from torch import Tensor

from swath.tasks.prefetch import Prefetched


class Counting:
    """Batches that tell their step, slowly, and fail at one step."""

    def __init__(self, seconds: float = 0.0, broken: int | None = None) -> None:
        self.seconds, self.broken = seconds, broken
        self.computed: list[int] = []

    def batch(self, count: int, step: int, *, augmented: bool = True) -> tuple[Tensor, Tensor]:
        time.sleep(self.seconds)
        self.computed.append(step)
        if step == self.broken:
            raise OSError(f"step {step} is broken")
        return torch.full((count,), float(step)), torch.tensor([int(augmented)])


def threads() -> int:
    return sum(thread.name.startswith("batches") for thread in threading.enumerate())


def test_batches_are_those_of_their_step_in_any_order() -> None:
    with Prefetched(Counting()) as ahead:
        for step in (0, 1, 2, 7, 3, 3, 4):
            assert ahead.batch(2, step)[0].tolist() == [step, step]
        assert ahead.batch(3, 5)[0].tolist() == [5, 5, 5]
        assert ahead.batch(3, 5, augmented=False)[1].tolist() == [0]
    assert threads() == 0


def test_each_batch_is_computed_once_and_none_beyond_the_end() -> None:
    inner = Counting()
    with Prefetched(inner, ahead=3, stop=10) as ahead:
        for step in range(10):
            ahead.batch(1, step)
    assert sorted(inner.computed) == list(range(10))


def test_they_are_computed_while_the_network_learns() -> None:
    with Prefetched(Counting(0.1), ahead=4, threads=2) as ahead:
        ahead.batch(1, 0)
        time.sleep(0.5)  # a step of training
        start = time.perf_counter()
        for step in range(1, 5):
            ahead.batch(1, step)
        assert time.perf_counter() - start < 0.09


def test_an_error_comes_out_at_its_step() -> None:
    with Prefetched(Counting(broken=2), ahead=4) as ahead:
        assert ahead.batch(1, 0)[0].item() == 0
        assert ahead.batch(1, 1)[0].item() == 1
        with pytest.raises(OSError, match="step 2 is broken"):
            ahead.batch(1, 2)
        assert ahead.batch(1, 3)[0].item() == 3
    assert threads() == 0


def test_closing_drops_what_waits() -> None:
    inner = Counting(0.05)
    ahead = Prefetched(inner, ahead=50)
    ahead.batch(1, 0)
    ahead.close()
    assert len(inner.computed) < 10
    assert threads() == 0
    with pytest.raises(ValueError, match="make no sense"):
        Prefetched(inner, ahead=0)
