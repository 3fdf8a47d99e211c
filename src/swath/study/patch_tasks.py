"""The section ``task`` of a recipe where it says ``kind: patches``, and the task it means."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from swath.core.errors import RecipeError
from swath.core.files import expanded
from swath.data.scaling import ScalingKind
from swath.study.settings import Strict

if TYPE_CHECKING:
    from swath.data.patch_set import PatchSet
    from swath.tasks.patches import PatchTask

__all__ = ["PatchTaskSettings", "make_patch_task", "open_patches"]

_CUTTING = ("patch", "stride", "per_class", "variables", "label_variable")  # need a label map


class PatchTaskSettings(Strict):
    """Small images with one label each: where they are, which sensors are used, how they are split.

    Parameters
    ----------
    source : So2Sat LCZ42 (HDF5); a folder with a folder of GeoTIFFs for each class; with ``labels``
        a scene that patches are cut from.  Of several sensors one each, by the sensor's name.
    sensors : such as "s1+s2", stacked in this order; None: all.
    labels : the label map of the scenes.
    variables, label_variable : which array of its file is a sensor's scene, and the label map.
    unlabelled : label values that mean "no label".
    patch, stride, per_class, label, resample : see :func:`swath.tasks.patch_cutting.cut_patches`;
        ``resample`` also brings folders of images to one size.
    split : "blocks" (neighbours stay together), "random" (leaks, the papers' protocol).
    test, validation, train : shares; see :mod:`swath.tasks.patch_splits`.
    block, guard : of the split by blocks; block None: about 64 blocks, or smaller.
    small_classes, minimum : "raise", or "drop" classes of fewer than ``minimum`` patches.
    scaling : see :class:`swath.data.scaling.Scaling`; "standard" and "minmax" are of each band.
    sensor_dropout : probability with which a training patch shows nothing of a sensor.
    fusion : "input" stacks the sensors; "late" trains a network for each and averages their logits.
    memory : gibibytes of training and validation patches that are kept in memory; of larger sets
        patches are read again for each batch.
    """

    kind: Literal["patches"] = "patches"
    source: str | dict[str, str] = ""
    sensors: str | None = None
    labels: str | None = None
    variables: dict[str, str] | None = None
    label_variable: str | None = None
    unlabelled: tuple[int, ...] = (0,)
    patch: int | None = Field(default=None, ge=1)
    stride: int | None = Field(default=None, ge=1)
    per_class: int | None = Field(default=None, ge=1)
    label: Literal["centre", "majority"] = "centre"
    resample: bool = False
    split: Literal["blocks", "random"] = "blocks"
    test: float = 0.2
    validation: float = 0.2
    train: float | None = None
    block: int | None = Field(default=None, ge=1)
    guard: int = Field(default=0, ge=0)
    small_classes: Literal["raise", "drop"] = "raise"
    minimum: int = Field(default=10, ge=1)
    scaling: ScalingKind = "standard"
    sensor_dropout: float = Field(default=0.0, ge=0, lt=1)
    fusion: Literal["input", "late"] = "input"
    memory: float = Field(default=2.0, ge=0)


def open_patches(settings: PatchTaskSettings, seed: int) -> PatchSet:
    """Open what a recipe calls its patches.

    Parameters
    ----------
    seed : of the places, where patches are drawn from scenes.

    Raises
    ------
    DataError : there is no such file or folder, or it cannot be used.
    RecipeError : the settings do not fit what is there.
    """
    from swath.data.patch_folders import open_patch_folders
    from swath.data.so2sat import open_so2sat

    if not settings.source:
        raise RecipeError("no patches were given; name their file or folder with task.source")
    if settings.labels is not None or settings.label_variable is not None:
        return _cut(settings, seed)
    for key in _CUTTING:
        if getattr(settings, key) is not None:
            raise RecipeError(
                f"task.{key} says how patches are cut from scenes, which needs a label map; give "
                "task.labels, or leave it out"
            )
    if isinstance(settings.source, str) and not expanded(settings.source).is_dir():
        return open_so2sat(settings.source, settings.sensors)
    return open_patch_folders(settings.source, settings.sensors, resample=settings.resample)


def make_patch_task(settings: PatchTaskSettings, seed: int) -> PatchTask:
    """Return the task of a recipe; workers call this themselves.

    Raises
    ------
    SwathError : the patches cannot be opened, split or scaled as the settings say.
    """
    from swath.tasks.patch_splits import block_patch_split, random_patch_split
    from swath.tasks.patches import PatchTask, fit_patch_scaling

    patches = open_patches(settings, seed)
    if settings.small_classes == "drop":
        patches = patches.without_small_classes(settings.minimum)
    test, validation, train = settings.test, settings.validation, settings.train
    if settings.split == "random":
        split = random_patch_split(patches, seed, test=test, validation=validation, train=train)
    else:
        split = block_patch_split(
            patches,
            seed,
            test=test,
            validation=validation,
            train=train,
            block=settings.block,
            guard=settings.guard,
        )
    scaling = fit_patch_scaling(patches, split, settings.scaling)
    return PatchTask(
        patches,
        split,
        scaling,
        sensor_dropout=settings.sensor_dropout,
        fusion=settings.fusion,
        memory=int(settings.memory * 2**30),
    )


def _cut(settings: PatchTaskSettings, seed: int) -> PatchSet:
    from swath.data.patch_set import chosen_sensors
    from swath.data.readers import open_labels, open_scene
    from swath.tasks.patch_cutting import cut_patches

    if settings.patch is None:
        raise RecipeError("patches are cut from scenes, but task.patch does not say how large")
    source = settings.source
    files = {"image": source} if isinstance(source, str) else source
    variables = settings.variables or {}
    chosen_sensors("+".join(variables) or None, files)  # refuses those of no sensor
    chosen = chosen_sensors(settings.sensors, files)
    scenes = {name: open_scene(files[name], variable=variables.get(name)) for name in chosen}
    return cut_patches(
        scenes,
        open_labels(
            settings.labels or files[chosen[0]],
            variable=settings.label_variable,
            unlabelled=settings.unlabelled,
            scene=scenes[chosen[0]] if settings.labels else None,
        ),
        settings.patch,
        stride=settings.stride,
        per_class=settings.per_class,
        seed=seed,
        label=settings.label,
        resample=settings.resample,
    )
