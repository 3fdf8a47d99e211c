"""Finished runs: their figures, their model, their architecture."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swath.api.mapping import map_with
from swath.api.targets import check_targets
from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture, RecipeError
from swath.core.files import expanded, read_json
from swath.data.scene import Scene
from swath.study.recipes import Recipe, load_resolved, resolve
from swath.study.run import Model, RunFolder

if TYPE_CHECKING:
    from torch import nn

    from swath.mapping import MapResult
    from swath.mapping.prediction import MapMode

__all__ = ["Run", "load_architecture", "map_scene", "open_run"]

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Run:
    """A finished run: its architecture, figures and model.

    >>> run = swath.open_run("runs/pavia")                        # doctest: +SKIP
    >>> run.metrics["test"]["oa"], run.map("next_scene.tif", out="map.tif")  # doctest: +SKIP
    """

    folder: RunFolder

    @property
    def path(self) -> Path:
        """The run folder."""
        return self.folder.path

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """``metrics.json``: figures as fractions of one."""
        data: dict[str, Any] = read_json(self.folder.metrics)
        return data

    @cached_property
    def architecture(self) -> Architecture:
        """The network's architecture."""
        return Architecture.from_dict(read_json(self.folder.best / "architecture.json"))

    @cached_property
    def recipe(self) -> Recipe:
        """The resolved recipe."""
        keys = load_resolved(self.folder.recipe)
        try:
            return resolve(keys)
        except RecipeError as error:
            raise RecipeError(f"{self.folder.recipe}: {error}") from error

    def model(self) -> tuple[Model, nn.Module]:
        """Return the model's facts and the trained network, in evaluation mode."""
        return self.folder.load_model()

    def map(self, scene: Scene | PathLike, out: PathLike, **options: Any) -> MapResult:
        """Map a scene with this run's model; see :func:`swath.map_scene`."""
        return map_scene(self, scene, out, **options)


def open_run(path: PathLike) -> Run:
    """Open a run folder; raise :class:`~swath.core.errors.RunError` where there is none."""
    return Run(RunFolder.open(path))


def load_architecture(path: PathLike) -> Architecture:
    """Read an architecture from a file, or from a run folder (``best/architecture.json``).

    Raises
    ------
    RunError : there is no such file, or it is no JSON.
    InvalidArchitecture : it holds something else.
    """
    file = expanded(path)
    if file.is_dir():
        file = file / "best" / "architecture.json"
    try:
        return Architecture.from_dict(read_json(file))
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"{file}: {error}") from error


def map_scene(
    run: Run | PathLike,
    scene: Scene | PathLike,
    out: PathLike,
    *,
    mode: MapMode | None = None,
    check_values: bool = True,
    **options: Any,
) -> MapResult:
    """Map a whole scene with a run's model and write a GeoTIFF.

    Parameters
    ----------
    scene : an open scene or a file of the same sensor, with the model's bands.
    mode : by default the recipe's; see :func:`swath.mapping.predict`.
    check_values : refuse a scene whose values span another range than the training scene's.
    options : of :func:`swath.mapping.map_scene`, such as ``png``, ``probabilities``, ``entropy``,
        ``variable`` (of a file with several), ``axes`` (see :func:`swath.data.open_scene`; by
        default those that give the image as many bands as the model's scene had), ``nodata`` (the
        stored value of missing pixels, where the file does not say).  What is None is as the model
        and its recipe have it.

    Raises
    ------
    DataError : a file to be written belongs to the scene.
    RecipeError : two files to be written are one, or there is no such option.
    RunError : the run has no model yet, or a file cannot be written.
    MismatchError : the scene has other bands or another scaling than the model's.
    """
    if not isinstance(run, Run):
        run = open_run(run)
    out = expanded(out)
    for option in ("png", "probabilities", "entropy"):
        if options.get(option) is not None:
            options[option] = expanded(options[option])
    targets = {"picture": "png", "probabilities": "probabilities", "entropy": "entropy"}
    check_targets(
        scene, {"map": out, **{name: options.get(option) for name, option in targets.items()}}
    )
    return map_with(
        *run.model(), run.recipe, scene, out, mode=mode, check_values=check_values, **options
    )
