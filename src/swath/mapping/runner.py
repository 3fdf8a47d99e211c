"""How a network answers windows: its form, precision, device, and how many windows at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from swath.core.devices import Precision, autocast, pick
from swath.core.errors import MismatchError
from swath.mapping.prediction import Floats, MapPrecision, Mask, Progress, Reader
from swath.mapping.windows import cover
from swath.networks.dense_graph import NotDense
from swath.networks.dense_patches import DensePatches, dense_patches
from swath.networks.inference import Inference
from swath.networks.inference_calls import can_fuse, has_bfloat16
from swath.networks.patchwise import Patchwise, continued
from swath.tasks.label_patches import mirrored

__all__ = ["PIXELS_AT_ONCE", "Runner"]

AGREEMENT = 0.999
"""Share of the sample whose class bfloat16 must not change."""
PIXELS_AT_ONCE = 4096
"""Pixels in one pass of the inference form over windows: what the cache holds."""

_SAMPLE = 48  # side of a sample window; there are nine
_MEMORY = 2**30
_BYTES_PER_BAND = 352  # of activations, measured on the published network
_FEWEST_BANDS = 32
_LARGEST_BATCH = 16
_LARGEST_BATCH_ON_GPU = 256
_VALUES_PER_BAND = 16  # and pixel, of the largest activation: 32 channels of half the bands
_LARGEST_ACTIVATION = 2**30  # values; a GPU's calls count them in 32 bits


class Runner:
    """Runs the network on batches of equally large windows."""

    def __init__(
        self,
        network: nn.Module,
        read: Reader,
        shape: tuple[int, int, int],
        classes: int | None,
        batch: int | None,
        device: str | torch.device | None,
        progress: Progress | None,
    ) -> None:
        self.shape, self.bands = shape[:2], shape[2]
        if isinstance(network, Patchwise):
            network = dense_patches(network, self.bands) or network
        self.read = read
        self.form: Inference | None = None
        self.mirror = network.reach if isinstance(network, DensePatches) else 0
        """Pixels by which the form's images are continued by their mirror image."""
        self.precision: Precision = "float32"
        self.network = network
        self._classes = classes
        self._batch = batch
        if device is None:
            first = next(iter(network.parameters()), None)
            device = torch.device("cpu") if first is None else first.device
        self.device = pick(device) if isinstance(device, str) else device
        self._progress = progress
        self._done = 0
        self.total = 0

    def settle(self, precision: MapPrecision) -> tuple[str, ...]:
        """Decide on form and precision; say what is not as it was asked for."""
        if self.device.type == "cuda" or (self.device.type == "cpu" and can_fuse()):
            with contextlib.suppress(NotDense):
                self.form = self.simplified(torch.float32)
                self._check_classes(self.form.classes)
        here = has_bfloat16() if self.device.type == "cpu" else True
        if precision == "float32" or (precision == "auto" and not here):
            return ()
        sample = [self.read(*window) for window in _sample(self.shape)]
        plain, certain = self.form, self._likeliest(sample)
        self.precision = "bfloat16"
        if plain is not None:
            self.form = self.simplified(torch.bfloat16)
        equal = self._likeliest(sample) == certain
        agreement = float(equal.double().mean()) if len(equal) else 1.0
        if agreement >= AGREEMENT:
            return ()
        self.form, self.precision = plain, "float32"
        return (
            f"bfloat16 changes the class of {100 * (1 - agreement):.2g} % of the sample's pixels, "
            "so the map is computed in float32",
        )

    def simplified(self, dtype: torch.dtype) -> Inference:
        """Return the inference form, or raise that there is none."""
        inner = self.network.network if isinstance(self.network, DensePatches) else self.network
        return Inference(inner, self.bands, dtype, self.device)

    @property
    def streams(self) -> bool:
        """Whether the scene goes through the form by rows, which pays where caches are small."""
        return self.form is not None and self.device.type == "cpu"

    def default_side(self) -> int:
        """Return the side of the largest square that fits into memory."""
        return int(self._pixels() ** 0.5)

    def batches(self, count: int, pixels: int, most: int | None = None) -> Iterator[slice]:
        """Cut ``count`` windows of ``pixels`` each into batches."""
        at_once = PIXELS_AT_ONCE if self.streams else self._pixels()
        largest = _LARGEST_BATCH if self.device.type == "cpu" else _LARGEST_BATCH_ON_GPU
        size = most or self._batch or max(1, min(largest, at_once // pixels))
        for start in range(0, count, size):
            yield slice(start, min(start + size, count))

    @contextlib.contextmanager
    def ready(self, total: int) -> Iterator[None]:
        """Hold the network in evaluation mode, on its device; ``total`` pixels will be read."""
        self._done, self.total = 0, total
        training = {module: module.training for module in self.network.modules()}
        self.network.to(self.device)
        self.network.eval()
        try:
            yield
        finally:
            for module, mode in training.items():
                module.training = mode

    def __call__(self, windows: Sequence[Floats]) -> list[Floats]:
        """Return the probabilities (rows, columns, classes) of windows of one shape."""
        rows, columns, _ = windows[0].shape
        softmax = torch.softmax(self._logits(windows), dim=1).permute(0, 2, 3, 1)
        answers: list[Floats] = list(softmax.cpu().numpy())
        self.count(len(windows) * rows * columns)
        return answers

    def read_mirrored(self, rows: slice, columns: slice) -> tuple[Floats, Mask]:
        """Read a window that may reach beyond the scene, into its mirror image."""
        height, width = self.shape
        if min(rows.start, columns.start) >= 0 and rows.stop <= height and columns.stop <= width:
            return self.read(rows, columns)
        down, across = (
            mirrored(np.arange(axis.start, axis.stop), length)
            for axis, length in zip((rows, columns), self.shape, strict=True)
        )
        top, left = int(down.min()), int(across.min())
        pixels, valid = self.read(
            slice(top, int(down.max()) + 1), slice(left, int(across.max()) + 1)
        )
        inner = np.ix_(down - top, across - left)
        return pixels[inner], valid[inner]

    def count(self, pixels: int) -> None:
        """Say that so many pixels more have been looked at."""
        self._done += pixels
        if self._progress is not None:
            self._progress(self._done, self.total)

    def _logits(self, windows: Sequence[Floats]) -> torch.Tensor:
        """Return float32 logits (batch, classes, rows, columns) of windows of one shape."""
        rows, columns, _ = windows[0].shape
        stack = windows[0][None] if len(windows) == 1 else np.stack(windows)
        inputs = torch.from_numpy(stack).to(self.device).permute(0, 3, 1, 2)
        with torch.inference_mode():
            if self.form is not None:
                with autocast(self.device, "float32"):  # what is to be rounded is so in the form
                    reach = self.mirror
                    if not reach:
                        return self.form(inputs)
                    inputs = continued(continued(inputs, reach, 2), reach, 3)
                    return self.form(inputs)[:, :, reach : reach + rows, reach : reach + columns]
            with autocast(self.device, self.precision):
                logits = self.network(inputs.contiguous())
            self._check(logits, (len(windows), rows, columns))
            return logits.float()

    def _likeliest(self, sample: Sequence[tuple[Floats, Mask]]) -> torch.Tensor:
        """Return the class of each pixel with data, (pixels,)."""
        with self.ready(0):
            classes = [self._logits([pixels]).argmax(dim=1)[0].cpu() for pixels, _ in sample]
        pairs = zip(classes, sample, strict=True)
        return torch.cat([of[torch.from_numpy(valid)] for of, (_, valid) in pairs])

    def _pixels(self) -> int:
        memory: int = _MEMORY
        if self.device.type == "cuda":
            memory = max(memory, torch.cuda.mem_get_info(self.device)[0] // 4)
        bands = max(self.bands, _FEWEST_BANDS)
        fits = memory // (bands * _BYTES_PER_BAND)
        return min(fits, _LARGEST_ACTIVATION // (bands * _VALUES_PER_BAND))

    def _check(self, logits: Any, expected: tuple[int, int, int]) -> None:
        batch, rows, columns = expected
        shape = tuple(logits.shape)
        if len(shape) != 4 or (shape[0], *shape[2:]) != expected:
            raise MismatchError(
                f"the network answers {shape} to {batch} windows of {rows} x {columns} pixels; a "
                "map needs (batch, classes, rows, columns), one answer a pixel"
            )
        self._check_classes(int(shape[1]))

    def _check_classes(self, classes: int) -> None:
        if self._classes is not None and classes != self._classes:
            raise MismatchError(
                f"the network knows {classes} classes, but {self._classes} classes are named; "
                "give the class names it was trained with"
            )


def _sample(shape: tuple[int, int]) -> list[tuple[slice, slice]]:
    """Return up to nine windows spread over the scene."""
    rows, columns = (
        sorted({(length - min(_SAMPLE, length)) * part // 2 for part in range(3)})
        for length in shape
    )
    return [
        (cover(r, _SAMPLE, shape[0]), cover(c, _SAMPLE, shape[1])) for r in rows for c in columns
    ]
