"""Progress: plain lines are few and complete, bars show the same."""

from __future__ import annotations

import io
import sys
from typing import Any

import pytest

from swath.cli.progress import SECONDS_BETWEEN_LINES, Bars, Lines, Step, read_event, shown


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def epoch(number: int, total: int = 30, trained: bool = True) -> dict[str, Any]:
    return {
        "phase": "search",
        "epoch": number,
        "epochs": total,
        "loss": 0.5,
        "validation_accuracy": 0.875,
        "validation_loss": 0.25,
        "arch_trained": trained,
    }


def test_events_are_read() -> None:
    step = read_event(epoch(3, trained=False))
    assert step == Step(
        "search", 3, 30, "epoch", "loss 0.500, validation 87.5 % (loss 0.250), warm-up"
    )
    assert step.count == "epoch 3/30"
    step = read_event({"phase": "map", "mode": "ov", "done": 1, "total": 8})
    assert step is not None
    assert (step.phase, step.count) == ("map ov", "12 %")
    assert read_event({"phase": "something new"}) is None


@pytest.mark.parametrize("seconds", [0.1, 1.0, 4.0, 7.0])
def test_lines_come_every_few_seconds_and_the_last_one_always(seconds: float) -> None:
    clock, lines = Clock(), list[str]()
    display = Lines(lines.append, clock)
    for number in range(1, 31):
        clock.now += seconds
        display.step(Step("search", number, 30, "epoch"))
    display.step(Step("train", 100, 600, "iteration"))
    display.close()
    assert lines[0] == "search: epoch 1/30"
    assert lines[-2] == "search: epoch 30/30"
    assert lines[-1].startswith("train: iteration 100/600")
    assert len(lines) == len(set(lines))
    expected = 30 if seconds > SECONDS_BETWEEN_LINES else 29 * seconds / SECONDS_BETWEEN_LINES
    assert abs(len(lines) - 2 - expected) <= 0.35 * expected + 1


def test_time_left_follows_the_last_steps() -> None:
    clock, lines = Clock(), list[str]()
    display = Lines(lines.append, clock)
    for number, duration in ((1, 100), *((n, 10) for n in range(2, 21))):
        clock.now += duration
        display.step(Step("search", number, 30, "epoch"))
    assert lines[-1] == "search: epoch 20/30, 1:40 left"


def test_texts_do_not_wait_and_do_not_overtake() -> None:
    clock, lines = Clock(), list[str]()
    display = Lines(lines.append, clock)
    display.step(Step("search", 1, 3))
    display.step(Step("search", 2, 3))
    display.text("a note")
    assert [line.split(",")[0] for line in lines] == ["search: 33 %", "search: 66 %", "a note"]


def test_without_a_terminal_lines_are_plain(capsys: pytest.CaptureFixture[str]) -> None:
    with shown() as show:
        show({"phase": "note", "text": "say so with unlabelled="})
        show({"phase": "begin", "name": "search", "total": 30})
        show(epoch(1))
        show(epoch(2))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "\x1b" not in captured.err
    assert captured.err.splitlines()[0] == "note: say so with --unlabelled"
    assert captured.err.splitlines()[-1].startswith("search: epoch 2/30")


def test_bars_show_phases_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "140")
    bars = Bars()
    bars.text("note: [brackets] stay")
    bars.begin("search")
    for number in (1, 2):
        step = read_event(epoch(number, 2))
        assert step is not None
        bars.step(step)
    bars.step(Step("map plain", 5, 5))
    bars.close()
    text = terminal.getvalue()
    for said in ("note: [brackets] stay", "epoch 2/2", "validation 87.5 %", "map plain", "100 %"):
        assert said in text
