"""The scene task: what training may see of the labels."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from swath.core.errors import DataError
from swath.data.scaling import fit_scaling
from swath.data.scene import array_scene
from swath.tasks.scene import SceneTask
from swath.tasks.splits import random_split

MakeTask = Callable[..., SceneTask]


@pytest.mark.parametrize("spatial", [False, True])
def test_targets_hold_their_part_alone(make_task: MakeTask, spatial: bool) -> None:
    task = make_task(32, 30, train=3, validation=2, spatial=spatial)
    parts = {"train": task.split.train, "validation": task.split.validation}
    for part, mask in parts.items():
        targets = task.targets(part)
        assert targets.dtype == np.int64
        assert np.array_equal(targets >= 0, mask)
        assert np.array_equal(targets[mask], task.labels.values[mask])
        assert not (targets[task.split.test] >= 0).any()
    assert not (parts["train"] & parts["validation"]).any()


def test_targets_are_the_callers_own(make_task: MakeTask) -> None:
    task = make_task()
    before = task.targets("validation").copy()
    task.targets("validation")[:] = -1
    assert np.array_equal(task.targets("validation"), before)


def test_the_image_is_the_scaled_scene(make_task: MakeTask) -> None:
    task = make_task(7, 9, 4, train=2, validation=2)
    image = task.image
    assert image.shape == (4, 7, 9) == (task.bands, 7, 9)
    assert image.dtype == torch.float32
    assert image is task.image
    cube = task.scene.read()
    mean, deviation = cube.mean((0, 1)), cube.std((0, 1))
    expected = ((cube - mean) / deviation).transpose(2, 0, 1)
    np.testing.assert_allclose(image.numpy(), expected, rtol=1e-4, atol=1e-5)


def test_pixels_without_data_are_zero() -> None:
    rng = np.random.default_rng(0)
    cube = rng.normal(5, 1, (6, 6, 3)).astype(np.float32)
    cube[2, 3] = np.nan
    labels = rng.integers(1, 3, (6, 6))
    scene = array_scene(cube, labels)
    assert scene.labels is not None
    task = SceneTask(scene, random_split(scene.labels, 2, 2, 0), fit_scaling(scene, "standard"))
    assert (task.image[:, 2, 3] == 0).all()
    assert torch.isfinite(task.image).all()


def test_test_confusion_counts_the_test_pixels(make_task: MakeTask) -> None:
    task = make_task()
    rng = np.random.default_rng(1)
    prediction = rng.integers(0, task.classes, task.labels.values.shape)
    truth = task.labels.values
    matrix = task.test_confusion(prediction)
    expected = np.zeros((3, 3), int)
    for row, column in zip(*np.nonzero(task.split.test), strict=True):
        expected[truth[row, column], prediction[row, column]] += 1
    assert np.array_equal(matrix, expected)


def test_a_scene_without_labels_is_no_task(make_task: MakeTask) -> None:
    task = make_task()
    with pytest.raises(DataError, match="toy has no labels"):
        SceneTask(task.scene.with_labels(None), task.split, task.scaling)
