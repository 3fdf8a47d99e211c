"""Architectures scored by proxies, written and read again."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from swath import spaces
from swath.core.errors import DataError, InvalidArchitecture, RecipeError, UnknownName
from swath.estimators.proxy import ProxyEstimator
from swath.estimators.scored import (
    ScoreColumns,
    draw_architectures,
    read_architectures,
    read_scores,
    score_architectures,
    write_scores,
)
from swath.study.scoring import random_batch


@pytest.fixture(scope="module")
def space() -> Any:
    return spaces.create("hytas", max_depth=4, embed_dims=(32, 48), group=1)


@pytest.fixture(scope="module")
def scores(space: Any) -> ScoreColumns:
    batch = random_batch(space, 6, 3, samples=4, window=7, seed=2)
    found = draw_architectures(space, 3, seed=1)
    return score_architectures(
        space, found, ["snip", "syn*"], batch, classes=3, seed=2, keep=True, device="cpu"
    )


def test_they_are_what_the_estimator_tells(space: Any, scores: ScoreColumns) -> None:
    estimator = ProxyEstimator(
        "hytas", 6, 3, "snip", ("synflow",), dict(space.options), samples=4, device="cpu"
    )
    assert scores.proxies == ("snip", "synflow", "parameters", "flops")
    for row, architecture in enumerate(scores.architectures):
        told = estimator.evaluate(architecture, seed=2)
        # Rounding depends on the number of threads, which a shared fixture may have more of.
        same = functools.partial(pytest.approx, rel=1e-5)
        assert scores.columns["snip"][row] == same(told.score)
        assert scores.columns["synflow"][row] == same(told.metrics["synflow"])
        assert scores.columns["snip/mlp"][row] == same(told.metrics["snip/mlp"])
        assert scores.columns["parameters"][row] == told.cost.parameters
        assert scores.networks[row]["snip"].total == same(told.score)


def test_the_best_come_first_and_gaps_last() -> None:
    space: Any = spaces.create("nasbenchmacro")
    architectures = tuple(draw_architectures(space, 4))
    columns = {
        "snip": np.array([1, np.nan, 3, 3.0]),
        "ntk_condition": np.array([1, np.nan, 3, 3.0]),
        "own": np.array([2, 1, 4, 3.0]),
    }
    found = ScoreColumns(architectures, columns)
    assert found.ranked("snip") == [2, 3, 0, 1]
    assert found.ranked("ntk_condition") == [0, 2, 3, 1]  # small is good
    assert found.ranked("own") == [2, 3, 0, 1]


def test_a_file_gives_back_what_was_written(
    space: Any, scores: ScoreColumns, tmp_path: Path
) -> None:
    gaps = dict(scores.columns) | {"naswot": np.array([0.1, np.nan, 1e-300])}
    write_scores(ScoreColumns(scores.architectures, gaps), tmp_path / "scores.csv")
    found = read_scores(tmp_path / "scores.csv")
    assert found.architectures == scores.architectures
    assert list(found.columns) == list(gaps)
    for name, values in gaps.items():
        np.testing.assert_array_equal(found.columns[name], values)
    assert read_architectures(tmp_path / "scores.csv", space) == list(scores.architectures)


def test_architectures_of_a_list(space: Any, tmp_path: Path) -> None:
    one, other, _ = draw_architectures(space, 3)
    text = ",".join(f"{name}={value}" for name, value in other.genes)
    entries = [json.loads(one.to_json()), text, other.as_dict()]
    (tmp_path / "some.json").write_text(json.dumps(entries))
    assert read_architectures(tmp_path / "some.json", space) == [one, other]
    (tmp_path / "some.json").write_text(json.dumps([text, "embed_dim=7"]))
    with pytest.raises(DataError, match=r"entry 2 of .* gene 'embed_dim' cannot be '7'"):
        read_architectures(tmp_path / "some.json", space)
    (tmp_path / "some.json").write_text("{}")
    with pytest.raises(DataError, match="holds no list"):
        read_architectures(tmp_path / "some.json", space)
    with pytest.raises(DataError, match="there is no file"):
        read_architectures(tmp_path / "none.json", space)


def test_draws_differ_and_depend_on_the_seed(space: Any) -> None:
    found = draw_architectures(space, 20, seed=3)
    assert len(set(found)) == 20
    assert found == draw_architectures(space, 20, seed=3) != draw_architectures(space, 20, seed=4)
    # A space of two has no third.
    tiny = spaces.create(
        "hytas", min_depth=1, max_depth=1, heads=(3,), mlp_ratios=(1,), embed_dims=(32, 48)
    )
    assert len(draw_architectures(tiny, 5)) == 2


def test_what_cannot_be_scored_is_refused(space: Any, tmp_path: Path) -> None:
    batch = torch.zeros(2, 6, 7, 7), torch.tensor([0, 1])
    one = draw_architectures(space, 1)
    with pytest.raises(UnknownName, match="did you mean 'snip'"):
        score_architectures(space, one, ["snipp"], batch, classes=3)
    with pytest.raises(RecipeError, match="no architecture"):
        score_architectures(space, [], ["snip"], batch, classes=3)
    with pytest.raises(InvalidArchitecture):
        score_architectures(spaces.create("nasbench201"), one, ["snip"], batch, classes=3)
    text = one[0].to_json().replace('"', '""')
    (tmp_path / "twice.csv").write_text(f'architecture,x\n"{text}",1\n"{text}",2\n')
    with pytest.raises(DataError, match=r"line 3 of .* of line 2 again"):
        read_scores(tmp_path / "twice.csv")
    genes = dict(reversed(one[0].genes))  # the same in another order
    turned = json.dumps({"space": space.name, "genes": genes}).replace('"', '""')
    (tmp_path / "twice.csv").write_text(f'architecture,x\n"{text}",1\n"{turned}",2\n')
    with pytest.raises(DataError, match=r"line 3 of .* of line 2 again"):
        read_scores(tmp_path / "twice.csv")
