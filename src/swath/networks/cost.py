"""Parameters and operations of a network, counted without running it on data."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["count_flops_per_pixel", "count_parameters"]


def count_parameters(network: nn.Module) -> int:
    """Return the number of weights, trained or to be trained."""
    return sum(p.numel() for p in network.parameters())


def count_flops_per_pixel(network: nn.Module, bands: int, window: int = 32) -> int:
    """Return the operations of a dense network for one pixel of a ``window`` x ``window`` input.

    A multiply-add counts as two; convolutions and matrix products count, element-wise work does
    not (as torch's counter has it).  Nothing is allocated: a copy runs on the meta device.
    """
    shadow = copy.deepcopy(network).to("meta").eval()
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        shadow(torch.empty((1, bands, window, window), device="meta"))
    return round(counter.get_total_flops() / window**2)
