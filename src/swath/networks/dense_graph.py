"""A trained dense network as a graph of few operations, simplified where that is exact.

Tensors are (batch, channels, bands, rows, columns); images without a spectral axis have one band.
What a network must be made of to have such a graph: convolutions that keep rows and columns,
normalisation with stored statistics, (leaky) ReLU, additions, concatenations along the channels,
the mean over the bands, and changes between bands and channels.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal, NoReturn

import torch
from torch import Tensor, fx, nn

from swath.networks.conv3d import without_groups
from swath.networks.tracing import traced

__all__ = ["Convolution", "Node", "NotDense", "consumers", "dense_graph", "ordered"]

Kind = Literal["input", "convolution", "activation", "add", "concatenate", "mean", "swap", "split"]
Three = tuple[int, int, int]


class NotDense(Exception):
    """The network is made of more than a dense graph can hold; the message says of what."""


@dataclass(frozen=True, eq=False)
class Convolution:
    """Weights (outputs, inputs / groups, bands, rows, columns) and bias in float64."""

    weight: Tensor
    bias: Tensor | None
    stride: int
    padding: Three
    dilation: Three
    groups: int

    @property
    def kernel(self) -> Three:
        """Extent along bands, rows and columns."""
        bands, rows, columns = self.weight.shape[2:]
        return bands, rows, columns

    @property
    def pointwise(self) -> bool:
        """Whether each position is computed from itself alone."""
        return self.kernel == (1, 1, 1) and self.padding == (0, 0, 0) and self.stride == 1

    @property
    def depthwise(self) -> bool:
        """Whether each channel is computed from itself alone."""
        return self.weight.shape[1] == 1 and self.groups == self.weight.shape[0]

    def length(self, bands: int) -> int:
        """Bands that go out where ``bands`` come in."""
        reach = self.dilation[0] * (self.kernel[0] - 1)
        return (bands + 2 * self.padding[0] - reach - 1) // self.stride + 1


@dataclass(eq=False)
class Node:
    """One operation.

    Parameters
    ----------
    kind : ``swap`` exchanges channels and bands; ``split`` makes ``bands`` bands of the channels.
    channels, bands : of what goes out.
    inputs : a convolution may have a second one, which is added to what it makes of the first.
    slope : of the activation: 0 is ReLU, between 0 and 1 LeakyReLU; after a convolution, None is
        no activation.
    """

    kind: Kind
    inputs: list[Node]
    channels: int
    bands: int
    convolution: Convolution | None = None
    slope: float | None = None

    @property
    def weights(self) -> Convolution:
        """The convolution of a node that is one."""
        assert self.convolution is not None
        return self.convolution

    @property
    def reach(self) -> tuple[int, ...]:
        """Rows of each input, beyond its own, that a row depends on, on either side."""
        if self.convolution is None:
            return (0,) * len(self.inputs)
        return (self.convolution.padding[1], 0)[: len(self.inputs)]


def dense_graph(
    network: nn.Module, bands: int, filled: Callable[[Convolution], bool] | None = None
) -> Node:
    """Return the last node of the network's simplified graph.

    Parameters
    ----------
    network : takes (batch, bands, rows, columns), returns (batch, classes, rows, columns); in
        evaluation mode.
    filled : whether a convolution of groups is to become one of all channels, with zeros between
        the groups; by default none.

    Raises
    ------
    NotDense : it is made of more than such a graph can hold.
    """
    try:
        graph = traced(network)
    except Exception as error:  # forward runs on proxies and may raise whatever it likes
        raise NotDense(f"it cannot be traced ({error})") from error
    last = _Reading(graph, bands).output
    if last.bands != 1:
        raise NotDense("its answers have a spectral axis")
    for node in ordered(last):
        if filled is not None and node.convolution is not None and filled(node.convolution):
            weight = without_groups(node.convolution.weight, node.convolution.groups)
            node.convolution = replace(node.convolution, weight=weight, groups=1)
    return _simplified(last)


def ordered(last: Node) -> list[Node]:
    """Return all nodes, inputs before those that need them."""
    order: dict[int, Node] = {}

    def visit(node: Node) -> None:
        if id(node) not in order:
            for source in node.inputs:
                visit(source)
            order[id(node)] = node

    visit(last)
    return list(order.values())


def consumers(nodes: Iterable[Node]) -> dict[int, list[Node]]:
    """Return by ``id`` of a node who reads it, as often as it is read."""
    found: dict[int, list[Node]] = {}
    for node in nodes:
        found.setdefault(id(node), [])
        for source in node.inputs:
            found.setdefault(id(source), []).append(node)
    return found


# -- from modules to nodes ------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Value:
    """A node, and whether its tensor has the spectral axis (five axes) or not (four)."""

    node: Node
    spectral: bool


class _Reading:
    """Reads a traced network."""

    def __init__(self, graph: fx.GraphModule, bands: int) -> None:
        self._modules = dict(graph.named_modules())
        values: dict[fx.Node, Any] = {}
        self.output: Node
        for step in graph.graph.nodes:
            if step.op == "placeholder":
                if len(values) or step.args:
                    _refuse("it takes more than an image")
                values[step] = _Value(Node("input", [], bands, 1), spectral=False)
            elif step.op == "output":
                value = values.get(step.args[0]) if isinstance(step.args[0], fx.Node) else None
                if not isinstance(value, _Value):
                    _refuse("it returns more than one tensor")
                self.output = value.node
            else:
                arguments = fx.map_arg(step.args, lambda key: values[key])
                options = fx.map_arg(step.kwargs, lambda key: values[key])
                values[step] = self._step(step, arguments, options)

    def _step(self, step: fx.Node, arguments: Any, options: dict[str, Any]) -> Any:
        if step.op == "call_module":
            return self._module(self._modules[str(step.target)], *arguments, **options)
        name = str(step.target) if step.op == "call_method" else _FUNCTIONS.get(step.target)
        method: Callable[..., _Value] | None = getattr(self, f"_{name}", None)
        if step.op not in ("call_method", "call_function") or method is None:
            _refuse(f"{step.target}")
        return method(*arguments, **options)

    def _module(self, module: nn.Module, value: Any) -> _Value:
        if not isinstance(value, _Value):
            _refuse(f"{type(module).__name__} of more than one tensor")
        if isinstance(module, nn.Conv2d | nn.Conv3d):
            return _convolved(value, module)
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            return _normalised(value, module)
        if isinstance(module, nn.LeakyReLU):
            return self._leaky_relu(value, module.negative_slope)
        if isinstance(module, nn.ReLU):
            return self._relu(value)
        if isinstance(module, nn.Identity | nn.Dropout | nn.Dropout2d | nn.Dropout3d):
            return value
        _refuse(type(module).__name__)

    def _relu(self, value: _Value, inplace: bool = False) -> _Value:
        return self._leaky_relu(value, 0.0)

    def _leaky_relu(
        self, value: _Value, negative_slope: float = 0.01, inplace: bool = False
    ) -> _Value:
        if not 0 <= negative_slope <= 1:
            _refuse(f"an activation of slope {negative_slope}")
        node = value.node
        active = Node("activation", [node], node.channels, node.bands, slope=float(negative_slope))
        return replace(value, node=active)

    def _contiguous(self, value: _Value, memory_format: Any = None) -> _Value:
        return value

    def _add(self, left: Any, right: Any, alpha: float = 1) -> _Value:
        if not (isinstance(left, _Value) and isinstance(right, _Value)) or alpha != 1:
            _refuse("an addition of numbers")
        shapes = {(v.node.channels, v.node.bands, v.spectral) for v in (left, right)}
        if len(shapes) > 1:
            _refuse("an addition of unequal shapes")
        node = Node("add", [left.node, right.node], left.node.channels, left.node.bands)
        return replace(left, node=node)

    def _cat(self, values: Any, dim: int = 0) -> _Value:
        if dim != 1 or not all(isinstance(value, _Value) for value in values):
            _refuse("a concatenation along another axis than the channels")
        nodes = [value.node for value in values]
        if len({(value.node.bands, value.spectral) for value in values}) > 1:
            _refuse("a concatenation of unequal shapes")
        channels = sum(node.channels for node in nodes)
        return replace(values[0], node=Node("concatenate", nodes, channels, nodes[0].bands))

    def _mean(self, value: _Value, dim: Any = None, keepdim: bool = False) -> _Value:
        if dim not in (2, (2,), [2]) or not value.spectral:
            _refuse("a mean over another axis than the bands")
        return _Value(Node("mean", [value.node], value.node.channels, 1), spectral=keepdim)

    def _unsqueeze(self, value: _Value, dim: int) -> _Value:
        if dim != 1 or value.spectral:
            _refuse("unsqueeze of another axis than the channels")
        return _Value(Node("swap", [value.node], 1, value.node.channels), spectral=True)

    def _squeeze(self, value: _Value, dim: int | None = None) -> _Value:
        node = value.node
        if dim == 1 and value.spectral and node.channels == 1:
            return _Value(Node("swap", [node], node.bands, 1), spectral=False)
        if dim == 2 and value.spectral and node.bands == 1:
            return replace(value, spectral=False)
        _refuse("squeeze of another axis than the channels or bands")

    def _unflatten(self, value: _Value, dim: int, sizes: Any) -> _Value:
        if dim != 1 or value.spectral or len(sizes) != 2 or min(sizes) < -1:
            _refuse("unflatten of another axis than the channels")
        channels, bands = sizes
        total = value.node.channels
        bands = total // channels if bands == -1 else bands
        return _Value(Node("split", [value.node], total // bands, bands), spectral=True)


_FUNCTIONS: dict[Any, str] = {
    operator.add: "add",
    operator.iadd: "add",
    torch.add: "add",
    torch.cat: "cat",
    torch.relu: "relu",
    nn.functional.relu: "relu",
    nn.functional.leaky_relu: "leaky_relu",
    torch.mean: "mean",
    torch.unsqueeze: "unsqueeze",
    torch.squeeze: "squeeze",
}


def _refuse(what: str) -> NoReturn:
    raise NotDense(f"it holds {what}")


def _convolved(value: _Value, module: nn.Conv2d | nn.Conv3d) -> _Value:
    if isinstance(module, nn.Conv3d) != value.spectral or module.padding_mode != "zeros":
        _refuse(f"{module}")
    weight = module.weight.detach().double().cpu()
    stride, dilation = list(module.stride), list(module.dilation)
    reach = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    if module.padding == "same":
        if any(r % 2 for r in reach):
            _refuse(f"{module}")
        padding = [r // 2 for r in reach]
    else:
        padding = [0] * len(reach) if isinstance(module.padding, str) else list(module.padding)
    if not value.spectral:
        weight = weight.unsqueeze(2)
        stride, dilation = [1, *stride], [1, *dilation]
        padding, reach = [0, *padding], [0, *reach]
    if stride[1:] != [1, 1] or [2 * p for p in padding[1:]] != reach[1:]:
        _refuse(f"{module}, which changes rows or columns")
    convolution = Convolution(
        weight,
        None if module.bias is None else module.bias.detach().double().cpu(),
        stride[0],
        (padding[0], padding[1], padding[2]),
        (dilation[0], dilation[1], dilation[2]),
        module.groups,
    )
    return replace(value, node=_apply(convolution, value.node))


def _normalised(value: _Value, module: nn.BatchNorm2d | nn.BatchNorm3d) -> _Value:
    if module.running_mean is None or module.running_var is None:
        _refuse("normalisation without stored statistics")
    scale = (module.running_var.detach().double().cpu() + module.eps).rsqrt()
    shift = -module.running_mean.detach().double().cpu() * scale
    if module.affine:
        weight, bias = (p.detach().double().cpu() for p in (module.weight, module.bias))
        scale, shift = scale * weight, shift * weight + bias
    convolution = Convolution(
        scale.view(-1, 1, 1, 1, 1), shift, 1, (0, 0, 0), (1, 1, 1), len(scale)
    )
    return replace(value, node=_apply(convolution, value.node))


def _apply(convolution: Convolution, source: Node, slope: float | None = None) -> Node:
    channels = convolution.weight.shape[0]
    return Node(
        "convolution", [source], channels, convolution.length(source.bands), convolution, slope
    )


# -- simplification: each rule gives the same answers with less work ------------------------------


def _simplified(last: Node) -> Node:
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
            return _apply(trimmed, source, node.slope)
        if source.kind == "convolution" and _linear(source) and alone and _one(node):
            merged = _merged(source, node)
            if merged is not None:
                return _apply(merged, source.inputs[0], node.slope)
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
        return _apply(source.weights, mean(source.inputs[0]))
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
