"""Scaling: how stored numbers become network inputs, fitted on a scene and kept with the model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError, MismatchError, RecipeError, nearest
from swath.data.scene import Scene

__all__ = ["Scaling", "ScalingKind", "fit_scaling"]

ScalingKind = Literal["max", "standard", "minmax", "none"]


@dataclass(frozen=True)
class Scaling:
    """The affine map ``(x - offset) / scale`` of each band.

    Parameters
    ----------
    kind : ``max`` divides by the largest value of the whole image (3D-ANAS), ``standard`` gives
        each band mean 0 and standard deviation 1, ``minmax`` the range 0 to 1, ``none`` nothing.
    offset, scale : one number a band.
    """

    kind: ScalingKind
    offset: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def bands(self) -> int:
        """How many bands it was fitted on."""
        return len(self.scale)

    def apply(
        self, pixels: npt.ArrayLike, valid: npt.NDArray[np.bool_] | None = None
    ) -> npt.NDArray[np.float32]:
        """Scale an array (..., bands) to float32.

        Parameters
        ----------
        pixels : (..., bands).
        valid : (...); pixels without data become zero, as a scaled network input has it.

        Raises
        ------
        MismatchError : the array has another number of bands.
        """
        pixels = np.asarray(pixels)
        if pixels.shape[-1] != self.bands:
            raise MismatchError(
                f"the scaling was fitted on {self.bands} bands, but the image has "
                f"{pixels.shape[-1]}; use a scene of the same sensor and the same bands"
            )
        offset = np.asarray(self.offset, dtype=np.float32)
        scale = np.asarray(self.scale, dtype=np.float32)
        scaled = np.asarray((pixels.astype(np.float32) - offset) / scale, dtype=np.float32)
        if valid is not None:
            scaled[~valid] = 0
        return scaled

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {**asdict(self), "offset": list(self.offset), "scale": list(self.scale)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scaling:
        """Read :meth:`to_dict`'s form; raise :class:`DataError` for anything else."""
        try:
            kind = data["kind"]
            offset = tuple(float(value) for value in data["offset"])
            scale = tuple(float(value) for value in data["scale"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a scaling (kind, offset, scale): {error}") from error
        if kind not in get_args(ScalingKind) or len(offset) != len(scale):
            raise DataError(
                f"not a scaling: kind {kind!r} with {len(offset)} offsets, {len(scale)} scales"
            )
        return cls(kind, offset, scale)


def fit_scaling(scene: Scene, kind: ScalingKind = "max") -> Scaling:
    """Measure a scene, window by window, over its valid pixels.

    Constant bands get the scale 1.

    Raises
    ------
    RecipeError : ``kind`` is unknown.
    DataError : no pixel holds data, or ``max`` is asked of an image without positive values.
    """
    if kind not in get_args(ScalingKind):
        known = get_args(ScalingKind)
        raise RecipeError(f"there is no scaling '{kind}'{nearest(kind, known)}; one of: {known}")
    bands = scene.shape[2]
    if kind == "none":
        return Scaling(kind, (0.0,) * bands, (1.0,) * bands)
    count = 0
    mean = np.zeros(bands)
    squares = np.zeros(bands)
    low = np.full(bands, np.inf)
    high = np.full(bands, -np.inf)
    for rows, columns in scene.windows():
        window, valid = scene.read_valid(rows, columns)
        pixels = window[valid].astype(np.float64)
        if not len(pixels):
            continue
        low = np.minimum(low, pixels.min(axis=0))
        high = np.maximum(high, pixels.max(axis=0))
        # Chan, Golub & LeVeque (1983): merge the moments of two samples
        total = count + len(pixels)
        difference = pixels.mean(axis=0) - mean
        squares += pixels.var(axis=0) * len(pixels) + difference**2 * (count * len(pixels) / total)
        mean += difference * (len(pixels) / total)
        count = total
    if not count:
        raise DataError(f"{scene.name} has no pixel with data in all its bands")
    if kind == "max":
        largest = float(high.max())
        if largest <= 0:
            raise DataError(
                f"{scene.name} has no positive value (largest {largest:g}), so it cannot be "
                "divided by its maximum; use the scaling 'standard'"
            )
        return Scaling(kind, (0.0,) * bands, (largest,) * bands)
    if kind == "standard":
        return Scaling(kind, _floats(mean), _floats(_nonzero(np.sqrt(squares / count))))
    return Scaling(kind, _floats(low), _floats(_nonzero(high - low)))


def _nonzero(scale: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(scale > 0, scale, 1.0)


def _floats(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
