"""The command that measures a machine and compares it with another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swath.training import speed

RATES = {
    "gemm_float32": 100.0,
    "gemm_bfloat16": 400.0,
    "convolution_float32": 200.0,
    "convolution_bfloat16": 500.0,
    "copy": 10.0,
    "train_float32": 3000.0,
    "train_bfloat16": 6000.0,
    "import_seconds": 0.02,
}
MACHINE = {
    "processor": "Z80",
    "cores": 3,
    "threads": 2,
    "load_before": 0.1,
    "environment": {},
    "python": "3.11.0",
    "torch": "2.6.0",
    "numpy": "2.0.0",
    "swath": "0.1.0",
}


@pytest.fixture
def half(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """This machine measures RATES; the file holds one half as fast at everything."""
    monkeypatch.setattr(speed, "measured", lambda: {"machine": MACHINE, "rates": RATES})
    path = tmp_path / "half.json"
    rates = {name: rate / 2 for name, rate in RATES.items()}
    path.write_text(json.dumps({"machine": {**MACHINE, "processor": "6502"}, "rates": rates}))
    return path


def test_figures_stand_beside_those_of_a_file(cli: Any, half: Path, tmp_path: Path) -> None:
    result = cli("bench", "--compare", half)
    assert result.status == 0, result.err
    lines = [line for line in result.out.splitlines() if "GFLOP/s" in line or "/s" in line]
    assert len(lines) >= 7
    assert all(line.split()[-1] == "2.00" for line in lines)
    assert "6502" in result.err
    alone = cli("bench", "--out", tmp_path / "mine.json", "--json")
    assert json.loads(alone.out) == {"machine": MACHINE, "rates": RATES}
    assert speed.stored(tmp_path / "mine.json") == json.loads(alone.out)


def test_figures_of_a_machine_come_with_swath(cli: Any, half: Path) -> None:
    result = cli("bench", "--compare", "--json")
    assert result.status == 0, result.err
    other = json.loads(result.out)["other"]
    assert set(other["rates"]) == set(RATES)
    assert set(other["machine"]) == set(MACHINE)


def test_what_cannot_be_compared_is_said(cli: Any, half: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text("[1]")
    for words, reason in (
        (["--compare", other], "holds no figures of a machine"),
        (["--compare", tmp_path / "none.json"], "cannot read"),
        ([half], "say --compare"),
    ):
        result = cli("bench", *words)
        assert result.status == 2
        assert reason in result.err


def test_every_figure_is_measured() -> None:
    found = speed.measured(1)
    assert set(found["rates"]) == set(RATES)
    assert set(found["machine"]) == set(MACHINE)
    assert all(rate > 0 for rate in found["rates"].values())
