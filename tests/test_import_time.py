"""``import swath`` stays cheap: what is slow to import is imported where it is used."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = {
    "dask",
    "distributed",
    "h5py",
    "matplotlib",
    "optuna",
    "pandas",
    "pydantic",
    "rasterio",
    "rich",
    "scipy",
    "sklearn",
    "torch",
    "typer",
}

CORE = ["architecture", "devices", "errors", "evaluation", "files", "registry", "seeds"]


def imported_by(statement: str) -> set[str]:
    """Return the top-level modules loaded by a new interpreter that runs ``statement``."""
    program = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    return set(result.stdout.split())


def test_the_measure_sees_imports() -> None:
    assert "scipy" in imported_by("import scipy")


def test_import_swath_loads_nothing_heavy() -> None:
    assert imported_by("import swath") & HEAVY == set()


def test_listing_the_public_names_loads_nothing_heavy() -> None:
    assert imported_by("import swath; dir(swath); swath.__version__") & HEAVY == set()


@pytest.mark.parametrize("name", CORE)
def test_core_loads_nothing_heavy(name: str) -> None:
    assert imported_by(f"import swath.core.{name}") & HEAVY == set()


def test_running_the_module_shows_the_commands() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "swath", "--help"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert "search" in result.stdout


def test_unknown_attribute_is_refused_by_name() -> None:
    import swath

    with pytest.raises(AttributeError, match="no_such_name"):
        _ = swath.no_such_name
