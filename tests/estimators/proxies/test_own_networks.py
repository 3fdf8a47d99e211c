"""Networks of a user's own: what torch offers, and what no network of the spaces is made of."""

from __future__ import annotations

import copy
import itertools
import math
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

from swath.core.errors import MismatchError, RecipeError
from swath.estimators import proxies
from swath.estimators.proxies.attention import OpenAttention
from swath.estimators.proxies.shape_pass import RECURRENT

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
SIZES = ("depth", "flops", "parameters", "width")


def batch(*size: int) -> tuple[Tensor, Tensor]:
    return torch.randn(*size).double(), torch.arange(size[0]) % 3


def perceptron() -> nn.Sequential:
    return nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3))


class InPlace(nn.Module):
    """Functions that overwrite what a layer answered."""

    def __init__(self, overwrites: bool = True) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 5, 3, padding=1)
        self.second = nn.Conv2d(5, 5, 3)
        self.act = nn.ReLU()
        self.head = nn.Linear(5, 3)
        self.overwrites = overwrites

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(x), inplace=self.overwrites)
        x = self.second(x)
        x = x.mul_(3) if self.overwrites else x * 3
        return self.head(self.act(x).mean((2, 3)))


class Tied(nn.Module):
    """Two layers of one weight, which read images of different sizes in different ways."""

    def __init__(self) -> None:
        super().__init__()
        self.fine = nn.Conv2d(3, 4, 3, padding=1)
        self.coarse = nn.Conv2d(3, 4, 3, stride=2, padding=2, dilation=2, bias=False)
        self.coarse.weight = self.fine.weight
        self.act = nn.ReLU()
        self.head = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        small = F.avg_pool2d(x, 4)
        seen = self.act(self.fine(x)).mean((2, 3)) + self.act(self.coarse(small)).mean((2, 3))
        return self.head(seen)


class Pyramid(Tied):
    """One layer that runs twice, on a large and on a small image."""

    def forward(self, x: Tensor) -> Tensor:
        small = F.avg_pool2d(x, 8)
        seen = self.act(self.fine(x)).mean((2, 3)) + self.act(self.fine(small)).mean((2, 3))
        return self.head(seen)


class Encoder(nn.Module):
    """Torch's transformer."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(6, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 12, activation=nn.GELU(), batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(self.embed(x)).mean(1))


def padded(padding: Any, mode: str) -> nn.Module:
    layer = nn.Conv2d(3, 5, (4, 3), padding=padding, padding_mode=mode)
    small = nn.Conv2d(5, 6, (2, 3), padding=padding, padding_mode=mode)
    return nn.Sequential(layer, nn.SiLU(), small, nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                         nn.Linear(24, 3))  # fmt: skip


NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "in place": (InPlace, (5, 3, 8, 8)),
    "tied": (Tied, (5, 3, 16, 16)),
    "pyramid": (Pyramid, (5, 3, 16, 16)),
    "encoder": (Encoder, (5, 4, 6)),
    "same": (lambda: padded("same", "zeros"), (5, 3, 9, 8)),
    "valid": (lambda: padded("valid", "zeros"), (5, 3, 9, 8)),
    "reflected": (lambda: padded((1, 2), "reflect"), (5, 3, 9, 8)),
    "circular": (lambda: padded("same", "circular"), (5, 3, 9, 8)),
}


def made(kind: str) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    torch.manual_seed(1)
    make, size = NETWORKS[kind]
    return make().double().eval(), batch(*size)


def weights_of(network: nn.Module) -> list[Tensor]:
    """Return the weights of layers, each once."""
    found = [module.weight for module in network.modules() if isinstance(module, LAYERS)]
    return list({id(weight): weight for weight in found}.values())


def of_each_sample(
    network: nn.Module, x: Tensor, value: Callable[[Tensor, slice], Tensor]
) -> list[np.ndarray]:
    """Return (samples, weights) for each weight, one pass a sample."""
    weights, rows = weights_of(network), []
    for place in range(len(x)):
        one = slice(place, place + 1)
        found = torch.autograd.grad(value(network(x[one]), one), weights)
        rows.append([gradient.flatten().numpy() for gradient in found])
    return [np.stack(column) for column in zip(*rows, strict=True)]


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_of_samples(kind: str) -> None:
    network, (x, y) = made(kind)
    of_loss = of_each_sample(network, x, lambda z, one: F.cross_entropy(z, y[one]) / len(x))
    zico = 0.0
    for gradients in of_loss:
        mean, deviation = np.abs(gradients).mean(0), np.abs(gradients).std(0)
        moving = deviation > 1e-12 * np.abs(gradients).max()
        zico += math.log(np.sum(mean[moving] / deviation[moving]))
    together = np.concatenate(of_each_sample(network, x, lambda z, _: z.sum()), axis=1)
    values = np.linalg.eigvalsh(together @ together.T)
    found = proxies.score(network, (x, y), ("zico", "gradsign", "ntk_condition"))
    assert found["zico"].total == pytest.approx(zico, rel=1e-6)
    signs = sum(np.abs(np.sign(gradients).sum(0)).sum() for gradients in of_loss)
    assert found["gradsign"].total == signs
    assert found["ntk_condition"].total == pytest.approx(values[-1] / values[0], rel=1e-5)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kind", NETWORKS)
def test_gradients_of_the_batch(kind: str) -> None:
    """Also of weights that two layers share, which are counted once."""
    network, (x, y) = made(kind)
    weights = weights_of(network)
    with torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH):
        loss = F.cross_entropy(network(x), y)
    gradients = torch.autograd.grad(loss, weights, create_graph=True)
    product = torch.stack([(one * one.detach()).sum() for one in gradients]).sum()
    curvatures = torch.autograd.grad(product, weights)
    found = proxies.score(network, (x, y), "*")
    expected = {
        "grad_norm": sum(one.norm() for one in gradients),
        "snip": sum((w * one).abs().sum() for w, one in zip(weights, gradients, strict=True)),
        "grasp": -sum((w * one).sum() for w, one in zip(weights, curvatures, strict=True)),
        "l2_norm": sum(w.norm() for w in weights),
        "parameters": torch.tensor(sum(p.numel() for p in network.parameters())),
    }
    positive = copy.deepcopy(network)
    for parameter in positive.parameters():
        parameter.data.abs_()
    weights = weights_of(positive)
    slopes = torch.autograd.grad(positive(torch.ones_like(x[:1])).sum(), weights)
    expected["synflow"] = sum((w * one).abs().sum() for w, one in zip(weights, slopes, strict=True))
    for name, value in expected.items():
        assert found[name].total == pytest.approx(float(value.detach()), rel=1e-6), name
    assert len(found["snip"].per_layer) == len(weights)
    for name, one in found.items():
        assert math.isfinite(one.total), name


def test_what_functions_overwrite_is_seen_as_it_was() -> None:
    torch.manual_seed(0)
    network = InPlace().double()
    kept = InPlace(overwrites=False).double()
    kept.load_state_dict(network.state_dict())
    data = batch(5, 3, 8, 8)
    found, expected = (proxies.score(one, data, "*") for one in (network, kept))
    for name in proxies.names():
        assert found[name].total == pytest.approx(expected[name].total, rel=1e-9), name


def test_a_projection_of_attention_is_a_layer_that_runs() -> None:
    network, data = made("encoder")
    projection = "encoder.layers.0.self_attn.out_proj"
    found = proxies.score(network, data, ("fisher", "zico_act", "t_cet", "gradsign", "depth"))
    for name in ("fisher", "zico_act", "t_cet", "gradsign"):
        assert abs(found[name].per_layer[projection]) > 0
    assert found["depth"].total == 8  # of the two blocks three each


@pytest.mark.parametrize(("name", "module"), [("relu", nn.ReLU()), ("gelu", nn.GELU())])
def test_nonlinearities_of_torchs_transformer(name: str, module: nn.Module) -> None:
    torch.manual_seed(0)
    named, given = (
        nn.Sequential(
            nn.TransformerEncoderLayer(6, 2, 9, activation=activation, batch_first=True),
            nn.Flatten(),
            nn.Linear(24, 3),
        ).double()
        for activation in (name, module)
    )
    given.load_state_dict(named.state_dict())
    data = batch(5, 4, 6)
    found, expected = (proxies.score(one, data, "*") for one in (named, given))
    assert list(found["naswot"].per_layer) == ["0.activation"]
    for name in proxies.names():
        assert found[name].total == pytest.approx(expected[name].total, rel=1e-9), name
    assert named[0].activation in (F.relu, F.gelu)


OPTIONS = tuple(itertools.product((False, True), repeat=5))


@pytest.mark.parametrize(("first", "bias", "appended", "zeros", "widths"), OPTIONS)
def test_attention_layer_by_layer_is_torchs(
    first: bool, bias: bool, appended: bool, zeros: bool, widths: bool
) -> None:
    torch.manual_seed(0)
    others = {"kdim": 5, "vdim": 6} if widths else {}
    theirs = nn.MultiheadAttention(
        8, 2, bias=bias, add_bias_kv=appended, add_zero_attn=zeros, batch_first=first, **others
    )  # fmt: skip
    theirs = theirs.double().eval()
    ours = copy.deepcopy(theirs)
    ours.__class__ = OpenAttention
    sizes = ((3, 4, 8), (3, 7, others.get("kdim", 8)), (3, 7, others.get("vdim", 8)))
    read = [torch.randn(*size).double() for size in sizes]
    single = [one[0] for one in read]
    read = read if first else [one.transpose(0, 1) for one in read]
    hidden, pairs = torch.rand(3, 7) < 0.3, torch.rand(6, 4, 7) < 0.2
    hidden[:, 0] = pairs[:, :, 0] = False
    for weights, averaged in itertools.product((False, True), repeat=2):
        asked = {"need_weights": weights, "average_attn_weights": averaged}
        calls: list[tuple[list[Tensor], dict[str, Any]]] = [
            (read, asked),
            (read, {"key_padding_mask": hidden, "attn_mask": pairs, **asked}),
            (read, {"attn_mask": torch.randn(4, 7).double(), **asked}),
            (single, {"key_padding_mask": hidden[0], "attn_mask": pairs[:2], **asked}),
        ]
        for tensors, options in calls:
            expected, found = theirs(*tensors, **options), ours(*tensors, **options)
            assert torch.allclose(found[0], expected[0])
            assert (found[1] is None) == (expected[1] is None) == (not weights)
            if weights:
                assert found[1].shape == expected[1].shape
                assert torch.allclose(found[1], expected[1])


COMPUTED: dict[str, Callable[[nn.Module], object]] = {
    "weight norm": parametrizations.weight_norm,
    "spectral norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "old weight norm": weight_norm,
    "old spectral norm": spectral_norm,
    "pruned": lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
}


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("kind", COMPUTED)
def test_weights_that_are_computed_count_as_what_they_are(kind: str) -> None:
    torch.manual_seed(0)
    network, plain = perceptron().double(), perceptron().double()
    for layer in (network[0], network[2]):
        COMPUTED[kind](layer)
    data = batch(5, 6)
    network.eval()(data[0])
    for ours, theirs in zip(network[::2], plain[::2], strict=True):
        theirs.weight.data.copy_(ours.weight)
        theirs.bias.data.copy_(ours.bias)
    state = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    names = [name for name in proxies.names() if name != "parameters"]
    for _ in range(2):
        found = proxies.score(network, data, "*")
        expected = proxies.score(plain, data, names)
        for name in names:
            assert found[name].total == pytest.approx(expected[name].total, rel=1e-6), name
        assert found["parameters"].total == sum(p.numel() for p in network.parameters())
    assert network.state_dict().keys() == state.keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert torch.allclose(network(data[0]), plain(data[0]))


def test_what_runs_without_gradients_has_none() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.act, self.head = nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3)

        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                x = self.backbone(x)
            return self.head(self.act(x))

    torch.manual_seed(0)
    found = proxies.score(Network().double(), batch(5, 6), "*")
    for name in ("snip", "fisher", "gradsign", "synflow"):
        assert found[name].per_layer["backbone"] == 0 < found[name].per_layer["head"]
    assert found["depth"].total == 1


def test_answers_without_a_dimension_of_classes() -> None:
    class Flat(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: Tensor) -> Tensor:
            return self.network(x).squeeze(1)

    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 1)).double()
    x, names = batch(6, 6)[0], ("jacob_cov", "ntk_condition")
    found, expected = (proxies.score(one, x, names) for one in (Flat(network), network))
    for name in names:
        assert found[name].total == pytest.approx(expected[name].total, rel=1e-9)


def test_a_network_without_nonlinear_modules_has_no_codes() -> None:
    network = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    found = proxies.score(network, batch(5, 6), ("naswot", "linear_regions"))
    assert all(math.isnan(one.total) for one in found.values())


def test_a_network_without_layers() -> None:
    found = proxies.score(nn.Flatten(), batch(5, 3), "*")
    for name, one in found.items():
        assert math.isfinite(one.total) or name in ("naswot", "linear_regions", "ntk_condition")


def test_weights_that_are_no_numbers() -> None:
    network = perceptron()
    network[2].weight.data[0, 0] = math.nan
    found = proxies.score(network, (torch.randn(4, 6), torch.tensor([0, 1, 2, 0])), "*")
    for name in ("cond_num", "jacob_cov", "ntk_condition", "snip", "synflow"):
        assert math.isnan(found[name].total) or math.isnan(found[name].per_layer["2"]), name


def test_normalisation_that_keeps_no_statistics() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Linear(6, 8), nn.BatchNorm1d(8, track_running_stats=False), nn.ReLU(), nn.Linear(8, 3)
    ).double()  # fmt: skip
    without = nn.Sequential(network[0], nn.ReLU(), network[3])
    data = batch(5, 6)
    found = proxies.score(network, data, "*")
    expected = proxies.score(without, data, ("synflow", "depth", "flops"))
    for name, one in expected.items():
        assert found[name].total == one.total


def test_a_normalisation_that_runs_twice_hides_twice() -> None:
    torch.manual_seed(0)
    norm, layers = nn.LayerNorm(6), [nn.Linear(6, 6) for _ in range(3)]
    once = nn.Sequential(layers[0], norm, layers[1], norm, layers[2])
    twice = nn.Sequential(layers[0], norm, layers[1], nn.LayerNorm(6), layers[2])
    x = torch.randn(4, 6)
    found, expected = (proxies.score(one, x, "zen")["zen"] for one in (once, twice))
    assert found.total == pytest.approx(expected.total)
    assert found.per_layer["1"] == pytest.approx(sum(expected.per_layer.values()))


def test_operations_of_recurrent_layers() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells, self.head = nn.LSTM(6, 8, batch_first=True), nn.Linear(8, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.cells(x)[0][:, -1])

    found = proxies.score(Network(), torch.randn(2, 5, 6), "flops")["flops"]
    assert found.total == 2 * (5 * 4 * 8 * (6 + 8) + 8 * 3)
    gpu = RECURRENT[torch.ops.aten._cudnn_rnn]
    assert gpu((5, 1, 6), [(32, 6), (32, 8), (32,), (32,)], 4) == 2 * 5 * 4 * 8 * (6 + 8)


def test_what_a_module_keeps_of_an_earlier_pass_is_no_hindrance() -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers, self.kept = perceptron(), None

        def forward(self, x: Tensor) -> Tensor:
            self.kept = self.layers[0](x)
            return self.layers(x)

    network, x = Network(), torch.randn(4, 6)
    expected = proxies.score(network, x, "synflow")["synflow"].total
    network(x)
    kept = network.kept
    assert proxies.score(network, x, "synflow")["synflow"].total == expected
    assert network.kept is kept
    network.several = [kept * 2]
    with pytest.raises(RecipeError, match=r"a Network cannot be copied .*deepcopy"):
        proxies.score(network, x, "synflow")
    network.several = []
    network.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(RecipeError, match=r"a Network cannot be copied .*lock"):
        proxies.score(network, x, "synflow")


def test_hooks_of_the_user_do_not_hear_of_it() -> None:
    network, seen = perceptron().double(), []
    network[0].register_full_backward_hook(lambda *_: seen.append(1))
    network[2].register_full_backward_pre_hook(lambda *_: seen.append(1))
    proxies.score(network, batch(5, 6), "*")
    assert not seen


def test_batches_made_in_inference_mode() -> None:
    torch.manual_seed(0)
    network, (x, y) = perceptron().double(), batch(5, 6)
    expected = proxies.score(network, (x, y), "*")
    with torch.inference_mode():
        found = proxies.score(network, (x.clone(), y.clone()), "*")
    for name in proxies.names():
        assert found[name].total == pytest.approx(expected[name].total, rel=1e-9)


class Overwriting(nn.Module):
    """It changes its input, and names what its modules read."""

    def __init__(self, overwrites: bool = True) -> None:
        super().__init__()
        self.layer, self.norm, self.act = nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU()
        self.head = nn.Linear(8, 3)
        self.overwrites = overwrites

    def forward(self, x: Tensor) -> Tensor:
        if not self.overwrites:
            return self.head(self.act(self.norm(self.layer(x * 2 - 1))))
        x.mul_(2).sub_(1)
        return self.head(input=self.act(input=self.norm(input=self.layer(input=x))))


@pytest.mark.parametrize("name", proxies.names())
def test_the_batch_stays_as_it_is(name: str) -> None:
    torch.manual_seed(0)
    network, plain = Overwriting().double(), Overwriting(overwrites=False).double()
    plain.load_state_dict(network.state_dict())
    x, y = batch(5, 6)
    expected = proxies.score(plain, (x, y), name)[name]
    given = x.clone()
    found = proxies.score(network, (given, y), name)[name]
    assert found.total == pytest.approx(expected.total, rel=1e-6)
    assert torch.equal(given, x)


def test_sizes_are_not_transformed() -> None:
    network, data = perceptron(), torch.zeros(1, 6)
    names = (*SIZES, "synflow")
    found = proxies.score(network, data, names)
    logarithms = proxies.score(network, data, names, transform="log")
    for name in SIZES:
        assert logarithms[name].total == found[name].total
    assert logarithms["synflow"].total == pytest.approx(math.log(found["synflow"].total))


class Standardised(nn.Linear):
    """A layer whose weight is centred in each pass."""

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight - self.weight.mean(), self.bias)


class Idle(nn.Module):
    """A layer that is never used, and one whose weight is used behind its back."""

    def __init__(self, used: bool) -> None:
        super().__init__()
        self.idle, self.layer, self.head = nn.Linear(6, 8), nn.Linear(6, 8), nn.Linear(8, 3)
        self.used = used

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.layer.forward(x) if self.used else self.layer(x))


class Many(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 3)

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.layer(x)}


class Turned(nn.Module):
    """What it computes has the positions first."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.act, self.head = nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.layer(x.transpose(0, 1))).mean(0))


def test_what_cannot_be() -> None:
    x, y = torch.randn(5, 6), torch.tensor([0, 1, 2, 0, 1])
    for name in ("snip", "synflow", "jacob_cov", "naswot", "zen", "depth"):
        with pytest.raises(MismatchError, match="a Many answers with a dict, not with a tensor"):
            proxies.score(Many(), (x, y), name)
    with pytest.raises(MismatchError, match="not for a Standardised"):
        proxies.score(nn.Sequential(Standardised(6, 3)), (x, y), "zico")
    for name in ("zico", "ntk_condition", "fisher", "zico_act", "t_cet", "croze"):
        with pytest.raises(MismatchError, match="weight of layer 'layer' is used without"):
            proxies.score(Idle(used=True), (x, y), name)
        assert math.isfinite(proxies.score(Idle(used=False), (x, y), name)[name].total)
    tokens = torch.randn(5, 4, 6)
    for name in ("fisher", "zico_act", "t_cet"):
        with pytest.raises(MismatchError, match="layer 'layer' answers 4 rows for 5 samples"):
            proxies.score(Turned(), (tokens, y), name)
    with pytest.raises(MismatchError, match="nonlinearity 'act' reads 4 rows for 5 samples"):
        proxies.score(Turned(), (tokens, y), "naswot")
    made = nn.Sequential(nn.Linear(6, 3))
    del made[0].weight
    made[0].weight = torch.ones(3, 6)
    with pytest.raises(MismatchError, match="weight of layer '0' is neither a parameter nor"):
        proxies.score(made, (x, y), "snip")
    for several in ((x, x, y), ((x, x), y), {"x": x}):
        with pytest.raises(RecipeError, match="a batch is one tensor of inputs"):
            proxies.score(perceptron(), several, "snip")  # type: ignore[arg-type]
    with pytest.raises(RecipeError, match="the batch has no samples"):
        proxies.score(perceptron(), (x[:0], y[:0]), "snip")
