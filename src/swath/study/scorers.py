"""Who tells a study's strategy the scores of zero-cost proxies: what its estimator works with."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from swath.core.errors import RecipeError
from swath.core.seeds import derive, numpy_generator
from swath.estimators.scorers import ColumnScorer, Scorer, UntrainedScorer
from swath.strategies.scoring import Scoring

if TYPE_CHECKING:
    from torch import Tensor

    from swath.estimators.base import Estimator
    from swath.estimators.proxy import ProxyEstimator
    from swath.estimators.tables import TableEstimator
    from swath.estimators.trained import TrainedEstimator
    from swath.strategies.base import Strategy

__all__ = ["make_scorer", "with_scores"]

Progress = Callable[[dict[str, Any]], None]

SAMPLES = 16
"""Windows or patches of the batch on which networks are scored."""


def with_scores(
    strategy: Strategy, estimator: Estimator, progress: Progress | None = None
) -> Strategy:
    """Return a strategy that can ask for the scores it looks at.

    One that looks at none, or has a scorer already, is returned as it is.

    Raises
    ------
    UnknownName : there is no such proxy, or the table has none of that name.
    RecipeError : see :func:`make_scorer`.
    """
    if not isinstance(strategy, Scoring) or not strategy.score_names or strategy.scorer:
        return strategy
    return strategy.with_scorer(make_scorer(estimator, progress))


def make_scorer(estimator: Estimator, progress: Progress | None = None) -> Scorer:
    """Return the scorer for the strategies of a study.

    * Networks that the study trains are scored untrained, on a batch around training labels of the
      same task, each class equally often.
    * A table tells its own proxies, for the data set of the metric, and the trivial rivals, by the
      names that 'swath correlate --table' shows.
    * The estimator "proxy" has a batch of its own.

    Parameters
    ----------
    progress : called with {"phase": "score", "done", "total"} after each network.

    Raises
    ------
    RecipeError : the estimator has neither data nor scores of others.
    """
    from swath.estimators.proxy import ProxyEstimator
    from swath.estimators.tables import TableEstimator
    from swath.estimators.trained import TrainedEstimator

    if isinstance(estimator, TableEstimator):
        return _of_table(estimator)
    if isinstance(estimator, TrainedEstimator):
        return UntrainedScorer(functools.partial(_of_task, estimator), _counted(progress))
    if isinstance(estimator, ProxyEstimator):
        return UntrainedScorer(lambda: estimator, _counted(progress))
    raise RecipeError(
        f"the estimator {type(estimator).__name__} has no data on which proxies could be computed; "
        "use the estimator trained, table or proxy, or a strategy that asks for no scores"
    )


def _counted(progress: Progress | None) -> Callable[[int, int], None] | None:
    if progress is None:
        return None
    return lambda done, total: progress({"phase": "score", "done": done, "total": total})


def _of_table(estimator: TableEstimator) -> Scorer:
    from swath.estimators.factors import trivial_rivals
    from swath.estimators.scored import SIZES

    table = estimator.data
    metric = table.column(estimator.metric or table.metrics[0])
    told = table.proxy_columns(metric.metric)
    columns = trivial_rivals(table.space, table.architectures)
    for size in SIZES:
        cost = table.cost_column(size, metric.metric, metric.budget)
        if cost is not None:
            columns[size] = cost.values
    columns |= {name: one.values for name, one in told.items()}
    directions = {name: one.direction for name, one in told.items()}
    return ColumnScorer(f"table '{table.name}'", table.row, columns, directions)


def _of_task(estimator: TrainedEstimator) -> ProxyEstimator:
    """Return the proxies' view of the task that networks are trained on."""
    from swath.estimators.proxy import ProxyEstimator
    from swath.tasks.patches import PatchTask

    task = estimator.prepared()
    fused = isinstance(task, PatchTask) and task.fusion == "late"
    return ProxyEstimator(
        estimator.space,
        task.bands,
        task.classes,
        "parameters",
        space_options=estimator.space_options,
        batch=functools.lru_cache(maxsize=1)(functools.partial(_batch, estimator)),
        # Of sensors that are fused late each has a network, and all of them are scored.
        network=(lambda one, _: estimator.network(one)) if fused else None,
        device=estimator.device,
    )


def _batch(estimator: TrainedEstimator, seed: int) -> tuple[Tensor, Tensor]:
    """Return inputs and classes around training labels, as the networks of the space take them."""
    import torch

    from swath import spaces
    from swath.spaces.base import InputSpec, OutputSpec
    from swath.tasks.tiles import TileTask
    from swath.training.batches import batches

    task = estimator.prepared()
    space = spaces.create(estimator.space, **estimator.space_options)
    with torch.device("meta"):  # any network of the space: they all take the same inputs
        network = space.build_dense(
            space.sample(numpy_generator(seed)), InputSpec(task.bands), OutputSpec(task.classes)
        )
    drawn = batches(
        network,
        task,
        derive(seed, "batch"),
        window=estimator.training.window,
        sampling="uniform" if isinstance(task, TileTask) else "balanced",
    )
    return drawn.batch(SAMPLES, 0, augmented=False)
