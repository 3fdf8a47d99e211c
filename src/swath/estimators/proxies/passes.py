"""The passes that differentiate; each gathers what several proxies need.

A pass leaves what it found in the evidence.  Where a number does not depend on something, the
gradient is zero.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.func import functional_call

from swath.core.errors import MismatchError, RecipeError
from swath.estimators.proxies.base import LOSS_NEEDS, Need
from swath.estimators.proxies.evidence import Codes, Evidence, Flow, Layer, Perturbation, counting
from swath.estimators.proxies.layers import fusion_parameters, nonlinearities
from swath.estimators.proxies.recording import (
    Enlargements,
    Record,
    bypassed,
    recorded,
    replaced,
)
from swath.estimators.proxies.subject import (
    BATCH_NORMS,
    Subject,
    state_of,
    wanting_gradients,
)
from swath.networks.spectral_transformer import twice_differentiable

__all__ = ["data_pass", "flow_pass", "perturbed_pass"]

STEP = 2.0
"""CRoZe: length of the step of the weights, in lengths of the weights."""

PUSH = 0.01
"""CRoZe: by how much every input value is pushed."""

OUTPUT_NEEDS: frozenset[Need] = frozenset({"answers", "slopes", "samples", "logit samples"})

LOGIT_NEEDS: frozenset[Need] = frozenset({"jacobian", "logit samples"})


def data_pass(subject: Subject, evidence: Evidence, needs: frozenset[Need]) -> None:
    """Run the batch forward once, and backward as often as is needed.

    Sets inputs, outputs, slopes, gradient and curvature of the layers; codes; the jacobian; and
    what :func:`perturbed_pass` needs.
    """
    layers = evidence.layers
    backward = bool(needs & (LOSS_NEEDS | LOGIT_NEEDS))
    x = subject.x.clone().requires_grad_(bool(needs & {"jacobian", "perturbation"}))
    with wanting_gradients(layers, wanted=backward) as weights:
        with evidence.timed("forward"):
            logits, record = _forward(subject, evidence, x, needs, backward=backward)
        outputs = [output for layer in layers for output in record.outputs[layer.name]]
        for layer in layers:
            layer.inputs = tuple(tensor.detach() for tensor in record.inputs[layer.name])
            layer.outputs = tuple(tensor.detach() for tensor in record.outputs[layer.name])
            layer.modules = tuple(record.modules[layer.name])
        if backward and needs & OUTPUT_NEEDS:
            _check_idle(layers, logits)
        gradients: list[Tensor] = []
        if needs & LOSS_NEEDS:
            with evidence.timed("loss"):
                gradients = _differentiate_loss(
                    subject, evidence, needs, logits, x, weights, outputs
                )
        if needs & LOGIT_NEEDS:
            with evidence.timed("logits"):
                _differentiate_logits(subject, evidence, needs, logits, x, outputs)
        if "curvature" in needs:
            with evidence.timed("curvature"):
                _differentiate_twice(layers, weights, gradients, subject.toward)


def _check_idle(layers: Sequence[Layer], logits: Tensor) -> None:
    """Refuse layers that never ran, but whose weight was used all the same."""
    idle = [layer for layer in layers if not layer.modules]
    if not idle:
        return
    used = _leaves(logits)
    for layer in idle:
        if id(layer.module.weight) in used:
            raise MismatchError(
                f"the weight of layer '{layer.name}' is used without the layer being run, so that "
                "what it reads and answers is not seen; call the layer, or leave out proxies of "
                "answers and of samples"
            )


def _leaves(value: Tensor) -> set[int]:
    """Return the identities of the tensors that a number's graph begins with."""
    seen, waiting, found = set(), [value.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            found.add(id(getattr(node, "variable", None)))
            waiting += [other for other, _ in node.next_functions]
    return found


def _forward(
    subject: Subject, evidence: Evidence, x: Tensor, needs: frozenset[Need], *, backward: bool
) -> tuple[Tensor, Record]:
    """Return logits, and what the layers read and answered."""

    def run(copies: bool) -> tuple[Tensor, Record]:
        if "codes" in needs:
            evidence.codes = {name: Codes(len(x)) for name in nonlinearities(subject.network)}
        watching = recorded(
            subject.network,
            [layer.name for layer in evidence.layers],
            inputs=bool(needs & {"samples", "logit samples"}),
            outputs=bool(needs & OUTPUT_NEEDS),
            codes=counting(evidence.codes),
            copies=copies,
        )
        attention = twice_differentiable() if "curvature" in needs else nullcontext()
        with watching as record, attention, torch.set_grad_enabled(backward):
            return subject.network(x.clone()), record  # x may be overwritten

    return _as_answered(run)


def _as_answered(run: Callable[[bool], tuple[Tensor, Record]]) -> tuple[Tensor, Record]:
    """Run a network, which is told whether it goes on with copies of what its layers answer.

    Where it overwrites what a layer answered, it runs once more, on copies.
    """
    logits, record = run(False)
    return run(True) if record.overwritten else (logits, record)


def _differentiate_loss(
    subject: Subject,
    evidence: Evidence,
    needs: frozenset[Need],
    logits: Tensor,
    x: Tensor,
    weights: list[Tensor],
    outputs: list[Tensor],
) -> list[Tensor]:
    """Set gradients and slopes; return the gradients, to be differentiated again where needed."""
    assert subject.targets is not None
    of_weights = weights if needs & {"gradients", "curvature", "perturbation"} else []
    of_input = [x] if "perturbation" in needs else []
    of_outputs = outputs if needs & {"slopes", "samples"} else []
    found = _gradients(
        subject.loss(logits, subject.targets),
        [*of_weights, *of_input, *of_outputs],
        keep=bool(needs & LOGIT_NEEDS),
        differentiable="curvature" in needs,
    )
    gradients, rest = found[: len(of_weights)], found[len(of_weights) :]
    for layer, gradient in zip(evidence.layers, gradients, strict=False):
        layer.gradient = gradient.detach()
    if of_input:
        evidence.push = rest.pop(0).detach()
    if of_outputs:
        for layer, slopes in _shared_out(evidence.layers, rest):
            layer.slopes = slopes
    return gradients


def _differentiate_logits(
    subject: Subject,
    evidence: Evidence,
    needs: frozenset[Need],
    logits: Tensor,
    x: Tensor,
    outputs: list[Tensor],
) -> None:
    """Set the jacobian and the logits' slopes, on the graph that is there."""
    of_input = [x] if "jacobian" in needs else []
    of_outputs = outputs if "logit samples" in needs else []
    summed = logits.sum() if subject.variant == "seg101" else _summed(logits)
    found = _gradients(summed, [*of_input, *of_outputs], keep="curvature" in needs)
    if of_input:
        evidence.jacobian = found.pop(0).flatten(1)
    if of_outputs:
        for layer, slopes in _shared_out(evidence.layers, found):
            layer.logit_slopes = slopes


def _summed(logits: Tensor) -> Tensor:
    """Return the sum of all logits; of dense answers, of those above zero.

    Behind a batch normalisation the sum over all pixels of the batch is a constant, and what would
    be differentiated its rounding error.
    """
    return logits.sum() if logits.dim() <= 2 else logits.relu().sum()


def _differentiate_twice(
    layers: Sequence[Layer],
    weights: Sequence[Tensor],
    gradients: Sequence[Tensor],
    toward: Sequence[Tensor] | None,
) -> None:
    """Set the Hessian times the gradient: what gradient times constant gradient has as gradient."""
    constant = [one.detach() for one in gradients] if toward is None else toward
    terms = [
        (gradient * one).sum()
        for gradient, one in zip(gradients, constant, strict=True)
        if gradient.requires_grad
    ]
    product = torch.stack(terms).sum() if terms else torch.zeros(())
    for layer, curvature in zip(layers, _gradients(product, weights), strict=True):
        layer.curvature = curvature


def _gradients(
    value: Tensor, wanted: Sequence[Tensor], *, keep: bool = False, differentiable: bool = False
) -> list[Tensor]:
    tracked = [tensor for tensor in wanted if tensor.requires_grad]  # not what ran in no_grad
    if not value.requires_grad or not tracked:
        return [torch.zeros_like(tensor) for tensor in wanted]
    found = iter(
        torch.autograd.grad(
            value,
            tracked,
            retain_graph=keep or differentiable,
            create_graph=differentiable,
            allow_unused=True,
        )
    )
    gradients = [next(found) if tensor.requires_grad else None for tensor in wanted]
    return [
        torch.zeros_like(tensor) if gradient is None else gradient
        for tensor, gradient in zip(wanted, gradients, strict=True)
    ]


def _shared_out(
    layers: Iterable[Layer], tensors: list[Tensor]
) -> Iterable[tuple[Layer, tuple[Tensor, ...]]]:
    """Yield each layer with its tensors, of a list that goes through the layers' outputs."""
    rest = iter(tensors)
    for layer in layers:
        yield layer, tuple(next(rest).detach() for _ in layer.outputs)


def flow_pass(subject: Subject, evidence: Evidence) -> None:
    """Send an input of ones through weights without sign; differentiate the sum of all logits.

    Batch normalisation is left out: one sample has no statistics.  Variant "seg101" keeps it, with
    those of the sample's positions, and sums the logits as they were before they were enlarged.
    ReLU6 passes on as ReLU does, since what is made positive soon exceeds 6 and flows no more.
    """
    network = subject.network
    state = {
        name: tensor.to(subject.flow_dtype) if tensor.is_floating_point() else tensor
        for name, tensor in state_of(network).items()
    }
    for name in _made_positive(network, subject.signs):
        state[name] = state[name].abs()
    weights = [state[layer.parameter].requires_grad_() for layer in evidence.layers]
    ones = torch.ones_like(subject.x[:1], dtype=subject.flow_dtype)
    seg101 = subject.variant == "seg101"
    norms = nullcontext() if seg101 else bypassed(network, BATCH_NORMS)
    with norms, replaced(network, nn.ReLU6, torch.relu), Enlargements() as enlargements:
        logits = functional_call(network, state, (ones,))
    if seg101:
        logits = enlargements.undone(logits)
    gradients = _gradients(logits.sum(), weights)
    for layer, weight, gradient in zip(evidence.layers, weights, gradients, strict=True):
        layer.flow = Flow(weight.detach(), gradient)


def _made_positive(network: nn.Module, signs: str) -> set[str]:
    if signs == "none":
        return set()
    if signs == "all":
        return {name for name, _ in network.named_parameters()}
    fusions = fusion_parameters(network)
    if not fusions:
        raise RecipeError(
            f"a {type(network).__name__} has no fusion, position or token weights to make "
            "positive; signs must be 'none' or 'all'"
        )
    return fusions


def perturbed_pass(subject: Subject, evidence: Evidence) -> None:
    """Differentiate the loss once more, weights and inputs a step up its gradient."""
    assert subject.targets is not None
    network, state, weights = subject.network, state_of(subject.network), []
    for layer in evidence.layers:
        length = layer.gradient.norm()
        step = layer.gradient * (STEP * layer.weight.norm() / length) if length > 0 else 0
        weights.append((layer.weight + step).requires_grad_())
        state[layer.parameter] = weights[-1]
    x = subject.x + PUSH * evidence.push.sign()
    names = [layer.name for layer in evidence.layers]

    def run(copies: bool) -> tuple[Tensor, Record]:
        with recorded(network, names, outputs=True, copies=copies) as record:
            return functional_call(network, state, (x.clone(),)), record

    logits, record = _as_answered(run)
    gradients = _gradients(subject.loss(logits, subject.targets), weights)
    for layer, weight, gradient in zip(evidence.layers, weights, gradients, strict=True):
        answered = tuple(output.detach() for output in record.outputs[layer.name])
        layer.perturbation = Perturbation(weight.detach(), answered, gradient)
