"""Work in a thread ahead of its reader: order, errors, and an end that leaves no thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

from swath.mapping.ahead import ahead


def threads() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name == "swath-ahead"]


def test_items_come_in_order_and_no_more_than_asked_for_are_made() -> None:
    made: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            made.append(number)
            yield number

    reader = ahead(items(), depth=3)
    assert next(reader) == 0
    time.sleep(0.3)
    assert len(made) <= 5  # one handed over, three that wait, one in hand
    assert list(reader) == list(range(1, 100))
    assert not threads()


@pytest.mark.parametrize("error", [ValueError("broken"), KeyboardInterrupt()])
def test_errors_come_through_after_what_was_made_before(error: BaseException) -> None:
    def items() -> Iterator[int]:
        yield 1
        raise error

    reader = ahead(items())
    assert next(reader) == 1
    with pytest.raises(type(error)):
        next(reader)
    assert not threads()


def test_a_reader_that_stops_closes_all_that_runs_for_it() -> None:
    closed: list[str] = []

    def items(name: str) -> Iterator[int]:
        try:
            yield from range(1000)
        finally:
            closed.append(name)

    def outer() -> Iterator[int]:
        try:
            yield from ahead(items("inner"))
        finally:
            closed.append("outer")

    reader = ahead(outer())
    assert [next(reader) for _ in range(5)] == list(range(5))
    reader.close()
    assert closed == ["inner", "outer"]
    assert not threads()
