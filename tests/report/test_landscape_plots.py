"""Pictures of landscapes: values where they belong, gaps where there are none."""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from pathlib import Path

import numpy as np
import pytest

from swath import spaces
from swath.landscape import Footprint, Measure, footprint, of_mapping
from swath.report.landscape_page import best_family, cell, reasons, write_landscape_page
from swath.report.landscape_plots import (
    AXES,
    cumulative_chart,
    density_chart,
    distance_chart,
    persistence_chart,
    radar,
    walk_chart,
)


@pytest.fixture(scope="module")
def found() -> Footprint:
    space = spaces.create("nasbenchmacro")
    rng = np.random.default_rng(0)
    start = space.sample(rng)
    models = dict.fromkeys(
        [start, *space.neighbours(start), *(space.sample(rng) for _ in range(50))]
    )
    kept = {one: sum(value != "identity" for _, value in one.genes) for one in models}
    values = {one: 0.2 + 0.07 * layers + 0.05 * rng.random() for one, layers in kept.items()}
    later = {one: min(0.95, value + 0.1 * rng.random()) for one, value in values.items()}
    landscape = of_mapping(space, later, name="own <name>", stages={4: values, 12: later})
    return footprint(landscape, walks=4, steps=200, resamples=30, rounds=2, starts=20)


def with_measures(found: Footprint, **measures: Measure) -> Footprint:
    return dataclasses.replace(found, measures={**found.measures, **measures})


def points(picture: str, colour: int) -> list[tuple[float, float]]:
    dots = re.findall(rf'class="dot s{colour}" cx="([\d.]+)" cy="([\d.]+)"', picture)
    return [(float(x), float(y)) for x, y in dots]


def test_radar_draws_every_measure_at_its_distance(found: Footprint) -> None:
    half = {
        name: Measure(one.value / 2)
        for name in AXES
        if (one := found.measures[name]).value is not None
    }
    picture = radar([found, with_measures(found, **half)])
    whole, halves = points(picture, 0), points(picture, 1)
    assert len(whole) == len(halves) == len(AXES)
    centre = (380.0, float(re.findall(r'd="M380\.0 ([\d.]+)L', picture)[0]))
    for (x, y), (hx, hy) in zip(whole, halves, strict=True):
        far, near = math.dist((x, y), centre), math.dist((hx, hy), centre)
        assert far == pytest.approx(2 * near, abs=0.3)
    ends = re.findall(r">0 to ([\d.e+]+)<", picture)
    assert len(ends) == len(AXES)
    for name, end in zip(AXES, ends, strict=True):
        one = found.measures[name]
        assert max(x for x in (one.value, one.high) if x is not None) <= float(end)
    assert "own &lt;name&gt;" in picture


def test_radar_has_a_gap_where_nothing_is_known(found: Footprint) -> None:
    unknown = Measure(None, note="known at one budget")
    names = [name for name in AXES if "positive" in name or "negative" in name]
    picture = radar([with_measures(found, **dict.fromkeys(names, unknown))])
    assert len(points(picture, 0)) == 4
    assert picture.count("not known") == 4
    sides = re.findall(r'class="line s0" d="(M[^"]*)"', picture)[0]
    assert sides.count("M") == 3  # three sides between four corners, none across the gap


def test_figures_of_another_scale_leave_mean_and_deviation_alone(found: Footprint) -> None:
    large = dataclasses.replace(
        with_measures(found, mean=Measure(2e6), deviation=Measure(1e5)),
        curves=dataclasses.replace(found.curves, quantiles=[0.0, 4e6]),
    )
    assert len(points(radar([found, large]), 1)) == len(AXES) - 2
    assert len(points(radar([large]), 0)) == len(AXES)


def test_distances_have_a_box_each(found: Footprint) -> None:
    picture = distance_chart(found)
    assert picture is not None
    assert picture.count("<rect") == len(found.curves.boxes)
    assert picture.count("<circle") <= len(found.curves.dots)
    heights = [float(h) for h in re.findall(r'<rect[^>]*height="([\d.]+)"', picture)]
    spans = [box.three_quarters - box.quarter for box in found.curves.boxes]
    wide = [(s, h) for s, h in zip(spans, heights, strict=True) if s > 0.02]
    for (s1, h1), (s2, h2) in itertools.pairwise(wide):
        assert s1 / s2 == pytest.approx(h1 / h2, rel=0.15)


def test_persistence_is_drawn_only_where_there_is_one(found: Footprint) -> None:
    picture = persistence_chart(found)
    assert picture is not None
    assert "budgets 4, 12" in picture
    assert "by chance" in picture
    none = dataclasses.replace(found, curves=dataclasses.replace(found.curves, positive=[]))
    assert persistence_chart(none) is None


@pytest.mark.parametrize("last", [0.3, 0.1 + 0.2])  # which are equal up to rounding
def test_a_constant_landscape_has_no_distribution_but_a_page(last: float, tmp_path: Path) -> None:
    space = spaces.create("nasbenchmacro")
    start = space.sample(np.random.default_rng(0))
    models = [start, *space.neighbours(start)]
    fitness = {**dict.fromkeys(models, 0.3), models[-1]: last}
    flat = of_mapping(space, fitness, neighbourhood="space")
    one = footprint(flat, walks=2, steps=5, resamples=5)
    assert density_chart(one) is None
    assert cumulative_chart(one) is None
    assert walk_chart(one) is not None
    assert best_family(one) == "–"
    write_landscape_page([one], tmp_path / "flat.html")
    text = (tmp_path / "flat.html").read_text()
    assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    assert any("the same" in line for line in reasons([one]))


def test_the_page_has_all_measures_and_no_request(found: Footprint, tmp_path: Path) -> None:
    write_landscape_page([found, found], tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text()
    assert text.count(cell(found.measures["mean"])) == 2
    assert "2 landscapes" in text
    assert "http" not in text.replace("http-equiv", "")
    assert "<name>" not in text


@pytest.mark.parametrize(
    ("measure", "expected"),
    [
        (None, "–"),
        (Measure(None, note="why"), "–"),
        (Measure(0.12346), "0.1235"),
        (Measure(0.5, 0.25, None), "0.5 [0.25, …]"),
        (Measure(1234567.8), "1,234,568"),
        (Measure(24.0), "24"),
    ],
)
def test_cells(measure: Measure | None, expected: str) -> None:
    assert cell(measure) == expected


def test_an_axis_that_ends_at_nothing_has_no_line(found: Footprint) -> None:
    picture = radar([with_measures(found, deviation=Measure(4e-17))])
    assert picture.count("not known") == 1
    assert len(points(picture, 0)) == len(points(radar([found]), 0)) - 1
