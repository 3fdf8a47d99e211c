"""Where tensors live and how precisely they are computed."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Literal

from swath.core.errors import RecipeError

if TYPE_CHECKING:
    import torch

__all__ = ["Precision", "autocast", "describe", "pick", "require"]

Precision = Literal["float32", "tf32", "bfloat16"]
"""How products and convolutions are computed: as stored; with factors rounded to the 10 bits of
TF32, which NVIDIA GPUs do several times as fast; in bfloat16 where autocast thinks it safe."""


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


def require(device: torch.device, precision: Precision) -> None:
    """Raise :class:`RecipeError` where a device cannot compute in a precision: TF32 on a CPU."""
    if precision == "tf32" and device.type != "cuda":
        raise RecipeError(
            f"precision 'tf32' is for NVIDIA GPUs, and this runs on '{device.type}'; "
            "use float32 or bfloat16"
        )


def autocast(
    device: torch.device, precision: Precision
) -> contextlib.AbstractContextManager[object]:
    """Return the context in which networks run forward.

    Whether a GPU rounds to TF32 is a setting of the process, which this sets at once, for the
    backward pass too, until the next call asks for something else.

    Raises
    ------
    RecipeError : the device has none of that precision.
    """
    import torch

    require(device, precision)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
    if precision == "bfloat16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()


def describe(device: torch.device) -> str:
    """Return a short description for reports, such as ``cpu (2 threads)``."""
    import torch

    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({torch.get_num_threads()} threads)"
