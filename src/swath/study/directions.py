"""Which way the figures of a study are good, where the study does not say so itself."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from swath.core.errors import SwathError
from swath.core.evaluation import Direction
from swath.core.history import direction_of
from swath.estimators import proxies
from swath.estimators.tables import TableEstimator

if TYPE_CHECKING:
    from swath.estimators.base import Estimator
    from swath.study.studies import Study

__all__ = ["directions_in", "directions_of", "table_of"]


def directions_of(estimator: Estimator) -> dict[str, Direction]:
    """Return which way the figures of an estimator are good, of those of which it says so.

    See :func:`swath.core.history.direction_of` for the others.
    """
    told: dict[str, Direction] = getattr(estimator, "directions", {})
    return {**told, "score": estimator.direction}


def directions_in(study: Study) -> Callable[[str], Direction]:
    """Return what tells which way a figure of a study's trials is good."""
    table = table_of(study)
    told = {} if table is None else table.directions
    if study.facts.get("estimator", {}).get("name") in ("proxy", "ProxyEstimator"):
        told = {name: proxies.get(name).direction for name in proxies.names()}
    told |= {one.name: one.direction for one in study.objectives}
    return lambda name: direction_of(name, told)


def table_of(study: Study) -> TableEstimator | None:
    """Return the table in which a study looked its networks up; None: it did not, or it is gone."""
    about = study.facts.get("estimator", {})
    if about.get("name") not in ("table", TableEstimator.__name__):
        return None
    with contextlib.suppress(SwathError, TypeError):
        estimator = TableEstimator(**about["options"])
        _ = estimator.data
        return estimator
    return None
