"""Scaling: how stored numbers become network inputs, fitted on a scene and kept with the model."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError, MismatchError, RecipeError, nearest
from swath.data.scene import Scene

__all__ = ["Scaling", "ScalingKind", "fit_scaling"]

ScalingKind = Literal["max", "standard", "minmax", "whitened", "none"]

RIDGE = 0.03
"""What is added to each eigenvalue of the correlation matrix before whitening: directions that
carry less than this share of a band's variance are mostly noise and are not blown up further."""


@dataclass(frozen=True)
class Scaling:
    """The affine map ``(x - offset) / scale`` of each band, then a mixing of the bands if any.

    Parameters
    ----------
    kind : ``max`` divides by the largest value of the whole image (3D-ANAS), ``standard`` gives
        each band mean 0 and standard deviation 1, ``minmax`` the range 0 to 1, ``none`` nothing.
        ``whitened`` is ``standard`` followed by ``(R + 0.03 I)^(-1/2)``, with R the correlation
        matrix of the bands: brightness and illumination, which all bands share, no longer drown
        the differences between materials.  The root is the symmetric one, so each output still
        belongs to its band and the spectral axis keeps its meaning.
    offset, scale : one number a band.
    mixing : float32 (bands, bands) as bytes, row by row, or None.

    References
    ----------
    Bell, Sejnowski, "The 'independent components' of natural scenes are edge filters" (the
    symmetric, zero-phase whitening).
    """

    kind: ScalingKind
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    mixing: bytes | None = None

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
        if self.mixing is not None:
            scaled = scaled @ np.frombuffer(self.mixing, np.float32).reshape(self.bands, self.bands)
        if valid is not None:
            scaled[~valid] = 0
        return scaled

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        data: dict[str, Any] = {
            "kind": self.kind,
            "offset": list(self.offset),
            "scale": list(self.scale),
        }
        if self.mixing is not None:
            data["mixing"] = base64.b64encode(self.mixing).decode("ascii")
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scaling:
        """Read :meth:`to_dict`'s form; raise :class:`DataError` for anything else."""
        try:
            kind = data["kind"]
            offset = tuple(float(value) for value in data["offset"])
            scale = tuple(float(value) for value in data["scale"])
            text = data.get("mixing")
            mixing = None if text is None else base64.b64decode(text, validate=True)
        except (AttributeError, KeyError, TypeError, ValueError, binascii.Error) as error:
            raise DataError(f"not a scaling (kind, offset, scale): {error}") from error
        if kind not in get_args(ScalingKind) or len(offset) != len(scale):
            raise DataError(
                f"not a scaling: kind {kind!r} with {len(offset)} offsets, {len(scale)} scales"
            )
        expected = 4 * len(scale) ** 2 if kind == "whitened" else None
        if (None if mixing is None else len(mixing)) != expected:
            raise DataError(f"not a scaling: kind {kind!r} with a mixing matrix of another size")
        return cls(kind, offset, scale, mixing)


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
    products = np.zeros((bands, bands))
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
        weight = count * len(pixels) / total
        squares += pixels.var(axis=0) * len(pixels) + difference**2 * weight
        if kind == "whitened":
            centred = pixels - pixels.mean(axis=0)
            products += centred.T @ centred + np.outer(difference, difference) * weight
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
    deviation = _nonzero(np.sqrt(squares / count))
    if kind == "standard":
        return Scaling(kind, _floats(mean), _floats(deviation))
    if kind == "whitened":
        correlation = products / count / np.outer(deviation, deviation)
        return Scaling(kind, _floats(mean), _floats(deviation), _whitening(correlation))
    return Scaling(kind, _floats(low), _floats(_nonzero(high - low)))


def _whitening(correlation: npt.NDArray[np.float64]) -> bytes:
    """Return ``(correlation + RIDGE I)^(-1/2)``, the symmetric root, as float32 bytes."""
    values, vectors = np.linalg.eigh(correlation)
    root = vectors / np.sqrt(np.maximum(values, 0) + RIDGE) @ vectors.T
    return root.astype(np.float32).tobytes()


def _nonzero(scale: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(scale > 0, scale, 1.0)


def _floats(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
