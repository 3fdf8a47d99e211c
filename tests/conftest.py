"""What all tests share: the folder of real data, and how property tests run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from swath.tasks.patches import PatchTask
    from swath.tasks.scene import SceneTask

sys.path.insert(0, str(Path(__file__).parent))  # where tests share helpers: tile_files

# No time limit for an example, since machines differ; in CI the same examples in every run.
settings.register_profile("swath", deadline=None, derandomize=bool(os.environ.get("CI")))
settings.load_profile("swath")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Let torch, where it is imported, compute with one thread: small tensors gain from it."""
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def swath_data() -> Path:
    """The folder ``$SWATH_DATA``; its tests skip without it, but fail where ``$CI`` is set."""
    folder = os.environ.get("SWATH_DATA")
    if folder and Path(folder).is_dir():
        return Path(folder).resolve()
    reason = f"SWATH_DATA is no folder: {folder}" if folder else "SWATH_DATA is not set"
    if os.environ.get("CI"):
        pytest.fail(f"{reason}; tests on real data may not be skipped in CI")
    pytest.skip(f"{reason}: real data are missing")


@pytest.fixture(scope="session")
def make_task() -> Callable[..., SceneTask]:
    """Return a function that makes small scene tasks; the same arguments give the same task."""

    def make(
        rows: int = 16,
        columns: int = 14,
        bands: int = 9,
        *,
        classes: int = 3,
        train: int = 5,
        validation: int = 6,
        spatial: bool = False,
        seed: int = 0,
    ) -> SceneTask:
        import numpy as np

        from swath.data.scaling import fit_scaling
        from swath.data.scene import array_scene
        from swath.tasks.scene import SceneTask
        from swath.tasks.splits import random_split, spatial_split

        rng = np.random.default_rng(seed)
        labels = rng.integers(0, classes + 1, (rows, columns))
        means = rng.normal(size=(classes + 1, bands))
        cube = means[labels] + 0.3 * rng.normal(size=(rows, columns, bands))
        scene = array_scene(cube.astype(np.float32), labels, name="toy")
        assert scene.labels is not None
        options: dict[str, Any] = {"block": 4, "guard": 1} if spatial else {}
        split = (spatial_split if spatial else random_split)(
            scene.labels, train, validation, seed, **options
        )
        return SceneTask(scene, split, fit_scaling(scene, "standard"))

    return make


@pytest.fixture(scope="session")
def make_patch_task() -> Callable[..., PatchTask]:
    """Return a function that makes small tasks of patches; the same arguments, the same task."""

    def make(
        count: int = 60, side: int = 6, *, classes: int = 3, seed: int = 0, **options: Any
    ) -> PatchTask:
        import numpy as np

        from swath.data.patch_set import ArrayPatches, PatchSet, Sensor
        from swath.tasks.patch_splits import random_patch_split
        from swath.tasks.patches import PatchTask, fit_patch_scaling

        rng = np.random.default_rng(seed)
        sensors = Sensor("s1", ("VV", "VH")), Sensor("s2", ("B2", "B3", "B4"))
        labels = np.arange(count) % classes
        means = 3 * rng.normal(size=(classes, 5))
        pixels = means[labels][:, :, None, None] + rng.normal(size=(count, 5, side, side))
        names = tuple(f"class {number}" for number in range(classes))
        patches = PatchSet("toy", ArrayPatches(pixels), labels, names, sensors)
        split = random_patch_split(patches, seed)
        return PatchTask(patches, split, fit_patch_scaling(patches, split), **options)

    return make
