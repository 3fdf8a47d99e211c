"""The few functions a person calls: open a scene, search, train, map it.

Each arrow of ``task -> space -> (strategy <-> estimator) -> architecture -> trained model -> map ->
report`` is one call in this file.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture, MismatchError, RecipeError
from swath.core.files import read_json, write_json
from swath.core.seeds import derive
from swath.data.labels import LabelMap
from swath.data.readers import open_labels, open_scene
from swath.data.scene import Scene
from swath.study.one_shot_section import ONE_SHOT, fitted_one_shot
from swath.study.recipes import Recipe, load_recipe, preset_names, resolve
from swath.study.run import Model, RunFolder
from swath.study.study_section import DIFFERENTIABLE, require_strategy

if TYPE_CHECKING:
    import torch
    from torch import nn

    from swath.landscape.footprint import Footprint
    from swath.landscape.neighbours import Neighbourhood
    from swath.landscape.sources import Source
    from swath.mapping import MapResult
    from swath.mapping.engine import MapMode
    from swath.mapping.product import ClassTable
    from swath.spaces.base import SearchSpace
    from swath.tasks.scene import SceneTask

__all__ = [
    "Run",
    "footprint",
    "load_architecture",
    "map_scene",
    "open_run",
    "open_scene",
    "search",
    "train",
]

Progress = Callable[[dict[str, Any]], None]
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
        return resolve(load_recipe(self.folder.recipe))

    def model(self) -> tuple[Model, nn.Module]:
        """Return the model's facts and the trained network, in evaluation mode."""
        return self.folder.load_model()

    def map(self, scene: Scene | PathLike, out: PathLike, **options: Any) -> MapResult:
        """Map a scene with this run's model; see :func:`map_scene`."""
        return map_scene(self, scene, out, **options)


def open_run(path: PathLike) -> Run:
    """Open a run folder; raise :class:`~swath.core.errors.RunError` where there is none."""
    return Run(RunFolder.open(path))


def search(
    scene: Scene | PathLike | None = None,
    labels: PathLike | LabelMap | npt.ArrayLike | None = None,
    *,
    out: PathLike,
    recipe: PathLike | Mapping[str, Any] | None = None,
    space: str | None = None,
    preset: str | None = None,
    architecture: Architecture | None = None,
    strategy: str | None = None,
    trials: int | None = None,
    workers: int = 1,
    overrides: Sequence[str] = (),
    progress: Progress | None = None,
    command: str | None = None,
    **settings: Any,
) -> Run:
    """Search a network for a scene, train it, map the scene, and write the report.

    The same call continues an interrupted run, and returns a finished one; another scene or other
    labels than the run was begun with are refused.

    Parameters
    ----------
    scene : an open scene, a file, a key of the catalogue, or the name of a simulated scene.
    labels : where the scene has none yet.
    out : the run folder.
    recipe : a file, the name of one that comes with swath, or its keys.
    space, preset : together they name a recipe that comes with swath (``hsi3d-quick``).
    architecture : train this one; nothing is searched.
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
    resolved = _resolve(scene, labels, recipe, space, preset, architecture, overrides, settings)
    _check_workers(workers, resolved, scene, labels)
    text = resolved.to_yaml()
    folder = RunFolder.check(out, text)
    if folder.complete and _is_in_recipe(scene) and _is_in_recipe(labels):
        return _completed(folder, report)
    # Nothing is written before all that was given has been looked at.
    opened = _open(scene, labels, resolved)
    fingerprint = opened.fingerprint()
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


def _is_in_recipe(given: object) -> bool:
    """Whether a scene or labels are known by the recipe alone: a path, a name, or not given."""
    return given is None or isinstance(given, str | os.PathLike)


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
    if not (_is_in_recipe(scene) and _is_in_recipe(labels)):
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
    architecture : or a file with one (``best/architecture.json`` of a run), or a run folder.
    """
    if not isinstance(architecture, Architecture):
        architecture = load_architecture(architecture)
    return search(scene, labels, architecture=architecture, **options)


def footprint(
    source: Source,
    metric: str | None = None,
    budget: int | None = None,
    *,
    neighbourhood: Neighbourhood | None = None,
    nearest: int = 20,
    **options: Any,
) -> Footprint:
    """Measure the landscape of a search problem.

    >>> found = swath.footprint("nas_bench_201", "cifar100-test")     # doctest: +SKIP
    >>> found.measures["ruggedness"]                                  # doctest: +SKIP

    Parameters
    ----------
    source : a table by name, file or value; a study by its folder, URL or value; or a
        :class:`swath.landscape.Landscape` of one's own.
    metric, budget : of a table; None: its first, and the largest.
    neighbourhood, nearest : who neighbours whom; see :func:`swath.landscape.of_mapping`.
    options : of the measures; see :func:`swath.landscape.footprint`.

    Raises
    ------
    SwathError : what was given cannot be used; the message says what and how to go on.
    """
    from swath import landscape

    (opened,) = landscape.open_landscapes(
        source, metric, budget, neighbourhood=neighbourhood, nearest=nearest
    )
    return landscape.footprint(opened, **options)


def load_architecture(path: PathLike) -> Architecture:
    """Read an architecture from a file, or from a run folder (``best/architecture.json``).

    Raises
    ------
    RunError : there is no such file, or it is no JSON.
    InvalidArchitecture : it holds something else.
    """
    file = Path(path)
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
        ``variable`` (of a file with several).

    Raises
    ------
    MismatchError : the scene has other bands or another scaling than the model's.
    """
    from swath import mapping

    if not isinstance(run, Run):
        run = open_run(run)
    model, network = run.model()
    opened = _bands_of(model, _open_alike(scene, run.recipe, options.pop("variable", None)))
    if check_values:
        _check_values(model, opened)
    settings = run.recipe.mapping
    options = {
        "crop": settings.crop,
        "scales": settings.scales,
        "precision": settings.precision,
        **options,
    }
    return mapping.map_scene(
        network,
        opened,
        out,
        scaling=model.scaling,
        classes=_class_table(model),
        mode=mode or settings.mode,
        **options,
    )


_NO_SEARCH = {"study": None, "one_shot": None}


def _resolve(
    scene: Scene | PathLike | None,
    labels: Any,
    recipe: PathLike | Mapping[str, Any] | None,
    space: str | None,
    preset: str | None,
    architecture: Architecture | None,
    overrides: Sequence[str],
    settings: dict[str, Any],
) -> Recipe:
    layers: list[Mapping[str, Any]] = []
    if recipe is None or preset is not None:
        preset = preset or "quick"
        wanted = space or (architecture.space if architecture is not None else "hsi3d")
        name = f"{wanted}-{preset}"
        if name not in preset_names():
            from swath import spaces

            spaces.registry.get(wanted)
            raise RecipeError(
                f"space '{wanted}' has no preset '{preset}'; recipes: {', '.join(preset_names())}"
            )
        layers.append({**load_recipe(name), "preset": preset})
    if recipe is not None:
        layers.append(recipe if isinstance(recipe, Mapping) else load_recipe(Path(recipe)))
        if space is not None:
            layers.append({"space": {"name": space}})
    given = {key: value for key, value in settings.items() if value is not None}
    top: dict[str, Any] = {k: given.pop(k) for k in ("seed", "device") if k in given}
    task = given
    if scene is not None:
        task["scene"] = scene.name if isinstance(scene, Scene) else os.fspath(scene)
    if isinstance(labels, str | os.PathLike):
        task["labels"] = os.fspath(labels)
    strategy, trials = given.pop("strategy", None), given.pop("trials", None)
    layers.append({**top, "task": task})
    if architecture is not None:
        # Nothing is searched: how the recipe would have searched is no fact of the run.
        layers.append({"architecture": json.loads(architecture.to_json()), **_NO_SEARCH})
    if strategy is not None or trials is not None:
        # What is said of the searches themselves comes on top of what is chosen for them here.
        rest = [one for one in overrides if not one.startswith(("one_shot", "study"))]
        layers += _search_layers(resolve(*layers, overrides=rest), strategy, trials)
    return resolve(*layers, overrides=overrides)


def _search_layers(
    before: Recipe, strategy: str | None, trials: int | None
) -> list[Mapping[str, Any]]:
    """Return what a strategy by name and a number of trials change in a recipe."""
    if before.architecture is not None:
        raise RecipeError(
            "the architecture is given, so that nothing is searched; leave strategy and trials out"
        )
    if strategy in (DIFFERENTIABLE, *ONE_SHOT) or (strategy is None and before.study is None):
        if trials is not None:
            raise RecipeError(
                "this search makes no trials; leave their number out, or give a strategy that "
                "makes some, one of 'swath strategies'"
            )
        return [{"study": None, "one_shot": _one_shot_layer(before, strategy)}]
    layers: list[Mapping[str, Any]] = [{"one_shot": None}]
    if strategy is not None:
        require_strategy(strategy)
        if before.study is None or before.study.strategy.name != strategy:
            # First the name alone: another strategy has other options.
            layers += [{"study": {"strategy": one}} for one in (strategy, {"name": strategy})]
    if trials is not None:
        layers.append({"study": {"trials": trials}})
    return layers


def _one_shot_layer(before: Recipe, strategy: str | None) -> Mapping[str, Any] | None:
    """Return the section of a one-shot strategy: the recipe's own, or one that fits it."""
    if strategy is None or strategy == DIFFERENTIABLE:
        return None
    if before.one_shot is not None and before.one_shot.strategy == strategy:
        return {}
    return fitted_one_shot(strategy, before.training)


def _open(scene: Scene | PathLike | None, labels: Any, recipe: Recipe) -> Scene:
    from swath.study.preparation import open_task_scene, with_chosen_bands

    task = recipe.task
    if isinstance(scene, Scene):
        opened = with_chosen_bands(scene, task.bands)
    else:
        opened = open_task_scene(task)
        if _is_in_recipe(labels):
            return opened
    if labels is None:
        return opened
    if not isinstance(labels, LabelMap):
        labels = open_labels(labels, variable=task.label_variable, unlabelled=task.unlabelled)
    return opened.with_labels(labels)


class _Job(NamedTuple):
    """What a run works on."""

    task: SceneTask
    space: SearchSpace
    device: torch.device


def _prepare(scene: Scene, recipe: Recipe, progress: Progress) -> _Job:
    """Split and scale the scene; check space, architecture and device."""
    from swath import spaces, supernets
    from swath.core.devices import pick
    from swath.study.preparation import prepare_task

    device = pick(recipe.device)
    space = spaces.create(recipe.space.name, **recipe.space.options)
    if recipe.architecture is not None:
        space.validate(Architecture.from_dict(recipe.architecture))
    elif recipe.study is None and recipe.one_shot is None:
        supernets.require_mixture(space)
    task = prepare_task(scene, recipe.task, derive(recipe.seed, "split"))
    if recipe.architecture is None and recipe.study is not None:
        from swath.study.trials import check_trials

        check_trials(space, task, recipe)
    if recipe.architecture is None and recipe.one_shot is not None:
        from swath.study.one_shot import check_one_shot

        check_one_shot(space, task, recipe)
    rows, columns, bands = task.scene.shape
    progress(
        {
            "phase": "scene",
            "text": f"{task.scene.name}: {rows} x {columns} pixels, {bands} bands, {task.classes} "
            f"classes{', simulated' if task.scene.simulated else ''}",
        }
    )
    for note in task.split.notes:
        progress({"phase": "note", "text": note})
    progress({"phase": "split", "text": task.split.description})
    return _Job(task, space, device)


def _execute(
    job: _Job,
    recipe: Recipe,
    folder: RunFolder,
    progress: Progress,
    command: str | None,
    workers: int,
) -> None:
    """Search, train, map, measure, report; each phase goes on from what is there."""
    from swath.study.phases import find_architecture, train_model

    begun = time.perf_counter()
    folder.log("started", command=command, python=sys.version.split()[0])
    task, space, device = job
    architecture, search_seconds = find_architecture(
        space, task, recipe, folder, device, progress, workers
    )
    network, trained = train_model(space, architecture, task, recipe, folder, device, progress)
    _finish(
        task,
        recipe,
        folder,
        network,
        device,
        progress,
        facts={
            "validation": trained.validation.scores.to_dict(),
            "training": {
                "iterations": trained.iterations,
                "best_iteration": trained.iteration,
                "stopped": trained.stopped,
            },
            "command": command,
        },
        seconds={"search": search_seconds, "train": trained.seconds, "begun": begun},
    )
    folder.log("finished")


def _finish(
    task: SceneTask,
    recipe: Recipe,
    folder: RunFolder,
    network: nn.Module,
    device: torch.device,
    progress: Progress,
    *,
    facts: dict[str, Any],
    seconds: dict[str, float],
) -> None:
    """Map the scene, read the test labels once, write figures and report."""
    from swath import mapping
    from swath.core.devices import describe
    from swath.core.tensors import write_tensors
    from swath.mapping.product import ClassTable
    from swath.networks.cost import count_flops_per_pixel, count_parameters
    from swath.report import write_report
    from swath.tasks.metrics import scores

    settings = recipe.mapping
    table = ClassTable.of(task.labels)
    begun = time.perf_counter()

    def steps(mode: str) -> Callable[[int, int], None]:
        return lambda done, total: progress(
            {"phase": "map", "mode": mode, "done": done, "total": total}
        )

    common: dict[str, Any] = {
        "scaling": task.scaling,
        "crop": settings.crop,
        "scales": settings.scales,
        "precision": settings.precision,
        "device": device,
    }
    made = mapping.map_scene(
        network,
        task.scene,
        folder.map,
        classes=table,
        mode=settings.mode,
        png=folder.path / "map.png",
        title=f"{task.scene.name}, {recipe.space.name}, {settings.mode}",
        keep=True,
        progress=steps(settings.mode),
        **common,
    )
    assert made.indices is not None
    map_seconds = time.perf_counter() - begun
    maps = {settings.mode: made.indices.astype(np.int64)}
    for mode in settings.also:
        if mode not in maps:
            probabilities = mapping.predict_scene(
                network,
                task.scene,
                classes=task.classes,
                mode=mode,
                progress=steps(mode),
                **common,
            )
            maps[mode] = probabilities.argmax(axis=2)
    # The one place where test labels are read: after every choice has been made.
    confusions = {mode: task.test_confusion(indices) for mode, indices in maps.items()}
    write_tensors(
        folder.path / "split.safetensors",
        {"split": task.split.as_map(), "truth": task.labels.values.astype(np.int16)},
    )
    write_tensors(
        folder.path / "map_index.safetensors", {"prediction": made.indices.astype(np.int16)}
    )
    counts = task.split.counts(task.labels)
    begun_run = seconds.pop("begun")
    write_json(
        folder.metrics,
        {
            "test": scores(confusions[settings.mode]).to_dict(),
            "test_modes": {mode: scores(c).to_dict() for mode, c in confusions.items()},
            "map_mode": settings.mode,
            **facts,
            "confusion": confusions[settings.mode].tolist(),
            "classes": [
                {
                    "name": name,
                    "original": original,
                    "colour": list(colour),
                    "train": int(row[0]),
                    "validation": int(row[1]),
                    "test": int(row[2]),
                }
                for name, original, colour, row in zip(
                    table.names, table.original, table.colours, counts, strict=True
                )
            ],
            "cost": {
                "parameters": count_parameters(network),
                "flops_per_pixel": count_flops_per_pixel(network, task.bands),
                "search_seconds": seconds["search"],
                "train_seconds": seconds["train"],
                "map_seconds": map_seconds,
                "total_seconds": seconds["search"]
                + seconds["train"]
                + (time.perf_counter() - begun),
                "this_process_seconds": time.perf_counter() - begun_run,
                "peak_memory_mib": _peak_memory(),
            },
            "split": {
                "protocol": task.split.protocol,
                "description": task.split.description,
                "train": int(counts[:, 0].sum()),
                "validation": int(counts[:, 1].sum()),
                "test": int(counts[:, 2].sum()),
                "seed": recipe.seed,
                "notes": list(task.split.notes),
            },
            "scene": {
                "name": task.scene.name,
                "rows": task.scene.shape[0],
                "columns": task.scene.shape[1],
                "bands": task.bands,
                "simulated": task.scene.simulated,
                "sensor": task.scene.sensor,
            },
            "device": describe(device),
            "versions": _versions(),
        },
    )
    write_report(folder.path)


def _peak_memory() -> float:
    """Return the most memory this process has held, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)  # bytes there, KiB elsewhere


def _versions() -> dict[str, str]:
    found = {"python": sys.version.split()[0]}
    for package in ("swath", "torch", "numpy", "scikit-learn"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _class_table(model: Model) -> ClassTable:
    from swath.mapping.product import ClassTable

    return ClassTable(
        tuple(c["name"] for c in model.classes),
        tuple(c["original"] for c in model.classes),
        tuple(tuple(c["colour"]) for c in model.classes),
    )


def _open_alike(scene: Scene | PathLike, recipe: Recipe, variable: str | None) -> Scene:
    """Open a scene to be mapped as the training scene was: same axes, same no-data value."""
    if isinstance(scene, Scene):
        return scene
    if Path(scene).exists():
        task = recipe.task
        same_format = Path(scene).suffix == Path(task.scene).suffix
        axes = task.axes if same_format else None
        return open_scene(scene, variable=variable, axes=axes, nodata=task.nodata, check=False)
    from swath.study.preparation import open_task_scene
    from swath.study.recipes import TaskSettings

    return open_task_scene(TaskSettings(scene=os.fspath(scene)))


def _bands_of(model: Model, opened: Scene) -> Scene:
    """Select the model's bands of a scene; refuse one that does not have them."""
    available = opened.source.shape[2]
    if available != model.available:
        raise MismatchError(
            f"{opened.name} has {available} bands, but the model was trained on a scene of "
            f"{model.available} ({model.scene}); map scenes of the same sensor and processing"
        )
    centres = opened.wavelengths
    if len(opened.bands) == available:
        centres = None if centres is None else tuple(centres[band] for band in model.bands)
    elif opened.bands != model.bands:
        centres = None
    opened = dataclasses.replace(opened, bands=model.bands, wavelengths=centres, band_names=None)
    if centres is not None and model.wavelengths is not None:
        apart = np.abs(np.subtract(centres, model.wavelengths))
        if apart.max() > 10:
            band = int(apart.argmax())
            raise MismatchError(
                f"band {model.bands[band]} of {opened.name} lies at {centres[band]:.0f} nm, but at "
                f"{model.wavelengths[band]:.0f} nm in the model's training scene; is the band "
                "order another?"
            )
    return opened


def _check_values(model: Model, scene: Scene) -> None:
    """Refuse a scene whose values are of another scale than those the model was trained on."""
    from swath.study.phases import value_range

    if model.values is None:
        return
    low, high = value_range(scene)
    low_before, high_before = model.values
    ratio = (high - low) / max(high_before - low_before, 1e-12)
    if not 0.1 <= ratio <= 10:
        raise MismatchError(
            f"the values of {scene.name} lie between about {low:.4g} and {high:.4g}, those of the "
            f"model's training scene between {low_before:.4g} and {high_before:.4g}; bring them to "
            "the same scaling, or pass --any-values to map all the same"
        )
