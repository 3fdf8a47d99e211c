"""Parameter groups and learning-rate schedules."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from swath.core.errors import RecipeError
from swath.networks.spectral_transformer import SpectralTransformer, TransformerSizes
from swath.training.optimisers import optimiser
from swath.training.schedules import SCHEDULES, schedule


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3)
        self.norm = nn.BatchNorm2d(3)
        self.last = nn.Conv2d(3, 2, 1, bias=False)


def settings_by_name(network: nn.Module, made: torch.optim.Optimizer) -> dict[str, tuple]:
    names = {id(p): name for name, p in network.named_parameters()}
    return {
        names[id(p)]: (group["lr"], group["weight_decay"])
        for group in made.param_groups
        for p in group["params"]
    }


def test_published_groups() -> None:
    """3D-ANAS: every parameter named bias, also of normalisation, twice the rate and no decay."""
    network = Net()
    made = optimiser(network, "sgd", learning_rate=0.1, weight_decay=4e-5, bias_rate=2.0)
    assert isinstance(made, torch.optim.SGD)
    assert {group["momentum"] for group in made.param_groups} == {0.9}
    assert settings_by_name(network, made) == {
        "conv.weight": (0.1, 4e-5),
        "conv.bias": (0.2, 0.0),
        "norm.weight": (0.1, 4e-5),
        "norm.bias": (0.2, 0.0),
        "last.weight": (0.1, 4e-5),
    }


def test_sgd_decays_layers_alone_where_asked_to() -> None:
    """SEG101: no decay on normalisations."""
    network = Net()
    made = optimiser(network, "sgd", learning_rate=0.1, weight_decay=1e-4, decayed="layers")
    decays = {name: decay for name, (_, decay) in settings_by_name(network, made).items()}
    assert decays == {
        "conv.weight": 1e-4,
        "conv.bias": 0.0,
        "norm.weight": 0.0,
        "norm.bias": 0.0,
        "last.weight": 1e-4,
    }


def test_adamw_does_not_decay_normalisation() -> None:
    network = Net()
    made = optimiser(network, "adamw", learning_rate=0.01, weight_decay=0.1, momentum=0.8)
    assert isinstance(made, torch.optim.AdamW)
    assert {group["betas"] for group in made.param_groups} == {(0.8, 0.999)}
    assert settings_by_name(network, made) == {
        "conv.weight": (0.01, 0.1),
        "conv.bias": (0.01, 0.0),
        "norm.weight": (0.01, 0.0),
        "norm.bias": (0.01, 0.0),
        "last.weight": (0.01, 0.1),
    }


def test_poly_is_the_published_one() -> None:
    """3D-ANAS: 0.1 (1 - it / 600000)^0.9."""
    rate = schedule("poly", 0.1)
    for iteration in (0, 1, 60_000, 300_000, 599_999, 600_000):
        assert rate(iteration / 600_000) == pytest.approx(0.1 * (1 - iteration / 600_000) ** 0.9)
    assert rate(0) == 0.1
    assert rate(1) == 0.0


def test_cosine_and_warm_cosine() -> None:
    rate = schedule("cosine", 0.025, 0.001)
    for p in (0, 0.25, 0.5, 0.9, 1):
        assert rate(p) == pytest.approx(0.001 + 0.024 * (1 + math.cos(math.pi * p)) / 2)
    warm = schedule("warm-cosine", 1.0)
    assert warm(0) == 0
    assert warm(0.05) == pytest.approx(0.5)
    assert warm(0.1) == pytest.approx(1.0)
    assert warm(0.55) == pytest.approx(0.5)
    assert warm(1) == pytest.approx(0.0)


def test_warm_up_from_any_rate_in_any_share() -> None:
    warm = schedule("warm-cosine", 1.0, 0.2, warmup=0.5, start=0.1)
    found = [warm(p) for p in (0, 0.25, 0.5, 0.75, 1)]
    assert found == pytest.approx([0.1, 0.55, 1.0, 0.6, 0.2])
    assert schedule("warm-cosine", 1.0, 0.2)(0) == 0.2
    assert schedule("warm-cosine", 1.0, 0.2, warmup=0.0, start=0.1)(0) == 1.0
    assert schedule("cosine", 1.0, 0.2, warmup=0.5, start=0.1)(0) == 1.0


def test_warm_poly_rises_and_then_is_poly() -> None:
    """With SEG101's rate, updates and warm-up: then it is the power 0.9 of what is left."""
    updates, rising = 4040, 1000
    rate = schedule("warm-poly", 0.01, warmup=rising / updates, start=0.01 * 0.001)
    for update in (0, 1, 500, 999):
        expected = 0.01 * (0.001 * (1 - update / rising) + update / rising)
        assert rate(update / updates) == pytest.approx(expected)
    for update in (1000, 1001, 2020, 4039, 4040):
        expected = 0.01 * ((updates - update) / (updates - rising)) ** 0.9
        assert rate(update / updates) == pytest.approx(expected)


def test_adamw_decays_a_transformer_s_layers_alone() -> None:
    """As timm does for HyTAS: neither positions nor class token."""
    sizes = TransformerSizes(4, 3, 6, (2, 2, 3), (1, 2, 1), 1, (0.0, 0.0, 0.0), patch=1)
    network = SpectralTransformer(sizes)
    made = optimiser(network, "adamw", learning_rate=0.01, weight_decay=0.005)
    found = {name for name, (_, decay) in settings_by_name(network, made).items() if decay}
    layers = ("attention.qkv", "attention.proj", "fc1", "fc2")
    assert found == {
        "embedding.project.weight",
        "head.weight",
        "fusions.0.mix.weight",
        *(f"blocks.{block}.{layer}.weight" for block in range(3) for layer in layers),
    }


@given(
    name=st.sampled_from(sorted(SCHEDULES)),
    peak=st.floats(1e-6, 10),
    share=st.floats(0, 1),
    p=st.floats(-1, 2),
)
def test_rates_stay_between_floor_and_peak(name: str, peak: float, share: float, p: float) -> None:
    floor = share * peak
    assert floor * (1 - 1e-9) <= schedule(name, peak, floor)(p) <= peak * (1 + 1e-9)


def test_an_unknown_schedule_is_named() -> None:
    with pytest.raises(RecipeError, match=r"no schedule 'pol' .did you mean 'poly'"):
        schedule("pol", 0.1)
