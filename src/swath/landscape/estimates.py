"""Guesses of how good networks are, as tables: judgements of a supernet, scores of proxies."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.errors import InvalidArchitecture, RecipeError, RunError
from swath.core.evaluation import Direction
from swath.core.files import read_json_lines
from swath.estimators._table import Column, Table
from swath.estimators.scored import SIZES, read_scores
from swath.study.recipes import resolve
from swath.study.run import RunFolder
from swath.study.settings import load_recipe

__all__ = ["children_file", "score_table", "supernet_table"]


def children_file(run: str | os.PathLike[str]) -> Path:
    """Return the file of a one-shot run that holds what its supernet said of networks."""
    return RunFolder(Path(run)).search / "children.jsonl"


def supernet_table(run: str | os.PathLike[str]) -> Table:
    """Return what a one-shot search's supernet said of networks: a row for each that was judged.

    ``inherited`` is the accuracy on the validation labels with the supernet's weights; its budgets
    are the epochs that the supernet had learnt when it was asked.

    Raises
    ------
    RunError : the folder is none of a one-shot search.
    """
    recipe = resolve(load_recipe(RunFolder.open(run).recipe))
    if recipe.one_shot is None:
        raise RunError(f"{run} is no run of a one-shot search, so that no supernet judged networks")
    space = spaces.create(recipe.space.name, **recipe.space.options)
    training = recipe.one_shot.training
    rows: dict[Architecture, dict[int, Mapping[str, Any]]] = {}
    for line in read_json_lines(children_file(run)):
        epochs = training.epochs_before(line["stage"] + 1)
        rows.setdefault(space.architecture(line["genes"]), {})[epochs] = line["evaluation"]
    budgets = sorted({epochs for judged in rows.values() for epochs in judged})

    def column(name: str, direction: Direction, value: Callable[[Any], float]) -> list[Column]:
        return [
            Column(
                name,
                np.array([value(one[at]) if at in one else np.nan for one in rows.values()]),
                direction,
                at,
            )
            for at in budgets
        ]

    sizes = [float(next(iter(one.values()))["cost"]["parameters"]) for one in rows.values()]
    return Table.of(
        Path(run).resolve().name,
        list(rows),
        [
            *column("inherited", "maximize", lambda one: one["score"]),
            *column("loss", "minimize", lambda one: one["metrics"]["validation_loss"]),
            Column("parameters", np.array(sizes), role="cost"),
        ],
        space,
        notes=(
            "fitness is what a supernet says with inherited weights, of the networks that its "
            "search asked about",
        ),
    )


def score_table(path: str | os.PathLike[str], metric: str | None = None) -> Table:
    """Return what ``swath score`` wrote as a table whose first figure is ``metric``.

    Parameters
    ----------
    metric : None: the first column.

    Raises
    ------
    DataError : the file holds no scores.
    RecipeError : its architectures are of several spaces, or of one with options that change its
        genes.
    """
    scores = read_scores(path)
    names = sorted({one.space for one in scores.architectures})
    if len(names) != 1:
        raise RecipeError(
            f"{path} has architectures of {', '.join(names) or 'no space'}; a landscape is of one "
            "space, so give each a file"
        )
    space = spaces.create(names[0])
    try:
        for one in scores.architectures:
            space.validate(one)
    except InvalidArchitecture as error:
        raise RecipeError(
            f"{path} has architectures of another variant of space '{space.name}' ({error}); make "
            "their landscape in Python, with swath.landscape.of_mapping"
        ) from error
    chosen = metric if metric in scores.columns else next(iter(scores.columns))
    columns = [
        Column(
            name,
            values,
            scores.direction(name),
            role="score" if name == chosen else "cost" if name in SIZES else "proxy",
        )
        for name, values in scores.columns.items()
    ]
    columns.sort(key=lambda one: one.role != "score")
    return Table.of(
        Path(path).name,
        [space.architecture(one.as_dict()) for one in scores.architectures],
        columns,
        space,
        notes=("fitness is a proxy's guess, of untrained networks",),
    )
