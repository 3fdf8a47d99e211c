"""Score a network by several proxies at once."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from swath.core.errors import RecipeError, nearest
from swath.estimators.proxies.base import (
    LOSS_NEEDS,
    Need,
    PerLayer,
    Proxy,
    ProxyScore,
    Rule,
    Variant,
    add,
)
from swath.estimators.proxies.catalogue import registry
from swath.estimators.proxies.chunked_pass import chunked_pass
from swath.estimators.proxies.evidence import Evidence, Layer
from swath.estimators.proxies.noise_pass import noise_pass
from swath.estimators.proxies.passes import data_pass, flow_pass, perturbed_pass
from swath.estimators.proxies.shape_pass import shape_pass
from swath.estimators.proxies.subject import Loss, Subject, private_copy
from swath.training import losses

__all__ = ["Batch", "score"]

Batch = Tensor | tuple[Tensor, Tensor | None]
"""Inputs (samples, ...), with a class for each sample or for each of its pixels, or without."""

OPTIONS: Mapping[str, tuple[str, ...]] = {
    "inputs": ("data", "noise", "ones"),
    "signs": ("none", "caf", "all"),
    "variant": ("paper", "authors", "seg101"),
    "transform": ("none", "log", "log-parts"),
}

# The stages of gathering that a need takes part in, for its proxies' seconds.
STAGES: Mapping[Need, tuple[str, ...]] = {
    "gradients": ("forward", "loss"),
    "curvature": ("forward", "loss", "curvature"),
    "answers": ("forward",),
    "slopes": ("forward", "loss"),
    "samples": ("forward", "loss"),
    "logit samples": ("forward", "logits"),
    "jacobian": ("forward", "logits"),
    "codes": ("forward",),
    "flow": ("flow",),
    "perturbation": ("forward", "loss", "perturbation"),
    "noise": ("noise",),
    "shape": ("shape",),
    "labels": (),
}


def score(
    network: nn.Module,
    batch: Batch,
    names: str | Iterable[str],
    *,
    loss: Loss | str | None = None,
    inputs: Literal["data", "noise", "ones"] = "data",
    signs: Literal["none", "caf", "all"] | None = None,
    variant: Variant = "paper",
    chunks: int | None = None,
    transform: Literal["none", "log", "log-parts"] = "none",
    seed: int = 0,
    dtype: torch.dtype | None = None,
) -> dict[str, ProxyScore]:
    """Score a network by zero-cost proxies; what several of them need is computed once.

    The network may be any that answers a batch with logits; its convolutions and linear layers are
    scored, but not transposed convolutions, recurrent layers, and the joint projection of queries,
    keys and values of ``torch.nn.MultiheadAttention``.  It is not changed, nor is torch's random
    generator.  Dropout and the like are off; batch normalisation takes the statistics of the batch,
    and is left out of data-free proxies.  Only nonlinearities that are modules are seen.

    Parameters
    ----------
    batch : see :data:`Batch`; also those that need no data take the size of an input from it.
    names : proxies, or wildcard patterns of their names.
    loss : of logits and targets, or the name of one of :mod:`swath.training.losses`.  None:
        "cross-entropy", and "hardest" for variant "seg101".
    inputs : "data" are the batch's; "noise" (standard normal) or "ones" stand in their place.
        Data-free proxies always read ones.
    signs : which weights data-free proxies make positive: "all", "none", or "caf", those of
        fusions, positions and tokens of a spectral transformer, as the authors of HyTAS did without
        meaning to.  None: "all", and "caf" for their variant.
    variant : "paper" as defined; "authors" as the code of HyTAS computes it, where it is known to
        differ: data-free proxies in the network's own precision, and see each proxy; "seg101" as
        the code of SEG101 does, which knows fewer: the batch in chunks, and see each proxy.  That
        its proxies changed the network for those after them is not repeated.
    chunks : into how many the batch is cut, of variant "seg101" alone; None: two samples each.
    transform : "log" takes the natural logarithm of totals; "log-parts" makes them the sum of the
        logarithms of the parts of attention and of the layers after it.  Sizes stay as they are.
    seed : of all that is drawn.
    dtype : in which to compute; None: as the network is.  Data-free proxies take float64.

    Returns
    -------
    The scores by name, in the order asked for.

    Raises
    ------
    UnknownName : there is no such proxy.
    RecipeError : an option cannot be used, or labels are missing.

    Examples
    --------
    >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(288, 2))
    >>> batch = torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 0, 1])
    >>> scores = score(network, batch, ["depth", "snip", "synflow"])
    >>> scores["depth"].total, list(scores["snip"].per_layer)
    (2.0, ['0', '3'])
    """
    for name, value in (("inputs", inputs), ("variant", variant), ("transform", transform)):
        _check(name, value)
    signs = signs or ("caf" if variant == "authors" else "all")
    _check("signs", signs)
    proxies = chosen(names)
    x, targets = _opened(batch)
    _check_labels(proxies, targets)
    rules = {proxy.name: proxy.rule_of(variant) for proxy in proxies}
    number = _chunk_count(chunks, variant, len(x))
    authors = variant == "authors"
    place = next(network.parameters(), x).device
    random = torch.random.fork_rng([place] if place.type == "cuda" else [])
    with random, torch.inference_mode(False), torch.enable_grad():
        torch.manual_seed(seed)
        copied = private_copy(network, dtype, batch_statistics=not authors)
        own = next(copied.parameters(), x).dtype
        subject = Subject(
            network=copied,
            x=_inputs(x, inputs, seed).to(place, own),
            targets=None if targets is None else _tracked(targets).to(place),
            loss=_loss(loss, variant),
            flow_dtype=own if authors else torch.float64,
            signs=signs,
            seed=seed,
            variant=variant,
            parameters=sum(parameter.numel() for parameter in network.parameters()),
        )
        needs = frozenset().union(*(proxy.needs for proxy in proxies))
        try:
            evidence = gather(subject, needs, number)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise RecipeError(
                "batch normalisation cannot take the statistics of one sample: give a larger batch"
            ) from error
        found = judge(proxies, rules, evidence)
    sizes = {proxy.name for proxy in proxies if proxy.needs == {"shape"}}
    return {
        name: one if name in sizes else _transformed(name, one, transform)
        for name, one in found.items()
    }


def chosen(names: str | Iterable[str]) -> list[Proxy]:
    """Return the proxies of names and patterns, each once.

    Raises
    ------
    UnknownName : there is no such proxy, or none that matches.
    """
    found: dict[str, Proxy] = {}
    for name in [names] if isinstance(names, str) else names:
        matching = registry.names(name) or [name]
        found |= {one: registry.create(one) for one in matching}
    return list(found.values())


def gather(subject: Subject, needs: frozenset[Need], chunks: int = 1) -> Evidence:
    """Make the passes that are needed, each once (of variant "seg101": once a chunk)."""
    evidence = subject.evidence()
    if needs & (LOSS_NEEDS | {"answers", "jacobian", "logit samples", "codes"}):
        if subject.variant == "seg101":
            chunked_pass(subject, evidence, needs, chunks)
        else:
            data_pass(subject, evidence, needs)
    if "perturbation" in needs:
        with evidence.timed("perturbation"):
            perturbed_pass(subject, evidence)
    if "flow" in needs:
        with evidence.timed("flow"):
            flow_pass(subject, evidence)
    if "noise" in needs:
        with evidence.timed("noise"):
            noise_pass(subject, evidence)
    if "shape" in needs:
        with evidence.timed("shape"):
            shape_pass(subject, evidence)
    return evidence


@torch.no_grad()
def judge(
    proxies: Sequence[Proxy], rules: Mapping[str, Rule], evidence: Evidence
) -> dict[str, ProxyScore]:
    """Let proxies judge what was gathered, each by the rule of its name.

    Layer by layer, so that the samples' gradients of one layer at a time are in memory.
    """
    seconds = {proxy.name: _shared_seconds(proxy, evidence) for proxy in proxies}
    values: dict[str, dict[str, Tensor]] = {name: {} for name in rules}
    for layer in evidence.layers:
        known: dict[Callable[[Layer], Tensor], tuple[Tensor, float]] = {}
        for name, rule in rules.items():
            if isinstance(rule, PerLayer):
                if rule.of_layer not in known:
                    begun = time.perf_counter()
                    found = rule.of_layer(layer)
                    known[rule.of_layer] = found, time.perf_counter() - begun
                values[name][layer.name] = known[rule.of_layer][0]
                seconds[name] += known[rule.of_layer][1]
        layer.forget()
    scores = {}
    for proxy in proxies:
        begun = time.perf_counter()
        total, layers = _combined(rules[proxy.name], values[proxy.name], evidence)
        seconds[proxy.name] += time.perf_counter() - begun
        parts = _parts(rules[proxy.name], evidence.layers, layers)
        scores[proxy.name] = ProxyScore(total, layers, proxy.direction, seconds[proxy.name], parts)
    return scores


def _combined(
    rule: Rule, values: Mapping[str, Tensor], evidence: Evidence
) -> tuple[float, Mapping[str, float]]:
    if isinstance(rule, PerLayer):
        layers = {name: rule.combine([value]) for name, value in values.items()}
        return rule.combine(list(values.values())), layers
    return rule.of_network(evidence)


def _shared_seconds(proxy: Proxy, evidence: Evidence) -> float:
    stages = {stage for need in proxy.needs for stage in STAGES[need]}
    return sum(evidence.seconds.get(stage, 0.0) for stage in stages)


def _parts(rule: Rule, layers: Sequence[Layer], scores: Mapping[str, float]) -> dict[str, float]:
    """Return the sums over layers of one kind, of a rule that adds layers up."""
    parts: dict[str, float] = {}
    if isinstance(rule, PerLayer) and rule.combine is add:
        for layer in layers:
            if math.isfinite(scores[layer.name]):
                parts[layer.kind] = parts.get(layer.kind, 0.0) + scores[layer.name]
    return parts


def _transformed(name: str, one: ProxyScore, transform: str) -> ProxyScore:
    if transform == "none":
        return one
    if transform == "log":
        return replace(one, total=_log(one.total))
    missing = [part for part in ("attention", "mlp") if part not in one.parts]
    if missing:
        raise RecipeError(
            f"{name} of this network has no part of kind '{missing[0]}', which transform "
            "'log-parts' takes the logarithm of; use transform 'log' or 'none'"
        )
    return replace(one, total=_log(one.parts["attention"]) + _log(one.parts["mlp"]))


def _log(value: float) -> float:
    return math.log(value) if value > 0 else math.nan


def _inputs(x: Tensor, kind: str, seed: int) -> Tensor:
    if kind == "ones":
        return torch.ones_like(x)
    if kind == "noise":
        return torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    return _tracked(x).detach()


def _tracked(tensor: Tensor) -> Tensor:
    """Return a tensor that may be part of a graph, unlike one that was made in inference mode."""
    return tensor.clone() if tensor.is_inference() else tensor


def _opened(batch: Batch) -> tuple[Tensor, Tensor | None]:
    """Return inputs and labels."""
    parts: Sequence[Any] = batch if isinstance(batch, tuple | list) else (batch, None)
    x = parts[0] if len(parts) == 2 else None
    if len(parts) != 2 or not isinstance(x, Tensor):
        told = f"{len(parts)} parts" if len(parts) != 2 else f"inputs of type {type(x).__name__}"
        raise RecipeError(
            f"a batch is one tensor of inputs, or (inputs, labels), not {told}; wrap a network of "
            "several inputs in one that takes them apart"
        )
    if not len(x):
        raise RecipeError("the batch has no samples; give at least one")
    return x, parts[1]


def _loss(loss: Loss | str | None, variant: Variant) -> Loss:
    if loss is None:
        loss = "hardest" if variant == "seg101" else "cross-entropy"
    return losses.loss(loss) if isinstance(loss, str) else loss


def _chunk_count(chunks: int | None, variant: Variant, samples: int) -> int:
    if variant != "seg101":
        if chunks is not None:
            raise RecipeError(f"variant '{variant}' takes the batch whole; leave out chunks")
        return 1
    if chunks is None:
        return max(1, samples // 2)
    if not 1 <= chunks <= samples:
        raise RecipeError(
            f"{samples} samples cannot be cut into {chunks} chunks; take 1 to {samples}"
        )
    return chunks


def _check(option: str, value: str) -> None:
    known = OPTIONS[option]
    if value not in known:
        raise RecipeError(
            f"{option} cannot be {value!r}{nearest(str(value), known)}; "
            f"it is one of: {', '.join(known)}"
        )


def _check_labels(proxies: Sequence[Proxy], targets: Tensor | None) -> None:
    labelled = [proxy.name for proxy in proxies if proxy.labelled]
    if labelled and targets is None:
        raise RecipeError(f"proxy '{labelled[0]}' needs labels; give the batch as (inputs, labels)")
