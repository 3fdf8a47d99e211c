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

from swath.core.errors import RunError
from swath.core.files import read_json_lines, write_text
from swath.core.tensors import write_tensors

__all__ = ["cut_history", "load_state", "save_state"]

_TENSOR = "__tensor__"


def save_state(path: str | os.PathLike[str], state: Any) -> None:
    """Write a nested state (dicts, lists, tensors, JSON values) atomically.

    Dictionary keys may be strings or integers (as in an optimiser's state).

    Raises
    ------
    RunError : the file cannot be written; an earlier one stays as it was.
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
    write_tensors(path, tensors, {"state": structure})


def load_state(path: str | os.PathLike[str]) -> Any:
    """Read what :func:`save_state` wrote; raise :class:`RunError` for a missing or damaged file."""
    try:
        with safe_open(Path(path), framework="pt") as file:
            structure = json.loads(file.metadata()["state"])
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        return _fill(structure, tensors)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise RunError(
            f"the checkpoint {path} cannot be read ({error}); delete it to start that phase again"
        ) from error


def cut_history(path: Path, step: str, last: int) -> None:
    """Drop what a history (JSON lines) says of steps beyond the last checkpoint.

    Parameters
    ----------
    step : the key that counts, such as "epoch".
    last : its value at the checkpoint.
    """
    kept = [line for line in read_json_lines(path) if line[step] <= last]
    write_text(path, "".join(json.dumps(line) + "\n" for line in kept))


def _fill(value: Any, tensors: dict[str, torch.Tensor]) -> Any:
    """Put the tensors back into a structure."""
    if isinstance(value, dict) and _TENSOR in value:
        return tensors[value[_TENSOR]]
    if isinstance(value, dict):
        return {key: _fill(item, tensors) for key, item in value["__dict__"]}
    if isinstance(value, list):
        return [_fill(item, tensors) for item in value]
    return value
