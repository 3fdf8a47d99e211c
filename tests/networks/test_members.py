"""Networks that answer together."""

from __future__ import annotations

import copy

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from swath.networks.inference import Inference
from swath.networks.members import Members
from swath.networks.receptive_field import receptive_field
from swath.spaces.base import InputSpec, OutputSpec
from swath.spaces.hsi3d import HSI3D

BANDS, CLASSES = 12, 3


def network(**options: int) -> nn.Module:
    torch.manual_seed(0)
    space = HSI3D(base_width=2, stem_width=4, head_width=4, stem_length=6, **options)
    architecture = space.sample(np.random.default_rng(1))
    return space.build_dense(architecture, InputSpec(BANDS), OutputSpec(CLASSES))


def test_the_answer_is_the_mean_of_different_members() -> None:
    three = network(members=3).eval()
    assert isinstance(three, Members)
    x = torch.randn(2, BANDS, 9, 7)
    with torch.no_grad():
        each = torch.stack([member(x) for member in three.members])
        assert float(each.std(0).mean()) > 0.01
        torch.testing.assert_close(three(x), each.mean(0))
        torch.testing.assert_close(Inference(three, BANDS)(x), each.mean(0), atol=1e-4, rtol=1e-4)
    halo = receptive_field(three, BANDS)
    assert halo == receptive_field(three.members[0], BANDS)


def test_each_member_learns_from_its_own_windows_as_if_alone() -> None:
    three = network(members=3).train()
    assert isinstance(three, Members)
    x, y = torch.randn(6, BANDS, 5, 5), torch.randint(CLASSES, (6, 5, 5))

    def loss(logits: Tensor, classes: Tensor) -> Tensor:
        return F.cross_entropy(logits, classes)

    alone = copy.deepcopy(three.members[1])
    loss(three(x), y).backward()  # type: ignore[no-untyped-call]
    loss(alone(x[2:4]), y[2:4]).backward()  # type: ignore[no-untyped-call]
    for ours, theirs in zip(three.members[1].parameters(), alone.parameters(), strict=True):
        if theirs.grad is None:
            assert ours.grad is None
        else:
            assert ours.grad is not None
            torch.testing.assert_close(3 * ours.grad, theirs.grad, atol=1e-5, rtol=1e-3)
    assert three.mean.weight.grad is None


def test_a_batch_of_fewer_windows_than_members() -> None:
    three = network(members=3).train()
    assert three(torch.randn(2, BANDS, 5, 5)).shape == (2, CLASSES, 5, 5)


def test_batches_of_fewer_windows_than_members_teach_each_in_turn() -> None:
    three = network(members=3).train()
    assert isinstance(three, Members)
    taught = []
    for _ in range(30):
        three.zero_grad()
        three(torch.randn(2, BANDS, 5, 5)).sum().backward()
        gradients = [next(member.parameters()).grad for member in three.members]
        taught.append([gradient is not None for gradient in gradients])
    assert all(sum(each) == 2 for each in taught)
    assert all(any(each[member] for each in taught) for member in range(3))


def test_one_member_is_the_network_itself() -> None:
    assert not isinstance(network(), Members)
