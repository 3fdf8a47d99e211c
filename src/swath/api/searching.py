"""Search, train, measure and report: the main job."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy.typing as npt

from swath.api.resolving import resolve_call
from swath.api.retraining import settings_of_run
from swath.api.runs import Run, load_architecture
from swath.api.scene_runs import finish_scene, introduce_scene, is_in_recipe, open_given_scene
from swath.api.tile_runs import (
    check_sampling,
    finish_tiles,
    introduce_tiles,
    segmentation_figures,
)
from swath.core.architecture import Architecture
from swath.core.errors import DataError, RecipeError
from swath.core.files import write_json
from swath.core.seeds import derive
from swath.data.labels import LabelMap
from swath.data.scene import Scene
from swath.data.tile_set import TileSet
from swath.study.recipes import Recipe
from swath.study.run import RunFolder
from swath.study.tile_tasks import TileTaskSettings, open_task_tiles, prepare_tile_task
from swath.tasks.base import Task
from swath.tasks.scene import SceneTask
from swath.tasks.tiles import TileTask

if TYPE_CHECKING:
    import torch

    from swath.spaces.base import SearchSpace

__all__ = ["search", "train"]

Progress = Callable[[dict[str, Any]], None]
PathLike = str | os.PathLike[str]


def search(
    scene: Scene | PathLike | None = None,
    labels: PathLike | LabelMap | npt.ArrayLike | None = None,
    *,
    out: PathLike,
    tiles: PathLike | None = None,
    recipe: PathLike | Mapping[str, Any] | None = None,
    space: str | None = None,
    preset: str | None = None,
    architecture: Architecture | None = None,
    network: str | None = None,
    strategy: str | None = None,
    trials: int | None = None,
    workers: int = 1,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
    command: str | None = None,
    **settings: Any,
) -> Run:
    """Search a network for a scene or for tiles, train it, measure it, and write the report.

    A scene is mapped; of tiles the test images are labelled.  The same call continues an
    interrupted run, and returns a finished one; another scene or other labels than the run was
    begun with are refused.

    Parameters
    ----------
    scene : an open scene, a file, a key of the catalogue, or the name of a simulated scene.
    labels : where the scene has none yet.
    out : the run folder.
    tiles : a folder of images with masks, in place of a scene; see
        :func:`swath.data.tile_folders.open_tiles`.
    recipe : a file, the name of one that comes with swath, or its keys.
    space, preset : together they name a recipe that comes with swath (``hsi3d-quick``).
    architecture : train this one; nothing is searched.
    network : train this one, which is of no space ("unet", "fcn", "pspnet", "deeplabv3plus").
    strategy : how to search, one of ``swath strategies``: of a search by trials, with a supernet
        ("spos", "fairnas", "se-nas") or "differentiable"; None: as the recipe says.
    trials : how many networks such a search trains.
    workers : processes that train them; the scene must be given by a file or name then.
    overrides : "section.key=value", over everything else.
    progress : called with each event: {"phase": "search" | "supernet" | "children" | "trials"
        | "train" | "map", ...} with
        figures, or
        {"phase": "scene" | "split" | "note" | "resume" | "complete", "text": ...}, or
        {"phase": "begin", "name": "search" | "trials" | "train", "total": ...}.
    command : kept in the run's figures.
    settings : ``seed``, ``device``, or keys of the recipe's ``task`` such as ``split="random"``,
        ``train=20``, ``validation=10``; None leaves them as the recipe has them.

    Raises
    ------
    SwathError : what was given cannot be used; the message says what and how to go on.
    """
    report = progress or (lambda event: None)
    settings |= {"strategy": strategy, "trials": trials}
    resolved = resolve_call(
        settings,
        scene=scene,
        labels=labels,
        tiles=tiles,
        recipe=recipe,
        space=space,
        preset=preset,
        architecture=architecture,
        network=network,
        overrides=overrides,
    )
    _check_workers(workers, resolved, scene, labels)
    text = resolved.to_yaml()
    folder = RunFolder.check(out, text)
    # Nothing is written before all that was given has been looked at.
    try:
        opened = _open(scene, labels, resolved)
        fingerprint = _fingerprint(opened, resolved)
    except DataError as error:
        if not (folder.complete and is_in_recipe(scene) and is_in_recipe(labels)):
            raise
        # A finished run can be shown where its scene is no longer at hand.
        report({"phase": "note", "text": f"whether the scene is still the same is open: {error}"})
        return _completed(folder, report)
    folder.check_scene(fingerprint)
    if folder.complete:
        return _completed(folder, report)
    job = _prepare(opened, resolved, report)
    if folder.recipe.is_file():
        report({"phase": "resume", "text": f"continuing the run in {folder.path}"})
    RunFolder.create(out, text)
    with folder.lock(), folder.failures():
        folder.keep_scene(fingerprint)
        _execute(job, resolved, folder, report, command, workers)
    return Run(folder)


def _completed(folder: RunFolder, progress: Progress) -> Run:
    progress({"phase": "complete", "text": f"the run in {folder.path} is complete already"})
    return Run(folder)


def _check_workers(workers: int, recipe: Recipe, scene: object, labels: object) -> None:
    """Refuse workers that would have nothing to do, or no way to come by the scene."""
    if workers == 1:
        return
    if workers < 1:
        raise RecipeError(f"a search cannot have {workers} workers; ask for at least one")
    if recipe.study is None:
        raise RecipeError(
            "workers share the trials of a search, and this one makes none; leave the workers "
            "out, or give a strategy of 'swath strategies'"
        )
    if not (is_in_recipe(scene) and is_in_recipe(labels)):
        raise RecipeError(
            "workers open the scene and its labels themselves, so that both must be files or "
            "names; save them to files, or search with workers=1"
        )


def train(
    architecture: Architecture | PathLike,
    scene: Scene | PathLike | None = None,
    labels: PathLike | LabelMap | npt.ArrayLike | None = None,
    **options: Any,
) -> Run:
    """Train a given architecture on a scene; takes the options of :func:`search`.

    Parameters
    ----------
    architecture : or a file with one (``best/architecture.json`` of a run), or a run folder.  Of a
        run, the settings are used again where neither ``recipe`` nor ``preset`` nor ``space`` is
        given, and its scene or tiles where no others are.
    """
    if not isinstance(architecture, Architecture | str | os.PathLike):
        raise RecipeError(
            "what is to be trained is an architecture, its file or a run folder, not "
            f"{architecture!r}; of gene values, swath.spaces.create(NAME).architecture(VALUES) "
            "makes one"
        )
    if isinstance(architecture, Architecture):
        return search(scene, labels, architecture=architecture, **options)
    if all(options.get(name) is None for name in ("recipe", "preset", "space")):
        tiles, split = options.get("tiles"), options.get("split")
        recipe = settings_of_run(architecture, scene=scene, tiles=tiles, split=split)
        if recipe is not None:
            options["recipe"] = recipe
            if recipe.get("network") is not None:
                return search(scene, labels, **options)
    return search(scene, labels, architecture=load_architecture(architecture), **options)


def _open(scene: Scene | PathLike | None, labels: Any, recipe: Recipe) -> Scene | TileSet:
    if isinstance(recipe.task, TileTaskSettings):
        if scene is not None or labels is not None:
            raise RecipeError("the recipe is of tiles; leave scene and labels out")
        return open_task_tiles(recipe.task)
    return open_given_scene(scene, labels, recipe.task)


def _fingerprint(opened: Scene | TileSet, recipe: Recipe) -> dict[str, Any]:
    """Return what tells the data of a run from others; of a fixed split with its two maps."""
    from swath.study.preparation import maps_fingerprint

    if not isinstance(opened, Scene) or isinstance(recipe.task, TileTaskSettings):
        return opened.fingerprint()
    maps = maps_fingerprint(opened, recipe.task)
    return opened.fingerprint() | ({} if maps is None else {"maps": maps})


class _Job(NamedTuple):
    """What a run works on; without a space the recipe names the network."""

    task: SceneTask | TileTask
    space: SearchSpace | None
    device: torch.device


def _prepare(opened: Scene | TileSet, recipe: Recipe, progress: Progress) -> _Job:
    """Split and scale the scene or the tiles; check space, architecture and device."""
    from swath import spaces, supernets
    from swath.core.devices import pick, require

    device = pick(recipe.device)
    for precision in recipe.precisions():
        require(device, precision)
    space = None
    if recipe.network is None:
        space = spaces.create(recipe.space.name, **recipe.space.options)
        if recipe.architecture is not None:
            space.validate(Architecture.from_dict(recipe.architecture))
        elif recipe.study is None and recipe.one_shot is None:
            supernets.require_mixture(space)
    task = _task(opened, recipe)
    _check_network(space, task, recipe)
    line = introduce_scene(task) if isinstance(task, SceneTask) else introduce_tiles(task)
    progress({"phase": "scene", "text": line})
    for note in task.split.notes:
        progress({"phase": "note", "text": note})
    progress({"phase": "split", "text": task.split.description})
    return _Job(task, space, device)


def _task(opened: Scene | TileSet, recipe: Recipe) -> SceneTask | TileTask:
    from swath.study.preparation import prepare_task

    seed = derive(recipe.seed, "split")
    if isinstance(recipe.task, TileTaskSettings):
        assert isinstance(opened, TileSet)
        return prepare_tile_task(opened, recipe.task, seed)
    assert isinstance(opened, Scene)
    return prepare_task(opened, recipe.task, seed)


def _check_network(space: SearchSpace | None, task: Task, recipe: Recipe) -> None:
    """Refuse what could not be searched or trained on a task, before anything is written."""
    from swath.estimators.trained import require_pixel_answers
    from swath.study.one_shot import check_one_shot
    from swath.study.phases import build_named
    from swath.study.trials import check_trials

    if isinstance(task, TileTask):
        if space is not None:
            require_pixel_answers(space)
        check_sampling(recipe)
    if space is None:
        build_named(recipe, task)
        return
    if recipe.architecture is None and recipe.study is not None:
        check_trials(space, task, recipe)
    if recipe.architecture is None and recipe.one_shot is not None:
        check_one_shot(space, task, recipe)


def _execute(
    job: _Job,
    recipe: Recipe,
    folder: RunFolder,
    progress: Progress,
    command: str | None,
    workers: int,
) -> None:
    """Search, train, measure, report; each phase goes on from what is there."""
    from swath.core.devices import describe
    from swath.networks.cost import count_parameters
    from swath.networks.members import count_members
    from swath.report import write_report
    from swath.study.phase_memory import PhaseMemory
    from swath.study.phases import find_architecture, train_model

    begun = time.perf_counter()
    folder.log("started", command=command, python=sys.version.split()[0])
    task, space, device = job
    memory = PhaseMemory(folder, device)
    architecture, search_seconds = None, 0.0
    if space is not None:
        searches = recipe.architecture is None
        with memory.phase("search") if searches else contextlib.nullcontext():
            architecture, search_seconds = find_architecture(
                space, task, recipe, folder, device, progress, workers
            )
    with memory.phase("train"):
        network, trained = train_model(space, architecture, task, recipe, folder, device, progress)
    after = time.perf_counter()
    validation = trained.validation.scores
    with memory.phase("map"):
        if isinstance(task, SceneTask):
            validated = validation.to_dict()
            found = finish_scene(task, recipe, folder, network, device, progress)
        else:
            validated = segmentation_figures(validation)
            found = finish_tiles(task, recipe, folder, network, device, progress)
    whole = search_seconds + trained.seconds + time.perf_counter() - after
    cost = {
        "parameters": count_parameters(network),
        "members": count_members(network),
        **found["cost"],
        "search_seconds": search_seconds,
        "train_seconds": trained.seconds,
        "total_seconds": whole,
        "this_process_seconds": time.perf_counter() - begun,
        **memory.figures(),
    }
    metrics = {
        **found,
        "validation": validated,
        "training": {
            "iterations": trained.iterations,
            "best_iteration": trained.iteration,
            "stopped": trained.stopped,
        },
        "command": command,
        "cost": cost,
        "split": {**found["split"], "seed": recipe.seed},
        "device": describe(device),
        "versions": _versions(),
    }
    write_json(folder.metrics, metrics)
    # The report shows the figures; what it costs itself can only be added to them afterwards.
    after = time.perf_counter()
    with memory.phase("report"):
        write_report(folder.path)
    cost |= {"report_seconds": time.perf_counter() - after, **memory.figures()}
    write_json(folder.metrics, metrics)
    folder.log("finished")


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in ("swath", "torch", "numpy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
