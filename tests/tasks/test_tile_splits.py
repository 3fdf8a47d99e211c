"""Splits of tiles: whole images, the right numbers, places kept apart."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tile_files import image, mask, write, write_set

from swath.core.errors import SplitError
from swath.data._tile_files import TileImage
from swath.data.tile_folders import open_tiles
from swath.data.tile_set import MaskClasses, TileSet, cut
from swath.tasks.tile_splits import (
    TileSplit,
    folder_tile_split,
    random_tile_split,
    spatial_tile_split,
)

CLASSES = MaskClasses(("background", "road"), (0, 1))


def made(
    count: int, parts: list[str | None] | None = None, *, wide: int = 10, placed: bool = True
) -> TileSet:
    """A set of images of 20 x 15 pixels, on a grid ``wide`` images wide, that need no files."""
    images = tuple(
        TileImage(
            Path(f"{n}.png"),
            Path(f"{n}_mask.png"),
            parts[n] if parts else None,
            20,
            15,
            3,
            "uint8",
            ((0, 200), (1, 100)),
            None,
            "",
            "somewhere" if placed else None,
            (1.0, 0.0, 15.0 * (n % wide), 0.0, -1.0, -20.0 * (n // wide)),
        )
        for n in range(count)
    )
    return TileSet("made", images, cut(images, (8, 8)), CLASSES)


def owners(tiles: TileSet, split: TileSplit) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {n: set() for n in range(len(tiles.images))}
    for name in ("train", "validation", "test"):
        for tile in np.flatnonzero(getattr(split, name)):
            found[int(tiles.groups[tile])].add(name)
    return found


@given(
    st.integers(3, 60),
    st.integers(0, 5),
    st.one_of(st.floats(0.05, 0.6), st.integers(1, 5)),
    st.one_of(st.floats(0.05, 0.6), st.integers(1, 5)),
    st.booleans(),
)
def test_no_image_is_in_two_parts(
    count: int, seed: int, test: float, validation: float, spatial: bool
) -> None:
    tiles = made(count)
    make = spatial_tile_split if spatial else random_tile_split
    tested = test if isinstance(test, int) else max(1, round(test * count))
    rest = count - tested
    validated = validation if isinstance(validation, int) else max(1, round(validation * rest))
    if tested + validated >= count:
        with pytest.raises(SplitError, match="lower one of them"):
            make(tiles, seed, test=test, validation=validation)
        return
    if spatial and count < 20:
        return  # a part may find no block, which is refused
    split = make(tiles, seed, test=test, validation=validation)
    parts = owners(tiles, split)
    assert all(len(found) == 1 for found in parts.values())
    # Every tile of an image, not one of them alone.
    together = split.train | split.validation | split.test
    assert together.all()
    if not spatial:
        assert sum(found == {"test"} for found in parts.values()) == tested
    split.check(tiles)


def test_numbers_of_images_are_met_exactly() -> None:
    tiles = made(60)
    split = random_tile_split(tiles, 0, test=10, validation=8, train=40)
    parts = list(owners(tiles, split).values())
    assert [parts.count({n}) for n in ("train", "validation", "test")] == [40, 8, 10]
    assert split.notes == ("2 images belong to no part",)
    assert "40 train, 8 validation, 10 test" in split.description
    other = random_tile_split(tiles, 1, test=10, validation=8, train=40)
    assert (other.test != split.test).any()
    again = random_tile_split(tiles, 0, test=10, validation=8, train=40)
    np.testing.assert_array_equal(again.test, split.test)
    # Fewer training images are some of those that all would be.
    few = random_tile_split(tiles, 0, test=10, validation=8, train=5)
    assert not (few.train & ~split.train).any()
    np.testing.assert_array_equal(few.validation, split.validation)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"test": 1.0}, "between 0 and 1, not 1.0; write numbers of images without a point"),
        ({"validation": 0}, "'validation' must be at least 1"),
        ({"test": 5, "validation": 5}, "more than the 10 that there are"),
        ({"test": 2, "validation": 2, "train": 7}, "7 training images are more than the 10"),
    ],
)
def test_sizes_that_make_no_sense(sizes: dict[str, float], message: str) -> None:
    for make in (random_tile_split, spatial_tile_split):
        with pytest.raises(SplitError, match=message):
            make(made(10), 0, **sizes)


def test_blocks_keep_neighbours_together() -> None:
    tiles = made(400, wide=20)
    split = spatial_tile_split(tiles, 3, block=75.0)  # 5 x 3.75 images
    places = tiles.positions
    assert places is not None
    cells = np.floor((places - places.min(axis=0)) / 75.0).astype(int)
    parts = owners(tiles, split)
    by_block: dict[tuple[int, ...], set[str]] = {}
    for n, cell in enumerate(cells):
        by_block.setdefault(tuple(cell), set()).update(parts[n])
    assert len(by_block) > 10
    assert all(len(found) == 1 for found in by_block.values())
    tested = sum(found == {"test"} for found in parts.values())
    assert 0.1 < tested / 400 < 0.3
    assert "separate blocks of 75" in split.description
    few = spatial_tile_split(tiles, 3, block=75.0, train=10)
    assert sum(found == {"train"} for found in owners(tiles, few).values()) == 10


def test_each_class_finds_its_due_in_each_part_of_a_spatial_split() -> None:
    plain = made(100)
    images = tuple(
        dataclasses.replace(one, values=((0, 300 - (n % 10 < 2) * 10), (1, (n % 10 < 2) * 10)))
        for n, one in enumerate(plain.images)
    )  # roads in the two westernmost columns alone
    tiles = dataclasses.replace(plain, images=images)
    split = spatial_tile_split(tiles, 0)
    total = tiles.image_counts.sum(axis=0)
    for name, due in (("train", 0.64), ("validation", 0.16), ("test", 0.2)):
        chosen = np.unique(tiles.groups[getattr(split, name)])
        assert (tiles.image_counts[chosen].sum(axis=0) >= 0.5 * due * total).all()


def test_a_spatial_split_needs_places() -> None:
    with pytest.raises(SplitError, match="not all of made do"):
        spatial_tile_split(made(10, placed=False), 0)
    with pytest.raises(SplitError, match="block of -1"):
        spatial_tile_split(made(10), 0, block=-1)


def test_folders_say_the_parts() -> None:
    tiles = made(5, ["train", "validation", "train", "test", None])
    split = folder_tile_split(tiles)
    parts = owners(tiles, split)
    assert [parts[n] for n in range(4)] == [{"train"}, {"validation"}, {"train"}, {"test"}]
    assert parts[4] == set()
    assert split.notes == ("1 images belong to no part",)
    with pytest.raises(SplitError, match="no folder 'train' says"):
        folder_tile_split(made(5))


def test_what_has_no_folder_is_drawn_from_the_training_images() -> None:
    tiles = made(12, ["train"] * 10 + ["test"] * 2)
    split = folder_tile_split(tiles, 1, validation=3)
    parts = owners(tiles, split)
    assert [n for n in parts if parts[n] == {"test"}] == [10, 11]
    assert sum(found == {"validation"} for found in parts.values()) == 3
    assert split.notes == ("no folder of validation images: 3 were drawn from the training ones",)
    with pytest.raises(SplitError, match="leaves no train image"):
        folder_tile_split(tiles, 1, validation=10)


def test_classes_that_parts_lack() -> None:
    plain = made(6, ["train", "train", "validation", "validation", "test", "test"])

    def with_roads(*places: int) -> TileSet:
        images = tuple(
            dataclasses.replace(one, values=((0, 299), (1, 1)) if n in places else ((0, 300),))
            for n, one in enumerate(plain.images)
        )
        return dataclasses.replace(plain, images=images)

    assert folder_tile_split(with_roads(0, 2)).notes == ("no test image shows 'road'",)
    with pytest.raises(SplitError, match="leaves no pixel of 'road' to train on"):
        folder_tile_split(with_roads(2, 4))


def test_a_split_that_cuts_an_image_is_refused() -> None:
    tiles = made(3)
    half = np.zeros(tiles.count, bool)
    half[::2] = True
    last = tiles.groups == 2
    split = TileSplit("random", half & ~last, ~half & ~last, last, 0, "")
    with pytest.raises(SplitError, match=r"0\.png has tiles in two parts"):
        split.check(tiles)
    with pytest.raises(SplitError, match="tile 0 is in two parts"):
        TileSplit("random", half, half, last, 0, "")
    with pytest.raises(SplitError, match="leaves no validation tile"):
        TileSplit("random", ~last, last & ~last, last, 0, "")
    with pytest.raises(SplitError, match="split is of"):
        random_tile_split(made(5), 0).check(tiles)


def test_images_without_a_tile_are_in_no_part(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", 6)
    write(tmp_path / "images" / "t06.png", image(6, 4, 4))
    write(tmp_path / "masks" / "t06.png", mask(6, 4, 4))
    tiles = open_tiles(tmp_path, tile=5, remainder="drop")
    split = random_tile_split(tiles, 0, test=2, validation=2)
    assert split.train.sum() + split.validation.sum() + split.test.sum() == tiles.count == 6 * 4
    assert "2 train, 2 validation, 2 test" in split.description
