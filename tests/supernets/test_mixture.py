"""One choice with all its candidates, and drawing one of them."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from swath.networks.operators3d import operator_factories
from swath.spaces.choices import Choice, Skip, Zero
from swath.supernets.mixture import Mixture, hard_sample


def mixture(weights: Tensor) -> Mixture:
    torch.manual_seed(0)
    choice = Choice(
        "edge",
        {
            "linear": lambda: nn.Linear(3, 3),
            "other": lambda: nn.Linear(3, 3),
            "skip_connect": Skip,
            "none": Zero,
        },
    )
    return Mixture(choice, lambda: weights)


def test_all_candidates_are_summed_with_their_weights() -> None:
    weights = torch.tensor([0.1, 0.2, 0.3, 0.4])
    mixed = mixture(weights)
    x = torch.randn(5, 3)
    expected = 0.1 * mixed.operators[0](x) + 0.2 * mixed.operators[1](x) + 0.3 * x
    torch.testing.assert_close(mixed(x), expected)


def test_what_has_no_weight_is_not_computed() -> None:
    called: list[int] = []
    mixed = mixture(torch.tensor([0.0, 1.0, 0.0, 0.0]))
    for index, operator in enumerate(mixed.operators):
        operator.register_forward_hook(lambda m, i, o, index=index: called.append(index))
    x = torch.randn(2, 3)
    assert torch.equal(mixed(x), mixed.operators[1](x))
    assert set(called) == {1}


def test_none_alone_is_zero() -> None:
    x = torch.randn(2, 3)
    assert torch.equal(mixture(torch.tensor([0.0, 0.0, 0.0, 1.0]))(x), torch.zeros(2, 3))


def test_gradients_reach_the_weights() -> None:
    weights = torch.tensor([0.25, 0.25, 0.25, 0.25], requires_grad=True)
    mixed = mixture(weights)
    x = torch.randn(2, 3)
    mixed(x).sum().backward()
    assert weights.grad is not None
    outputs = [operator(x).sum() for operator in mixed.operators]
    torch.testing.assert_close(weights.grad, torch.stack(outputs).detach())


def normalised(weights: Tensor) -> Mixture:
    """A mixture of 3D-ANAS's operators, a skip connection and none."""
    torch.manual_seed(0)
    candidates = operator_factories("asym-d", 4, affine=False)
    choice = Choice("edge", {**candidates, "skip_connect": Skip, "none": Zero})
    return Mixture(choice, lambda: weights).double()


def test_what_is_normalised_together_is_what_each_gives() -> None:
    weights = torch.rand(8, dtype=torch.float64, requires_grad=True)
    mixed, single = normalised(weights), normalised(weights)
    x = torch.randn(2, 4, 5, 6, 7, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn_like(x)
    for _ in range(2):  # running averages are followed as well
        answer = mixed(x)
        parts = zip(single.operators[:7], weights, strict=False)
        expected = sum(weight * operator(x) for operator, weight in parts)
    torch.testing.assert_close(answer, expected)
    with_respect_to = [x, weights]
    found = torch.autograd.grad(answer, [*with_respect_to, *mixed.parameters()], upstream)
    wanted = torch.autograd.grad(expected, [*with_respect_to, *single.parameters()], upstream)
    for got, one in zip(found, wanted, strict=True):
        torch.testing.assert_close(got, one, rtol=1e-8, atol=1e-10)
    for (name, got), one in zip(mixed.named_buffers(), single.buffers(), strict=True):
        torch.testing.assert_close(got, one, msg=name)


def test_recalibrated_averages_are_gathered_by_each_norm() -> None:
    weights = torch.rand(8, dtype=torch.float64)
    mixed = normalised(weights)
    for module in mixed.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.reset_running_stats()
            module.momentum = None  # the plain mean over batches
    batches = torch.randn(3, 2, 4, 5, 6, 7, dtype=torch.float64)
    for x in batches:
        mixed(x)
    last = mixed.operators[0][-1]
    answers = torch.stack([mixed.operators[0][:-1](x) for x in batches])
    torch.testing.assert_close(last.running_mean, answers.mean((0, 1, 3, 4, 5)))


@pytest.mark.parametrize("gradients", [True, False])
def test_draws_are_exactly_one_hot(gradients: bool) -> None:
    torch.manual_seed(0)
    logits = torch.randn(200, 9, 8) * 3
    drawn = hard_sample(logits, gradients=gradients)
    # not to rounding: what was not drawn must be zero, what was drawn one
    assert torch.equal(drawn, torch.nn.functional.one_hot(drawn.argmax(-1), 8).float())


def test_draws_follow_the_softmax() -> None:
    torch.manual_seed(1)
    logits = torch.tensor([0.0, 1.0, 2.0, float("-inf")])
    counts = hard_sample(logits.expand(40_000, 4)).mean(0)
    torch.testing.assert_close(counts, logits.softmax(0), atol=0.01, rtol=0)
    assert counts[3] == 0


def test_only_what_was_drawn_carries_a_gradient() -> None:
    torch.manual_seed(2)
    logits = torch.zeros(6, 4, requires_grad=True)
    values = torch.randn(6, 4)
    drawn = hard_sample(logits)
    (drawn * values).sum().backward()
    assert logits.grad is not None
    assert (logits.grad.abs().sum(1) > 0).all()
    # the gradient of the softmax in the direction of the drawn value sums to zero over a row
    torch.testing.assert_close(logits.grad.sum(1), torch.zeros(6), atol=1e-6, rtol=0)
    assert not hard_sample(logits, gradients=False).requires_grad


def test_draws_follow_from_the_seed() -> None:
    logits = torch.randn(5, 6)
    torch.manual_seed(7)
    first = hard_sample(logits)
    torch.manual_seed(7)
    assert torch.equal(hard_sample(logits), first)
