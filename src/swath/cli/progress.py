"""How far a run is: live bars in a terminal, a plain line every few seconds elsewhere."""

from __future__ import annotations

import contextlib
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from swath.cli.output import in_options, say

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

__all__ = ["Lines", "Step", "read_event", "shown"]

SECONDS_BETWEEN_LINES = 5.0
Clock = Callable[[], float]


@dataclass(frozen=True)
class Step:
    """How far a phase is.

    Parameters
    ----------
    phase : its name.
    done, total : in ``unit``.
    facts : losses and accuracies.
    """

    phase: str
    done: int
    total: int
    unit: str = ""
    facts: str = ""

    @property
    def count(self) -> str:
        """How far, in words."""
        if not self.unit:
            return f"{100 * self.done // max(1, self.total)} %"
        return f"{self.unit} {self.done}/{self.total}"


class Display(Protocol):
    """Shows texts and steps."""

    def text(self, line: str) -> None:
        """Show a line that stays."""

    def begin(self, phase: str) -> None:
        """Show that a phase has begun."""

    def step(self, step: Step) -> None:
        """Show how far a phase is."""

    def close(self) -> None:
        """Show what is still held back, and end."""


@contextlib.contextmanager
def shown() -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Give a function that shows the events of a run on standard error."""
    display: Display = Bars() if _interactive() else Lines(say)
    try:
        yield lambda event: _show(display, event)
    finally:
        display.close()


def read_event(event: Mapping[str, Any]) -> Step | None:
    """Return the step that an event of a run tells of, or None."""
    phase = event["phase"]
    if phase == "map":
        name = f"map {event['mode']}" if event.get("mode") else "map"
        return Step(name, event["done"], event["total"])
    if phase == "trials":
        return Step(phase, event["done"], event["total"], "trial", _of_trials(event))
    if phase == "score":
        return Step(phase, event["done"], event["total"], "network")
    if phase == "children":
        best = f"best accuracy {100 * event['best']:.1f} %"
        return Step(phase, event["done"], event["total"], "child", best)
    if phase == "supernet":
        facts = f"loss {event['loss']:.3f}, {event['operators']} operators left"
        return Step(phase, event["epoch"], event["epochs"], "epoch", facts)
    if phase not in ("search", "train"):
        return None
    figure = event.get("validation_miou", event["validation_accuracy"])
    facts = (
        f"loss {event['loss']:.3f}, validation {100 * figure:.1f} % "
        f"(loss {event['validation_loss']:.3f})"
    )
    if phase == "train":
        return Step(phase, event["iteration"], event["iterations"], "iteration", facts)
    if not event["arch_trained"]:
        facts += ", warm-up"
    return Step(phase, event["epoch"], event["epochs"], "epoch", facts)


def _of_trials(event: Mapping[str, Any]) -> str:
    best = "" if event["best"] is None else f"best {event['objective']} {event['best']:.6g}"
    infeasible = f"{event['infeasible']} infeasible" if event["infeasible"] else ""
    return ", ".join(part for part in (best, infeasible) if part)


def _show(display: Display, event: Mapping[str, Any]) -> None:
    if event["phase"] == "begin":
        display.begin(event["name"])
    elif "text" in event:
        kind = "note: " if event["phase"] == "note" else ""
        display.text(kind + in_options(event["text"]))
    else:
        step = read_event(event)
        if step is not None:
            display.step(step)


def _interactive() -> bool:
    from rich.console import Console

    return sys.stderr.isatty() and Console(stderr=True).is_interactive


@dataclass
class Pace:
    """Estimates the time left from the last few steps of a phase."""

    clock: Clock = time.monotonic
    _seen: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=6))
    _phase: str = ""

    def begin(self, phase: str) -> None:
        """Start counting; what was done before this moment tells nothing."""
        self._phase = phase
        self._seen.clear()

    def left(self, step: Step) -> str:
        """Return the time left in words, or nothing where it is unknown or none."""
        if step.phase != self._phase or (self._seen and step.done < self._seen[-1][1]):
            self.begin(step.phase)
        self._seen.append((self.clock(), step.done))
        (start, first), (now, last) = self._seen[0], self._seen[-1]
        if last == first or step.done >= step.total:
            return ""
        seconds = round((now - start) / (last - first) * (step.total - step.done))
        minutes, seconds = divmod(seconds, 60)
        hours, minutes = divmod(minutes, 60)
        clock = f"{hours}:{minutes:02d}:{seconds:02d}" if hours else f"{minutes}:{seconds:02d}"
        return f"{clock} left"


class Lines:
    """Plain lines: the first and the last of a phase, and one every few seconds between.

    Parameters
    ----------
    write : prints a line.
    clock : seconds.
    """

    def __init__(self, write: Callable[[str], None], clock: Clock = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._pace = Pace(clock)
        self._phase = ""
        self._printed = -SECONDS_BETWEEN_LINES
        self._held: str | None = None

    def text(self, line: str) -> None:
        """Print a line at once."""
        self._flush()
        self._write(line)

    def begin(self, phase: str) -> None:
        """Say nothing: the first step does."""

    def step(self, step: Step) -> None:
        """Print the step, or hold it back until its turn comes."""
        if step.phase != self._phase:
            self._flush()
            self._phase, self._printed = step.phase, -SECONDS_BETWEEN_LINES
        parts = (f"{step.phase}: {step.count}", step.facts, self._pace.left(step))
        self._held = ", ".join(part for part in parts if part)
        now = self._clock()
        if self._printed < 0 or now - self._printed >= SECONDS_BETWEEN_LINES:
            self._flush()
            self._printed = now

    def close(self) -> None:
        """Print the last step."""
        self._flush()

    def _flush(self) -> None:
        if self._held is not None:
            self._write(self._held)
            self._held = None


class Bars:
    """One live bar a phase."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, ProgressColumn, SpinnerColumn, TextColumn

        console = Console(stderr=True)
        # Figures matter more than the bar where the terminal is narrow.
        width = 30 if console.width >= 120 else 10
        bar: list[ProgressColumn] = [BarColumn(bar_width=width)] if console.width >= 100 else []
        self._pace = Pace()
        self._task: TaskID | None = None
        self._phase = ""
        self._progress: Progress = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}"),
            *bar,
            TextColumn("{task.fields[count]}"),
            TextColumn("[dim]{task.fields[facts]}"),
            TextColumn("{task.fields[left]}", justify="right"),
            console=console,
        )
        self._progress.start()

    def text(self, line: str) -> None:
        """Print a line above the bars."""
        self._progress.console.print(line, markup=False, highlight=False, soft_wrap=True)

    def begin(self, phase: str) -> None:
        """Add the bar of a phase."""
        if phase == self._phase:
            return
        self._finish()
        self._phase = phase
        self._task = self._progress.add_task(phase, total=None, count="", facts="", left="")
        self._pace.begin(phase)

    def step(self, step: Step) -> None:
        """Move the bar."""
        self.begin(step.phase)
        assert self._task is not None
        self._progress.update(
            self._task,
            completed=step.done,
            total=step.total,
            count=step.count,
            facts=step.facts,
            left=self._pace.left(step),
        )

    def close(self) -> None:
        """Leave the bars as they are."""
        self._finish()
        self._progress.stop()

    def _finish(self) -> None:
        if self._task is not None:
            self._progress.update(self._task, left="")
            self._progress.stop_task(self._task)
