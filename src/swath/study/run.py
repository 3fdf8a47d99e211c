"""A run is a folder: what was asked, what was found, the model and what it is worth."""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
import traceback
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from swath.core.architecture import Architecture
from swath.core.errors import RunError, nearest
from swath.core.files import (
    append_json_line,
    check_writable,
    expanded,
    read_json,
    write_json,
    write_text,
)
from swath.data.scaling import Scaling

if TYPE_CHECKING:
    from torch import nn

__all__ = ["Model", "RunFolder"]


@dataclass(frozen=True)
class Model:
    """A trained network with all that is needed to map another scene.

    Parameters
    ----------
    architecture, space_options : from which the network is built; None: it is of no space.
    network : of no space: {"name", "options"}, from which it is built; None: it is of a space.
    bands : indices of the bands it reads, in their order in the training scene's file.
    available : number of bands that file has.
    wavelengths : of the bands, in nanometres, or None.
    scaling : of the bands.
    values : the 2nd and 98th percentile of the training scene's values, or None.
    classes : per class, {"name", "original", "colour"}.
    context : rows and columns of what it was judged on, where that was tiles: a network that looks
        at the whole image is shown as much at once.  None: it was judged on a scene.
    """

    architecture: Architecture | None
    space_options: Mapping[str, Any]
    bands: tuple[int, ...]
    available: int
    wavelengths: tuple[float, ...] | None
    scaling: Scaling
    values: tuple[float, float] | None
    classes: tuple[Mapping[str, Any], ...]
    sensor: str | None
    scene: str
    network: Mapping[str, Any] | None = None
    context: int | None = None

    def build(self) -> nn.Module:
        """Return the network, which labels every pixel, without its weights."""
        from swath import spaces
        from swath.networks import segmentation
        from swath.spaces.base import InputSpec, OutputSpec

        if self.architecture is None:
            assert self.network is not None
            return segmentation.create(
                self.network["name"],
                len(self.bands),
                len(self.classes),
                **self.network["options"],
            )
        space = spaces.create(self.architecture.space, **self.space_options)
        return space.build_dense(
            self.architecture, InputSpec(len(self.bands)), OutputSpec(len(self.classes))
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {
            "architecture": self.architecture and json.loads(self.architecture.to_json()),
            "space_options": dict(self.space_options),
            "bands": list(self.bands),
            "available": self.available,
            "wavelengths": None if self.wavelengths is None else list(self.wavelengths),
            "scaling": self.scaling.to_dict(),
            "values": None if self.values is None else list(self.values),
            "classes": [dict(c) for c in self.classes],
            "sensor": self.sensor,
            "scene": self.scene,
            "network": None if self.network is None else dict(self.network),
            "context": self.context,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Model:
        """Read :meth:`to_dict`'s form."""
        return cls(
            data["architecture"] and Architecture.from_dict(data["architecture"]),
            data["space_options"],
            tuple(data["bands"]),
            data["available"],
            None if data["wavelengths"] is None else tuple(data["wavelengths"]),
            Scaling.from_dict(data["scaling"]),
            None if data["values"] is None else tuple(data["values"]),
            tuple(data["classes"]),
            data["sensor"],
            data["scene"],
            data.get("network"),
            data.get("context"),
        )


@dataclass(frozen=True)
class RunFolder:
    """The files of a run."""

    path: Path

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> RunFolder:
        """Open an existing run; raise :class:`RunError` where there is none."""
        folder = cls(expanded(path))
        if not folder.path.exists():
            there = folder.path.parent.glob("*/recipe.yaml")
            close = nearest(folder.path.name, (file.parent.name for file in there))
            raise RunError(f"there is no run folder {path}{close}")
        if not folder.recipe.is_file():
            raise RunError(f"{path} is no run folder: it has no recipe.yaml")
        return folder

    @classmethod
    def check(cls, path: str | os.PathLike[str], recipe: str) -> RunFolder:
        """Return the folder where a run could start or continue; write nothing.

        Raises
        ------
        RunError : it holds another run or other files, or cannot be written.
        """
        folder = cls(expanded(path))
        try:
            if folder.recipe.is_file():
                before = folder.recipe.read_text(encoding="utf-8")
                if before != recipe:
                    raise RunError(
                        f"{path} holds another run ({_difference(before, recipe)}); choose another "
                        "--out, or give the same command again to continue it"
                    )
            elif folder.path.is_dir() and any(not _unfinished(p) for p in folder.path.iterdir()):
                raise RunError(
                    f"{path} holds other files; choose an empty or new folder with --out"
                )
        except (OSError, UnicodeDecodeError) as error:
            raise RunError(f"cannot read {path} ({error}); choose another folder with --out") from (
                error
            )
        if folder.path.exists() and not folder.path.is_dir():
            raise RunError(f"{path} is a file; choose a folder with --out")
        check_writable(folder.recipe)
        return folder

    @classmethod
    def create(cls, path: str | os.PathLike[str], recipe: str) -> RunFolder:
        """Start a run, or continue the one of the same recipe; raise as :meth:`check` does."""
        folder = cls.check(path, recipe)
        if not folder.recipe.is_file():
            write_text(folder.recipe, recipe)
        return folder

    def check_scene(self, fingerprint: Mapping[str, Any]) -> None:
        """Compare a scene with the one the run was begun with, if it was begun.

        Parameters
        ----------
        fingerprint : of :meth:`swath.data.Scene.fingerprint`; of a fixed split also ``maps``.

        Raises
        ------
        RunError : they differ in size, pixels, labels or maps; the message says in which.
        """
        if not self.scene.is_file():
            return
        before = read_json(self.scene)
        for key, what in (
            ("shape", "rows, columns or bands"),
            ("pixels", "pixel values"),
            ("labels", "labels"),
            ("maps", "training and test maps"),
        ):
            if not isinstance(before, dict) or before.get(key) != fingerprint.get(key):
                raise RunError(
                    f"{self.path} holds a run that was begun with other {what} than those of "
                    f"{fingerprint['name']} now; choose another --out, or give the same scene and "
                    "labels to continue it"
                )

    def keep_scene(self, fingerprint: Mapping[str, Any]) -> None:
        """Write what :meth:`check_scene` compares with, unless it is there."""
        if not self.scene.is_file():
            write_json(self.scene, fingerprint)

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def scene(self) -> Path:
        """The fingerprint of the scene and its labels, or of the tiles."""
        return self.path / "scene.json"

    @property
    def search(self) -> Path:
        """Checkpoint and history of the search."""
        return self.path / "search"

    @property
    def training(self) -> Path:
        """Checkpoint and history of the final training."""
        return self.path / "training"

    @property
    def best(self) -> Path:
        """Architecture and model."""
        return self.path / "best"

    @property
    def log_file(self) -> Path:
        """Events, one a line."""
        return self.path / "log.jsonl"

    @property
    def metrics(self) -> Path:
        """Figures; written once all is measured, before the report."""
        return self.path / "metrics.json"

    @property
    def map(self) -> Path:
        """The class map."""
        return self.path / "map.tif"

    @property
    def report(self) -> Path:
        """The report."""
        return self.path / "report.html"

    @property
    def complete(self) -> bool:
        """Whether the run has come to its end."""
        return self.metrics.is_file() and self.report.is_file()

    def log(self, event: str, **facts: Any) -> None:
        """Append an event to ``log.jsonl``."""
        append_json_line(self.log_file, {"time": time.time(), "event": event, **facts})

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the events of a name in ``log.jsonl``, without a line that was cut short."""
        if not self.log_file.is_file():
            return []
        found = []
        for line in self.log_file.read_text("utf-8", errors="replace").splitlines():
            with contextlib.suppress(json.JSONDecodeError):
                found.append(json.loads(line))
        return [one for one in found if isinstance(one, dict) and one.get("event") == name]

    @contextlib.contextmanager
    def failures(self) -> Iterator[None]:
        """Write what ends the work inside to ``log.jsonl``, with its traceback, and pass it on."""
        try:
            yield
        except KeyboardInterrupt:
            with contextlib.suppress(RunError):
                self.log("stopped")
            raise
        except Exception as error:
            with contextlib.suppress(RunError):
                self.log("failed", error=str(error), traceback=traceback.format_exc())
            raise

    def save_model(self, model: Model, network: nn.Module) -> None:
        """Write ``best/``: the model's facts, then its weights with the same facts inside."""
        from swath.core.tensors import write_tensors
        from swath.networks.patchwise import patch_network

        facts = model.to_dict()
        state = patch_network(network).state_dict()
        weights = {k: v.detach().cpu().contiguous() for k, v in state.items()}
        write_tensors(self.best / "model.safetensors", weights, {"model": json.dumps(facts)})
        write_json(self.best / "model.json", facts)

    def load_model(self) -> tuple[Model, nn.Module]:
        """Return the model and its network with weights, in evaluation mode.

        Raises
        ------
        RunError : the run has no finished model, or its files are damaged.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        from swath.networks.patchwise import patch_network

        path = self.best / "model.safetensors"
        if not path.is_file():
            raise RunError(f"{self.path} has no trained model yet; run its command again to finish")
        facts = self.best / "model.json"
        try:
            model = Model.from_dict(read_json(facts))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{facts} is damaged or of another version: {error!r}") from error
        network = model.build()
        try:
            patch_network(network).load_state_dict(load_file(path))
        except (SafetensorError, RuntimeError, OSError) as error:
            raise RunError(f"{path} is damaged or of another version: {error}") from error
        return model, network.eval()

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run while working on it; a second process is refused.

        The lock belongs to the process: it is gone with it, however it ends.  What a killed process
        had half written is removed.
        """
        import fcntl

        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.path / ".lock", "w", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise RunError(f"{self.path} is in use by another process; wait for it") from None
            for left in self.path.rglob(".*"):
                if _unfinished(left):
                    left.unlink(missing_ok=True)
            yield


def _unfinished(file: Path) -> bool:
    """Whether a file is one of a run's that was being written beside its place."""
    names = (
        "architecture|checkpoint|history|map|map_index|metrics|model|operators|ranking|recipe"
        "|report|scene|split|stages|tiles"
    )
    return re.fullmatch(rf"\.({names})-[a-z0-9_]{{8}}\.\w+", file.name) is not None


def _difference(before: str, after: str) -> str:
    """Name the first key in which two resolved recipes differ, with its section."""
    try:
        old, new = (dict(_entries(yaml.safe_load(text))) for text in (before, after))
    except yaml.YAMLError:
        return "whose recipe.yaml is damaged"
    for key in [*new, *old]:
        there, here = (json.dumps(one.get(key), default=str) for one in (old, new))
        if there != here:
            return f"{key}: there {there}, here {here}"
    return "written otherwise"


def _entries(value: Any, above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the keys of nested mappings, with dots, and what they hold."""
    if not isinstance(value, dict) or not value:
        yield above, value
        return
    for key, one in value.items():
        yield from _entries(one, f"{above}.{key}" if above else str(key))
