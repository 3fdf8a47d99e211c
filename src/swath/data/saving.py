"""Scenes written to a file of one's own."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import numpy.typing as npt

from swath.core.files import atomic_path
from swath.data.scene import Scene

__all__ = ["save_scene"]


def save_scene(scene: Scene, path: str | os.PathLike[str]) -> Path:
    """Write a scene as one compressed ``.npz`` file, whole or not at all.

    It holds ``cube`` (rows, columns, bands) in the stored type, ``simulated`` and, where known,
    ``labels`` (label values, 0 unlabelled), ``names`` of the classes and their ``label_values``,
    and ``wavelengths`` (nanometres).  ``open_scene(path, label_variable="labels")`` reads it.

    Returns
    -------
    The path written, with the suffix ``.npz``.

    Raises
    ------
    RunError : the file cannot be written.
    """
    target = Path(path)
    if target.suffix != ".npz":
        target = target.with_name(target.name + ".npz")
    cube = scene.source.read(slice(None), slice(None))[:, :, list(scene.bands)]
    arrays: dict[str, npt.NDArray[np.generic]] = {
        "cube": cube,
        "simulated": np.array(scene.simulated),
    }
    if scene.labels is not None:
        arrays["labels"] = scene.labels.to_original(scene.labels.values, np.int32)
        arrays["names"] = np.array(scene.labels.names, dtype=np.str_)
        arrays["label_values"] = np.array(scene.labels.original)
    if scene.wavelengths is not None:
        arrays["wavelengths"] = np.array(scene.wavelengths)
    with atomic_path(target) as temporary:
        np.savez_compressed(temporary, allow_pickle=False, **arrays)
    return target
