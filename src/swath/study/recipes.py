"""Recipes: one YAML file says what is learned, searched, trained and mapped, and how.

A recipe is resolved before anything runs: a preset's file, then the caller's recipe, then single
overrides, each over the one before; every default is written out into the run folder.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swath.core.devices import Precision
from swath.core.errors import RecipeError, nearest
from swath.data.scaling import ScalingKind
from swath.strategies.differentiable import DifferentiableSettings
from swath.training.loop import TrainingSettings

__all__ = [
    "MappingSettings",
    "Recipe",
    "SpaceSettings",
    "TaskSettings",
    "load_recipe",
    "preset_names",
    "resolve",
]

MapModeName = Literal["plain", "windows", "ov", "ms", "ms+ov"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TaskSettings(_Strict):
    """The scene, its labels, and how they are split.

    Parameters
    ----------
    scene : a file, or a key of the catalogue (``swath data list``).
    labels : a file, or None where the scene's file or the catalogue has them.
    variable, label_variable, axes, bands, resample_labels, nodata, unlabelled :
        see :func:`swath.data.open_scene`.
    split : "spatial" (blocks with a guard band), "random" (leaks, the papers' protocol), "fixed"
        (``train_map`` and ``test_map`` are files).
    train, validation : labels per class.
    block, guard : pixels, of the spatial split; block None: chosen from the scene.
    small_classes : "raise", "halve" or "drop" classes of fewer than ``minimum`` labels.
    scaling : "whitened", "standard" or "minmax", "max" of the whole cube (3D-ANAS), "none"; see
        :class:`swath.data.scaling.Scaling`.
    """

    scene: str = ""
    labels: str | None = None
    variable: str | None = None
    label_variable: str | None = None
    axes: str | None = None
    bands: str | None = None
    nodata: float | None = None
    unlabelled: tuple[int, ...] = (0,)
    resample_labels: Literal["majority"] | None = None
    split: Literal["spatial", "random", "fixed"] = "spatial"
    train: int = Field(default=20, ge=1)
    validation: int = Field(default=10, ge=1)
    block: int | None = Field(default=None, ge=1)
    guard: int = Field(default=4, ge=0)
    train_map: str | None = None
    test_map: str | None = None
    small_classes: Literal["raise", "halve", "drop"] = "raise"
    minimum: int | None = Field(default=None, ge=1)
    scaling: ScalingKind = "max"


class SpaceSettings(_Strict):
    """A registered search space and its options."""

    name: str = "hsi3d"
    options: dict[str, Any] = Field(default_factory=dict)


class MappingSettings(_Strict):
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
    precision: Precision = "float32"


class Recipe(_Strict):
    """Everything that determines a run.

    Parameters
    ----------
    preset : the name under which it was chosen.
    architecture : trained as it is; None: one is searched.
    """

    preset: str | None = None
    seed: int = 0
    device: str = "auto"
    task: TaskSettings = Field(default_factory=TaskSettings)
    space: SpaceSettings = Field(default_factory=SpaceSettings)
    architecture: dict[str, Any] | None = None
    search: DifferentiableSettings = Field(default_factory=DifferentiableSettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    mapping: MappingSettings = Field(default_factory=MappingSettings)

    def to_yaml(self) -> str:
        """Return the resolved recipe, every default written out."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def preset_names() -> list[str]:
    """Return the names of the recipes that come with swath."""
    folder = resources.files("swath") / "recipes"
    return sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".yaml"))


def load_recipe(path: str | Path) -> dict[str, Any]:
    """Read a recipe file, or one that comes with swath by its name; return its raw keys.

    Raises
    ------
    RecipeError : there is no such recipe, or it is not a YAML mapping.
    """
    file = Path(path)
    if file.is_file():
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {path}: {error}; give a YAML file") from (
                error
            )
    elif str(path) in preset_names():
        text = (resources.files("swath") / "recipes" / f"{path}.yaml").read_text("utf-8")
    else:
        known = preset_names()
        raise RecipeError(
            f"there is no recipe '{path}'{nearest(str(path), known)}; give a YAML file or one of: "
            f"{', '.join(known)}"
        )
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"the recipe {path} is not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise RecipeError(f"the recipe {path} is empty or no mapping; see 'swath recipes'")
    return data


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
    merged: dict[str, Any] = {}
    for layer in layers:
        merged = _merge(merged, layer)
    for override in overrides:
        merged = _merge(merged, _parse_override(override))
    if preset is not None:
        merged["preset"] = preset
    try:
        return Recipe.model_validate(merged)
    except ValidationError as error:
        raise RecipeError(_explain(error)) from error


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        if isinstance(value, Mapping) and isinstance(merged.get(key), Mapping):
            merged[key] = _merge(merged[key], value)
        else:
            merged[key] = value
    return merged


def _parse_override(text: str) -> dict[str, Any]:
    path, equals, value = text.partition("=")
    if not equals or not path:
        raise RecipeError(f"'{text}' is no override; write section.key=value, e.g. search.epochs=5")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise RecipeError(f"the value of '{text}' is not valid YAML") from error
    for key in reversed(path.split(".")):
        parsed = {key: parsed}
    assert isinstance(parsed, dict)
    return parsed


def _explain(error: ValidationError) -> str:
    """One sentence for the first problem of a recipe."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    where = ".".join(location)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        return f"the recipe has an unknown key '{where}'{nearest(location[-1], _keys(location))}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"the recipe's '{where}' cannot be {first['input']!r}: {first['msg'].lower()}"


def _keys(location: Sequence[str]) -> list[str]:
    """Known keys at the place of the last part of a location."""
    model: Any = Recipe
    for part in location[:-1]:
        model = _fields(model).get(part)
    return list(_fields(model))


def _fields(model: Any) -> dict[str, Any]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    if dataclasses.is_dataclass(model):
        return {field.name: None for field in dataclasses.fields(model)}
    return {}
