"""The parts of a study from its recipe: space, strategy and estimator by their names."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from swath import estimators, spaces, strategies
from swath.core.errors import RecipeError
from swath.core.history import Objective, direction_of
from swath.core.registry import Registry
from swath.study.directions import directions_of
from swath.study.patch_tasks import PatchTaskSettings, open_patches
from swath.study.scorers import with_scores
from swath.study.settings import Strict, TaskSettings, resolve_as
from swath.study.study_recipe import StudyRecipe
from swath.study.task_section import AnyTaskSettings, make_task
from swath.study.tile_tasks import TileTaskSettings, open_task_tiles

if TYPE_CHECKING:
    from swath.estimators.base import Estimator
    from swath.spaces.base import SearchSpace
    from swath.strategies.base import Strategy

__all__ = ["Parts", "create_part", "make_parts"]

T = TypeVar("T")
Progress = Callable[[dict[str, Any]], None]


class Parts(NamedTuple):
    """What :func:`swath.study.studies.run_study` takes."""

    space: SearchSpace
    strategy: Strategy
    estimator: Estimator
    objectives: tuple[Objective, ...]
    facts: dict[str, Any]


def make_parts(recipe: StudyRecipe, progress: Progress | None = None) -> Parts:
    """Return the parts of a study, and what is written of them.

    Parameters
    ----------
    progress : told how far a strategy is that scores networks before it proposes any.

    Raises
    ------
    SwathError : a name or option is unknown, or something cannot be read.
    """
    strategy = create_part(strategies.registry, recipe.strategy.name, recipe.strategy.options)
    options = dict(recipe.estimator.options)
    of_estimator: dict[str, Any] = {"name": recipe.estimator.name, "options": dict(options)}
    if recipe.estimator.name == "trained":
        settings = recipe.task or TaskSettings()
        options = {"latency": _asks_for_latency(recipe), **options, **_trained(recipe, settings)}
        of_estimator |= {
            "task": settings.model_dump(mode="json"),
            "training": recipe.training or {},
            "scene": _fingerprint(settings, recipe.seed),
        }
    elif recipe.task is not None or recipe.training is not None:
        raise RecipeError(
            f"the estimator '{recipe.estimator.name}' takes neither task nor training; leave them "
            "out, or use the estimator 'trained'"
        )
    estimator = create_part(estimators.registry, recipe.estimator.name, options)
    space = _space(recipe, estimator)
    if recipe.task is not None:
        _check_answers(space, recipe.task)
    facts = {
        "space": {"name": space.name, "options": dict(space.options)},
        "strategy": recipe.strategy.model_dump(mode="json"),
        "estimator": of_estimator,
    }
    return Parts(
        space,
        with_scores(strategy, estimator, progress),
        estimator,
        _objectives(recipe, estimator),
        facts,
    )


def create_part(registry: Registry[T], name: str, options: Mapping[str, Any]) -> T:
    """Create a registered part from the options of a recipe.

    Raises
    ------
    UnknownName : there is none of that name.
    RecipeError : it has no such option, or cannot be made of these.
    """
    given = {key: tuple(one) if isinstance(one, list) else one for key, one in options.items()}
    return registry.create(name, **given)


def _trained(recipe: StudyRecipe, settings: AnyTaskSettings) -> dict[str, Any]:
    """Return what the recipe's other sections tell the estimator "trained"."""
    from swath.training.loop import TrainingSettings

    class Sections(Strict):
        training: TrainingSettings = TrainingSettings()

    space = recipe.space
    if space is None:
        raise RecipeError("a study that trains networks needs a space; give space.name")
    spaces.registry.get(space.name)
    return {
        "space": space.name,
        "space_options": dict(space.options),
        "task": functools.partial(make_task, settings, recipe.seed),
        "training": resolve_as(Sections, [{"training": recipe.training or {}}]).training,
    }


def _check_answers(space: SearchSpace, settings: AnyTaskSettings) -> None:
    from swath.estimators.trained import require_patch_answers, require_pixel_answers

    if isinstance(settings, PatchTaskSettings):
        require_patch_answers(space)
    if isinstance(settings, TileTaskSettings):
        require_pixel_answers(space)


def _asks_for_latency(recipe: StudyRecipe) -> bool:
    """Whether it has to be measured, which takes time and is left out otherwise."""
    return "latency" in {*recipe.constraints, *(one.name for one in recipe.objectives)}


def _fingerprint(settings: AnyTaskSettings, seed: int) -> dict[str, Any]:
    from swath.study.preparation import open_task_scene

    if isinstance(settings, TileTaskSettings):
        return dict(open_task_tiles(settings).fingerprint())
    if isinstance(settings, PatchTaskSettings):
        return open_patches(settings, seed).fingerprint()
    return dict(open_task_scene(settings).fingerprint())


def _space(recipe: StudyRecipe, estimator: Estimator) -> SearchSpace:
    own = getattr(estimator, "search_space", None)
    if own is None:
        if recipe.space is None:
            raise RecipeError(
                f"the estimator '{recipe.estimator.name}' has no space of its own; give space.name"
            )
        return create_part(spaces.registry, recipe.space.name, recipe.space.options)
    space: SearchSpace = own()
    if recipe.space is not None and recipe.space.name != space.name:
        spaces.registry.get(recipe.space.name)
        raise RecipeError(
            f"the estimator is of space '{space.name}', not of '{recipe.space.name}'; leave the "
            "space out, or name that one"
        )
    return space


def _objectives(recipe: StudyRecipe, estimator: Estimator) -> tuple[Objective, ...]:
    if not recipe.objectives:
        raise RecipeError("a study needs at least one objective, such as score")
    told = directions_of(estimator)
    return tuple(
        Objective(one.name, one.direction or direction_of(one.name, told))
        for one in recipe.objectives
    )
