"""The form in which a trained dense network maps scenes fast on a processor.

The network's simplified graph is carried out in few calls: convolutions with their activation in
one, in the layout and form that measurements show to be fastest.  Either whole images are computed
(:meth:`Inference.__call__`), or a long image is streamed through by rows (:class:`Stream`): each
convolution keeps the last rows that its kernel still needs, so that nothing is computed twice and
what is at work fits into the cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from swath.networks.dense_graph import Convolution, Node, consumers, dense_graph, ordered
from swath.networks.receptive_field import Halo

__all__ = ["Inference", "Stream", "can_fuse", "has_bfloat16"]

LAYOUT = torch.channels_last_3d


def can_fuse() -> bool:
    """Return whether this torch has the calls that compute a convolution and what follows in one.

    They are those of torch's own compiler, and private: a torch without them maps in the plain
    form.
    """
    names = ("_convolution_pointwise", "_convolution_pointwise_", "_reorder_convolution_weight")
    available: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return available and all(hasattr(torch.ops.mkldnn, name) for name in names)


def has_bfloat16() -> bool:
    """Return whether this processor multiplies in bfloat16."""
    name = "_is_mkldnn_bf16_supported"
    return can_fuse() and hasattr(torch.ops.mkldnn, name) and getattr(torch.ops.mkldnn, name)()


class Inference:
    """A network, ready to map.

    Parameters
    ----------
    network : takes (batch, bands, rows, columns), returns (batch, classes, rows, columns); used
        as in evaluation mode, and not changed.
    bands : of its input.
    dtype : float32 or bfloat16; the last convolution is float32 in any case.

    Raises
    ------
    NotDense : see :func:`~swath.networks.dense_graph.dense_graph`.
    """

    def __init__(self, network: nn.Module, bands: int, dtype: torch.dtype = torch.float32) -> None:
        training = {module: module.training for module in network.modules()}
        network.eval()
        try:
            last = dense_graph(network, bands)
        finally:
            for module, mode in training.items():
                module.training = mode
        self.nodes = ordered(last)
        self.dtype = dtype
        self.readers = consumers(self.nodes)
        self.lags = _lags(self.nodes, self.readers)
        alone = {key for key, readers in self.readers.items() if len(readers) == 1}
        self._steps = [
            _step(node, torch.float32 if node is last else dtype, alone) for node in self.nodes
        ]

    @property
    def classes(self) -> int:
        """How many classes it answers."""
        return self.nodes[-1].channels

    @property
    def halo(self) -> Halo:
        """How far beyond a pixel its answer depends on the image."""
        reaches: list[int] = []
        for axis in (1, 2):
            behind: dict[int, int] = {}
            for node in self.nodes:
                sources = [behind[id(source)] for source in node.inputs]
                if node.convolution is not None:
                    sources[0] += node.convolution.padding[axis]
                behind[id(node)] = max(sources, default=0)
            reaches.append(behind[id(self.nodes[-1])])
        rows, columns = reaches
        return Halo(rows, rows, columns, columns)

    def __call__(self, images: Tensor) -> Tensor:
        """Return float32 logits (batch, classes, rows, columns) of (batch, bands, rows, columns).

        Memory is of the order of all activations of the batch.
        """
        left = {key: len(readers) for key, readers in self.readers.items()}
        values: dict[int, Tensor] = {}
        for node, step in zip(self.nodes, self._steps, strict=True):
            if node.kind == "input":
                values[id(node)] = images.unsqueeze(2).to(self.dtype)
                continue
            values[id(node)] = step([values[id(source)] for source in node.inputs], whole=True)
            for source in node.inputs:
                left[id(source)] -= 1
                if not left[id(source)]:
                    del values[id(source)]
        return values[id(self.nodes[-1])][:, :, 0].float()

    def stream(self, rows: int) -> Stream:
        """Return a new stream for one image of so many rows."""
        return Stream(self, rows)


class Stream:
    """Computes an image from top to bottom, as its rows come in.

    Parameters
    ----------
    form : of the network.
    rows : of the image.
    """

    def __init__(self, form: Inference, rows: int) -> None:
        self._form = form
        self._rows = rows
        self._seen = 0
        self._done = dict.fromkeys(map(id, form.nodes), 0)
        self._queues = {
            id(node): [_Queue(reach, rows) for reach in node.reach] for node in form.nodes
        }

    def push(self, rows: Tensor) -> Tensor | None:
        """Take the next rows (bands, rows, columns) and return the logits that follow from them.

        The answers lag behind by the rows of the halo; the last rows bring all the rest.

        Returns
        -------
        (classes, rows, columns) float32, or None where no row is ready.
        """
        form = self._form
        self._seen += rows.shape[1]
        answer: Tensor | None = None
        for node, step in zip(form.nodes, form._steps, strict=True):
            key = id(node)
            begin = self._done[key]
            end = self._seen - form.lags[key] if self._seen < self._rows else self._rows
            if end <= begin:
                continue
            if node.kind == "input":
                value = rows[None, :, None].to(form.dtype)
            else:
                taken = [queue.take(begin, end) for queue in self._queues[key]]
                value = step(taken, whole=False)
            self._done[key] = end
            for reader in dict.fromkeys(form.readers[key]):
                for source, queue in zip(reader.inputs, self._queues[id(reader)], strict=True):
                    if source is node:
                        queue.put(value)
            if node is form.nodes[-1]:
                answer = value[0, :, 0].float()
        return answer


class _Queue:
    """Rows that a node has yet to read."""

    def __init__(self, reach: int, rows: int) -> None:
        self._reach = reach
        self._rows = rows
        self._pieces: deque[Tensor] = deque()
        self._first = 0  # row at which the pieces begin

    def put(self, piece: Tensor) -> None:
        self._pieces.append(piece)

    def take(self, begin: int, end: int) -> Tensor:
        """Return the rows begin - reach to end + reach, zero beyond the image."""
        begin, end = begin - self._reach, end + self._reach
        first = self._pieces[0]
        if len(self._pieces) == 1 and begin == self._first and end - begin == first.shape[3]:
            result = first
        else:
            result = torch.empty(
                (*first.shape[:3], end - begin, first.shape[4]),
                dtype=first.dtype,
                memory_format=LAYOUT,
            )
            if begin < 0:
                result[:, :, :, :-begin] = 0
            if end > self._rows:
                result[:, :, :, self._rows - end :] = 0
            start = self._first
            for piece in self._pieces:
                stop = start + piece.shape[3]
                low, high = max(start, begin), min(stop, end)
                if low < high:
                    result[:, :, :, low - begin : high - begin] = piece[
                        :, :, :, low - start : high - start
                    ]
                start = stop
        keep = end - 2 * self._reach
        while self._pieces and self._first + self._pieces[0].shape[3] <= keep:
            self._first += self._pieces.popleft().shape[3]
        return result


def _lags(nodes: Sequence[Node], readers: dict[int, list[Node]]) -> dict[int, int]:
    """Return how many rows each node is behind the input.

    A node that makes more of less works as late as its readers allow, others as early as they can,
    so that what waits is small.
    """
    lags: dict[int, int] = {}
    for node in nodes:
        behind = [lags[id(of)] + reach for of, reach in zip(node.inputs, node.reach, strict=True)]
        lags[id(node)] = max(behind, default=0)
    for node in reversed(nodes):
        if not node.inputs or not readers[id(node)]:
            continue
        size_in = sum(source.channels * source.bands for source in node.inputs)
        if node.channels * node.bands >= size_in:
            lags[id(node)] = min(
                lags[id(reader)] - reach
                for reader in readers[id(node)]
                for source, reach in zip(reader.inputs, reader.reach, strict=True)
                if source is node
            )
    return lags


def _step(node: Node, dtype: torch.dtype, alone: set[int]) -> Any:
    if node.convolution is not None:
        own = len(node.inputs) == 2 and id(node.inputs[1]) in alone
        return _Convolve(node.convolution, node.slope, dtype, own)

    def run(values: list[Tensor], whole: bool) -> Tensor:
        first = values[0]
        match node.kind:
            case "activation":
                return nn.functional.leaky_relu(first, node.slope or 0.0)
            case "add":
                total = first + values[1]
                for value in values[2:]:
                    total += value
                return total
            case "concatenate":
                return torch.cat(values, dim=1)
            case "mean":
                # Several times as fast as torch's own reduction in this layout.
                total = first[:, :, :1] + first[:, :, 1:2]
                for band in range(2, first.shape[2]):
                    total += first[:, :, band : band + 1]
                return total.mul_(1 / first.shape[2])
            case "swap":
                return first.transpose(1, 2).contiguous(memory_format=LAYOUT)
            case "split":
                shape = (len(first), node.channels, node.bands, *first.shape[3:])
                return first.squeeze(2).reshape(shape).contiguous(memory_format=LAYOUT)
            case _:
                raise AssertionError(node.kind)

    return run


@dataclass
class _Convolve:
    """A convolution with its activation."""

    convolution: Convolution
    slope: float | None
    dtype: torch.dtype
    own: bool
    _packed: dict[Any, Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        c = self.convolution
        self._weight = c.weight.to(self.dtype)
        self._bias = None if c.bias is None else c.bias.to(self.dtype)
        if self.slope is None:
            self._attribute: tuple[str, list[float]] = ("none", [])
        elif self.slope == 0:
            self._attribute = ("relu", [])
        else:
            self._attribute = ("leaky_relu", [self.slope])
        # Spatially dilated kernels have no fast form in three dimensions.
        same_length = c.stride == 1 and 2 * c.padding[0] == c.dilation[0] * (c.kernel[0] - 1)
        self._flat = max(c.dilation[1:]) > 1 and same_length

    def __call__(self, values: list[Tensor], whole: bool) -> Tensor:
        c = self.convolution
        x = values[0].to(self.dtype)
        padding = (c.padding[1] if whole else 0, c.padding[2])
        if self._flat:
            answer = self._by_bands(x, padding)
            return answer.add_(values[1]) if len(values) == 2 else answer
        other = None
        if len(values) == 2:
            other = values[1].contiguous(memory_format=LAYOUT)
            other = other if self.own or other is not values[1] else other.clone()
        return self._run(
            x,
            self._weight,
            self._bias,
            (c.padding[0], *padding),
            (c.stride, 1, 1),
            c.dilation,
            0,
            onto=other,
        )

    def _by_bands(self, x: Tensor, padding: tuple[int, int]) -> Tensor:
        """Convolve each band as an image with each slice of the kernel, and add."""
        c = self.convolution
        batch, _, bands = x.shape[:3]
        middle = c.kernel[0] // 2
        around = c.kernel[0] > 1

        def part(of: Tensor, index: int) -> Tensor:
            images = of.transpose(1, 2).flatten(0, 1)
            last = index == middle
            answer = self._run(
                images,
                self._weight[:, :, index],
                self._bias if last else None,
                padding,
                (1, 1),
                c.dilation[1:],
                index,
                plain=around,
            )
            return answer.view(batch, -1, *answer.shape[1:]).transpose(1, 2)

        total = part(x, middle)
        for index in range(c.kernel[0]):
            offset = (index - middle) * c.dilation[0]
            if offset and abs(offset) < bands:
                low, high = max(0, -offset), min(bands, bands - offset)
                total[:, :, low:high] += part(x[:, :, low + offset : high + offset], index)
        if around and self.slope is not None:
            nn.functional.leaky_relu_(total, self.slope)
        return total

    def _run(
        self,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        padding: tuple[int, ...],
        stride: tuple[int, ...],
        dilation: tuple[int, ...],
        index: int,
        plain: bool = False,
        onto: Tensor | None = None,
    ) -> Tensor:
        c = self.convolution
        key = (index, padding)
        packed = self._packed.get(key)
        if packed is None:
            packed = torch.ops.mkldnn._reorder_convolution_weight(
                weight.contiguous(), padding, stride, dilation, c.groups, list(x.shape)
            )
            self._packed[key] = packed
        if onto is not None:
            torch.ops.mkldnn._convolution_pointwise_.binary(
                onto, x, packed, bias, padding, stride, dilation, c.groups, "add", 1.0, None, [], ""
            )
            return onto
        attribute, scalars = ("none", []) if plain else self._attribute
        answer: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, packed, bias, padding, stride, dilation, c.groups, attribute, scalars, ""
        )
        return answer
