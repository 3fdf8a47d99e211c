"""Patches cut from scenes: where they lie, what they show, and which label they have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.core.errors import DataError
from swath.data.labels import LabelMap
from swath.data.readers import open_labels, open_scene
from swath.data.scene import array_scene
from swath.tasks.patch_cutting import cut_patches


def example(rows: int, columns: int, seed: int = 0, gaps: float = 0.0) -> tuple[Any, LabelMap]:
    rng = np.random.default_rng(seed)
    cube = rng.normal(size=(rows, columns, 2)).astype(np.float32)
    cube[rng.random((rows, columns)) < gaps] = np.nan
    labels = rng.integers(0, 4, (rows, columns))
    labels[0, :3] = 1, 2, 3
    return array_scene(cube), LabelMap.from_array(labels)


def majority(window: np.ndarray) -> int:
    """The slow reference: most votes, at least half labelled, the first of equals."""
    known = window[window >= 0]
    return int(np.bincount(known).argmax()) if 2 * len(known) >= window.size else -1


@given(
    rows=st.integers(6, 14),
    columns=st.integers(6, 14),
    patch=st.integers(1, 5),
    stride=st.none() | st.integers(1, 4),
    label=st.sampled_from(["centre", "majority"]),
    seed=st.integers(0, 9),
)
def test_a_grid_of_patches(
    rows: int, columns: int, patch: int, stride: int | None, label: Any, seed: int
) -> None:
    scene, labels = example(rows, columns, seed, gaps=0.03)
    expected = []
    for top in range(0, rows - patch + 1, stride or patch):
        for left in range(0, columns - patch + 1, stride or patch):
            window = labels.values[top : top + patch, left : left + patch]
            found = window[patch // 2, patch // 2] if label == "centre" else majority(window)
            whole = scene.valid()[top : top + patch, left : left + patch].all()
            if found >= 0 and whole:
                expected.append((top, left, int(found)))
    if not expected:
        with pytest.raises(DataError, match="no patch of"):
            cut_patches({"s": scene}, labels, patch, stride=stride, label=label)
        return
    patches = cut_patches({"s": scene}, labels, patch, stride=stride, label=label)
    assert patches.corners is not None
    assert [
        (row, column, int(c))
        for (row, column), c in zip(patches.corners.tolist(), patches.labels, strict=True)
    ] == expected
    cube = scene.read()
    for place, pixels in zip(
        patches.corners.tolist(), patches.source.read(np.arange(patches.count)), strict=True
    ):
        top, left = place
        window = cube[top : top + patch, left : left + patch].transpose(2, 0, 1)
        np.testing.assert_array_equal(pixels, window)


def test_places_drawn_for_each_class() -> None:
    scene, labels = example(30, 30)
    patches = cut_patches({"s": scene}, labels, 5, per_class=12, seed=3)
    assert patches.counts().tolist() == [12] * labels.classes
    assert patches.corners is not None
    assert len({tuple(corner) for corner in patches.corners.tolist()}) == patches.count
    middles = labels.values[tuple((patches.corners + 2).T)]
    np.testing.assert_array_equal(middles, patches.labels)
    again = cut_patches({"s": scene}, labels, 5, per_class=12, seed=3)
    np.testing.assert_array_equal(again.corners, patches.corners)
    other = cut_patches({"s": scene}, labels, 5, per_class=12, seed=4)
    assert not np.array_equal(other.corners, patches.corners)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"patch": 0}, "makes no sense"),
        ({"label": "center"}, "'centre' or 'majority', not 'center'"),
        ({"stride": 2, "per_class": 3}, "give one of them"),
        ({"patch": 31}, "a patch of 31 pixels does not fit into 30 x 30"),
        ({"per_class": 1000}, r"class 'class 1' has \d+ places for 1000 patches"),
    ],
)
def test_what_cannot_be_cut_is_refused(options: dict[str, Any], message: str) -> None:
    scene, labels = example(30, 30)
    with pytest.raises(DataError, match=message):
        cut_patches({"s": scene}, labels, **{"patch": 5, **options})


def test_labels_of_another_size_are_refused_or_reduced() -> None:
    scene, _ = example(10, 10)
    fine = LabelMap.from_array(np.kron(np.arange(1, 101).reshape(10, 10) % 3 + 1, np.ones((2, 2))))
    with pytest.raises(DataError, match=r"labels have 20 x 20 .* the scenes 10 x 10; .*resample"):
        cut_patches({"s": scene}, fine, 2)
    patches = cut_patches({"s": scene}, fine, 2, resample=True)
    assert patches.corners is not None
    np.testing.assert_array_equal(
        patches.labels, fine.values[::2, ::2][tuple((patches.corners + 1).T)]
    )
    with pytest.raises(DataError, match="whole number"):
        cut_patches({"s": scene}, LabelMap.from_array(np.ones((15, 15))), 2, resample=True)


def test_sentinel_1_and_2_of_a_flood(swath_data: Path) -> None:
    """The chip's own counts: 99 pixels without a label, water 70,035 of the others."""
    stem = swath_data / "sen1floods11" / "Spain_7370579_"
    scenes = {name: open_scene(f"{stem}{name.upper()}Hand.tif") for name in ("s1", "s2")}
    labels = open_labels(f"{stem}LabelHand.tif", unlabelled=[-1])
    single = cut_patches(scenes, labels, 1)
    assert single.bands == 15
    assert single.counts().tolist() == [192_010, 70_035]
    patches = cut_patches(scenes, labels, 32, label="majority")
    assert patches.source.shape == (256, 15, 32, 32)
    water = np.array(
        [
            (labels.values[r : r + 32, c : c + 32] == 1).mean()
            > (labels.values[r : r + 32, c : c + 32] == 0).mean()
            for r in range(0, 512, 32)
            for c in range(0, 512, 32)
        ]
    )
    np.testing.assert_array_equal(patches.labels, water)
