"""Who tells scores of proxies: computed on a batch, or looked up."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.errors import Infeasible, UnknownName
from swath.core.evaluation import Evaluation
from swath.estimators.proxy import ProxyEstimator
from swath.estimators.scored import draw_architectures, score_architectures
from swath.estimators.scorers import ColumnScorer, UntrainedScorer

OPTIONS: dict[str, Any] = {"channels": 2, "cells": 1}
NAMES = ("naswot", "ntk_condition", "parameters")


def estimator(**changes: Any) -> ProxyEstimator:
    options = {"space_options": OPTIONS, "samples": 4, "device": "cpu", **changes}
    return ProxyEstimator("nasbench201", 3, 4, "snip", **options)


def test_scores_are_those_of_untrained_networks() -> None:
    space = spaces.create("nasbench201", **OPTIONS)
    cells = draw_architectures(space, 4, seed=1)
    made = estimator()
    found = UntrainedScorer(lambda: made).scores(cells, NAMES, 7)
    # The same road as 'swath score', with the estimator's own batch.
    expected = score_architectures(
        space, cells, NAMES, made._batch(7), classes=4, seed=7, device="cpu"
    )
    for name in NAMES:
        assert found[name] == pytest.approx(expected.columns[name])
    sizes = [sum(p.numel() for p in made._network(cell, 0).parameters()) for cell in cells]
    assert found["parameters"].tolist() == sizes
    assert UntrainedScorer(estimator).directions(NAMES)["ntk_condition"] == "minimize"


def test_what_was_scored_is_not_scored_again(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = draw_architectures(spaces.create("nasbench201", **OPTIONS), 5)
    asked: list[Architecture] = []
    evaluate = ProxyEstimator.evaluate

    def counted(self: ProxyEstimator, architecture: Architecture, **given: Any) -> Evaluation:
        asked.append(architecture)
        return evaluate(self, architecture, **given)

    monkeypatch.setattr(ProxyEstimator, "evaluate", counted)
    told: list[tuple[int, int]] = []
    scorer = UntrainedScorer(estimator, lambda done, total: told.append((done, total)))
    first = scorer.scores(cells[:3], ["naswot"], 0)
    both = scorer.scores(cells, ["naswot"], 0)
    assert asked == cells
    assert told == [(1, 3), (2, 3), (3, 3), (1, 2), (2, 2)]
    assert both["naswot"][:3].tolist() == first["naswot"].tolist()
    # Another seed, or other names, are other questions; the order of asking changes no answer.
    fresh = UntrainedScorer(estimator)
    assert scorer.scores(cells, ["naswot"], 1)["naswot"].tolist() != both["naswot"].tolist()
    assert fresh.scores(cells[::-1], ["naswot"], 0)["naswot"].tolist()[::-1] == (
        both["naswot"].tolist()
    )


def test_a_network_that_does_not_fit_has_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = draw_architectures(spaces.create("nasbench201", **OPTIONS), 2)
    evaluate = ProxyEstimator.evaluate

    def full(self: ProxyEstimator, architecture: Architecture, **given: Any) -> Evaluation:
        if architecture == cells[0]:
            raise Infeasible("out of memory on cpu")
        return evaluate(self, architecture, **given)

    monkeypatch.setattr(ProxyEstimator, "evaluate", full)
    found = UntrainedScorer(estimator).scores(cells, NAMES, 0)
    for name in NAMES:
        assert [math.isnan(value) for value in found[name]] == [True, False]


def test_scoring_leaves_torchs_generator_alone() -> None:
    cells = draw_architectures(spaces.create("nasbench201", **OPTIONS), 1)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    UntrainedScorer(estimator).scores(cells, NAMES, 0)
    assert torch.equal(torch.rand(3), expected)


def test_columns_are_looked_up() -> None:
    cells = draw_architectures(spaces.create("nasbench201", **OPTIONS), 3)
    columns = {"snip": np.array([1.0, math.nan, 3.0]), "grasp": np.array([5.0, 6.0, 7.0])}
    scorer = ColumnScorer("table 'own'", cells.index, columns, {"grasp": "minimize"})
    found = scorer.scores([cells[2], cells[0], cells[2]], ["grasp", "snip"], 9)
    assert {name: values.tolist() for name, values in found.items()} == {
        "grasp": [7.0, 5.0, 7.0],
        "snip": [3.0, 1.0, 3.0],
    }
    assert scorer.directions(["snip", "grasp"]) == {"snip": "maximize", "grasp": "minimize"}
    with pytest.raises(UnknownName, match=r"table 'own' has no scores 'snop' .*'snip'"):
        scorer.directions(["grasp", "snop"])
