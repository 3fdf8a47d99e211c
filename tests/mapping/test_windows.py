"""How scenes are cut, against counting pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.mapping.windows import context_windows, halo_windows, published_starts
from swath.networks.receptive_field import Halo

halos = st.builds(
    Halo,
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.integers(0, 9),
    st.sampled_from([1, 1, 2, 4]),
)


@pytest.mark.parametrize(
    ("length", "crop", "step", "expected"),
    [
        (145, 32, 32, (0, 32, 64, 96, 113)),
        (145, 48, 24, (0, 24, 48, 72, 96, 97)),
        (64, 32, 32, (0, 32)),
        (32, 32, 32, (0,)),
        (20, 32, 32, (0,)),
        (33, 32, 16, (0, 1)),
    ],
)
def test_published_starts_by_hand(
    length: int, crop: int, step: int, expected: tuple[int, ...]
) -> None:
    assert published_starts(length, crop, step) == expected


@given(st.integers(1, 200), st.integers(1, 60), st.data())
def test_published_starts_cover_all_within_the_scene(
    length: int, crop: int, data: st.DataObject
) -> None:
    step = data.draw(st.integers(1, crop))
    starts = published_starts(length, crop, step)
    seen = np.zeros(length, dtype=int)
    for start in starts:
        seen[start : start + crop] += 1
    assert (seen > 0).all()
    assert list(starts) == sorted(set(starts))
    assert starts[-1] + min(crop, length) == length


def test_starts_refuse_sizes_below_one() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        published_starts(10, 0, 1)
    with pytest.raises(ValueError, match="at least 1"):
        list(halo_windows(10, 10, 0, Halo(1, 1, 1, 1)))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 40), halos)
def test_cores_cover_each_pixel_once_and_see_their_halo(
    rows: int, columns: int, size: int, halo: Halo
) -> None:
    seen = np.zeros((rows, columns), dtype=int)
    pixels = np.arange(rows * columns).reshape(rows, columns)
    for window in halo_windows(rows, columns, size, halo):
        seen[window.rows, window.columns] += 1
        read = pixels[window.read_rows, window.read_columns]
        assert read.shape == window.read_shape
        assert (read[window.inner] == pixels[window.rows, window.columns]).all()
        assert window.read_rows.start <= max(0, window.rows.start - halo.top)
        assert window.read_rows.stop >= min(rows, window.rows.stop + halo.bottom)
        assert window.read_columns.start <= max(0, window.columns.start - halo.left)
        assert window.read_columns.stop >= min(columns, window.columns.stop + halo.right)
        assert window.read_rows.start >= 0
        assert window.read_rows.stop <= rows
        assert window.read_columns.start >= 0
        assert window.read_columns.stop <= columns
        assert window.read_rows.start % halo.stride == window.read_columns.start % halo.stride == 0
    assert (seen == 1).all()


@given(st.integers(1, 90), st.integers(1, 40))
def test_context_windows_answer_each_pixel_once_and_far_from_their_edges(
    length: int, context: int
) -> None:
    seen = np.zeros((length, 3), dtype=int)
    for window in context_windows(length, 3, context):
        seen[window.rows, window.columns] += 1
        assert window.read_shape == (min(context, length), min(context, 3))
        before = window.rows.start - window.read_rows.start
        after = window.read_rows.stop - window.rows.stop
        margin = context // 4
        assert window.read_rows.start == 0 or before >= margin
        assert window.read_rows.stop == length or after >= margin
        # on the grid from the top, or flush with the border
        step = max(1, context - 2 * margin)
        assert window.read_rows.start % step == 0 or window.read_rows.stop == length
    assert (seen == 1).all()
