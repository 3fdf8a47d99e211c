"""What every learned predictor offers, and how figures of any size are brought to its range."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from swath.core.architecture import Architecture
from swath.core.errors import RecipeError
from swath.spaces.base import SearchSpace

__all__ = ["Predictor", "Rescaling", "TargetKind", "checked_targets", "fit_rescaling"]

TargetKind = Literal["linear", "ranks"]
Floats = npt.NDArray[np.float64]

_MARGIN = 0.1  # of the unit range is left free at both ends, for what is better than all known


class Predictor(Protocol):
    """Learns from evaluated architectures what an architecture is worth."""

    def fit(
        self,
        space: SearchSpace,
        architectures: Sequence[Architecture],
        targets: Floats,
        seed: int,
        extra: Floats | None = None,
    ) -> None:
        """Learn from scratch; ``targets`` (architectures,) are finite, of any range.

        Every random draw comes from ``seed``: the same call learns the same.

        Parameters
        ----------
        extra : (architectures, columns), finite: what else is known of each, such as the scores of
            proxies.

        Raises
        ------
        RecipeError : targets or extra columns do not fit the architectures or are not finite, or
            this predictor takes no extra columns.
        """

    def predict(self, architectures: Sequence[Architecture], extra: Floats | None = None) -> Floats:
        """Return (architectures,) predictions in the unit of the targets.

        Parameters
        ----------
        extra : the same columns as those learned from.
        """


def checked_targets(architectures: Sequence[Architecture], targets: Floats) -> Floats:
    """Return targets as an array, (architectures,).

    Raises
    ------
    RecipeError : there is not one for each architecture, none at all, or one is not finite.
    """
    found = np.asarray(targets, float)
    if found.shape != (len(architectures),):
        raise RecipeError(
            f"{len(architectures)} architectures need one target each, an array of "
            f"({len(architectures)},), not of {found.shape}"
        )
    if not len(found):
        raise RecipeError("there is nothing to learn from; give at least one architecture")
    if not np.isfinite(found).all():
        raise RecipeError("targets must be finite; leave out architectures without a figure")
    return found


@dataclass(frozen=True)
class Rescaling:
    """An increasing, piecewise linear map between targets and the range 0..1 of a sigmoid.

    Parameters
    ----------
    targets, units : the map's knots, both increasing; ``units`` from 0 to 1.
    """

    targets: Floats
    units: Floats

    def to_unit(self, targets: Floats) -> Floats:
        """Map targets into 0..1."""
        return np.interp(targets, self.targets, self.units)

    def from_unit(self, units: Floats) -> Floats:
        """Map numbers back to the targets' unit; outside 0..1 with the mean slope."""
        inside = np.clip(units, 0.0, 1.0)
        slope = self.targets[-1] - self.targets[0]
        return np.interp(inside, self.units, self.targets) + slope * (units - inside)


def fit_rescaling(targets: Floats, kind: TargetKind) -> Rescaling:
    """Return the map that brings known targets to 0.1..0.9, in whatever unit they are.

    Accuracies in fractions or percent and negative losses are thus all the same to a predictor.
    "linear" keeps the proportions of the differences.  "ranks" spaces the distinct values equally:
    differences among the good ones count although a few bad ones lie far off.  Beyond the known
    values both go on in a straight line, with the mean slope.
    """
    knots = np.unique(np.asarray(targets, float))
    if kind == "linear" or len(knots) == 1:
        knots = knots[[0, -1]]
    width = float(knots[-1] - knots[0]) or 1.0
    if knots[0] == knots[-1]:
        knots = np.array([knots[0] - 0.5, knots[0] + 0.5])
    beyond = width * _MARGIN / (1 - 2 * _MARGIN)
    return Rescaling(
        np.concatenate([[knots[0] - beyond], knots, [knots[-1] + beyond]]),
        np.concatenate([[0.0], np.linspace(_MARGIN, 1 - _MARGIN, len(knots)), [1.0]]),
    )
