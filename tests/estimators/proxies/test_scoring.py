"""What holds of every proxy: nothing is changed, order does not matter, nothing breaks."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from swath import spaces
from swath.core.errors import MismatchError, RecipeError, UnknownName
from swath.estimators import proxies
from swath.spaces.base import InputSpec, OutputSpec


def test_the_registry_lists_by_wildcard_without_torch() -> None:
    assert proxies.names("*flow") == ["logsynflow", "synflow"]
    assert proxies.names("zico*") == ["zico", "zico++", "zico_act"]
    for name in proxies.names():
        assert proxies.get(name).name == name


def test_the_short_name() -> None:
    import swath

    assert swath.proxies.score is proxies.score


# The network given stays as it is.


class State:
    """All of a network that a proxy could leave changed."""

    def __init__(self, network: nn.Module) -> None:
        self.tensors = {name: t.detach().clone() for name, t in network.state_dict().items()}
        self.storage = [t.data_ptr() for t in network.state_dict().values()]
        self.wanted = [p.requires_grad for p in network.parameters()]
        self.gradients = [None if p.grad is None else p.grad.clone() for p in network.parameters()]
        self.modes = [module.training for module in network.modules()]
        self.hooks = [
            (len(m._forward_hooks), len(m._forward_pre_hooks), len(m._backward_hooks))
            for m in network.modules()
        ]
        self.inplace = [getattr(module, "inplace", None) for module in network.modules()]
        self.draws = torch.get_rng_state()
        self.differentiates = torch.is_grad_enabled()

    def __eq__(self, other: object) -> bool:
        assert isinstance(other, State)
        same = [
            self.storage == other.storage,
            self.wanted == other.wanted,
            self.modes == other.modes,
            self.hooks == other.hooks,
            self.inplace == other.inplace,
            self.differentiates == other.differentiates,
            torch.equal(self.draws, other.draws),
            *(torch.equal(self.tensors[name], other.tensors[name]) for name in self.tensors),
            *(
                mine is theirs if mine is None or theirs is None else torch.equal(mine, theirs)
                for mine, theirs in zip(self.gradients, other.gradients, strict=True)
            ),
        ]
        return all(same)


def lived_in(network: nn.Module, seen: list[int]) -> nn.Module:
    """Give a network gradients, mixed modes, a frozen weight and a hook of its user's."""
    network = copy.deepcopy(network).train()
    for index, parameter in enumerate(network.parameters()):
        parameter.requires_grad_(index != 1)
        if index % 2:
            parameter.grad = torch.ones_like(parameter)
    next(network.children()).eval()
    network.register_forward_hook(lambda module, arguments, output: seen.append(1))
    return network


def test_nothing_is_changed(case: Any) -> None:
    seen: list[int] = []
    network = lived_in(case.network, seen)
    x, y = case.x.clone().requires_grad_(), case.y.clone()
    before = State(network)
    with torch.no_grad():
        proxies.score(network, (x, y), "*")
    assert State(network) == before
    assert torch.equal(x, case.x)
    assert x.grad is None
    assert torch.equal(y, case.y)
    assert not seen


def test_nothing_is_changed_where_a_proxy_fails(case: Any) -> None:
    def broken(logits: Tensor, targets: Tensor) -> Tensor:
        torch.rand(3)
        raise ZeroDivisionError

    network = lived_in(case.network, [])
    before = State(network)
    with pytest.raises(ZeroDivisionError):
        proxies.score(network, case.batch, "*", loss=broken)
    assert State(network) == before


def test_the_state_sees_changes(case: Any) -> None:
    changes: list[Callable[[nn.Module], object]] = [
        lambda network: network.train(),
        lambda network: next(network.parameters()).data.mul_(2),
        lambda network: next(network.parameters()).requires_grad_(False),
        lambda network: network.register_forward_hook(print),
        lambda network: torch.rand(1),
        lambda network: [setattr(p, "grad", p.detach()) for p in network.parameters()],
    ]
    for change in changes:
        network = copy.deepcopy(case.network).eval()
        before = State(network)
        change(network)
        assert State(network) != before


# What does not matter, and what matters how much.


def test_the_order_of_samples_does_not_matter(case: Any) -> None:
    order = torch.randperm(len(case.x), generator=torch.Generator().manual_seed(5))
    found = proxies.score(case.network, case.batch, "*")
    turned = proxies.score(case.network, (case.x[order], case.y[order]), "*")
    for name in proxies.names():
        assert turned[name].total == pytest.approx(found[name].total, rel=1e-6), name


def test_how_scores_grow_with_the_loss(case: Any) -> None:
    powers = {"grad_norm": 1, "snip": 1, "plain": 1, "cond_num": 1, "fisher": 2, "grasp": 2}
    same = ("zico", "zico_act", "zico++", "gradsign", "snip_grad_norm", "t_cet", "croze")

    def tenfold(logits: Tensor, targets: Tensor) -> Tensor:
        return 10 * F.cross_entropy(logits, targets, ignore_index=-1)

    names = (*powers, *same)
    found = proxies.score(case.network, case.batch, names)
    large = proxies.score(case.network, case.batch, names, loss=tenfold)
    for name in names:
        expected = found[name].total * 10 ** powers.get(name, 0)
        assert large[name].total == pytest.approx(expected, rel=1e-6), name


def chain(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [nn.Linear(before, after, bias=False), nn.ReLU()]
    return nn.Sequential(*layers[:-1]).double()


def test_the_flow_through_every_layer_of_a_chain_is_the_same() -> None:
    """Tanaka et al., theorem 1; it is the sum of the logits."""
    torch.manual_seed(0)
    network = chain(4, 7, 5, 6, 3)
    found = proxies.score(network, torch.zeros(1, 4), "synflow")["synflow"]
    flow = torch.ones(4, dtype=torch.float64)
    for layer in network[::2]:
        flow = layer.weight.abs() @ flow
    assert list(found.per_layer.values()) == pytest.approx([float(flow.sum())] * 4)
    network[2].weight.data *= -3
    tripled = proxies.score(network, torch.zeros(1, 4), "synflow")["synflow"]
    assert tripled.total == pytest.approx(3 * found.total)


def test_a_gradient_is_at_right_angles_to_weights_before_a_normalisation() -> None:
    """Their length changes nothing, so the loss does not change along them."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4, eps=1e-14), nn.ReLU(), nn.Flatten(),
        nn.Linear(16, 2),
    ).double()  # fmt: skip
    batch = torch.randn(5, 2, 4, 4).double(), torch.tensor([0, 1, 1, 0, 1])
    plain, snip = (
        proxies.score(network, batch, ("plain", "snip"))[n].per_layer for n in ("plain", "snip")
    )
    assert abs(plain["0"]) < 1e-10 * snip["0"]
    assert abs(plain["4"]) > 1e-3 * snip["4"]


def test_codes_do_not_feel_the_length_of_weights() -> None:
    torch.manual_seed(0)
    network, x = chain(3, 9, 8, 2), torch.randn(6, 3).double()
    found = proxies.score(network, x, ("naswot", "linear_regions"))
    network[0].weight.data *= 100
    larger = proxies.score(network, x, ("naswot", "linear_regions"))
    assert larger["naswot"].total == found["naswot"].total
    assert larger["linear_regions"].total == found["linear_regions"].total > 1


def test_codes_of_what_several_nonlinearities_read() -> None:
    """One tensor that two of them read, and a third after it was changed in place."""

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(3, 40)
            self.first, self.second, self.third = nn.ReLU(), nn.ReLU(), nn.ReLU()

        def forward(self, x: Tensor) -> Tensor:
            z = self.layer(x)
            found = self.first(z) + self.second(z)
            z.sub_(0.3)
            return found + self.third(z)

    torch.manual_seed(0)
    network, x = Network().double(), torch.randn(6, 3).double()
    z = network.layer(x).detach().numpy()
    codes = np.concatenate([z > 0, z > 0, z > 0.3], axis=1)
    agreement = (codes[:, None] == codes[None]).sum(-1)
    found = proxies.score(network, x, "naswot")["naswot"]
    assert found.total == pytest.approx(np.linalg.slogdet(agreement)[1])
    assert found.per_layer["first"] == found.per_layer["second"] != found.per_layer["third"]


def test_the_sum_of_positive_logits_of_dense_networks_is_no_rounding_error() -> None:
    """Behind batch normalisation the sum of all logits would be constant."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(2, 5, 1), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 3, padding=1),
        nn.BatchNorm2d(4), nn.Conv2d(4, 3, 1),
    )  # fmt: skip
    x = torch.randn(6, 2, 5, 5)
    single = proxies.score(network, x, ("jacob_cov", "ntk_condition"))
    double = proxies.score(network, x, ("jacob_cov", "ntk_condition"), dtype=torch.float64)
    for name, one in single.items():
        assert one.total == pytest.approx(double[name].total, rel=1e-2)


# Degenerate networks and batches.

SILENT = {"ntk_condition", "zen", "zico", "zico++", "zico_act"}  # NaN says: nothing can be said


def dead(network: nn.Module) -> nn.Module:
    network = copy.deepcopy(network)
    for parameter in network.parameters():
        parameter.data.zero_()
    return network


@pytest.mark.parametrize("kind", ["dead", "equal samples", "one class", "ones"])
def test_nothing_becomes_infinite(case: Any, kind: str) -> None:
    network, x, y = case.network, case.x, case.y
    if kind == "dead":
        network = dead(network)
    elif kind == "equal samples":
        x, y = x[:1].expand_as(x), y[:1].expand_as(y)
    elif kind == "one class":
        y = torch.where(y >= 0, 0, y)
    for name, one in proxies.score(
        network, (x, y), "*", inputs="ones" if kind == "ones" else "data"
    ).items():
        assert math.isfinite(one.total) or (math.isnan(one.total) and name in SILENT), name
        if kind == "one class":
            assert math.isfinite(one.total), name


def test_a_dead_network_is_no_good_by_any_measure_of_samples(case: Any) -> None:
    names = ("jacob_cov", "linear_regions", "naswot")
    found = proxies.score(case.network, case.batch, names)
    worse = proxies.score(dead(case.network), case.batch, names)
    for name in names:
        assert worse[name].total < found[name].total


def test_a_cell_that_passes_nothing_on() -> None:
    space = spaces.create("nasbench201", channels=2, cells=1)
    cell = space.architecture({gene.name: "none" for gene in space.genes})
    network = space.build(cell, InputSpec(3), OutputSpec(2))
    batch = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 0, 1])
    for name, one in proxies.score(network, batch, "*").items():
        assert math.isfinite(one.total) or name in SILENT, name


def test_deep_networks_stay_finite() -> None:
    network = chain(*[40] * 60).float()
    for layer in network[::2]:
        layer.weight.data.normal_(std=30)
    found = proxies.score(network, torch.zeros(1, 40), "synflow", transform="log")["synflow"]
    assert 88 < found.total < 700  # beyond float32


@pytest.mark.parametrize("space", spaces.names())
def test_networks_of_every_space(space: str) -> None:
    small: dict[str, dict[str, Any]] = {
        "darts": {"channels": 2, "cells": 1},
        "hsi3d": {"layers": 1, "nodes": 1, "base_width": 2, "stem_width": 2, "head_width": 8},
        "hytas": {"embed_dims": [12], "patch": 7},
        "mobilenet": {"widths": [4], "layers": [3], "strides": [2], "head_width": 8},
        "nasbench101": {"channels": 5, "cells": 1},
        "nasbench201": {"channels": 2, "cells": 1},
        "seg101": {"backbone": "narrow", "merge_ratio": 0.25},
    }
    made = spaces.create(space, **small.get(space, {}))
    network = made.build(made.sample(np.random.default_rng(1)), InputSpec(7), OutputSpec(3))
    x = torch.randn(3, 7, 7, 7)
    y = torch.randint(3, (3, 7, 7) if made.answers == "pixels" else (3,))
    for name, one in proxies.score(network, (x, y), "*").items():
        assert math.isfinite(one.total), name
        assert one.seconds >= 0


def test_the_flow_is_not_cut_off_at_six() -> None:
    space = spaces.create("mobilenet", widths=[4, 8], layers=[2, 2], strides=[2, 1], head_width=16)
    x, rng, found = torch.zeros(1, 3, 16, 16), np.random.default_rng(0), set()
    for _ in range(5):
        network = space.build(space.sample(rng), InputSpec(3), OutputSpec(4)).double()
        unbounded = copy.deepcopy(network)
        for name, module in list(unbounded.named_modules()):
            if isinstance(module, nn.ReLU6):
                unbounded.set_submodule(name, nn.ReLU())
        one = proxies.score(network, x, "synflow")["synflow"].total
        assert one == proxies.score(unbounded, x, "synflow")["synflow"].total
        found.add(one)
    assert min(found) > 0
    assert len(found) == 5


# Options.


def test_inputs_and_signs(case: Any) -> None:
    ones = proxies.score(case.network, case.batch, "snip", inputs="ones")["snip"]
    same = proxies.score(case.network, (torch.ones_like(case.x), case.y), "snip")["snip"]
    assert ones.total == same.total
    noise = [
        proxies.score(case.network, case.batch, "snip", inputs="noise", seed=s)["snip"].total
        for s in (0, 0, 1)
    ]
    assert noise[0] == noise[1] != noise[2]
    positive = copy.deepcopy(case.network)
    for parameter in positive.parameters():
        parameter.data.abs_()
    free = ("synflow", "logsynflow", "dss")
    by_option = proxies.score(case.network, case.x, free, signs="all")
    by_hand = proxies.score(positive, case.x, free, signs="none")
    signed = proxies.score(case.network, case.x, free, signs="none")
    for name in free:
        assert by_option[name].total == pytest.approx(by_hand[name].total, rel=1e-12)
        assert signed[name].total != pytest.approx(by_hand[name].total, rel=1e-3)


def test_proxies_that_need_no_labels_do_without(case: Any) -> None:
    names = [name for name in proxies.names() if not proxies.get(name).labelled]
    assert {"synflow", "jacob_cov", "naswot", "zen", "parameters"} <= {*names}
    assert list(proxies.score(case.network, case.x, names)) == names
    with pytest.raises(RecipeError, match="proxy 'snip' needs labels"):
        proxies.score(case.network, case.x, ["synflow", "snip"])


def test_what_cannot_be(case: Any) -> None:
    with pytest.raises(UnknownName, match="did you mean 'synflow'"):
        proxies.score(case.network, case.batch, ["synflwo"])
    with pytest.raises(RecipeError, match=r"variant cannot be 'author'.*did you mean 'authors'"):
        proxies.score(case.network, case.batch, "snip", variant="author")  # type: ignore[arg-type]
    network = chain(3, 4, 2)
    with pytest.raises(RecipeError, match="no fusion, position or token weights"):
        proxies.score(network, torch.zeros(1, 3), "synflow", signs="caf")
    with pytest.raises(RecipeError, match="no part of kind 'attention'"):
        proxies.score(network, torch.zeros(1, 3), "synflow", transform="log-parts")
    normed = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2))
    with pytest.raises(RecipeError, match="larger batch"):
        proxies.score(normed, torch.zeros(1, 3), "naswot")
    turned = nn.Sequential(nn.Flatten(0), nn.Unflatten(0, (-1, 1)), nn.Linear(1, 2))
    with pytest.raises(MismatchError, match="layer '2' reads 6 rows for 2 samples"):
        proxies.score(turned, (torch.rand(2, 3), torch.zeros(6, dtype=torch.long)), "zico")


# How the authors of HyTAS compute some, where it is known to differ.


def test_authors_fisher_takes_tokens_for_channels(transformer: Any) -> None:
    answers: dict[str, Tensor] = {}
    network = copy.deepcopy(transformer.network).eval()
    for name, module in network.named_modules():
        if isinstance(module, nn.Linear):
            module.register_forward_hook(
                lambda module, arguments, output, name=name: answers.update({name: output})
            )
    loss = F.cross_entropy(network(transformer.x), transformer.y)
    slopes = torch.autograd.grad(loss, list(answers.values()))
    expected = 0.0
    for answer, slope in zip(answers.values(), slopes, strict=True):
        product = answer * slope
        tokens = product.sum(2) if product.dim() == 3 else product
        expected += float(len(tokens[0]) ** 2 * (tokens[:, -1] ** 2).mean() / 2)
    found = proxies.score(network, transformer.batch, "fisher", variant="authors")["fisher"]
    assert found.total == pytest.approx(expected, rel=1e-6)


def test_authors_never_clear_a_gradient(transformer: Any) -> None:
    network = copy.deepcopy(transformer.network).eval()
    layers = {
        name: module.weight
        for name, module in network.named_modules()
        if isinstance(module, nn.Linear)
    }
    kept: dict[str, list[np.ndarray]] = {name: [] for name in layers}
    for x, y in zip(transformer.x.split(1), transformer.y.split(1), strict=True):
        F.cross_entropy(network(x), y).backward()
        for name, weight in layers.items():
            assert weight.grad is not None
            kept[name].append(weight.grad.numpy().copy())
    zico, signs = 0.0, 0.0
    for gradients in map(np.stack, kept.values()):
        deviation = gradients.std(0)
        moving = deviation > 0
        zico += math.log((np.abs(gradients).mean(0)[moving] / deviation[moving]).sum())
        signs += np.abs(np.sign(gradients).sum(0)).sum()
    found = proxies.score(
        transformer.network, transformer.batch, ("zico", "gradsign"), variant="authors"
    )
    assert found["zico"].total == pytest.approx(zico, rel=1e-6)
    assert found["gradsign"].total == pytest.approx(math.log(signs), rel=1e-6)


@pytest.fixture(scope="module")
def transformer(request: pytest.FixtureRequest, make_case: Any) -> Any:
    return make_case("transformer")
