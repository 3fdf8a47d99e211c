"""The networks of NAS-Bench-101, on tensors (batch, channels, rows, columns).

Source: Ying et al., "NAS-Bench-101: Towards Reproducible Neural Architecture Search" (ICML 2019),
with the authors' code where the paper is silent (odd sizes, initialisation, which vertex gets the
channels that are left over).  No convolution has a bias.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

__all__ = ["Cell", "NASBench101Network", "normalised_convolution", "operator", "vertex_channels"]

Matrix = npt.NDArray[np.int64]

_EPSILON = 1e-5
_TRUNCATED = 0.87962566103423978  # standard deviation of a normal one cut off at two of its own


def normalised_convolution(
    inputs: int, outputs: int, kernel: int, momentum: float
) -> nn.Sequential:
    """Return convolution, normalisation, ReLU; the size is kept.

    Weights are drawn from a normal distribution cut off at two standard deviations, so that their
    variance is one over the number of inputs of a sum.

    Parameters
    ----------
    momentum : share of the old running statistics that a step of training keeps.
    """
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    spread = math.sqrt(1 / (inputs * kernel**2)) / _TRUNCATED
    nn.init.trunc_normal_(convolution.weight, std=spread, a=-2 * spread, b=2 * spread)
    normalisation = nn.BatchNorm2d(outputs, eps=_EPSILON, momentum=1 - momentum)
    return nn.Sequential(convolution, normalisation, nn.ReLU())


def operator(name: str, channels: int, momentum: float) -> nn.Module:
    """Return the operator of a vertex with so many channels, in and out."""
    if name == "maxpool3x3":
        return nn.MaxPool2d(3, stride=1, padding=1)
    kernel = {"conv3x3-bn-relu": 3, "conv1x1-bn-relu": 1}[name]
    return normalised_convolution(channels, channels, kernel, momentum)


def vertex_channels(inputs: int, outputs: int, matrix: Matrix) -> list[int]:
    """Return the channels of each vertex of a cell.

    Those that feed the output share its channels; what is left over goes to the first of them, one
    each.  Any other vertex has as many as the widest that it feeds.

    Parameters
    ----------
    matrix : upper triangular, (vertices, vertices); every vertex lies between input and output.
    """
    last = len(matrix) - 1
    channels = [inputs] + [0] * (last - 1) + [outputs]
    sharing = [vertex for vertex in range(1, last) if matrix[vertex, last]]
    for place, vertex in enumerate(sharing):
        channels[vertex] = outputs // len(sharing) + (place < outputs % len(sharing))
    for vertex in range(last - 1, 0, -1):
        if not matrix[vertex, last]:
            fed = np.flatnonzero(matrix[vertex])
            channels[vertex] = max(channels[target] for target in fed)
    return channels


class Cell(nn.Module):
    """A graph of operators.

    An inner vertex adds what comes in: the cell's input through a projection, other vertices cut
    to its own channels (they have at most one more).  The output joins the channels of those that
    feed it; the cell's input is projected and added to them.

    Parameters
    ----------
    matrix : upper triangular, (vertices, vertices); every vertex lies between input and output.
    operators : names, of the inner vertices.
    """

    def __init__(
        self, matrix: Matrix, operators: Sequence[str], inputs: int, outputs: int, momentum: float
    ) -> None:
        super().__init__()
        last = len(matrix) - 1
        self.channels = vertex_channels(inputs, outputs, matrix)
        self.sources = [np.flatnonzero(matrix[:, vertex]).tolist() for vertex in range(last + 1)]
        self.operators = nn.ModuleDict(
            {
                str(vertex): operator(name, self.channels[vertex], momentum)
                for vertex, name in enumerate(operators, start=1)
            }
        )
        self.projections = nn.ModuleDict(
            {
                str(vertex): normalised_convolution(inputs, self.channels[vertex], 1, momentum)
                for vertex in range(1, last + 1)
                if matrix[0, vertex]
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, outputs, rows, columns)."""
        values = [x]
        last = len(self.sources) - 1
        for vertex in range(1, last):
            width = self.channels[vertex]
            terms = [values[source][:, :width] for source in self.sources[vertex] if source]
            values.append(self.operators[str(vertex)](self._sum(vertex, terms, x)))
        joined = [values[source] for source in self.sources[last] if source]
        return self._sum(last, [torch.cat(joined, dim=1)] if joined else [], x)

    def _sum(self, vertex: int, terms: list[Tensor], x: Tensor) -> Tensor:
        if str(vertex) in self.projections:
            terms = [*terms, self.projections[str(vertex)](x)]
        total = terms[0]
        for term in terms[1:]:
            total = total + term
        return total


class NASBench101Network(nn.Sequential):
    """Stem, stacks of cells that are all alike, classifier of the whole patch.

    Between two stacks a 2 x 2 maximum halves rows and columns, odd ones rounded up, and the first
    cell of the next one doubles the channels.

    Parameters
    ----------
    matrix, operators : of a cell, see :class:`Cell`.
    channels : of the stem and the first stack.
    stacks, cells : stacks, and cells in each.
    momentum : of every normalisation, see :func:`normalised_convolution`.
    """

    def __init__(
        self,
        bands: int,
        classes: int,
        matrix: Matrix,
        operators: Sequence[str],
        *,
        channels: int,
        stacks: int,
        cells: int,
        momentum: float,
    ) -> None:
        layers: list[nn.Module] = [normalised_convolution(bands, channels, 3, momentum)]
        width = channels
        for stack in range(stacks):
            if stack:
                layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
            for _ in range(cells):
                layers.append(Cell(matrix, operators, width, channels << stack, momentum))
                width = channels << stack
        classifier = nn.Linear(width, classes)
        nn.init.xavier_uniform_(classifier.weight)
        nn.init.zeros_(classifier.bias)
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), classifier)
