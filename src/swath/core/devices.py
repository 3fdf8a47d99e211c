"""Where tensors live and how precisely they are computed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

from swath.core.errors import RecipeError

if TYPE_CHECKING:
    import torch

__all__ = ["Precision", "autocast", "describe", "pick"]

Precision = Literal["float32", "bfloat16"]


def pick(name: str = "auto") -> torch.device:
    """Return the device called ``name``; ``auto`` takes CUDA where there is one, else the CPU."""
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise RecipeError(f"there is no device '{name}'; use auto, cpu or cuda") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RecipeError(f"device '{name}' asked for, but this machine has no usable CUDA GPU")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        last = torch.cuda.device_count() - 1
        raise RecipeError(
            f"there is no device '{name}'; the CUDA GPUs here are cuda:0 to cuda:{last}"
        )
    return device


def autocast(
    device: torch.device, precision: Precision
) -> contextlib.AbstractContextManager[object]:
    """Return the context in which networks run: bfloat16 autocast, or nothing for float32."""
    import torch

    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def describe(device: torch.device) -> str:
    """Return a short description for reports, such as ``cpu (2 threads)``."""
    import torch

    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({torch.get_num_threads()} threads)"
