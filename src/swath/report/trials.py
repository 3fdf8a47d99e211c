"""The section on a search by trials: what was found when, and what size alone would have found."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from swath.core.evaluation import Evaluation
from swath.core.history import Trial
from swath.core.words import counted
from swath.estimators.rank_correlation import spearman
from swath.report.charts import Mark, Series, line_chart
from swath.report.html import Column, Html, figure, join, paragraph, section, sentence, table
from swath.report.record import RunRecord
from swath.report.words import count, percent, plain, short
from swath.study.studies import Study

__all__ = ["axis_limits", "correlation_with_size", "trials"]

_TOP = 5


def trials(run: RunRecord, study: Study) -> Html:
    """Return words, charts and the best trials of a search, with its trivial rival."""
    best = study.best
    if best is None:
        return section("Search", paragraph(_how_many(study)), sentence("No trial was feasible."))
    charts = [figure(chart) for chart in (_best_so_far(run, study), _by_size(run, study)) if chart]
    return section(
        "Search",
        paragraph(_how_many(study) + _chosen(run, study, best)),
        Html(f'<div class="pair">{join(*charts)}</div>'),
        Html(f"<h3>The best {min(_TOP, len(study.comparable))} trials</h3>"),
        _best_trials(run, study),
        Html("<h3>The trivial rival: size alone</h3>"),
        paragraph(_rival(study, best)),
    )


def _how_many(study: Study) -> str:
    infeasible = sum(trial.evaluation is None for trial in study.trials)
    words = f"The strategy {study.facts['strategy']['name']} made "
    words += f"{counted(len(study.trials), 'trial')}"
    words += f", {infeasible} of them infeasible. " if infeasible else ", all feasible. "
    return words


def _chosen(run: RunRecord, study: Study, best: Trial) -> str:
    budgets = study.facts["estimator"]["options"].get("budgets") or ()
    training = run.recipe.get("training")
    full = training.get("iterations") if isinstance(training, Mapping) else None
    words = "Each trained a network anew and was judged by the validation labels alone"
    if budgets:
        words += f", after {' or '.join(map(count, budgets))} iterations"
        words += f" (the final network: {count(full)})" if full else ""
    words += f". Trial {best.number} has the best {run.measure}, {percent(_score(best))}"
    section = run.recipe.get("study")
    several = section.get("retrain", 1) if isinstance(section, Mapping) else 1
    if several > 1:
        taken = _taken(run, study) or best
        words += f"; the first {several} were trained in full, and of these trial {taken.number}"
    else:
        words += ", and"
    words += " was taken. "
    return words + "The best of many such figures is a little too good, for part of it is luck."


def _title(run: RunRecord) -> str:
    return run.measure[0].upper() + run.measure[1:]


def _taken(run: RunRecord, study: Study) -> Trial | None:
    """Return the first trial of the run's architecture."""
    genes = run.architecture.get("genes")
    return next((t for t in study.ranked() if t.architecture.as_dict() == genes), None)


def _best_so_far(run: RunRecord, study: Study) -> str | None:
    """Return each score, and the best so far as steps."""
    shown = sorted(study.comparable, key=lambda trial: trial.number)
    numbers = [trial.number for trial in shown]
    scores = [_score(trial) for trial in shown]
    so_far = np.maximum.accumulate(scores).tolist()
    best = study.best
    assert best is not None
    # A step holds until the next trial, and the last one until the end of the search.
    ends = [*numbers[1:], study.trials[-1].number]
    x = [place for start, end in zip(numbers, ends, strict=True) for place in (start, end)]
    limits, outside = axis_limits(scores)
    return line_chart(
        [
            Series("best so far", x, [value for value in so_far for _ in range(2)]),
            Series(f"one trial{outside}", numbers, scores, dots=True),
        ],
        title=_title(run),
        x_label="trial",
        percent=True,
        y_range=limits,
        mark=Mark(best.number, _score(best), f"{percent(_score(best))}, trial {best.number}"),
    )


def _by_size(run: RunRecord, study: Study) -> str | None:
    """Return scores over the numbers of parameters."""
    pairs = _sizes_and_scores(study)
    limits, outside = axis_limits([score for _, score in pairs])
    sizes, scores = [size for size, _ in pairs], [score for _, score in pairs]
    return line_chart(
        [Series("one trial", sizes, scores, dots=True)],
        title=f"{_title(run)} by size{outside}",
        x_label="parameters",
        percent=True,
        y_range=limits,
    )


def axis_limits(scores: Sequence[float]) -> tuple[tuple[float, float] | None, str]:
    """Return limits of the axis that leave out the worst tenth where it would crowd the rest.

    None where the axis may fit all; then nothing is said of what is outside.
    """
    if not scores:
        return None, ""
    best, worst, bound = max(scores), min(scores), float(np.quantile(scores, 0.1))
    if best - worst <= 2 * (best - bound) or bound == best:
        return None, ""
    room = best - bound
    outside = sum(score < bound for score in scores)
    return (bound - 0.15 * room, best + 0.2 * room), f" ({outside} worse at the lower edge)"


def _best_trials(run: RunRecord, study: Study) -> Html:
    columns = [
        Column("trial"),
        Column(run.measure, "number"),
        Column("parameters", "number"),
        Column("FLOPs per pixel", "number"),
    ]
    rows = []
    for trial in study.ranked()[:_TOP]:
        cost = _evaluation(trial).cost
        figures = [percent(_score(trial)), count(cost.parameters), short(cost.flops)]
        rows.append([str(trial.number), *figures])
    return table(columns, rows)


def _rival(study: Study, best: Trial) -> str:
    pairs = _sizes_and_scores(study)
    if len(pairs) < 3:
        return "Too few trials can be compared to say whether larger networks were better."
    largest = max(
        (trial for trial in study.comparable if _evaluation(trial).cost.parameters is not None),
        key=lambda trial: (_evaluation(trial).cost.parameters or 0, -trial.number),
    )
    words = correlation_with_size(pairs, "trials")
    if largest.number == best.number:
        return words + "The best network is the largest one: taking that would have done as well."
    return (
        words + f"Taking the largest network tried (trial {largest.number}) would have given "
        f"{percent(_score(largest))}; the best trial has {percent(_score(best))}."
    )


def correlation_with_size(pairs: Sequence[tuple[float, float]], things: str) -> str:
    """Say how well size alone ranks networks.

    Parameters
    ----------
    pairs : (parameters, score) of at least three.
    things : what they are called.
    """
    correlation = spearman(*np.array(pairs).T)
    if math.isnan(correlation):
        return f"All {things} have the same score or the same size, so that ranks say nothing. "
    chance = min(1.0, 1.96 / math.sqrt(len(pairs) - 1))
    return (
        "The rank correlation (Spearman) of the validation figure with the number of parameters "
        f"is {plain(correlation, 2)} over {count(len(pairs))} {things}; by chance alone it lies "
        f"between ± {plain(chance, 2)} in 95 cases of 100. "
    )


def _sizes_and_scores(study: Study) -> list[tuple[float, float]]:
    """Return (parameters, score) of the comparable trials whose size is known."""
    return [
        (float(size), _score(trial))
        for trial in study.comparable
        if (size := _evaluation(trial).cost.parameters) is not None
    ]


def _evaluation(trial: Trial) -> Evaluation:
    assert trial.evaluation is not None
    return trial.evaluation


def _score(trial: Trial) -> float:
    return _evaluation(trial).score
