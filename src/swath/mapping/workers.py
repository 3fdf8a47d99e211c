"""Windows of a scene computed by other processes: of this machine, or of a Dask cluster."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import pickle
import signal
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from swath.core.errors import RecipeError, RunError

__all__ = ["spread"]

Part = TypeVar("Part")
Result = TypeVar("Result")

_SECONDS_TO_CONNECT = 10


def spread(
    work: Callable[[Part], Result],
    parts: Sequence[Part],
    workers: int,
    scheduler: str | None = None,
    threads: int = 1,
) -> Generator[Result, None, None]:
    """Yield ``work(part)`` for each part, in order; at most two parts a worker are under way.

    Parameters
    ----------
    work : sent to each worker once; it and its results must be picklable.
    workers : processes on this machine, or parts at a time on a cluster.
    scheduler : address of a Dask scheduler, such as ``tcp://10.0.0.1:8786``.
    threads : of torch in each process of this machine.

    Raises
    ------
    RecipeError : the work cannot be sent.
    RunError : a worker died, or no scheduler answers.
    """
    try:
        packed = pickle.dumps(work)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise RecipeError(
            f"the network or the scene cannot be sent to workers ({error}); use one worker"
        ) from error
    using = _processes(workers, threads) if scheduler is None else _cluster(scheduler)
    with using as submit:
        waiting: deque[Any] = deque()
        for part in parts:
            waiting.append(submit(_work_on, packed, part))
            if len(waiting) > 2 * workers:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


def _result(future: Any) -> Any:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise RunError(
            "a worker process ended before its time (is the memory full?); use fewer workers"
        ) from error


def _work_on(packed: bytes, part: Any) -> Any:
    return _unpacked(packed)(part)


@functools.lru_cache(maxsize=2)
def _unpacked(packed: bytes) -> Callable[[Any], Any]:
    # Only what the process that maps has packed comes here, never a file.
    work: Callable[[Any], Any] = pickle.loads(packed)
    return work


@contextlib.contextmanager
def _processes(workers: int, threads: int) -> Iterator[Callable[..., Future[Any]]]:
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(workers, context, initializer=_begin, initargs=(threads,))
    try:
        yield executor.submit
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


def _begin(threads: int) -> None:
    # An interrupt reaches the whole group; the process that maps decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    import torch

    torch.set_num_threads(threads)


@contextlib.contextmanager
def _cluster(address: str) -> Iterator[Callable[..., Any]]:
    import distributed

    library: Any = distributed  # it has no types
    try:
        client = library.Client(address, set_as_default=False, timeout=_SECONDS_TO_CONNECT)
    except (OSError, TimeoutError, ValueError) as error:
        raise RunError(
            f"no Dask scheduler answers at {address} ({error}); start one with 'dask scheduler', "
            "or correct --scheduler"
        ) from error
    futures: list[Any] = []

    def submit(function: Callable[..., Any], *arguments: Any) -> Any:
        # A name of its own for every part: Dask would not run one that it has seen.
        future = client.submit(function, *arguments, key=f"swath-map-{uuid.uuid4().hex}")
        futures.append(future)
        return future

    try:
        yield submit
    finally:
        try:
            client.cancel([future for future in futures if not future.done()], force=True)
        finally:
            client.close(timeout=5)
