"""What a run folder says, read for the report: every part may be missing."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swath.core.errors import RunError
from swath.core.files import expanded, read_json
from swath.data.labels import palette
from swath.study.backends import journal_path
from swath.study.conduct import find_studies, open_study
from swath.study.studies import Study

__all__ = ["LabelClass", "OneShotRecord", "RunRecord", "TileRecord", "read_run"]

Map = NDArray[np.int64]
History = tuple[dict[str, Any], ...]

LONGEST_SIDE = 1600
"""Maps with more rows or columns are thinned to every second, third, ... pixel."""

_KNOWN = ("metrics.json", "recipe.yaml", "best/architecture.json", "search/history.jsonl")


@dataclass(frozen=True)
class LabelClass:
    """One class: its name, its value in the label file, its colour and its labelled pixels."""

    name: str
    original: int
    colour: tuple[int, int, int]
    train: int | None = None
    validation: int | None = None
    test: int | None = None


@dataclass(frozen=True)
class OneShotRecord:
    """A search with a supernet: its epochs, shrinkings and judged children, and its ranking.

    ``children`` were judged at the end of a stage, each with the stage's number from 0.  Without
    ``ranking`` the search has not ended.
    """

    epochs: History
    stages: History = ()
    children: History = ()
    ranking: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TileRecord:
    """A test tile: ``image`` uint8 (rows, columns, 3), ``truth`` and ``prediction`` class indices
    (rows, columns), -1 for none.
    """

    name: str
    image: NDArray[np.uint8]
    truth: Map
    prediction: Map


@dataclass(frozen=True)
class RunRecord:
    """The contents of a run folder.

    ``truth`` and ``prediction`` are (rows, columns) class indices, -1 for none; ``split`` is
    (rows, columns): 0 none, 1 train, 2 validation, 3 test, 4 hidden.  All three show every
    ``stride``-th pixel.  ``study`` is the search where it was one by trials, ``one_shot`` where it
    was one with a supernet whose best is taken, ``search`` has the epochs of any other.  What the
    folder does not have is empty or None.
    """

    folder: Path
    metrics: Mapping[str, Any] = field(default_factory=dict)
    architecture: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    recipe_text: str = ""
    operators: tuple[str, ...] = ()
    search: History = ()
    study: Study | None = None
    one_shot: OneShotRecord | None = None
    training: History = ()
    classes: tuple[LabelClass, ...] = ()
    truth: Map | None = None
    split: Map | None = None
    prediction: Map | None = None
    stride: int = 1
    tiles: tuple[TileRecord, ...] = ()

    @property
    def of_tiles(self) -> bool:
        """Whether the run learned from tiles, not from a scene."""
        task = self.recipe.get("task")
        return isinstance(task, Mapping) and task.get("kind") == "tiles"

    @property
    def measure(self) -> str:
        """The name of the figure by which networks were chosen, on validation labels."""
        return "validation mIoU" if self.of_tiles else "validation accuracy"

    @property
    def options(self) -> Mapping[str, Any]:
        """The options of the search space, as ``best/architecture.json`` has them."""
        value = self.architecture.get("options")
        return value if isinstance(value, Mapping) else {}

    def part(self, name: str) -> Mapping[str, Any]:
        """Return an object inside ``metrics.json``; empty where it is missing."""
        value = self.metrics.get(name)
        return value if isinstance(value, Mapping) else {}


def read_run(folder: str | Path) -> RunRecord:
    """Read a run folder.

    Raises
    ------
    RunError : there is no such folder, nothing of a run is in it, or one of its files is broken.
    """
    folder = expanded(folder)
    if not folder.is_dir():
        raise RunError(f"there is no run folder {folder}; give the folder that --out named")
    if not any((folder / name).is_file() for name in _KNOWN):
        raise RunError(f"{folder} holds no run: none of {', '.join(_KNOWN)} is in it")
    metrics = _json(folder / "metrics.json")
    classes = _classes(metrics.get("classes"))
    recipe_text, recipe = _recipe(folder / "recipe.yaml")
    truth, split, prediction, stride = _maps(folder, classes)
    epochs = _history(folder / "search/history.jsonl", "epoch")
    with_supernet = any(record.get("phase") == "supernet" for record in epochs)
    return RunRecord(
        folder=folder,
        metrics=metrics,
        architecture=_json(folder / "best/architecture.json"),
        recipe=recipe,
        recipe_text=recipe_text,
        operators=tuple(map(str, _json(folder / "search/operators.json").get("operators") or ())),
        search=() if with_supernet else epochs,
        study=_study(folder / "search"),
        one_shot=_one_shot(folder / "search", epochs) if with_supernet else None,
        training=_history(folder / "training/history.jsonl", "iteration"),
        classes=classes,
        truth=truth,
        split=split,
        prediction=prediction,
        stride=stride,
        tiles=_tiles(folder / "tiles.safetensors"),
    )


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    data = read_json(path)
    if not isinstance(data, dict):
        raise RunError(f"{path} should hold a JSON object, not {type(data).__name__}")
    return data


def _recipe(path: Path) -> tuple[str, dict[str, Any]]:
    import yaml

    if not path.is_file():
        return "", {}
    try:
        text = path.read_text(encoding="utf-8")
        data = yaml.safe_load(text)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RunError(f"{path} is not readable as YAML: {error}") from error
    return text, data if isinstance(data, dict) else {}


def _history(path: Path, step: str) -> History:
    """Return one record per step, in order of the step.

    A killed run may leave half a line, and its resumption repeats the steps after the last
    checkpoint: broken lines are passed over and the later record of a step counts.
    """
    records = {record[step]: record for record in _lines(path) if isinstance(record.get(step), int)}
    return tuple(records[key] for key in sorted(records))


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the records of a JSON lines file, if there is one, without broken lines."""
    if not path.is_file():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(record, dict):
            yield record


def _one_shot(folder: Path, epochs: History) -> OneShotRecord:
    children: dict[tuple[int, str], dict[str, Any]] = {}
    for record in _lines(folder / "children.jsonl"):
        if isinstance(record.get("stage"), int) and isinstance(record.get("evaluation"), dict):
            children[record["stage"], str(record.get("key"))] = record
    stages = _json(folder / "stages.json").get("stages")
    return OneShotRecord(
        epochs=epochs,
        stages=tuple(stages) if isinstance(stages, list) else (),
        children=tuple(children.values()),
        ranking=_json(folder / "ranking.json"),
    )


def _study(store: Path) -> Study | None:
    """Return the search by trials; None where there was none, or none has begun."""
    if not journal_path(store).is_file() or not find_studies(store):
        return None
    study = open_study(store)
    return study if study.trials else None


def _classes(entries: Any) -> tuple[LabelClass, ...]:
    if not isinstance(entries, list):
        return ()
    fallback = palette(len(entries))
    return tuple(
        LabelClass(
            name=str(entry.get("name", f"class {index + 1}")),
            original=int(entry.get("original", index + 1)),
            colour=_colour(entry.get("colour"), fallback[index]),
            train=_count(entry.get("train")),
            validation=_count(entry.get("validation")),
            test=_count(entry.get("test")),
        )
        for index, entry in enumerate(entries)
        if isinstance(entry, dict)
    )


def _count(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _colour(value: Any, fallback: tuple[int, int, int]) -> tuple[int, int, int]:
    if isinstance(value, list | tuple) and len(value) >= 3:
        red, green, blue = (min(255, max(0, int(part))) for part in value[:3])
        return red, green, blue
    return fallback


def _maps(
    folder: Path, classes: tuple[LabelClass, ...]
) -> tuple[Map | None, Map | None, Map | None, int]:
    truth = split = prediction = None
    stride = 1
    path = folder / "split.safetensors"
    if path.is_file():
        (truth, split), stride = _tensors(path, ("truth", "split"))
    path = folder / "map_index.safetensors"
    if path.is_file():
        (prediction,), stride = _tensors(path, ("prediction",))
    elif (folder / "map.tif").is_file():
        prediction, stride = _geotiff(folder / "map.tif", classes)
    return truth, split, prediction, stride


def _thin(rows: int, columns: int, read_row: Callable[[int], NDArray[Any]]) -> tuple[Map, int]:
    stride = max(1, -(-max(rows, columns) // LONGEST_SIDE))
    return np.stack(
        [read_row(r)[::stride].astype(np.int64) for r in range(0, rows, stride)]
    ), stride


def _tensors(path: Path, names: tuple[str, ...]) -> tuple[list[Map | None], int]:
    from safetensors import SafetensorError, safe_open

    maps: list[Map | None] = []
    stride = 1
    try:
        with safe_open(path, framework="numpy") as file:
            for name in names:
                if name not in file.keys():  # noqa: SIM118 (no mapping: it has no __contains__)
                    maps.append(None)
                    continue
                tensor = file.get_slice(name)
                rows, columns = tensor.get_shape()
                thinned, stride = _thin(rows, columns, lambda r, t=tensor: t[r : r + 1][0])  # type: ignore[misc]
                maps.append(thinned)
    except (SafetensorError, ValueError, OSError) as error:
        raise RunError(f"{path} is no map that can be read: {error}") from error
    return maps, stride


def _tiles(path: Path) -> tuple[TileRecord, ...]:
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        return ()
    try:
        with safe_open(path, framework="numpy") as file:
            numbers = sorted({int(key.split(".")[0]) for key in file.keys()})  # noqa: SIM118
            names = (file.metadata() or {}).get("names", "").split("\n")
            return tuple(
                TileRecord(
                    name,
                    file.get_tensor(f"{number}.image"),
                    file.get_tensor(f"{number}.truth").astype(np.int64),
                    file.get_tensor(f"{number}.prediction").astype(np.int64),
                )
                for number, name in zip(numbers, names, strict=True)
            )
    except (SafetensorError, ValueError, OSError) as error:
        raise RunError(f"{path} holds no tiles that can be read: {error}") from error


def _geotiff(path: Path, classes: tuple[LabelClass, ...]) -> tuple[Map | None, int]:
    try:
        import rasterio
        from rasterio.windows import Window
    except ImportError:
        return None, 1
    try:
        with rasterio.open(path) as file:
            values, stride = _thin(
                file.height,
                file.width,
                lambda r: file.read(1, window=Window(0, r, file.width, 1))[0],
            )
    except rasterio.errors.RasterioError as error:
        raise RunError(f"{path} is no map that can be read: {error}") from error
    indices = np.full(values.shape, -1, np.int64)
    for index, entry in enumerate(classes):
        indices[values == entry.original] = index
    return indices, stride
