"""The commands on tables."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swath import spaces
from swath.estimators import tables

DIGITS = ["00000000", "01201201", "22222222", "21021021"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path_factory.getbasetemp() / "table-cache"))


@pytest.fixture
def own_csv(tmp_path: Path) -> Path:
    path = tmp_path / "own.csv"
    lines = [["net", "acc12", "acc", "loss", "size"]]
    lines += [[digits, str(50 + i), str(60 + i), str(1 / (1 + i)), str(100 * i)]
              for i, digits in enumerate(DIGITS)]  # fmt: skip
    path.write_text("\n".join(",".join(line) for line in lines) + "\n")
    return path


@pytest.fixture
def convert(cli: Any, own_csv: Path, tmp_path: Path) -> Callable[..., Any]:
    def run(*more: object) -> Any:
        words = ["table", "convert", own_csv, "--space", "nasbenchmacro"]
        words += ["--architecture", "net", "--out", tmp_path / "own.safetensors"]
        return cli(*words, *more)

    return run


def test_a_csv_becomes_a_table_that_can_be_asked(cli: Any, convert: Any, tmp_path: Path) -> None:
    result = convert(
        "--score", "accuracy=acc12:12", "--score", "accuracy=acc:200", "--score", "loss:minimize",
        "--cost", "parameters=size",
    )  # fmt: skip
    assert result.status == 0, result.err
    assert "4 of 6561; 6,557 are missing" in result.out
    file = tmp_path / "own.safetensors"
    estimator = tables.TableEstimator(str(file))
    assert estimator.budgets == (12, 200)
    space: Any = spaces.create("nasbenchmacro")
    evaluation = estimator.evaluate(space.from_digits("22222222"), budget=12)
    assert (evaluation.score, evaluation.cost.parameters) == (52, 200)

    asked = cli("table", "query", file, "22222222")
    assert asked.status == 0, asked.err
    found = dict(line.split(None, 1) for line in asked.out.splitlines())
    assert found == {
        "accuracy@12": "52",
        "accuracy@200": "62",
        "loss": "0.333333",
        "parameters": "200",
    }
    one = space.from_digits("22222222")
    written = ",".join(f"{gene}={value}" for gene, value in one.genes)
    for form in (one.to_json(), json.dumps(one.as_dict()), written):
        assert cli("table", "query", file, form).out == asked.out
    alone = cli("table", "query", file, "22222222", "--metric", "accuracy")
    assert alone.out == "accuracy@12   52\naccuracy@200  62\n"

    told = cli("table", "info", file)
    assert told.status == 0, told.err
    assert "own.csv (SHA-256 " in told.out
    line = next(line for line in told.out.splitlines() if line.startswith("loss"))
    assert line.split()[1:6] == ["score", "small", "4", "0.25", "1"]


def test_published_tables_are_listed_and_described(cli: Any, swath_data: Path) -> None:
    listed = cli("table", "list")
    assert listed.status == 0, listed.err
    for name in tables.KNOWN:
        line = next(line for line in listed.out.splitlines() if line.startswith(name))
        assert line.split()[-1] == ("yes" if tables.table_files(name) else "no")
    assert tables.table_files("hytas_houston")
    told = cli("table", "info", "hytas_houston")
    assert "1,966 of 7.939e+14" in told.out
    assert "74 architectures were trained twice" in told.out


def test_a_published_table_is_asked_in_its_own_writing(cli: Any, swath_data: Path) -> None:
    with open(swath_data / "nas_bench_201" / "nas_bench_201.csv", newline="") as file:
        row = next(csv.DictReader(file))
    words = ["table", "query", "nas_bench_201", row["arch_str"], "--metric", "cifar100-test"]
    result = cli(*words)
    assert result.status == 0, result.err
    early, late = (line.split() for line in result.out.splitlines())
    assert early == ["cifar100-test@12", f"{float(row['ep12_cifar100-test']):.6g}", "percent"]
    assert late == ["cifar100-test@200", f"{float(row['ep200_test_cifar100']):.6g}", "percent"]


def test_tables_that_are_not_there_say_where_they_belong(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("SWATH_DATA", raising=False)
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path))
    line = next(one for one in cli("table", "list").out.splitlines() if one.startswith("nas_b"))
    assert line.split()[-1] == "no"
    message = cli("table", "info", "nas_bench_macro").message
    assert "put nas_bench_macro/nas-bench-macro_cifar10.json into $SWATH_DATA or" in message


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["info", "nas_bench_202"], "or file 'nas_bench_202' (did you mean 'nas_bench_201'?)"),
        (["infos"], "there is no command 'infos' (did you mean 'info'?)"),
    ],
)  # fmt: skip
def test_wrong_names(cli: Any, words: list[str], message: str) -> None:
    result = cli("table", *words)
    assert result.status == 2
    assert message in result.message


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--score", "ac"], "has no column 'ac' (did you mean 'acc'?); it has: net, acc12,"),
        (["--score", "acc", "--cost", "params=size"], "no cost 'params' (did you mean 'param"),
        (["--score", "acc", "--cost", "size"], "'size' is not of the form --cost COST=COLUMN"),
        (["--score", "acc", "--duplicates", "last"], "one of: refuse, mean, first"),
        (["--score", "acc", "--option", "channels=["], "value of 'channels=[' is not valid YAML"),
        (["--score", "acc", "--option", "channels"], "not of the form --option NAME=VALUE"),
        (["--score", "acc", "--space", "nasbenchmakro"], "(did you mean 'nasbenchmacro'?)"),
        (["--score", "acc", "--architecture", "loss"], "line 2 of"),
    ],
)  # fmt: skip
def test_what_cannot_be_converted(
    cli: Any, convert: Any, tmp_path: Path, more: list[str], message: str
) -> None:
    result = convert(*more)
    assert result.status == 2, result.out
    assert message in result.message
    assert not (tmp_path / "own.safetensors").exists()


def test_the_file_that_is_read_is_not_replaced(
    cli: Any, convert: Any, own_csv: Path, tmp_path: Path
) -> None:
    before = own_csv.read_bytes()
    (tmp_path / "link.csv").symlink_to(own_csv)
    for out in (own_csv, tmp_path / "link.csv"):
        result = convert("--score", "acc", "--out", out)
        assert result.status == 2
        assert f"{out} is read by this command and would be replaced" in result.message
        assert own_csv.read_bytes() == before
    again = convert("--score", "acc")
    assert again.status == 0, again.err
    assert convert("--score", "acc").status == 0  # what was written before may be replaced


def test_an_architecture_that_the_table_lacks(cli: Any, convert: Any, tmp_path: Path) -> None:
    assert convert("--score", "acc").status == 0
    file = tmp_path / "own.safetensors"
    absent = cli("table", "query", file, "00000001")
    assert absent.status == 2
    assert "it has 4 of the 6561 of space 'nasbenchmacro'" in absent.message
    unknown = cli("table", "query", file, "layer0=9")
    assert "gene 'layer0' cannot be '9'" in unknown.message
    metric = cli("table", "query", file, "00000000", "--metric", "accc")
    assert "no metric 'accc' (did you mean 'acc'?)" in metric.message


def test_options_of_the_space_are_taken(cli: Any, tmp_path: Path) -> None:
    space = spaces.create("hsi3d", layers=1, nodes=1)
    one = space.sample(np.random.default_rng(0))
    with open(tmp_path / "own.csv", "w", newline="") as file:
        csv.writer(file).writerows([["net", "acc"], [one.to_json(), "0.5"]])
    words = ["table", "convert", tmp_path / "own.csv", "--space", "hsi3d", "--architecture", "net"]
    words += ["--score", "acc", "--out", tmp_path / "own.safetensors"]
    assert "line 2 of" in cli(*words).message  # two layers are the space's default
    result = cli(*words, "--option", "layers=1", "--option", "nodes=1")
    assert result.status == 0, result.err
    assert tables.load_table(tmp_path / "own.safetensors").architectures == (one,)
    assert "has no option 'layer'" in cli(*words, "--option", "layer=1").message
