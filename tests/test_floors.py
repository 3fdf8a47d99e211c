"""The house stands: every floor imports only from the floors below it, and nothing in a circle."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1] / "src" / "swath"

# Bottom to top. The names of folders or files directly under src/swath.
FLOORS = (
    "core",
    "data",
    "tasks",
    "networks",
    "training",
    "spaces",
    "supernets",
    "estimators",
    "strategies",
    "study",
    "mapping",
    "landscape",
    "report",
    "api",
    "cli",
)
# The front doors: they may look at every floor, and no floor looks at them.
DOORS = ("swath", "swath.__main__")
# What a floor may take from the package itself.
ROOT_NAMES = {"__version__"}


@dataclass(frozen=True)
class Import:
    """One name that a module takes: ``written`` in an import, or named in a lazy table."""

    target: str
    line: int
    written: bool


def module_name(path: Path) -> str:
    """Return the dotted name of a file under src."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def sources() -> dict[str, Path]:
    return {module_name(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports(source: str, module: str, is_package: bool) -> Iterator[Import]:
    """Yield all of swath that a module's text imports, at any depth and under any condition.

    Besides import statements, strings that are the dotted name of a part of swath count, since
    registries import their entries by such names.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "swath":
                    yield Import(alias.name, node.lineno, True)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                up = module.split(".")
                up = up[: len(up) - node.level + is_package]
                base = ".".join([*up, *([node.module] if node.module else [])])
            if base.split(".")[0] == "swath":
                for alias in node.names:
                    yield Import(f"{base}.{alias.name}", node.lineno, True)
        elif (
            isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and re.fullmatch(r"swath(\.\w+)+", node.value)
        ):
            yield Import(node.value, node.lineno, False)


def floor_of(name: str) -> str | None:
    """Return the part of a dotted name below ``swath``, or None for the package itself."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 else None


def violation(module: str, found: Import) -> str | None:
    """Say what is wrong with an import of ``module``, or return None."""
    if module in DOORS:
        return None
    here, there = floor_of(module), floor_of(found.target)
    place = f"{module}, line {found.line}"
    if there is None or there in ROOT_NAMES:
        return None if there else f"{place}: import the module that is needed, not all of swath"
    if there not in FLOORS:
        return f"{place}: '{found.target}' is on no floor" if found.written else None
    assert here in FLOORS
    if FLOORS.index(there) > FLOORS.index(here):
        return f"{place}: '{here}' imports upward from '{there}' ({found.target})"
    return None


def resolve(target: str, known: set[str]) -> str | None:
    """Return the longest module that ``target`` names: ``swath.a.b.Name`` is ``swath.a.b``."""
    parts = target.split(".")
    for length in range(len(parts), 0, -1):
        if ".".join(parts[:length]) in known:
            return ".".join(parts[:length])
    return None


def find_cycle(graph: dict[str, set[str]]) -> list[str] | None:
    """Return the nodes of one cycle in walking order, or None."""
    done: set[str] = set()
    for start in graph:
        path: list[str] = []
        stack: list[tuple[str, Iterator[str]]] = []
        if start not in done:
            path.append(start)
            stack.append((start, iter(sorted(graph[start]))))
        while stack:
            node, rest = stack[-1]
            after = next(rest, None)
            if after is None:
                done.add(node)
                path.pop()
                stack.pop()
            elif after in path:
                return [*path[path.index(after) :], after]
            elif after not in done:
                path.append(after)
                stack.append((after, iter(sorted(graph[after]))))
    return None


def module_imports(module: str, path: Path) -> list[Import]:
    return list(imports(path.read_text(encoding="utf-8"), module, path.name == "__init__.py"))


@pytest.mark.parametrize("module", sources())
def test_module_imports_only_from_below(module: str) -> None:
    floor = floor_of(module)
    assert module in DOORS or floor in FLOORS, f"'{floor}' has no place in the house"
    found = module_imports(module, sources()[module])
    assert [message for item in found if (message := violation(module, item))] == []


def test_no_module_is_part_of_a_circle() -> None:
    modules = sources()
    graph: dict[str, set[str]] = {}
    for module, path in modules.items():
        if module in DOORS:
            continue
        graph[module] = {
            other
            for item in module_imports(module, path)
            if item.written and (other := resolve(item.target, set(modules))) is not None
            if other != module and other not in DOORS
        }
    cycle = find_cycle(graph)
    assert cycle is None, "modules import each other: " + " -> ".join(cycle or [])


def test_every_design_floor_is_there() -> None:
    present = {floor_of(module) for module in sources()}
    assert {"core", "data", "tasks", "networks", "training", "spaces", "supernets"} <= present


# The test itself can fail: it sees each form in which an import can hide.


@pytest.mark.parametrize(
    "source",
    [
        "import swath.study.store",
        "import swath.study as s",
        "from swath.study import store",
        "from swath import study",
        "def f():\n    from swath.study.store import Store",
        "if TYPE_CHECKING:\n    from swath.study import Store",
        "try:\n    import swath.study\nexcept ImportError: ...",
        "class A:\n    import swath.study",
        "from ..study import Store",
        "from .. import study",
        "TABLE = {'x': 'swath.study.store'}",
        "importlib.import_module('swath.study')",
        "import swath",
        "from swath import search",
    ],
)
def test_upward_imports_are_seen(source: str) -> None:
    found = list(imports(source, "swath.spaces.hsi3d", is_package=False))
    assert [item for item in found if violation("swath.spaces.hsi3d", item)]


@pytest.mark.parametrize(
    "source",
    [
        "import numpy, swathlike",
        "from swath.core.errors import SwathError",
        "from swath.spaces.choices import Choice",
        "from .choices import Choice",
        "from swath import __version__",
        "TABLE = {'x': 'swath.spaces.hsi3d'}",
        "'''It belongs below swath.study in the house.'''",
        "NAME = 'swath.yaml'",
    ],
)
def test_permitted_imports_are_left_alone(source: str) -> None:
    found = imports(source, "swath.spaces.hsi3d", is_package=False)
    assert [item for item in found if violation("swath.spaces.hsi3d", item)] == []


def test_relative_imports_of_a_package_start_at_itself() -> None:
    (item,) = imports("from .hsi3d import X", "swath.spaces", is_package=True)
    assert item.target == "swath.spaces.hsi3d.X"


def test_cycles_are_found() -> None:
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": set()}) is None
    assert find_cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
    assert find_cycle({"x": {"a"}, "a": {"b"}, "b": {"c"}, "c": {"a"}}) == ["a", "b", "c", "a"]


def test_names_resolve_to_the_module_that_defines_them() -> None:
    known = {"swath", "swath.a", "swath.a.b"}
    assert resolve("swath.a.b.Name", known) == "swath.a.b"
    assert resolve("swath.a.Name", known) == "swath.a"
