"""The outline of a network: its size, and how its layers follow one another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from swath.estimators.proxies.evidence import Evidence, Shape
from swath.estimators.proxies.recording import bypassed, recorded
from swath.estimators.proxies.subject import BATCH_NORMS, Subject, wanting_gradients
from swath.networks.spectral_transformer import twice_differentiable

__all__ = ["longest_chain", "shape_pass"]

Size = Sequence[int]


def _of_cells(read: Size, *weights: Size) -> int:
    """Return the operations of recurrent cells: each weight is multiplied at every position."""
    matrices = (math.prod(size) for size in weights if len(size) == 2)
    return 2 * math.prod(read[:-1]) * sum(matrices)


def _of_cpu(read: Size, w: Size, u: Size, *_: Any, out_shape: Any = None, **__: Any) -> int:
    return _of_cells(read, w, u)


def _of_gpu(read: Size, weights: Sequence[Size], *_: Any, out_shape: Any = None, **__: Any) -> int:
    return _of_cells(read, *weights)


RECURRENT = {torch.ops.aten.mkldnn_rnn_layer: _of_cpu, torch.ops.aten._cudnn_rnn: _of_gpu}
"""Operations of the fused kernels of recurrent layers, which torch does not count."""


@torch.enable_grad()
def shape_pass(subject: Subject, evidence: Evidence) -> None:
    """Run one sample, and follow the graph of what was computed back to the input."""
    network = subject.network
    names = [layer.name for layer in evidence.layers]
    # The fused kernels of attention count nothing.  Batch normalisation refuses a single value.
    with (
        wanting_gradients(evidence.layers, wanted=True),
        FlopCounterMode(display=False, custom_mapping=RECURRENT) as counter,
        twice_differentiable(),
        bypassed(network, BATCH_NORMS),
        recorded(network, names, outputs=True) as record,
    ):
        logits = network(subject.x[:1].clone())  # which may be overwritten
    outputs = [output for several in record.outputs.values() for output in several]
    widths = [len(layer.weight) for layer in evidence.layers if record.outputs[layer.name]]
    evidence.shape = Shape(
        parameters=subject.parameters,
        flops=int(counter.get_total_flops()),
        depth=longest_chain(logits, outputs),
        width=sum(widths) / len(widths) if widths else 0.0,
    )


def longest_chain(logits: Tensor, outputs: Sequence[Tensor]) -> int:
    """Return how many of the outputs, at most, lie on one path of the graph to the logits."""
    marked = {output.grad_fn for output in outputs}
    longest: dict[object, int] = {}
    waiting = [logits.grad_fn]
    while waiting:
        node = waiting[-1]
        steps = node.next_functions if node is not None else ()
        before = [other for other, _ in steps if other is not None]
        unknown = [other for other in before if other not in longest]
        if unknown:
            waiting += unknown
            continue
        waiting.pop()
        longest[node] = max((longest[other] for other in before), default=0) + (node in marked)
    return longest[logits.grad_fn]
