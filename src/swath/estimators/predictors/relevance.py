"""A Gaussian process that learns which features count: a smooth surface over a few numbers.

Source: Rasmussen, Williams, "Gaussian Processes for Machine Learning" (2006), Eq. 2.25 (mean),
5.8 and 5.9 (marginal likelihood and its gradient), 4.17 (Matern, nu = 5/2), and automatic relevance
determination (5.1), with a prior that holds a feature for irrelevant until it shows otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError
from swath.core.seeds import numpy_generator
from swath.estimators.predictors import registry
from swath.estimators.predictors._features import check_kinds, features
from swath.estimators.predictors.base import (
    Rescaling,
    TargetKind,
    checked_targets,
    fit_rescaling,
)
from swath.spaces.base import SearchSpace

__all__ = ["RelevancePredictor"]

Floats = npt.NDArray[np.float64]

_STARTS = (1.0, 0.1)  # relevances from which the search begins, of all features together
_BOUNDS = ((-12.0, 4.0), (-4.0, 4.0), (-6.0, 2.0))  # logarithms: relevance, variance, noise
_NOISE = -2.0  # middle of the prior of the noise's logarithm, of targets of variance 1


@registry.register("relevance")
class RelevancePredictor:
    """Predicts by likeness in the features that turn out to matter.

    With standardised features x the kernel is ``v m(sqrt(sum_j w_j (x_j - x'_j)^2))``, m being
    Matern's of nu = 5/2.  The relevances w, the variance v and the noise are those of the highest
    posterior: w has an exponential prior of rate ``sparsity``, the logarithms of v and of the noise
    have normal ones.

    Parameters
    ----------
    features : see :mod:`swath.estimators.predictors._features`; the fewer the better.
    targets : how figures are transformed before they are learned (:func:`fit_rescaling`).
    sparsity : rate of the prior of the relevances, at least 0; the larger, the smoother.
    most : from how many architectures relevances, variance and noise are learned; the prediction
        itself is made from all of them.

    Raises
    ------
    UnknownName : there are no such features.
    RecipeError : ``sparsity`` is negative, or ``most`` below 2.
    """

    def __init__(
        self,
        features: str = "summary",
        targets: TargetKind = "ranks",
        sparsity: float = 1.0,
        most: int = 200,
    ) -> None:
        check_kinds(features)
        if not sparsity >= 0 or most < 2:
            raise RecipeError(
                f"predictor relevance: sparsity must be at least 0 and most at least 2, "
                f"not {sparsity} and {most}"
            )
        self.features, self.targets, self.sparsity, self.most = features, targets, sparsity, most

    def fit(
        self,
        space: SearchSpace,
        architectures: Sequence[Architecture],
        targets: Floats,
        seed: int,
        extra: Floats | None = None,
    ) -> None:
        """Learn from scratch; see :class:`swath.estimators.predictors.base.Predictor`."""
        targets = checked_targets(architectures, targets)
        self.space_ = space
        self.rescaling_: Rescaling = fit_rescaling(targets, self.targets)
        raw = features(space, architectures, self.features, extra)
        self.middle_, width = raw.mean(axis=0), raw.std(axis=0)
        self.width_ = np.where(width > 0, width, 1.0)
        self.known_ = (raw - self.middle_) / self.width_
        units = self.rescaling_.to_unit(targets)
        self.mean_, self.unit_ = float(units.mean()), float(units.std()) or 1.0
        values = (units - self.mean_) / self.unit_
        part = np.arange(len(values))
        if len(values) > self.most:
            part = numpy_generator(seed, "relevance").permutation(len(values))[: self.most]
        self.logs_ = _most_probable(self.known_[part], values[part], self.sparsity)
        covariance = self._covariance(self.known_)
        covariance[np.diag_indices(len(values))] += np.exp(self.logs_[-1])
        self.weights_ = np.linalg.solve(covariance, values)

    def predict(self, architectures: Sequence[Architecture], extra: Floats | None = None) -> Floats:
        """Return (architectures,) predictions in the unit of the targets."""
        raw = features(self.space_, architectures, self.features, extra)
        found = self._covariance((raw - self.middle_) / self.width_) @ self.weights_
        return self.rescaling_.from_unit(self.mean_ + self.unit_ * found)

    def _covariance(self, asked: Floats) -> Floats:
        """Return (asked, known)."""
        from scipy.spatial.distance import cdist

        scale = np.exp(self.logs_[:-2] / 2)
        squares = cdist(asked * scale, self.known_ * scale, "sqeuclidean")
        return np.exp(self.logs_[-2]) * _matern(squares)[0]


def _matern(squares: Floats) -> tuple[Floats, Floats]:
    """Return Matern's function of squared distances, and its slope with respect to them."""
    root = np.sqrt(5 * squares)
    decay = np.exp(-root)
    return (1 + root + root**2 / 3) * decay, -5 / 6 * (1 + root) * decay


def _most_probable(inputs: Floats, values: Floats, sparsity: float) -> Floats:
    """Return the logarithms of relevances, variance and noise, (features + 2,)."""
    from scipy.optimize import minimize

    count = inputs.shape[1]
    squares = (inputs[:, None] - inputs[None]) ** 2
    relevance, variance, noise = _BOUNDS
    tries = [
        minimize(
            _surprise,
            np.array([*[np.log(start / count)] * count, 0.0, -1.5]),
            (squares.reshape(-1, count), values, sparsity),
            method="L-BFGS-B",
            jac=True,
            bounds=[relevance] * count + [variance, noise],
            options={"maxiter": 100},
        )
        for start in _STARTS
    ]
    best: Floats = min(tries, key=lambda one: float(one.fun)).x
    return best


def _surprise(
    logs: Floats, squares: Floats, values: Floats, sparsity: float
) -> tuple[float, Floats]:
    """Return the negative logarithm of the posterior, and its gradient.

    Parameters
    ----------
    logs : of relevances, variance and noise, (features + 2,).
    squares : (known * known, features), squared differences of each pair in each feature.
    values : (known,).
    """
    relevance, variance, noise = np.exp(logs[:-2]), np.exp(logs[-2]), np.exp(logs[-1])
    size = len(values)
    likeness, slope = (
        part.reshape(size, size) for part in _matern(np.asarray(squares @ relevance))
    )
    covariance = variance * likeness + noise * np.eye(size)
    inverse = np.linalg.inv(covariance)
    weights = inverse @ values
    surprise = 0.5 * (values @ weights + np.linalg.slogdet(covariance)[1])
    by_covariance = 0.5 * (inverse - np.outer(weights, weights))
    gradient = np.empty(len(logs))
    gradient[:-2] = relevance * ((by_covariance * variance * slope).ravel() @ squares)
    gradient[-2] = variance * (by_covariance * likeness).sum()
    gradient[-1] = noise * np.trace(by_covariance)
    surprise += sparsity * relevance.sum() + (logs[-2] ** 2 + (logs[-1] - _NOISE) ** 2) / 4
    gradient[:-2] += sparsity * relevance
    gradient[-2:] += (logs[-2:] - [0.0, _NOISE]) / 2
    return float(surprise), gradient
