"""The graph of a dense network: nodes, the convolutions that some of them are, and their order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from torch import Tensor

__all__ = ["Convolution", "Node", "consumers", "convolved", "ordered"]

Kind = Literal["input", "convolution", "activation", "add", "concatenate", "mean", "swap", "split"]
Three = tuple[int, int, int]


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


def convolved(convolution: Convolution, source: Node, slope: float | None = None) -> Node:
    """Return the node of a convolution of another node, with its activation."""
    channels = convolution.weight.shape[0]
    return Node(
        "convolution", [source], channels, convolution.length(source.bands), convolution, slope
    )
