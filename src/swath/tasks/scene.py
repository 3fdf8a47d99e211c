"""The scene task: one image, sparse pixel labels, and a split of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.data.labels import LabelMap
from swath.data.scaling import Scaling
from swath.data.scene import Scene
from swath.tasks.base import Criterion, Part
from swath.tasks.metrics import confusion
from swath.tasks.splits import Split

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["SceneTask"]


@dataclass(frozen=True, eq=False)
class SceneTask:
    """What a network is to learn: label every pixel of a scene from a few labelled ones.

    Training and selection read :meth:`targets`, which holds no test label.  Test labels are read
    in :meth:`test_confusion` alone.

    Parameters
    ----------
    scene : with labels.
    split : of the scene's labels.
    scaling : of the scene's bands.
    """

    scene: Scene
    split: Split
    scaling: Scaling

    def __post_init__(self) -> None:
        if self.scene.labels is None:
            raise DataError(f"{self.scene.name} has no labels; give a label map to learn from")

    @property
    def labels(self) -> LabelMap:
        """The label map."""
        assert self.scene.labels is not None
        return self.scene.labels

    @property
    def bands(self) -> int:
        """Number of bands."""
        return self.scene.shape[2]

    @property
    def classes(self) -> int:
        """Number of classes."""
        return self.labels.classes

    @property
    def patch(self) -> None:
        """None: pixels have classes."""
        return None

    @property
    def criterion(self) -> Criterion:
        """The overall accuracy."""
        return "oa"

    @cached_property
    def image(self) -> Tensor:
        """The scaled scene, float32 (bands, rows, columns), resident in memory."""
        import torch

        scaled = self.scaling.apply(*self.scene.read_valid())
        return torch.from_numpy(np.ascontiguousarray(scaled.transpose(2, 0, 1)))

    def load(self) -> None:
        """Read the scene into memory, as :attr:`image`."""
        _ = self.image

    def targets(self, part: Part) -> npt.NDArray[np.int64]:
        """Return the class of each pixel of a part of the split, -1 everywhere else."""
        masks: dict[Part, npt.NDArray[np.bool_]] = {
            "train": self.split.train,
            "validation": self.split.validation,
        }
        return np.where(masks[part], self.labels.values, -1)

    def test_confusion(self, prediction: npt.NDArray[np.integer]) -> npt.NDArray[np.int64]:
        """Return the confusion matrix on the test labels; to be asked once, at the end."""
        truth = np.where(self.split.test, self.labels.values, -1)
        return confusion(truth, prediction, self.classes)
