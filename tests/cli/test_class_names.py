"""Names of classes, written on the command line or in a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swath.cli.class_names import read_class_names
from swath.core.errors import DataError

WANTED = {1: "water", 2: "bare soil, wet", -3: "x=y"}


def test_names_in_one_text() -> None:
    assert read_class_names("1=water, 2 = bare soil, wet,-3=x=y") == WANTED
    assert read_class_names("7=Wälder") == {7: "Wälder"}


@pytest.mark.parametrize("mark", ["=", ",", ":", ";", "\t", " = "])
def test_names_in_a_file(tmp_path: Path, mark: str) -> None:
    lines = ["value,name", "# classes", *(f"{v}{mark}{name}" for v, name in WANTED.items()), ""]
    (tmp_path / "names.txt").write_text("\n".join(lines), encoding="utf-8-sig")
    assert read_class_names(str(tmp_path / "names.txt")) == WANTED


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("water=1", "'water=1' cannot be read; write a label value and its name"),
        ("1=", "'1=' cannot be read"),
        ("1=a,1=b", "label value 1 is named twice, a and b"),
        ("nowhere.txt", "cannot read class names from 'nowhere.txt'.*give a text file, or names"),
    ],
)
def test_what_cannot_be_read_is_named(given: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_class_names(given)


def test_a_file_without_names(tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("water\n")
    with pytest.raises(DataError, match="holds no class names"):
        read_class_names(str(tmp_path / "names.txt"))


def test_a_run_has_the_names(cli: Any, trained: Any, scene_file: Path, tmp_path: Path) -> None:
    before = json.loads((trained[0] / "metrics.json").read_text())["classes"]
    named, other = before[0]["original"], before[1]["name"]
    result = cli(
        *("train", trained[0], "--scene", scene_file, "--label-variable", "labels"),
        *("--class-names", f"{named}=tall trees, 999=nothing", "--out", tmp_path / "run"),
    )
    assert result.status == 0, result.err
    assert "class_names names 999, which no label has" in result.err
    after = json.loads((tmp_path / "run" / "metrics.json").read_text())["classes"]
    assert after[0]["name"] == "tall trees"
    assert after[1]["name"] == other
    assert "tall trees" in (tmp_path / "run" / "report.html").read_text("utf-8")
