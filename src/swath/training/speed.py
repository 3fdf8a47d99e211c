"""How fast a machine trains, beside its own limits; figures of a machine in a file."""

from __future__ import annotations

import time
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from torch import nn

from swath.core.devices import Precision, autocast
from swath.core.errors import DataError
from swath.core.files import read_json
from swath.core.machine import describe, rates
from swath.networks.layers3d import SpectralReduction
from swath.networks.layout import channels_last
from swath.networks.operators3d import operator_factories

__all__ = ["measured", "stored"]

_WINDOWS, _SIZE, _BANDS, _CHANNELS = 4, 32, 23, 24
_STORED = "machine.json"


def measured(repeats: int = 5) -> dict[str, Any]:
    """Return ``machine`` (:func:`~swath.core.machine.describe`) and ``rates``.

    Rates are those of :func:`~swath.core.machine.rates`, and ``train_float32`` and
    ``train_bfloat16``: pixels a second of a forward and a backward pass through the six operators
    of 3D-ANAS at 24 channels and 23 bands, the first cell's size for a scene of 103.
    """
    machine = describe()
    found = rates(repeats)
    precisions: tuple[Precision, ...] = ("float32", "bfloat16")
    for precision in precisions:
        found[f"train_{precision}"] = _trained_pixels(precision, repeats)
    return {"machine": machine, "rates": found}


def stored(file: Path | None = None) -> dict[str, Any]:
    """Return the figures in a file that :func:`measured` gave; None: those that come with swath.

    Raises
    ------
    DataError : the file holds something else.
    """
    if file is None:
        with resources.as_file(resources.files("swath.training") / _STORED) as path:
            return read_json(path)
    data = read_json(file)
    if not isinstance(data, dict) or set(data) != {"machine", "rates"}:
        raise DataError(
            f"{file} holds no figures of a machine; 'swath bench --out FILE' writes such"
        )
    return data


def _trained_pixels(precision: Precision, repeats: int) -> float:
    torch.manual_seed(0)
    operators = [make() for make in operator_factories("asym-d", _CHANNELS, affine=True).values()]
    network = channels_last(nn.ModuleList([*operators, SpectralReduction(_CHANNELS, 8, _BANDS)]))
    *operators, end = network
    shape = (_WINDOWS, _CHANNELS, _BANDS, _SIZE, _SIZE)
    x = torch.randn(shape).contiguous(memory_format=torch.channels_last_3d)
    seconds = []
    for _ in range(repeats + 1):
        begun = time.perf_counter()
        with autocast(x.device, precision):
            y = end(sum(operator(x) for operator in operators))
        y.float().square().mean().backward()
        seconds.append(time.perf_counter() - begun)
    return _WINDOWS * _SIZE**2 / min(seconds[1:])
