"""Readers: every format gives back what was written, and wrong files say what is wrong."""

from __future__ import annotations

import pickle
import tempfile
import warnings
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import netCDF4
import numpy as np
import pytest
import rasterio
import rasterio.control
import rasterio.shutil
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from rasterio.transform import from_origin

from swath.core.errors import DataError
from swath.data import _file_parts, _hdf5, _quality
from swath.data.labels import LabelMap
from swath.data.readers import majority_labels, open_labels, open_scene, parse_bands, variables
from swath.data.scene import array_scene


def write_mat5(path: Path, cube):
    scipy.io.savemat(path, {"cube": cube})


def write_mat73(path: Path, cube):
    with h5py.File(path, "w", userblock_size=512) as file:
        file["cube"] = cube.T
    with open(path, "r+b") as file:
        file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")


def write_npy(path: Path, cube):
    np.save(path, cube)


def write_npz(path: Path, cube):
    np.savez(path, cube=cube, other=np.arange(3))


def write_raster(path: Path, cube, driver="GTiff", **profile):
    rows, columns, bands = cube.shape
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with rasterio.open(
            path,
            "w",
            driver=driver,
            height=rows,
            width=columns,
            count=bands,
            dtype=cube.dtype,
            **profile,
        ) as file:
            file.write(np.moveaxis(cube, 2, 0))


def write_masked(path: Path, cube, shown, inside="YES", **profile):
    """Write a raster with a mask of its own, in the file or in another beside it."""
    write_raster(path, cube, **profile)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=inside), rasterio.open(path, "r+") as file:
        file.write_mask(shown.astype(bool))


def write_envi(path: Path, cube):
    write_raster(path, cube, driver="ENVI", interleave="bil")


def write_netcdf(path: Path, cube):
    with netCDF4.Dataset(path, "w") as file:
        for name, size in zip(("band", "y", "x"), (cube.shape[2], *cube.shape[:2]), strict=True):
            file.createDimension(name, size)
        file.createVariable("reflectance", cube.dtype, ("band", "y", "x"), fill_value=False)
        file["reflectance"][:] = np.moveaxis(cube, 2, 0)


def write_hdf5(path: Path, cube):
    with h5py.File(path, "w") as file:
        file["group/cube"] = cube
        file["group/wavelength"] = np.linspace(400, 2500, cube.shape[2])
        for axis, name in enumerate(("rows", "columns", "bands")):
            file["group/cube"].dims[axis].label = name


def cube_file(folder, cube):
    np.save(folder / "cube.npy", cube)
    return folder / "cube.npy"


WRITERS = {
    "x.mat": write_mat5,
    "y.mat": write_mat73,
    "x.npy": write_npy,
    "x.npz": write_npz,
    "x.tif": write_raster,
    "x.img": write_envi,
    "x.nc": write_netcdf,
    "x.h5": write_hdf5,
}
DTYPES = st.sampled_from([np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])


@pytest.mark.parametrize("name", WRITERS)
@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_round_trip(name, data):
    shape = data.draw(hnp.array_shapes(min_dims=3, max_dims=3, min_side=2, max_side=5))
    cube = data.draw(hnp.arrays(data.draw(DTYPES), shape, elements=st.integers(0, 200)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        WRITERS[name](path, cube)
        scene = open_scene(path, check=False)
        assert scene.source.dtype == cube.dtype
        assert scene.shape == shape
        assert np.array_equal(scene.read(), cube.astype(np.float32))
        rows = slice(*sorted(data.draw(st.tuples(*[st.integers(0, shape[0])] * 2))))
        columns = slice(*sorted(data.draw(st.tuples(*[st.integers(0, shape[1])] * 2))))
        assert np.array_equal(scene.read(rows, columns), cube[rows, columns])


@pytest.mark.parametrize("writer", ["x.mat", "y.mat", "x.npy", "x.npz", "x.tif", "x.img"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_labels_in_every_format(tmp_path, writer, dtype):
    array = np.array([[0, 3, 3], [7, 7, 0]], dtype=dtype)
    path = tmp_path / writer
    if writer in ("x.tif", "x.img"):
        write_raster(path, array[:, :, None], driver="ENVI" if writer == "x.img" else "GTiff")
    else:
        WRITERS[writer](path, array)
    labels = open_labels(path)
    assert labels.original == (3, 7)
    assert labels.values.tolist() == [[-1, 0, 0], [1, 1, -1]]


@pytest.fixture
def cube():
    return np.random.default_rng(1).integers(1, 999, (6, 8, 5)).astype(np.int16)


# --- which variable -------------------------------------------------------------------------------


def test_several_or_no_images_are_named(tmp_path, cube):
    path = tmp_path / "x.mat"
    scipy.io.savemat(path, {"hsi": cube, "rgb": cube[..., :3], "gt": cube[..., 0]})
    with pytest.raises(DataError, match=r"'hsi' \(6 x 8 x 5\), 'rgb' .*variable='hsi'"):
        open_scene(path)
    assert open_scene(path, variable="rgb").shape == (6, 8, 3)
    with pytest.raises(DataError, match=r"no variable 'hsj' \(did you mean 'hsi'\?\)"):
        open_scene(path, variable="hsj")
    scipy.io.savemat(path, {"gt": cube[..., 0], "text": "abc"})
    with pytest.raises(DataError, match=r"no 3-D variable .*'gt' \(6 x 8\)"):
        open_scene(path)
    scipy.io.savemat(path, {"text": "abc"})
    with pytest.raises(DataError, match="no numeric variable"):
        open_scene(path)


def test_several_or_no_label_maps_are_named(tmp_path, cube):
    path = tmp_path / "x.mat"
    scipy.io.savemat(
        path, {"cube": cube, "gt": cube[..., 0] % 3, "test": cube[..., 1] % 3, "pca": cube / 7}
    )
    with pytest.raises(DataError, match=r"'gt' \(6 x 8\), 'test' .*label_variable='gt'"):
        open_scene(path, path)
    scene = open_scene(path, variable="cube", label_variable="test")
    assert scene.labels is not None
    assert np.array_equal(scene.labels.to_original(scene.labels.values), cube[..., 1] % 3)
    scipy.io.savemat(path, {"cube": cube, "spectra": cube[0] / 7})
    with pytest.raises(DataError, match="no 2-D variable of whole numbers"):
        open_scene(path, path)


def test_variables_are_listed(tmp_path, cube):
    for name in ("x.mat", "y.mat", "x.npz", "x.h5"):
        WRITERS[name](tmp_path / name, cube)
        assert (6, 8, 5) in variables(tmp_path / name).values()
    assert open_scene(tmp_path / "x.h5", variable="cube").shape == (6, 8, 5)


# --- labels ---------------------------------------------------------------------------------------


def test_labels_from_arrays_maps_and_files(tmp_path, cube):
    np.save(tmp_path / "x.npy", cube)
    array = cube[..., 0] % 4
    np.save(tmp_path / "gt.npy", array)
    for labels in (
        array,
        LabelMap.from_array(array),
        tmp_path / "gt.npy",
        str(tmp_path / "gt.npy"),
    ):
        scene = open_scene(tmp_path / "x.npy", labels)
        assert scene.labels is not None
        assert np.array_equal(scene.labels.to_original(scene.labels.values), array)
    scene = open_scene(tmp_path / "x.npy", array, names={3: "corn"})
    assert scene.labels is not None
    assert scene.labels.names[-1] == "corn"


def test_labels_of_another_size(tmp_path, cube):
    np.save(tmp_path / "x.npy", cube)
    with pytest.raises(DataError, match=r"6 x 8 .*have 8 x 6; they look transposed"):
        open_scene(tmp_path / "x.npy", np.ones((8, 6)))
    with pytest.raises(DataError, match=r"6 x 8 .*have 5 x 8"):
        open_scene(tmp_path / "x.npy", np.ones((5, 8)))
    with pytest.raises(DataError, match="resample_labels='majority'"):
        open_scene(tmp_path / "x.npy", np.ones((12, 24)))
    fine = np.ones((12, 24), dtype=int)
    fine[:2, :3] = 2
    fine[0, 3] = 3
    scene = open_scene(tmp_path / "x.npy", fine, resample_labels="majority")
    assert scene.labels is not None
    assert scene.labels.counts().tolist() == [47, 1]
    assert any("lost" in note and note.endswith(" 3") for note in scene.notes)


@given(
    hnp.arrays(np.int8, st.just((4, 6)), elements=st.integers(0, 3)).filter(lambda a: a.any()),
    st.sampled_from([(2, 2), (2, 3), (4, 6), (1, 2), (4, 2)]),
)
def test_majority_against_counting(array, grid):
    rows, columns = grid
    height, width = 4 // rows, 6 // columns
    expected = np.zeros(grid, dtype=int)
    for row in range(rows):
        for column in range(columns):
            block = array[row * height :, column * width :][:height, :width].ravel().tolist()
            labelled = [value for value in block if value]
            if 2 * len(labelled) >= len(block):
                expected[row, column] = min(set(labelled), key=lambda v: (-labelled.count(v), v))
    if not expected.any():
        with pytest.raises(DataError, match="no label is left"):
            majority_labels(LabelMap.from_array(array), rows, columns)
        return
    reduced = majority_labels(LabelMap.from_array(array), rows, columns)
    assert np.array_equal(reduced.to_original(reduced.values), expected)
    assert reduced.original == tuple(sorted(set(expected.ravel()) - {0}))


def test_majority_needs_whole_factors():
    with pytest.raises(DataError, match="whole number"):
        majority_labels(LabelMap.from_array(np.ones((5, 6))), 2, 3)


def test_no_label_at_all_names_the_file(tmp_path, cube):
    np.save(tmp_path / "x.npy", cube)
    np.save(tmp_path / "gt.npy", np.zeros((6, 8)))
    with pytest.raises(DataError, match=r"gt\.npy: no pixel .* is labelled"):
        open_scene(tmp_path / "x.npy", tmp_path / "gt.npy")


def test_no_data_of_a_label_raster_is_unlabelled(tmp_path):
    array = np.array([[255, 1], [2, 0]], dtype=np.uint8)
    write_raster(tmp_path / "gt.tif", array[:, :, None], nodata=255)
    assert open_labels(tmp_path / "gt.tif").original == (1, 2)


LARGEST = np.finfo(np.float32).min
"""What many programs declare as "no data" of a 32-bit raster."""


@pytest.mark.parametrize("nodata", [LARGEST, -np.inf, 0.5, np.nan])
def test_odd_no_data_of_a_label_raster_is_unlabelled(tmp_path, nodata):
    array = np.array([[nodata, 1], [2, 0]], dtype=np.float32)
    for values in (array, np.where(array == array[0, 0], 2, array)):
        write_raster(tmp_path / "gt.tif", values[:, :, None], nodata=nodata)
        labels = open_labels(tmp_path / "gt.tif")
        assert labels.original == (1, 2)
        assert labels.unlabelled == (0,)
        assert (labels.values[1, 1], labels.values[0, 0]) == (-1, 1 if values[0, 0] == 2 else -1)


def test_the_labels_of_all_but_no_data_are_whole(tmp_path):
    array = np.array([[LARGEST, 1], [2.5, 0]], dtype=np.float32)
    write_raster(tmp_path / "gt.tif", array[:, :, None], nodata=LARGEST)
    with pytest.raises(DataError, match=r"gt\.tif: a label map holds whole numbers, .* has 2\.5"):
        open_labels(tmp_path / "gt.tif")


def test_zero_beside_the_no_data_value_of_a_label_raster_is_remarked(tmp_path, cube):
    truth = (np.arange(48) % 3).reshape(6, 8, 1).astype(np.uint8)
    truth[0, 0] = 255
    write_raster(tmp_path / "gt.tif", truth, nodata=255)
    path = cube_file(tmp_path, cube)
    scene = open_scene(path, tmp_path / "gt.tif")
    assert scene.labels.original == (1, 2)
    assert any("label value 0 counts as" in n and "unlabelled=255" in n for n in scene.notes)
    scene = open_scene(path, tmp_path / "gt.tif", unlabelled=[255])
    assert scene.labels.original == (0, 1, 2)
    assert scene.notes == ()
    assert open_labels(tmp_path / "gt.tif", unlabelled=255).original == (0, 1, 2)


@pytest.mark.parametrize("inside", ["YES", "NO"])
def test_masked_cells_of_a_label_raster_are_unlabelled(tmp_path, inside):
    array = np.array([[7, 1], [2, 7]], dtype=np.uint8)
    write_masked(tmp_path / "gt.tif", array[:, :, None], np.array([[1, 1], [1, 0]]), inside)
    labels = open_labels(tmp_path / "gt.tif")
    assert labels.original == (1, 2, 7)
    assert labels.values.tolist() == [[2, 0], [1, -1]]


NORTH_UP = (10.0, 0.0, 300.0, 0.0, -10.0, 5000.0)


def write_pair(folder, cube, labels, *, crs="EPSG:32630", place=NORTH_UP, label_name="gt.tif"):
    write_raster(folder / "x.tif", cube, crs="EPSG:32630", transform=rasterio.Affine(*NORTH_UP))
    placed = {} if place is None else {"transform": rasterio.Affine(*place)}
    write_raster(folder / label_name, labels[:, :, None], crs=crs, **placed)
    return folder / "x.tif", folder / label_name


@pytest.mark.parametrize(
    ("crs", "place", "says"),
    [
        ("EPSG:32631", NORTH_UP, r"x\.tif lies in EPSG:32630, but .*gt\.tif in EPSG:32631; warp"),
        ("EPSG:32630", (10, 0, 310, 0, -10, 5000), r"x\.tif begins at .*gt\.tif at \(310.*; warp"),
        ("EPSG:32630", (10, 0, 300, 0, -10, 4995), r"begins at .* warp the labels"),
        ("EPSG:32630", (20, 0, 300, 0, -20, 5000), r"pixels differ in size; warp the labels"),
        ("EPSG:32630", (10, 0, 300, 0, 10, 5000), r"begins at .* warp the labels"),
    ],
)
def test_labels_of_another_place_are_refused(tmp_path, cube, crs, place, says):
    image, labels = write_pair(tmp_path, cube, cube[..., 0], crs=crs, place=place)
    with pytest.raises(DataError, match=says):
        open_scene(image, labels)


@pytest.mark.parametrize(
    ("crs", "place"),
    [
        ("EPSG:32630", NORTH_UP),
        ("EPSG:32630", (10, 0, 300.5, 0, -10, 5000.5)),
        (None, (10, 0, 310, 0, -10, 5000)),
        ("EPSG:32631", None),
        (None, None),
    ],
)
def test_labels_of_the_same_place_or_of_none_are_taken(tmp_path, cube, crs, place):
    image, labels = write_pair(tmp_path, cube, cube[..., 0], crs=crs, place=place)
    scene = open_scene(image, labels)
    assert scene.labels is not None
    assert np.array_equal(scene.labels.to_original(scene.labels.values), cube[..., 0])
    assert not scene.notes


def test_labels_that_begin_in_the_south_are_turned_over(tmp_path, cube):
    south_up = (10.0, 0.0, 300.0, 0.0, 10.0, 4940.0)
    image, labels = write_pair(tmp_path, cube, cube[::-1, :, 0], place=south_up)
    scene = open_scene(image, labels)
    assert scene.labels is not None
    assert np.array_equal(scene.labels.to_original(scene.labels.values), cube[..., 0])
    (note,) = scene.notes
    assert "turned over" in note


@pytest.mark.parametrize("lacks", ["image", "labels", "both"])
def test_labels_are_turned_over_also_without_a_coordinate_system(tmp_path, cube, lacks):
    crs = rasterio.crs.CRS.from_epsg(32633)
    image, labels = tmp_path / "image.tif", tmp_path / "labels.tif"
    north_up, south_up = from_origin(300, 5000, 10, 10), from_origin(300, 4940, 10, -10)
    write_raster(image, cube, transform=north_up, crs=crs if lacks == "labels" else None)
    turned = cube[::-1, :, :1]
    write_raster(labels, turned, transform=south_up, crs=crs if lacks == "image" else None)
    scene = open_scene(image, labels)
    assert np.array_equal(scene.labels.to_original(scene.labels.values), cube[..., 0])
    assert "turned over" in scene.notes[0]


def test_finer_labels_of_the_same_corners_are_reduced(tmp_path, cube):
    fine = np.repeat(np.repeat(cube[..., 0], 2, axis=0), 2, axis=1)
    for place, values in (
        ((5.0, 0.0, 300.0, 0.0, -5.0, 5000.0), fine),
        ((5.0, 0.0, 300.0, 0.0, 5.0, 4940.0), fine[::-1]),
    ):
        image, labels = write_pair(tmp_path, cube, values, place=place)
        scene = open_scene(image, labels, resample_labels="majority")
        assert scene.labels is not None
        assert np.array_equal(scene.labels.to_original(scene.labels.values), cube[..., 0])
    image, labels = write_pair(tmp_path, cube, fine, place=(5.0, 0, 305.0, 0, -5.0, 5000.0))
    with pytest.raises(DataError, match="warp the labels"):
        open_scene(image, labels, resample_labels="majority")


def test_labels_of_netcdf_have_a_place_too(tmp_path, cube):
    image, _ = write_pair(tmp_path, cube, cube[..., 0])
    for corner in ("300 10 0 5000 0 -10", "400 10 0 5000 0 -10"):
        with h5py.File(tmp_path / "gt.nc", "w") as file:
            file["labels"] = cube[..., 0]
            file["crs"] = np.zeros(3)
            file["crs"].attrs["spatial_ref"] = "EPSG:32630"
            file["crs"].attrs["GeoTransform"] = corner
        if corner.startswith("3"):
            assert open_scene(image, tmp_path / "gt.nc", label_variable="labels").labels is not None
        else:
            with pytest.raises(DataError, match="warp the labels"):
                open_scene(image, tmp_path / "gt.nc", label_variable="labels")


def test_negative_labels_are_remarked(tmp_path, cube):
    np.save(tmp_path / "x.npy", cube)
    array = np.where(cube[..., 0] % 2, 1, -1)
    assert any("-1 count as classes" in n for n in open_scene(tmp_path / "x.npy", array).notes)
    assert not open_scene(tmp_path / "x.npy", array, unlabelled=(-1,)).notes


# --- bands ----------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 30), min_size=1, max_size=8, unique=True))
def test_bands_by_text_and_by_list(numbers):
    assert parse_bands(",".join(map(str, numbers)), 31) == tuple(numbers)
    assert parse_bands(numbers, 31) == tuple(numbers)


def test_bands_ranges_and_mistakes():
    assert parse_bands("0-3, 9", 10) == (0, 1, 2, 3, 9)
    assert parse_bands(4, 10) == (4,)
    assert parse_bands(np.int64(4), 10) == (4,)
    for wrong, says in [
        ("0-10", "no band 10: its 10 bands are 0 to 9"),
        ("a", "cannot be read"),
        ("", "cannot be read"),
        ("5-2", "backwards"),
        ("1,1", "each once"),
        ([], "at least one"),
        ([-1], "no band -1"),
        ([0.7, 1.2], "no whole numbers"),
        (np.array([True, False]), "no whole numbers"),
        ("0-99999999999", "no band 10"),
    ]:
        with pytest.raises(DataError, match=says):
            parse_bands(wrong, 10)


def test_bands_keep_their_names_and_wavelengths(tmp_path, cube):
    write_hdf5(tmp_path / "x.h5", cube)
    scene = open_scene(tmp_path / "x.h5", bands="4,1-2")
    assert scene.bands == (4, 1, 2)
    assert scene.wavelengths == (2500, 925, 1450)
    assert np.array_equal(scene.read(), cube[:, :, [4, 1, 2]])


def test_useless_bands_are_dropped_with_a_note(tmp_path, cube):
    cube = np.concatenate([cube, cube], axis=2).astype(np.float32)
    cube[:, :, 0] = np.nan
    cube[:, :, 3] = 42
    cube[:, :, 4] = -1
    cube[:3, :, 6] = np.inf
    cube[1, 1, 7] = np.nan
    np.save(tmp_path / "x.npy", cube)
    scene = open_scene(tmp_path / "x.npy", nodata=-1)
    assert scene.bands == (1, 2, 5, 7, 8, 9)
    (dropped, pixels) = scene.notes
    assert "dropped 4 of 10 bands" in dropped
    for part in ("0, 4 without data", "6 missing in over a tenth", "3 constant"):
        assert part in dropped
    assert "such pixels: 1, at most 1 of 48 pixels in one" in pixels
    assert not scene.valid()[1, 1]
    assert scene.valid().sum() == 47
    assert open_scene(tmp_path / "x.npy", check=False).shape == (6, 8, 10)
    chosen = open_scene(tmp_path / "x.npy", bands="0-2", nodata=-1)
    assert chosen.bands == (1, 2)


def test_empty_borders_drop_no_band(tmp_path, cube):
    cube[:4] = -5
    np.save(tmp_path / "x.npy", cube)
    scene = open_scene(tmp_path / "x.npy", nodata=-5)
    assert scene.bands == tuple(range(5))
    assert not scene.notes
    assert scene.valid().sum() == 16


@pytest.mark.parametrize("value", [np.nan, 3.0, -1.0])
def test_all_bands_useless_is_refused(tmp_path, value):
    np.save(tmp_path / "x.npy", np.full((4, 4, 3), value))
    with pytest.raises(DataError, match=r"no band of x can be used: bands 0-2 (const|without)"):
        open_scene(tmp_path / "x.npy", nodata=-1)


def test_numbers_beyond_32_bits_are_no_data_to_all(tmp_path, cube):
    large = cube.astype(np.float64)
    large[:4, :, 2] = 1e300
    scene = open_scene(cube_file(tmp_path, large))
    assert scene.bands == (0, 1, 3, 4)
    assert "2 missing" in scene.notes[0]


def test_infinity_of_16_bits_is_no_data(tmp_path, cube):
    half = cube.astype(np.float16)
    half[0, 0, 0] = np.inf
    scene = open_scene(cube_file(tmp_path, half))
    assert scene.valid().sum() == 47
    assert "left out" in scene.notes[0]


def test_a_huge_value_that_nobody_calls_no_data_is_none_all_the_same(tmp_path, cube):
    large = cube.astype(np.float32)
    large[0] = np.finfo(np.float32).min
    large[3, 3, 1] = 9.96921e36
    scene = open_scene(cube_file(tmp_path, large))
    assert scene.bands == (0, 1, 2, 3, 4)
    assert scene.valid().sum() == 39
    assert np.abs(scene.read()).max() < 1000


@pytest.mark.parametrize("value", [0, -9999, 9999])
def test_one_value_in_all_bands_of_many_pixels_is_remarked(tmp_path, cube, value):
    cube[0] = value
    path = cube_file(tmp_path, cube)
    (note,) = open_scene(path).notes
    assert note.startswith(f"16.7% of the pixels hold {value} in every band; ")
    assert note.endswith(f"nodata={value}")
    assert "16.7" not in str(open_scene(path, nodata=value).notes)
    cube[0, 2:] = 300  # 2 pixels in 48 are left
    path = cube_file(tmp_path, cube)
    assert "4.2%" in str(open_scene(path).notes)
    assert not open_scene(path, bands="0-2").notes  # red, green and blue may be black
    cube[1, 1] = 500  # as grey as it may be, it is between the others
    assert not any("hold 500" in note for note in open_scene(cube_file(tmp_path, cube)).notes)


def test_large_scenes_are_sampled(tmp_path, monkeypatch):
    monkeypatch.setattr(_quality, "FULL_CHECK", 1000)
    monkeypatch.setattr(_quality, "SAMPLE_VALUES", 3 * 16)
    cube = np.random.default_rng(0).random((60, 50, 3))
    cube[:, :, 1] = 0
    np.save(tmp_path / "x.npy", cube)
    scene = open_scene(tmp_path / "x.npy")
    assert scene.bands == (0, 2)
    assert "in a sample" in scene.notes[0]
    windows = list(_quality._sample(scene))
    assert len(windows) == 25
    assert windows[0] == (slice(0, 4), slice(0, 4))
    assert windows[-1] == (slice(56, 60), slice(46, 50))


def test_note_of_ranges():
    assert _quality.ranges([103, 1, 2, 3, 9, 104]) == "1-3, 9, 103-104"


# --- axes and metadata ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.mat", "y.mat", "x.npy", "x.npz"])
def test_axes_can_be_said(tmp_path, cube, name):
    WRITERS[name](tmp_path / name, np.moveaxis(cube, 2, 0))
    scene = open_scene(tmp_path / name, axes="bands,rows,columns")
    assert np.array_equal(scene.read(), cube)
    with pytest.raises(DataError, match="name its axes"):
        open_scene(tmp_path / name, axes="bands,rows")


def test_axes_of_hdf5_are_found(tmp_path, cube):
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["cube"] = np.moveaxis(cube, 2, 0)
    scene = open_scene(path)  # the shortest axis
    assert scene.shape == (6, 8, 5)
    assert any("axes=" in note for note in scene.notes)
    tall = np.random.default_rng(0).random((9, 6, 8))
    with h5py.File(path, "w") as file:
        file["cube"] = tall
    scene = open_scene(path, np.ones((6, 8)))  # the size of the labels
    assert np.array_equal(scene.read(), np.moveaxis(tall, 0, 2).astype(np.float32))
    assert not scene.notes
    with h5py.File(path, "a") as file:
        file["wavelengths"] = np.arange(9) / 10 + 0.4
    scene = open_scene(path)  # the length of the wavelengths
    assert scene.shape == (6, 8, 9)
    assert scene.wavelengths is not None
    assert np.allclose(scene.wavelengths, np.arange(9) * 100 + 400)
    with h5py.File(path, "w") as file:
        file["cube"] = tall
        for axis, label in enumerate(("x", "bands", "y")):
            file["cube"].dims[axis].label = label
    assert open_scene(path).shape == (8, 9, 6)


def test_large_hdf5_is_read_in_windows(tmp_path, cube, monkeypatch):
    monkeypatch.setattr(_hdf5, "IN_MEMORY", 0)
    for name in ("y.mat", "x.nc", "x.h5"):
        WRITERS[name](tmp_path / name, cube)
        scene = open_scene(tmp_path / name)
        assert isinstance(scene.source, _hdf5.H5Source)
        assert np.array_equal(scene.read(slice(2, 5), slice(1, 8)), cube[2:5, 1:8])
        assert np.array_equal(pickle.loads(pickle.dumps(scene)).read(), cube)


@pytest.mark.parametrize("in_memory", [0, 2**29])
def test_packed_netcdf_with_georeference(tmp_path, monkeypatch, in_memory):
    monkeypatch.setattr(_hdf5, "IN_MEMORY", in_memory)
    stored = np.random.default_rng(0).integers(1, 9999, (3, 4, 6)).astype(np.int16)
    stored[:, 1, 2] = -32768
    crs = rasterio.crs.CRS.from_epsg(32633).to_wkt()
    with netCDF4.Dataset(tmp_path / "x.nc", "w") as file:
        for name, values in (
            ("wavelength", np.array([0.45, 0.55, 0.65])),
            ("y", 5000.0 - 10 * np.arange(4)),
            ("x", 300.0 + 10 * np.arange(6)),
        ):
            file.createDimension(name, len(values))
            file.createVariable(name, "f8", (name,))[:] = values
        file["wavelength"].units = "um"
        file.createVariable("spatial_ref", "i4").crs_wkt = crs
        variable = file.createVariable(
            "reflectance", "i2", ("wavelength", "y", "x"), fill_value=-32768
        )
        variable.set_auto_maskandscale(False)
        variable.setncatts({"scale_factor": 1e-4, "add_offset": 0.1, "grid_mapping": "spatial_ref"})
        variable[:] = stored
    scene = open_scene(tmp_path / "x.nc")
    expected = np.moveaxis(stored * 1e-4 + 0.1, 0, 2)
    assert scene.valid().sum() == 23
    assert np.allclose(scene.read()[scene.valid()], expected[scene.valid()], atol=1e-6)
    assert scene.wavelengths == (450, 550, 650)
    assert scene.transform == (10, 0, 295, 0, -10, 5005)
    assert scene.crs == crs


UTM = rasterio.crs.CRS.from_epsg(32630).to_wkt()
PLACE = (10.0, 0.0, 300.0, 0.0, -10.0, 5000.0)


def write_placed_hdf5(path, cube, attributes, **variables):
    with h5py.File(path, "w") as file:
        file["cube"] = cube
        file["cube"].attrs["grid_mapping"] = "grid"
        file["grid"] = 0
        for key, value in attributes.items():
            file["grid"].attrs[key] = value
        for name, values in variables.items():
            file[name] = values


@pytest.mark.parametrize("key", ["crs_wkt", "spatial_ref"])
@pytest.mark.parametrize("words", ["EPSG:32630", b"epsg:32630", UTM, np.array(["EPSG:32630"], "O")])
def test_a_coordinate_system_of_hdf5_becomes_wkt(tmp_path, cube, key, words):
    write_placed_hdf5(tmp_path / "x.h5", cube, {key: words})
    scene = open_scene(tmp_path / "x.h5", axes="rows,columns,bands")
    assert scene.crs == UTM
    assert not scene.notes


def test_a_strange_coordinate_system_is_left_out_with_a_note(tmp_path, cube):
    place = "300 10 0 5000 0 -10"
    write_placed_hdf5(
        tmp_path / "x.h5", cube, {"spatial_ref": "my own grid", "GeoTransform": place}
    )
    scene = open_scene(tmp_path / "x.h5", axes="rows,columns,bands")
    assert scene.crs is None
    assert scene.transform == PLACE
    assert scene.notes == ("the coordinate system 'my own grid' is not understood and left out",)


@pytest.mark.parametrize(
    "place", ["300 10 0 5000 0 -10", np.array([300.0, 10, 0, 5000, 0, -10]), b"300 10 0 5000 0 -10"]
)
def test_a_geotransform_of_hdf5_is_text_or_numbers(tmp_path, cube, place):
    write_placed_hdf5(tmp_path / "x.h5", cube, {"spatial_ref": "EPSG:32630", "GeoTransform": place})
    assert open_scene(tmp_path / "x.h5").transform == PLACE


@pytest.mark.parametrize("place", ["1 2 3", "here", np.arange(4.0), np.zeros(0), 7.0])
def test_a_geotransform_that_is_none_is_left_out_with_a_note(tmp_path, cube, place):
    write_placed_hdf5(tmp_path / "x.h5", cube, {"spatial_ref": "EPSG:32630", "GeoTransform": place})
    scene = open_scene(tmp_path / "x.h5")
    assert (scene.crs, scene.transform) == (UTM, None)
    assert "the GeoTransform is not six numbers and left out" in scene.notes


def test_only_coordinates_of_hdf5_are_read_for_the_place(tmp_path, cube):
    pairs = np.zeros(4, np.dtype([("real", "f8"), ("imag", "f8")]))
    more = {"x": 305 + 10.0 * np.arange(8), "y": 4995 - 10.0 * np.arange(6), "phase": pairs}
    write_placed_hdf5(tmp_path / "x.h5", cube, {}, **more)
    assert open_scene(tmp_path / "x.h5").transform == PLACE
    write_placed_hdf5(tmp_path / "x.h5", cube, {}, **more | {"x": np.zeros(8, complex)})
    assert open_scene(tmp_path / "x.h5").transform is None
    for x in (np.zeros(8), np.arange(99.0), np.arange(8.0) ** 2):
        write_placed_hdf5(tmp_path / "x.h5", cube, {}, **more | {"x": x})
        assert open_scene(tmp_path / "x.h5").transform is None


def test_a_place_that_cannot_be_read_is_left_out(tmp_path, cube, monkeypatch):
    def broken(*_):
        raise OSError("bad attribute")

    write_placed_hdf5(tmp_path / "x.h5", cube, {"spatial_ref": "EPSG:32630"})
    monkeypatch.setattr(_hdf5, "_grid_mapping", broken)
    scene = open_scene(tmp_path / "x.h5")
    assert scene.crs is None
    assert any("bad attribute" in note for note in scene.notes)


@pytest.mark.parametrize("key", ["missing_value", "_FillValue", "scale_factor", "add_offset"])
@pytest.mark.parametrize("value", ["none", np.zeros(0), h5py.Empty("f4")])
def test_an_attribute_of_hdf5_that_is_no_number_counts_for_nothing(tmp_path, cube, key, value):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["cube"] = cube
        file["cube"].attrs[key] = value
    scene = open_scene(tmp_path / "x.h5")
    assert scene.nodata is None
    assert scene.source.dtype == cube.dtype
    assert np.array_equal(scene.read(), cube)


@pytest.mark.parametrize("kind", ["i2", "u2", "i4", "f4", "f8"])
def test_what_nobody_wrote_into_netcdf_is_no_data(tmp_path, kind):
    cube = np.random.default_rng(0).integers(1, 999, (4, 6, 3))
    with netCDF4.Dataset(tmp_path / "x.nc", "w") as file:
        for name, size in zip(("y", "x", "band"), cube.shape, strict=True):
            file.createDimension(name, size)
        file.createVariable("cube", kind, ("y", "x", "band"))[1:] = cube[1:]
    scene = open_scene(tmp_path / "x.nc")
    assert scene.valid().tolist() == [[False] * 6, *[[True] * 6] * 3]
    assert np.array_equal(scene.read()[1:], cube[1:])


@pytest.mark.parametrize("dtype", [np.int16, np.float32])
def test_a_fill_value_and_other_missing_values_are_no_data(tmp_path, cube, dtype):
    cube = cube.astype(dtype)
    cube[0, 0], cube[1, 1], cube[2, 2] = -32768, -9999, -5
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["cube"] = cube
        file["cube"].attrs["_FillValue"] = dtype(-32768)
        file["cube"].attrs["missing_value"] = np.array([-9999.0, -5.0])
    scene = open_scene(tmp_path / "x.h5", axes="rows,columns,bands")
    assert np.argwhere(~scene.valid()).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert np.array_equal(scene.read()[scene.valid()], cube[scene.valid()])


@pytest.mark.parametrize("key", ["Data_Ignore_Value", "MissingValue", "FillValue", "nodata"])
def test_the_no_data_value_of_hdf5_has_many_names(tmp_path, cube, key):
    cube[1, 1] = -9999
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["cube"] = cube
        file["cube"].attrs[key] = -9999.0
    scene = open_scene(tmp_path / "x.h5", axes="rows,columns,bands")
    assert scene.nodata == -9999
    assert scene.valid().sum() == 47


def test_one_missing_value_said_twice_leaves_the_pixels_as_they_are(tmp_path, cube):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["cube"] = cube.astype(np.float32)
        file["cube"].attrs["_FillValue"] = np.float32(1e20)
        file["cube"].attrs["missing_value"] = 1e20
    assert open_scene(tmp_path / "x.h5").nodata == float(np.float32(1e20))


def test_labels_of_netcdf_that_are_packed_know_their_fill_value(tmp_path, cube):
    truth = np.arange(48).reshape(6, 8) % 3 + 1
    truth[0, 0] = 255
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["cube"], file["truth"] = cube, truth.astype(np.uint8)
        file["truth"].attrs.update({"scale_factor": 1.0, "_FillValue": np.uint8(255)})
    scene = open_scene(tmp_path / "x.h5", tmp_path / "x.h5")
    assert scene.labels.original == (1, 2, 3)
    assert scene.labels.values[0, 0] == -1


def test_labels_whose_columns_come_first_are_turned(tmp_path):
    cube = np.random.default_rng(0).random((5, 5, 3))
    truth = np.random.default_rng(1).integers(0, 4, (5, 5))
    with netCDF4.Dataset(tmp_path / "x.nc", "w") as file:
        for name, size in (("band", 3), ("x", 5), ("y", 5)):
            file.createDimension(name, size)
        file.createVariable("cube", "f8", ("band", "x", "y"))[:] = cube.transpose(2, 1, 0)
        file.createVariable("truth", "i4", ("x", "y"))[:] = truth.T
    scene = open_scene(tmp_path / "x.nc", tmp_path / "x.nc")
    assert np.array_equal(scene.read(), cube.astype(np.float32))
    assert np.array_equal(scene.labels.to_original(scene.labels.values), truth)


@pytest.mark.parametrize("cut", [{"x": 4}, {"y": 2}, {"turned": True}])
def test_a_geotransform_from_before_an_image_was_cut_is_not_believed(tmp_path, cube, cut):
    x, y = 305 + 10.0 * np.arange(8), 4995 - 10.0 * np.arange(6)
    x, y = x + 10 * cut.get("x", 0), y - 10 * cut.get("y", 0)
    y = y[::-1] if "turned" in cut else y
    attributes = {"spatial_ref": "EPSG:32630", "GeoTransform": "300 10 0 5000 0 -10"}
    write_placed_hdf5(tmp_path / "x.h5", cube, attributes, x=x, y=y)
    scene = open_scene(tmp_path / "x.h5")
    step = y[1] - y[0]
    assert scene.transform == (10, 0, x[0] - 5, 0, step, y[0] - step / 2)
    assert "the GeoTransform does not fit the coordinates of the pixels, which count" in scene.notes


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (305.001 + 10 * np.arange(8), 4995 - 10.0 * np.arange(6)),
        (np.arange(8), np.arange(6)),
        (np.arange(8) + 1, np.arange(6) + 1),
    ],
)
def test_a_geotransform_that_fits_or_stands_beside_numbers_is_believed(tmp_path, cube, x, y):
    attributes = {"spatial_ref": "EPSG:32630", "GeoTransform": "300 10 0 5000 0 -10"}
    write_placed_hdf5(tmp_path / "x.h5", cube, attributes, x=x, y=y)
    scene = open_scene(tmp_path / "x.h5")
    assert scene.transform == PLACE
    assert not any("GeoTransform" in note for note in scene.notes)


@pytest.mark.parametrize("names", [("lon", "lat"), ("longitude", "latitude")])
def test_coordinates_may_be_packed_and_have_long_names(tmp_path, cube, names):
    across, down = names
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["cube"] = cube
        file[across], file[down] = np.arange(8, dtype=np.int16), np.arange(6, dtype=np.int16)
        file[across].attrs.update({"scale_factor": 10.0, "add_offset": 305.0})
        file[down].attrs.update({"scale_factor": -10.0, "add_offset": 4995.0})
    assert open_scene(tmp_path / "x.h5").transform == PLACE


def test_texts_and_empty_arrays_of_matlab_are_no_arrays(tmp_path, cube):
    truth = np.arange(48).reshape(6, 8) % 3
    write_mat73(tmp_path / "x.mat", cube)
    with h5py.File(tmp_path / "x.mat", "r+") as file:
        file["truth"] = truth.astype(np.uint8).T
        file["sensor"] = np.array([[ord(letter)] for letter in "AVIRIS"], np.uint16)
        file["sensor"].attrs["MATLAB_class"] = np.bytes_("char")
        file["nothing"] = np.zeros(2, np.uint64)
        file["nothing"].attrs["MATLAB_empty"] = 1
    assert set(variables(tmp_path / "x.mat")) == {"cube", "truth"}
    assert open_scene(tmp_path / "x.mat", tmp_path / "x.mat").labels.original == (1, 2)


def test_a_list_of_numbers_is_a_label_map_only_where_there_is_no_other(tmp_path, cube):
    truth = np.arange(48).reshape(6, 8) % 3
    scipy.io.savemat(tmp_path / "x.mat", {"wavelength": np.arange(5) + 400, "truth": truth})
    assert open_scene(cube_file(tmp_path, cube), tmp_path / "x.mat").labels.original == (1, 2)
    scipy.io.savemat(tmp_path / "line.mat", {"truth": truth[:1]})
    assert open_labels(tmp_path / "line.mat").shape == (1, 8)


@pytest.mark.parametrize("option", [{}, {"variable": "cube"}])
def test_structs_of_matlab_are_named_with_the_way_out(tmp_path, cube, option):
    scipy.io.savemat(tmp_path / "x.mat", {"data": {"cube": cube}})
    with pytest.raises(DataError, match=r"no numeric .*'data' \(struct\).* a name of its own"):
        open_scene(tmp_path / "x.mat", **option)


@pytest.mark.parametrize("name", ["x.tif", "x.npy"])
def test_the_name_of_an_array_is_not_for_files_of_one(tmp_path, cube, name):
    WRITERS[name](tmp_path / name, cube)
    WRITERS[name](tmp_path / f"truth-{name}", cube[:, :, :1])
    with pytest.raises(DataError, match="has no name; leave out variable='cube'"):
        open_scene(tmp_path / name, variable="cube")
    with pytest.raises(DataError, match="has no name; leave out label_variable='truth'"):
        open_scene(tmp_path / name, tmp_path / f"truth-{name}", label_variable="truth")


@pytest.mark.parametrize("order", ["bands,rows,columns", "rows,bands,columns"])
def test_labels_tell_that_the_axes_of_an_array_are_others(tmp_path, order):
    cube = np.random.default_rng(0).random((6, 8, 5))
    places = {"bands,rows,columns": (2, 0, 1), "rows,bands,columns": (0, 2, 1)}
    truth = np.arange(48).reshape(6, 8) % 3
    np.save(tmp_path / "x.npy", cube.transpose(places[order]))
    with pytest.raises(DataError, match=f"axes='{order}'"):
        open_scene(tmp_path / "x.npy", truth)
    scene = open_scene(tmp_path / "x.npy", truth, axes=order)
    assert np.array_equal(scene.read(), cube.astype(np.float32))


def test_two_axes_that_fit_the_labels_are_remarked(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["cube"] = np.random.default_rng(0).random((8, 8, 6))
    truth = np.arange(48).reshape(8, 6) % 3
    assert any("fits axis 0 as well" in n for n in open_scene(tmp_path / "x.h5", truth).notes)


def test_wavelengths_that_are_no_numbers_are_passed_over(tmp_path, cube):
    names = np.array([f"B{band}" for band in range(5)])
    np.savez(tmp_path / "x.npz", cube=cube, wavelengths=names)
    assert open_scene(tmp_path / "x.npz").wavelengths is None
    np.savez(tmp_path / "x.npz", cube=cube, wavelengths=names, wl=np.arange(5) + 400)
    assert open_scene(tmp_path / "x.npz").wavelengths == (400, 401, 402, 403, 404)


def test_classic_netcdf_says_how_to_convert(tmp_path):
    with netCDF4.Dataset(tmp_path / "x.nc", "w", format="NETCDF3_CLASSIC"):
        pass
    with pytest.raises(DataError, match="nccopy"):
        open_scene(tmp_path / "x.nc")


def test_geotiff_metadata(tmp_path, cube):
    path = tmp_path / "x.tif"
    write_raster(
        path,
        cube,
        crs="EPSG:32633",
        transform=from_origin(500_000, 4_100_000, 20, 10),
        nodata=-7,
        tiled=True,
        blockxsize=16,
        blockysize=16,
    )
    with rasterio.open(path, "r+") as file:
        for band in range(5):
            file.set_band_description(band + 1, f"B{band}")
    scene = open_scene(path, bands=[3, 1])
    assert scene.transform == (20, 0, 500_000, 0, -10, 4_100_000)
    assert rasterio.crs.CRS.from_wkt(scene.crs).to_epsg() == 32633
    assert scene.nodata == -7
    assert scene.band_names == ("B3", "B1")
    assert open_scene(path, nodata=5).nodata == 5
    with pytest.raises(DataError, match="leave out axes"):
        open_scene(path, axes="bands,rows,columns")


@pytest.mark.parametrize("inside", ["YES", "NO"])
def test_masked_pixels_hold_no_data(tmp_path, cube, inside):
    shown = np.random.default_rng(2).random((6, 8)) > 0.3
    write_masked(tmp_path / "x.tif", cube, shown, inside)
    scene = open_scene(tmp_path / "x.tif")
    assert scene.bands == tuple(range(5))
    pixels, valid = pickle.loads(pickle.dumps(scene)).read_valid()
    assert np.array_equal(valid, shown)
    assert np.array_equal(pixels, np.where(shown[:, :, None], cube, 0))
    window = slice(2, 5), slice(1, 7)
    assert np.array_equal(scene.valid(*window), shown[window])
    assert scene.valid(slice(3, 3)).shape == (0, 8)


def test_a_band_that_varies_under_the_mask_alone_is_constant(tmp_path, cube):
    shown = np.ones((6, 8), bool)
    shown[:2] = False
    cube[2:, :, 1] = 5
    write_masked(tmp_path / "x.tif", cube, shown)
    scene = open_scene(tmp_path / "x.tif")
    assert scene.bands == (0, 2, 3, 4)
    assert scene.notes == ("dropped 1 of 5 bands: 1 constant",)


def test_the_fourth_band_of_a_tiff_is_near_infrared(tmp_path, cube):
    bands = cube[:, :, :4].astype(np.uint8)
    bands[0, 0, 3] = 0
    write_raster(tmp_path / "x.tif", bands)
    scene = open_scene(tmp_path / "x.tif")
    assert scene.shape == (6, 8, 4)
    assert scene.valid().all()


def test_transparency_of_a_png_is_no_band(tmp_path, cube):
    alpha = np.full((6, 8, 1), 255)
    alpha[1, 2], alpha[3, 4] = 0, 7
    colours = np.concatenate([cube[:, :, :3] % 256, alpha], axis=2).astype(np.uint8)
    write_raster(tmp_path / "x.png", colours, driver="PNG")
    scene = open_scene(tmp_path / "x.png")
    assert scene.shape == (6, 8, 3)
    pixels, valid = scene.read_valid()
    assert np.argwhere(~valid).tolist() == [[1, 2]]
    assert np.array_equal(pixels[valid], colours[valid][:, :3])


def test_transparent_labels_of_a_png_are_none(tmp_path):
    values = np.array([[[1, 255], [2, 0]], [[2, 255], [0, 255]]], dtype=np.uint8)
    write_raster(tmp_path / "gt.png", values, driver="PNG")
    assert open_labels(tmp_path / "gt.png").values.tolist() == [[0, -1], [1, -1]]


def test_ground_control_points_are_remarked(tmp_path, cube):
    points = [
        rasterio.control.GroundControlPoint(row, column, 10.0 + column, 50.0 - row)
        for row, column in ((0, 0), (0, 8), (6, 0), (6, 8))
    ]
    write_raster(tmp_path / "x.tif", cube, gcps=points, crs="EPSG:4326")
    scene = open_scene(tmp_path / "x.tif")
    assert (scene.crs, scene.transform) == (None, None)
    assert any("ground control points, which are not used" in note for note in scene.notes)


def test_each_band_may_have_a_no_data_value_of_its_own(tmp_path, cube):
    cube = cube[:, :, :3]
    cube[0, 0, 0], cube[1, 1, 1], cube[2, 2, 2], cube[3, 3, 1] = -1, -9999, -9999, -1
    write_raster(tmp_path / "x.tif", cube)
    bands = "".join(
        f'<VRTRasterBand dataType="Int16" band="{band}"><NoDataValue>{nodata}</NoDataValue>'
        '<SimpleSource><SourceFilename relativeToVRT="1">x.tif</SourceFilename>'
        f"<SourceBand>{band}</SourceBand></SimpleSource></VRTRasterBand>"
        for band, nodata in ((1, -1), (2, -9999), (3, -9999))
    )
    path = tmp_path / "x.vrt"
    path.write_text(f'<VRTDataset rasterXSize="8" rasterYSize="6">{bands}</VRTDataset>')
    scene = open_scene(path)
    assert np.argwhere(~scene.valid()).tolist() == [[0, 0], [1, 1], [2, 2]]
    assert np.array_equal(scene.read()[scene.valid()], cube[scene.valid()])
    assert open_scene(path, bands=[0, 1]).valid().sum() == 46


def test_pages_of_a_tiff_are_remarked(tmp_path, cube):
    write_raster(tmp_path / "page.tif", cube[:, :, :2])
    for append in ("NO", "YES", "YES"):
        rasterio.shutil.copy(
            tmp_path / "page.tif", tmp_path / "x.tif", driver="GTiff", APPEND_SUBDATASET=append
        )
    scene = open_scene(tmp_path / "x.tif")
    assert scene.shape == (6, 8, 2)
    assert scene.notes == ("the file holds 3 images, as pages; only the first is read",)


def test_rasters_are_opened_once_a_thread(tmp_path, cube, monkeypatch):
    write_raster(tmp_path / "x.tif", cube)
    opened = []
    real = rasterio.open
    monkeypatch.setattr(rasterio, "open", lambda *a, **k: opened.append(a) or real(*a, **k))
    scene = open_scene(tmp_path / "x.tif")
    before = len(opened)
    for _ in range(5):
        scene.read(slice(0, 2))
    assert len(opened) == before
    with ThreadPoolExecutor(4) as pool:
        rows = list(pool.map(lambda row: scene.read(slice(row, row + 1)), [*range(6)] * 10))
    assert np.array_equal(np.concatenate(rows[:6]), cube)
    assert len(opened) <= before + 4
    copy = pickle.loads(pickle.dumps(scene))
    assert np.array_equal(copy.read(), cube)


def test_envi_header_wavelengths_and_names(tmp_path, cube):
    write_envi(tmp_path / "x.img", cube)
    header = tmp_path / "x.hdr"
    header.write_text(
        header.read_text()
        + "band names = {a, b, c, d, e}\nwavelength units = Micrometers\n"
        + "wavelength = {0.4, 0.5, 0.6, 0.7, 0.8}\ndata ignore value = -3\n"
    )
    for path in (header, tmp_path / "x.img"):
        scene = open_scene(path)
        assert np.array_equal(scene.read(), cube)
        assert scene.wavelengths == (400, 500, 600, 700, 800)
        assert scene.band_names == ("a", "b", "c", "d", "e")
        assert scene.nodata == -3
    (tmp_path / "x.img").rename(tmp_path / "x")
    assert np.array_equal(open_scene(header).read(), cube)
    (tmp_path / "x").unlink()
    with pytest.raises(DataError, match=r"data file of the ENVI header .*'x\.img'"):
        open_scene(header)


def test_bad_bands_of_an_envi_header_are_remarked(tmp_path, cube):
    write_envi(tmp_path / "x.img", cube)
    header = tmp_path / "x.hdr"
    header.write_text(header.read_text() + "bbl = {1, 0, 0, 1, 0}\n")
    scene = open_scene(tmp_path / "x.img")
    assert scene.shape == (6, 8, 5)
    assert "calls the bands 1-2, 4 bad (bbl)" in scene.notes[0]


def test_nanometres():
    assert _file_parts.nanometres([0.4, 2.5]) == (400, 2500)
    assert _file_parts.nanometres([400, 2500]) == (400, 2500)
    assert _file_parts.nanometres([4e-7], "m") == (400,)
    assert _file_parts.nanometres([1, 2], "furlongs") is None
    assert _file_parts.nanometres([0, 2]) is None


# --- wrong files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", WRITERS)
def test_truncated_files(tmp_path, name):
    cube = np.random.default_rng(0).random((40, 50, 20))
    path = tmp_path / name
    WRITERS[name](path, cube)
    content = path.read_bytes()
    for keep in (0, 100, len(content) // 2):
        path.write_bytes(content[:keep])
        with pytest.raises(DataError, match=r"[xy]\.\w+"):
            open_scene(path).read()


@pytest.mark.parametrize("name", WRITERS)
def test_other_content_than_the_name_says(tmp_path, name):
    (tmp_path / name).write_bytes(b"<!DOCTYPE html><html>not found</html>" * 20)
    with pytest.raises(DataError, match=r"[xy]\.\w+"):
        open_scene(tmp_path / name)


@pytest.mark.parametrize("lost", [20, 100])
def test_a_png_that_was_cut_off(tmp_path, cube, lost):
    path = tmp_path / "x.png"
    write_raster(path, cube[:, :, :3].astype(np.uint16), driver="PNG")
    whole = path.read_bytes()
    path.write_bytes(whole[:-lost])
    for read in (open_scene, open_labels):
        with pytest.raises(DataError, match=r"x\.png was cut off"):
            read(path)


def test_missing_files_and_folders(tmp_path):
    (tmp_path / "PaviaU.mat").write_text("")
    with pytest.raises(DataError, match=r"does not exist.*did you mean 'PaviaU\.mat'"):
        open_scene(tmp_path / "paviaU.mat")
    with pytest.raises(DataError, match="is a folder"):
        open_scene(tmp_path)


def test_complex_and_object_arrays(tmp_path, cube):
    complex_cube = cube + 1j
    scipy.io.savemat(tmp_path / "x.mat", {"slc": complex_cube})
    np.save(tmp_path / "x.npy", complex_cube)
    np.savez(tmp_path / "x.npz", complex_cube)
    write_raster(tmp_path / "x.tif", complex_cube.astype(np.complex64))
    with h5py.File(tmp_path / "y.mat", "w") as file:
        pair = np.dtype([("real", "f8"), ("imag", "f8")])
        file["slc"] = np.zeros((3, 4, 5), dtype=pair)
    for name in ("x.mat", "x.npy", "x.npz", "x.tif", "y.mat"):
        with pytest.raises(DataError, match="complex numbers"):
            open_scene(tmp_path / name)
    objects = np.full((2, 2, 2), None)
    np.save(tmp_path / "o.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "o.npz", objects)
    scipy.io.savemat(tmp_path / "o.mat", {"cells": objects.astype(str).astype(object)})
    for name in ("o.npy", "o.npz"):
        with pytest.raises(DataError, match=r"object|Python objects"):
            open_scene(tmp_path / name)
    with pytest.raises(DataError, match="no numeric variable"):
        open_scene(tmp_path / "o.mat")


def test_more_dimensions_and_planes(tmp_path, cube):
    np.save(tmp_path / "x.npy", cube[None])
    with pytest.raises(DataError, match="4 dimensions"):
        open_scene(tmp_path / "x.npy")
    np.save(tmp_path / "x.npy", cube[:, :, 0])
    assert open_scene(tmp_path / "x.npy").shape == (6, 8, 1)
    np.save(tmp_path / "x.npy", cube[:0])
    with pytest.raises(DataError, match="empty"):
        open_scene(tmp_path / "x.npy")


def test_a_zip_that_is_no_npz(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.writestr("readme.txt", "no array")
    with pytest.raises(DataError, match=r"x\.npz"):
        open_scene(tmp_path / "x.npz")


# --- real files -----------------------------------------------------------------------------------


def test_salinas_a(swath_data):
    scene = open_scene(
        swath_data / "salinas_a/SalinasA_corrected.mat", swath_data / "salinas_a/SalinasA_gt.mat"
    )
    assert scene.shape == (83, 86, 204)
    assert scene.source.dtype == np.int16
    pixels = scene.read()
    assert (pixels.min(), pixels.max()) == (-9, 8373)
    assert scene.labels is not None
    assert scene.labels.original == (1, 10, 11, 12, 13, 14)
    assert scene.labels.counts().tolist() == [391, 1343, 616, 1525, 674, 799]


def test_houston_crop_both_sensors(swath_data):
    path = swath_data / "houston_crop/houston_dataset.mat"
    with pytest.raises(DataError, match=r"'hyprImg' \(128 x 128 x 48\), 'rgbImg'"):
        open_scene(path)
    rgb = open_scene(path, variable="rgbImg", label_variable="clasLabs")
    assert rgb.shape == (512, 512, 3)
    assert rgb.labels is not None
    assert rgb.labels.classes == 12
    with pytest.raises(DataError, match=r"128 x 128 .*512 x 512.*majority"):
        open_scene(path, path, variable="hyprImg")
    hsi = open_scene(path, path, variable="hyprImg", resample_labels="majority")
    assert hsi.shape == (128, 128, 48)
    assert hsi.labels is not None
    assert hsi.labels.shape == (128, 128)
    assert abs(hsi.labels.counts().sum() * 16 / rgb.labels.counts().sum() - 1) < 0.05


@pytest.mark.parametrize("sensor", ["S1", "S2"])
def test_sen1floods_windows(swath_data, sensor):
    folder = swath_data / "sen1floods11"
    scene = open_scene(
        folder / f"Spain_7370579_{sensor}Hand.tif",
        folder / "Spain_7370579_LabelHand.tif",
        unlabelled=(-1,),
        names=["land", "water"],
    )
    assert scene.shape[:2] == (512, 512)
    assert scene.band_names is not None
    assert scene.band_names[0] == {"S1": "VV", "S2": "B1"}[sensor]
    assert rasterio.crs.CRS.from_wkt(scene.crs).to_epsg() == 4326
    assert scene.transform is not None
    assert scene.transform[2] == pytest.approx(-0.78189, abs=1e-4)
    assert scene.labels is not None
    assert scene.labels.counts().tolist() == [192_010, 70_035]
    with rasterio.open(folder / f"Spain_7370579_{sensor}Hand.tif") as file:
        stored = np.moveaxis(file.read(), 0, 2)[:, :, list(scene.bands)].astype(np.float32)
    pixels, valid = scene.read_valid()
    assert valid.mean() > 0.9
    assert np.array_equal(pixels[valid], stored[valid])
    window = slice(100, 141), slice(470, 512)
    assert np.array_equal(scene.read(*window), pixels[window])


def test_indian_pines_split_maps(swath_data):
    train = open_labels(swath_data / "indian_pines/IndianTR123_temp123.tif")
    test = open_labels(swath_data / "indian_pines/IndianTE123_temp123.tif")
    assert train.counts().tolist() == [50] * 13 + [15] * 3
    assert test.counts().sum() == 9671
    assert not ((train.values >= 0) & (test.values >= 0)).any()


def test_pavia_split_maps(swath_data):
    train = open_labels(swath_data / "gt_maps/TRpaviaU.mat")
    test = open_labels(swath_data / "gt_maps/TSpaviaU.mat")
    whole = open_labels(swath_data / "gt_maps/PaviaU_gt.mat")
    assert train.shape == test.shape == whole.shape == (610, 340)
    assert test.counts().tolist() == [6304, 18146, 1815, 2912, 1113, 4572, 981, 3364, 795]
    assert np.array_equal(np.maximum(train.values, test.values), whole.values)
    assert not ((train.values >= 0) & (test.values >= 0)).any()


def test_a_guess_of_axes_gives_its_true_reason(tmp_path: Path) -> None:
    for shape, reason in (((4, 5, 6), "it is the shortest"), ((5, 9, 5), "another is as short")):
        with h5py.File(tmp_path / "x.h5", "w") as file:
            file["cube"] = np.random.default_rng(0).normal(size=shape)
        assert any(reason in note for note in open_scene(tmp_path / "x.h5").notes)


def test_the_name_of_a_known_scene_is_no_file() -> None:
    with pytest.raises(DataError, match=r"give a file.*open a known scene by .*catalogue_scene"):
        open_scene("salinas-a")


def test_a_scene_says_shortly_what_it_is() -> None:
    cube = np.random.default_rng(0).normal(size=(5, 6, 1))
    labels = np.tile([0, 3, 3, 7, 7, 7], (5, 1))
    scene = array_scene(cube, labels, name="plot")
    assert repr(scene) == "<Scene plot: 5 x 6 pixels, 1 band, 2 classes>"
    assert repr(scene.labels) == "<LabelMap 5 x 6 pixels: 3 class 3, 7 class 7>"


def test_a_file_named_like_the_home_of_nobody() -> None:
    """``Path.expanduser`` raises an error of its own for it."""
    for opened in (open_scene, open_labels, variables):
        with pytest.raises(DataError, match=r"^~nobody-here/x\.npy does not exist"):
            opened("~nobody-here/x.npy")
