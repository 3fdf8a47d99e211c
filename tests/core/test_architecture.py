from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.core.architecture import Architecture, Gene, Value
from swath.core.errors import InvalidArchitecture

NAMES = st.text(min_size=1, max_size=12).filter(lambda name: name != "self")
VALUES: st.SearchStrategy[Value] = st.one_of(st.integers(-(2**63), 2**63), st.text(max_size=12))
GENES = st.lists(st.tuples(NAMES, VALUES), max_size=8, unique_by=lambda pair: pair[0]).map(tuple)
ARCHITECTURES = st.builds(Architecture, NAMES, GENES)


@given(ARCHITECTURES)
def test_json_round_trip_keeps_everything(architecture: Architecture) -> None:
    again = Architecture.from_json(architecture.to_json())
    assert again == architecture
    assert hash(again) == hash(architecture)
    assert again.key == architecture.key
    assert again.to_json() == architecture.to_json()
    assert [type(v) for _, v in again.genes] == [type(v) for _, v in architecture.genes]


@given(ARCHITECTURES)
def test_json_says_what_the_architecture_is(architecture: Architecture) -> None:
    data = json.loads(architecture.to_json())
    assert data == {"space": architecture.space, "genes": dict(architecture.genes)}
    assert list(data["genes"]) == [name for name, _ in architecture.genes]
    assert Architecture.from_dict(data) == architecture
    assert architecture.as_dict() == data["genes"]


@given(ARCHITECTURES, ARCHITECTURES)
def test_key_tells_architectures_apart(a: Architecture, b: Architecture) -> None:
    assert (a.key == b.key) == (a == b)


def test_number_and_its_text_are_different_values() -> None:
    number, text = Architecture("s", (("g", 3),)), Architecture("s", (("g", "3"),))
    assert number != text
    assert number.key != text.key


def test_key_is_the_published_one_in_any_process() -> None:
    # Keys are written into run folders: they may never change between versions or processes.
    architecture = Architecture("toy", (("depth", 4), ("operator", "skip")))
    assert architecture.to_json() == '{"space":"toy","genes":{"depth":4,"operator":"skip"}}'
    assert architecture.key == "38999f8f0d9ce8bb"
    program = (
        "from swath.core.architecture import Architecture;"
        "print(Architecture('toy', (('depth', 4), ('operator', 'skip'))).key)"
    )
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert other.stdout.strip() == architecture.key


@given(ARCHITECTURES.filter(lambda a: a.genes), st.data())
def test_replace_changes_one_gene_and_nothing_else(a: Architecture, data: st.DataObject) -> None:
    gene = data.draw(st.sampled_from([name for name, _ in a.genes]))
    value = data.draw(VALUES)
    b = a.replace(**{gene: value})
    for (name, old), (same_name, new) in zip(a.genes, b.genes, strict=True):
        assert name == same_name
        assert new == (value if name == gene else old)
    assert b.space == a.space


def test_replace_returns_a_copy_and_takes_dotted_names() -> None:
    a = Architecture("s", (("cell0.edge1", "skip"), ("width", 0)))
    b = a.replace(**{"cell0.edge1": "none"})
    assert (a["cell0.edge1"], b["cell0.edge1"]) == ("skip", "none")


def test_replace_refuses_a_gene_the_space_lacks() -> None:
    a = Architecture("toy", (("depth", 4),))
    with pytest.raises(InvalidArchitecture, match=r"'dpeth'.*'toy'"):
        a.replace(dpeth=5)


def test_an_architecture_cannot_be_changed() -> None:
    a = Architecture("toy", (("depth", 4),))
    with pytest.raises(FrozenInstanceError):
        a.space = "other"  # type: ignore[misc]
    with pytest.raises(KeyError, match="width"):
        a["width"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "not json",
        "[]",
        "null",
        "3",
        '{"space": "s"}',
        '{"genes": {}}',
        '{"space": 1, "genes": {}}',
        '{"space": "s", "genes": []}',
        '{"space": "s", "genes": {"a": 1',
    ],
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(InvalidArchitecture, match="architecture"):
        Architecture.from_json(text)


@pytest.mark.parametrize("value", [True, False, 1.0, 0.5, None, [1], {"a": 1}])
def test_gene_values_of_other_types_are_refused(value: object) -> None:
    data = {"space": "s", "genes": {"width": 1, "edge": value}}
    with pytest.raises(InvalidArchitecture, match="'edge'"):
        Architecture.from_dict(data)
    with pytest.raises(InvalidArchitecture, match="'edge'"):
        Architecture.from_json(json.dumps(data))


def test_gene_names_are_texts() -> None:
    with pytest.raises(InvalidArchitecture, match="3"):
        Architecture.from_dict({"space": "s", "genes": {3: "skip"}})


@given(st.lists(VALUES, min_size=1, max_size=8, unique=True).map(tuple))
def test_gene_index_is_the_position(choices: tuple[Value, ...]) -> None:
    gene = Gene("g", choices)
    assert [gene.index(value) for value in choices] == list(range(len(choices)))


def test_gene_refuses_other_values_naming_itself_and_the_choices() -> None:
    with pytest.raises(InvalidArchitecture, match=r"'edge'.*'pool'.*skip, none"):
        Gene("edge", ("skip", "none")).index("pool")
