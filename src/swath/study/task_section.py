"""The section ``task`` of a recipe: which kind of task it is, and the task it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from swath.core.errors import RecipeError, nearest
from swath.study.patch_tasks import PatchTaskSettings, make_patch_task
from swath.study.settings import Strict, TaskSettings, resolve_as
from swath.study.tile_tasks import TileTaskSettings, make_tile_task

if TYPE_CHECKING:
    from swath.tasks.base import Task

__all__ = ["AnyTaskSettings", "make_task", "read_task"]

AnyTaskSettings = TaskSettings | PatchTaskSettings | TileTaskSettings

_KINDS: dict[str, type[Strict]] = {
    "scene": TaskSettings,
    "tiles": TileTaskSettings,
    "patches": PatchTaskSettings,
}


def read_task(given: Any) -> Any:
    """Return the settings of the kind of task that a recipe names; a scene where it names none.

    Raises
    ------
    RecipeError : there is no such kind, an unknown key, or an unusable value.
    """
    if not isinstance(given, Mapping):
        return given
    kind = given.get("kind", "scene")
    if kind not in _KINDS:
        raise RecipeError(
            f"there is no kind of task '{kind}'{nearest(str(kind), _KINDS)}; known: "
            f"{', '.join(_KINDS)}"
        )
    settings = _KINDS[kind]

    class Sections(Strict):
        task: settings  # type: ignore[valid-type]

    keys = {key: value for key, value in given.items() if key != "kind"}
    return resolve_as(Sections, [{"task": keys}]).task


def make_task(settings: AnyTaskSettings, seed: int) -> Task:
    """Return the task of a recipe, its split drawn with ``seed``; workers call this themselves.

    Raises
    ------
    SwathError : what it is made of cannot be opened, split or scaled as the settings say.
    """
    if isinstance(settings, PatchTaskSettings):
        return make_patch_task(settings, seed)
    if isinstance(settings, TileTaskSettings):
        return make_tile_task(settings, seed)
    from swath.study.preparation import open_task_scene, prepare_task

    return prepare_task(open_task_scene(settings), settings, seed)
