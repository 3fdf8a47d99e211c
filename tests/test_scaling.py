"""What `benchmarks/scaling.py` counts and computes, and that its page has its figures."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import torch
from benchmark_scripts import FOLDER, script
from torch import nn

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def scaling() -> Iterator[ModuleType]:
    """The script, with those beside it."""
    with script("scaling") as module:
        yield module


def test_operations_and_bytes_are_those_of_the_arithmetic(scaling: ModuleType) -> None:
    a, b = torch.randn(7, 11), torch.randn(11, 13)
    flops, moved = scaling.counted(lambda: a @ b)
    assert flops == 2 * 7 * 11 * 13
    assert moved == 4 * (7 * 11 + 11 * 13 + 7 * 13)
    # a view moves nothing but where it must be copied, what is allocated is not written, and what
    # is expanded is as it is stored
    flops, moved = scaling.counted(
        lambda: (a.t().reshape(77), torch.empty(99), a + torch.ones(1).expand(7, 11))
    )
    assert flops == 0
    ones, copied, added = 4, 2 * 4 * 7 * 11, 4 * (2 * 7 * 11 + 1)
    assert moved == ones + copied + added


def test_a_backward_pass_counts_as_well(scaling: ModuleType) -> None:
    """It multiplies twice: by the weights, and by the inputs."""
    layer, x = nn.Linear(11, 13, bias=False), torch.randn(7, 11, requires_grad=True)
    flops, _ = scaling.counted(lambda: layer(x).sum().backward())
    assert flops == 3 * 2 * 7 * 11 * 13


def test_a_mixture_computes_its_first_operators_alone(scaling: ModuleType) -> None:
    """One operator more costs what a step with it and a step without it differ by."""
    flops = [scaling.counted(scaling.supernet("full", k, 8, 1))[0] for k in (1, 2, 6)]
    assert flops[0] < flops[1] < flops[2]
    sampled = [scaling.counted(scaling.supernet("sampled", k, 8, 1))[0] for k in (1, 6)]
    assert sampled[1] / scaling.STEPS < flops[1]  # one operator an edge, whatever their number


def test_the_limit_is_the_slower_of_computing_and_moving(scaling: ModuleType) -> None:
    rates = {"gemm_float32": 100.0, "convolution_float32": 200.0, "copy": 10.0}
    assert scaling.least_seconds(1e12, 1e9, rates, "gemm") == (10.0, "operations")
    assert scaling.least_seconds(1e12, 1e9, rates, "convolution") == (5.0, "operations")
    assert scaling.least_seconds(1e9, 1e12, rates, "gemm") == (100.0, "bytes")
    assert scaling.least_seconds(None, 1e12, rates, "gemm") is None


def test_rows_say_how_far_from_the_limit_and_how_fast_they_grow(scaling: ModuleType) -> None:
    now = [0.0]

    def work(seconds: float) -> None:
        now[0] += seconds

    rates = {"gemm_float32": 100.0, "convolution_float32": 200.0, "copy": 10.0}
    cases = [
        scaling.Case("form", at, lambda at=at: work(2.0 * at**1.5), 10, 1e11 * at, 0)
        for at in (1, 4)
    ]
    rows = scaling.measure(cases, 3, lambda: now[0], rates)
    assert [row["seconds"] for row in rows] == [2.0, 16.0]
    assert [row["share_of_gemm_limit"] for row in rows] == [0.5, 0.25]
    assert [row["share_of_convolution_limit"] for row in rows] == [0.25, 0.125]
    assert math.isclose(scaling.growth(rows, "form"), 1.5)
    text = scaling.table("bands", rows)
    assert (
        "| form | 4 | 16 (16 to 16) | 1,600,000 | 40 G | 0 | 25 % | 12.5 % | operations |" in text
    )
    assert "form 1.50." in text


def test_the_page_has_the_tables_of_the_results(scaling: ModuleType) -> None:
    results = json.loads((FOLDER / "results" / "scaling.json").read_text("utf-8"))
    assert list(results) == list(scaling.SECTIONS)
    page = (ROOT / "docs" / "scaling.md").read_text("utf-8")
    assert scaling.page(results) in page
