from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.core.errors import RecipeError, SwathError, UnknownName, nearest
from swath.core.registry import Registry


@pytest.fixture
def spaces() -> Registry[dict[str, int]]:
    registry: Registry[dict[str, int]] = Registry("search space")

    @registry.register("hsi3d")
    def hsi3d(layers: int = 2) -> dict[str, int]:
        return {"layers": layers}

    @registry.register("hytas")
    def hytas() -> dict[str, int]:
        return {}

    return registry


def test_create_passes_keyword_arguments(spaces: Registry[dict[str, int]]) -> None:
    assert spaces.create("hsi3d") == {"layers": 2}
    assert spaces.create("hsi3d", layers=4) == {"layers": 4}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": 3}, r"space 'hsi3d' has no option 'layer' .did you mean 'layers'.*has: layers"),
        ({"layers": "x"}, r"space 'hsi3d' cannot be made of these options: .*'x'"),
    ],
)
def test_options_that_do_not_fit_are_named(options: dict[str, object], message: str) -> None:
    registry: Registry[int] = Registry("search space")
    registry.register("hsi3d")(lambda layers=2: int(layers))
    with pytest.raises(RecipeError, match=message):
        registry.create("hsi3d", **options)


def test_an_option_that_is_needed_is_named() -> None:
    registry: Registry[str] = Registry("table")
    registry.register("csv")(lambda path: str(path))
    with pytest.raises(RecipeError, match="the table 'csv' needs the option 'path'"):
        registry.create("csv")


def test_register_gives_the_factory_back() -> None:
    registry: Registry[object] = Registry("thing")

    @registry.register("a")
    class A:
        pass

    assert registry.get("a") is A
    assert isinstance(registry.create("a"), A)


def test_names_are_sorted_and_filtered_by_wildcard(spaces: Registry[dict[str, int]]) -> None:
    assert spaces.names() == ["hsi3d", "hytas"] == list(spaces)
    assert spaces.names("hs*") == ["hsi3d"]
    assert spaces.names("*3?") == ["hsi3d"]
    assert spaces.names("no*") == []
    assert "hsi3d" in spaces
    assert "hsi" not in spaces
    assert 3 not in spaces


def test_unknown_name_says_kind_nearest_and_all_known(spaces: Registry[dict[str, int]]) -> None:
    with pytest.raises(UnknownName) as caught:
        spaces.create("hsi3")
    message = str(caught.value)
    assert "search space 'hsi3'" in message
    assert "did you mean 'hsi3d'?" in message
    assert "known: hsi3d, hytas" in message
    assert isinstance(caught.value, SwathError)


def test_a_name_far_from_all_gets_no_guess(spaces: Registry[dict[str, int]]) -> None:
    with pytest.raises(UnknownName) as caught:
        spaces.get("zzzzzz")
    assert "did you mean" not in str(caught.value)
    assert "known: hsi3d, hytas" in str(caught.value)


def test_lazy_entries_are_imported_on_first_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry: Registry[str] = Registry("colour", lazy={"blue": "lazy_colours"})
    (tmp_path / "lazy_colours.py").write_text(
        "from registry_holder import registry\n"
        "@registry.register('blue')\n"
        "def blue(): return '#00f'\n"
    )
    holder = type(sys)("registry_holder")
    holder.registry = registry  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "registry_holder", holder)
    monkeypatch.syspath_prepend(str(tmp_path))

    assert registry.names() == ["blue"]
    assert "blue" in registry
    assert "lazy_colours" not in sys.modules
    assert registry.create("blue") == "#00f"
    monkeypatch.delitem(sys.modules, "lazy_colours")


def test_lazy_module_that_does_not_register_is_an_unknown_name() -> None:
    registry: Registry[str] = Registry("colour", lazy={"green": "string"})
    with pytest.raises(UnknownName, match="green"):
        registry.create("green")


@given(st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=6), st.text(max_size=8))
def test_nearest_only_ever_names_what_is_known(known: list[str], name: str) -> None:
    hint = nearest(name, known)
    assert hint == "" or any(hint == f" (did you mean '{word}'?)" for word in known)


@given(st.text(alphabet="abcdefgh", min_size=1, max_size=8))
def test_nearest_of_a_known_name_is_itself(name: str) -> None:
    assert nearest(name, [name, "zzzz"]) == f" (did you mean '{name}'?)"


@pytest.mark.parametrize(
    ("typed", "meant"), [("simulat", "simulate"), ("salinas_a", "salinas-a"), ("hsi3D", "hsi3d")]
)
def test_nearest_finds_usual_slips(typed: str, meant: str) -> None:
    assert nearest(typed, ["simulate", "salinas-a", "hsi3d"]) == f" (did you mean '{meant}'?)"
