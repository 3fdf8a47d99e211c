"""Mapping a whole scene with a trained network: to files, or to an array in memory."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Unpack

import numpy as np
import numpy.typing as npt
from torch import nn

from swath.core.devices import Precision
from swath.core.errors import MismatchError
from swath.core.words import counted
from swath.data.scaling import Scaling
from swath.data.scene import Scene
from swath.mapping.engine import predict
from swath.mapping.prediction import (
    MapMode,
    MapOptions,
    Prediction,
    Reader,
    read_array,
)
from swath.mapping.product import ClassTable, read_map, write_map, write_png
from swath.networks.receptive_field import Halo

__all__ = ["MapResult", "map_scene", "predict_scene", "scene_reader"]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class MapResult:
    """A map that was made.

    Parameters
    ----------
    path : the class map (GeoTIFF).
    mode : how it was made; see :func:`swath.mapping.engine.predict`.
    seconds : from the first pixel read to the last file closed.
    pixels : of the scene.
    counts : mapped pixels of each class.
    missing : pixels without data.
    notes : what differs from what was asked for, and why.
    halo : of mode ``plain``, where the scene had to be cut.
    precision : in which it was computed; see :func:`swath.mapping.engine.predict`.
    indices : int16 (rows, columns), class of each pixel, -1 without data, if it was asked for.
    """

    path: Path
    mode: MapMode
    seconds: float
    pixels: int
    counts: tuple[int, ...]
    missing: int
    notes: tuple[str, ...] = ()
    halo: Halo | None = None
    precision: Precision = "float32"
    indices: npt.NDArray[np.int16] | None = None


def map_scene(
    network: nn.Module,
    scene: Scene,
    out: PathLike,
    *,
    scaling: Scaling,
    classes: ClassTable,
    png: PathLike | None = None,
    probabilities: PathLike | None = None,
    entropy: PathLike | None = None,
    title: str | None = None,
    keep: bool = False,
    tags: Mapping[str, str] | None = None,
    **options: Unpack[MapOptions],
) -> MapResult:
    """Map a scene and write the map; see :func:`~swath.mapping.engine.predict` for the modes.

    The scene is read, computed and written window by window, so scenes larger than memory can be
    mapped.

    Parameters
    ----------
    out : the class map, a GeoTIFF; see :func:`swath.mapping.product.write_map`.
    scaling : how the network's inputs were scaled in training.
    classes : in the order of the network's answers.
    png : also write a picture with a legend here.
    probabilities, entropy : also write these GeoTIFFs.
    title : above the picture.
    keep : return the class of each pixel too.
    tags : further tags of the class map.
    options : of :func:`~swath.mapping.engine.predict`.

    Raises
    ------
    MismatchError : the scene has another number of bands than the scaling, or the network another
        number of classes than ``classes``.
    RunError : a file cannot be written; earlier files stay as they were.
    """
    begun = time.perf_counter()
    prediction = predict(
        network,
        scene_reader(scene, scaling),
        scene.shape,
        classes=len(classes),
        **options,
    )
    written = write_map(
        out,
        prediction,
        scene,
        classes,
        probabilities=probabilities,
        entropy=entropy,
        keep=keep,
        tags=tags,
    )
    if png is not None:
        indices = written.indices
        if indices is None:
            indices = read_map(out, classes, largest=2000)
        write_png(png, indices, classes, title=title, counts=written.counts)
    return MapResult(
        path=Path(out),
        mode=prediction.mode,
        seconds=time.perf_counter() - begun,
        pixels=scene.shape[0] * scene.shape[1],
        counts=tuple(int(count) for count in written.counts),
        missing=written.missing,
        notes=prediction.notes,
        halo=prediction.halo,
        precision=prediction.precision,
        indices=written.indices,
    )


def predict_scene(
    network: nn.Module,
    scene: Scene | npt.NDArray[np.float32],
    *,
    scaling: Scaling | None = None,
    classes: int | None = None,
    **options: Unpack[MapOptions],
) -> npt.NDArray[np.float32]:
    """Return the class probabilities (rows, columns, classes) of a scene that fits into memory.

    Parameters
    ----------
    scene : a scene, or a cube (rows, columns, bands).
    scaling : applied to it; by default it is taken as scaled already.
    classes, options : of :func:`~swath.mapping.engine.predict`.

    Raises
    ------
    MismatchError : the scene has another number of bands than the scaling.
    """
    prediction: Prediction = predict(
        network,
        scene_reader(scene, scaling),
        (scene.shape[0], scene.shape[1], scene.shape[2]),
        classes=classes,
        **options,
    )
    return prediction.array()


def scene_reader(scene: Scene | npt.NDArray[np.float32], scaling: Scaling | None) -> Reader:
    """Return the reader of scaled windows of a scene or cube; pixels without data are zero.

    Raises
    ------
    MismatchError : the scene has another number of bands than the scaling.
    """
    bands = scene.shape[2]
    name = scene.name if isinstance(scene, Scene) else "the image"
    if scaling is not None and scaling.bands != bands:
        raise MismatchError(
            f"{name} has {counted(bands, 'band')}, but the model was trained on {scaling.bands}; "
            "choose the same bands of the same sensor"
        )
    if not isinstance(scene, Scene):
        return read_array(scene if scaling is None else scaling.apply(scene))

    return _SceneReader(scene, scaling)


@dataclass(frozen=True)
class _SceneReader:
    scene: Scene
    scaling: Scaling | None

    def __call__(
        self, rows: slice, columns: slice
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_]]:
        pixels, valid = self.scene.read_valid(rows, columns)
        return (pixels if self.scaling is None else self.scaling.apply(pixels, valid)), valid
