"""Label maps: numbering, names, the way back to the file's values, colours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from swath.core.errors import DataError
from swath.data.labels import LabelMap, palette

SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, max_side=7)
INTEGERS = st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.int64])


@given(
    hnp.arrays(np.int16, SHAPES, elements=st.integers(0, 30)).filter(lambda a: a.any()), INTEGERS
)
def test_values_come_back_whatever_their_gaps(array, dtype):
    labels = LabelMap.from_array(array.astype(dtype))
    assert np.array_equal(labels.to_original(labels.values, array.dtype), array)
    assert sorted(set(labels.values[labels.values >= 0])) == list(range(labels.classes))
    assert list(labels.counts()) == [(array == value).sum() for value in labels.original]


@given(hnp.arrays(np.int16, SHAPES, elements=st.integers(-2, 3)).filter(lambda a: (a != -1).any()))
def test_zero_can_be_a_class(array):
    labels = LabelMap.from_array(array, unlabelled=(-1,))
    assert np.array_equal(labels.to_original(labels.values), array)
    assert (labels.values == -1).sum() == (array == -1).sum()


def test_ignored_value_of_the_way_back():
    labels = LabelMap.from_array([[0, 200], [7, 7]])
    assert labels.to_original(labels.values, np.uint8, ignore=255).tolist() == [[255, 200], [7, 7]]
    assert labels.to_original([1, -1, 0]).tolist() == [200, 0, 7]


def test_values_that_do_not_fit_the_type_are_refused():
    labels = LabelMap.from_array([[300, 7]])
    assert labels.to_original([0], np.uint8).tolist() == [7]
    with pytest.raises(DataError, match=r"300.*uint8"):
        labels.to_original(labels.values, np.uint8)
    with pytest.raises(DataError, match="class 2 is none of the 2"):
        labels.to_original([2])


def test_names_by_a_text_are_refused():
    with pytest.raises(DataError, match=r"label value, a whole number, but '1' is none"):
        LabelMap.from_array([[1, 2]], {"1": "water"})
    assert LabelMap.from_array([[1, 2]], {np.int64(1): "water"}).names == ("water", "class 2")


def test_one_value_without_a_list_may_mean_no_label():
    assert LabelMap.from_array([[0, 1, 255]], unlabelled=255).original == (0, 1)


def test_names_by_order_by_value_and_by_default():
    array = [[0, 10], [14, 1]]
    assert LabelMap.from_array(array, ["a", "b", "c"]).names == ("a", "b", "c")
    assert LabelMap.from_array(array, {10: "corn", 99: "unused"}).names == (
        "class 1",
        "corn",
        "class 14",
    )
    with pytest.raises(DataError, match=r"2 class names.*3 classes.*1, 10, 14"):
        LabelMap.from_array(array, ["a", "b"])


def test_missing_is_unlabelled_whatever_the_value():
    missing = np.array([[True, False], [False, True]])
    labels = LabelMap.from_array(np.array([[3, 3], [5, -7]]), missing=missing)
    assert labels.original == (3, 5)
    assert labels.values.tolist() == [[-1, 0], [1, -1]]
    labels = LabelMap.from_array(np.array([[0.5, 3], [5, -np.inf]]), missing=missing)
    assert labels.values.tolist() == [[-1, 0], [1, -1]]


def test_nan_is_unlabelled():
    labels = LabelMap.from_array(np.array([[np.nan, 2.0], [3.0, 0.0]]))
    assert labels.values.tolist() == [[-1, 0], [1, -1]]


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.zeros((3, 4)), "no pixel of the 3 x 4 label map is labelled"),
        (np.ones((3, 4, 2)), "not 3 x 4 x 2"),
        (np.array([[0.5, 1]]), "0.5"),
        (np.array([[1j, 1]]), "complex128"),
        (np.array([["a"]]), "whole numbers"),
        (np.array([[2**63 + 1]], dtype=np.uint64), "too large"),
        (np.array([[np.inf, 1]]), "inf"),
    ],
)
def test_arrays_that_are_no_label_map(array, says):
    with pytest.raises(DataError, match=says):
        LabelMap.from_array(array)


def test_parts_must_fit_together():
    with pytest.raises(DataError, match="do not match"):
        LabelMap(np.zeros((1, 1), dtype=np.int64), (1,), ("a", "b"))
    with pytest.raises(DataError, match="hold"):
        LabelMap(np.full((1, 1), 5, dtype=np.int64), (1,), ("a",))


@pytest.mark.parametrize("count", [1, 16, 24, 60])
def test_colours_are_distinct_and_stable(count):
    colours = palette(count)
    assert len(set(colours)) == count
    assert palette(count + 5)[:count] == colours
    assert all(0 <= part <= 255 for colour in colours for part in colour)
    assert not {(0, 0, 0), (255, 255, 255)} & set(colours)
    if count <= 24:
        points = np.array(colours, dtype=float)
        distances = np.linalg.norm(points[:, None] - points[None], axis=2)
        assert count == 1 or distances[~np.eye(count, dtype=bool)].min() > 35


def test_label_map_gives_a_colour_a_class():
    assert len(LabelMap.from_array([[1, 5, 9]]).colours) == 3
