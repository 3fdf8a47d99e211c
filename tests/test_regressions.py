"""Ratios of speed are compared with stored ones: `benchmarks/regressions.py`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from benchmark_scripts import FOLDER, script

HERE = {"vectors": "AVX512", "bfloat16": "yes"}


@pytest.fixture(scope="module")
def regressions() -> Iterator[ModuleType]:
    """The script; what a measure prepares is imported only when it is prepared."""
    with script("regressions") as module:
        yield module


class Clock:
    """Counts the seconds that works say they take."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def work(self, *seconds: float) -> Callable[[], None]:
        """Return a work that takes these seconds in turn, and then the last of them."""
        left = list(seconds)

        def run() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return run


def measure(module: ModuleType, name: str, *subject: float, depends: tuple[str, ...] = ()) -> Any:
    """Return a measure whose baseline takes a second and whose warming up takes ten."""
    clock = Clock()
    pair = module.Pair(clock.work(10.0, *subject), clock.work(10.0, 1.0), clock)
    return module.Measure(name, f"{name} over a second", lambda: pair, 3, depends)


def stored(**ratios: float) -> dict[str, Any]:
    return {"capability": HERE, "ratios": {name: {"ratio": r} for name, r in ratios.items()}}


def run(
    module: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    measures: tuple[Any, ...],
    file: Path,
    *arguments: str,
) -> int:
    monkeypatch.setattr(module, "MEASURES", measures)
    monkeypatch.setattr(module, "capability", lambda: HERE)
    monkeypatch.setattr(sys, "argv", ["regressions.py", "--stored", str(file), *arguments])
    status: int = module.main()
    return status


@pytest.mark.parametrize(
    ("seconds", "status", "said", "attempts"),
    [
        ((0.5,), 0, "passes: 1.00 times", 1),
        ((0.4,), 0, "passes: 0.80 times", 1),
        ((0.59,), 0, "passes: 1.18 times", 1),
        ((0.61,), 1, "WORSE: 1.22 times", 6),
        ((0.7, 0.9, 0.8, 0.66, 0.65, 0.64, 0.7), 1, "WORSE: 1.30 times", 6),  # medians count
        ((0.7, 0.9, 0.8, 0.5), 0, "passes: 1.00 times", 2),  # the machine was busy at first
        ((9.0, 0.5, 0.5), 0, "passes: 1.00 times", 1),  # one turn was disturbed
    ],
)
def test_a_ratio_that_is_a_fifth_worse_fails(
    regressions: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    seconds: tuple[float, ...],
    status: int,
    said: str,
    attempts: int,
) -> None:
    file = tmp_path / "stored.json"
    file.write_text(json.dumps(stored(one=0.5, other=1.0)))
    measures = (measure(regressions, "one", *seconds), measure(regressions, "other", 1.0))
    assert run(regressions, monkeypatch, measures, file) == status
    rows = {line.split("|")[1].strip(): line for line in capsys.readouterr().out.splitlines()}
    assert said in rows["one"]
    assert rows["one"].split("|")[5].strip() == str(attempts)
    assert "passes: 1.00" in rows["other"]


def test_without_a_stored_ratio_one_sentence_says_how_to_add_it(
    regressions: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "stored.json"
    measures = (measure(regressions, "one", 0.5), measure(regressions, "new", 0.5))
    assert run(regressions, monkeypatch, measures, file) == 1
    out = capsys.readouterr()
    assert out.out == ""
    assert out.err.count("\n") == 1
    assert f"no stored ratios in {file}" in out.err
    assert "--store" in out.err
    file.write_text(json.dumps(stored(one=0.5)))
    assert run(regressions, monkeypatch, measures, file) == 1
    said = capsys.readouterr().out
    assert said.count("no stored ratio;") == 1
    assert "--store --only new" in said
    # and what it says is what helps; the other stays as it was
    assert run(regressions, monkeypatch, measures, file, "--store", "--only", "new") == 0
    kept = json.loads(file.read_text())
    assert kept["ratios"]["one"] == {"ratio": 0.5}
    assert kept["ratios"]["new"]["ratio"] == 0.5
    assert kept["capability"] == HERE
    assert run(regressions, monkeypatch, measures, file) == 0


def test_what_depends_on_the_processor_is_compared_with_its_like_alone(
    regressions: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    file = tmp_path / "stored.json"
    there = HERE | {"bfloat16": "no"}
    file.write_text(json.dumps(stored(plain=0.5, rounded=0.5) | {"capability": there}))
    measures = (
        measure(regressions, "plain", 0.5, depends=("vectors",)),
        measure(regressions, "rounded", 5.0, depends=("vectors", "bfloat16")),
    )
    assert run(regressions, monkeypatch, measures, file) == 0
    said = capsys.readouterr().out
    assert "not compared: stored with bfloat16 no, here yes" in said
    assert said.count("passes") == 1
    # a file of two kinds of machine would say nothing
    assert run(regressions, monkeypatch, measures, file, "--store", "--only", "plain") == 1
    assert "measures all anew" in capsys.readouterr().err


def test_the_stored_ratios_are_those_that_are_measured(regressions: ModuleType) -> None:
    kept = json.loads((FOLDER / "results" / "regressions.json").read_text())
    assert list(kept["ratios"]) == [one.name for one in regressions.MEASURES]
    for one in regressions.MEASURES:
        assert kept["ratios"][one.name]["of"] == one.about
        assert 0 < kept["ratios"][one.name]["ratio"] < 1.5
        assert set(one.depends) <= kept["capability"].keys()
