"""So2Sat LCZ42 as it is published."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swath.core.errors import DataError
from swath.data.so2sat import SO2SAT_CLASSES, SO2SAT_SENSORS, open_so2sat

Array = npt.NDArray[Any]


def so2sat(count: int = 40, side: int = 32) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {
        "sen1": rng.normal(size=(count, side, side, 8)),
        "sen2": rng.random((count, side, side, 10)),
        "label": np.eye(17)[rng.integers(0, 17, count)],
    }


def write_h5(path: Path, arrays: dict[str, Array]) -> Path:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array
    return path


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Array]]:
    arrays = so2sat()
    return write_h5(tmp_path_factory.mktemp("so2sat") / "training.h5", arrays), arrays


@pytest.mark.parametrize(
    ("sensors", "parts"),
    [
        (None, ("sen1", "sen2")),
        ("s1", ("sen1",)),
        ("s2", ("sen2",)),
        ("s1+s2", ("sen1", "sen2")),
        ("s2+s1", ("sen2", "sen1")),
    ],
)
def test_so2sat_is_read_as_published(
    published: tuple[Path, dict[str, Array]], sensors: str | None, parts: tuple[str, ...]
) -> None:
    path, arrays = published
    patches = open_so2sat(path, sensors)
    stacked = np.concatenate([arrays[name] for name in parts], axis=3).transpose(0, 3, 1, 2)
    found = patches.source.read(np.arange(patches.count))
    np.testing.assert_array_equal(found, stacked.astype(np.float32))
    assert found.dtype == np.float32
    assert patches.source.shape == stacked.shape
    np.testing.assert_array_equal(patches.labels, arrays["label"].argmax(1))
    assert patches.names == SO2SAT_CLASSES
    assert len(SO2SAT_CLASSES) == 17
    widths = {"sen1": 8, "sen2": 10}
    assert [len(sensor.bands) for sensor in patches.sensors] == [widths[name] for name in parts]


@given(places=st.lists(st.integers(0, 39), max_size=30))
def test_any_places_are_read_in_their_order(
    published: tuple[Path, dict[str, Array]], places: list[int]
) -> None:
    """Also backwards, twice, or none at all."""
    path, arrays = published
    some = np.array(places, np.int64)
    found = open_so2sat(path, "s2").source.read(some)
    expected = arrays["sen2"][some].transpose(0, 3, 1, 2).astype(np.float32)
    np.testing.assert_array_equal(found, expected)


def test_patches_are_read_by_index_alone(tmp_path: Path) -> None:
    """A file with room for 200 GB of patches, of which none was written: only what is asked for is
    read.
    """
    count = 3_000_000
    with h5py.File(tmp_path / "huge.h5", "w") as file:
        file.create_dataset("sen1", (count, 32, 32, 8), "f8", chunks=(1, 32, 32, 8))
        labels = file.create_dataset("label", (count, 17), "u1", chunks=(100_000, 17))
        labels[:, 3] = 1
    patches = open_so2sat(tmp_path / "huge.h5", "s1")
    assert patches.count == count
    assert not patches.source.read(np.array([5, count - 1])).any()
    assert pickle.loads(pickle.dumps(patches.source)).shape == patches.source.shape


def without(arrays: dict[str, Array], name: str) -> dict[str, Array]:
    return {key: value for key, value in arrays.items() if key != name}


def changed(arrays: dict[str, Array], name: str, index: Any, value: float) -> dict[str, Array]:
    array = arrays[name].copy()
    array[index] = value
    return {**arrays, name: array}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda a: without(a, "sen1"), "no dataset 'sen1'.*this file has: label, sen2"),
        (lambda a: {**a, "label": a["label"][:-3]}, "'sen1' .* 40 patches, but 'label' 37"),
        (lambda a: {**a, "sen2": a["sen2"][:-1]}, "'sen2' .* 39 patches, but 'label' 40"),
        (lambda a: {**a, "sen2": a["sen2"][..., :9]}, r"'sen2' .*\(40, 32, 32, 9\), not"),
        (lambda a: {**a, "label": a["label"][:, :16]}, r"\(40, 16\), not \(patches, 17\)"),
        (lambda a: {**a, "label": a["label"].argmax(1)}, r"\(40,\), not \(patches, 17\)"),
        (lambda a: {**a, "sen1": a["sen1"][:, ::2, ::2]}, "'sen1' .* 16 x 16 .*'sen2' .*32 x 32"),
        (lambda a: changed(a, "label", (7, slice(None)), 0), "row 7 of 'label' .* holds 0 ones"),
        (lambda a: changed(a, "label", (7, slice(2)), 1), "row 7 of 'label'"),
        (lambda a: changed(a, "label", (7, 3), 0.5), "row 7 of 'label'"),
    ],
)
def test_files_of_another_layout_are_refused(tmp_path: Path, damage: Any, message: str) -> None:
    path = write_h5(tmp_path / "training.h5", damage(so2sat()))
    with pytest.raises(DataError, match=message):
        open_so2sat(path)


def test_a_patch_with_nan_is_named_when_it_is_read(tmp_path: Path) -> None:
    damaged = changed(so2sat(), "sen2", (7, 1, 2, 4), np.nan)
    patches = open_so2sat(write_h5(tmp_path / "training.h5", damaged))
    assert np.isfinite(patches.source.read(np.array([6, 8]))).all()
    with pytest.raises(DataError, match=r"patch 7 of 'sen2' .* NaN .* in band 4"):
        patches.source.read(np.array([3, 7]))


def test_other_files_and_sensors_are_refused(
    tmp_path: Path, published: tuple[Path, dict[str, Array]]
) -> None:
    path, _ = published
    with pytest.raises(DataError, match="does not exist"):
        open_so2sat(tmp_path / "training.h5")
    np.save(tmp_path / "a.npy", np.zeros(3))
    with pytest.raises(DataError, match="is no HDF5 file"):
        open_so2sat(tmp_path / "a.npy")
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:5000])
    with pytest.raises(DataError, match="was it cut off"):
        open_so2sat(tmp_path / "cut.h5")
    with pytest.raises(DataError, match=r"no sensor 's3' .*s1, s2"):
        open_so2sat(path, "s1+s3")
    with pytest.raises(DataError, match="name one twice"):
        open_so2sat(path, "s1+s1")


def test_published_sensors_are_known() -> None:
    """8 channels of Sentinel-1, and those of 10 and 20 metres of Sentinel-2."""
    assert {name: len(sensor.bands) for name, sensor in SO2SAT_SENSORS.items()} == {
        "s1": 8,
        "s2": 10,
    }
