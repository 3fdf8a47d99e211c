"""Scenes of several sensors on one grid."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rasterio.crs import CRS
from rasterio.transform import from_origin
from rasterio.warp import transform

from swath.core.errors import DataError
from swath.data.readers import open_scene
from swath.data.scene import Scene, array_scene
from swath.data.stacking import stack_scenes

UTM = CRS.from_epsg(32633).to_wkt()
PLACE = tuple(from_origin(500_000, 5_000_000, 10, 10))[:6]


def scene(rows: int, columns: int, bands: int = 1, **changes: Any) -> Scene:
    cube = np.random.default_rng(bands).normal(size=(rows, columns, bands)).astype(np.float32)
    return array_scene(cube, **{"name": "toy", "crs": UTM, "transform": PLACE, **changes})


def test_bands_follow_one_another_in_the_order_of_the_sensors() -> None:
    s2, s1 = scene(7, 9, 3), scene(7, 9, 2, band_names=("VV", "VH"))
    stack = stack_scenes({"s2": s2, "s1": s1})
    expected = np.concatenate([s2.read(), s1.read()], axis=2).transpose(2, 0, 1)
    np.testing.assert_array_equal(stack.image, expected)
    assert stack.valid.all()
    assert [(s.name, s.bands) for s in stack.sensors] == [
        ("s2", ("band 0", "band 1", "band 2")),
        ("s1", ("VV", "VH")),
    ]


def test_a_pixel_holds_data_where_all_sensors_do() -> None:
    gaps = np.ones((5, 5, 2), np.float32)
    gaps[1, 2, 0] = np.nan
    stack = stack_scenes({"a": array_scene(gaps), "b": scene(5, 5)})
    assert np.argwhere(~stack.valid).tolist() == [[1, 2]]
    assert not stack.image[:, 1, 2].any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"crs": CRS.from_epsg(32632).to_wkt()}, "a lies in EPSG:32633, but b in EPSG:32632"),
        ({"transform": (10.0, 0, 500_010.0, 0, -10.0, 5_000_000.0)}, "begins at .*500000.*500010"),
        ({"transform": (20.0, 0, 500_000.0, 0, -20.0, 5_000_000.0)}, "pixels differ in size"),
    ],
)
def test_other_places_and_systems_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        stack_scenes({"a": scene(6, 6), "b": scene(6, 6, **changes)})


def test_other_sizes_are_refused_and_named() -> None:
    with pytest.raises(DataError, match=r"rgb has 8 x 8 .* but hsi has 4 x 4; ask for .*resample"):
        stack_scenes({"hsi": scene(4, 4), "rgb": scene(8, 8)})


def test_a_rounding_error_in_the_place_is_none() -> None:
    moved = (*PLACE[:2], PLACE[2] + 1e-7, *PLACE[3:])
    assert stack_scenes({"a": scene(6, 6), "b": scene(6, 6, transform=moved)}).valid.all()


def test_resampling_keeps_the_ground() -> None:
    """A plane in map coordinates is the same plane on the other grid, shift and size included."""

    def plane(rows: int, columns: int, place: tuple[float, ...]) -> Scene:
        x = place[2] + place[0] * (np.arange(columns) + 0.5)
        y = place[5] + place[4] * (np.arange(rows) + 0.5)
        cube = (x[None, :] - 500_000) / 10 + (y[:, None] - 5_000_000) / 5
        return array_scene(cube[:, :, None].astype(np.float32), crs=UTM, transform=place)

    fine, coarse = plane(40, 40, PLACE), plane(12, 12, (40.0, 0, 499_990.0, 0, -40.0, 5_000_020.0))
    stack = stack_scenes({"coarse": coarse, "fine": fine}, resample=True)
    inner = (slice(5, 35), slice(5, 35))
    np.testing.assert_allclose(stack.image[0][inner], stack.image[1][inner], atol=0.01)
    assert stack.notes == ("coarse resampled from 12 x 12 pixels onto the grid of fine (40 x 40)",)


def test_reprojection_finds_the_place() -> None:
    """The longitude of each pixel, drawn in degrees, is that of the pixel's middle in metres."""
    wgs = CRS.from_epsg(4326)
    step = 1e-4
    corner = (14.999, 45.156)
    longitudes = corner[0] + step * (np.arange(100) + 0.5)
    cube = np.tile((longitudes - 15) * 1e4, (100, 1))[:, :, None].astype(np.float32)
    place = (step, 0.0, corner[0], 0.0, -step, corner[1])
    degrees = array_scene(cube, crs=wgs.to_wkt(), transform=place)
    metres = scene(101, 101, transform=tuple(from_origin(500_000, 4_999_900, 5, 5))[:6])
    stack = stack_scenes({"m": metres, "d": degrees}, resample=True)
    rows, columns = np.argwhere(stack.valid).T
    assert len(rows) > 5000
    x, y = 500_000 + 5 * (columns + 0.5), 4_999_900 - 5 * (rows + 0.5)
    expected, _ = transform(CRS.from_epsg(32633), wgs, x, y)
    found = stack.image[1, rows, columns] / 1e4 + 15
    np.testing.assert_allclose(found, expected, atol=0.05 * step)


def test_without_a_place_both_cover_the_same_ground(swath_data: Path) -> None:
    """Houston's HSI of 128 x 128 under RGB of 512 x 512: each fourfold pixel keeps its mean."""
    file = swath_data / "houston_crop" / "houston_dataset.mat"
    scenes = {
        "hsi": open_scene(file, variable="hyprImg"),
        "rgb": open_scene(file, variable="rgbImg"),
    }
    stack = stack_scenes(scenes, resample=True)
    assert stack.image.shape == (51, 512, 512)
    assert stack.valid.all()
    blocks = stack.image[:48].reshape(48, 128, 4, 128, 4).mean((2, 4))
    original = scenes["hsi"].read().transpose(2, 0, 1)
    assert np.corrcoef(blocks.ravel(), original.ravel())[0, 1] > 0.99
    np.testing.assert_array_equal(stack.image[48:], scenes["rgb"].read().transpose(2, 0, 1))
