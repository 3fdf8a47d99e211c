"""Batches to score on."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from swath import spaces
from swath.study.scoring import random_batch, task_batch
from swath.tasks.scene import SceneTask


def test_windows_show_training_labels_alone(make_task: Callable[..., SceneTask]) -> None:
    task = make_task()
    x, labels = task_batch(task, spaces.create("hsi3d"), samples=6, window=5)
    assert (x.shape, labels.shape) == ((6, 9, 5, 5), (6, 5, 5))
    train = task.targets("train")
    for window, classes in zip(x, labels, strict=True):
        # Every labelled pixel is a training pixel of that class, somewhere in the scene.
        for row, column in np.argwhere(classes.numpy() >= 0):
            same = (task.image == window[:, row, column, None, None]).all(dim=0).numpy()
            assert (train[same] == int(classes[row, column])).all()
            assert same.any()
    assert (labels >= 0).flatten(1).any(dim=1).all()


def test_patches_have_the_class_of_their_middle(make_task: Callable[..., SceneTask]) -> None:
    task = make_task(classes=3)
    x, labels = task_batch(task, spaces.create("hytas"), samples=6, window=99)
    assert x.shape == (6, 9, 7, 7)  # the space's own patch
    assert torch.bincount(labels).tolist() == [2, 2, 2]
    for patch, label in zip(x, labels, strict=True):
        same = (task.image == patch[:, 3, 3, None, None]).all(dim=0).numpy()
        assert task.targets("train")[same].tolist() == [int(label)]


def test_random_batches_follow_the_seed_and_the_space() -> None:
    sizes = {"samples": 4, "window": 6}
    dense = random_batch(spaces.create("hsi3d"), 3, 10, **sizes)
    assert [one.shape for one in dense] == [(4, 3, 6, 6), (4, 6, 6)]
    patch = random_batch(spaces.create("hytas"), 3, 10, **sizes, seed=1)
    assert patch[1].shape == (4,)
    assert torch.equal(patch[0], random_batch(spaces.create("hytas"), 3, 10, **sizes, seed=1)[0])
    assert not torch.equal(patch[0], dense[0])
