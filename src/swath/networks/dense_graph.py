"""A trained dense network as a graph of few operations, simplified where that is exact.

Tensors are (batch, channels, bands, rows, columns); images without a spectral axis have one band.
What a network must be made of to have such a graph: convolutions that keep rows and columns,
normalisation with stored statistics, (leaky) ReLU, additions, concatenations along the channels,
the mean over the bands, and changes between bands and channels.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import torch
from torch import fx, nn

from swath.networks.conv3d import without_groups
from swath.networks.graph_nodes import Convolution, Node, convolved, ordered
from swath.networks.graph_rules import simplified
from swath.networks.tracing import traced

__all__ = ["NotDense", "dense_graph"]


class NotDense(Exception):
    """The network is made of more than a dense graph can hold; the message says of what."""


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
    return simplified(last)


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
    return replace(value, node=convolved(convolution, value.node))


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
    return replace(value, node=convolved(convolution, value.node))
