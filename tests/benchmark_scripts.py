"""The scripts in benchmarks/, to be tested."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

__all__ = ["FOLDER", "script"]

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks"


@contextlib.contextmanager
def script(name: str) -> Iterator[ModuleType]:
    """Import a script, which may take from those beside it; forget all of them afterwards."""
    before = dict(sys.modules)
    for path in FOLDER.glob("*.py"):
        sys.modules.pop(path.stem, None)  # tests/mapping has the name of a script
    sys.path.insert(0, str(FOLDER))
    try:
        spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.remove(str(FOLDER))
        for path in FOLDER.glob("*.py"):
            sys.modules.pop(path.stem, None)
            if path.stem in before:
                sys.modules[path.stem] = before[path.stem]
