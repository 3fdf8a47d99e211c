"""Tiles cut from images: which pixels each shows, and what tells sets apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tile_files import image, mask, write, write_set

from swath.core.errors import DataError
from swath.data._tile_files import TileImage
from swath.data.tile_folders import open_tiles
from swath.data.tile_set import MaskClasses, Remainder, cut


def blank(rows: int, columns: int) -> TileImage:
    values = ((0, 1), (1, 1))
    return TileImage(Path("a"), Path("b"), None, rows, columns, 3, "uint8", values, None, "")


@pytest.mark.parametrize(
    ("remainder", "starts", "padded"),
    [
        ("overlap", [0, 512, 988], [0, 0, 0]),
        ("drop", [0, 512], [0, 0]),
        ("pad", [0, 512, 1024], [0, 0, 36]),
    ],
)
def test_1500_rows_in_tiles_of_512(
    remainder: Remainder, starts: list[int], padded: list[int]
) -> None:
    windows = cut([blank(1500, 512)], (512, 512), remainder)
    assert [window.rows.start for window in windows] == starts
    assert [window.padded for window in windows] == [(extra, 0) for extra in padded]
    assert {window.size for window in windows} == {(512, 512)}
    if remainder == "overlap":
        assert [window.shown for window in windows] == [(0, 0), (0, 0), (36, 0)]


@given(
    st.integers(1, 40), st.integers(1, 40), st.integers(1, 15), st.integers(1, 15),
    st.sampled_from(["overlap", "drop", "pad"]),
)  # fmt: skip
def test_each_pixel_is_new_in_one_tile(
    rows: int, columns: int, height: int, width: int, remainder: Remainder
) -> None:
    shown = np.zeros((rows, columns), int)
    for window in cut([blank(rows, columns)], (height, width), remainder):
        down, right = window.shown
        shown[window.rows.start + down : window.rows.stop, window.columns.start + right :][
            :, : window.columns.stop - window.columns.start - right
        ] += 1
        smaller = remainder == "overlap"
        assert window.size == (
            (min(height, rows), min(width, columns)) if smaller else (height, width)
        )
    expected = np.ones((rows, columns), int)
    if remainder == "drop":
        expected[rows // height * height :] = 0
        expected[:, columns // width * width :] = 0
    np.testing.assert_array_equal(shown, expected)


@pytest.mark.parametrize("end", [".png", ".tif"])
def test_tiles_show_the_pixels_of_their_image(tmp_path: Path, end: str) -> None:
    pixels, labels = image(1, 11, 9), mask(1, 11, 9)
    write(tmp_path / "images" / f"a{end}", pixels)
    write(tmp_path / "masks" / "a.png", labels)
    tiles = open_tiles(tmp_path, tile=(4, 5), remainder="pad")
    mirrored = np.pad(pixels, [(0, 1), (0, 1), (0, 0)], mode="symmetric")
    target = np.pad((labels > 0).astype(int), [(0, 1), (0, 1)], constant_values=-1)
    assert tiles.count == 6
    for index in range(6):
        top, left = 4 * (index // 2), 5 * (index % 2)
        x, y = tiles.read(index)
        np.testing.assert_array_equal(x, mirrored[top : top + 4, left : left + 5])
        np.testing.assert_array_equal(y, target[top : top + 4, left : left + 5])


def test_tiles_know_their_image_and_images_their_place(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", ends=(".tif", ".tif"), placed=True)
    tiles = open_tiles(tmp_path, tile=6)
    assert tiles.groups.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert tiles.positions is not None
    middles = [(500_005 + 100 * n, 5_000_000 - 6) for n in range(3)]
    np.testing.assert_allclose(tiles.positions, middles)
    write(tmp_path / "images" / "t01.tif", image(1))
    write(tmp_path / "masks" / "t01.tif", mask(1))
    assert open_tiles(tmp_path).positions is None
    write(tmp_path / "images" / "t01.tif", image(1), (0.0, 0.0), crs="EPSG:4326")
    assert open_tiles(tmp_path).positions is None


def test_what_fills_no_tile_is_noted_or_refused(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", 1)
    (note,) = open_tiles(tmp_path, tile=5, remainder="drop").notes
    assert note.startswith(f"{100 * 2 / 12:.1f} % of the pixels fill no tile of 5 x 5")
    assert open_tiles(tmp_path, tile=6).notes == ()
    with pytest.raises(DataError, match="holds no tile"):
        open_tiles(tmp_path, tile=20, remainder="drop")
    with pytest.raises(DataError, match="did you mean 'drop'"):
        cut([blank(4, 4)], (2, 2), "dropp")  # type: ignore[arg-type]
    with pytest.raises(DataError, match="0 x 2 pixels makes no sense"):
        cut([blank(4, 4)], (0, 2))


def test_the_fingerprint_tells_pixels_masks_classes_and_tiles_apart(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks")
    first = open_tiles(tmp_path).fingerprint()
    assert first == open_tiles(tmp_path).fingerprint()
    assert first["shape"] == [3, 3]
    for other in (
        open_tiles(tmp_path, tile=6),
        open_tiles(tmp_path, names=("a", "b")),
        open_tiles(tmp_path, classes={255: "target", 0: "background"}),
    ):
        assert other.fingerprint()["labels"] != first["labels"]
    assert open_tiles(tmp_path, names=("a", "b")).fingerprint()["pixels"] == first["pixels"]
    changed = mask(2)
    changed[5, 5] = 255 - changed[5, 5]
    write(tmp_path / "masks" / "t02.png", changed)
    again = open_tiles(tmp_path).fingerprint()
    assert again["labels"] != first["labels"]
    assert again["pixels"] == first["pixels"]
    write(tmp_path / "images" / "t02.png", image(77))
    assert open_tiles(tmp_path).fingerprint()["pixels"] != first["pixels"]


def test_classes_must_make_sense() -> None:
    with pytest.raises(DataError, match="do not match"):
        MaskClasses(("a", "b"), (1, 1))
    with pytest.raises(DataError, match="both a class and ignored"):
        MaskClasses(("a", "b"), (0, 1), ignored=(1,))
    known = MaskClasses(("a", "b"), (300, -5), ignored=(0,))
    assert known.index(np.array([[300, 0], [-5, 300]])).tolist() == [[0, -1], [1, 0]]
    with pytest.raises(DataError, match="the mask holds the value 7"):
        known.index(np.array([7], np.uint8))
    loose = dataclasses.replace(known, original=(0, 1), threshold=0.5, ignored=(9,))
    assert loose.index(np.array([0, 1, 9, 200], np.uint8)).tolist() == [0, 1, -1, 1]
