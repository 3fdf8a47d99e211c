"""README and docs against the code: keys, defaults, commands, names, files."""

from __future__ import annotations

import ast
import dataclasses
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml
from benchmark_scripts import FOLDER, script

from swath.cli.app import app
from swath.spaces.hsi3d import HSI3DOptions
from swath.strategies.one_shot_settings import Shrinking
from swath.study.one_shot_section import OneShotSection
from swath.study.patch_tasks import PatchTaskSettings
from swath.study.recipes import load_recipe, preset_names, resolve
from swath.study.settings import Strict, study_names
from swath.study.study_recipe import resolve_study
from swath.study.study_section import StudySettings
from swath.study.tile_tasks import TileTaskSettings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SECTIONS = ("task", "space", "search", "study", "training", "mapping")
OPTIONS: dict[str, Any] = {
    field.name: json.loads(json.dumps(field.default)) for field in dataclasses.fields(HSI3DOptions)
}
CLI: Any = typer.main.get_command(app)


def blocks(language: str) -> list[tuple[str, str]]:
    """The fenced blocks of a language: the page and the text of each."""
    pattern = re.compile(rf"^```{language}\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [
        (str(page.relative_to(ROOT)), found)
        for page in PAGES
        for found in pattern.findall(page.read_text("utf-8"))
    ]


def commands() -> list[tuple[str, str]]:
    """The shell command lines of all pages."""
    return [
        (page, line.strip())
        for page, block in blocks("sh")
        for line in block.replace("\\\n", " ").splitlines()
        if line.strip() and not line.lstrip().startswith("#")
    ]


def leaves(command: Any, words: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    inner = getattr(command, "commands", None)
    if inner is None:
        yield words
    for name, one in (inner or {}).items():
        yield from leaves(one, (*words, name))


def rows(text: str) -> list[list[str]]:
    """The rows of all tables of a text, without those of heads and rules."""
    cells = [
        [cell.strip() for cell in line.strip("|").split(" | ")]
        for line in text.splitlines()
        if line.startswith("| `")
    ]
    return [[cell.strip("| ") for cell in row] for row in cells]


def section(heading: str) -> str:
    """The part of the page on recipes below a heading."""
    text = (ROOT / "docs" / "recipes.md").read_text("utf-8")
    assert f"\n{heading}\n" in text, f"docs/recipes.md has no heading {heading}"
    return re.split(r"\n#+ ", text.split(f"\n{heading}\n")[1])[0]


def values(cell: str) -> Any:
    return yaml.safe_load(cell.strip("`"))


def test_every_key_of_a_recipe_is_told_with_its_default() -> None:
    defaults = resolve().model_dump(mode="json")
    parts = {name: defaults.pop(name) for name in SECTIONS if name != "study"}
    parts["study"] = StudySettings().model_dump(mode="json")  # the section itself is None
    told = {name: rows(section(f"### `{name}`")) for name in SECTIONS}
    space = told["space"]
    names = ["name", "options"]
    told["space"] = [row for row in space if row[0].strip("`") in names]
    told["space.options"] = [row for row in space if row[0].strip("`") not in names]
    parts["space.options"] = OPTIONS
    told["top level"], parts["top level"] = rows(section("### Top level")), defaults
    for name, expected in parts.items():
        found = {row[0].strip("`"): values(row[1]) for row in told[name]}
        assert found == json.loads(json.dumps(expected)), name
        assert all(row[2] for row in told[name])


def test_every_key_of_a_one_shot_search_is_told_with_its_default() -> None:
    defaults = dataclasses.asdict(OneShotSection())
    training = defaults.pop("training")
    expected = defaults | {f"training.{key}": value for key, value in training.items()}
    shrinking = dataclasses.asdict(Shrinking())
    expected |= {f"shrinking.{key}": value for key, value in shrinking.items()}
    told = rows(section("### `one_shot`"))
    assert {row[0].strip("`"): values(row[1]) for row in told} == expected
    assert all(row[2] for row in told)


@pytest.mark.parametrize(
    ("page", "settings"), [("patches", PatchTaskSettings), ("tiles", TileTaskSettings)]
)
def test_every_key_of_a_task_is_told_with_its_default(page: str, settings: type[Strict]) -> None:
    text = (ROOT / "docs" / "how-to" / f"{page}.md").read_text("utf-8")
    told = rows(re.split(r"\n#+ ", text.split("\n## All keys\n")[1])[0])
    found = {row[0].strip("`"): values(row[1]) for row in told}
    assert found == settings().model_dump(mode="json")
    assert all(row[2] for row in told)


def flat(recipe: str) -> dict[str, Any]:
    resolved = resolve(load_recipe(recipe)).model_dump(mode="json")
    space = resolved.pop("space")
    found = {f"space.options.{k}": v for k, v in (OPTIONS | space["options"]).items()}
    for name in ("task", "search", "training", "mapping"):
        found |= {f"{name}.{key}": value for key, value in resolved[name].items()}
    return found


def test_the_table_of_recipes_is_that_of_their_files() -> None:
    recipes = ["hsi3d-paper", "hsi3d-standard", "hsi3d-quick"]
    assert sorted(recipes) == [name for name in preset_names() if name.startswith("hsi3d-")]
    all_values = [flat(recipe) for recipe in recipes]
    expected = {
        key: [one[key] for one in all_values]
        for key in all_values[0]
        if any(one[key] != all_values[0][key] for one in all_values)
    }
    told = rows(section("## The recipes that come with swath"))
    found = {row[0].strip("`"): [values(cell) for cell in row[1:]] for row in told if len(row) == 4}
    assert found == expected, "the table should be:\n" + "\n".join(
        f"| `{key}` | " + " | ".join(f"`{yaml.safe_dump(v).splitlines()[0]}`" for v in one) + " |"
        for key, one in expected.items()
    )


def test_every_recipe_is_told() -> None:
    first = [row[0] for row in rows(section("## The recipes that come with swath"))]
    told = {name for cell in first for name in re.findall(r"`([^`]+)`", cell)}
    assert set(preset_names()) <= told


def test_every_command_is_told() -> None:
    text = "\n".join(page.read_text("utf-8") for page in PAGES)
    for words in leaves(CLI):
        # `swath recipes` alone is `swath recipes list`.
        name = "recipes" if words == ("recipes", "list") else " ".join(words)
        assert f"swath {name}" in text, f"no page tells of 'swath {name}'"


@pytest.mark.parametrize(("page", "line"), commands())
def test_command_lines_parse(page: str, line: str) -> None:
    words = shlex.split(line, comments=True)
    if words[0] == "make":
        targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
        assert words[1] in targets
        return
    if words[0] == "python" and words[1].endswith(".py"):
        source = (ROOT / words[1]).read_text("utf-8")
        for option in (word for word in words[2:] if word.startswith("--")):
            assert f'"{option}"' in source, option
        return
    if not words[0].endswith("swath"):
        return
    command, context = (
        CLI,
        CLI.make_context("swath", words[1:] or ["--help"], resilient_parsing=True),
    )
    rest = words[1:]
    if rest == ["--help"]:
        return
    while hasattr(command, "commands"):
        if not rest:
            assert command.invoke_without_command
            return
        command = command.commands[rest.pop(0)]
    context = command.make_context(words[1], rest, parent=context)
    known: list[str] = preset_names()
    resolved: Any = resolve
    if words[1] == "study":
        known, resolved = study_names(), partial(resolve_study, {"estimator": "table"})
    if recipe := context.params.get("recipe"):
        assert recipe in known or recipe.endswith(".yaml")
    resolved(overrides=context.params.get("overrides") or ())


def imported(module: str, name: str) -> Any:
    """What ``from module import name`` gives: an attribute, or else a module of the package."""
    found = importlib.import_module(module)
    return getattr(found, name, None) or importlib.import_module(f"{module}.{name}")


@pytest.mark.parametrize(("page", "code"), blocks("python"))
def test_names_in_python_examples_exist(page: str, code: str) -> None:
    tree = ast.parse(code)
    known: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            known |= {one.name: importlib.import_module(one.name) for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            known |= {
                one.asname or one.name: imported(str(node.module), one.name) for one in node.names
            }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            owner = known.get("swath" if node.value.id == "swath" else node.value.id)
            if owner is not None:
                assert hasattr(owner, node.attr), f"{page}: {ast.unparse(node)}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_linked_files_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text("utf-8")):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target
    for path in re.findall(r"`((?:benchmarks|tests|docs)/[\w/.-]+)`", page.read_text("utf-8")):
        assert (ROOT / path).exists(), path


def test_the_table_of_steps_is_that_of_its_results() -> None:
    with script("supernet_step") as module:
        results = json.loads((FOLDER / "results" / "supernet_step.json").read_text("utf-8"))
        table = module.table(results["bands"])
    page = (ROOT / "docs" / "quick.md").read_text("utf-8")
    assert table in page
    assert results["machine"]["processor"] in page
