"""The strips of a scene: chosen among candidates, in bounded time, once."""

from __future__ import annotations

import time

import pytest
from torch import nn

from swath.mapping import tiles
from swath.mapping.tiles import Tiling, choose_tiling
from swath.networks.inference import Inference


def form() -> Inference:
    return Inference(nn.Sequential(nn.Conv2d(3, 4, 3, padding=1)), 3)


def test_small_scenes_go_whole_and_unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "_fastest", None)  # would be an error if it were called
    assert choose_tiling(form(), 300, 256) == Tiling(256, 16)
    assert choose_tiling(form(), 20, 4096) == Tiling(512, 8)


def test_large_scenes_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tried: list[tuple[int, int]] = []

    def seconds(form: Inference, rows: int, width: int) -> float:
        tried.append((rows, width))
        return rows * width * (1.0 if width == 512 + 2 and rows == 4 else 2.0)

    monkeypatch.setattr(tiles, "_seconds", seconds)
    monkeypatch.setattr(tiles, "_known", {})
    assert choose_tiling(form(), 20_000, 20_000) == Tiling(512, 4)
    count = len(tried)
    assert count > 4
    assert choose_tiling(form(), 30_000, 20_000) == Tiling(512, 4)
    assert len(tried) == count


def test_the_measurement_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    def seconds(form: Inference, rows: int, width: int) -> float:
        time.sleep(0.05)
        return 1.0

    monkeypatch.setattr(tiles, "_seconds", seconds)
    monkeypatch.setattr(tiles, "_known", {})
    monkeypatch.setattr(tiles, "_SECONDS", 0.01)
    begun = time.perf_counter()
    choose_tiling(form(), 20_000, 20_000)
    assert time.perf_counter() - begun < 0.5
