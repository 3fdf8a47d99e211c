"""The recipe of a study: space, strategy, estimator, and what is looked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator

from swath.core.errors import RecipeError
from swath.study.settings import (
    LimitSettings,
    PartSettings,
    SpaceSettings,
    Strict,
    given_limits,
    named_part,
    resolve_as,
)
from swath.study.task_section import AnyTaskSettings, read_task

__all__ = ["ObjectiveSettings", "StudyRecipe", "resolve_study"]


class ObjectiveSettings(Strict):
    """A figure that is to be made large or small; a name alone will do.

    Parameters
    ----------
    name : "score", "parameters", "flops", "latency", "seconds", or a further figure that the
        estimator tells.
    direction : None: small for costs; else as the estimator says (a table's columns have theirs);
        of what it does not say small for losses and errors, by their names, else large.
    """

    name: str = "score"
    direction: Literal["maximize", "minimize"] | None = None


class StudyRecipe(Strict):
    """Everything that determines a study.

    Parameters
    ----------
    name : of the study in a database that holds several.
    trials : how many the study is to have; it may be raised later.
    store : None: the journal in the run folder; else the URL of a database, in which ``$NAME``
        stands for a variable of the environment.
    space : None: the one that the estimator is of (a table's).
    objectives : the first one decides what is best.
    constraints : limits of "parameters", "flops" and "latency", checked before an evaluation.
    task, training : of the estimator "trained": the scene with its split, and how networks are
        trained, as in the recipes of ``swath search``; or tiles or patches, where the task has the
        key ``kind`` (:class:`~swath.study.tile_tasks.TileTaskSettings`,
        :class:`~swath.study.patch_tasks.PatchTaskSettings`).
    """

    name: str = "swath"
    seed: int = 0
    trials: int = 100
    store: str | None = None
    space: SpaceSettings | None = None
    strategy: PartSettings = PartSettings(name="random")
    estimator: PartSettings
    objectives: tuple[ObjectiveSettings, ...] = (ObjectiveSettings(),)
    constraints: dict[str, LimitSettings] = Field(default_factory=dict)
    task: AnyTaskSettings | None = None
    training: dict[str, Any] | None = None

    @field_validator("objectives", mode="before")
    @classmethod
    def _read_names(cls, given: Any) -> Any:
        if not isinstance(given, list | tuple):
            given = [given]
        return [{"name": one} if isinstance(one, str) else one for one in given]

    @field_validator("task", mode="before")
    @classmethod
    def _read_task(cls, given: Any) -> Any:
        return read_task(given)

    @field_validator("strategy", "estimator", "space", mode="before")
    @classmethod
    def _read_name(cls, given: Any) -> Any:
        return named_part(given)

    def limits(self) -> dict[str, dict[str, float]]:
        """Return the constraints as :func:`swath.study.studies.run_study` takes them."""
        return given_limits(self.constraints)

    def to_yaml(self) -> str:
        """Return the resolved recipe, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def resolve_study(*layers: Mapping[str, Any], overrides: Sequence[str] = ()) -> StudyRecipe:
    """Return the validated recipe of several layers, later ones over earlier ones.

    Raises
    ------
    RecipeError : an unknown key (with the nearest known one) or an unusable value.
    """
    if any("search" in layer for layer in layers):
        raise RecipeError("this is the recipe of a single search; run it with 'swath search'")
    return resolve_as(StudyRecipe, layers, overrides)
