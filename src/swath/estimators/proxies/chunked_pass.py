"""The passes of SEG101's code, which cuts the batch into chunks to save memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from swath.estimators.proxies.base import Need
from swath.estimators.proxies.evidence import Evidence
from swath.estimators.proxies.passes import data_pass
from swath.estimators.proxies.subject import Subject

__all__ = ["chunked_pass"]


def chunked_pass(subject: Subject, evidence: Evidence, needs: frozenset[Need], chunks: int) -> None:
    """Run the batch chunk by chunk, each with the loss and the statistics of its own samples.

    Sets the layers' chunks, in order; their gradient and curvature summed over the chunks, where
    the Hessian of every chunk is multiplied with the gradient of the last; and the jacobian.
    """
    samples = len(subject.x)
    ends = [samples * done // chunks for done in range(chunks + 1)]
    parts = [slice(*ends[place : place + 2]) for place in range(chunks)]
    last = _seen(subject, parts[-1], needs, None)
    toward = [layer.gradient for layer in last.layers] if "curvature" in needs else None
    seen = [*(_seen(subject, part, needs, toward) for part in parts[:-1]), last]
    for layer, *of_chunks in zip(evidence.layers, *(one.layers for one in seen), strict=True):
        layer.chunks = tuple(of_chunks)
        if "gradients" in needs:
            layer.gradient = torch.stack([chunk.gradient for chunk in layer.chunks]).sum(0)
        if "curvature" in needs:
            layer.curvature = torch.stack([chunk.curvature for chunk in layer.chunks]).sum(0)
    if "jacobian" in needs:
        evidence.jacobian = torch.cat([one.jacobian for one in seen])
    for stage in last.seconds:
        evidence.seconds[stage] = sum(one.seconds[stage] for one in seen)


def _seen(
    subject: Subject, part: slice, needs: frozenset[Need], toward: Sequence[Tensor] | None
) -> Evidence:
    """Return what a chunk gives."""
    targets = None if subject.targets is None else subject.targets[part]
    chunk = replace(subject, x=subject.x[part], targets=targets, toward=toward)
    evidence = chunk.evidence()
    data_pass(chunk, evidence, needs)
    return evidence
