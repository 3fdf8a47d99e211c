"""Batches computed ahead, in threads, while a network learns from the last."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Protocol

from torch import Tensor

__all__ = ["Prefetched"]

Batch = tuple[Tensor, Tensor]


class Batches(Protocol):
    """Draws batches; each is a function of the step alone."""

    def batch(self, count: int, step: int, *, augmented: bool = True) -> Batch:
        """Return inputs and their classes."""


class Prefetched:
    """Gives the batches of another sampler, and computes those of the next steps meanwhile.

    Reading and decoding images lets go of Python's lock, so threads keep the processor busy.
    Batches are the same as without: each depends on its step alone.  What goes wrong in computing
    one is raised when it is asked for.  To be closed, or used as a context, so that no thread
    stays behind.

    Parameters
    ----------
    batches : computes them; must bear several threads.
    ahead : steps that are computed ahead; so many batches are held in memory.
    threads : that compute them.
    stop : the step at which the training ends; nothing is computed beyond.
    """

    def __init__(
        self, batches: Batches, *, ahead: int = 4, threads: int = 2, stop: int | None = None
    ) -> None:
        if ahead < 1 or threads < 1:
            raise ValueError(f"{ahead} steps ahead in {threads} threads make no sense")
        self._batches, self._ahead, self._stop = batches, ahead, stop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="batches")
        self._coming: dict[tuple[int, int, bool], Future[Batch]] = {}

    def batch(self, count: int, step: int, *, augmented: bool = True) -> Batch:
        """Return a batch of the sampler; quickly, if steps are asked for in their order."""
        end = step + 1 + self._ahead
        end = max(step + 1, end if self._stop is None else min(end, self._stop))
        wanted = [(count, later, augmented) for later in range(step, end)]
        for key in self._coming.keys() - set(wanted):
            self._coming.pop(key).cancel()
        for key in wanted:
            if key not in self._coming:
                self._coming[key] = self._pool.submit(
                    self._batches.batch, count, key[1], augmented=augmented
                )
        return self._coming.pop(wanted[0]).result()

    def close(self) -> None:
        """End the threads; what is being computed is finished, what waits is dropped."""
        self._coming.clear()
        self._pool.shutdown(cancel_futures=True)

    def __enter__(self) -> Prefetched:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
