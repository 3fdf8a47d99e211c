"""States on disk as safetensors: tensors by path, everything else as JSON in the header.

Nothing is pickled, so nothing that is loaded can run code.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from swath.core.errors import RunError
from swath.core.files import atomic_path

__all__ = ["load_state", "save_state"]

_TENSOR = "__tensor__"


def save_state(path: str | os.PathLike[str], state: Any) -> None:
    """Write a nested state (dicts, lists, tensors, JSON values) atomically.

    Dictionary keys may be strings or integers (as in an optimiser's state).
    """
    tensors: dict[str, torch.Tensor] = {}

    def strip(value: Any) -> Any:
        if isinstance(value, torch.Tensor):
            key = f"t{len(tensors)}"
            # Cloned: safetensors refuses tensors that share memory.
            tensors[key] = value.detach().cpu().contiguous().clone()
            return {_TENSOR: key}
        if isinstance(value, dict):
            return {"__dict__": [[key, strip(item)] for key, item in value.items()]}
        if isinstance(value, list | tuple):
            return [strip(item) for item in value]
        return value

    structure = json.dumps(strip(state))
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"state": structure})


def load_state(path: str | os.PathLike[str]) -> Any:
    """Read what :func:`save_state` wrote; raise :class:`RunError` for a missing or damaged file."""
    try:
        with safe_open(Path(path), framework="pt") as file:
            structure = json.loads(file.metadata()["state"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"the checkpoint {path} cannot be read ({error}); delete it to start that phase again"
        ) from error

    def fill(value: Any) -> Any:
        if isinstance(value, dict) and _TENSOR in value:
            return tensors[value[_TENSOR]]
        if isinstance(value, dict):
            return {key: fill(item) for key, item in value["__dict__"]}
        if isinstance(value, list):
            return [fill(item) for item in value]
        return value

    return fill(structure)
