"""Tensors on disk as safetensors files, written whole or not at all."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Mapping
from typing import Any

from swath.core.errors import RunError
from swath.core.files import atomic_path

__all__ = ["write_tensors"]


def write_tensors(
    path: str | os.PathLike[str],
    tensors: Mapping[str, Any],
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Write torch tensors, or NumPy arrays, by name.

    Parameters
    ----------
    tensors : all of one kind; torch tensors contiguous and without shared memory.
    metadata : texts for the file's header.

    Raises
    ------
    RunError : the file cannot be written or the disk is full; an earlier one stays as it was.
    """
    from safetensors import SafetensorError

    arrays = all(type(value).__module__ == "numpy" for value in tensors.values())
    library = importlib.import_module("safetensors.numpy" if arrays else "safetensors.torch")
    with atomic_path(path) as temporary:
        try:
            library.save_file(dict(tensors), temporary, dict(metadata or {}))
        except SafetensorError as error:
            # The library reports what the system said in its text alone.
            number = re.search(r"os error (\d+)", str(error))
            if number is None:
                raise RunError(f"cannot write {path}: {error}") from error
            raise OSError(int(number[1]), os.strerror(int(number[1]))) from error
