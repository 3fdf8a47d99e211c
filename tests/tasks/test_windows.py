"""Training windows: what they show, and that they stay true to the scene."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from swath.core.errors import SplitError
from swath.tasks.scene import SceneTask
from swath.tasks.windows import WindowSampler, augment

Ints = npt.NDArray[np.int64]


def position_image(rows: int, columns: int) -> torch.Tensor:
    """An image in which every pixel tells its row and column (from 1; 0 means blanked)."""
    return torch.stack(
        torch.meshgrid(torch.arange(1.0, rows + 1), torch.arange(1.0, columns + 1), indexing="ij")
    )


@st.composite
def scenes(draw: st.DrawFn) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Sparse targets and a visibility mask under which every label is visible."""
    rows, columns = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    seed = draw(st.integers(0, 2**32 - 1))
    rng = np.random.default_rng(seed)
    targets = np.full((rows, columns), -1, np.int64)
    for _ in range(draw(st.integers(1, 6))):
        targets[rng.integers(rows), rng.integers(columns)] = rng.integers(3)
    visible = rng.random((rows, columns)) < draw(st.sampled_from([0.2, 0.6, 0.9]))
    return targets, visible | (targets >= 0)


def windows_by_brute_force(
    targets: Ints, visible: npt.NDArray[np.bool_], size: int
) -> dict[tuple[int, int], set[tuple[int, int]]]:
    """For each labelled pixel, the starts of windows that show it and the fewest hidden pixels."""
    rows, columns = targets.shape
    height, width = min(size, rows), min(size, columns)
    found = {}
    for row, column in zip(*np.nonzero(targets >= 0), strict=True):
        hidden: dict[tuple[int, int], int] = {}
        for top in range(rows - height + 1):
            for left in range(columns - width + 1):
                if top <= row < top + height and left <= column < left + width:
                    part = visible[top : top + height, left : left + width]
                    hidden[top, left] = int((~part).sum())
        least = min(hidden.values())
        found[int(row), int(column)] = {start for start, n in hidden.items() if n == least}
    return found


def starts_of(x: torch.Tensor, targets: Ints) -> list[tuple[int, int]]:
    """Where unaugmented windows of a position image begin, from any pixel that is not blanked."""
    starts = []
    for window in x:
        row, column = (int(v) for v in np.argwhere(window[0].numpy() > 0)[0])
        starts.append(
            (int(window[0, row, column]) - 1 - row, int(window[1, row, column]) - 1 - column)
        )
    return starts


@given(scenes(), st.integers(1, 14), st.sampled_from(["uniform", "balanced"]), st.booleans())
def test_windows_hold_a_label_and_hide_what_is_hidden(
    scene: tuple[Ints, npt.NDArray[np.bool_]], size: int, sampling: Any, augmented: bool
) -> None:
    targets, visible = scene
    rows, columns = targets.shape
    sampler = WindowSampler(
        position_image(rows, columns), targets, size, seed=1, sampling=sampling, visible=visible
    )
    for step in range(3):
        x, y = sampler.batch(4, step, augmented=augmented)
        assert x.shape == (4, 2, *sampler.shape)
        assert y.shape == (4, *sampler.shape)
        for window, labels in zip(x, y, strict=True):
            assert (labels >= 0).any()
            seen = window[0] > 0
            at_rows = window[0][seen].long().numpy() - 1
            at_columns = window[1][seen].long().numpy() - 1
            assert visible[at_rows, at_columns].all()
            # every pixel that is shown stands beside its own label; no label is on a blanked one
            assert np.array_equal(targets[at_rows, at_columns], labels[seen].numpy())
            assert (labels[~seen] == -1).all()


@given(scenes(), st.integers(1, 14))
def test_windows_are_those_that_hide_least(
    scene: tuple[Ints, npt.NDArray[np.bool_]], size: int
) -> None:
    targets, visible = scene
    expected = windows_by_brute_force(targets, visible, size)
    everywhere = set().union(*expected.values())
    image = position_image(*targets.shape)
    for sampling in ("uniform", "balanced"):
        sampler = WindowSampler(image, targets, size, 2, sampling=sampling, visible=visible)
        drawn: set[tuple[int, int]] = set()
        for step in range(8):
            drawn.update(starts_of(sampler.batch(16, step, augmented=False)[0], targets))
        assert drawn <= everywhere
        if sampling == "uniform" and len(everywhere) <= 6:
            assert drawn == everywhere


def test_without_hidden_pixels_all_windows_with_a_label_are_drawn() -> None:
    """3D-ANAS crops at random until a label is in; also at the last row and column."""
    targets = np.full((6, 7), -1, np.int64)
    targets[5, 6] = targets[2, 3] = 0
    expected = {
        (top, left)
        for top in range(4)
        for left in range(5)
        if (targets[top : top + 3, left : left + 3] >= 0).any()
    }
    sampler = WindowSampler(position_image(6, 7), targets, 3, 0, sampling="uniform")
    x, _ = sampler.batch(600, 0, augmented=False)
    starts = starts_of(x, targets)
    assert set(starts) == expected
    assert (3, 4) in expected
    counts = np.unique(starts, axis=0, return_counts=True)[1]
    assert counts.min() > 600 / len(expected) / 2


def test_balanced_batches_turn_to_each_class() -> None:
    targets = np.full((20, 20), -1, np.int64)
    targets[:, 0] = 0
    targets[3, 10], targets[17, 18] = 1, 2
    sampler = WindowSampler(position_image(20, 20), targets, 1, 0, sampling="balanced")
    for step in range(20):
        _, y = sampler.batch(3, step)
        assert sorted(y.flatten().tolist()) == [0, 1, 2]
        _, y = sampler.batch(7, step)
        assert np.bincount(y.flatten().numpy(), minlength=3).min() >= 2


def test_batches_are_a_function_of_seed_and_step(make_task: Callable[..., SceneTask]) -> None:
    task = make_task()

    def sampler(seed: int) -> WindowSampler:
        return WindowSampler(task.image, task.targets("train"), 5, seed)

    first, second = sampler(3), sampler(3)
    for step in (0, 7, 2):  # in any order
        a, b = first.batch(4, step), second.batch(4, step)
        assert torch.equal(a[0], b[0])
        assert torch.equal(a[1], b[1])
    assert not torch.equal(first.batch(4, 0)[0], first.batch(4, 1)[0])
    assert not torch.equal(first.batch(4, 0)[0], sampler(4).batch(4, 0)[0])


@pytest.mark.parametrize("sampling", ["uniform", "balanced"])
def test_a_pool_is_drawn_once(make_task: Callable[..., SceneTask], sampling: Any) -> None:
    task = make_task(24, 24, train=6)

    def sampler(name: int) -> WindowSampler:
        return WindowSampler(task.image, task.targets("train"), 6, name, sampling=sampling, pool=5)

    def windows(source: WindowSampler, steps: range) -> set[bytes]:
        drawn = [source.batch(4, step, augmented=False)[0] for step in steps]
        return {window.numpy().tobytes() for batch in drawn for window in batch}

    pool = windows(sampler(0), range(30))
    assert len(pool) <= 5
    # another sampler of the same seed, begun later, has the same pool; another seed has not
    assert windows(sampler(0), range(100, 130)) == pool
    assert windows(sampler(1), range(30)) != pool


def test_nothing_to_train_on_is_said() -> None:
    with pytest.raises(SplitError, match="no label to train on"):
        WindowSampler(torch.zeros(2, 4, 4), np.full((4, 4), -1), 3, 0)


@given(
    rows=st.integers(1, 8),
    columns=st.integers(1, 8),
    bands=st.integers(1, 3),
    seed=st.integers(0, 10_000),
)
def test_augmentation_moves_spectra_and_labels_together(
    rows: int, columns: int, bands: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    y = torch.from_numpy(rng.permutation(rows * columns).reshape(rows, columns))
    spectra = torch.from_numpy(rng.normal(size=(rows * columns, bands)))
    x = spectra[y].permute(2, 0, 1)  # the spectrum of a pixel follows from its label
    moved_x, moved_y = augment(x, y, np.random.default_rng(seed + 1))
    assert moved_y.shape == y.shape
    assert sorted(moved_y.flatten().tolist()) == list(range(rows * columns))
    assert torch.equal(spectra[moved_y].permute(2, 0, 1), moved_x)


def test_augmentation_reaches_all_eight_orientations() -> None:
    y = torch.arange(9).reshape(3, 3)
    x = y[None].double()
    expected = {np.rot90(f, k).tobytes() for f in (y.numpy(), y.numpy()[::-1]) for k in range(4)}
    rng = np.random.default_rng(0)
    seen = [augment(x, y, rng)[1].contiguous().numpy().tobytes() for _ in range(400)]
    assert set(seen) == expected
    assert min(seen.count(view) for view in expected) > 400 / 8 / 2
    # a window that is not square keeps its shape, in the four ways that do
    wide = torch.arange(6).reshape(2, 3)
    views = {augment(wide[None].double(), wide, rng)[1].numpy().tobytes() for _ in range(100)}
    assert len(views) == 4
