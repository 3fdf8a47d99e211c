"""Folders of GeoTIFFs, a class each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from rasterio.transform import from_origin

from swath.core.errors import DataError
from swath.data.patch_folders import open_patch_folders
from swath.data.patch_set import Sensor

Array = npt.NDArray[Any]


def write_tif(path: Path, bands: Array, size: float = 10.0, crs: str | None = "EPSG:32633") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    count, rows, columns = bands.shape
    with rasterio.open(
        path,
        "w",
        driver="GTiff",
        count=count,
        height=rows,
        width=columns,
        dtype=bands.dtype,
        crs=crs,
        transform=from_origin(500_000, 5_000_000, size, size),
    ) as file:
        file.write(bands)


def folders(root: Path) -> dict[str, Array]:
    """Write two sensors of two classes; return the stacked patches by class and name."""
    rng = np.random.default_rng(1)
    written = {}
    for label, names in (("forest", ("a", "b", "c")), ("water", ("a", "d"))):
        for name in names:
            s1 = rng.normal(size=(2, 8, 8)).astype(np.float32)
            s2 = rng.integers(1, 4000, (3, 8, 8)).astype(np.uint16)
            write_tif(root / "s1" / label / f"{name}.tif", s1)
            write_tif(root / "s2" / label / f"{name}.TIF", s2)
            written[f"{label}/{name}"] = np.concatenate([s1, s2.astype(np.float32)])
    return written


def test_folders_are_classes_and_names_are_pairs(tmp_path: Path) -> None:
    written = folders(tmp_path)
    both = {"s1": tmp_path / "s1", "s2": tmp_path / "s2"}
    patches = open_patch_folders(both)
    assert patches.names == ("forest", "water")
    assert patches.labels.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_array_equal(
        patches.source.read(np.arange(5)), np.stack([written[key] for key in sorted(written)])
    )
    np.testing.assert_array_equal(
        patches.source.read(np.array([4, 1])), np.stack([written["water/d"], written["forest/b"]])
    )
    assert [sensor.name for sensor in patches.sensors] == ["s1", "s2"]
    one = open_patch_folders(both, "s2")
    np.testing.assert_array_equal(one.source.read(np.array([2])), written["forest/c"][None, 2:])
    assert open_patch_folders(tmp_path / "s1").sensors == (Sensor("image", ("band 0", "band 1")),)


def test_hidden_files_and_folders_are_passed_over(tmp_path: Path) -> None:
    folders(tmp_path)
    before = open_patch_folders({"s1": tmp_path / "s1", "s2": tmp_path / "s2"})
    (tmp_path / "s2" / ".ipynb_checkpoints").mkdir()
    for folder in [path for path in (tmp_path / "s2").rglob("*") if path.is_dir()]:
        (folder / ".cache").mkdir()
        (folder / "._0.tif").write_bytes(b"not a patch")
    after = open_patch_folders({"s1": tmp_path / "s1", "s2": tmp_path / "s2"})
    assert after.names == before.names
    assert after.fingerprint() == before.fingerprint()


def test_folders_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    folders(tmp_path)
    both = {"s1": tmp_path / "s1", "s2": tmp_path / "s2"}
    with pytest.raises(DataError, match="is no folder"):
        open_patch_folders(tmp_path / "nowhere")
    (tmp_path / "s1" / "urban").mkdir()
    with pytest.raises(DataError, match=r"class folder .*urban holds no GeoTIFF"):
        open_patch_folders(both)
    write_tif(tmp_path / "s1" / "urban" / "u.tif", np.ones((2, 8, 8), np.float32))
    with pytest.raises(DataError, match="'s1' has a class 'urban', but sensor 's2' has none"):
        open_patch_folders(both)
    (tmp_path / "s1" / "urban" / "u.tif").unlink()
    (tmp_path / "s1" / "urban").rmdir()
    (tmp_path / "s2" / "water" / "d.TIF").unlink()
    with pytest.raises(DataError, match=r"'s1' has 2 patches of class 'water' and .* 1; 'd' is in"):
        open_patch_folders(both)


def test_sensors_of_two_sizes_are_resampled_when_asked(tmp_path: Path) -> None:
    """Bilinear over the same ground: what is linear in the place stays so, off the border."""
    ramp = np.arange(4, dtype=np.float32)[None, None, :].repeat(4, axis=1)
    write_tif(tmp_path / "s1" / "x" / "a.tif", np.zeros((1, 8, 8), np.float32))
    write_tif(tmp_path / "s2" / "x" / "a.tif", ramp, size=20.0)
    both = {"s1": tmp_path / "s1", "s2": tmp_path / "s2"}
    with pytest.raises(DataError, match=r"s1 .* 8 x 8 .* s2 .* 4 x 4.*resampled"):
        open_patch_folders(both)
    found = open_patch_folders(both, resample=True).source.read(np.array([0]))[0, 1]
    expected = (np.arange(8) + 0.5) / 2 - 0.5
    np.testing.assert_allclose(found[:, 1:-1], np.tile(expected[1:-1], (8, 1)), atol=1e-6)


def test_sensors_of_two_reference_systems_are_refused(tmp_path: Path) -> None:
    pixels = np.ones((1, 8, 8), np.float32)
    write_tif(tmp_path / "s1" / "x" / "a.tif", pixels)
    write_tif(tmp_path / "s2" / "x" / "a.tif", pixels, crs="EPSG:4326", size=1e-4)
    with pytest.raises(DataError, match=r"s1 .* lies in EPSG:32633, but s2 .* in EPSG:4326"):
        open_patch_folders({"s1": tmp_path / "s1", "s2": tmp_path / "s2"}, resample=True)


def test_a_wrong_file_is_named_when_it_is_read(tmp_path: Path) -> None:
    pixels = np.ones((2, 8, 8), np.float32)
    gap = pixels.copy()
    gap[1, 3, 3] = np.nan
    for name, bands in (("a", pixels), ("b", gap), ("c", pixels[:, :6, :6]), ("d", pixels[:1])):
        write_tif(tmp_path / "x" / f"{name}.tif", bands)
    patches = open_patch_folders(tmp_path)
    for place, message in (
        (1, "b.tif holds pixels without data"),
        (2, "6 x 6"),
        (3, "has 1 bands"),
    ):
        with pytest.raises(DataError, match=message):
            patches.source.read(np.array([0, place]))


def test_no_data_in_one_band_alone_is_a_gap(tmp_path: Path) -> None:
    pixels = np.ones((3, 8, 8), np.int16)
    pixels[1, 3, 3] = -9999
    write_tif(tmp_path / "x" / "a.tif", pixels)
    with rasterio.open(tmp_path / "x" / "a.tif", "r+") as file:
        file.nodata = -9999
    with pytest.raises(DataError, match=r"a\.tif holds pixels without data"):
        open_patch_folders(tmp_path).source.read(np.array([0]))


def test_a_fourth_band_of_8_bits_is_no_mask(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 2, (4, 8, 8)).astype(np.uint8)
    write_tif(tmp_path / "x" / "a.tif", pixels)
    read = open_patch_folders(tmp_path).source.read(np.array([0]))
    np.testing.assert_array_equal(read[0], pixels)


def test_bigearthnet_s_patches_load(swath_data: Path, tmp_path: Path) -> None:
    """Bands of 10, 20 and 60 metres, one file each; here the first of their labels is the class."""
    pairs = 0
    for s2 in sorted((swath_data / "bigearthnet_tiny" / "s2-tiny").iterdir()):
        (metadata,) = s2.glob("*.json")
        label = json.loads(metadata.read_text())["labels"][0]
        place = "_".join(s2.name.split("_")[-2:])
        (s1,) = (swath_data / "bigearthnet_tiny" / "s1-tiny").glob(f"*_{place}")
        for sensor, folder in (("s1", s1), ("s2", s2)):
            target = tmp_path / sensor / label / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(folder)
        pairs += 1
    both = {"s1": tmp_path / "s1", "s2": tmp_path / "s2"}
    with pytest.raises(DataError, match=r"120 x 120 .* 20 x 20"):
        open_patch_folders(both)
    patches = open_patch_folders(both, resample=True)
    assert pairs == 3
    assert patches.source.shape == (3, 14, 120, 120)
    assert [band.rsplit("_", 1)[-1] for band in patches.sensors[1].bands[:3]] == [
        "B01",
        "B02",
        "B03",
    ]
    found = patches.source.read(np.arange(3))
    assert (found[:, :2] < 10).all()  # decibels
    assert (found[:, 2:].mean(axis=(0, 2, 3)) > 50).all()  # reflectance times 10,000
