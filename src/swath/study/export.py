"""A study as rows: one trial a row, for tables, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

from swath.core.history import Trial
from swath.study.store import Record, plain
from swath.study.studies import Study

__all__ = ["rows", "to_csv", "to_json", "values"]

_COSTS = ("parameters", "flops", "latency")


def values(study: Study, trial: Trial) -> list[float | None]:
    """Return the objectives of a trial as they were measured; None where it is infeasible."""
    if trial.evaluation is None:
        return [None] * len(study.objectives)
    return [objective.value(trial.evaluation) for objective in study.objectives]


def rows(study: Study) -> list[dict[str, Any]]:
    """Return the trials in the order of their numbers, each with the same columns.

    Genes are called ``gene.NAME``, objectives by their names, and what else the estimator told
    ``metric.NAME``; ``seconds`` is what the evaluation took, as the estimator states it, and
    ``proposing_seconds`` the trial's share in what the strategy took for its batch;
    ``architecture`` is all genes as JSON, as ``swath score --architectures`` reads it.
    """
    named = [_row(study, record) for record in study.records]
    columns = list(dict.fromkeys(column for row in named for column in row))
    return [{column: row.get(column) for column in columns} for row in named]


def to_csv(study: Study) -> str:
    """Return the rows as CSV with a head; what is missing is left empty."""
    table = rows(study)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(table[0]) if table else ["number"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue()


def to_json(study: Study) -> str:
    """Return the study's facts and its trials, each with its evaluation as it was kept."""
    trials = [
        {
            "number": record.trial.number,
            "batch": record.batch,
            "budget": record.trial.budget,
            "architecture": json.loads(record.trial.architecture.to_json()),
            "values": values(study, record.trial),
            "evaluation": None
            if record.trial.evaluation is None
            else record.trial.evaluation.to_dict(),
            "reason": record.trial.reason,
            "wall_seconds": record.seconds,
            "proposing_seconds": record.proposing,
        }
        for record in study.records
    ]
    data = {"name": study.name, "study": study.facts, "trials": trials}
    return json.dumps(plain(data), indent=2, allow_nan=False) + "\n"


def _row(study: Study, record: Record) -> dict[str, Any]:
    trial, evaluation = record.trial, record.trial.evaluation
    row: dict[str, Any] = {
        "number": trial.number,
        "batch": record.batch,
        "budget": trial.budget,
        "state": "infeasible" if evaluation is None else "complete",
    }
    names = [objective.name for objective in study.objectives]
    row |= dict(zip(names, values(study, trial), strict=True))
    row |= {f"gene.{name}": value for name, value in trial.architecture.genes}
    if evaluation is not None:
        row |= {cost: getattr(evaluation.cost, cost) for cost in _COSTS if cost not in row}
        row.setdefault("seconds", evaluation.cost.seconds)
        row |= {
            f"metric.{name}": value
            for name, value in evaluation.metrics.items()
            if isinstance(value, str | int | float | None)
        }
    return row | {
        "wall_seconds": record.seconds,
        "proposing_seconds": record.proposing,
        "reason": trial.reason,
        "architecture": trial.architecture.to_json(),
    }
