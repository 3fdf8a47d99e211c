"""What a run hands from one phase to the next."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from swath.api.resolving import resolve_call
from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture
from swath.spaces.hsi3d import HSI3D
from swath.study.models import value_range
from swath.study.phases import find_architecture
from swath.study.recipes import Recipe
from swath.study.run import RunFolder
from swath.tasks.scene import SceneTask

MakeTask = Callable[..., SceneTask]


def test_a_given_architecture_is_taken_as_it_is(make_task: MakeTask, tmp_path: Path) -> None:
    """Also where its genes are written in another order: it is the same architecture."""
    space = HSI3D()
    architecture = space.sample(np.random.default_rng(0))
    genes = dict(reversed(architecture.genes))
    recipe = Recipe(architecture={"space": "hsi3d", "genes": genes})
    found, seconds = find_architecture(
        space, make_task(), recipe, RunFolder(tmp_path), torch.device("cpu"), lambda event: None
    )
    assert (found, seconds) == (architecture, 0.0)
    assert not (tmp_path / "search").exists()
    kept = json.loads((tmp_path / "best" / "architecture.json").read_text())
    assert kept["key"] == architecture.key
    assert Architecture.from_dict(kept) == architecture


def test_a_given_architecture_must_be_of_the_space(make_task: MakeTask, tmp_path: Path) -> None:
    recipe = Recipe(architecture={"space": "hsi3d", "genes": {"cell0.width": 0}})
    with pytest.raises(InvalidArchitecture, match="is missing"):
        find_architecture(
            HSI3D(),
            make_task(),
            recipe,
            RunFolder(tmp_path),
            torch.device("cpu"),
            lambda event: None,
        )
    assert list(tmp_path.iterdir()) == []


def test_the_range_of_values(make_task: MakeTask) -> None:
    task = make_task(40, 30)
    low, high = value_range(task.scene)
    expected = np.percentile(task.scene.read(), (2, 98))
    assert (low, high) == pytest.approx(tuple(expected), abs=0.2)


def test_settings_left_unset_change_nothing() -> None:
    def resolved(**settings: object) -> Recipe:
        return resolve_call(settings, scene="a.tif")

    unset = dict.fromkeys(("train", "validation", "split", "seed", "device", "labels", "block"))
    assert resolved(**unset) == resolved()
    assert resolved(train=3, seed=None).task.train == 3
    assert resolved(seed=9).seed == 9
