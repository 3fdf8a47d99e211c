"""The published recipes of SEG101 take folders as they are published; their networks are built."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tile_files import image, mask, write

from swath import spaces, strategies
from swath.core.errors import DataError
from swath.spaces.base import InputSpec, OutputSpec
from swath.study.recipes import load_recipe, resolve
from swath.study.tile_tasks import TileTaskSettings, make_tile_task
from swath.training.loop import TrainingSettings

LAYOUTS = {
    "seg101-massachusetts": ("massachusetts-roads", "tiff/{}", "tiff/{}_labels", ".tiff", ".tif"),
    "seg101-whu": ("whu-building", "{}/image", "{}/label", ".tif", ".tif"),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_published_recipe_takes_the_published_folders(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SWATH_CACHE", str(tmp_path))
    monkeypatch.delenv("SWATH_DATA", raising=False)
    key, images, masks, *ends = LAYOUTS[name]
    recipe = resolve(load_recipe(name), overrides=["task.tile=16"])
    assert isinstance(recipe.task, TileTaskSettings)
    with pytest.raises(DataError, match="put the folders"):
        make_tile_task(recipe.task, 0)
    for part, count in (("train", 3), ("val", 1), ("test", 2)):
        for number in range(count):
            file = f"{part}{number}"
            write(tmp_path / key / images.format(part) / (file + ends[0]), image(number, 40, 40))
            write(tmp_path / key / masks.format(part) / (file + ends[1]), mask(number, 40, 40))
    task = make_tile_task(recipe.task, 0)
    assert task.split.protocol == "folders"
    # 40 pixels hold two tiles of 16 and, where they may overlap, a third
    assert (task.count("train"), task.count("validation")) == (27, 9)
    assert int(task.split.test.sum()) == 18
    assert task.tiles.classes.original == (0, 255)


@pytest.mark.parametrize(("name", "tiles"), [("seg101-massachusetts", 8076), ("seg101-whu", 4736)])
def test_epochs_and_network_are_as_published(name: str, tiles: int) -> None:
    """20 epochs in the search, 100 for the first five; SPEC's backbone of 32 to 384 channels."""
    recipe = resolve(load_recipe(name))
    training, study = recipe.training, recipe.study
    assert isinstance(training, TrainingSettings)
    assert study is not None
    assert (study.trials, study.retrain) == (200, 5)
    assert study.iterations * training.batch == 20 * tiles
    assert training.iterations * training.batch == 100 * tiles
    # 1000 updates of warm-up from a thousandth of the rate, in the search as in the end
    for iterations in (study.iterations, training.iterations):
        phase = replace(training, iterations=iterations)
        assert phase.rate(0.0) == pytest.approx(training.learning_rate / 1000)
        assert phase.rate(1000 / iterations) == pytest.approx(training.learning_rate)
        assert phase.rate(900 / iterations) < training.learning_rate
    # SEG101's predictor: one layer behind the mean, 600 epochs, batches of 16
    predictor = strategies.create(
        study.strategy.name, **study.strategy.options
    )._predictor_options()
    assert (predictor.head, predictor.epochs, predictor.batch) == ("seg101", 600, 16)
    space = spaces.create(recipe.space.name, **recipe.space.options)
    assert isinstance(space, spaces.registry.get("seg101"))
    assert space.backbone.widths == (32, 64, 160, 384)
    with torch.device("meta"):
        network = space.build(space.sample(np.random.default_rng(0)), InputSpec(3), OutputSpec(2))
        assert network.eval()(torch.empty(1, 3, 64, 64)).shape == (1, 2, 64, 64)
