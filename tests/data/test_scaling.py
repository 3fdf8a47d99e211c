"""Scaling, against NumPy on the whole array."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.core.errors import DataError, MismatchError, RecipeError
from swath.data.scaling import Scaling, fit_scaling
from swath.data.scene import Scene, array_scene


@pytest.fixture
def cube():
    return np.random.default_rng(0).normal(5, 2, (20, 9, 3)) * [1, 10, 100]


def test_kinds_against_numpy(cube):
    scene = array_scene(cube)
    pixels = cube.reshape(-1, 3)
    standard = fit_scaling(scene, "standard").apply(cube).reshape(-1, 3)
    assert np.allclose(standard, (pixels - pixels.mean(0)) / pixels.std(0), atol=1e-5)
    unit = fit_scaling(scene, "minmax").apply(cube).reshape(-1, 3)
    assert np.allclose(unit.min(0), 0, atol=1e-6)
    assert np.allclose(unit.max(0), 1, atol=1e-6)
    assert np.allclose(fit_scaling(scene, "max").apply(cube), cube / cube.max(), rtol=1e-5)
    assert np.allclose(fit_scaling(scene, "none").apply(cube), cube)


def test_whitening_against_the_formulas(cube):
    from scipy.linalg import inv, sqrtm

    mixed = 1000 + cube @ np.array([[1, 0.5, 0.2], [0, 1, 0.9], [0, 0, 0.1]])
    pixels = mixed.reshape(-1, 3)
    floor = 0.1 * np.mean([np.std(x) for x in pixels])
    shapes = np.array([(x - np.mean(x)) / np.hypot(np.std(x), floor) for x in pixels])
    light = np.array([np.mean(x) for x in pixels])
    inputs = (shapes - shapes.mean(0)) / shapes.std(0)
    inputs += 0.3 * ((light - light.mean()) / light.std())[:, None]
    expected = inputs / inputs.std(0) @ inv(sqrtm(np.corrcoef(inputs.T) + 0.1 * np.eye(3)))
    whitened = fit_scaling(array_scene(mixed), "whitened").apply(mixed).reshape(-1, 3)
    assert np.allclose(whitened, expected, atol=2e-3)


def test_whitening_takes_light_and_shade_for_one_direction_among_others():
    rng = np.random.default_rng(0)
    which = rng.integers(4, size=(40, 40))
    cube = rng.uniform(200, 900, (4, 30))[which] * rng.uniform(0.5, 1.5, (40, 40, 1))
    cube += rng.normal(0, 0.1, cube.shape)

    def spread(kind):
        """Mean distance of a pixel from its material's mean, beside that of the materials."""
        scaled = fit_scaling(array_scene(cube), kind).apply(cube)
        centres = np.array([scaled[which == k].mean(0) for k in range(4)])
        within = np.linalg.norm(scaled - centres[which], axis=-1).mean()
        return within / np.linalg.norm(centres - centres.mean(0), axis=-1).mean()

    assert spread("whitened") < 0.5 * spread("standard")


def test_dark_and_empty_spectra_stay_finite():
    cube = np.random.default_rng(0).normal(500, 90, (9, 9, 6))
    cube[0] = 0
    cube[1] = np.random.default_rng(1).normal(0, 1e-3, (9, 6))
    scaled = fit_scaling(array_scene(cube), "whitened").apply(cube)
    assert np.isfinite(scaled).all()
    bright = np.ptp(scaled[2:], axis=(0, 1))
    assert (np.ptp(scaled[1], axis=0) < 0.1 * bright).all()  # noise is not blown up
    flat = np.full((4, 4, 3), 7.0)
    assert np.isfinite(fit_scaling(array_scene(flat), "whitened").apply(flat)).all()


@given(st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_moments_do_not_depend_on_the_windows(values, seed):
    cube = np.random.default_rng(seed).normal(1000, 0.5, (11, 4, 2))

    class Strips(Scene):
        def windows(self, values: int = values):
            return super().windows(values)

    whole = fit_scaling(array_scene(cube), "standard")
    parts = fit_scaling(Strips("x", array_scene(cube).source), "standard")
    assert np.allclose(parts.offset, whole.offset, rtol=1e-9)
    assert np.allclose(parts.scale, whole.scale, rtol=1e-6)
    white = fit_scaling(array_scene(cube), "whitened")
    again = fit_scaling(Strips("x", array_scene(cube).source), "whitened")
    assert np.allclose(again.apply(cube), white.apply(cube), atol=1e-3)


def test_missing_pixels_count_for_nothing(cube):
    holed = cube.copy()
    holed[3, 4, 1] = np.nan
    holed[5] = -9999
    seen = np.ones(cube.shape[:2], dtype=bool)
    seen[3, 4], seen[5] = False, False
    scene = array_scene(holed, nodata=-9999)
    scaling = fit_scaling(scene, "standard")
    assert np.allclose(scaling.offset, cube[seen].mean(0), rtol=1e-5)
    pixels, valid = scene.read_valid()
    scaled = scaling.apply(pixels, valid)
    assert not scaled[~seen].any()
    assert np.isfinite(scaled).all()


def test_constant_bands_keep_scale_one():
    scene = array_scene(np.full((3, 3, 2), 7.0))
    assert fit_scaling(scene, "standard").scale == (1.0, 1.0)
    assert fit_scaling(scene, "minmax").scale == (1.0, 1.0)


@pytest.mark.parametrize("kind", ["standard", "whitened"])
def test_json_round_trip(cube, kind):
    scaling = fit_scaling(array_scene(cube), kind)
    assert Scaling.from_dict(json.loads(json.dumps(scaling.to_dict()))) == scaling
    for wrong in (
        {},
        {"kind": "log", "offset": [], "scale": []},
        {**scaling.to_dict(), "scale": 1},
        {**scaling.to_dict(), "mixing": "AAAA"},
        {**scaling.to_dict(), "brightness": [1.0]},
    ):
        with pytest.raises(DataError, match="not a scaling"):
            Scaling.from_dict(wrong)


def test_what_cannot_be_scaled(cube):
    with pytest.raises(DataError, match="standard"):
        fit_scaling(array_scene(-np.abs(cube)), "max")
    with pytest.raises(DataError, match="no pixel"):
        fit_scaling(array_scene(np.full((2, 2, 1), np.nan)), "max")
    with pytest.raises(MismatchError, match=r"3 bands.*has 2"):
        fit_scaling(array_scene(cube)).apply(cube[..., :2])
    with pytest.raises(RecipeError, match="standard"):
        fit_scaling(array_scene(cube), "standart")  # type: ignore[arg-type]


@pytest.mark.parametrize("unit", [1e-27, 1e14])
def test_spectra_whose_squares_32_bits_cannot_hold_are_not_whitened(cube, unit):
    scene = array_scene(cube * unit)
    with pytest.raises(DataError, match="another unit"):
        fit_scaling(scene, "whitened")
    assert np.isfinite(fit_scaling(scene, "standard").apply(scene.read())).all()
