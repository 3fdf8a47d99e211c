"""Validation: every label once, whatever the windows."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from swath.networks.patchwise import Patchwise
from swath.tasks.metrics import Scores
from swath.tasks.scene import SceneTask
from swath.training.evaluate import Validation, batch_statistics, evaluate

MakeTask = Callable[..., SceneTask]


class Pixelwise(nn.Module):
    """Labels each pixel by its own spectrum, so windows cannot matter."""

    def __init__(self, bands: int, classes: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.point = nn.Conv2d(bands, classes, 1)
        self.norm = nn.BatchNorm2d(classes)
        self.sizes: list[tuple[int, int]] = []

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append((x.shape[2], x.shape[3]))
        return self.norm(self.point(x))


@pytest.mark.parametrize("window", [1, 3, 5, 8, 13, 100])
@pytest.mark.parametrize("part", ["train", "validation"])
def test_each_label_counts_once(make_task: MakeTask, window: int, part: str) -> None:
    task = make_task(16, 13)
    network = Pixelwise(task.bands, task.classes).eval()
    result = evaluate(network, task, part, window=window)  # type: ignore[arg-type]
    mask = task.split.train if part == "train" else task.split.validation
    logits = network(task.image[None])[0].permute(1, 2, 0)[torch.from_numpy(mask)]
    truth = torch.from_numpy(task.labels.values[mask])
    assert sum(result.scores.support) == mask.sum() == len(truth)
    assert result.scores.oa == pytest.approx(float((logits.argmax(1) == truth).double().mean()))
    loss = nn.functional.cross_entropy(logits, truth).item()
    assert result.loss == pytest.approx(loss, rel=1e-5)
    assert max(itertools.chain(*network.sizes[:-1])) <= window
    if window == 100:
        assert network.sizes[0] == (16, 13)


def test_windows_without_labels_are_not_computed(make_task: MakeTask) -> None:
    task = make_task(40, 40, train=1, validation=1)
    network = Pixelwise(task.bands, task.classes)
    evaluate(network, task, "validation", window=4)
    assert len(network.sizes) <= 3


@pytest.mark.parametrize("training", [True, False])
def test_the_network_keeps_its_mode_and_statistics(make_task: MakeTask, training: bool) -> None:
    task = make_task()
    network = Pixelwise(task.bands, task.classes).train(training)
    before = {k: v.clone() for k, v in network.state_dict().items()}
    evaluate(network, task, "validation")
    assert network.training == network.norm.training == training
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


def test_test_labels_are_not_read(make_task: MakeTask, monkeypatch: pytest.MonkeyPatch) -> None:
    task = make_task()
    network = Pixelwise(task.bands, task.classes).eval()
    expected = evaluate(network, task, "validation")
    values = task.labels.values.copy()
    values[task.split.test] = (values[task.split.test] + 1) % task.classes
    other = SceneTask(
        task.scene.with_labels(
            type(task.labels)(
                values, task.labels.original, task.labels.names, task.labels.unlabelled
            )
        ),
        task.split,
        task.scaling,
    )
    assert not np.array_equal(other.labels.values, task.labels.values)
    assert evaluate(network, other, "validation") == expected


def validation(oa: float, loss: float) -> Validation:
    return Validation(Scores(oa=oa, aa=oa, kappa=oa, per_class=(oa,), support=(1,)), loss)


def test_the_rule_of_the_better() -> None:
    """3D-ANAS: keep if accuracy is higher, or equal at a lower loss."""
    base = validation(0.8, 1.0)
    assert base.better_than(None)
    assert validation(0.81, 5.0).better_than(base)
    assert not validation(0.79, 0.1).better_than(base)
    assert validation(0.8, 0.9).better_than(base)
    assert not validation(0.8, 1.0).better_than(base)
    assert not validation(0.8, 1.1).better_than(base)


def test_batch_statistics_are_those_of_the_window(make_task: MakeTask) -> None:
    """The running statistics are wrong on purpose; they are neither used nor changed."""
    task = make_task(9, 9)
    network = Pixelwise(task.bands, task.classes).eval()
    network.norm.running_mean += 100.0
    network.norm.running_var *= 7.0
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x = task.image[None]
    wrong = network(x)
    with batch_statistics(network):
        found = network(x)
        evaluate(network, task, "validation")
    z = network.point(x)
    mean, variance = z.mean((0, 2, 3), keepdim=True), z.var((0, 2, 3), keepdim=True, correction=0)
    torch.testing.assert_close(found, (z - mean) / (variance + network.norm.eps).sqrt())
    assert not torch.allclose(found, wrong)
    torch.testing.assert_close(network(x), wrong)
    after = network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_running_statistics_come_back_after_an_error(make_task: MakeTask) -> None:
    network = Pixelwise(3, 2).eval()
    with pytest.raises(KeyError), batch_statistics(network):
        raise KeyError
    assert network.norm.running_mean is not None


class SumOfPatch(nn.Module):
    """Answers for patches, and counts them."""

    def __init__(self, bands: int, classes: int, patch: int) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer = nn.Linear(bands * patch**2, classes)
        self.seen = 0

    def forward(self, x: Tensor) -> Tensor:
        self.seen += len(x)
        return self.layer(x.flatten(1))


@pytest.mark.parametrize("at_once", [1, 4, 1000])
def test_patch_networks_are_asked_about_labels_alone(
    make_task: MakeTask, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    """And the answer is that of the dense network on the whole scene."""
    task = make_task(16, 13)
    inner = SumOfPatch(task.bands, task.classes, 7)
    network = Patchwise(inner, 7).train()
    monkeypatch.setattr("swath.training.batches._PATCHES", at_once)
    result = evaluate(network, task, "validation")
    mask = task.split.validation
    assert inner.seen == mask.sum()
    assert inner.training
    logits = network(task.image[None])[0].permute(1, 2, 0)[torch.from_numpy(mask)]
    truth = torch.from_numpy(task.labels.values[mask])
    assert result.scores.oa == pytest.approx(float((logits.argmax(1) == truth).double().mean()))
    assert result.loss == pytest.approx(nn.functional.cross_entropy(logits, truth).item(), rel=1e-5)
