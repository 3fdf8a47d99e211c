"""How fitness is distributed: three families fitted by maximum likelihood.

As the footprint papers do with R's fitdistrplus: beta, Weibull and log-normal with two free
parameters each, on their own supports.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np

from swath.landscape.measure import Floats, same

__all__ = ["FAMILIES", "Fit", "akaike", "bayesian", "best_shares", "fit_distributions"]

FAMILIES: Mapping[str, tuple[str, Mapping[str, float]]] = {
    "beta": ("beta", {"floc": 0.0, "fscale": 1.0}),
    "weibull": ("weibull_min", {"floc": 0.0}),
    "log-normal": ("lognorm", {"floc": 0.0}),
}
"""SciPy's name of each family, and what of it is fixed."""

FREE = 2
_MOST = 500  # models in a resample: it is the choice of a family that is asked, not its parameters


@dataclass(frozen=True)
class Fit:
    """A family fitted to fitness, or why it cannot be.

    Parameters
    ----------
    parameters : of the family, in SciPy's order, those that are fixed included.
    log_likelihood, aic, bic : None where it cannot be fitted.
    count : models it was fitted to; the n of BIC.
    """

    family: str
    parameters: tuple[float, ...]
    log_likelihood: float | None
    aic: float | None
    bic: float | None
    count: int
    note: str = ""

    def density(self, values: Floats) -> Floats:
        """Return the probability density at each value."""
        return np.asarray(_scipy(self.family).pdf(values, *self.parameters), np.float64)

    def cumulative(self, values: Floats) -> Floats:
        """Return the share of models that are at most as fit as each value."""
        return np.asarray(_scipy(self.family).cdf(values, *self.parameters), np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Fit:
        """Read :meth:`to_dict`'s form."""
        return cls(**{**data, "parameters": tuple(data["parameters"])})


class _Distribution(Protocol):
    def fit(self, data: Floats, **fixed: float) -> Sequence[float]: ...
    def pdf(self, x: Floats, *parameters: float) -> Floats: ...
    def cdf(self, x: Floats, *parameters: float) -> Floats: ...
    def logpdf(self, x: Floats, *parameters: float) -> Floats: ...


def akaike(log_likelihood: float) -> float:
    """Return AIC = 4 - 2 L, of two free parameters (Akaike, 1974)."""
    return 2 * FREE - 2 * log_likelihood


def bayesian(log_likelihood: float, count: int) -> float:
    """Return BIC = 2 ln n - 2 L, of two free parameters (Schwarz, 1978)."""
    return FREE * math.log(count) - 2 * log_likelihood


def fit_distributions(fitness: Floats) -> tuple[Fit, ...]:
    """Fit each family of :data:`FAMILIES`; the best by AIC first, those that cannot be last."""
    fits = [_fit(family, fitness) for family in FAMILIES]
    return tuple(sorted(fits, key=lambda one: math.inf if one.aic is None else one.aic))


def best_shares(fitness: Floats, *, resamples: int, rng: np.random.Generator) -> dict[str, float]:
    """Return in which share of resamples each family has the smallest AIC.

    A resample has as many models as there are, but at most 500: with very many any difference
    decides.
    """
    wins = dict.fromkeys(FAMILIES, 0)
    for _ in range(resamples):
        drawn = fitness[rng.integers(len(fitness), size=min(len(fitness), _MOST))]
        best = fit_distributions(drawn)[0]
        if best.aic is not None:
            wins[best.family] += 1
    return {family: count / resamples for family, count in wins.items()} if resamples else {}


def _fit(family: str, fitness: Floats) -> Fit:
    outside = _outside(family, fitness)
    if outside:
        return Fit(family, (), None, None, None, len(fitness), outside)
    distribution = _scipy(family)
    try:
        parameters = tuple(float(x) for x in distribution.fit(fitness, **FAMILIES[family][1]))
    except (ValueError, RuntimeError) as error:  # of the solver
        return Fit(family, (), None, None, None, len(fitness), f"the fit failed: {error}")
    found = float(distribution.logpdf(fitness, *parameters).sum())
    if not math.isfinite(found):
        note = "the fit did not converge"
        return Fit(family, parameters, None, None, None, len(fitness), note)
    return Fit(
        family, parameters, found, akaike(found), bayesian(found, len(fitness)), len(fitness)
    )


def _outside(family: str, fitness: Floats) -> str:
    if same(fitness):
        return "fitness is the same of all models"
    if family == "beta" and not (fitness.min() > 0 and fitness.max() < 1):
        return "beta needs fitness between 0 and 1, both excluded"
    if fitness.min() <= 0:
        return f"{family} needs fitness above 0"
    return ""


def _scipy(family: str) -> _Distribution:
    from scipy import stats

    found: _Distribution = getattr(stats, FAMILIES[family][0])
    return found
