"""Sets of patches."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from swath.core.errors import DataError
from swath.data.patch_set import ArrayPatches, PatchSet, Sensor


def array_set(labels: list[int], **changes: Any) -> PatchSet:
    given: dict[str, Any] = {
        "name": "toy",
        "source": ArrayPatches(np.arange(len(labels) * 4.0).reshape(-1, 1, 2, 2)),
        "labels": np.array(labels),
        "names": ("a", "b", "c"),
        "sensors": (Sensor("s", ("one",)),),
    }
    return PatchSet(**{**given, **changes})


def test_small_classes_are_left_out() -> None:
    left = array_set([2, 0, 2, 1, 0, 2]).without_small_classes(2)
    assert left.names == ("a", "c")
    assert left.labels.tolist() == [1, 0, 1, 0, 1]
    assert left.source.read(np.array([4, 0]))[:, 0, 0, 0].tolist() == [20, 0]
    assert left.notes == ("left out, with fewer than 2 patches: b (1)",)
    with pytest.raises(DataError, match="1 classes of toy have 3 patches or more"):
        array_set([2, 0, 2, 1, 0, 2]).without_small_classes(3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": ArrayPatches(np.zeros((3, 1, 2, 4)))}, "2 x 4; they must be square"),
        ({"source": ArrayPatches(np.zeros((4, 1, 2, 2)))}, "4 patches, but 3 labels"),
        ({"names": ("a", "b")}, "its 2 classes from 0 to 1"),
        ({"sensors": (Sensor("s", ("one", "two")),)}, "1 bands, but its sensors 2"),
    ],
)
def test_parts_that_do_not_fit_are_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        array_set([0, 1, 2], **changes)


def test_a_fingerprint_tells_sets_apart() -> None:
    one = array_set([0, 1, 2]).fingerprint()
    assert one == array_set([0, 1, 2]).fingerprint()
    assert one["shape"] == [3, 1, 2, 2]
    assert array_set([0, 2, 1]).fingerprint()["labels"] != one["labels"]
    assert array_set([0, 1, 2], names=("a", "b", "d")).fingerprint()["labels"] != one["labels"]
    other = ArrayPatches(np.ones((3, 1, 2, 2)))
    assert array_set([0, 1, 2], source=other).fingerprint()["pixels"] != one["pixels"]


def test_gaps_are_named_when_they_are_read() -> None:
    pixels = np.zeros((4, 2, 2, 2))
    pixels[2, 1, 0, 1] = np.inf
    source = ArrayPatches(pixels)
    assert source.read(np.array([3, 0])).dtype == np.float32
    with pytest.raises(DataError, match=r"patch 2 of the array holds NaN or infinite .* in band 1"):
        source.read(np.array([0, 2]))


def test_sensors_have_their_bands_of_the_stack() -> None:
    sensors = Sensor("s2", ("B2", "B3", "B4")), Sensor("s1", ("VV", "VH"))
    source = ArrayPatches(np.zeros((3, 5, 2, 2)))
    patches = array_set([0, 1, 2], source=source, sensors=sensors)
    assert patches.sensor_bands() == {"s2": slice(0, 3), "s1": slice(3, 5)}
