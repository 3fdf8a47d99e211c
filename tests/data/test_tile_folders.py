"""Folders of images and masks: layouts, pairs, classes, and what is refused."""

from __future__ import annotations

import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import rasterio
from tile_files import image, mask, write, write_set

from swath.core.errors import DataError
from swath.data.tile_folders import find_pairs, open_tiles


def names(root: Path, masks: Path | None = None) -> list[tuple[str, str, str | None]]:
    return [(a.name, b.name, part) for a, b, part in find_pairs(root, masks)]


@pytest.mark.parametrize(
    ("images", "masks"), [("images", "masks"), ("Image", "Label"), ("imgs", "gt")]
)
def test_a_folder_of_images_and_one_of_masks(tmp_path: Path, images: str, masks: str) -> None:
    write_set(tmp_path / images, tmp_path / masks)
    expected = [(f"t{n:02d}.png", f"t{n:02d}.png", None) for n in range(3)]
    assert names(tmp_path) == expected
    assert names(tmp_path / images, tmp_path / masks) == expected


def test_the_layout_of_massachusetts_roads(tmp_path: Path) -> None:
    for n, part in enumerate(("train", "val", "test")):
        folder = tmp_path / "tiff" / part
        write_set(folder, folder.with_name(f"{part}_labels"), 1, ends=(".tiff", ".tif"), first=n)
    assert names(tmp_path) == [
        ("t00.tiff", "t00.tif", "train"),
        ("t01.tiff", "t01.tif", "validation"),
        ("t02.tiff", "t02.tif", "test"),
    ]
    assert names(tmp_path / "tiff") == names(tmp_path)
    tiles = open_tiles(tmp_path, names=("background", "road"))
    assert tiles.classes.original == (0, 255)
    assert tiles.classes.names == ("background", "road")
    assert tiles.part_of == ("train", "validation", "test")


def test_the_layout_of_whu_building(tmp_path: Path) -> None:
    for part in ("train", "val", "test"):
        write_set(tmp_path / part / "image", tmp_path / part / "label", 2, ends=(".tif", ".tif"))
    assert [part for _, _, part in names(tmp_path)] == ["train"] * 2 + ["validation"] * 2 + [
        "test"
    ] * 2


def test_images_and_masks_may_be_divided_inside(tmp_path: Path) -> None:
    for part in ("training", "validation"):
        write_set(tmp_path / "images" / part, tmp_path / "masks" / part, 1)
    assert [part for _, _, part in names(tmp_path)] == ["train", "validation"]
    (tmp_path / "images" / "test").mkdir()
    with pytest.raises(DataError, match="divide both alike"):
        find_pairs(tmp_path)


def test_endings_of_names_are_dropped_where_nothing_fits_exactly(tmp_path: Path) -> None:
    for a, b in (("1_sat.jpg", "1_mask.png"), ("x.png", "x-gt.tif"), ("p_img.png", "p_img.png")):
        write(tmp_path / "images" / a, image(1))
        write(tmp_path / "masks" / b, mask(1))
    (tmp_path / "images" / ".hidden.png").write_bytes(b"no image")
    (tmp_path / "images" / "notes.txt").write_text("no image")
    assert names(tmp_path) == [
        ("1_sat.jpg", "1_mask.png", None),
        ("p_img.png", "p_img.png", None),
        ("x.png", "x-gt.tif", None),
    ]
    write(tmp_path / "masks" / "x_mask.png", mask(1))
    with pytest.raises(DataError, match=r"x-gt\.tif and x_mask\.png .* could both belong to 'x'"):
        find_pairs(tmp_path)


def test_what_has_no_partner_is_listed(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", 1)
    for n in range(5):
        write(tmp_path / "images" / f"lone{n}.png", image(n))
    write(tmp_path / "masks" / "other.png", mask(1))
    with pytest.raises(DataError) as caught:
        find_pairs(tmp_path)
    said = str(caught.value)
    assert "lone0.png, lone1.png, lone2.png, ... (5 files) have no mask in" in said
    assert "other.png has no image in" in said


def test_folders_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is no folder"):
        open_tiles(tmp_path / "nowhere")
    with pytest.raises(DataError, match="holds no folders 'images' and 'masks'"):
        open_tiles(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="no folder of masks"):
        open_tiles(tmp_path)
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="holds no PNG, JPEG or GeoTIFF"):
        open_tiles(tmp_path)
    (tmp_path / "parts" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="needs a folder 'images' and a folder 'masks'"):
        open_tiles(tmp_path / "parts")
    write(tmp_path / "images" / "a.png", image(1))
    write(tmp_path / "images" / "a.tif", image(1))
    with pytest.raises(DataError, match=r"a\.png and a\.tif .* have one name"):
        open_tiles(tmp_path)


def test_pixels_and_classes_are_those_of_the_files(tmp_path: Path) -> None:
    values = np.array([[7, 200], [31, 9]], np.uint8)
    pixels = np.arange(8, dtype=np.uint16).reshape(2, 2, 2) + 40_000
    write(tmp_path / "images" / "a.tif", pixels)
    write(tmp_path / "masks" / "a.png", values)
    tiles = open_tiles(tmp_path, classes={200: "road", 7: "house", 31: "tree"}, ignore=[9])
    assert (tiles.count, tiles.bands, tiles.dtype) == (1, 2, np.uint16)
    x, y = tiles.read(0)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, pixels)
    np.testing.assert_array_equal(y, [[1, 0], [2, -1]])
    assert tiles.classes.names == ("road", "house", "tree")
    assert tiles.classes.original == (200, 7, 31)
    assert len(set(tiles.classes.colours)) == 3
    assert tiles.image_counts.tolist() == [[1, 1, 1]]


def test_a_threshold_cuts_grey_edges(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", image(1, 2, 2))
    write(tmp_path / "masks" / "a.png", np.array([[0, 127], [128, 255]], np.uint8))
    with pytest.raises(DataError, match=r"hold 4 values \(0, 127, 128, 255\).*threshold"):
        open_tiles(tmp_path)
    tiles = open_tiles(tmp_path, threshold=127)
    assert tiles.read(0)[1].tolist() == [[0, 0], [1, 1]]
    with pytest.raises(DataError, match="exclude each other"):
        open_tiles(tmp_path, threshold=127, classes={0: "a", 255: "b"})
    with pytest.raises(DataError, match="two classes or more are needed"):
        open_tiles(tmp_path, threshold=255)


def test_masks_of_other_types(tmp_path: Path) -> None:
    grey = mask(3)
    write(tmp_path / "images" / "a.png", image(1))
    write(tmp_path / "masks" / "a.png", np.repeat(grey[:, :, None], 3, axis=2))
    np.testing.assert_array_equal(open_tiles(tmp_path).read(0)[1], grey > 0)
    floats = grey.astype(np.float32)
    floats[3, 3] = np.nan
    (tmp_path / "masks" / "a.png").unlink()
    write(tmp_path / "masks" / "a.tif", floats)
    expected = np.where(np.isnan(floats), -1, grey > 0)
    np.testing.assert_array_equal(open_tiles(tmp_path).read(0)[1], expected)
    write(tmp_path / "masks" / "a.tif", floats + 0.5)
    with pytest.raises(DataError, match=r"holds 0\.5, but masks hold whole numbers"):
        open_tiles(tmp_path)
    floats[3, 3] = np.inf
    write(tmp_path / "masks" / "a.tif", floats)
    with pytest.raises(DataError, match=r"a\.tif holds inf, but masks hold whole numbers"):
        open_tiles(tmp_path)
    coloured = image(2)
    (tmp_path / "masks" / "a.tif").unlink()
    write(tmp_path / "masks" / "a.png", coloured)
    with pytest.raises(DataError, match=r"a\.png has 3 bands that differ"):
        open_tiles(tmp_path)


def test_no_data_has_no_label(tmp_path: Path) -> None:
    write(tmp_path / "masks" / "a.tif", mask(1, values=(0, 1, 9)), nodata=9)
    pixels = image(1)
    pixels[5, 6, 1] = 77
    pixels[pixels == 78] = 79
    pixels[0, 0, 0] = 78
    write(tmp_path / "images" / "a.tif", pixels, nodata=78)
    tiles = open_tiles(tmp_path)
    x, y = tiles.read(0)
    assert y[0, 0] == -1
    assert (x[0, 0] == 0).all()
    expected = np.array([0, 1, *[-2] * 7, -1])[mask(1, values=(0, 1, 9))]
    expected[0, 0] = -1
    np.testing.assert_array_equal(y, expected)
    assert 2 in open_tiles(tmp_path, classes={0: "a", 1: "b", 9: "c"}).read(0)[1]


def test_transparency_is_no_band(tmp_path: Path) -> None:
    alpha = np.full((12, 10, 1), 255, np.uint8)
    alpha[4, 4] = 0
    write(tmp_path / "images" / "a.png", np.concatenate([image(1), alpha], axis=2))
    write(tmp_path / "masks" / "a.png", mask(1))
    tiles = open_tiles(tmp_path)
    assert tiles.bands == 3
    x, y = tiles.read(0)
    assert y[4, 4] == -1
    assert (x[4, 4] == 0).all()
    assert (y < 0).sum() == 1


def test_masked_pixels_have_no_label(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.tif", image(1))
    write(tmp_path / "masks" / "a.tif", mask(1))
    shown = np.ones((12, 10), np.bool_)
    shown[4, 4] = False
    inside = rasterio.Env(GDAL_TIFF_INTERNAL_MASK="YES")
    with inside, rasterio.open(tmp_path / "images" / "a.tif", "r+") as file:
        file.write_mask(shown)
    x, y = open_tiles(tmp_path).read(0)
    assert np.argwhere(y < 0).tolist() == [[4, 4]]
    assert (x[4, 4] == 0).all()


def test_the_no_data_value_of_many_programs_has_no_label(tmp_path: Path) -> None:
    lowest = float(np.finfo(np.float32).min)
    values = (mask(1) > 0).astype(np.float32)
    values[4, 4] = lowest
    write(tmp_path / "images" / "a.png", image(1))
    write(tmp_path / "masks" / "a.tif", values, nodata=lowest)
    for classes in (None, {0: "a", 1: "b"}):
        tiles = open_tiles(tmp_path, classes=classes)
        assert np.argwhere(tiles.read(0)[1] < 0).tolist() == [[4, 4]]


def test_a_value_of_no_class_is_named_with_its_file(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks")
    wrong = mask(1)
    wrong[7, 7] = 42
    write(tmp_path / "masks" / "t01.png", wrong)
    with pytest.raises(DataError, match=r"t01\.png holds the value 42, which is no class \(0: a"):
        open_tiles(tmp_path, classes={0: "a", 255: "b"})


def test_one_class_alone_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.png", image(1))
    write(tmp_path / "masks" / "a.png", np.full((12, 10), 255, np.uint8))
    with pytest.raises(DataError, match="hold the value 255 alone"):
        open_tiles(tmp_path)
    with pytest.raises(DataError, match=r"'road' alone \(they hold the values 255\)"):
        open_tiles(tmp_path, classes={0: "background", 255: "road"})
    with pytest.raises(DataError, match="there are 1 classes"):
        open_tiles(tmp_path, classes={255: "road"})


def test_a_mask_of_another_place_is_refused(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.tif", image(0), (300.0, 5000.0))
    write(tmp_path / "masks" / "a.tif", mask(0), (300.2, 5000.0))
    assert open_tiles(tmp_path).count == 1
    south_up = rasterio.Affine(1, 0, 300, 0, 1, 4988)
    for corner, more in (((310.0, 5000.0), {}), ((300.0, 5000.0), {"transform": south_up})):
        write(tmp_path / "masks" / "a.tif", mask(0), corner, **more)
        with pytest.raises(DataError, match="warp the mask to the grid of its image"):
            open_tiles(tmp_path)


def test_an_image_of_colour_numbers_is_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", 1)
    write(tmp_path / "images" / "t00.png", mask(1))
    with rasterio.open(tmp_path / "images" / "t00.png") as file:
        size = {"height": file.height, "width": file.width}
        values = file.read()
    profile = {"driver": "PNG", "count": 1, "dtype": "uint8", **size}
    with rasterio.open(tmp_path / "images" / "t00.png", "w", **profile) as file:
        file.write(values)
        file.write_colormap(1, {0: (0, 0, 0, 255), 255: (90, 200, 30, 255)})
    with pytest.raises(DataError, match=r"t00\.png holds the numbers of colours in a palette"):
        open_tiles(tmp_path)


def test_images_of_a_set_are_alike(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", ends=(".tif", ".png"))
    write(tmp_path / "images" / "t01.tif", image(1).astype(np.uint16))
    with pytest.raises(DataError, match=r"t00\.tif .* uint8, but .*t01\.tif of type uint16"):
        open_tiles(tmp_path)
    write(tmp_path / "images" / "t01.tif", image(1, bands=4))
    with pytest.raises(DataError, match=r"t00\.tif has 3 bands, but .*t01\.tif has 4"):
        open_tiles(tmp_path)
    write(tmp_path / "images" / "t01.tif", image(1, rows=13))
    with pytest.raises(DataError, match=r"13 x 10 .* mask .* has 12 x 10"):
        open_tiles(tmp_path)


@pytest.mark.parametrize("folder", ["images", "masks"])
def test_a_png_that_was_cut_off_is_named(tmp_path: Path, folder: str) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", size=(60, 60))
    file = tmp_path / folder / "t01.png"
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(DataError, match=re.escape(f"{file} was cut off")):
        open_tiles(tmp_path)


def test_a_damaged_image_is_named_when_it_is_read(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", size=(60, 60))
    file = tmp_path / "images" / "t01.png"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 255
    file.write_bytes(content)
    tiles = open_tiles(tmp_path)
    tiles.read(0)
    with pytest.raises(DataError, match=re.escape(f"{file} cannot be read")):
        tiles.read(1)


@pytest.mark.parametrize("end", [".jpg", ".tif"])
def test_a_file_that_is_no_image_or_was_cut_off(tmp_path: Path, end: str) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", size=(60, 60), ends=(end, ".png"))
    file = tmp_path / "images" / f"t01{end}"
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(DataError, match=re.escape(str(file))):
        open_tiles(tmp_path).read(1)
    file.write_bytes(b"no image at all")
    with pytest.raises(DataError, match=re.escape(f"{file} is no image")):
        open_tiles(tmp_path)


def test_real_road_tiles(swath_data: Path) -> None:
    tiles = open_tiles(swath_data / "epfl_roads", threshold=127, names=("background", "road"))
    assert (tiles.count, tiles.bands, tiles.dtype) == (60, 3, np.uint8)
    assert (tiles.sizes == 400).all()
    assert tiles.part_of == (None,) * 60
    counts = tiles.image_counts.sum(axis=0)
    assert counts.sum() == 60 * 400 * 400
    assert 0.15 < counts[1] / counts.sum() < 0.25  # "about 20 % road"
    x, y = tiles.read(7)
    assert (x.shape, y.shape) == ((400, 400, 3), (400, 400))
    assert np.bincount(y.ravel()).tolist() == tiles.image_counts[7].tolist()


def test_masks_are_looked_through_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", size=(37, 10))
    whole = open_tiles(tmp_path)
    monkeypatch.setattr("swath.data._tile_files._PIXELS", 44)  # four rows and a rest
    parts = open_tiles(tmp_path)
    assert [(one.values, one.digest) for one in parts.images] == [
        (one.values, one.digest) for one in whole.images
    ]
    for n, one in enumerate(parts.images):
        values, counts = np.unique(mask(n, 37, 10), return_counts=True)
        assert dict(one.values) == dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_threads_that_open_files_warn_of_nothing(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", 40)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        tiles = open_tiles(tmp_path)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(tiles.read, list(range(40)) * 3))
    assert said == []
