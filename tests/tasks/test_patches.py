"""The patches task: what training sees of it, and what it never sees."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from swath.core.errors import MismatchError, RecipeError
from swath.data.patch_set import ArrayPatches
from swath.tasks.metrics import score
from swath.tasks.patches import PatchTask, PatchTaskSampler, fit_patch_scaling

MakePatchTask = Callable[..., PatchTask]


def pixels(task: PatchTask) -> np.ndarray:
    return task.patches.source.read(np.arange(task.patches.count))


def test_bands_are_scaled_over_training_patches_alone(make_patch_task: MakePatchTask) -> None:
    task = make_patch_task(90)
    own = pixels(task)
    mean = own[task.split.train].mean((0, 2, 3), keepdims=True)
    deviation = own[task.split.train].std((0, 2, 3), keepdims=True)
    for part, mask in (("train", task.split.train), ("validation", task.split.validation)):
        found = task.images(part, np.arange(mask.sum()))  # type: ignore[arg-type]
        expected = (own[mask] - mean[0]) / deviation[0]
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
        np.testing.assert_array_equal(task.targets(part), task.patches.labels[mask])  # type: ignore[arg-type]
    others = own.copy()
    others[~task.split.train] += 100
    changed = dataclasses.replace(task.patches, source=ArrayPatches(others))
    assert fit_patch_scaling(changed, task.split) == task.scaling


@pytest.mark.parametrize("kind", ["minmax", "whitened", "max", "none"])
def test_scalings_are_those_of_scenes(make_patch_task: MakePatchTask, kind: Any) -> None:
    """Fitted on the training patches as one image, whatever windows it is read in."""
    from swath.data.scaling import fit_scaling
    from swath.data.scene import array_scene

    task = make_patch_task(60, 5)
    image = pixels(task)[task.split.train].transpose(0, 2, 3, 1).reshape(-1, 5, 5)
    expected = fit_scaling(array_scene(image), kind)
    found = fit_patch_scaling(task.patches, task.split, kind)
    np.testing.assert_allclose(found.apply(image), expected.apply(image), rtol=1e-4, atol=1e-4)


def test_windows_of_the_pile_may_cut_patches(make_patch_task: MakePatchTask) -> None:
    from swath.tasks.patches import _Pile

    task = make_patch_task(20, 4)
    pile = _Pile(task.patches, np.array([7, 3, 11]))
    image = pixels(task)[[7, 3, 11]].transpose(0, 2, 3, 1).reshape(12, 4, 5)
    for start in range(12):
        for stop in range(start + 1, 13):
            np.testing.assert_array_equal(
                pile.read(slice(start, stop), slice(1, 3)), image[start:stop, 1:3]
            )


def test_memory_changes_nothing_but_what_is_read(make_patch_task: MakePatchTask) -> None:
    kept, read = make_patch_task(), make_patch_task(memory=0)
    for task in (kept, read):
        task.load()
    for step in range(3):
        for a, b in zip(
            PatchTaskSampler(kept, 1).batch(9, step),
            PatchTaskSampler(read, 1).batch(9, step),
            strict=True,
        ):
            assert torch.equal(a, b)
    asked: list[int] = []
    source = read.patches.source.read
    read.patches.source.read = lambda places: asked.extend(places) or source(places)  # type: ignore
    PatchTaskSampler(read, 1).batch(4, 0)
    assert len(asked) == 4
    assert read.split.train[asked].all()


def test_training_never_reads_a_test_patch(make_patch_task: MakePatchTask) -> None:
    task = make_patch_task()
    broken = pixels(task)
    broken[task.split.test] = np.nan
    labels = task.patches.labels.copy()
    labels[task.split.test] = (labels[task.split.test] + 1) % task.classes
    patches = dataclasses.replace(task.patches, source=ArrayPatches(broken), labels=labels)
    other = PatchTask(patches, task.split, fit_patch_scaling(patches, task.split))
    for sampling in ("uniform", "balanced"):
        a = PatchTaskSampler(task, 0, sampling).batch(20, 1)  # type: ignore[arg-type]
        b = PatchTaskSampler(other, 0, sampling).batch(20, 1)  # type: ignore[arg-type]
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
    np.testing.assert_array_equal(task.targets("validation"), other.targets("validation"))


def test_test_patches_come_in_their_order(make_patch_task: MakePatchTask) -> None:
    task = make_patch_task(70)
    images = torch.cat(list(task.test_images(count=4)))
    scaled = task.scaling.apply(pixels(task)[task.split.test].transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(images, scaled.transpose(0, 3, 1, 2))
    truth = task.patches.labels[task.split.test]
    guess = np.random.default_rng(0).integers(0, 3, len(truth))
    matrix = task.test_confusion(guess)
    assert matrix.sum() == len(truth)
    assert np.trace(matrix) / matrix.sum() == score(truth, guess, 3).oa


def test_batches_are_drawn_as_they_say(make_patch_task: MakePatchTask) -> None:
    task = make_patch_task(classes=3)
    shown = task.images("train", np.arange(task.split.train.sum()))
    sampler = PatchTaskSampler(task, 5, "balanced")
    x, y = sampler.batch(30, 2, augmented=False)
    assert np.bincount(y).tolist() == [10, 10, 10]
    for image, label in zip(x, y, strict=True):
        (place,) = np.flatnonzero((shown == image).all((1, 2, 3)))
        assert task.targets("train")[place] == label
    again = PatchTaskSampler(task, 5, "balanced").batch(30, 2, augmented=False)
    assert torch.equal(again[0], x)
    assert not torch.equal(sampler.batch(30, 3, augmented=False)[0], x)
    turned, same = sampler.batch(30, 2)
    assert torch.equal(same, y)
    assert not torch.equal(turned, x)
    torch.testing.assert_close(turned.sum((2, 3)), x.sum((2, 3)))


def test_sensors_are_dropped_whole_and_one_is_left(make_patch_task: MakePatchTask) -> None:
    """Of two sensors with p each, one stays alone with p(1 - p) + p^2 / 2 = p - p^2 / 2."""
    share = 0.6
    task = make_patch_task(sensor_dropout=share)
    x, _ = PatchTaskSampler(task, 0).batch(4000, 0, augmented=False)
    s1, s2 = (x[:, bands].abs().sum((1, 2, 3)) == 0 for bands in (slice(0, 2), slice(2, 5)))
    assert not (s1 & s2).any()
    for dropped in (s1, s2):
        assert abs(dropped.double().mean().item() - (share - share**2 / 2)) < 0.04
    plain, _ = PatchTaskSampler(make_patch_task(), 0).batch(4000, 0, augmented=False)
    assert torch.equal(x[~s1, :2], plain[~s1, :2])
    assert torch.equal(x[~s2, 2:], plain[~s2, 2:])
    # validation and what is kept in memory are whole
    assert (task.images("validation", np.arange(3)).abs().sum((2, 3)) > 0).all()
    assert (task.images("train", np.arange(30)).abs().sum((2, 3)) > 0).all()


def test_what_does_not_fit_is_refused(make_patch_task: MakePatchTask) -> None:
    task, other = make_patch_task(60), make_patch_task(50)
    with pytest.raises(MismatchError, match="split is of 50 patches, but toy has 60"):
        dataclasses.replace(task, split=other.split)
    narrow = dataclasses.replace(task.scaling, offset=(0.0,), scale=(1.0,))
    with pytest.raises(MismatchError, match="fitted on 1 bands, but toy has 5"):
        dataclasses.replace(task, scaling=narrow)
    with pytest.raises(RecipeError, match=r"sensor_dropout must lie in \[0, 1\)"):
        make_patch_task(sensor_dropout=1.0)
    alone = dataclasses.replace(
        task.patches, sensors=(dataclasses.replace(task.patches.sensors[0], bands=tuple("abcde")),)
    )
    for asked in ({"sensor_dropout": 0.5}, {"fusion": "late"}):
        with pytest.raises(RecipeError, match="needs several sensors, but there is 's1' alone"):
            dataclasses.replace(task, patches=alone, **asked)  # type: ignore[arg-type]
