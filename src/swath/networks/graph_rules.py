"""Rules that simplify the graph of a dense network: each gives the same answers with less work."""

from __future__ import annotations

import math
from dataclasses import replace

import torch
from torch import Tensor

from swath.networks.graph_nodes import Convolution, Node, consumers, convolved, ordered

__all__ = ["simplified"]


def simplified(last: Node) -> Node:
    """Return the last node after all rules, which change the graph, have nothing left to do."""
    while True:
        nodes = ordered(last)
        readers = consumers(nodes)
        for node in nodes:
            better = _better(node, readers)
            if better is not None:
                break
        else:
            return last
        for other in nodes:
            other.inputs = [better if source is node else source for source in other.inputs]
        last = better if node is last else last


def _better(node: Node, readers: dict[int, list[Node]]) -> Node | None:
    """Return what may stand in the place of a node, or None."""
    if not node.inputs:
        return None
    source = node.inputs[0]
    alone = len(readers[id(source)]) == 1
    if node.kind == "activation":
        for twin in readers[id(source)]:  # computed once for all who need it
            if twin.kind == "activation" and twin.slope == node.slope:
                if twin is not node:
                    return twin
                break
        if node.slope == 1:
            return source
    elif node.kind == "swap" and source.kind == "swap":
        return source.inputs[0]
    elif node.kind == "mean":
        return _mean_earlier(node, source, alone)
    elif node.kind == "add":
        return _added(node, readers)
    elif node.kind == "convolution":
        active = _activated(node, readers[id(node)])
        if active is not None:
            return active
        trimmed = _trimmed(node.weights, source.bands)
        if trimmed is not None:
            return convolved(trimmed, source, node.slope)
        if source.kind == "convolution" and _linear(source) and alone and _one(node):
            merged = _merged(source, node)
            if merged is not None:
                return convolved(merged, source.inputs[0], node.slope)
    return None


def _activated(node: Node, readers: list[Node]) -> Node | None:
    """Activate as the convolution ends, by what all who read it have in common.

    What is positive stays and slopes multiply, so a slope can be split in two factors.
    """
    if not readers or any(reader.kind != "activation" for reader in readers) or not _one(node):
        return None
    common = max(reader.slope or 0.0 for reader in readers)
    if common == 1:
        return None
    for reader in readers:
        reader.slope = (reader.slope or 0.0) / common if common else 1.0
    return replace(node, slope=common * (1.0 if node.slope is None else node.slope))


def _mean_earlier(node: Node, source: Node, alone: bool) -> Node | None:
    """The mean over the bands is linear: what is linear after it has fewer bands to work on."""

    def mean(of: Node) -> Node:
        return Node("mean", [of], of.channels, 1)

    if source.bands == 1:
        return source
    if not alone:
        return None
    if source.kind == "concatenate":
        parts = [mean(part) for part in source.inputs]
        return Node("concatenate", parts, node.channels, 1)
    if source.kind == "convolution" and _linear(source) and source.weights.pointwise:
        return convolved(source.weights, mean(source.inputs[0]))
    return None


def _added(node: Node, readers: dict[int, list[Node]]) -> Node | None:
    """Let a convolution add what it makes to the other term, instead of writing it first."""
    for source in reversed(node.inputs):
        if source.kind == "convolution" and _linear(source) and len(readers[id(source)]) == 1:
            (other,) = (term for term in node.inputs if term is not source)
            return replace(source, inputs=[source.inputs[0], other])
    return None


def _linear(node: Node) -> bool:
    """Whether a convolution is that alone: no activation follows and nothing is added."""
    return node.slope is None and _one(node)


def _one(node: Node) -> bool:
    return len(node.inputs) == 1


def _trimmed(convolution: Convolution, bands: int) -> Convolution | None:
    """Leave out the outer bands of a kernel, where they only ever meet the padding."""
    extent, dilation = convolution.kernel[0], convolution.dilation[0]
    padding = convolution.padding[0]
    if extent < 3 or padding < dilation:
        return None
    begins = range(-padding, convolution.stride * convolution.length(bands) - padding)
    reach = dilation * (extent - 1)
    for begin in begins[:: convolution.stride]:
        if 0 <= begin < bands or 0 <= begin + reach < bands:
            return None
    return replace(
        convolution,
        weight=convolution.weight[:, :, 1:-1],
        padding=(padding - dilation, *convolution.padding[1:]),
    )


def _merged(first: Node, second: Node) -> Convolution | None:
    """Return the one convolution that two in a row are, where that is exact and no more work."""
    a, b = first.weights, second.weights
    if b.pointwise:  # (B after A)
        if b.depthwise:
            weight = a.weight * b.weight
        elif a.groups == b.groups == 1:
            weight = torch.einsum("om,mikrc->oikrc", b.weight[..., 0, 0, 0], a.weight)
        else:
            return None
        bias = None if a.bias is None else _through(a.bias, b)
        merged = replace(a, weight=weight, bias=_sum(bias, b.bias))
    elif a.pointwise and (a.bias is None or b.padding == (0, 0, 0)):
        if a.depthwise:
            scale = a.weight.view(b.groups, 1, -1, 1, 1, 1)
            grouped = b.weight.view(b.groups, -1, *b.weight.shape[1:])
            weight = (grouped * scale).flatten(0, 1)
        elif a.groups == b.groups == 1:
            weight = torch.einsum("omkrc,mi->oikrc", b.weight, a.weight[..., 0, 0, 0])
        else:
            return None
        bias = None if a.bias is None else _through(a.bias, b)
        merged = replace(b, weight=weight, bias=_sum(bias, b.bias))
    else:
        return None
    before = _work(a, first.bands) + _work(b, second.bands)
    return merged if _work(merged, second.bands) <= before else None


def _through(bias: Tensor, convolution: Convolution) -> Tensor:
    """Return what a convolution without padding makes of a constant image."""
    sums = convolution.weight.sum((2, 3, 4))
    per_group = sums.view(convolution.groups, -1, sums.shape[1])
    constant = bias.view(convolution.groups, -1, 1)
    return (per_group @ constant).flatten()


def _sum(left: Tensor | None, right: Tensor | None) -> Tensor | None:
    if left is None or right is None:
        return right if left is None else left
    return left + right


def _work(convolution: Convolution, bands: int) -> int:
    return math.prod(convolution.weight.shape) * bands
