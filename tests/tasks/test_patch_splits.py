"""Splits of patches: disjoint, of the shares asked for, and apart where they are to be."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from scipy.ndimage import maximum_filter

from swath.core.errors import SplitError
from swath.data.patch_set import ArrayPatches, PatchSet, Sensor
from swath.tasks.patch_splits import PatchSplit, block_patch_split, random_patch_split


def patch_set(labels: np.ndarray, side: int = 1, corners: np.ndarray | None = None) -> PatchSet:
    """Patches whose pixels do not matter; views of a single number."""
    pixels = np.broadcast_to(np.float32(0), (len(labels), 1, side, side))
    names = tuple(f"class {number}" for number in range(int(labels.max()) + 1))
    sensors = (Sensor("s", ("one",)),)
    return PatchSet("toy", ArrayPatches(pixels), labels, names, sensors, corners)


def grid(size: int, side: int, stride: int, classes: int = 3, seed: int = 0) -> PatchSet:
    """Patches cut from a square scene on a grid, labels at random."""
    places = np.arange(0, size - side + 1, stride)
    corners = np.stack(np.meshgrid(places, places, indexing="ij"), -1).reshape(-1, 2)
    labels = np.random.default_rng(seed).integers(0, classes, len(corners))
    return patch_set(labels, side, corners)


def parts(split: PatchSplit) -> list[np.ndarray]:
    return [split.train, split.validation, split.test]


def test_the_footprint_s_protocol_on_so2sat() -> None:
    """352,366 patches, 80/20, of the former 35 % train: 98,662 and 70,473, each class alike."""
    labels = np.random.default_rng(0).permutation(np.arange(352_366) % 17)
    split = random_patch_split(patch_set(labels), 0, test=0.2, validation=0.1, train=0.35)
    counts = split.counts(patch_set(labels))
    assert abs(counts.sum(0) - [0.35 * 0.8 * 352_366, 0.1 * 0.8 * 352_366, 70_473]).max() < 17
    assert np.ptp(counts, axis=0).max() <= 2
    assert "optimistic" in split.description


@given(
    counts=st.lists(st.integers(8, 40), min_size=1, max_size=4),
    test=st.floats(0.2, 0.5),
    validation=st.floats(0.2, 0.5),
    train=st.none() | st.floats(0.2, 0.5),
    seed=st.integers(0, 5),
)
def test_random_parts_have_their_shares_of_each_class(
    counts: list[int], test: float, validation: float, train: float | None, seed: int
) -> None:
    labels = np.repeat(np.arange(len(counts)), counts)
    split = random_patch_split(
        patch_set(labels), seed, test=test, validation=validation, train=train
    )
    assert (np.sum(parts(split), axis=0) <= 1).all()
    for number, count in enumerate(counts):
        found = [int((part & (labels == number)).sum()) for part in parts(split)]
        others = count - test * count
        due = [(1 - validation if train is None else train) * others, validation * others]
        np.testing.assert_allclose(found, [*due, test * count], atol=1.6)
        if train is None:
            assert sum(found) == count


def test_a_random_split_says_how_much_it_leaks() -> None:
    patches = grid(40, 4, 2)
    split = random_patch_split(patches, 0)
    assert patches.corners is not None
    ours, theirs = patches.corners[split.test], patches.corners[split.train]
    touching = (np.abs(ours[:, None] - theirs[None]).max(2) < 4).any(1).sum()
    assert touching > 0
    assert split.notes == (
        f"{touching} of {split.test.sum()} test patches share pixels with a training patch",
    )


@settings(max_examples=40)
@given(
    side=st.integers(1, 6),
    stride=st.integers(1, 6),
    block=st.none() | st.integers(10, 14),
    guard=st.integers(0, 2),
    train=st.none() | st.floats(0.2, 0.5),
    seed=st.integers(0, 5),
)
def test_blocks_share_no_pixel(
    side: int, stride: int, block: int | None, guard: int, train: float | None, seed: int
) -> None:
    """Painted: every pixel that a part shows, with a guard around, is shown by no other part."""
    patches = grid(60, side, stride, classes=2, seed=seed)
    try:
        split = block_patch_split(patches, seed, train=train, block=block, guard=guard)
    except SplitError:  # nothing is left between blocks that are too small
        reject()
    assert patches.corners is not None
    shown = []
    for part in parts(split):
        seen = np.zeros((60, 60), bool)
        for row, column in patches.corners[part]:
            seen[row : row + side, column : column + side] = True
        shown.append(seen)
    for one, other in itertools.permutations(shown, 2):
        assert not (maximum_filter(one, 2 * guard + 1, mode="constant") & other).any()
    assert (split.counts(patches) > 0).all()


def test_blocks_have_about_their_shares() -> None:
    patches = grid(240, 6, 6, classes=4)
    split = block_patch_split(patches, 0, test=0.3, validation=0.2)
    shares = split.counts(patches) / patches.counts()[:, None]
    np.testing.assert_allclose(shares.mean(0), [0.56, 0.14, 0.3], atol=0.06)
    thinned = block_patch_split(patches, 0, test=0.3, validation=0.2, train=0.4)
    np.testing.assert_array_equal(thinned.test, split.test)
    np.testing.assert_array_equal(thinned.validation, split.validation)
    assert not (thinned.train & ~split.train).any()
    np.testing.assert_allclose(
        thinned.counts(patches)[:, 0], 0.4 * 0.7 * patches.counts(), atol=0.6
    )


def test_rare_classes_find_a_place_in_each_part() -> None:
    """One class lies in a corner alone; arrangements are drawn until all parts have of it."""
    patches = grid(120, 4, 4, classes=1)
    labels = patches.labels.copy()
    assert patches.corners is not None
    labels[(patches.corners < 30).all(1)] = 1
    rare = patch_set(labels, 4, patches.corners)
    for seed in range(5):
        assert (block_patch_split(rare, seed, block=10).counts(rare) > 0).all()


def test_blocks_become_smaller_until_each_class_is_served() -> None:
    """A class in one corner of 64 pixels: one block of 64 cannot be shared out."""
    patches = grid(512, 8, 8, classes=1)
    assert patches.corners is not None
    near = (patches.corners < 60).all(1)
    mixed = patch_set(near.astype(np.int64), 8, patches.corners)
    split = block_patch_split(mixed, 0)
    assert (split.counts(mixed) >= 0.5 * mixed.counts()[:, None] * [0.64, 0.16, 0.2]).all()
    assert "blocks of 64" not in split.description
    with pytest.raises(SplitError, match=r"finds no .* blocks of 64"):
        block_patch_split(mixed, 0, block=64)


@pytest.mark.parametrize("guard", [0, 3])
def test_without_places_blocks_are_runs_of_the_file(guard: int) -> None:
    labels = np.arange(400) % 3
    split = block_patch_split(patch_set(labels), 0, block=20, guard=guard)
    part = np.select(parts(split), [1, 2, 3], 0)
    if guard == 0:
        assert (part > 0).all()
    for block in part.reshape(-1, 20):
        assert len(set(block[block > 0].tolist())) == 1
    numbers = [np.flatnonzero(part == number) for number in (1, 2, 3)]
    for one in range(3):
        for other in range(one + 1, 3):
            assert np.abs(numbers[one][:, None] - numbers[other][None]).min() > guard
    assert "which does not say where its patches lie" in split.description


@pytest.mark.parametrize("make", [random_patch_split, block_patch_split])
def test_a_split_follows_from_its_seed(make: Any) -> None:
    patches = grid(60, 3, 3)
    for a, b in zip(parts(make(patches, 1)), parts(make(patches, 1)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert not np.array_equal(make(patches, 1).test, make(patches, 2).test)


@pytest.mark.parametrize("make", [random_patch_split, block_patch_split])
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"test": 0.0}, "share 'test' must lie between 0 and 1, not 0.0"),
        ({"validation": 1.5}, "share 'validation'"),
        ({"train": 0.9, "validation": 0.2}, "0.9 to train and 0.2 to validate are more"),
    ],
)
def test_shares_that_make_no_sense_are_refused(make: Any, options: Any, message: str) -> None:
    with pytest.raises(SplitError, match=message):
        make(grid(60, 3, 3), 0, **options)


def test_classes_that_are_too_small_are_named() -> None:
    labels = np.array([0] * 50 + [1] * 2)
    with pytest.raises(SplitError, match=r"'class 1' \(2 patches\) finds no .*'drop'"):
        random_patch_split(patch_set(labels), 0)
    empty = patch_set(np.array([0] * 30 + [2] * 30))
    with pytest.raises(SplitError, match=r"'class 1' \(0 patches\) finds no"):
        random_patch_split(empty, 0)
    with pytest.raises(SplitError, match=r"'class 1' \(2 patches\) finds no .* blocks of 5"):
        block_patch_split(patch_set(labels), 0, block=5)
    with pytest.raises(SplitError, match="block of 0"):
        block_patch_split(patch_set(labels), 0, block=0)


def test_parts_that_overlap_are_refused() -> None:
    one = np.array([True, True, False])
    with pytest.raises(SplitError, match="patch 1 is in two parts"):
        PatchSplit("random", one, ~one, np.array([False, True, True]), 0, "")
    with pytest.raises(SplitError, match="no test patch"):
        PatchSplit("random", one, ~one, np.zeros(3, bool), 0, "")
