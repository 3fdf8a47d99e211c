"""The 3D-ANAS supernet against its equations written out slowly."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from torch import Tensor, nn

from swath import spaces
from swath.core.errors import UnknownName
from swath.networks.conv3d import Conv3d
from swath.networks.layout import channels_last
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.hsi3d import HSI3D
from swath.supernets import create_mixture
from swath.supernets.hsi3d import HSI3DMixture, best_path, decode_cells

SMALL: dict[str, Any] = {"stem_width": 3, "head_width": 4}
BANDS = 30


def make(*, layers: int = 2, nodes: int = 3, seed: int = 0, **options: Any) -> HSI3DMixture:
    """A small supernet with random alpha and beta and used running statistics."""
    torch.manual_seed(seed)
    space = HSI3D(layers=layers, nodes=nodes, **SMALL)
    net = HSI3DMixture(space, InputSpec(BANDS), OutputSpec(3), width=2, **options)
    with torch.no_grad():
        net.alpha.copy_(torch.randn_like(net.alpha) * 2)
        net.beta.add_(torch.randn_like(net.beta))
        for _ in range(2):
            net.train()(torch.randn(2, BANDS, 5, 4))
    return net


def widths_of(layer: int) -> list[int]:
    """Widths of a layer, as in 3D-ANAS: the first has 0 and 1, all others 0, 1 and 2."""
    return [0, 1] if layer == 0 else [0, 1, 2]


def beta_rows(layers: int) -> dict[tuple[int, int], int]:
    """Row of beta for each (layer, source width); the stem has width 0."""
    pairs = [
        (layer, source)
        for layer in range(layers)
        for source in ([0] if layer == 0 else widths_of(layer - 1))
    ]
    return {pair: row for row, pair in enumerate(pairs)}


def slow_forward(net: HSI3DMixture, x: Tensor, layers: int, nodes: int, *, sharing: bool) -> Tensor:
    """Eq. 5 (sharing) or Eq. 4, with every sum written out."""
    alpha, beta = net.alpha.exp(), net.beta.exp()
    alpha, beta = alpha / alpha.sum(-1, keepdim=True), beta / beta.sum(-1, keepdim=True)
    rows = beta_rows(layers)

    def cell(layer: int, width: int, older: Tensor, newer: Tensor) -> Tensor:
        module = net.cells[f"{layer}-{width}"]
        states, edge = [older, newer], 0
        for node in range(nodes):
            total = torch.zeros_like(older)
            for source in range(2 + node):
                operators = module.edges[f"{node}-{source}"].operators
                assert len(operators) == 8
                for k in range(8):
                    total = total + alpha[layer, edge, k] * operators[k](states[source])
                edge += 1
            states.append(total)
        return module.end(torch.cat(states[2:], 1))

    first = net.stem.activation(net.stem.first(x.unsqueeze(1)))
    f = {0: net.stem.second(first)}
    s0_before = {0: net.older(first)}
    for layer in range(layers):
        f_next, s0_now = {}, {}
        for i in widths_of(layer):
            arriving = [k for k in f if abs(k - i) <= 1]
            routed = {k: net.routers[f"{layer}-{k}-{i}"](f[k]) for k in arriving}
            weight = {k: beta[rows[layer, k], i - k + 1] for k in arriving}
            s0_now[i] = sum(weight[k] * routed[k] for k in arriving)
            new = i not in s0_before  # this width did not exist a layer before
            older = net.lift[f"{layer}-{i}"](s0_before[i - 1]) if new else s0_before[i]
            if layer > 0:
                older = net.shorten[f"{layer}-{i}"](older)
            if sharing:
                f_next[i] = cell(layer, i, older, s0_now[i])
            else:
                f_next[i] = sum(weight[k] * cell(layer, i, older, routed[k]) for k in arriving)
        f, s0_before = f_next, s0_now
    parts = [net.head.pyramids[i](f[i]).mean(2) for i in sorted(f)]
    return net.head.classify(torch.cat(parts, 1))


@pytest.mark.parametrize("sharing", [True, False])
@pytest.mark.parametrize(("layers", "nodes"), [(1, 1), (1, 3), (2, 3), (3, 2), (4, 1)])
def test_the_full_mixture_equals_its_equations(layers: int, nodes: int, sharing: bool) -> None:
    net = make(layers=layers, nodes=nodes, cell_sharing=sharing).eval()
    x = torch.randn(2, BANDS, 5, 4)
    with torch.no_grad():
        expected = slow_forward(net, x, layers, nodes, sharing=sharing)
        torch.testing.assert_close(net(x), expected, rtol=1e-4, atol=1e-5)


def gradients(net: HSI3DMixture, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    net.zero_grad()
    nn.functional.cross_entropy(net(x), y).backward()
    return {name: p.grad for name, p in net.named_parameters() if p.grad is not None}


def test_a_step_is_that_of_torchs_convolutions_in_the_default_layout() -> None:
    net, plain = (make(layers=2, nodes=3).double().train() for _ in range(2))
    channels_last(net)
    for module in plain.modules():
        if isinstance(module, Conv3d):
            module.__class__ = nn.Conv3d
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            module.to(memory_format=torch.contiguous_format)
    plain.stem.register_forward_pre_hook(
        lambda module, given: (given[0].clone(memory_format=torch.contiguous_format),)
    )
    x, y = torch.randn(2, BANDS, 7, 6, dtype=torch.float64), torch.randint(3, (2, 7, 6))
    wanted = gradients(plain, x, y)
    found = gradients(net, x, y)
    assert len(found) == len(wanted) > 300
    for name, gradient in wanted.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-8, atol=1e-10, msg=name)


def head_states(net: HSI3DMixture, x: Tensor) -> dict[int, Tensor]:
    seen: list[dict[int, Tensor]] = []
    hook = net.head.register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    with torch.no_grad():
        net(x)
    hook.remove()
    return seen[0]


def test_sharing_changes_mixtures_but_not_a_single_route() -> None:
    shared, apart = make(cell_sharing=True).eval(), make(cell_sharing=False).eval()
    apart.load_state_dict(shared.state_dict())
    x = torch.randn(1, BANDS, 4, 4)
    with torch.no_grad():
        assert not torch.allclose(shared(x), apart(x), rtol=1e-3)
        # all weight on one route: 0 -> 0 -> 1, and nothing else arrives at width 1
        for net in (shared, apart):
            net.beta.copy_(
                torch.tensor([[-200.0, 200, -200], [-200, -200, 200], [200, -200, -200]])
            )
    torch.testing.assert_close(head_states(shared, x)[1], head_states(apart, x)[1])


def test_impossible_moves_have_no_weight() -> None:
    net = HSI3DMixture(HSI3D(layers=4, nodes=1, **SMALL), InputSpec(9), OutputSpec(2), width=2)
    rows = beta_rows(4)
    assert net.beta.shape == (len(rows), 3) == (1 + 2 + 3 + 3, 3)
    weights = net.beta.softmax(-1)
    for (layer, source), row in rows.items():
        for move in (-1, 0, 1):
            possible = source + move in widths_of(layer)
            assert net.beta[row, move + 1] == (1 if possible else -50)
            assert weights[row, move + 1] > 0.3 if possible else weights[row, move + 1] < 1e-20


@pytest.mark.parametrize(
    ("variant", "layers"),
    [("asym-d", 1), ("asym-d", 3), ("asym-d", 4), ("asym-ud", 1), ("sym-d", 1), ("sym-ud", 2)],
)
@pytest.mark.parametrize("mode", ["full", "sampled"])
def test_any_window_and_depth(variant: str, mode: Any, layers: int) -> None:
    space = HSI3D(variant=variant, layers=layers, nodes=2, **SMALL)
    for bands, window in ((1, (1, 1)), (4, (2, 7)), (17, (6, 3))):
        net = HSI3DMixture(space, InputSpec(bands), OutputSpec(4), width=2, mode=mode)
        for training in (True, False):
            net.train(training)
            logits = net(torch.randn(2, bands, *window))
            assert logits.shape == (2, 4, *window)
        logits.sum().backward()
    assert net.alpha.shape == (layers, 5, 8)


@pytest.mark.parametrize("factors", [(1.0,), (0.5, 1.0, 1.7), (2.0, 3.0), (0.1, 0.2, 1.0)])
@pytest.mark.parametrize("mode", ["full", "sampled"])
def test_any_width_factors(factors: tuple[float, ...], mode: Any) -> None:
    """Whatever the narrowest width, and where the supernet has less than a channel for it."""
    space = HSI3D(layers=3, nodes=2, width_factors=factors, **SMALL)
    net = HSI3DMixture(space, InputSpec(9), OutputSpec(4), width=2, mode=mode)
    for training in (True, False):
        net.train(training)
        logits = net(torch.randn(2, 9, 4, 3))
        assert logits.shape == (2, 4, 4, 3)
    logits.sum().backward()
    assert all(p.numel() for p in net.parameters())


def test_all_architecture_parameters_of_the_full_mixture_learn() -> None:
    net = make().train()
    net(torch.randn(2, BANDS, 5, 4)).square().sum().backward()
    assert net.alpha.grad is not None
    assert net.beta.grad is not None
    assert (net.alpha.grad != 0).all()
    possible = net.beta > -25
    assert (net.beta.grad[possible] != 0).all()
    names = {id(p) for p in net.architecture_parameters()} | {
        id(p) for p in net.weight_parameters()
    }
    assert names == {id(p) for p in net.parameters()}
    assert all(p.grad is not None for p in net.weight_parameters())


class Calls:
    """Which operators, cells and routers run in a pass."""

    def __init__(self, net: HSI3DMixture) -> None:
        self.operators: list[tuple[str, str, str]] = []
        self.cells: list[str] = []
        for key, cell in net.cells.items():
            cell.register_forward_hook(self._note(self.cells, key))
            for edge, mixture in cell.edges.items():
                for name, operator in zip(net.space.operators, mixture.operators, strict=True):
                    first = operator[0] if isinstance(operator, nn.Sequential) else operator
                    first.register_forward_hook(self._note(self.operators, (key, edge, name)))

    @staticmethod
    def _note(to: list[Any], what: Any) -> Callable[..., None]:
        return lambda module, args, out: to.append(what)

    def clear(self) -> None:
        self.operators.clear()
        self.cells.clear()


@pytest.mark.parametrize("layers", [1, 2, 4])
def test_a_sampled_pass_computes_only_what_was_drawn(layers: int) -> None:
    net = make(layers=layers, mode="sampled").train()
    calls = Calls(net)
    paths = set()
    with torch.no_grad():
        net.alpha.mul_(0.1)
        net.beta.clamp_(max=0.5)
    for turn in range(25):
        net.trains_architecture = turn % 2 == 0
        calls.clear()
        net(torch.randn(2, BANDS, 3, 3))
        # one width a layer, one operator an edge, never `none`
        assert [key.partition("-")[0] for key in calls.cells] == [str(i) for i in range(layers)]
        widths = [int(key.partition("-")[2]) for key in calls.cells]
        assert all(abs(a - b) <= 1 for a, b in itertools.pairwise([0, *widths]))
        paths.add(tuple(widths))
        assert len(calls.operators) == layers * 9
        assert len({(cell, edge) for cell, edge, _ in calls.operators}) == layers * 9
        assert {cell for cell, _, _ in calls.operators} == set(calls.cells)
        assert "none" not in {name for _, _, name in calls.operators}
    assert len(paths) > 1


@pytest.mark.parametrize("mode", ["sampled", "full"])
def test_impossible_moves_stay_impossible_however_far_decay_pulls_them(mode: str) -> None:
    """Adam's weight decay raises their entries of beta by the learning rate each step."""
    net, late = make(mode=mode), make(mode=mode)
    late.load_state_dict(net.state_dict())
    with torch.no_grad():
        late.beta[late.beta < -25] = 10.0
    x = torch.randn(2, BANDS, 4, 4)
    for training in (True, False):
        answers = []
        for one in (net, late):
            torch.manual_seed(5)
            answers.append(one.train(training)(x))
        torch.testing.assert_close(*answers)
    assert late.decode() == net.decode()


def test_a_full_pass_computes_everything() -> None:
    net = make().train()
    calls = Calls(net)
    net(torch.randn(2, BANDS, 3, 3))
    assert sorted(calls.cells) == ["0-0", "0-1", "1-0", "1-1", "1-2"]
    assert len(calls.operators) == 5 * 9 * 7  # all but `none`, which is known to be zero


def test_architecture_steps_have_gradients_and_weight_steps_none() -> None:
    net = make(mode="sampled").train()
    net.trains_architecture = True
    net(torch.randn(2, BANDS, 4, 4)).square().sum().backward()
    assert net.alpha.grad is not None
    assert net.beta.grad is not None
    # every edge of the cells on the path was drawn once, so every row learns, but not `none`
    assert (net.alpha.grad[..., :-1].abs().amax(-1) > 0).all()
    assert not net.alpha.grad[..., -1].any()
    assert net.beta.grad.abs().sum() > 0
    net.zero_grad()
    net.trains_architecture = False
    net(torch.randn(2, BANDS, 4, 4)).square().sum().backward()
    assert net.alpha.grad is None
    assert net.beta.grad is None


def test_sampled_weights_are_one_so_that_paths_keep_their_scale() -> None:
    """A sampled pass with gradients equals the same draw without them, bit for bit."""
    net = make(mode="sampled").train()
    x = torch.randn(2, BANDS, 4, 4)
    answers = []
    for sampling in (True, False):
        net.trains_architecture = sampling
        torch.manual_seed(11)
        answers.append(net(x).detach())
    assert torch.equal(*answers)


def child_forward(net: HSI3DMixture, x: Tensor) -> Tensor:
    """The decoded architecture as one path through the supernet's weights, written out."""
    architecture = net.decode()
    values, selection = architecture.as_dict(), net.space.selection(architecture)
    layers, nodes = net.space.settings.layers, net.space.settings.nodes
    path = [0, *(int(values[f"cell{layer}.width"]) for layer in range(layers))]
    first = net.stem.activation(net.stem.first(x.unsqueeze(1)))
    state, states = net.stem.second(first), []
    inputs: list[dict[int, Tensor]] = [{0: net.older(first)}]
    for layer in range(layers):
        source, width = path[layer], path[layer + 1]
        wanted = {width} | ({path[layer + 2]} if layer + 1 < layers else set())
        inputs.append(
            {
                w: net.routers[f"{layer}-{source}-{w}"](state)
                for w in wanted
                if f"{layer}-{source}-{w}" in net.routers
            }
        )
        if f"{layer}-{width}" in net.lift:
            older = net.lift[f"{layer}-{width}"](inputs[layer][width - 1])
        else:
            older = inputs[layer][width]
        if layer > 0:
            older = net.shorten[f"{layer}-{width}"](older)
        states = [older, inputs[layer + 1][width]]
        cell = net.cells[f"{layer}-{width}"]
        for node in range(nodes):
            total = torch.zeros_like(states[0])
            for source_state in range(2 + node):
                name = selection[f"cell{layer}.node{node}.input{source_state}"]
                k = net.space.operators.index(name)
                edge = cell.edges[f"{node}-{source_state}"]
                total = total + edge.operators[k](states[source_state])
            states.append(total)
        state = cell.end(torch.cat(states[2:], 1))
    parts = []
    for width, pyramid in enumerate(net.head.pyramids):
        part = pyramid(state).mean(2) if width == path[-1] else None
        parts.append(part)
    example = next(p for p in parts if p is not None)
    filled = [torch.zeros_like(example) if p is None else p for p in parts]
    return net.head.classify(torch.cat(filled, 1))


@pytest.mark.parametrize("layers", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_evaluation_follows_the_decoded_architecture(layers: int, seed: int) -> None:
    net = make(layers=layers, nodes=2, mode="sampled", seed=seed).eval()
    calls = Calls(net)
    x = torch.randn(1, BANDS, 4, 3)
    with torch.no_grad():
        answer = net(x)
        assert torch.equal(net(x), answer)
        values = net.decode().as_dict()
        path = [f"{layer}-{values[f'cell{layer}.width']}" for layer in range(layers)]
        assert calls.cells == path * 2
        selection = net.space.selection(net.decode())
        named = {
            (cell, edge, selection[f"cell{cell[0]}.node{edge[0]}.input{edge[2]}"])
            for cell, edge, _ in calls.operators
        }
        assert set(calls.operators) == named
        assert len(calls.operators) == 2 * layers * 2 * 2
        torch.testing.assert_close(child_forward(net, x), answer)


def test_decoded_architectures_are_valid() -> None:
    for layers in (1, 2, 3, 4):
        space = HSI3D(layers=layers, nodes=2, **SMALL)
        net = HSI3DMixture(space, InputSpec(3), OutputSpec(2), width=2)
        for _ in range(20):
            nn.init.normal_(net.alpha)
            nn.init.normal_(net.beta)
            space.validate(net.decode())


def test_the_first_decoding_takes_the_lower_of_equals() -> None:
    """At the start alpha and beta are equal everywhere (3D-ANAS)."""
    net = HSI3DMixture(HSI3D(**SMALL), InputSpec(9), OutputSpec(2), width=2)
    values = net.decode().as_dict()
    assert {v for n, v in values.items() if n.endswith("inputs")} == {"0,1"}
    assert {v for n, v in values.items() if ".op" in n} == {"con_3-3"}
    assert [values["cell0.width"], values["cell1.width"]] == [0, 0]


def naive_decoding(alpha: npt.NDArray[np.float64]) -> list[list[list[tuple[int, int]]]]:
    """Two inputs a node with the largest weight of an operator but the last; lower index first."""
    layers = []
    for weights in alpha.tolist():
        cell, row, inputs = [], 0, 2
        while row < len(weights):
            candidates = []
            for source in range(inputs):
                best = 0
                for operator in range(len(weights[row + source]) - 1):
                    if weights[row + source][operator] > weights[row + source][best]:
                        best = operator
                candidates.append((-weights[row + source][best], source, best))
            kept = sorted(candidates)[:2]
            cell.append(sorted((source, best) for _, source, best in kept))
            row, inputs = row + inputs, inputs + 1
        layers.append(cell)
    return layers


@given(
    # few values, so that there are many ties, with `none` often the largest
    arrays(
        np.float64,
        st.tuples(st.integers(1, 3), st.sampled_from([2, 5, 9, 14]), st.just(8)),
        elements=st.integers(0, 4).map(float),
    )
)
def test_decoding_cells_against_a_slow_one(alpha: npt.NDArray[np.float64]) -> None:
    assert decode_cells(torch.from_numpy(alpha)) == naive_decoding(alpha)


def test_none_is_never_decoded() -> None:
    alpha = torch.zeros(1, 9, 8)
    alpha[..., 7] = 100
    alpha[0, 2, 3] = 1
    assert all(op != 7 for node in decode_cells(alpha)[0] for _, op in node)
    assert (0, 3) in decode_cells(alpha)[0][1]


def path_probability(beta: npt.NDArray[np.float64], path: tuple[int, ...]) -> float:
    rows = beta_rows(len(path))
    probability, source = 1.0, 0
    for layer, target in enumerate(path):
        row = np.exp(beta[rows[layer, source]] - beta[rows[layer, source]].max())
        probability *= row[target - source + 1] / row.sum()
        source = target
    return probability


def all_paths(layers: int) -> list[tuple[int, ...]]:
    return [
        path
        for path in itertools.product(*(widths_of(layer) for layer in range(layers)))
        if all(abs(a - b) <= 1 for a, b in itertools.pairwise((0, *path)))
    ]


@given(st.data(), st.integers(1, 5))
def test_the_best_path_against_all_paths(data: st.DataObject, layers: int) -> None:
    space = HSI3D(layers=layers, nodes=1)
    rows = len(beta_rows(layers))
    beta = data.draw(
        arrays(np.float64, (rows, 3), elements=st.floats(-6, 6, width=32)), label="beta"
    )
    found = tuple(best_path(torch.from_numpy(beta), space.settings))
    # even where all weight is on impossible moves
    assert found in all_paths(layers)
    best = max(path_probability(beta, path) for path in all_paths(layers))
    assert path_probability(beta, found) == pytest.approx(best, rel=1e-9)


def test_of_equal_paths_the_first_wins() -> None:
    for layers in (1, 2, 3):
        space = HSI3D(layers=layers, nodes=1)
        beta = torch.zeros(len(beta_rows(layers)), 3)
        assert best_path(beta, space.settings) == [0] * layers


def test_a_space_without_a_mixture_says_so() -> None:
    class Other(SearchSpace):
        name = "other"

    with pytest.raises(UnknownName, match="'other' has no mixture supernet"):
        create_mixture(Other(), InputSpec(3), OutputSpec(2))
    made = create_mixture(
        spaces.create("hsi3d", **SMALL), InputSpec(5), OutputSpec(2), width=2, mode="sampled"
    )
    assert isinstance(made, nn.Module)
    assert made.mode == "sampled"


@pytest.mark.parametrize("mode", ["full", "sampled"])
def test_a_copy_follows_its_own_architecture_parameters(mode: Any) -> None:
    net = HSI3DMixture(
        HSI3D(layers=1, nodes=1, **SMALL), InputSpec(9), OutputSpec(2), width=2, mode=mode
    )
    x = torch.randn(2, 9, 8, 8)
    net(x).sum().backward()  # what a pass leaves behind must not hinder a copy
    net.eval()
    before = net(x)
    twin = copy.deepcopy(net)
    with torch.no_grad():
        twin.alpha[..., 3] += 20
        assert torch.equal(net(x), before)
        assert not torch.equal(twin(x), before)
