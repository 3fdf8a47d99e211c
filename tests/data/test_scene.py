"""Scenes: windows, missing pixels, metadata that must fit."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.core.errors import DataError
from swath.data.labels import LabelMap
from swath.data.scene import array_scene


@pytest.fixture
def cube():
    return np.random.default_rng(0).integers(1, 1000, (5, 7, 4)).astype(np.uint16)


def test_reading_whole_and_in_windows(cube):
    scene = array_scene(cube, name="x")
    assert scene.shape == (5, 7, 4)
    assert scene.read().dtype == np.float32
    assert np.array_equal(scene.read(), cube)
    assert np.array_equal(scene.read(slice(1, 3), slice(2, 6)), cube[1:3, 2:6])
    assert np.array_equal(scene.read(slice(-2, None)), cube[-2:])
    assert scene.read(slice(3, 3)).shape == (0, 7, 4)
    assert scene.read().flags.c_contiguous


def test_used_bands_in_their_order(cube):
    scene = array_scene(cube, bands=(3, 0))
    assert np.array_equal(scene.read(), cube[:, :, [3, 0]])
    assert scene.shape == (5, 7, 2)


def test_pixels_without_data_are_zero(cube):
    cube = cube.astype(np.float64)
    cube[0, 0, 1] = np.nan
    cube[1, 1, 2] = -np.inf
    cube[2, 2, 3] = -9999
    scene = array_scene(cube, nodata=-9999)
    expected = np.ones((5, 7), dtype=bool)
    expected[[0, 1, 2], [0, 1, 2]] = False
    pixels, valid = scene.read_valid()
    assert np.array_equal(valid, expected)
    assert np.array_equal(scene.valid(slice(1, 3)), expected[1:3])
    assert not pixels[~expected].any()
    assert np.allclose(pixels[expected], cube[expected])
    one_band = array_scene(cube, bands=(0,), nodata=-9999)
    assert one_band.valid().all()


@pytest.mark.parametrize(
    ("dtype", "nodata", "stored"),
    [
        (np.float32, -3.4028234663852886e38, np.float32(-3.4028234663852886e38)),
        (np.float32, 0.1, np.float32(0.1)),
        (np.uint8, 255, 255),
        (np.uint16, -9999, None),
        (np.int16, 0.5, None),
        (np.float32, float("nan"), np.nan),
        (np.uint8, float("nan"), None),
    ],
)
def test_no_data_is_compared_in_the_stored_type(dtype, nodata, stored):
    cube = np.ones((2, 2, 1), dtype=dtype)
    if stored is not None:
        cube[0, 0, 0] = stored
    assert array_scene(cube, nodata=nodata).valid().sum() == (4 if stored is None else 3)


def test_values_beyond_float32_are_no_data():
    assert not array_scene(np.full((1, 1, 1), 1e300)).valid().any()


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), st.integers(1, 60))
def test_windows_cover_each_pixel_once(rows, columns, bands, values):
    seen = np.zeros((rows, columns), dtype=int)
    for window in array_scene(np.ones((rows, columns, bands))).windows(values):
        seen[window] += 1
        assert seen[window].size * bands <= max(values, columns * bands)
    assert (seen == 1).all()


def test_labels_of_another_size_name_both(cube):
    with pytest.raises(DataError, match=r"5 x 7 .*labels have 7 x 5"):
        array_scene(cube, np.ones((7, 5)))
    scene = array_scene(cube).with_labels(LabelMap.from_array(np.ones((5, 7))))
    assert scene.labels is not None
    assert scene.labels.classes == 1
    assert scene.with_labels(None).labels is None


@pytest.mark.parametrize(
    ("array", "says"),
    [
        (np.ones(3), "rows, columns, bands"),
        (np.ones((0, 3, 2)), "rows, columns, bands"),
        (np.ones((2, 2, 2), dtype=complex), "complex numbers"),
        (np.full((2, 2, 2), None), "object"),
    ],
)
def test_arrays_that_are_no_image(array, says):
    with pytest.raises(DataError, match=says):
        array_scene(array)


def test_metadata_must_fit(cube):
    with pytest.raises(DataError, match="2 wavelengths for 4 bands"):
        array_scene(cube, wavelengths=(1.0, 2.0))
    with pytest.raises(DataError, match="no band 4"):
        array_scene(cube, bands=(4,))
    with pytest.raises(ValueError, match="steps"):
        array_scene(cube).read(slice(0, 5, 2))


def test_a_plane_is_one_band_and_scenes_travel(cube):
    scene = array_scene(cube[:, :, 0])
    assert scene.shape == (5, 7, 1)
    assert np.array_equal(pickle.loads(pickle.dumps(scene)).read(), scene.read())
