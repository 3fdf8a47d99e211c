"""Tables of a user's own CSV file: what they become, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath import spaces
from swath.core.errors import DataError, InvalidArchitecture, RecipeError, UnknownName
from swath.estimators._architecture_text import read_architecture
from swath.estimators._table import Table
from swath.estimators._table_csv import ScoreColumn, convert_csv, read_csv

SPACE: Any = spaces.create("nasbenchmacro")
GENES = [gene.name for gene in SPACE.genes]
FIRST, SECOND = GENES[:2]
ACC = [ScoreColumn("acc")]

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def make(*lines: str) -> Path:
        path = tmp_path / "own.csv"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    return make


def refused(path: Path, kind: type[Exception] = DataError, **options: Any) -> str:
    """Return what is said, less the folder."""
    given = {"space": SPACE, "scores": ACC, "architecture": "net", **options}
    with pytest.raises(kind) as error:
        convert_csv(path, **given)
    return str(error.value).replace(f"{path.parent}/", "")


# --- what a file becomes --------------------------------------------------------------------------


def test_a_column_of_architectures(write: Write) -> None:
    one = SPACE.from_digits("12012012")
    quoted = '"' + one.to_json().replace('"', '""') + '"'
    path = write("net,acc,size,other", "00000000,50.5,10,x", f"{quoted},,20,y")
    table = convert_csv(path, SPACE, ACC, architecture="net", costs={"parameters": "size"})
    assert table.name == "own"
    assert table.architectures == (SPACE.from_digits("00000000"), one)
    assert table.listed("acc")[0] == 50.5
    assert np.isnan(table.listed("acc")[1])
    assert table.listed("parameters") == [10, 20]
    assert table.columns["parameters"].role == "cost"
    assert list(table.columns) == ["acc", "parameters"]


@given(data=st.data())
def test_a_column_for_each_gene(data: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    values = st.fixed_dictionaries(
        {gene.name: st.sampled_from(gene.choices) for gene in SPACE.genes}
    )
    chosen = data.draw(
        st.lists(values, min_size=1, max_size=8, unique_by=lambda v: tuple(sorted(v.items())))
    )
    order = data.draw(st.permutations([*GENES, "acc"]))
    separator = data.draw(st.sampled_from(",;\t"))
    accuracies = data.draw(
        st.lists(st.floats(-1e9, 1e9), min_size=len(chosen), max_size=len(chosen))
    )
    path = tmp_path_factory.mktemp("csv") / "own.csv"
    rows = [{**one, "acc": repr(acc)} for one, acc in zip(chosen, accuracies, strict=True)]
    lines = [separator.join(order), *(separator.join(str(row[k]) for k in order) for row in rows)]
    path.write_text("﻿" + "\r\n".join(lines))
    table = convert_csv(path, SPACE, ACC)
    assert table.architectures == tuple(SPACE.architecture(one) for one in chosen)
    assert table.listed("acc") == accuracies


@pytest.mark.parametrize(
    ("header", "row", "names"),
    [
        ('net;"acc (top-1, test)"', "1;2", ("net", "acc (top-1, test)")),
        ('"a, ""b"", c"\td', "1\t2", ('a, "b", c', "d")),
        ("net;acc, test", "1;2", ("net", "acc, test")),
        ("net\tacc, test", "1\t2", ("net", "acc, test")),
        ('size 5";acc', "1;2", ('size 5"', "acc")),
        ('net,"a;b;c"', "1,2", ("net", "a;b;c")),
        ("net", '"1,2;3"', ("net",)),
    ],
)
def test_the_header_tells_what_separates_fields(
    write: Write, header: str, row: str, names: tuple[str, ...]
) -> None:
    found = read_csv(write(header, row))
    assert found.header == names
    assert len(found.rows[0]) == len(names)


def test_whole_numbers_may_have_been_made_floats(tmp_path: Path) -> None:
    space: Any = spaces.create("hytas")
    one = space.from_lists(48, [4, 6, 6, 5, 3, 3], [4, 5, 1, 3, 4, 3])
    values = one.as_dict() | {"embed_dim": "48.0"}
    path = tmp_path / "own.csv"
    path.write_text(f"{','.join(values)},acc\n{','.join(map(str, values.values()))},1\n")
    assert convert_csv(path, space, ACC).architectures == (one,)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acc", ScoreColumn("acc")),
        ("acc:200", ScoreColumn("acc", "", 200)),
        ("loss:minimize", ScoreColumn("loss", "", None, "minimize")),
        ("a:b:12", ScoreColumn("a:b", "", 12)),
        ("acc=lr=0.1", ScoreColumn("lr=0.1", "acc")),
        ("=lr=0.1:3", ScoreColumn("lr=0.1", "", 3)),
        ("test=ep12:test:12:maximize", ScoreColumn("ep12:test", "test", 12)),
    ],
)
def test_score_columns_as_written(text: str, expected: ScoreColumn) -> None:
    assert ScoreColumn.parse(text) == expected


def test_duplicates_as_asked(write: Write) -> None:
    path = write("net,acc", "00000000,1", "11111111,5", "00000000,2", "00000000,6")
    assert refused(path) == (
        "lines 2 and 4 of own.csv are the same architecture; leave one out, or take their mean or "
        "the first"
    )
    mean = convert_csv(path, SPACE, ACC, architecture="net", duplicates="mean")
    first = convert_csv(path, SPACE, ACC, architecture="net", duplicates="first")
    assert mean.listed("acc") == [3, 5]
    assert first.listed("acc") == [1, 5]
    assert mean.architectures == first.architectures
    assert first.notes == (
        "2 rows were of architectures that had one already; the first was taken",
    )
    message = refused(path, RecipeError, duplicates="last")
    assert message == "duplicates cannot be 'last'; it is one of: refuse, mean, first"


def test_a_mean_is_that_of_the_known(write: Write) -> None:
    path = write("net,acc", "00000000,1", "00000000,", "11111111,", "11111111,nan")
    mean = convert_csv(path, SPACE, ACC, architecture="net", duplicates="mean")
    assert mean.listed("acc")[0] == 1
    assert np.isnan(mean.listed("acc")[1])


def test_copies_are_counted_by_lines_of_the_file(write: Write) -> None:
    path = write("net,acc,text", '00000000,1,"two', 'lines"', "00000000,2,x")
    assert refused(path).startswith("lines 3 and 4 of own.csv")


# --- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["net,acc"], "own.csv has no rows; it needs a header line and a line an architecture"),
        (["net,acc,acc", "00000000,1,2"], "own.csv has two columns 'acc'; rename one"),
        (
            ["net,acc", "00000000,1", "11111111"],
            "line 3 of own.csv has 1 fields, but the header has 2; correct it",
        ),
        (["net,acc", "00000000,good"], "line 2 of own.csv: 'acc' is no number: 'good'"),
        (["net,acc", "00000000,"], "column 'acc' of own.csv is empty; leave it out"),
    ],
)
def test_unusable_files(write: Write, lines: list[str], message: str) -> None:
    assert refused(write(*lines)) == message


def test_files_that_are_none(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.csv") == "there is no file none.csv"
    assert refused(tmp_path).startswith("cannot read ")
    binary = tmp_path / "binary.csv"
    binary.write_bytes(bytes(range(256)))
    assert refused(binary).startswith("binary.csv is no CSV file")
    empty = tmp_path / "empty.csv"
    empty.write_text("")
    assert "has no rows" in refused(empty)
    assert refused(empty, RecipeError, scores=[]).startswith("no score column was named")


def test_unknown_columns_and_costs(write: Write) -> None:
    path = write("net,accuracy,size", "00000000,1,2")
    assert refused(path, UnknownName, scores=[ScoreColumn("acuracy")]) == (
        "own.csv has no column 'acuracy' (did you mean 'accuracy'?); it has: net, accuracy, size"
    )
    given = {"scores": [ScoreColumn("accuracy")]}
    assert refused(path, UnknownName, costs={"flop": "size"}, **given) == (
        "there is no cost 'flop' (did you mean 'flops'?); known: parameters, flops, seconds, "
        "latency"
    )
    assert refused(path, UnknownName, architecture="nets", **given).startswith(
        "own.csv has no column 'nets' (did you mean 'net'?)"
    )
    twice = [ScoreColumn("accuracy"), ScoreColumn("size", "accuracy")]
    assert refused(path, scores=twice) == "table 'own' has two columns 'accuracy'; rename one"


def test_missing_and_unknown_genes(write: Write) -> None:
    choice = SPACE.genes[0].choices[0]
    row = ",".join([str(choice)] * len(GENES))
    path = write(",".join([*GENES[1:], "layer_0", "acc"]), f"{row},1")
    assert refused(path, UnknownName, architecture=None) == (
        f"own.csv has no column for gene '{FIRST}' (did you mean 'layer_0'?); give it a column for "
        "each gene, or name the column that holds architectures"
    )
    path = write(",".join([*GENES, "acc"]), f"{row},1", f",{row.partition(',')[2]},2")
    assert refused(path, architecture=None) == f"line 3 of own.csv: gene '{FIRST}' is missing"
    typo = str(choice)[:-1]
    path = write(",".join([*GENES, "acc"]), f"{typo},{row.partition(',')[2]},2")
    choices = ", ".join(map(str, SPACE.genes[0].choices))
    assert refused(path, architecture=None) == (
        f"line 2 of own.csv: gene '{FIRST}' cannot be '{typo}' (did you mean '{choice}'?); it is "
        f"one of: {choices}"
    )
    path = write("net,acc", "00000009,1")
    assert refused(path).startswith("line 2 of own.csv, column 'net': ")
    pairs = f'"layr0={choice},{SECOND}={choice}"'
    path = write("net,acc", f"{pairs},1")
    assert refused(path) == (
        f"line 2 of own.csv, column 'net': 'layr0' is no gene of space 'nasbenchmacro' (did you "
        f"mean '{FIRST}'?); its genes are: {', '.join(GENES)}"
    )


# --- architectures as written ---------------------------------------------------------------------


@given(st.integers(0, 3**8 - 1))
def test_every_writing_is_the_same_architecture(number: int) -> None:
    digits = np.base_repr(number, 3).zfill(8)
    one = SPACE.from_digits(digits)
    genes = one.as_dict()
    turned = dict(reversed(genes.items()))
    for text in (
        digits,
        f"  {digits} ",
        one.to_json(),
        json.dumps(turned),
        ",".join(f"{gene}={value}" for gene, value in genes.items()),
        ", ".join(f"{gene} = {value}" for gene, value in turned.items()),
    ):
        assert read_architecture(SPACE, text) == one


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not an architecture: "),
        ('{"space":"toy","genes":{}}', "the architecture belongs to space 'toy'"),
        ('{"genes":[1]}', "an architecture is written"),
        ("{}", f"gene '{FIRST}' is missing"),
        (f"{FIRST}=x", f"gene '{FIRST}' cannot be 'x'"),
    ],
)
def test_texts_that_are_no_architecture(text: str, message: str) -> None:
    with pytest.raises(InvalidArchitecture) as error:
        read_architecture(SPACE, text)
    assert str(error.value).startswith(message)


def test_a_space_without_writing_of_its_own_says_how() -> None:
    space = spaces.create("hytas")
    with pytest.raises(InvalidArchitecture) as error:
        read_architecture(space, "0120")
    assert str(error.value) == (
        "'0120' is no architecture; write one of space 'hytas' as JSON or as embed_dim=32,..."
    )


def test_fields_are_read_as_python_reads_them(write: Write) -> None:
    path = write("a,b", "1,x", " 2 ,y")
    assert read_csv(path).texts("a") == ["1", "2"]
    assert isinstance(convert_csv(write("net,acc", "00000000,-inf"), SPACE, ACC,
                                  architecture="net"), Table)  # fmt: skip
