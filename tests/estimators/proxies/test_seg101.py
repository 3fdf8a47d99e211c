"""Variant "seg101": slow references of what SEG101's code computes, chunk by chunk."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from swath.core.errors import RecipeError
from swath.estimators import proxies


class Slow:
    """A copy in training mode, float64, and its batch cut into chunks."""

    def __init__(self, case: Any, chunks: int) -> None:
        self.network = copy.deepcopy(case.network).train()
        self.x, self.y = case.x, case.y
        ends = [round_down(len(self.x) * k / chunks) for k in range(chunks + 1)]
        self.ranges = list(itertools.pairwise(ends))
        self.layers = {
            name: module
            for name, module in self.network.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear)
        }

    def chunks(self) -> Iterator[tuple[Tensor, Tensor]]:
        for start, end in self.ranges:
            yield self.x[start:end], self.y[start:end]

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean cross-entropy of the fifth of the labelled pixels where it is highest."""
        losses = F.cross_entropy(self.network(x), y, ignore_index=-1, reduction="none")
        labelled = losses[y >= 0].sort(descending=True).values
        return labelled[: max(1, len(labelled) // 5)].mean()

    @property
    def weights(self) -> list[Tensor]:
        return [layer.weight for layer in self.layers.values()]

    def grads(self) -> list[Tensor]:
        found = [weight.grad for weight in self.weights]
        return [torch.zeros(()) if grad is None else grad for grad in found]


def round_down(number: float) -> int:
    return int(number + 1e-9)


def grad_norm(slow: Slow) -> float:
    total = 0.0
    for x, y in slow.chunks():
        slow.loss(x, y).backward()  # grad is never set to zero
        total += sum(float(grad.norm()) for grad in slow.grads())
    return total


def snip(slow: Slow) -> float:
    masks = [torch.ones_like(weight, requires_grad=True) for weight in slow.weights]
    for layer, weight, mask in zip(slow.layers.values(), slow.weights, masks, strict=True):
        del layer.weight
        layer.weight = weight.detach()  # type: ignore[assignment]
        layer.register_forward_pre_hook(masked(weight.detach(), mask))
    for x, y in slow.chunks():
        slow.loss(x, y).backward()
    return sum(float(mask.grad.abs().sum()) for mask in masks if mask.grad is not None)


def masked(weight: Tensor, mask: Tensor) -> Callable[..., None]:
    def before(layer: nn.Module, arguments: Any) -> None:
        layer.weight = weight * mask

    return before


def plain(slow: Slow) -> float:
    for x, y in slow.chunks():
        slow.loss(x, y).backward()
    return sum(float((w * g).sum()) for w, g in zip(slow.weights, slow.grads(), strict=True))


def grasp(slow: Slow) -> float:
    for x, y in slow.chunks():
        kept = torch.autograd.grad(slow.loss(x, y), slow.weights)  # that of the last one stays
    for x, y in slow.chunks():
        found = torch.autograd.grad(slow.loss(x, y), slow.weights, create_graph=True)
        torch.stack([(g * h).sum() for g, h in zip(kept, found, strict=True)]).sum().backward()
    return sum(float((-w * g).sum()) for w, g in zip(slow.weights, slow.grads(), strict=True))


def fisher(slow: Slow) -> float:
    answers: dict[str, Tensor] = {}
    for name, layer in slow.layers.items():
        layer.register_forward_hook(lambda _, __, out, name=name: answers.update({name: out}))
    information = dict.fromkeys(slow.layers, torch.zeros(()))
    for x, y in slow.chunks():
        slopes = torch.autograd.grad(slow.loss(x, y), list(answers.values()))
        for (name, answer), slope in zip(answers.items(), slopes, strict=True):
            felt = (answer * slope).detach().flatten(2) if answer.dim() == 4 else answer * slope
            felt = felt.sum(2) if felt.dim() == 3 else felt
            information[name] = information[name] + felt.square().mean(0) / 2
    total = 0.0
    for name, layer in slow.layers.items():
        broadcast = information[name].reshape(-1, *[1] * (layer.weight.dim() - 1))
        total += float((torch.ones_like(layer.weight.detach()) * broadcast).sum())
    return total


def jacob_cov(slow: Slow) -> float:
    rows = []
    for x, _ in slow.chunks():
        x = x.clone().requires_grad_()
        slow.network.logits(x).sum().backward()  # before they are enlarged
        assert x.grad is not None
        rows.append(x.grad.flatten(1).numpy())
    values = np.linalg.eigvalsh(np.corrcoef(np.concatenate(rows))) + 1e-5
    return float(-np.sum(np.log(values) + 1 / values))


def synflow(slow: Slow) -> float:
    for parameter in slow.network.parameters():
        parameter.data.abs_()
    slow.network.logits(torch.ones_like(slow.x[:1])).sum().backward()
    return sum(float((w * g).abs().sum()) for w, g in zip(slow.weights, slow.grads(), strict=True))


def l2_norm(slow: Slow) -> float:
    return sum(float(weight.detach().norm()) for weight in slow.weights)


REFERENCES = {
    "fisher": fisher,
    "grad_norm": grad_norm,
    "grasp": grasp,
    "jacob_cov": jacob_cov,
    "l2_norm": l2_norm,
    "plain": plain,
    "snip": snip,
    "synflow": synflow,
}


@pytest.fixture(scope="module")
def segmentation(make_case: Any) -> Any:
    return make_case("segmentation")


@pytest.mark.parametrize("chunks", [1, 2, 3, 4])
@pytest.mark.parametrize("name", REFERENCES)
def test_as_the_code_of_seg101(segmentation: Any, name: str, chunks: int) -> None:
    expected = REFERENCES[name](Slow(segmentation, chunks))
    options: Any = {"variant": "seg101", "chunks": chunks}
    found = proxies.score(segmentation.network, segmentation.batch, name, **options)[name]
    assert found.total == pytest.approx(expected, rel=1e-6)
    assert list(found.per_layer) in ([], list(Slow(segmentation, 1).layers))


def test_together_in_chunks_of_two_and_nothing_is_changed(segmentation: Any) -> None:
    before = copy.deepcopy(segmentation.network.state_dict())
    found = proxies.score(segmentation.network, segmentation.batch, REFERENCES, variant="seg101")
    for name, one in found.items():
        assert one.total == pytest.approx(REFERENCES[name](Slow(segmentation, 2)), rel=1e-6), name
    for name, tensor in segmentation.network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert all(parameter.grad is None for parameter in segmentation.network.parameters())


def test_one_chunk_is_the_clean_score_but_for_what_differs(segmentation: Any) -> None:
    names = ("grad_norm", "snip", "plain", "grasp")
    network, batch = segmentation.network, segmentation.batch
    theirs = proxies.score(network, batch, names, variant="seg101", chunks=1)
    clean = proxies.score(network, batch, names, loss="hardest")
    other = proxies.score(network, batch, names)
    for name in names:
        assert theirs[name].total == pytest.approx(clean[name].total, rel=1e-9)
        assert theirs[name].total != pytest.approx(other[name].total, rel=1e-3)


def test_what_cannot_be(segmentation: Any) -> None:
    network, batch = segmentation.network, segmentation.batch
    with pytest.raises(RecipeError, match="variant 'seg101' has no proxy 'zico'"):
        proxies.score(network, batch, ["snip", "zico"], variant="seg101")
    with pytest.raises(RecipeError, match="4 samples cannot be cut into 5 chunks; take 1 to 4"):
        proxies.score(network, batch, "snip", variant="seg101", chunks=5)
    with pytest.raises(RecipeError, match="variant 'paper' takes the batch whole"):
        proxies.score(network, batch, "snip", chunks=2)
    with pytest.raises(RecipeError, match=r"no loss 'hardst' .did you mean 'hardest'"):
        proxies.score(network, batch, "snip", loss="hardst")
    pooled = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1)
    ).double()
    with pytest.raises(RecipeError, match="larger batch"):
        proxies.score(pooled, batch[0], "synflow", variant="seg101")
