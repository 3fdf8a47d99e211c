"""The graph predictor of NPENAS-NP: a graph isomorphism network over operators and their wiring.

Source: Wei et al., "NPENAS: Neural Predictor Guided Evolution for Neural Architecture Search"
(the predictor NPENAS-NP), with the head of its use for segmentation as the other choice; layers
after Xu et al., "How Powerful are Graph Neural Networks?" (Eq. 4.1, epsilon fixed to 0).

A layer adds to each node what its predecessors hold, applies a perceptron of two layers, a ReLU and
batch normalisation over all nodes of the batch.  The mean over the nodes goes through a small head
and a sigmoid.  Graphs are dense: adjacency (graphs, nodes, nodes), padded where sizes differ.

The tensors are so small that bookkeeping, not arithmetic, is what training costs.  So the weights
lie in one flat vector and the gradient is written out by hand (checked against automatic
differentiation by a test), which makes a step about three times as fast.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError
from swath.core.seeds import derive
from swath.estimators.predictors import registry
from swath.estimators.predictors._features import refuse_extra
from swath.estimators.predictors.base import (
    Rescaling,
    TargetKind,
    checked_targets,
    fit_rescaling,
)
from swath.spaces.base import OpGraph, SearchSpace

__all__ = ["GINOptions", "GINPredictor", "GraphBatch", "GraphNetwork", "stack_graphs"]

Head = Literal["original", "seg101"]

_EPSILON = 1e-5  # of batch normalisation
_MOMENTUM = 0.1


@dataclass(frozen=True)
class GINOptions:
    """How the predictor looks and learns.  Defaults are those of NPENAS-NP.

    Parameters
    ----------
    layers, width : graph layers, and the features of a node in each.
    head : "original", Linear to 16, ReLU, dropout 0.1, Linear to 1; "seg101", Linear to 1.
    scale : the sigmoid's output is multiplied by it before the squared error is taken.
    targets : how figures are brought to the sigmoid's range (:func:`fit_rescaling`).
    epochs, batch, small_batch : ``small_batch`` graphs a step where no more are known.
    learning_rate, weight_decay : of Adam (betas 0 and 0.9), with a cosine to zero over all steps;
        biases learn twice as fast and do not decay.
    """

    layers: int = 3
    width: int = 32
    head: Head = "original"
    scale: float = 100.0
    targets: TargetKind = "linear"
    epochs: int = 300
    batch: int = 16
    small_batch: int = 10
    learning_rate: float = 0.005
    weight_decay: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("layers", "width", "epochs", "batch", "small_batch"):
            if getattr(self, name) < 1:
                raise RecipeError(f"predictor.{name} must be at least 1, not {getattr(self, name)}")
        if self.head not in ("original", "seg101"):
            raise RecipeError(f"predictor.head is original or seg101, not {self.head!r}")
        if self.targets not in ("linear", "ranks"):
            raise RecipeError(f"predictor.targets is linear or ranks, not {self.targets!r}")


@dataclass(frozen=True)
class GraphBatch:
    """Graphs as dense tensors; graphs of fewer nodes are padded at the end.

    Parameters
    ----------
    features : (graphs, nodes, operators), one-hot, zero in the padding.
    mixing : (graphs, nodes, nodes), the transposed adjacency plus the identity, zero in the
        padding: ``mixing @ features`` is each node plus the sum of its predecessors.
    weights : (graphs, 1, nodes), one over the graph's size, zero in the padding.
    padded : whether there is any padding.
    """

    features: Tensor
    mixing: Tensor
    weights: Tensor
    padded: bool

    def __len__(self) -> int:
        return len(self.features)

    def take(self, index: Tensor) -> GraphBatch:
        """Return some of the graphs."""
        return GraphBatch(
            self.features[index], self.mixing[index], self.weights[index], self.padded
        )


def stack_graphs(graphs: Sequence[OpGraph], vocabulary: Sequence[str]) -> GraphBatch:
    """Return graphs as one batch.

    Parameters
    ----------
    vocabulary : operator names, in the order of the one-hot features.  An operator that is not
        among them has no feature at all: nothing was learned of it.
    """
    place = {operator: i for i, operator in enumerate(vocabulary)}
    nodes = max(len(graph.operators) for graph in graphs)
    features = np.zeros((len(graphs), nodes, len(vocabulary)), np.float32)
    mixing = np.zeros((len(graphs), nodes, nodes), np.float32)
    weights = np.zeros((len(graphs), 1, nodes), np.float32)
    for i, graph in enumerate(graphs):
        size = len(graph.operators)
        known = [(j, place[o]) for j, o in enumerate(graph.operators) if o in place]
        features[i, [j for j, _ in known], [column for _, column in known]] = 1
        adjacency = np.array(graph.adjacency, np.float32)
        np.fill_diagonal(adjacency, 1)  # the node itself; a loop in the graph adds nothing
        mixing[i, :size, :size] = adjacency.T
        weights[i, 0, :size] = 1 / size
    padded = any(len(graph.operators) < nodes for graph in graphs)
    return GraphBatch(
        torch.from_numpy(features), torch.from_numpy(mixing), torch.from_numpy(weights), padded
    )


class GraphNetwork:
    """The network's weights as one flat vector, with its output and its gradient.

    Parameters
    ----------
    operators : number of features of a node.
    seed : of the weights, drawn as ``torch.nn.Linear`` draws them.
    """

    def __init__(
        self, operators: int, options: GINOptions, seed: int, dtype: torch.dtype = torch.float32
    ) -> None:
        self.options = options
        width = options.width
        shapes: list[tuple[int, ...]] = []
        for layer in range(options.layers):
            inputs = width if layer else operators
            shapes += [(inputs, width), (width,), (width, width), (width,), (width,), (width,)]
        sizes = [width, 16, 1] if options.head == "original" else [width, 1]
        for inputs, outputs in itertools.pairwise(sizes):
            shapes += [(inputs, outputs), (outputs,)]
        lengths = [math.prod(shape) for shape in shapes]
        generator = torch.Generator().manual_seed(seed)
        self.flat = torch.empty(sum(lengths), dtype=dtype)
        self.gradient = torch.zeros_like(self.flat)
        self.is_bias = torch.zeros(sum(lengths), dtype=torch.bool)
        self.weights = _views(self.flat, shapes, lengths)
        self.slopes = _views(self.gradient, shapes, lengths)
        biases = _views(self.is_bias, shapes, lengths)
        for i, (weight, bias) in enumerate(zip(self.weights, biases, strict=True)):
            if 6 * options.layers > i and i % 6 in (4, 5):
                weight.fill_(1 if i % 6 == 4 else 0)  # scale and shift of the normalisation
            else:
                bound = 1 / math.sqrt(self.weights[i - (weight.ndim == 1)].shape[0])
                weight.copy_(torch.rand(weight.shape, generator=generator) * 2 * bound - bound)
            bias.fill_(i % 2)  # each pair is a weight and a bias
        self.means = torch.zeros(options.layers, width, dtype=dtype)
        self.variances = torch.ones(options.layers, width, dtype=dtype)

    def predict(self, graphs: GraphBatch) -> Tensor:
        """Return (graphs,) outputs in 0..1, normalised by the running statistics."""
        x, rows = graphs.features, _real_rows(graphs)
        for layer in range(self.options.layers):
            w1, b1, w2, b2, scale, shift = self.weights[6 * layer : 6 * layer + 6]
            x = _rows(torch.bmm(graphs.mixing, x), rows)
            x = torch.addmm(b2, torch.addmm(b1, x, w1).relu_(), w2).relu_()
            factor = scale * (self.variances[layer] + _EPSILON).rsqrt()
            x = _nodes((x - self.means[layer]) * factor + shift, rows, graphs)
        x = torch.bmm(graphs.weights, x)[:, 0]
        head = self.weights[6 * self.options.layers :]
        x = torch.addmm(head[1], x, head[0])
        if len(head) > 2:
            x = torch.addmm(head[3], x.relu_(), head[2])
        return x[:, 0].sigmoid_()

    def loss_gradient(
        self, graphs: GraphBatch, targets: Tensor, dropout: Tensor | None = None
    ) -> Tensor:
        """Write the gradient of the loss to ``gradient`` and update the running statistics.

        The loss is the mean of ``(scale (output - target))^2``.

        Parameters
        ----------
        targets : (graphs,), in 0..1.
        dropout : (graphs, 16) factors of the original head's hidden features.

        Returns
        -------
        (graphs,) outputs in 0..1.
        """
        rows = _real_rows(graphs)
        kept = []
        x = graphs.features
        for layer in range(self.options.layers):
            w1, b1, w2, b2, scale, shift = self.weights[6 * layer : 6 * layer + 6]
            mixed = _rows(torch.bmm(graphs.mixing, x), rows)
            hidden = torch.addmm(b1, mixed, w1).relu_()
            active = torch.addmm(b2, hidden, w2).relu_()
            normal, mean, inverse = torch.native_batch_norm(
                active,
                scale,
                shift,
                self.means[layer],
                self.variances[layer],
                True,
                _MOMENTUM,
                _EPSILON,
            )
            kept.append((mixed, hidden, active, mean, inverse))
            x = _nodes(normal, rows, graphs)
        pooled = torch.bmm(graphs.weights, x)[:, 0]
        output, slope = self._head(pooled, targets, dropout)
        slope = torch.bmm(graphs.weights.transpose(1, 2), slope[:, None])
        for layer in reversed(range(self.options.layers)):
            w1, _, w2, _, scale, _ = self.weights[6 * layer : 6 * layer + 6]
            d_w1, d_b1, d_w2, d_b2, d_scale, d_shift = self.slopes[6 * layer : 6 * layer + 6]
            mixed, hidden, active, mean, inverse = kept[layer]
            slope, by_scale, by_shift = torch.ops.aten.native_batch_norm_backward(
                _rows(slope, rows),
                active,
                scale,
                None,
                None,
                mean,
                inverse,
                True,
                _EPSILON,
                [True, True, True],
            )
            d_scale.copy_(by_scale)
            d_shift.copy_(by_shift)
            slope = torch.ops.aten.threshold_backward(slope, active, 0)
            torch.mm(hidden.T, slope, out=d_w2)
            torch.sum(slope, 0, out=d_b2)
            slope = torch.ops.aten.threshold_backward(torch.mm(slope, w2.T), hidden, 0)
            torch.mm(mixed.T, slope, out=d_w1)
            torch.sum(slope, 0, out=d_b1)
            if layer:
                slope = _nodes(torch.mm(slope, w1.T), rows, graphs)
                slope = torch.bmm(graphs.mixing.transpose(1, 2), slope)
        return output

    def _head(
        self, pooled: Tensor, targets: Tensor, dropout: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Return outputs, and the gradient with respect to ``pooled`` (graphs, width)."""
        start = 6 * self.options.layers
        weights, slopes = self.weights[start:], self.slopes[start:]
        last = pooled
        if len(weights) > 2:
            first = torch.addmm(weights[1], pooled, weights[0]).relu_()
            last = first if dropout is None else first * dropout
        output = torch.addmm(weights[-1], last, weights[-2])[:, 0].sigmoid_()
        factor = 2 * self.options.scale**2 / len(targets)
        slope = ((output - targets) * output * (1 - output) * factor)[:, None]
        torch.mm(last.T, slope, out=slopes[-2])
        torch.sum(slope, 0, out=slopes[-1])
        slope = slope * weights[-2][:, 0]
        if len(weights) > 2:
            if dropout is not None:
                slope = slope * dropout
            slope = torch.ops.aten.threshold_backward(slope, first, 0)
            torch.mm(pooled.T, slope, out=slopes[0])
            torch.sum(slope, 0, out=slopes[1])
            slope = torch.mm(slope, weights[0].T)
        return output, slope


def _views(flat: Tensor, shapes: Sequence[tuple[int, ...]], lengths: Sequence[int]) -> list[Tensor]:
    """Return the parts of a flat vector in their shapes; they share its memory."""
    return [
        part.view(shape)
        for part, shape in zip(torch.split(flat, list(lengths)), shapes, strict=True)
    ]


def _real_rows(graphs: GraphBatch) -> Tensor | None:
    """Return the flat indices of nodes that are no padding; None where all are real."""
    return graphs.weights.flatten().nonzero()[:, 0] if graphs.padded else None


def _rows(x: Tensor, rows: Tensor | None) -> Tensor:
    """Flatten (graphs, nodes, features) to the real nodes (rows, features)."""
    x = x.reshape(-1, x.shape[-1])
    return x if rows is None else x[rows]


def _nodes(x: Tensor, rows: Tensor | None, graphs: GraphBatch) -> Tensor:
    """Undo :func:`_rows`; the padding is zero."""
    shape = (*graphs.mixing.shape[:2], x.shape[-1])
    if rows is None:
        return x.view(shape)
    return x.new_zeros(shape[0] * shape[1], shape[2]).index_copy_(0, rows, x).view(shape)


def train(
    network: GraphNetwork, graphs: GraphBatch, targets: Tensor, generator: torch.Generator
) -> None:
    """Fit the network's weights, in place; ``targets`` (graphs,) lie in 0..1."""
    options = network.options
    count = len(graphs)
    batch = options.small_batch if count <= options.small_batch else options.batch
    steps = options.epochs * math.ceil(count / batch)
    rate = options.learning_rate * (1 + network.is_bias.float())
    decay = options.weight_decay * (~network.is_bias).float()
    second = torch.zeros_like(network.flat)
    step = 0
    for _ in range(options.epochs):
        order = torch.randperm(count, generator=generator)
        dropout = torch.rand(count, 16, generator=generator).ge_(0.1).div_(0.9)
        for index in torch.split(order, batch):
            network.loss_gradient(graphs.take(index), targets[index], dropout[index])
            step += 1
            gradient = network.gradient.addcmul_(network.flat, decay)
            # Adam whose first beta is 0 keeps no mean of the gradient.
            second.mul_(0.9).addcmul_(gradient, gradient, value=0.1)
            size = second.sqrt().div_(math.sqrt(1 - 0.9**step)).add_(1e-8)
            cosine = (1 + math.cos(math.pi * (step - 1) / steps)) / 2
            network.flat.addcdiv_(gradient.mul_(rate), size, value=-cosine)


class GINPredictor:
    """The predictor of NPENAS-NP.

    Parameters
    ----------
    options : fields of :class:`GINOptions`.
    """

    def __init__(self, options: GINOptions | None = None) -> None:
        self.options = options or GINOptions()

    def fit(
        self,
        space: SearchSpace,
        architectures: Sequence[Architecture],
        targets: npt.NDArray[np.float64],
        seed: int,
        extra: npt.NDArray[np.float64] | None = None,
    ) -> None:
        """Learn from scratch from ``targets`` (architectures,), finite, larger is better.

        Raises
        ------
        RecipeError : there are extra columns, or targets do not fit the architectures.
        """
        refuse_extra("gin", extra)
        targets = checked_targets(architectures, targets)
        graphs = [space.graph(architecture) for architecture in architectures]
        self.space_ = space
        # Sorted: the features' order, and with it the outcome, is the same in every process.
        self.vocabulary_ = sorted({operator for graph in graphs for operator in graph.operators})
        self.rescaling_: Rescaling = fit_rescaling(targets, self.options.targets)
        self.network_ = GraphNetwork(
            len(self.vocabulary_), self.options, derive(seed, "gin", "weights")
        )
        units = torch.from_numpy(self.rescaling_.to_unit(targets)).float()
        generator = torch.Generator().manual_seed(derive(seed, "gin", "batches"))
        train(self.network_, stack_graphs(graphs, self.vocabulary_), units, generator)

    def predict(
        self, architectures: Sequence[Architecture], extra: npt.NDArray[np.float64] | None = None
    ) -> npt.NDArray[np.float64]:
        """Return (architectures,) predictions in the targets' unit."""
        refuse_extra("gin", extra)
        graphs = [self.space_.graph(architecture) for architecture in architectures]
        units = self.network_.predict(stack_graphs(graphs, self.vocabulary_))
        return self.rescaling_.from_unit(units.double().numpy())


@registry.register("gin")
def _create(**options: Any) -> GINPredictor:
    """Make the predictor; ``options`` are fields of :class:`GINOptions`."""
    return GINPredictor(GINOptions(**options))
