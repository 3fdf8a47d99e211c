from __future__ import annotations

import errno
import json
import math
import os
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.core.errors import RunError
from swath.core.files import (
    atomic_path,
    check_writable,
    expanded,
    read_json,
    write_json,
    write_text,
)

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_writes_a_new_file_and_the_folders_above_it(tmp_path: Path) -> None:
    target = tmp_path / "a" / "b" / "notes.txt"
    write_text(target, "Zürich\n")
    assert target.read_bytes() == "Zürich\n".encode()
    assert contents(target.parent).keys() == {"notes.txt"}


def test_the_home_folder_may_be_written_as_a_tilde(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    check_writable("~/a/notes.txt")
    write_json("~/a/notes.txt", [1])
    assert contents(tmp_path / "a").keys() == {"notes.txt"}
    assert read_json("~/a/notes.txt") == [1]
    assert expanded("~nobody-of-this-name/a") == Path("~nobody-of-this-name/a")
    assert not (tmp_path / "~").exists()


def test_temporary_lies_beside_its_target_with_the_same_suffix(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "map.tif") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".tif"
        assert temporary.name.startswith(".")
        assert not (tmp_path / "map.tif").exists()
        temporary.write_bytes(b"II*")
    assert contents(tmp_path) == {"map.tif": b"II*"}


def test_others_may_read_the_result(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "a")
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == 0o644


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), OSError(errno.EIO, "x")])
def test_failure_leaves_the_earlier_file_and_no_temporary(
    tmp_path: Path, error: BaseException
) -> None:
    target = tmp_path / "metrics.json"
    target.write_text("earlier")
    expected = RunError if isinstance(error, OSError) else type(error)

    def write_half() -> None:
        with atomic_path(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(expected):
        write_half()
    assert contents(tmp_path) == {"metrics.json": b"earlier"}


def test_replacing_is_all_or_nothing_for_a_reader(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    write_text(target, "old")
    with open(target) as reader:
        write_text(target, "new")
        assert reader.read() == "old"
    assert target.read_text() == "new"


@pytest.mark.parametrize("moment", ["write", "fsync", "replace"])
def test_full_disk_is_named_and_harms_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    target = tmp_path / "model.json"
    target.write_text("earlier")

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    if moment == "write":
        monkeypatch.setattr(Path, "write_text", full)
    else:
        monkeypatch.setattr(os, moment, full)
    with pytest.raises(RunError, match=r"disk is full: .*model\.json"):
        write_text(target, "later")
    assert contents(tmp_path) == {"model.json": b"earlier"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    target = tmp_path / "model.json"
    target.write_text("earlier")
    with (
        pytest.raises(RunError, match="disk is full"),
        atomic_path(target),
        open("/dev/full", "w") as full,
    ):
        full.write("x" * 100_000)
    assert contents(tmp_path) == {"model.json": b"earlier"}


def test_a_process_killed_while_writing_leaves_the_earlier_file(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    write_json(target, {"epoch": 1})
    program = f"""
        import sys, time
        from swath.core.files import atomic_path
        with atomic_path({str(target)!r}) as temporary:
            temporary.write_text('{{"epoch"')
            print("half", flush=True)
            time.sleep(60)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert read_json(target) == {"epoch": 1}
    # What the dead process left is hidden and in nobody's way.
    write_json(target, {"epoch": 2})
    assert read_json(target) == {"epoch": 2}
    assert all(p.name.startswith(".") for p in tmp_path.iterdir() if p != target)


def test_two_writers_do_not_meet(tmp_path: Path) -> None:
    target = tmp_path / "a.txt"
    with atomic_path(target) as first, atomic_path(target) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert contents(tmp_path) == {"a.txt": b"first"}  # the outer one finishes last


def test_a_file_in_the_folders_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("a file")
    with pytest.raises(RunError, match=r"cannot write .*run.*another folder"):
        write_text(tmp_path / "run" / "metrics.json", "{}")
    assert contents(tmp_path) == {"run": b"a file"}


def test_a_folder_in_the_files_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.json").mkdir()
    with pytest.raises(RunError, match=r"cannot write .*metrics\.json"):
        write_text(tmp_path / "metrics.json", "{}")
    assert [p.name for p in tmp_path.iterdir()] == ["metrics.json"]


def test_folder_without_permission_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr("tempfile.mkstemp", denied)  # root may write anywhere
    with pytest.raises(RunError, match=r"cannot write .*a\.txt: Permission denied"):
        write_text(tmp_path / "a.txt", "x")


@given(JSON)
def test_json_round_trip(tmp_path_factory: pytest.TempPathFactory, data: object) -> None:
    path = tmp_path_factory.getbasetemp() / "round_trip.json"
    write_json(path, data)
    assert read_json(path) == data
    assert path.read_text(encoding="utf-8").endswith("\n")
    assert json.loads(path.read_text(encoding="utf-8")) == data


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_json_has_no_nan_and_the_earlier_file_stays(tmp_path: Path, value: float) -> None:
    write_json(tmp_path / "a.json", 1)
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"oa": value})
    assert contents(tmp_path) == {"a.json": b"1\n"}


def test_read_json_names_what_is_missing_or_broken(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"none\.json.*No such file"):
        read_json(tmp_path / "none.json")
    (tmp_path / "cut.json").write_text('{"a": ')
    with pytest.raises(RunError, match=r"cut\.json is not valid JSON"):
        read_json(tmp_path / "cut.json")
    (tmp_path / "binary.json").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    with pytest.raises(RunError, match=r"binary\.json is no JSON file"):
        read_json(tmp_path / "binary.json")
    with pytest.raises(RunError, match="cannot read"):
        read_json(tmp_path)


def test_check_writable_names_what_is_in_the_way_and_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_writable(tmp_path / "a" / "b" / "map.tif")
    check_writable(tmp_path / "map.tif")
    (tmp_path / "file").write_text("a file")
    with pytest.raises(RunError, match=r"file is a file"):
        check_writable(tmp_path / "file" / "map.tif")
    with pytest.raises(RunError, match=r"file is a file"):
        check_writable(tmp_path / "file" / "a" / "map.tif")
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write anywhere
    with pytest.raises(RunError, match="may not be written"):
        check_writable(tmp_path / "a" / "map.tif")
    assert contents(tmp_path) == {"file": b"a file"}


def test_the_temporary_is_synchronised_before_it_is_renamed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    order: list[str] = []
    for name in ("fsync", "replace"):
        original = getattr(os, name)

        def noted(*arguments: object, _name: str = name, _original: object = original) -> object:
            order.append(_name)
            return _original(*arguments)  # type: ignore[operator]

        monkeypatch.setattr(os, name, noted)
    write_text(tmp_path / "a.txt", "x")
    assert order == ["fsync", "replace"]
