"""BatchNorm statistics gathered anew, against those computed by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from swath.training.evaluate import recalibrated


def network() -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2)
    )
    for _ in range(3):
        made(torch.randn(5, 3, 6, 6) + 1)
    return made


def batches(count: int = 3) -> list[Tensor]:
    torch.manual_seed(1)
    return [2 * torch.randn(4, 3, 6, 6) - 1 for _ in range(count)]


def moments(x: Tensor) -> tuple[Tensor, Tensor]:
    """The mean and unbiased variance of each channel, in float64."""
    values = x.double().movedim(1, 0).flatten(1)
    return values.mean(1), values.var(1)


def test_statistics_are_the_mean_of_those_of_the_batches() -> None:
    net, inputs = network(), batches()
    first, second = net[1], net[4]
    by_hand: list[list[tuple[Tensor, Tensor]]] = [[], []]
    with torch.no_grad():
        for x in inputs:
            seen = net[0](x)
            by_hand[0].append(moments(seen))
            # What the second layer sees is normalised by the batch itself.
            normalised = nn.functional.batch_norm(
                seen, None, None, first.weight, first.bias, training=True
            )
            by_hand[1].append(moments(net[3](net[2](normalised))))
    with recalibrated(net, inputs):
        assert not any(module.training for module in net.modules())
        for layer, found in zip((first, second), by_hand, strict=True):
            means, variances = (torch.stack(parts).mean(0) for parts in zip(*found, strict=True))
            torch.testing.assert_close(layer.running_mean.double(), means, rtol=1e-5, atol=1e-6)
            torch.testing.assert_close(layer.running_var.double(), variances, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", ["in the passes", "in the context", "nowhere"])
def test_everything_is_as_before(training: bool, fails: str) -> None:
    net = network().train(training)
    net[4].momentum = None
    before = {name: value.clone() for name, value in net.state_dict().items()}
    objects = {name: id(value) for name, value in net.named_buffers()}
    inputs = batches()
    if fails == "in the passes":
        inputs.append(torch.zeros(1, 2, 3, 3))  # of other bands
    try:
        with recalibrated(net, inputs):
            if fails == "in the context":
                raise RuntimeError
    except RuntimeError:
        assert fails != "nowhere"
    else:
        assert fails == "nowhere"
    assert [module.training for module in net.modules()] == [training] * 6
    assert (net[1].momentum, net[4].momentum) == (0.1, None)
    assert {name: id(value) for name, value in net.named_buffers()} == objects
    for name, value in net.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_layers_without_statistics_and_networks_without_layers_are_left_alone() -> None:
    seen: list[Tensor] = []
    plain = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, track_running_stats=False))
    plain[0].register_forward_pre_hook(lambda module, inputs: seen.extend(inputs))
    with recalibrated(plain, [torch.zeros(3, 2)]):
        assert not plain.training
    assert plain.training
    assert not seen  # nothing is to be gathered, so nothing is computed
