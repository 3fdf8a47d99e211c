from __future__ import annotations

import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError, safe_open

from swath.core.errors import RunError
from swath.core.tensors import write_tensors


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("kind", ["numpy", "torch"])
def test_tensors_and_metadata_come_back(tmp_path: Path, kind: str) -> None:
    values = np.arange(6, dtype=np.float32).reshape(2, 3)
    tensor = values if kind == "numpy" else torch.from_numpy(values)
    write_tensors(tmp_path / "a.safetensors", {"x": tensor}, {"about": "Zürich"})
    with safe_open(tmp_path / "a.safetensors", framework="numpy") as file:
        assert file.metadata() == {"about": "Zürich"}
        np.testing.assert_array_equal(file.get_tensor("x"), values)
    assert contents(tmp_path).keys() == {"a.safetensors"}


@pytest.mark.parametrize("large", [np.zeros(10_000), torch.zeros(10_000)])
def test_a_file_that_cannot_grow_leaves_the_earlier_one(tmp_path: Path, large: object) -> None:
    path = tmp_path / "a.safetensors"
    write_tensors(path, {"x": np.zeros(3)})
    before = contents(tmp_path)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RunError, match=r"cannot write .*a\.safetensors"):
            write_tensors(path, {"x": large})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert contents(tmp_path) == before


def test_a_full_disk_is_called_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("Error: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.numpy.save_file", full)
    with pytest.raises(RunError, match="the disk is full"):
        write_tensors(tmp_path / "a.safetensors", {"x": np.zeros(3)})
    assert contents(tmp_path) == {}


def test_what_is_no_tensor_is_the_callers_mistake(tmp_path: Path) -> None:
    with pytest.raises((RunError, TypeError, ValueError)):
        write_tensors(tmp_path / "a.safetensors", {"x": "text"})
    assert contents(tmp_path) == {}
