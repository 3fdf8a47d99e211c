"""Work done ahead of those who need it, in a thread: reading while computing, and so on."""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from typing import Any, TypeVar

__all__ = ["ahead"]

T = TypeVar("T")
_END = object()


def ahead(items: Iterator[T], depth: int = 1) -> Generator[T, None, None]:
    """Yield the items of an iterator that runs in a thread of its own, ``depth`` items ahead.

    What the iterator raises is raised here.  Where the reader stops early (an error, Ctrl-C), the
    iterator is closed after the item it is working on, and the thread has ended when the reader
    goes on.

    >>> list(ahead(iter("abc")))
    ['a', 'b', 'c']
    """
    waiting: queue.Queue[tuple[Any, BaseException | None]] = queue.Queue(depth)
    stopped = threading.Event()

    def put(item: Any, error: BaseException | None = None) -> None:
        while not stopped.is_set():
            try:
                waiting.put((item, error), timeout=0.1)
            except queue.Full:
                continue
            return

    def work() -> None:
        try:
            for item in items:
                put(item)
                if stopped.is_set():
                    break
            if isinstance(items, Generator):
                items.close()
        except BaseException as error:
            put(_END, error)
        else:
            put(_END)

    thread = threading.Thread(target=work, name="swath-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is _END:
                return
            yield item
    finally:
        stopped.set()
        thread.join()
