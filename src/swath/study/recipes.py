"""Recipes: one YAML file says what is learned, searched, trained and mapped, and how.

A recipe is resolved before anything runs: a preset's file, then the caller's recipe, then single
overrides, each over the one before; every default is written out into the run folder.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, field_validator

from swath.core.devices import Precision
from swath.core.errors import RecipeError
from swath.strategies.differentiable import DifferentiableSettings
from swath.study.one_shot_section import OneShotSection, with_strategy
from swath.study.settings import (
    PartSettings,
    SpaceSettings,
    Strict,
    TaskSettings,
    load_recipe,
    named_part,
    parse_override,
    preset_names,
    resolve_as,
)
from swath.study.study_section import StudySettings, fitted
from swath.study.task_section import read_task
from swath.study.tile_tasks import TileTaskSettings
from swath.training.loop import TrainingSettings

__all__ = [
    "MappingSettings",
    "Recipe",
    "SpaceSettings",
    "StudySettings",
    "TaskSettings",
    "load_recipe",
    "load_resolved",
    "preset_names",
    "resolve",
]

MapModeName = Literal["plain", "windows", "ov", "ms", "ms+ov"]


class MappingSettings(Strict):
    """How the scene is mapped.

    Parameters
    ----------
    mode : of the map that is written and of the headline figures.
    also : further modes whose test figures are reported.
    crop, scales : window sizes of the windowed modes, see :mod:`swath.mapping`.
    """

    mode: MapModeName = "plain"
    also: tuple[MapModeName, ...] = ()
    crop: int = Field(default=32, ge=1)
    scales: tuple[Annotated[int, Field(ge=1)], ...] = Field(default=(16, 32, 48), min_length=1)
    precision: Literal["float32", "bfloat16"] = "float32"


class Recipe(Strict):
    """Everything that determines a run.

    Parameters
    ----------
    preset : the name under which it was chosen.
    task : a scene, or with the key ``kind: tiles`` images with their masks.
    architecture : trained as it is; None: one is searched.
    network : a network of no search space, such as a comparator, by its name (and options), which
        is trained instead of one of the space; None: there is none.
    study : the search by trials; None: there is none.
    one_shot : the search with a single-path or elastic supernet; None: there is none.
    search : the differentiable search, where there is neither of these.
    """

    preset: str | None = None
    seed: int = 0
    device: str = "auto"
    task: TaskSettings | TileTaskSettings = Field(default_factory=TaskSettings)
    space: SpaceSettings = Field(default_factory=SpaceSettings)
    architecture: dict[str, Any] | None = None
    network: PartSettings | None = None
    search: DifferentiableSettings = Field(default_factory=DifferentiableSettings)
    study: StudySettings | None = None
    one_shot: OneShotSection | None = None
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    mapping: MappingSettings = Field(default_factory=MappingSettings)

    @field_validator("task", mode="before")
    @classmethod
    def _read_task(cls, given: Any) -> Any:
        if isinstance(given, Mapping) and given.get("kind") == "patches":
            raise RecipeError(
                "a task of kind 'patches' has no scene to map; search with 'swath study run'"
            )
        return read_task(given)

    @field_validator("space", "network", mode="before")
    @classmethod
    def _read_name(cls, given: Any) -> Any:
        return named_part(given)

    @field_validator("one_shot", mode="before")
    @classmethod
    def _fill_strategy(cls, given: Any) -> Any:
        return with_strategy(given) if isinstance(given, Mapping) else given

    def precisions(self) -> set[Precision]:
        """Return what search and training are computed in."""
        if self.one_shot is not None:
            return {self.training.precision, self.one_shot.training.precision}
        if self.study is None and self.architecture is None and self.network is None:
            return {self.training.precision, self.search.precision}
        return {self.training.precision}

    def to_yaml(self) -> str:
        """Return the resolved recipe, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def load_resolved(path: str | Path) -> dict[str, Any]:
    """Read the recipe of a run, which has all sections; return its keys.

    Raises
    ------
    RecipeError : it is no YAML, or ends too early: what it lacks would silently be the default.
    """
    keys = load_recipe(path)
    last = list(Recipe.model_fields)[-1]
    if last not in keys and "estimator" not in keys:  # else it is that of a study
        raise RecipeError(
            f"{path} lacks the section '{last}', which the recipe of a run has; was it edited or "
            "cut off?"
        )
    return keys


def resolve(
    *layers: Mapping[str, Any], overrides: Sequence[str] = (), preset: str | None = None
) -> Recipe:
    """Return the validated recipe of several layers, later ones over earlier ones.

    Parameters
    ----------
    layers : nested mappings; None is a value (``pool: null``), so leave unset options out.
    overrides : "section.key=value" with the value in YAML, as of ``--set``.
    preset : the name under which a preset was chosen, kept for reports.

    Raises
    ------
    RecipeError : an unknown key (with the nearest known one) or an unusable value.
    """
    if any("estimator" in layer for layer in layers):
        raise RecipeError("this is the recipe of a study; run it with 'swath study run'")
    named = [] if preset is None else [{"preset": preset}]
    # The name stands over everything: it says under which the recipe was chosen.
    recipe = resolve_as(Recipe, [*layers, *map(parse_override, overrides), *named])
    if recipe.study is None:
        return recipe
    if recipe.one_shot is not None:
        raise RecipeError(
            "the recipe has both study and one_shot; leave one of the two searches out (null)"
        )
    return recipe.model_copy(update={"study": fitted(recipe.study)})
