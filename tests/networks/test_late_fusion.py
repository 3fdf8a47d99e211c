"""Sensors that meet at the answers."""

from __future__ import annotations

import torch
from torch import nn

from swath.estimators.proxies.layers import fusion_parameters, scored_layers
from swath.networks.late_fusion import LateFusion
from swath.networks.spectral_transformer import SpectralTransformer, TransformerSizes


def test_logits_are_the_mean_of_the_sensors_own() -> None:
    torch.manual_seed(0)
    one, two = (nn.Sequential(nn.Flatten(), nn.Linear(bands * 4, 3)) for bands in (2, 3))
    x = torch.randn(7, 5, 2, 2)
    found = LateFusion([one, two], [slice(0, 2), slice(2, 5)])(x)
    torch.testing.assert_close(found, (one(x[:, :2]) + two(x[:, 2:])) / 2)


def test_both_branches_learn() -> None:
    branches = [nn.Sequential(nn.Flatten(), nn.Linear(4, 3)) for _ in range(2)]
    fused = LateFusion(branches, [slice(0, 1), slice(1, 2)])
    fused(torch.ones(1, 2, 2, 2)).sum().backward()
    assert all(p.grad is not None and p.grad.any() for p in fused.parameters())


def test_of_transformers_their_own_layers_are_scored() -> None:
    sizes = TransformerSizes(4, 3, 12, (2, 3, 2), (1, 2, 1), 2, (0.0,) * 3)
    one = SpectralTransformer(sizes)
    network = LateFusion([one, SpectralTransformer(sizes)], [slice(0, 4), slice(4, 8)])
    assert scored_layers(network) == {
        f"branches.{number}.{name}": kind
        for number in (0, 1)
        for name, kind in scored_layers(one).items()
    }
    assert fusion_parameters(network) == {
        f"branches.{number}.{name}" for number in (0, 1) for name in fusion_parameters(one)
    }
    assert fusion_parameters(one)
