"""Regressors of scikit-learn as predictors: forests, boosted trees and ridge regression."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.estimators.predictors import registry
from swath.estimators.predictors._features import check_kinds, features
from swath.estimators.predictors.base import (
    Rescaling,
    TargetKind,
    checked_targets,
    fit_rescaling,
)
from swath.spaces.base import SearchSpace

__all__ = ["RegressorPredictor"]

Floats = npt.NDArray[np.float64]


class RegressorPredictor:
    """Any regressor of scikit-learn on the features of architectures.

    Parameters
    ----------
    make : returns a fresh regressor for a seed below 2**32.
    features : see :mod:`swath.estimators.predictors._features`.
    targets : "linear" leaves the figures as they are; "ranks" as of :func:`fit_rescaling`.

    Raises
    ------
    UnknownName : there are no such features.
    """

    def __init__(
        self, make: Callable[[int], Any], features: str = "numeric", targets: TargetKind = "linear"
    ) -> None:
        check_kinds(features)
        self.make, self.features, self.targets = make, features, targets

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
        self.rescaling_: Rescaling | None = None
        if self.targets == "ranks":
            self.rescaling_ = fit_rescaling(targets, "ranks")
            targets = self.rescaling_.to_unit(targets)
        # scikit-learn's seeds have 32 bits.
        self.regressor_ = self.make(seed % 2**32)
        self.regressor_.fit(features(space, architectures, self.features, extra), targets)

    def predict(self, architectures: Sequence[Architecture], extra: Floats | None = None) -> Floats:
        """Return (architectures,) predictions in the unit of the targets."""
        found = self.regressor_.predict(features(self.space_, architectures, self.features, extra))
        return found if self.rescaling_ is None else self.rescaling_.from_unit(found)


@registry.register("random-forest")
def random_forest(
    features: str = "numeric", targets: TargetKind = "linear", **options: Any
) -> RegressorPredictor:
    """Return ``sklearn.ensemble.RandomForestRegressor`` with these options of its own."""
    from sklearn.ensemble import RandomForestRegressor

    return RegressorPredictor(
        lambda seed: RandomForestRegressor(random_state=seed, **options), features, targets
    )


@registry.register("extra-trees")
def extra_trees(
    features: str = "numeric", targets: TargetKind = "linear", **options: Any
) -> RegressorPredictor:
    """Return ``sklearn.ensemble.ExtraTreesRegressor`` with these options of its own."""
    from sklearn.ensemble import ExtraTreesRegressor

    return RegressorPredictor(
        lambda seed: ExtraTreesRegressor(random_state=seed, **options), features, targets
    )


@registry.register("gradient-boosting")
def gradient_boosting(
    features: str = "numeric", targets: TargetKind = "linear", **options: Any
) -> RegressorPredictor:
    """Return ``sklearn.ensemble.GradientBoostingRegressor`` with these options of its own."""
    from sklearn.ensemble import GradientBoostingRegressor

    return RegressorPredictor(
        lambda seed: GradientBoostingRegressor(random_state=seed, **options), features, targets
    )


@registry.register("ridge")
def ridge(features: str = "numeric", targets: TargetKind = "linear") -> RegressorPredictor:
    """Return ridge regression on standardised features.

    Its penalty is the best of 13, 1e-3 to 1e3, by leaving one out (``sklearn`` ``RidgeCV``).
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return RegressorPredictor(
        lambda seed: make_pipeline(StandardScaler(), RidgeCV(np.logspace(-3, 3, 13))),
        features,
        targets,
    )
