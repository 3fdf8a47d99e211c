"""What all kinds of recipes share: files, layers, and the sections of task and space."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from swath.core.errors import RecipeError, nearest
from swath.core.files import expanded
from swath.data.scaling import ScalingKind

__all__ = [
    "LimitSettings",
    "PartSettings",
    "SpaceSettings",
    "Strict",
    "TaskSettings",
    "given_limits",
    "given_path",
    "load_recipe",
    "named_part",
    "parse_override",
    "preset_names",
    "recipe_names",
    "resolve_as",
    "study_names",
]

_STUDY = "study-"


class Strict(BaseModel):
    """A section of a recipe: it refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


Model = TypeVar("Model", bound=Strict)


class TaskSettings(Strict):
    """The scene, its labels, and how they are split.

    Parameters
    ----------
    scene : a file, or a key of the catalogue (``swath data list``); see :func:`given_path`.
    labels : a file, or None where the scene's file or the catalogue has them; of a fixed split the
        two maps serve where neither has.
    variable, label_variable, axes, bands, resample_labels, nodata, unlabelled :
        see :func:`swath.data.open_scene`.
    class_names : by label value; what is not named is called "class VALUE", or as its file says.
    split : "spatial" (blocks with a guard band), "random" (leaks, the papers' protocol), "fixed"
        (``train_map`` and ``test_map`` are files).
    train, validation : labels per class.
    train_counts : training labels of each class in turn, in place of ``train``.
    train_map, test_map : files of the fixed split.
    train_variable, test_variable : which of their arrays is the map, where they hold several.
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
    class_names: dict[int, Annotated[str, Field(min_length=1)]] | None = None
    split: Literal["spatial", "random", "fixed"] = "spatial"
    train: int = Field(default=20, ge=1)
    train_counts: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    validation: int = Field(default=10, ge=1)
    block: int | None = Field(default=None, ge=1)
    guard: int = Field(default=4, ge=0)
    train_map: str | None = None
    test_map: str | None = None
    train_variable: str | None = None
    test_variable: str | None = None
    small_classes: Literal["raise", "halve", "drop"] = "raise"
    minimum: int | None = Field(default=None, ge=1)
    scaling: ScalingKind = "max"


class SpaceSettings(Strict):
    """A registered search space and its options."""

    name: str = "hsi3d"
    options: dict[str, Any] = Field(default_factory=dict)


class PartSettings(Strict):
    """A registered strategy or estimator and its options."""

    name: str
    options: dict[str, Any] = Field(default_factory=dict)


class LimitSettings(Strict):
    """What a network may cost; both ends are allowed."""

    min: float | None = None
    max: float | None = None


def named_part(given: Any) -> Any:
    """Return what a recipe says of a part, of which the name alone will do."""
    return {"name": given} if isinstance(given, str) else given


def given_path(name: str, *, known: bool) -> Path | None:
    """Return the file that a name stands for, with ``~`` expanded; None: it stands for none.

    A file comes before a name that swath knows, and such a name before a folder: the run of a scene
    may lie in a folder of the scene's name.

    Parameters
    ----------
    known : whether swath knows something else by this name.
    """
    path = expanded(name)
    return path if path.is_file() or (path.exists() and not known) else None


def given_limits(constraints: Mapping[str, LimitSettings]) -> dict[str, dict[str, float]]:
    """Return constraints as :func:`swath.study.studies.run_study` takes them."""
    return {name: limit.model_dump(exclude_none=True) for name, limit in constraints.items()}


def recipe_names() -> list[str]:
    """Return the names of all recipes that come with swath."""
    folder = resources.files("swath") / "recipes"
    return sorted(file.name[:-5] for file in folder.iterdir() if file.name.endswith(".yaml"))


def preset_names() -> list[str]:
    """Return the names of the recipes of ``swath search``."""
    return [name for name in recipe_names() if not name.startswith(_STUDY)]


def study_names() -> list[str]:
    """Return the names of the recipes of ``swath study run``."""
    return [name for name in recipe_names() if name.startswith(_STUDY)]


def load_recipe(path: str | Path) -> dict[str, Any]:
    """Read a recipe file, or one that comes with swath by its name; return its raw keys.

    Raises
    ------
    RecipeError : there is no such recipe, or it is not a YAML mapping.
    """
    file = expanded(path)
    if file.is_file():
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise RecipeError(f"cannot read the recipe {path}: {error}; give a YAML file") from (
                error
            )
    elif str(path) in recipe_names():
        text = (resources.files("swath") / "recipes" / f"{path}.yaml").read_text("utf-8")
    else:
        known = recipe_names()
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


def resolve_as(
    model: type[Model], layers: Sequence[Mapping[str, Any]], overrides: Sequence[str] = ()
) -> Model:
    """Return the validated recipe of several layers, later ones over earlier ones.

    Parameters
    ----------
    model : the kind of recipe.
    layers : nested mappings; None is a value (``pool: null``), so leave unset options out.
    overrides : "section.key=value" with the value in YAML, as of ``--set``.

    Raises
    ------
    RecipeError : an unknown key (with the nearest known one) or an unusable value.
    """
    merged: dict[str, Any] = {}
    for layer in (*layers, *map(parse_override, overrides)):
        merged = _merge(merged, layer)
    try:
        made = model.model_validate(merged)
    except ValidationError as error:
        raise RecipeError(_explain(model, error)) from error
    _refuse_truth(merged, made)
    return made


def _refuse_truth(given: Mapping[str, Any], made: Any, section: str = "") -> None:
    """Refuse true and false, which YAML also has as yes and no, where they were read as numbers."""
    for key, value in given.items():
        read = getattr(made, str(key), None)
        if isinstance(value, Mapping):
            _refuse_truth(value, read, f"{section}{key}.")
        elif isinstance(value, bool) and isinstance(read, int | float) and read is not value:
            raise RecipeError(f"the recipe's '{section}{key}' cannot be {value}: give a number")


_NAMED = ("space", "strategy", "estimator", "network")  # sections for which a name alone will do


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        below = merged.get(key)
        if key in _NAMED and isinstance(below, str):
            below = named_part(below)  # so that options can be laid over a name alone
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            merged[key] = _merge(below, value)
        else:
            merged[key] = value
    return merged


def parse_override(text: str) -> dict[str, Any]:
    """Return "section.key=value" as nested mappings, or raise :class:`RecipeError`."""
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


def _explain(model: type[BaseModel], error: ValidationError) -> str:
    """One sentence for the first problem of a recipe."""
    first = error.errors()[0]
    location = [str(part) for part in first["loc"]]
    where = ".".join(location)
    if first["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _keys(model, location)
        return f"the recipe has an unknown key '{where}'{nearest(location[-1], known)}"
    if first["type"] == "value_error":
        return str(first["ctx"]["error"])
    return f"the recipe's '{where}' cannot be {first['input']!r}: {first['msg'].lower()}"


def _keys(model: Any, location: Sequence[str]) -> list[str]:
    """Known keys at the place of the last part of a location."""
    for part in location[:-1]:
        model = _inside(model, part)
    known = _fields(model)
    for one in typing.get_args(model):
        known = known or _fields(one)
    return list(known)


def _inside(model: Any, part: str) -> Any:
    """Return the kind of what stands under a key: of a section, a mapping or a list."""
    if part in _fields(model):
        return _fields(model)[part]
    for one in typing.get_args(model):
        if typing.get_origin(model) in (dict, tuple) and one not in (str, Ellipsis):
            return one
        if part in _fields(one):
            return _fields(one)[part]
    return None


def _fields(model: Any) -> dict[str, Any]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        return {name: field.annotation for name, field in model.model_fields.items()}
    if dataclasses.is_dataclass(model):
        kinds = typing.get_type_hints(model)
        return {field.name: kinds[field.name] for field in dataclasses.fields(model)}
    return {}
