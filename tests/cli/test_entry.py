"""How a command line ends: statuses, messages, tracebacks."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from swath.cli.output import in_options
from swath.core.errors import RunError


def fail(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    """Let the report of a run fail."""

    def failing(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("swath.report.write_report", failing)


def test_a_users_mistake_is_one_line_and_a_traceback_only_on_request(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail(monkeypatch, RunError("the folder is\nfull of air"))
    result = cli("report", "run")
    assert (result.status, result.out) == (2, "")
    assert result.err == "error: the folder is full of air\n"
    for words in (["--debug", "report", "run"], ["report", "run", "--debug"]):
        result = cli(*words)
        assert result.status == 2
        assert "Traceback" in result.err
        assert "RunError" in result.err
        assert result.err.endswith("error: the folder is full of air\n")


def test_a_defect_says_that_it_is_one(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, ZeroDivisionError("division by zero"))
    result = cli("report", "run")
    assert result.status == 1
    assert "defect of swath" in result.message
    assert "ZeroDivisionError: division by zero" in result.message
    assert "Traceback" in cli("report", "run", "--debug").err


def test_an_interrupt_is_no_error(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, KeyboardInterrupt())
    result = cli("report", "run")
    assert result.status == 130
    assert "stopped" in result.err
    assert "error" not in result.err


def test_a_disk_that_is_full(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, OSError(errno.ENOSPC, "No space left on device"))
    result = cli("report", "run")
    assert result.status == 2
    assert "the disk is full" in result.message


def test_memory_that_ends(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, MemoryError())
    result = cli("report", "run")
    assert result.status == 2
    assert "memory" in result.message


@pytest.mark.parametrize(
    ("error", "status", "event"),
    [
        (RunError("x"), 2, "failed"),
        (OSError("y"), 1, "failed"),
        (KeyboardInterrupt(), 130, "stopped"),
    ],
)
def test_what_ended_a_run_is_in_its_log(
    cli: Any,
    trained: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    event: str,
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise error

    words = [tmp_path / "run" if word == trained[0] else word for word in trained[1]]
    shutil.copytree(trained[0], tmp_path / "run")
    (tmp_path / "run/metrics.json").unlink()
    monkeypatch.setattr("swath.study.phases.train_model", failing)
    result = cli(*words)
    assert result.status == status
    if status == 130:
        assert "the same command continues" in result.err
    log = (tmp_path / "run/log.jsonl").read_text().splitlines()
    last = json.loads(log[-1])
    assert last["event"] == event
    assert ("Traceback" in last.get("traceback", "")) == (event == "failed")


def test_an_interrupt_while_mapping_keeps_nothing(
    cli: Any, trained: Any, scene_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("swath.mapping.streaming._stream", failing)
    result = cli("map", trained[0], scene_file, "--out", tmp_path / "m.tif")
    assert result.status == 130
    assert "no map was written" in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("choose with variable='hsi'", "choose with --variable hsi"),
        ("name one with label_variable=... if", "name one with --label-variable if"),
        ("use small_classes='halve' (1)", "use --small-classes halve (1)"),
        ("say so with unlabelled=", "say so with --unlabelled"),
        ("write section.key=value", "write section.key=value"),
        ("give another file, or open it with check=False", "give another file"),
    ],
)
def test_messages_speak_of_options(message: str, said: str) -> None:
    assert in_options(message) == said
