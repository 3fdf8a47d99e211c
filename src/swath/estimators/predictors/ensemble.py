"""A smooth surface and a forest, averaged: the default where little is known of a space.

A Gaussian process over the few numbers that tell the whole of a network extrapolates smoothly and
needs few examples; trees over everything, proxies included, find the rest.  Their errors differ, so
their mean ranks better than either.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.seeds import derive
from swath.estimators.predictors import registry
from swath.estimators.predictors.base import Predictor, Rescaling, checked_targets, fit_rescaling
from swath.estimators.predictors.regressors import extra_trees
from swath.estimators.predictors.relevance import RelevancePredictor
from swath.spaces.base import SearchSpace

__all__ = ["EnsemblePredictor"]

Floats = npt.NDArray[np.float64]


@registry.register("ensemble")
class EnsemblePredictor:
    """The mean of a Gaussian process on "summary" and of extremely randomised trees on all.

    Both learn the ranks of the targets.  Extra columns are heard by the trees alone: as scores of
    one and the same network they repeat each other, which trees mind least.

    Parameters
    ----------
    trees : in the forest.
    """

    def __init__(self, trees: int = 200) -> None:
        self.trees = trees

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
        self.rescaling_: Rescaling = fit_rescaling(targets, "ranks")
        units = self.rescaling_.to_unit(targets)
        self.smooth_: Predictor = RelevancePredictor("summary", "linear")
        self.smooth_.fit(space, architectures, units, derive(seed, "ensemble", "smooth"))
        # At least two in a leaf, since every figure has the noise of its training; half of the
        # features at a split, since many say nearly the same.
        self.forest_: Predictor = extra_trees(
            "summary+numeric", n_estimators=self.trees, min_samples_leaf=2, max_features=0.5
        )
        self.forest_.fit(space, architectures, units, derive(seed, "ensemble", "forest"), extra)

    def predict(self, architectures: Sequence[Architecture], extra: Floats | None = None) -> Floats:
        """Return (architectures,) predictions in the unit of the targets."""
        smooth = self.smooth_.predict(architectures)
        forest = self.forest_.predict(architectures, extra)
        return self.rescaling_.from_unit((smooth + forest) / 2)
