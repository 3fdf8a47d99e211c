"""The form in which a trained dense network maps scenes fast.

The network's simplified graph is carried out in few calls, in the layout and form that measurements
show to be fastest.  Either whole images are computed (:meth:`Inference.__call__`), or, on a
processor, a long image is streamed through by rows (:class:`Stream`): each convolution keeps the
last rows that its kernel still needs, so that nothing is computed twice and what is at work fits
into the cache.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from swath.networks.dense_graph import dense_graph
from swath.networks.graph_nodes import Node, consumers, ordered
from swath.networks.inference_calls import (
    LAYOUT,
    FusedConvolution,
    PlainConvolution,
    can_fuse,
    fills_groups,
)
from swath.networks.receptive_field import Halo

__all__ = ["Inference", "Stream"]


class Inference:
    """A network, ready to map.

    Parameters
    ----------
    network : takes (batch, bands, rows, columns), returns (batch, classes, rows, columns); used
        as in evaluation mode, and not changed.
    bands : of its input.
    dtype : float32 or bfloat16; the last convolution is float32 in any case.
    device : where it computes; by default on the processor.

    Raises
    ------
    NotDense : see :func:`~swath.networks.dense_graph.dense_graph`.
    """

    def __init__(
        self,
        network: nn.Module,
        bands: int,
        dtype: torch.dtype = torch.float32,
        device: torch.device | None = None,
    ) -> None:
        device = device or torch.device("cpu")
        training = {module: module.training for module in network.modules()}
        network.eval()
        try:
            filled = None if device.type == "cpu" else fills_groups
            last = dense_graph(network, bands, filled)
        finally:
            for module, mode in training.items():
                module.training = mode
        self.nodes = ordered(last)
        self.dtype = dtype
        self.readers = consumers(self.nodes)
        self.lags = _lags(self.nodes, self.readers)
        alone = {key for key, readers in self.readers.items() if len(readers) == 1}
        self._steps = [
            _step(node, torch.float32 if node is last else dtype, alone, device)
            for node in self.nodes
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


def _step(node: Node, dtype: torch.dtype, alone: set[int], device: torch.device) -> Any:
    if node.convolution is not None and device.type == "cpu" and can_fuse():
        own = len(node.inputs) == 2 and id(node.inputs[1]) in alone
        return FusedConvolution(node.convolution, node.slope, dtype, own)
    if node.convolution is not None:
        return PlainConvolution(node.convolution, node.slope, dtype, device)

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
