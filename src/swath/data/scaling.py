"""Scaling: how stored numbers become network inputs, fitted on a scene and kept with the model."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError, MismatchError, RecipeError, nearest
from swath.data.scene import Scene

__all__ = ["Scaling", "ScalingKind", "fit_scaling"]

Floats = npt.NDArray[np.float64]
ScalingKind = Literal["max", "standard", "minmax", "whitened", "none"]

RIDGE = 0.1
"""What is added to each eigenvalue of the correlation matrix before whitening: directions that
carry less than this share of a band's variance are mostly noise and are not blown up further."""
BRIGHTNESS = 0.3
"""The weight at which the brightness that was taken out of each spectrum is added to it again."""
DARKEST = 0.1
"""Spectra that vary by less than this share of the average one are not stretched any further."""
SMALLEST = 1e-15
"""Spectra that vary by less, or by more than its inverse, are refused."""


@dataclass(frozen=True)
class Scaling:
    """The affine map ``(x - offset) / scale`` of each band; ``whitened`` has a step on each side.

    Parameters
    ----------
    kind : ``max`` divides by the largest value of the whole image (3D-ANAS), ``standard`` gives
        each band mean 0 and standard deviation 1, ``minmax`` the range 0 to 1, ``none`` nothing.
        ``whitened`` looks at the shape of a spectrum first, then at what its bands do not share:

        1. each spectrum x is centred and divided by its own standard deviation s over the bands
           (standard normal variate), by ``sqrt(s^2 + f^2)`` in full, so that dark ones do not turn
           to noise: light and shade, which multiply a spectrum, are gone;
        2. ``standard``; 0.3 times the brightness (the mean of x, standardised over the scene) is
           added to every band, so that it is one direction among others and not lost;
        3. ``(R + 0.1 I)^(-1/2)``, with R the correlation matrix of what comes in.  The root is the
           symmetric one, so each output still belongs to its band and the spectral axis keeps its
           meaning.
    offset, scale : one number a band.
    brightness : of ``whitened``, mean and standard deviation over the scene of a spectrum's mean,
        and f; or None.
    mixing : of ``whitened``, float32 (bands, bands) as bytes, row by row; or None.

    References
    ----------
    Barnes, Dhanoa, Lister, "Standard normal variate transformation and de-trending of
    near-infrared diffuse reflectance spectra".
    Bell, Sejnowski, "The 'independent components' of natural scenes are edge filters" (the
    symmetric, zero-phase whitening).
    """

    kind: ScalingKind
    offset: tuple[float, ...]
    scale: tuple[float, ...]
    brightness: tuple[float, float, float] | None = None
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
        pixels = pixels.astype(np.float32, copy=False)
        if self.brightness is None or self.mixing is None:
            scaled = np.asarray((pixels - offset) / scale, dtype=np.float32)
        else:
            mean, deviation, floor = self.brightness
            shape, light = _shape(pixels, floor)
            mixing = np.frombuffer(self.mixing, np.float32).reshape(self.bands, self.bands)
            lit = (shape - offset) / scale + np.float32(BRIGHTNESS / deviation) * (light - mean)
            scaled = np.asarray(lit @ mixing, dtype=np.float32)
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
        if self.brightness is not None and self.mixing is not None:
            data["brightness"] = list(self.brightness)
            data["mixing"] = base64.b64encode(self.mixing).decode("ascii")
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scaling:
        """Read :meth:`to_dict`'s form; raise :class:`DataError` for anything else."""
        try:
            kind = data["kind"]
            offset = tuple(float(value) for value in data["offset"])
            scale = tuple(float(value) for value in data["scale"])
            light = data.get("brightness")
            brightness = None if light is None else tuple(float(value) for value in light)
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
        if (brightness is not None and len(brightness) != 3) or (brightness is None) != (
            mixing is None
        ):
            raise DataError(f"not a scaling: kind {kind!r} with brightness {light!r}")
        return cls(kind, offset, scale, brightness, mixing)


def fit_scaling(scene: Scene, kind: ScalingKind = "max") -> Scaling:
    """Measure a scene, window by window, over its valid pixels.

    Constant bands get the scale 1.

    Raises
    ------
    RecipeError : ``kind`` is unknown.
    DataError : no pixel holds data, ``max`` is asked of an image without positive values, or
        ``whitened`` of values too small or too large to be squared.
    """
    if kind not in get_args(ScalingKind):
        known = get_args(ScalingKind)
        raise RecipeError(f"there is no scaling '{kind}'{nearest(kind, known)}; one of: {known}")
    bands = scene.shape[2]
    if kind == "none":
        return Scaling(kind, (0.0,) * bands, (1.0,) * bands)
    if kind == "whitened":
        return _fit_whitened(scene)
    found = _moments(scene, lambda pixels: pixels)
    if kind == "max":
        largest = float(found.high.max())
        if largest <= 0:
            raise DataError(
                f"{scene.name} has no positive value (largest {largest:g}), so it cannot be "
                "divided by its maximum; use the scaling 'standard'"
            )
        return Scaling(kind, (0.0,) * bands, (largest,) * bands)
    if kind == "standard":
        return Scaling(kind, _floats(found.mean), _floats(_nonzero(found.deviation)))
    return Scaling(kind, _floats(found.low), _floats(_nonzero(found.high - found.low)))


def _fit_whitened(scene: Scene) -> Scaling:
    """Fit the scaling ``whitened``: one pass for the average contrast, one for the moments."""
    contrast = _moments(scene, lambda pixels: pixels.std(axis=1, keepdims=True)).mean[0]
    if contrast and not SMALLEST < contrast < 1 / SMALLEST:
        raise DataError(
            f"the spectra of {scene.name} vary by about {contrast:.3g}, whose square is beyond 32 "
            "bits; bring the values to another unit, or use the scaling 'standard'"
        )
    floor = float(DARKEST * contrast) or 1.0
    bands = scene.shape[2]
    found = _moments(scene, lambda pixels: np.hstack(_shape(pixels, floor)))
    deviation = _nonzero(found.deviation)
    # From (shape, brightness) to what is whitened: standardise each, add the latter to the former.
    mix = np.vstack([np.eye(bands), np.full(bands, BRIGHTNESS)]) / deviation[:, None]
    covariance = mix.T @ found.covariance @ mix
    spread = _nonzero(np.sqrt(np.diag(covariance)))
    values, vectors = np.linalg.eigh(covariance / np.outer(spread, spread))
    root = vectors / np.sqrt(np.maximum(values, 0) + RIDGE) @ vectors.T
    return Scaling(
        "whitened",
        _floats(found.mean[:-1]),
        _floats(deviation[:-1]),
        (float(found.mean[-1]), float(deviation[-1]), floor),
        (root / spread[:, None]).astype(np.float32).tobytes(),
    )


def _shape(pixels: npt.NDArray[Any], floor: float) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Return spectra (..., bands) without their brightness and contrast, and the brightness."""
    brightness = pixels.mean(axis=-1, keepdims=True)
    centred = pixels - brightness
    contrast = np.sqrt(
        np.square(centred).mean(axis=-1, keepdims=True) + pixels.dtype.type(floor**2)
    )
    return centred / contrast, brightness


@dataclass(frozen=True)
class _Moments:
    """Of every column over a scene's valid pixels."""

    mean: Floats
    covariance: Floats
    low: Floats
    high: Floats

    @property
    def deviation(self) -> Floats:
        return np.sqrt(np.diag(self.covariance))


def _moments(scene: Scene, columns: Callable[[Floats], Floats]) -> _Moments:
    """Gather the moments of ``columns`` of the pixels (n, bands), window by window."""
    count = 0
    mean, products, low, high = (np.zeros(1) for _ in range(4))
    for rows, spans in scene.windows():
        window, valid = scene.read_valid(rows, spans)
        if not valid.any():
            continue
        values = columns(window[valid].astype(np.float64))
        # Chan, Golub & LeVeque (1983): merge the moments of two samples
        centre = values.mean(axis=0)
        centred = values - centre
        total = count + len(values)
        difference = centre - mean if count else np.zeros_like(centre)
        weight = count * len(values) / total
        products = products + centred.T @ centred + np.outer(difference, difference) * weight
        mean = mean + difference * (len(values) / total) if count else centre
        low = np.minimum(low, values.min(axis=0)) if count else values.min(axis=0)
        high = np.maximum(high, values.max(axis=0)) if count else values.max(axis=0)
        count = total
    if not count:
        raise DataError(f"{scene.name} has no pixel with data in all its bands")
    return _Moments(mean, products / count, low, high)


def _nonzero(scale: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(scale > 0, scale, 1.0)


def _floats(values: npt.NDArray[np.float64]) -> tuple[float, ...]:
    return tuple(float(value) for value in values)
