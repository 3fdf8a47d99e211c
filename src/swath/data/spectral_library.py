"""Spectral libraries: how the spectra of each class lie about their mean."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError
from swath.core.seeds import numpy_generator

__all__ = ["SpectralLibrary", "synthetic_library"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SpectralLibrary:
    """Mean and covariance of each class's spectra, as reflectances of about 0 to 1.

    The covariance of class c is ``factors[c] @ factors[c].T + diag(residual[c] ** 2)``.

    Parameters
    ----------
    names : class names.
    means : (classes, bands).
    factors : (classes, bands, rank), leading covariance components, largest first.
    residual : (classes, bands), standard deviation of what the factors leave.
    wavelengths : nanometres, one a band, or None.

    Raises
    ------
    DataError : the parts do not fit together.
    """

    names: tuple[str, ...]
    means: Floats
    factors: Floats
    residual: Floats
    wavelengths: tuple[float, ...] | None = None

    def __post_init__(self) -> None:
        shape = self.means.shape
        fits = (
            len(shape) == 2
            and len(self.names) == shape[0]
            and self.factors.shape[:2] == shape
            and self.residual.shape == shape
            and (self.wavelengths is None or len(self.wavelengths) == shape[1])
        )
        if not fits:
            raise DataError(
                f"a spectral library of {len(self.names)} names, means {shape}, factors "
                f"{self.factors.shape} and residuals {self.residual.shape} does not fit together"
            )

    @property
    def classes(self) -> int:
        """How many classes there are."""
        return len(self.means)

    @property
    def bands(self) -> int:
        """How many bands a spectrum has."""
        return int(self.means.shape[1])

    def covariance(self, c: int) -> Floats:
        """Return the covariance of class ``c``, (bands, bands)."""
        return np.asarray(self.factors[c] @ self.factors[c].T + np.diag(self.residual[c] ** 2))

    def select(self, classes: Sequence[int]) -> SpectralLibrary:
        """Return the library of some classes (indices), in the order given."""
        index = list(classes)
        return SpectralLibrary(
            tuple(self.names[c] for c in index),
            self.means[index],
            self.factors[index],
            self.residual[index],
            self.wavelengths,
        )

    @classmethod
    def from_spectra(
        cls,
        spectra: npt.ArrayLike,
        labels: npt.ArrayLike,
        names: Sequence[str] | None = None,
        *,
        rank: int = 10,
        pooled_weight: float = 15.0,
        wavelengths: Sequence[float] | None = None,
    ) -> SpectralLibrary:
        """Estimate the library from measured spectra, few of each class.

        A class's covariance is shrunk towards the covariance pooled over all classes, with weight
        ``pooled_weight / (n + pooled_weight)`` for a class of n spectra: a class of 15 spectra in
        200 bands takes half of each.

        Parameters
        ----------
        spectra : (n, bands).
        labels : (n,) whole numbers; classes are ordered by value.
        names : by that order; default ``class <value>``.
        rank : covariance components kept.
        pooled_weight : see above.

        Raises
        ------
        DataError : sizes differ, values are not finite, or a class has fewer than two spectra.
        """
        x = np.asarray(spectra, dtype=np.float64)
        y = np.asarray(labels).ravel()
        if x.ndim != 2 or len(x) != len(y):
            raise DataError(f"spectra of shape {x.shape} do not fit {len(y)} labels")
        if not np.isfinite(x).all():
            raise DataError("the spectra hold values that are not finite; leave those pixels out")
        values, counts = np.unique(y, return_counts=True)
        if counts.min() < 2:
            few = values[counts.argmin()]
            raise DataError(f"class {few} has one spectrum; a covariance needs at least two")
        if names is None:
            names = [f"class {value}" for value in values]
        means = np.stack([x[y == value].mean(axis=0) for value in values])
        centred = x - means[np.searchsorted(values, y)]
        pooled = centred / np.sqrt(max(len(x) - len(values), 1))
        rank = min(rank, x.shape[1])
        factors = np.zeros((len(values), x.shape[1], rank))
        residual = np.zeros_like(means)
        for c, (value, n) in enumerate(zip(values, counts, strict=True)):
            weight = pooled_weight / (n + pooled_weight)
            own = centred[y == value] / np.sqrt(n - 1)
            rows = np.concatenate([np.sqrt(1 - weight) * own, np.sqrt(weight) * pooled])
            _, scale, axes = np.linalg.svd(rows, full_matrices=False)
            kept = min(rank, len(scale))
            factors[c, :, :kept] = (scale[:kept, None] * axes[:kept]).T
            residual[c] = np.sqrt(((scale[kept:, None] * axes[kept:]) ** 2).sum(axis=0))
        waves = None if wavelengths is None else tuple(float(w) for w in wavelengths)
        return cls(tuple(names), means, factors, residual, waves)


def synthetic_library(
    classes: int, bands: int, seed: int, *, names: Sequence[str] | None = None, rank: int = 6
) -> SpectralLibrary:
    """Invent smooth, plausible reflectance curves from 400 to 2500 nm.

    Each class is of one kind: vegetation (green peak, red edge, water absorption), soil (rising,
    clay absorption), built (flat) or water (dark, falling); classes of one kind differ by a few
    smooth features and are therefore hard to tell apart.
    """
    rng = numpy_generator(seed, "library")
    wave = np.linspace(400, 2500, bands)

    def bump(centre: float, width: float) -> Floats:
        return np.asarray(np.exp(-0.5 * ((wave - centre) / width) ** 2))

    def edge(centre: float, width: float) -> Floats:
        return np.asarray(1 / (1 + np.exp(-(wave - centre) / width)))

    water = 0.45 * bump(1450, 60) + 0.55 * bump(1940, 80) + 0.15 * bump(1200, 40)
    kinds = (
        0.05 + 0.05 * bump(550, 40) + 0.40 * edge(715, 18) * (1 - water) * np.exp(-(wave / 3800)),
        0.08 + 0.30 * edge(900, 300) * (1 - 0.35 * water) - 0.04 * bump(2200, 40),
        0.20 + 0.05 * edge(600, 100) - 0.03 * bump(2330, 50) - 0.02 * bump(900, 90),
        0.07 * np.exp(-(wave - 400) / 500) + 0.02,
    )
    means = np.zeros((classes, bands))
    factors = np.zeros((classes, bands, rank))
    residual = np.zeros((classes, bands))
    for c in range(classes):
        kind = kinds[(0, 1, 0, 2, 1, 0, 2, 3)[c % 8]]
        features = sum(
            rng.normal(0, 0.06) * bump(rng.uniform(400, 2500), rng.uniform(80, 400))
            for _ in range(4)
        )
        means[c] = np.clip(kind * rng.uniform(0.85, 1.15) * (1 + features), 0.005, 1)
        factors[c, :, 0] = 0.15 * means[c]  # brightness
        for k in range(1, rank):
            shape = bump(rng.uniform(400, 2500), rng.uniform(100, 600))
            factors[c, :, k] = rng.normal(0, 0.15 / np.sqrt(k)) * shape * means[c]
        residual[c] = 0.02 * means[c]
    if names is None:
        names = [f"class {c + 1}" for c in range(classes)]
    return SpectralLibrary(tuple(names), means, factors, residual, tuple(wave.tolist()))
