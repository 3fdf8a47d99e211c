"""Every proxy equals a slow reference: float64, plain autograd, one thing after the other."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from swath.estimators import proxies
from swath.estimators.proxies.base import NEEDS

SCORED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)
BATCH_NORM = nn.modules.batchnorm._BatchNorm
ACTIVE = (nn.ReLU, nn.LeakyReLU, nn.GELU)


class Slow:
    """A network of its own, as proxies see it, and plain autograd on it."""

    def __init__(self, case: Any) -> None:
        self.network = copy.deepcopy(case.network).eval()
        self.x, self.y = case.x, case.y
        self.layers = {}
        for name, module in self.network.named_modules():
            module.training = isinstance(module, BATCH_NORM)
            if isinstance(module, nn.ReLU | nn.LeakyReLU):
                module.inplace = False
            if isinstance(module, SCORED) and not name.startswith("fusions"):
                self.layers[name] = module
        self.weights = [layer.weight for layer in self.layers.values()]
        self.read: dict[str, Tensor] = {}
        self.answered: dict[str, Tensor] = {}
        self.active: list[np.ndarray] = []
        for name, module in self.network.named_modules():
            module.register_forward_hook(self._look(name))

    def _look(self, name: str) -> Callable[..., None]:
        def look(module: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
            self.read[name] = arguments[0]
            self.answered[name] = output
            if isinstance(module, ACTIVE):
                self.active.append((arguments[0] > 0).flatten(1).numpy())

        return look

    def forward(self, x: Tensor | None = None) -> Tensor:
        with sdpa_kernel(SDPBackend.MATH):
            return self.network(self.x if x is None else x)

    def loss(self, logits: Tensor) -> Tensor:
        return F.cross_entropy(logits, self.y, ignore_index=-1)

    def gradients(self, value: Tensor, wanted: Any = None, **options: Any) -> list[Tensor]:
        wanted = self.weights if wanted is None else wanted
        found = torch.autograd.grad(value, wanted, allow_unused=True, **options)
        return [torch.zeros_like(w) if g is None else g for w, g in zip(wanted, found, strict=True)]

    def pairs(self) -> list[tuple[Tensor, Tensor]]:
        """Weights, and gradients of the loss in them."""
        return [
            (w.detach(), g)
            for w, g in zip(self.weights, self.gradients(self.loss(self.forward())), strict=True)
        ]

    def answers(self) -> list[tuple[str, Tensor, Tensor]]:
        """Names, answers and slopes of the layers that run."""
        logits = self.forward()
        ran = [name for name in self.layers if name in self.answered]
        answers = [self.answered[name] for name in ran]
        slopes = self.gradients(self.loss(logits), answers)
        return [(n, a.detach(), s) for n, a, s in zip(ran, answers, slopes, strict=True)]

    def per_sample(self, value: Callable[[Tensor], Tensor]) -> list[np.ndarray]:
        """Gradients in a copy of the weights that every sample has of its own."""
        own = {
            name: [layer.weight.detach().clone().requires_grad_() for _ in self.x]
            for name, layer in self.layers.items()
        }

        def separate(layer: nn.Module, copies: list[Tensor]) -> Callable[[Tensor], Tensor]:
            def run(x: Tensor) -> Tensor:
                answers = []
                for sample, weight in zip(x.split(1), copies, strict=True):
                    if isinstance(layer, nn.Linear):
                        answers.append(F.linear(sample, weight, layer.bias))
                    else:
                        answers.append(layer._conv_forward(sample, weight, layer.bias))
                return torch.cat(answers)

            return run

        for name, layer in self.layers.items():
            layer.forward = separate(layer, own[name])
        every = [weight for copies in own.values() for weight in copies]
        found = iter(self.gradients(value(self.forward()), every))
        return [np.stack([next(found).numpy().ravel() for _ in self.x]) for _ in own]

    def flow(self) -> list[tuple[str, Tensor, Tensor]]:
        for parameter in self.network.parameters():
            parameter.data.abs_()
        for name, module in list(self.network.named_modules()):
            if isinstance(module, BATCH_NORM):
                self.network.set_submodule(name, nn.Identity())
        slopes = self.gradients(self.forward(torch.ones_like(self.x[:1])).sum())
        return [
            (n, w.detach(), s) for n, w, s in zip(self.layers, self.weights, slopes, strict=True)
        ]

    def codes(self) -> list[np.ndarray]:
        self.forward()
        return self.active

    def jacobian(self) -> np.ndarray:
        x = self.x.clone().requires_grad_()
        return torch.autograd.grad(self.summed(self.forward(x)), x)[0].flatten(1).numpy()

    def summed(self, logits: Tensor) -> Tensor:
        """Of dense answers the positive ones."""
        return logits.sum() if logits.dim() == 2 else logits[logits > 0].sum()


def agreement(code: np.ndarray) -> np.ndarray:
    x = code.astype(float)
    return x @ x.T + (1 - x) @ (1 - x).T


def log_det(matrix: np.ndarray) -> float:
    """As numpy has it; singular ones are left to a test of their own."""
    _, value = np.linalg.slogdet(matrix)
    values = np.linalg.eigvalsh(matrix)
    floor = values[-1] * len(values) * np.finfo(float).eps
    return float(value) if values[0] > floor else float(np.log(values.clip(floor)).sum())


def grasp(slow: Slow) -> float:
    gradients = slow.gradients(slow.loss(slow.forward()), create_graph=True)
    curvature = slow.gradients(sum((g * g.detach()).sum() for g in gradients))
    return -sum(float((w.detach() * h).sum()) for w, h in zip(slow.weights, curvature, strict=True))


def jacob_cov(slow: Slow) -> float:
    values = np.linalg.eigvalsh(np.corrcoef(slow.jacobian())) + 1e-5
    return float(-np.sum(np.log(values) + 1 / values))


def epe(slow: Slow) -> float:
    jacobian = slow.jacobian()
    classes = slow.y.numpy()
    if classes.ndim > 1:
        classes = np.array([np.bincount(one[one >= 0]).argmax() for one in classes])
    total = 0.0
    for one in np.unique(classes):
        correlations = np.atleast_2d(np.corrcoef(jacobian[classes == one]))
        total += abs(np.log(np.abs(correlations) + 1e-5).sum())
    return total


def fisher(slow: Slow) -> float:
    total = 0.0
    for name, answer, slope in slow.answers():
        product = (answer * slope).numpy()
        if isinstance(slow.layers[name], nn.Linear):
            product = np.moveaxis(product, -1, 1)
        by_channel = product.reshape(*product.shape[:2], -1).sum(2)
        total += float((by_channel**2).mean(0).sum() / 2)
    return total


def zico_act(slow: Slow) -> list[float]:
    scores = {name: math.nan for name in slow.layers}
    for name, answer, slope in slow.answers():
        values = ((answer * slope) ** 2).flatten(1).numpy()
        mean, deviation = values.mean(0), values.std(0)
        scores[name] = math.log(np.sum(mean[deviation > 0] / deviation[deviation > 0]))
    return list(scores.values())


def zico_plus(slow: Slow) -> float:
    scores = zico_act(slow)
    weights = [1.0, 1, 1, 1, 1] + [1 / (i - 4) for i in range(5, len(scores))]
    weights = weights[: len(scores)]
    weights[-1] = 1
    return float(np.nansum(np.multiply(scores, weights)))


def zico(slow: Slow) -> float:
    total = 0.0
    for gradients in slow.per_sample(slow.loss):
        mean, deviation = np.abs(gradients).mean(0), np.abs(gradients).std(0)
        moving = deviation > np.abs(gradients).max() * 1e-12 if gradients.any() else deviation > 0
        if moving.any():
            total += math.log(np.sum(mean[moving] / deviation[moving]))
    return total


def gradsign(slow: Slow) -> float:
    return float(sum(np.abs(np.sign(g).sum(0)).sum() for g in slow.per_sample(slow.loss)))


def ntk_condition(slow: Slow) -> float:
    together = np.concatenate(slow.per_sample(slow.summed), axis=1)
    values = np.linalg.eigvalsh(together @ together.T)
    return float(values[-1] / values[0])


def t_cet(slow: Slow) -> float:
    pairs = dict(zip(slow.layers, slow.pairs(), strict=True))
    total = 0.0
    for name, answer in slow.answered.items():
        if name in slow.layers:
            weight, gradient = pairs[name]
            saliency = (weight * gradient).abs()
            factor = float(saliency.sum() / saliency.std())
            total += factor * log_det(agreement((answer > 0).flatten(1).numpy()))
    return total


def cond_num(slow: Slow) -> float:
    total = 0.0
    for weight, gradient in slow.pairs():
        values = np.linalg.svd(weight.flatten(1).numpy(), compute_uv=False)
        total += float((weight * gradient).abs().sum()) / math.log(values[0] / values[-1])
    return total


def snip_grad_norm(slow: Slow) -> float:
    products = [w * g for w, g in slow.pairs()]
    return float(sum(p.abs().sum() / p.norm() for p in products if p.norm() > 0))


def cosine(one: Tensor, other: Tensor) -> float:
    one, other = one.detach(), other.detach()
    norms = float(one.norm() * other.norm())
    return float((one * other).sum()) / norms if norms else 0.0


def croze(slow: Slow) -> float:
    x = slow.x.clone().requires_grad_()
    logits = slow.forward(x)
    before = {name: slow.answered[name].detach() for name in slow.layers if name in slow.answered}
    *gradients, push = slow.gradients(slow.loss(logits), [*slow.weights, x])
    old = [w.detach().clone() for w in slow.weights]
    with torch.no_grad():
        for weight, gradient in zip(slow.weights, gradients, strict=True):
            if gradient.any():
                weight += 2 * weight.norm() * gradient / gradient.norm()
    others = slow.gradients(slow.loss(slow.forward(slow.x + 0.01 * push.sign())))
    total = 0.0
    for name, w, v, g, h in zip(slow.layers, old, slow.weights, gradients, others, strict=True):
        z = cosine(before[name], slow.answered[name]) if name in before else 0
        total += (1 + z) * (1 + cosine(w, v)) * abs(cosine(g, h))
    return total


def synflow(slow: Slow) -> float:
    return sum(float((w * g).abs().sum()) for _, w, g in slow.flow())


def logsynflow(slow: Slow) -> float:
    return sum(float((w * (g.abs() + 1).log()).abs().sum()) for _, w, g in slow.flow())


def dss(slow: Slow) -> float:
    total = 0.0
    for name, w, g in slow.flow():
        if name.endswith(("qkv", "proj")):
            total += float(torch.linalg.matrix_norm(w, "nuc") * torch.linalg.matrix_norm(g, "nuc"))
        else:
            total += float((w * g).abs().sum())
    return total


def zen(slow: Slow) -> float:
    """With the same draws: weights in order, input, then noise."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for layer in slow.layers.values():
            layer.weight.copy_(torch.randn(layer.weight.shape, generator=draw))
            if layer.bias is not None:
                layer.bias.zero_()
        x = torch.randn(slow.x.shape, generator=draw).double()
        noise = torch.randn(slow.x.shape, generator=draw).double()
        features, deviations = [], 0.0
        for values in (x, x + 0.01 * noise):
            slow.read.clear()
            dense = slow.forward(values).dim() > 2
            pools = [
                n
                for n, m in slow.network.named_modules()
                if isinstance(m, nn.AdaptiveAvgPool2d) and not dense
            ]
            last = (pools or [n for n in slow.read if n in slow.layers])[-1]
            features.append(slow.read[last].flatten(1))
            for name, module in slow.network.named_modules():
                if len(features) == 1 and isinstance(module, BATCH_NORM):
                    spread = slow.read[name].transpose(0, 1).flatten(1).numpy().var(axis=1)
                    deviations += 0.5 * math.log(spread.mean())
                if len(features) == 1 and isinstance(module, nn.LayerNorm):
                    deviations += 0.5 * math.log(slow.read[name].numpy().var(axis=-1).mean())
    return float((features[1] - features[0]).norm(dim=1).mean().log()) + deviations


def depth(slow: Slow) -> float:
    """Count by the shortest description there is: which layer's answer another one feels."""
    logits = slow.forward()
    ran = [name for name in slow.answered if name in slow.layers]
    below: dict[str, int] = {}
    for name in ran:  # in the order in which they ran
        feels = torch.autograd.grad(
            slow.answered[name].sum(),
            [slow.answered[other] for other in below] or [logits],
            allow_unused=True,
            retain_graph=True,
        )
        felt = [below[o] for o, g in zip(below, feels, strict=False) if g is not None]
        below[name] = 1 + max(felt, default=0)
    feels = torch.autograd.grad(
        logits.sum(), [slow.answered[name] for name in ran], allow_unused=True
    )
    return max(below[name] for name, g in zip(ran, feels, strict=True) if g is not None)


def width(slow: Slow) -> float:
    slow.forward()
    ran = [layer for name, layer in slow.layers.items() if name in slow.answered]
    return float(np.mean([layer.weight.shape[0] for layer in ran]))


def flops(slow: Slow) -> float:
    with FlopCounterMode(display=False) as counter:
        slow.forward(slow.x)
    return counter.get_total_flops() / len(slow.x)


REFERENCES: dict[str, Callable[[Slow], float]] = {
    "cond_num": cond_num,
    "croze": croze,
    "depth": depth,
    "dss": dss,
    "epe": epe,
    "fisher": fisher,
    "flops": flops,
    "grad_norm": lambda slow: float(sum(g.norm() for _, g in slow.pairs())),
    "gradsign": gradsign,
    "grasp": grasp,
    "jacob_cov": jacob_cov,
    "l2_norm": lambda slow: float(sum(w.norm() for w in slow.weights)),
    "linear_regions": lambda slow: len(np.unique(np.concatenate(slow.codes(), 1), axis=0)),
    "logsynflow": logsynflow,
    "naswot": lambda slow: log_det(np.sum([agreement(code) for code in slow.codes()], axis=0)),
    "ntk_condition": ntk_condition,
    "parameters": lambda slow: sum(p.numel() for p in slow.network.parameters()),
    "plain": lambda slow: float(sum((w * g).sum() for w, g in slow.pairs())),
    "snip": lambda slow: float(sum((w * g).abs().sum() for w, g in slow.pairs())),
    "snip_grad_norm": snip_grad_norm,
    "synflow": synflow,
    "t_cet": t_cet,
    "width": width,
    "zen": zen,
    "zico": zico,
    "zico++": zico_plus,
    "zico_act": lambda slow: float(np.nansum(zico_act(slow))),
}


def test_every_proxy_has_a_reference() -> None:
    assert sorted(REFERENCES) == proxies.names()


@pytest.mark.parametrize("name", REFERENCES)
def test_alone_and_together_with_all_others(case: Any, name: str, together: Any) -> None:
    expected = REFERENCES[name](Slow(case))
    assert math.isfinite(expected)
    assert expected != 0
    alone = proxies.score(case.network, case.batch, name)[name]
    assert alone.total == pytest.approx(expected, rel=1e-5)
    assert together[name].total == pytest.approx(expected, rel=1e-5)


@pytest.fixture(scope="module")
def together(case: Any) -> Any:
    return proxies.score(case.network, case.batch, "*")


def test_float32_is_near(case: Any, together: Any) -> None:
    single = copy.deepcopy(case.network).float()
    found = proxies.score(single, (case.x.float(), case.y), "*")
    for name in ("grad_norm", "snip", "synflow", "jacob_cov", "fisher", "zico_act", "naswot"):
        assert found[name].total == pytest.approx(together[name].total, rel=2e-3), name
    wide = proxies.score(single, (case.x.float(), case.y), "snip", dtype=torch.float64)
    assert wide["snip"].total == pytest.approx(together["snip"].total, rel=1e-5)


def test_scores_of_layers_and_parts_add_up(case: Any, together: Any) -> None:
    for name in ("grad_norm", "snip", "synflow", "dss", "fisher", "zico", "croze", "grasp"):
        one = together[name]
        finite = [value for value in one.per_layer.values() if math.isfinite(value)]
        assert sum(finite) == pytest.approx(one.total), name
        assert sum(one.parts.values()) == pytest.approx(one.total), name
        assert list(one.per_layer) == list(Slow(case).layers)


def test_what_a_proxy_needs_is_explained() -> None:
    for name in proxies.names():
        assert proxies.get(name).needs <= NEEDS.keys()
        assert proxies.get(name).source
