"""The Python API: what it takes as a scene and labels, and which run it continues."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import swath
from swath import api
from swath.core.errors import DataError, RunError, SplitError
from swath.data.scene import Scene, array_scene
from swath.study.recipes import resolve

# A run of a second or two.
TINY = [
    "space.options={base_width: 2, stem_width: 4, head_width: 8, nodes: 1}",
    *(f"search.{x}" for x in ("width=2", "epochs=2", "warmup=1", "steps=1", "window=8", "batch=2")),
    *(f"training.{x}" for x in ("iterations=2", "validate_every=2", "window=8", "batch=2")),
    "mapping.also=[]",
]


def scene(seed: int = 0) -> Scene:
    rng = np.random.default_rng(seed)
    labels = np.tile(1 + np.arange(16) // 8, (16, 1))
    return array_scene(rng.normal(labels[..., None], 0.1, (16, 16, 6)), labels, name="mine")


def search(out: Path, given: Scene, progress: Any = None, **settings: Any) -> swath.Run:
    return swath.search(
        given,
        out=out,
        split="random",
        train=5,
        validation=5,
        overrides=TINY,
        progress=progress,
        **settings,
    )


def stop(event: dict[str, Any]) -> None:
    if event["phase"] == "search":
        raise KeyboardInterrupt


def test_a_run_is_continued_on_its_own_scene_alone(tmp_path: Path) -> None:
    """Arrays have no path that would tell them apart: two of one name may hold other pixels."""
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path, scene(0), stop)
    before = {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()}
    with pytest.raises(RunError, match="begun with other pixel values than those of mine now"):
        search(tmp_path, scene(1))
    labels = scene(0).labels
    assert labels is not None
    turned = np.where(labels.values[:, ::-1] > 0, 9, 7)
    with pytest.raises(RunError, match="begun with other labels"):
        swath.search(
            scene(0), turned, out=tmp_path, split="random", train=5, validation=5, overrides=TINY
        )
    assert {p: p.read_bytes() for p in tmp_path.rglob("*") if p.is_file()} == before
    said: list[str] = []
    run = search(tmp_path, scene(0), lambda event: said.append(event["phase"]))
    assert "resume" in said
    assert run.metrics["scene"]["name"] == "mine"
    # finished: returned for its own scene, refused for another
    assert search(tmp_path, scene(0)).architecture == run.architecture
    with pytest.raises(RunError, match="begun with other pixel values"):
        search(tmp_path, scene(1))


def test_a_split_without_validation_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    """Classes of one training label each have none to give to validation, even when halved."""
    train, test = np.zeros((2, 16, 16), np.uint8)
    train[0, [0, 15]] = test[1] = 1
    for name, given in (("train", train), ("test", test)):
        np.save(tmp_path / f"{name}.npy", given)
    with pytest.raises(SplitError, match="the fixed split leaves no validation label"):
        swath.search(
            scene(),
            out=tmp_path / "run",
            split="fixed",
            small_classes="halve",
            train_map=str(tmp_path / "train.npy"),
            test_map=str(tmp_path / "test.npy"),
        )
    assert not (tmp_path / "run").exists()


def test_bands_and_label_settings_hold_for_open_scenes_too(tmp_path: Path) -> None:
    given = scene()
    recipe = resolve({"task": {"bands": "0-2,5", "label_variable": "gt", "unlabelled": [0, 2]}})
    opened = api._open(given, None, recipe)
    assert opened.bands == (0, 1, 2, 5)
    assert opened.labels is given.labels
    with pytest.raises(DataError, match="has no band 7"):
        api._open(given, None, resolve({"task": {"bands": "7"}}))
    values = np.arange(256).reshape(16, 16) % 4
    np.savez(tmp_path / "maps.npz", gt=values, other=values)
    for labels in (tmp_path / "maps.npz", values, values.tolist()):
        found = api._open(given, labels, recipe).labels
        assert found is not None
        assert found.original == (1, 3)
