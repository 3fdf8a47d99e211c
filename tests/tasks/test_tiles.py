"""The tiles task: what is read of it, its crops, and where its test labels stay."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from tile_files import image, mask, write, write_set
from torch import nn

from swath.core.errors import MismatchError, RecipeError, SplitError
from swath.data.scaling import fit_scaling
from swath.data.scene import array_scene
from swath.data.tile_folders import open_tiles
from swath.data.tile_set import TileSet
from swath.tasks.metrics import scores
from swath.tasks.tile_splits import random_tile_split
from swath.tasks.tiles import TileSampler, TileTask, fit_tile_scaling


def make(tiles: TileSet, memory: int = 2**31, **sizes: int) -> TileTask:
    split = random_tile_split(tiles, 0, **({"test": 2, "validation": 2} | sizes))
    return TileTask(tiles, split, fit_tile_scaling(tiles, split), memory)


@pytest.fixture
def tiles(tmp_path: Path) -> TileSet:
    write_set(tmp_path / "images", tmp_path / "masks", 8, size=(20, 17))
    return open_tiles(tmp_path)


def test_the_scaling_is_of_the_training_tiles_alone(tiles: TileSet) -> None:
    task = make(tiles)
    pixels = np.concatenate(
        [tiles.read(int(n))[0].reshape(-1, 3) for n in np.flatnonzero(task.split.train)]
    )
    np.testing.assert_allclose(task.scaling.offset, pixels.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(task.scaling.scale, pixels.std(axis=0), rtol=1e-5)
    for kind in ("max", "minmax", "none"):
        one = fit_tile_scaling(tiles, task.split, kind)
        assert one == fit_scaling(array_scene(pixels[:, None]), kind)


def test_scaling_and_tiles_of_other_sizes(tmp_path: Path) -> None:
    for n, (rows, columns) in enumerate([(9, 7), (4, 12), (8, 8), (5, 5)]):
        write(tmp_path / "images" / f"{n}.png", image(n, rows, columns))
        write(tmp_path / "masks" / f"{n}.png", mask(n, rows, columns))
    task = make(open_tiles(tmp_path), test=1, validation=1)
    pixels = np.concatenate(
        [task.tiles.read(int(n))[0].reshape(-1, 3) for n in np.flatnonzero(task.split.train)]
    )
    np.testing.assert_allclose(task.scaling.offset, pixels.mean(axis=0), rtol=1e-5)
    sampler = TileSampler(task, 0, 6, (0.75, 1.0, 1.5))
    assert sampler.batch(5, 0)[0].shape == (5, 3, 6, 6)
    predictions = [np.zeros(x.shape[1:], int) for x in task.test_images()]
    assert task.test_confusion(predictions).sum() == predictions[0].size


@pytest.mark.parametrize("memory", [2**31, 0])
def test_tiles_are_read_as_they_are(tiles: TileSet, memory: int) -> None:
    task = make(tiles, memory)
    assert task.kept == bool(memory)
    task.load()
    assert (task.bands, task.classes, task.patch) == (3, 2, None)
    assert (task.count("train"), task.count("validation")) == (4, 2)
    for part, places in (("train", task.split.train), ("validation", task.split.validation)):
        for index, place in enumerate(np.flatnonzero(places)):
            x, y = task.read(part, index)  # type: ignore[arg-type]
            pixels, labels = tiles.read(int(place))
            expected = (pixels - np.array(task.scaling.offset)) / np.array(task.scaling.scale)
            np.testing.assert_allclose(x, np.moveaxis(expected, 2, 0), rtol=1e-4, atol=1e-5)
            assert (x.dtype, y.dtype) == (torch.float32, torch.int64)
            np.testing.assert_array_equal(y, labels)


def test_memory_is_counted_in_the_type_of_the_files(tiles: TileSet) -> None:
    needed = (4 + 2) * 20 * 17 * (3 * 1 + 1)
    assert make(tiles, needed).kept
    assert not make(tiles, needed - 1).kept


def test_the_test_confusion_counts_every_pixel_once(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", 6, size=(20, 17))
    task = make(open_tiles(tmp_path, tile=8))
    images = np.unique(task.tiles.groups[task.split.test])
    truth = np.concatenate([mask(int(n), 20, 17).ravel() > 0 for n in images])
    places = np.flatnonzero(task.split.test)
    perfect = [task.tiles.read(int(n))[1] for n in places]
    np.testing.assert_array_equal(task.test_confusion(perfect), np.diag(np.bincount(truth)))
    found = scores(task.test_confusion(np.ones_like(p) for p in perfect))
    assert found.target_iou == pytest.approx(truth.mean())
    assert len(list(task.test_images())) == len(places) == 2 * 9
    # The same of validation tiles, and all labels of training tiles.
    labels = [task.read("validation", n)[1] for n in range(task.count("validation"))]
    assert sum(int((y >= 0).sum()) for y in labels) == 2 * 20 * 17
    assert (task.read("train", 8)[1] >= 0).all()
    with pytest.raises(MismatchError, match="3 predictions were given for 18"):
        task.test_confusion(perfect[:3])
    with pytest.raises(MismatchError, match="more predictions"):
        task.test_confusion([*perfect, perfect[0]])
    with pytest.raises(ValueError, match="shape"):
        task.test_confusion([p[1:] for p in perfect])


def test_training_and_selection_never_read_a_test_file(tiles: TileSet) -> None:
    task = make(tiles)
    for n in np.unique(tiles.groups[task.split.test]):
        tiles.images[n].image.unlink()
        tiles.images[n].mask.unlink()
    for memory in (2**31, 0):
        fresh = dataclasses.replace(
            task, memory=memory, scaling=fit_tile_scaling(tiles, task.split)
        )
        fresh.load()
        TileSampler(fresh, 0, 8).batch(6, 0)
        for n in range(fresh.count("validation")):
            fresh.read("validation", n)


def test_what_does_not_fit_together(tiles: TileSet) -> None:
    task = make(tiles)
    with pytest.raises(MismatchError, match="fitted on 2 bands"):
        dataclasses.replace(task, scaling=fit_scaling(array_scene(np.ones((2, 2, 2)))))
    with pytest.raises(SplitError, match="split is of 8 tiles"):
        dataclasses.replace(task, tiles=dataclasses.replace(tiles, windows=tiles.windows[:5]))
    for wrong in ({"size": 0}, {"scales": ()}, {"scales": (1.0, -1.0)}):
        with pytest.raises(RecipeError, match="make no sense"):
            TileSampler(**({"task": task, "size": 4, "seed": 0} | wrong))
    with pytest.raises(RecipeError, match="did you mean 'horizontal'"):
        TileSampler(task, 0, 4, orientations="horizontl")  # type: ignore[arg-type]


def find(task: TileTask, x: torch.Tensor, y: torch.Tensor, turned: bool) -> int:
    """How many places of the training tiles show a crop, in any orientation if ``turned``."""
    size = x.shape[1]
    hits = 0
    for flips in ((), (2,)):
        for turns in range(4 if turned else 1):
            back = torch.rot90(x.flip(flips) if flips else x, turns, (1, 2))
            back_y = torch.rot90(y.flip(1) if flips else y, turns, (0, 1))
            for n in range(task.count("train")):
                pixels, labels = task.read("train", n)
                windows = pixels.unfold(1, size, 1).unfold(2, size, 1)
                same = (windows == back[:, None, None]).all(dim=(0, 3, 4))
                for top, left in same.nonzero().tolist():
                    known = labels[top : top + size, left : left + size]
                    hits += int(torch.equal(known, back_y))
    return hits


@pytest.mark.parametrize("memory", [2**31, 0])
def test_crops_are_of_training_tiles_with_their_labels(tiles: TileSet, memory: int) -> None:
    task = make(tiles, memory)
    x, y = TileSampler(task, 5, 7).batch(9, 2, augmented=False)
    assert x.shape == (9, 3, 7, 7)
    assert y.shape == (9, 7, 7)
    for one, labels in zip(x, y, strict=True):
        assert find(task, one, labels, turned=False) == 1
    x, y = TileSampler(task, 5, 7).batch(6, 2)
    assert all(find(task, *pair, turned=True) == 1 for pair in zip(x, y, strict=True))
    x, y = TileSampler(task, 5, 7, orientations="horizontal").batch(6, 2)
    assert all(find(task, *pair, turned=False) == 1 for pair in zip(x, y, strict=True))


def test_a_batch_is_a_function_of_seed_and_step(tiles: TileSet) -> None:
    task = make(tiles)
    sampler = TileSampler(task, 3, 9, (0.75, 1.0, 1.5))
    later = [sampler.batch(4, step) for step in (5, 0, 5)]
    streamed = TileSampler(make(tiles, 0), 3, 9, (0.75, 1.0, 1.5)).batch(4, 5)
    for one, other in ((later[0], later[2]), (later[0], streamed)):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert not torch.equal(later[0][0], later[1][0])
    assert not torch.equal(TileSampler(task, 4, 9).batch(4, 5)[0], later[0][0])


def test_each_tile_is_drawn_once_before_any_is_again(tmp_path: Path) -> None:
    for n in range(12):
        write(tmp_path / "images" / f"{n:02d}.png", np.full((6, 6, 1), n, np.uint8))
        write(tmp_path / "masks" / f"{n:02d}.png", mask(n, 6, 6))
    tiles = open_tiles(tmp_path)
    task = make(tiles)
    sampler = TileSampler(task, 0, 6)
    drawn = torch.cat([sampler.batch(4, step)[0][:, 0, 0, 0] for step in range(6)])
    assert len(drawn[:8].unique()) == len(drawn[8:16].unique()) == len(drawn[16:].unique()) == 8
    assert not torch.equal(drawn[:8], drawn[8:16])


@pytest.mark.parametrize("scale", [0.5, 2.0, 0.75])
def test_scaled_crops_are_resized_crops(tmp_path: Path, scale: float) -> None:
    # Values that grow along the rows alone, so that bilinear resizing has a closed form.
    rows = np.repeat(np.arange(64, dtype=np.float32)[:, None, None], 64, axis=1)
    for n in range(3):
        write(tmp_path / "images" / f"{n}.tif", rows)
        write(tmp_path / "masks" / f"{n}.tif", (rows[:, :, 0] % 2).astype(np.uint8))
    tiles = open_tiles(tmp_path)
    split = random_tile_split(tiles, 0, test=1, validation=1)
    task = TileTask(tiles, split, fit_tile_scaling(tiles, split, "none"))
    sampler = TileSampler(task, 0, 12, (scale,), orientations="horizontal")
    for step in range(5):
        x, y = sampler.batch(1, step)
        steps = np.diff(x[0, 0, :, 0].numpy())[1:-1]
        np.testing.assert_allclose(steps, round(12 / scale) / 12, rtol=1e-4)
        # A class is that of the image row nearest to the place.
        inner = x[0, 0, 1:-1, 0].numpy()
        clear = np.abs(inner - np.round(inner)) < 0.4
        np.testing.assert_array_equal(
            y[0, 1:-1, 0].numpy()[clear], np.round(inner[clear]).astype(int) % 2
        )


def test_small_images_are_mirrored_without_labels(tmp_path: Path) -> None:
    write_set(tmp_path / "images", tmp_path / "masks", 4, size=(5, 6))
    task = make(open_tiles(tmp_path), test=1, validation=1)
    x, y = TileSampler(task, 0, 9).batch(8, 0, augmented=False)
    for crop, labels in zip(x, y, strict=True):
        inside = labels >= 0
        assert inside.sum() == 5 * 6
        top, left = (int(n) for n in inside.nonzero()[0])
        centre = crop[:, top : top + 5, left : left + 6]
        ends = [(0, 0), (top, 9 - 5 - top), (left, 9 - 6 - left)]
        np.testing.assert_array_equal(crop, np.pad(centre.numpy(), ends, mode="symmetric"))


def test_crops_show_a_label_though_hardly_any_is_there(tmp_path: Path) -> None:
    for n in range(4):
        labels = np.full((80, 90), 9, np.uint8)
        labels[n, 2 * n : 2 * n + 2] = 0, 1
        if n == 3:
            labels[:3] = 9
            labels[79, 88:] = 0, 1
        write(tmp_path / "images" / f"{n}.png", image(n, 80, 90))
        write(tmp_path / "masks" / f"{n}.png", labels)
    task = make(open_tiles(tmp_path, ignore=[9]), test=1, validation=1)
    for step in range(20):
        _, y = TileSampler(task, 0, 5).batch(4, step)
        assert (y >= 0).flatten(1).any(dim=1).all()


def test_a_network_learns_real_roads(swath_data: Path) -> None:
    """A few convolutions beat the share of the larger class: images and masks belong together."""
    tiles = open_tiles(swath_data / "epfl_roads", threshold=127, names=("background", "road"))
    split = random_tile_split(tiles, 0, test=10, validation=10)
    task = TileTask(tiles, split, fit_tile_scaling(tiles, split))
    task.load()
    torch.manual_seed(0)
    network = nn.Sequential(
        *(nn.Conv2d(3, 16, 5, 4, 2), nn.BatchNorm2d(16), nn.ReLU()),
        *(nn.Conv2d(16, 32, 3, 1, 1), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 32, 3, 1, 2, 2), nn.BatchNorm2d(32), nn.ReLU()),
        *(nn.Conv2d(32, 2, 1), nn.Upsample(scale_factor=4, mode="bilinear")),
    )
    optimiser = torch.optim.Adam(network.parameters(), 1e-2)
    weights = torch.tensor([1.0, 3.0])  # roads are a fifth
    sampler = TileSampler(task, 0, 128, (0.75, 1.0, 1.5))
    for step in range(60):
        x, y = sampler.batch(8, step)
        loss = nn.functional.cross_entropy(network(x), y, weights, ignore_index=-1)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    network.eval()
    with torch.no_grad():
        matrix = task.test_confusion(
            network(x[None])[0].argmax(0).numpy() for x in task.test_images()
        )
    found = scores(matrix)
    assert matrix.sum() == 10 * 400 * 400
    majority = max(found.support) / sum(found.support)
    assert found.miou > majority / 2 + 0.05  # all background: (majority + 0) / 2
