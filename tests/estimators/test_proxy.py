"""Zero-cost proxies as an estimator."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from swath import estimators, spaces
from swath.core.architecture import Architecture
from swath.core.errors import Infeasible, InvalidArchitecture, RecipeError, UnknownName
from swath.core.seeds import derive
from swath.estimators import proxies
from swath.estimators.proxy import ProxyEstimator
from swath.networks.cost import count_flops, count_parameters
from swath.spaces.base import InputSpec, OutputSpec

OPTIONS = {"channels": 2, "cells": 1}
SPACE = spaces.create("nasbench201", **OPTIONS)
FIRST, SECOND = (SPACE.sample(np.random.default_rng(seed)) for seed in (0, 1))


def make_batch(classes: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(6, 3, 8, 8, generator=generator)
    return x, torch.randint(classes, (6,), generator=generator)


def make_network(architecture: Architecture, seed: int) -> torch.nn.Module:
    torch.manual_seed(7)
    return SPACE.build(architecture, InputSpec(3), OutputSpec(4))


def estimator(**changes: Any) -> ProxyEstimator:
    given: dict[str, Any] = {
        "space": "nasbench201",
        "space_options": OPTIONS,
        "bands": 3,
        "classes": 4,
        "proxy": "snip",
        "batch": functools.partial(make_batch, 4),
        "device": "cpu",
    }
    made = estimators.create("proxy", **{**given, **changes})
    assert isinstance(made, ProxyEstimator)
    return made


def test_the_score_is_the_proxy_of_the_network_that_the_seed_makes() -> None:
    found = estimator(metrics=("grad_norm", "ntk_condition")).evaluate(FIRST, seed=5)
    torch.manual_seed(derive(5, "network"))
    network = SPACE.build(FIRST, InputSpec(3), OutputSpec(4))
    expected = proxies.score(network, make_batch(4, 5), ("snip", "grad_norm", "ntk_condition"))
    assert found.score == expected["snip"].total
    assert found.direction == "maximize"
    assert found.metrics["grad_norm"] == expected["grad_norm"].total
    assert found.metrics["ntk_condition"] == expected["ntk_condition"].total
    assert found.metrics["snip/other"] == pytest.approx(found.score)
    assert found.cost.parameters == count_parameters(network)
    assert found.cost.flops == count_flops(network, 3, 8)
    assert found.cost.seconds > 0


def test_cost_before_the_evaluation() -> None:
    cost = estimator().cost(SECOND)
    found = estimator().evaluate(SECOND).cost
    assert (cost.parameters, cost.flops) == (found.parameters, found.flops)


def test_a_worker_answers_the_same_and_torch_draws_on_as_before() -> None:
    one = estimator(proxy="zen")
    torch.manual_seed(3)
    before = torch.get_rng_state()
    found = one.evaluate(FIRST, seed=2)
    assert torch.equal(torch.get_rng_state(), before)
    other = pickle.loads(pickle.dumps(one)).evaluate(FIRST, seed=2)
    assert other.score == found.score
    assert one.evaluate(FIRST, seed=3).score != found.score


def test_the_direction_is_the_proxys() -> None:
    assert estimator(proxy="ntk_condition").direction == "minimize"
    assert estimator(proxy="ntk_condition").evaluate(FIRST).direction == "minimize"
    assert estimator().budgets == ()


def test_networks_of_ones_own() -> None:
    found = estimator(network=make_network)
    expected = proxies.score(make_network(FIRST, 0), make_batch(4, 9), "snip")
    assert found.evaluate(FIRST, seed=9).score == expected["snip"].total


def test_options_reach_the_proxies() -> None:
    plain, log = (
        estimator(proxy="synflow"),
        estimator(proxy="synflow", options={"transform": "log"}),
    )
    assert log.evaluate(FIRST).score == pytest.approx(np.log(plain.evaluate(FIRST).score))
    ours, theirs = log.evaluate(FIRST).cost, plain.evaluate(FIRST).cost
    assert (ours.parameters, ours.flops) == (theirs.parameters, theirs.flops)


@pytest.mark.parametrize(
    ("space", "options", "window"),
    [
        ("hytas", {"embed_dims": [12]}, 7),
        ("hsi3d", {"layers": 1, "nodes": 1, "base_width": 2, "stem_width": 2, "head_width": 8}, 5),
    ],
)
def test_random_batches_of_any_space(space: str, options: dict[str, Any], window: int) -> None:
    architecture = spaces.create(space, **options).sample(np.random.default_rng(0))
    one = estimator(
        space=space, space_options=options, bands=8, batch=None, samples=3, window=window
    )
    assert one.evaluate(architecture).score > 0
    assert one.evaluate(architecture).score == one.evaluate(architecture).score


def test_what_cannot_be() -> None:
    with pytest.raises(UnknownName, match="did you mean 'synflow'"):
        estimator(proxy="synflo")
    with pytest.raises(UnknownName, match="nasbench201"):
        estimator(space="nasbench20")
    with pytest.raises(RecipeError, match="samples must be a whole number"):
        estimator(samples=0)
    with pytest.raises(RecipeError, match="no option 'sign'"):
        estimator(options={"sign": "all"})
    with pytest.raises(RecipeError, match="no budgets"):
        estimator().evaluate(FIRST, budget=3)
    other = spaces.create("nasbenchmacro").sample(np.random.default_rng(0))
    with pytest.raises(InvalidArchitecture, match="nasbenchmacro"):
        estimator().evaluate(other)


def out_of_memory(seed: int) -> tuple[Tensor, Tensor]:
    return torch.empty(2**50), torch.empty(0)


def broken(seed: int) -> tuple[Tensor, Tensor]:
    raise RuntimeError("something else")


def test_too_little_memory_is_no_mistake_of_the_user() -> None:
    with pytest.raises(Infeasible, match="out of memory"):
        estimator(batch=out_of_memory).evaluate(FIRST)
    with pytest.raises(RuntimeError, match="something else"):
        estimator(batch=broken).evaluate(FIRST)
