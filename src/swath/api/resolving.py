"""From the arguments of a call to the recipe of its run."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError, nearest
from swath.data.scene import Scene
from swath.study.one_shot_section import ONE_SHOT, fitted_one_shot
from swath.study.recipes import Recipe, load_recipe, preset_names, resolve
from swath.study.settings import TaskSettings
from swath.study.study_section import DIFFERENTIABLE, require_strategy
from swath.study.tile_tasks import TileTaskSettings

__all__ = ["resolve_call"]

PathLike = str | os.PathLike[str]
_NO_SEARCH = {"study": None, "one_shot": None}


def resolve_call(
    settings: Mapping[str, Any],
    *,
    scene: Scene | PathLike | None = None,
    labels: Any = None,
    tiles: PathLike | None = None,
    recipe: PathLike | Mapping[str, Any] | None = None,
    space: str | None = None,
    preset: str | None = None,
    architecture: Architecture | None = None,
    network: str | None = None,
    overrides: Sequence[str] = (),
) -> Recipe:
    """Return the recipe of a call of :func:`swath.search`: a preset, a recipe, what is given.

    Raises
    ------
    RecipeError : they do not go together, or there is no such preset.
    """
    layers: list[Mapping[str, Any]] = []
    if recipe is None or preset is not None:
        preset = preset or "quick"
        wanted = space or (architecture.space if architecture is not None else None)
        wanted = wanted or ("hsi3d" if tiles is None and network is None else "seg101")
        name = f"{wanted}-{preset}"
        if name not in preset_names():
            from swath import spaces

            spaces.registry.get(wanted)
            start = f"{wanted}-"
            known = [one.removeprefix(start) for one in preset_names() if one.startswith(start)]
            raise RecipeError(
                f"space '{wanted}' has no preset '{preset}'{nearest(preset, known)}; it has: "
                f"{', '.join(known) or 'none'}"
            )
        layers.append({**load_recipe(name), "preset": preset})
        learned = "tiles" if tiles is not None else None if scene is None else "scene"
        if learned not in (None, _kind(layers[-1])):
            # What the preset says of its own kind of task says nothing of another.
            layers[-1] = {key: value for key, value in layers[-1].items() if key != "task"}
    if recipe is not None:
        layers.append(recipe if isinstance(recipe, Mapping) else load_recipe(Path(recipe)))
        if space is not None:
            layers.append({"space": {"name": space}})
    given = {key: value for key, value in settings.items() if value is not None}
    top: dict[str, Any] = {k: given.pop(k) for k in ("seed", "device") if k in given}
    task = given
    if tiles is not None:
        if scene is not None:
            raise RecipeError("a scene and tiles were given; give one of them to learn from")
        if labels is not None:
            raise RecipeError("tiles have masks of their own; leave the labels out")
        for key in task:
            if key in TaskSettings.model_fields and key not in TileTaskSettings.model_fields:
                raise RecipeError(f"'{key}' is of a scene, not of tiles; leave it out")
        task |= {"kind": "tiles", "source": os.fspath(tiles)}
    if scene is not None:
        task["scene"] = scene.name if isinstance(scene, Scene) else os.fspath(scene)
    if isinstance(labels, str | os.PathLike):
        task["labels"] = os.fspath(labels)
    strategy, trials = given.pop("strategy", None), given.pop("trials", None)
    layers.append({**top, "task": task})
    if architecture is not None:
        # Nothing is searched: how the recipe would have searched is no fact of the run.
        layers.append({"architecture": json.loads(architecture.to_json()), **_NO_SEARCH})
    if network is not None:
        # To be compared with, it stands on the backbone of the recipe's space.
        backbone = _backbone(layers)
        options = {} if backbone is None else {"options": {"backbone": backbone}}
        layers.append({"network": {"name": network, **options}, **_NO_SEARCH})
    if strategy is not None or trials is not None:
        # What is said of the searches themselves comes on top of what is chosen for them here.
        rest = [one for one in overrides if not one.startswith(("one_shot", "study"))]
        layers += _search_layers(resolve(*layers, overrides=rest), strategy, trials)
    return resolve(*layers, overrides=overrides)


def _kind(layer: Mapping[str, Any]) -> Any:
    """Return the kind of task that a layer of a recipe is of."""
    task = layer.get("task")
    return task.get("kind", "scene") if isinstance(task, Mapping) else "scene"


def _backbone(layers: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the name of the backbone that the last of some layers gives the space, if one does."""
    found: Any = None
    for layer in layers:
        space = layer.get("space")
        options = space.get("options") if isinstance(space, Mapping) else None
        found = options.get("backbone", found) if isinstance(options, Mapping) else found
    return found if isinstance(found, str) else None


def _search_layers(
    before: Recipe, strategy: str | None, trials: int | None
) -> list[Mapping[str, Any]]:
    """Return what a strategy by name and a number of trials change in a recipe."""
    if before.architecture is not None or before.network is not None:
        given = "architecture" if before.network is None else "network"
        raise RecipeError(
            f"the {given} is given, so that nothing is searched; leave strategy and trials out"
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
