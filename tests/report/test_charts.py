"""Charts put values where they belong; images come back pixel for pixel."""

import base64
import io
import math
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.report.charts import Mark, Panel, Series, heat_panels, line_chart, ticks
from swath.report.images import data_uri, indexed_png


def points(chart: str, line: int = 0) -> list[tuple[float, float]]:
    path = re.findall(r'class="line s\d" d="M([\d.L -]+)"', chart)[line]
    return [(float(x), float(y)) for x, y in (pair.split() for pair in path.split("L"))]


def test_lines_keep_order_and_proportion() -> None:
    chart = line_chart([Series("a", [0, 1, 2, 3], [0.0, 0.5, 1.0, 0.25])], title="t", x_label="x")
    assert chart is not None
    (x0, y0), (x1, y1), (x2, y2), (_, y3) = points(chart)
    assert math.isclose(x1 - x0, x2 - x1, abs_tol=0.11)
    assert math.isclose((y0 - y1) * 2, y0 - y2, abs_tol=0.31)  # larger is higher on the page
    assert math.isclose((y0 - y3) * 4, y0 - y2, abs_tol=0.51)


def test_gaps_are_left_out_and_nothing_gives_no_chart() -> None:
    chart = line_chart(
        [Series("a", [0, 1, 2, 3], [1.0, None, math.nan, 2.0])], title="t", x_label="x"
    )
    assert chart is not None
    assert len(points(chart)) == 2
    assert "nan" not in chart
    assert line_chart([Series("a", [0, 1], [None, None])], title="t", x_label="x") is None
    one = line_chart([Series("a", [5], [0.0])], title="t", x_label="x", mark=Mark(5, 0.0, "here"))
    assert one is not None
    assert "here" in one


def test_a_wide_range_is_logarithmic_and_says_so() -> None:
    chart = line_chart([Series("a", [0, 1, 2], [10.0, 1.0, 0.1])], title="loss", x_label="x")
    assert chart is not None
    assert "loss (log scale)" in chart
    (_, y0), (_, y1), (_, y2) = points(chart)
    assert math.isclose(y1 - y0, y2 - y1, abs_tol=0.11)


def test_long_histories_are_averaged() -> None:
    chart = line_chart([Series("a", range(50_000), [1.0] * 50_000)], title="t", x_label="x")
    assert chart is not None
    assert len(chart) < 30_000


@given(
    st.floats(-1e6, 1e6, allow_nan=False), st.floats(1e-3, 1e6, allow_nan=False), st.integers(3, 8)
)
def test_ticks_are_few_even_and_inside(low: float, span: float, about: int) -> None:
    high = low + span
    values = ticks(low, high, about)
    assert 1 <= len(values) <= 2 * about + 1
    room = 1e-6 * span + 1e-9
    assert all(low - room <= value <= high + room for value in values)
    if len(values) > 2:
        assert np.allclose(np.diff(values), values[1] - values[0], atol=room)


@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.integers(1, 30))
def test_png_is_read_back_by_another_decoder(seed: int, rows: int, columns: int) -> None:
    image = pytest.importorskip("PIL.Image")
    rng = np.random.default_rng(seed)
    palette = [tuple(int(v) for v in colour) for colour in rng.integers(0, 256, (200, 4))]
    indices = rng.integers(0, 200, (rows, columns))
    decoded = np.asarray(image.open(io.BytesIO(indexed_png(indices, palette))).convert("RGBA"))
    assert (decoded == np.array(palette)[indices]).all()


def test_png_refuses_what_it_cannot_hold() -> None:
    with pytest.raises(ValueError, match="palette"):
        indexed_png(np.zeros((2, 2), int), [(0, 0, 0, 255)] * 257)
    with pytest.raises(ValueError, match="outside"):
        indexed_png(np.ones((2, 2), int), [(0, 0, 0, 255)])
    with pytest.raises(ValueError, match="rows, columns"):
        indexed_png(np.zeros((0, 2), int), [(0, 0, 0, 255)])
    assert base64.b64decode(data_uri(b"abc").split(",")[1]) == b"abc"


def test_heat_strips_colour_by_distance_from_the_middle() -> None:
    image = pytest.importorskip("PIL.Image")
    values = np.array([[0.5, 0.5, 0.9], [0.5, 0.3, 0.1]])
    drawing = heat_panels(
        [[Panel("edge", values, outlined=(1,))]], rows=["a", "b"], groups=["node 0"], steps=(1, 3),
        reach=0.4, middle=0.5, title="alpha",
    )  # fmt: skip
    png = base64.b64decode(re.search(r"base64,([^\"]+)", drawing)[1])
    pixels = np.asarray(image.open(io.BytesIO(png)).convert("RGBA")).astype(int)
    assert pixels.shape == (2, 3, 4)
    assert (pixels[..., 3] == [[0, 0, 254], [0, 128, 254]]).all()
    assert pixels[0, 2, 2] > pixels[0, 2, 0]  # above: blue
    assert pixels[1, 2, 0] > pixels[1, 2, 2]  # below: orange
    assert drawing.count('class="outline"') == 1
