"""Splits: disjoint, exact, apart, deterministic; on drawn label maps and on real ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.io import loadmat
from scipy.spatial import cKDTree

from swath.core.errors import SplitError
from swath.data.labels import LabelMap
from swath.tasks.blocks import arrange
from swath.tasks.splits import (
    Split,
    fixed_split,
    random_split,
    spatial_split,
    without_classes,
    without_small_classes,
)

QUICK = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])


def fields(seed: int, rows: int, columns: int, classes: int, labelled: float = 0.8) -> LabelMap:
    """Rectangular fields of a few pixels, some pixels unlabelled; every class present."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(5, 12))
    coarse = rng.integers(1, classes + 1, (rows // side + 1, columns // side + 1))
    values = np.kron(coarse, np.ones((side, side), np.int64))[:rows, :columns]
    values[rng.random(values.shape) > labelled] = 0
    values.ravel()[rng.permutation(values.size)[:classes]] = np.arange(1, classes + 1)
    return LabelMap.from_array(values)


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Smallest Chebyshev distance between the pixels of two masks."""
    if not a.any() or not b.any():
        return np.inf
    return float(cKDTree(np.argwhere(a)).query(np.argwhere(b), p=np.inf)[0].min())


def check(split: Split, labels: LabelMap) -> None:
    used = split.train.astype(int) + split.validation + split.test
    assert used.max() <= 1
    assert not (used.astype(bool) & (labels.values < 0)).any()
    assert split.description.startswith(split.protocol.capitalize())


def same(a: Split, b: Split) -> bool:
    return bool(np.array_equal(a.as_map(), b.as_map()))


@QUICK
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(20, 50),
    columns=st.integers(20, 50),
    classes=st.integers(1, 5),
    train=st.integers(1, 9),
    validation=st.integers(0, 5),
    rule=st.sampled_from(["raise", "halve", "drop"]),
)
def test_random(
    seed: int, rows: int, columns: int, classes: int, train: int, validation: int, rule: str
) -> None:
    labels = fields(seed, rows, columns, classes)
    n = labels.counts()
    try:
        split = random_split(labels, train, validation, seed, small_classes=rule)
    except SplitError:
        small = {"raise": train + validation + 1, "halve": 4, "drop": 2 * (train + validation)}
        assert n.min() < small[rule]
        return
    check(split, labels)
    counts = split.counts(labels)
    for c in range(labels.classes):
        if rule == "drop" and n[c] < 2 * (train + validation):
            assert counts[c].tolist() == [0, 0, 0]
            continue
        assert counts[c].sum() == n[c]
        if rule == "halve":
            assert counts[c, :2].sum() == min(n[c] // 2, train + validation)
            assert counts[c, 0] >= 1
        else:
            assert counts[c, :2].tolist() == [train, validation]
        assert counts[c, 2] >= 1
    assert split.visible is None
    assert "leak" in split.description
    assert same(split, random_split(labels, train, validation, seed, small_classes=rule))


@QUICK
@given(
    seed=st.integers(0, 10**6),
    rows=st.integers(24, 60),
    columns=st.integers(24, 60),
    classes=st.integers(1, 4),
    train=st.integers(1, 8),
    validation=st.integers(0, 4),
    guard=st.integers(0, 5),
    block=st.sampled_from([None, 5, 9]),
)
def test_spatial(
    seed: int,
    rows: int,
    columns: int,
    classes: int,
    train: int,
    validation: int,
    guard: int,
    block: int | None,
) -> None:
    labels = fields(seed, rows, columns, classes)
    try:
        split = spatial_split(labels, train, validation, seed, guard=guard, block=block)
    except SplitError:
        return
    check(split, labels)
    counts = split.counts(labels)
    assert (counts[:, 0] == train).all()
    assert (counts[:, 1] == validation).all()
    assert (counts[:, 2] >= 1).all()
    assert distance(split.train | split.validation, split.test) > guard
    assert split.visible is not None
    assert not (split.visible & split.test).any()
    # a patch as wide as the guard around any training or validation pixel can be seen whole
    for row, column in np.argwhere(split.train | split.validation):
        patch = np.s_[
            max(row - guard, 0) : row + guard + 1, max(column - guard, 0) : column + guard + 1
        ]
        assert split.visible[patch].all()
    assert same(split, spatial_split(labels, train, validation, seed, guard=guard, block=block))


@QUICK
@given(seed=st.integers(0, 10**6), guard=st.integers(0, 5))
def test_test_pixels_keep_away_from_whole_blocks(seed: int, guard: int) -> None:
    labels = fields(seed, 50, 50, 3)
    want = np.array([[5, 3]] * 3)
    blocks = arrange(labels.values, want, guard, None, seed)
    if isinstance(blocks, int):
        return
    test, train, validation = (blocks.area(role) for role in range(3))
    assert not (train & validation).any()
    assert not ((train | validation) & test).any()
    assert (train | validation | test)[labels.values >= 0].all()
    split = spatial_split(labels, 5, 3, seed, guard=guard)
    assert distance(train | validation, split.test) > guard
    assert train[split.train].all()
    assert validation[split.validation].all()
    left = np.bincount(labels.values[split.test], minlength=3)
    np.testing.assert_array_equal(left, blocks.left)
    everywhere = np.argwhere(np.ones(train.shape, bool))
    taken = np.argwhere(train | validation)
    away = cKDTree(taken).query(everywhere, p=np.inf)[0].reshape(train.shape)
    np.testing.assert_array_equal(split.test, (labels.values >= 0) & (away > guard))


def test_seeds_differ() -> None:
    labels = fields(0, 60, 60, 4)
    for draw in (random_split, spatial_split):
        drawn = [draw(labels, 5, 3, seed) for seed in range(3)]
        assert not same(drawn[0], drawn[1])
        assert not same(drawn[1], drawn[2])


def real_maps(folder: Path) -> dict[str, LabelMap]:
    h5py = pytest.importorskip("h5py")
    maps = {
        "Salinas-A": LabelMap.from_array(
            loadmat(next((folder / "salinas_a").glob("*gt*.mat")))["salinasA_gt"]
        )
    }
    for name in ("Indian_pines_gt", "PaviaU_gt", "KSC_gt"):
        with h5py.File(folder / "gt_maps" / f"{name}.mat") as file:
            key = next(k for k in file if not k.startswith("#"))
            maps[name] = LabelMap.from_array(file[key][()].T)
    maps["Indian_pines_gt"] = without_small_classes(maps["Indian_pines_gt"], 60)
    for path in sorted((folder / "houston_crop").glob("*.mat")):
        content = loadmat(path)
        if "clasLabs" in content:
            fine = content["clasLabs"].astype(int).reshape(128, 4, 128, 4).swapaxes(1, 2)
            votes = np.stack([(fine == v).sum((2, 3)) for v in range(fine.max() + 1)])
            maps["Houston crop"] = without_small_classes(LabelMap.from_array(votes.argmax(0)), 60)
    assert len(maps) == 5
    return maps


def test_real_scenes_split_in_space(swath_data: Path) -> None:
    for name, labels in real_maps(swath_data).items():
        for seed in (0, 1):
            split = spatial_split(labels, 20, 10, seed)
            counts = split.counts(labels)
            assert (counts[:, :2] == (20, 10)).all(), name
            assert counts[:, 2].sum() >= 0.5 * labels.counts().sum(), name
            assert (counts[:, 2] >= 0.15 * labels.counts()).all(), (name, seed, counts)
            assert distance(split.train | split.validation, split.test) > 4
            unused = int(labels.counts().sum() - counts.sum())
            assert split.notes[-1].startswith(f"{unused} labels")


def test_indian_pines_halved(swath_data: Path) -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File(swath_data / "gt_maps" / "Indian_pines_gt.mat") as file:
        values = file[next(k for k in file if not k.startswith("#"))][()].T
    labels = LabelMap.from_array(values)
    with pytest.raises(SplitError, match=r"class 'class 7' has 28 labels, fewer than the 31"):
        random_split(labels, 20, 10, 0)
    split = random_split(labels, 20, 10, 0, small_classes="halve")
    counts = dict(zip(labels.original, split.counts(labels).tolist(), strict=True))
    assert counts[9] == [7, 3, 10]
    assert counts[1] == [15, 8, 23]
    assert counts[2] == [20, 10, 1398]
    with pytest.raises(SplitError, match=r"class 'class 9' \(20 labels\).*minimum=21"):
        spatial_split(labels, 20, 10, 0, small_classes="halve")


def test_small_classes() -> None:
    values = np.ones((20, 20), int)
    values[0, :7] = 5
    labels = LabelMap.from_array(values, names={5: "oats"})
    with pytest.raises(
        SplitError, match=r"'oats' has 7 labels.*'halve' \(2 training, 1 val.*'drop'"
    ):
        random_split(labels, 6, 3, 0)
    halved = random_split(labels, 6, 3, 0, small_classes="halve")
    assert halved.counts(labels).tolist() == [[6, 3, 384], [2, 1, 4]]
    assert halved.notes == (
        "class 'oats' (7 labels) is halved: 2 training and 1 validation labels",
    )
    dropped = random_split(labels, 6, 3, 0, small_classes="drop")
    assert dropped.counts(labels).tolist() == [[6, 3, 384], [0, 0, 0]]
    assert "'oats' (7 labels) is left out" in dropped.notes[0]
    kept = random_split(labels, 4, 2, 0, small_classes="drop", minimum=7)
    assert kept.counts(labels)[1].tolist() == [4, 2, 1]
    with pytest.raises(SplitError, match="every class has fewer than 500"):
        random_split(labels, 4, 2, 0, small_classes="drop", minimum=500)
    for train, validation in ((0, 3), (3, -1)):
        with pytest.raises(SplitError, match="make no sense"):
            random_split(labels, train, validation, 0)


def test_without_classes_renumbers() -> None:
    labels = LabelMap.from_array([[3, 7, 9], [0, 7, 9], [9, 9, 9]], names=["a", "b", "c"])
    smaller = without_small_classes(labels, 2)
    assert smaller.original == (7, 9)
    assert smaller.names == ("b", "c")
    assert smaller.values.tolist() == [[-1, 0, 1], [-1, 0, 1], [1, 1, 1]]
    with pytest.raises(SplitError, match="at least one"):
        without_classes(labels, [0, 1, 2])


def test_compact_class_says_what_would_work() -> None:
    values = np.ones((40, 40), int)
    values[10:15, 10:15] = 2
    labels = LabelMap.from_array(values, names=["field", "pond"])
    with pytest.raises(SplitError, match=r"'pond' \(25 labels\).*use guard=\d, which works"):
        spatial_split(labels, 5, 3, 0)
    split = spatial_split(labels, 5, 3, 0, guard=1)
    assert split.counts(labels)[1, 2] >= 1
    assert distance(split.train | split.validation, split.test) > 1


def test_fixed() -> None:
    values = np.repeat(np.arange(1, 4), 12).reshape(6, 6)
    labels = LabelMap.from_array(values)
    train = np.where(np.arange(36).reshape(6, 6) % 2, values, 0)
    test = (train == 0) & (values < 3)
    split = fixed_split(labels, train, test, 2, 0)
    check(split, labels)
    assert split.counts(labels).tolist() == [[4, 2, 6], [4, 2, 6], [4, 2, 0]]
    np.testing.assert_array_equal(split.test, test)
    np.testing.assert_array_equal(split.train | split.validation, train > 0)
    assert same(split, fixed_split(labels, train, test, 2, 0))
    assert not same(split, fixed_split(labels, train, test, 2, 1))
    with pytest.raises(SplitError, match="both the training and the test map"):
        fixed_split(labels, train, values, 2, 0)
    with pytest.raises(SplitError, match="has 6 labels in the training map"):
        fixed_split(labels, train, test, 6, 0)
    halved = fixed_split(labels, train, test, 6, 0, small_classes="halve")
    assert halved.counts(labels)[0].tolist() == [3, 3, 6]
    with pytest.raises(SplitError, match=r"2 x 2.*6 x 6"):
        fixed_split(labels, train[:2, :2], test, 2, 0)
    with pytest.raises(SplitError, match="holds no pixel"):
        fixed_split(labels, train, np.zeros((6, 6)), 2, 0)


def test_fixed_says_which_class_is_tested_but_never_shown() -> None:
    values = np.repeat(np.arange(1, 4), 12).reshape(6, 6)
    labels = LabelMap.from_array(values, ["soil", "water", "road"])
    train = (np.arange(36).reshape(6, 6) % 2 == 0) & (values < 3)
    split = fixed_split(labels, train, ~train, 2, 0)
    assert split.notes == (
        "class 'road' has no label in the training map, so its 12 test labels cannot be told right",
    )


def test_fixed_leaves_pixels_out() -> None:
    """Pixels of a map that lost their label belong to no set; others without one are refused."""
    values = np.repeat(np.arange(1, 4), 12).reshape(6, 6)
    train = np.arange(36).reshape(6, 6) % 2 == 1
    lost = np.zeros((6, 6), bool)
    lost[0, :3] = True
    labels = LabelMap.from_array(np.where(lost, 0, values))
    split = fixed_split(labels, train, ~train, 2, 0, left_out=lost)
    check(split, labels)
    np.testing.assert_array_equal(split.train | split.validation, train & ~lost)
    np.testing.assert_array_equal(split.test, ~train & ~lost)
    for left_out in (None, np.roll(lost, 1)):
        with pytest.raises(SplitError, match="unlabelled in the label map, first"):
            fixed_split(labels, train, ~train, 2, 0, left_out=left_out)
    with pytest.raises(SplitError, match="the test map holds no pixel that can be used"):
        fixed_split(labels, train, ~train, 2, 0, left_out=lost | ~train)


def test_published_maps(swath_data: Path) -> None:
    folder = swath_data / "gt_maps"
    maps = []
    for name in ("TRpaviaU", "TSpaviaU"):
        content = loadmat(folder / f"{name}.mat")
        maps.append(next(v for k, v in content.items() if not k.startswith("__")))
    labels = LabelMap.from_array(np.maximum(maps[0], maps[1]))
    split = fixed_split(labels, maps[0], maps[1], 10, 0)
    check(split, labels)
    counts = split.counts(labels)
    assert (counts[:, 1] == 10).all()
    assert counts[:, :2].sum(axis=1).tolist() == np.bincount(maps[0].ravel())[1:].tolist()
    assert counts[:, 2].tolist() == np.bincount(maps[1].ravel())[1:].tolist()


def test_map_values() -> None:
    one = np.eye(4, dtype=bool)
    train, validation, test = one & (np.arange(4) == 0), one & (np.arange(4) == 1), one[::-1]
    split = Split("fixed", train, validation, test, ~test & (np.arange(4) > 0), 0, "Fixed.")
    assert split.as_map().tolist() == [[1, 0, 0, 3], [4, 2, 3, 0], [4, 3, 0, 0], [3, 0, 0, 0]]


@pytest.mark.parametrize("pair", [("train", "test"), ("validation", "test"), ("visible", "test")])
def test_overlapping_sets_are_refused(pair: tuple[str, str]) -> None:
    parts = {k: np.zeros((3, 3), bool) for k in ("train", "validation", "test", "visible")}
    for name in pair:
        parts[name][1, 2] = True
    with pytest.raises(SplitError, match=r"\(1, 2\)"):
        Split("fixed", seed=0, description="Fixed.", **parts)


def test_each_class_has_its_own_number_of_training_labels() -> None:
    values = np.repeat(np.arange(3), [40, 30, 20]).reshape(9, 10)
    labels = LabelMap.from_array(values + 1, ["a", "b", "c"])
    split = random_split(labels, (10, 5, 15), 4, 0)
    assert split.counts(labels).tolist() == [[10, 4, 26], [5, 4, 21], [15, 4, 1]]
    assert "10, 5, 15 training labels of the classes in turn, 4 validation" in split.description
    with pytest.raises(SplitError, match=r"class 'c' has 20 labels, fewer than the 21 that 16 tr"):
        random_split(labels, (10, 5, 16), 4, 0)
    with pytest.raises(SplitError, match="2 numbers of training labels were given for 3 classes"):
        random_split(labels, (10, 5), 4, 0)
    with pytest.raises(SplitError, match="0 training and 4 validation labels"):
        random_split(labels, (10, 0, 5), 4, 0)
