"""Maps by several processes against those of one."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from swath.core.errors import RecipeError, RunError
from swath.data.readers import open_scene
from swath.data.scaling import Scaling
from swath.data.scene import Scene
from swath.mapping.engine import predict
from swath.mapping.prediction import read_array
from swath.mapping.scenes import predict_scene
from swath.mapping.workers import spread
from swath.networks.patchwise import Patchwise


def network(bands: int = 3) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(bands, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3, padding=1)
    )


def stored(folder: Path) -> Scene:
    import rasterio

    cube = np.random.default_rng(0).normal(size=(3, 150, 60)).astype(np.float32)
    profile = {"driver": "GTiff", "height": 150, "width": 60, "count": 3, "dtype": "float32"}
    with rasterio.open(folder / "scene.tif", "w", **profile) as file:
        file.write(cube)
    return open_scene(folder / "scene.tif", check=False)


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_two_processes_map_as_one(tmp_path: Path) -> None:
    scene = stored(tmp_path)
    scaling = Scaling("standard", (0.1,) * 3, (2.0,) * 3)
    one = predict_scene(network(), scene, scaling=scaling)
    calls: list[tuple[int, int]] = []
    two = predict_scene(
        network(), scene, scaling=scaling, workers=2, progress=lambda *call: calls.append(call)
    )
    np.testing.assert_allclose(two, one, atol=1e-6)
    np.testing.assert_array_equal(two.argmax(2), one.argmax(2))
    assert len(calls) > 1
    assert calls[-1][0] == calls[-1][1]


def test_a_patch_network_is_shared_too() -> None:
    torch.manual_seed(0)
    inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4, 5))
    pixels = np.random.default_rng(0).normal(size=(90, 20, 3)).astype(np.float32)
    read = read_array(pixels)
    one = predict(Patchwise(inner, 3), read, pixels.shape).array()
    two = predict(Patchwise(inner, 3), read, pixels.shape, workers=2, window=32).array()
    np.testing.assert_allclose(two, one, atol=1e-6)


def test_other_modes_stay_in_one_process_and_say_so() -> None:
    pixels = np.zeros((40, 40, 3), dtype=np.float32)
    prediction = predict(network(), read_array(pixels), pixels.shape, mode="ov", workers=2)
    assert "mapped in this process" in prediction.notes[0]


def test_what_cannot_be_sent_and_who_does_not_answer() -> None:
    pixels = np.zeros((40, 40, 3), dtype=np.float32)
    there = read_array(pixels)
    here = predict(network(), lambda r, c: there(r, c), pixels.shape, workers=2)
    with pytest.raises(RecipeError, match="cannot be sent to workers"):
        here.array()
    with pytest.raises(RecipeError, match="'workers'"):
        predict(network(), there, pixels.shape, workers=0)


def _die(part: int) -> int:
    if part == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return part


def test_a_worker_that_is_killed_is_one_clear_error() -> None:
    with pytest.raises(RunError, match="use fewer workers"):
        list(spread(_die, range(6), workers=1))


@pytest.mark.slow
def test_a_dask_cluster_maps_as_one_process(tmp_path: Path) -> None:
    import distributed

    pixels = np.random.default_rng(0).normal(size=(90, 20, 3)).astype(np.float32)
    one = predict(network(), read_array(pixels), pixels.shape).array()
    with distributed.LocalCluster(  # type: ignore[no-untyped-call]
        n_workers=1, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        two = predict(
            network(),
            read_array(pixels),
            pixels.shape,
            window=32,
            scheduler=cluster.scheduler_address,
        ).array()
    np.testing.assert_allclose(two, one, atol=1e-6)
    with pytest.raises(RunError, match="no Dask scheduler answers"):
        predict(network(), read_array(pixels), pixels.shape, scheduler="tcp://127.0.0.1:9").array()
