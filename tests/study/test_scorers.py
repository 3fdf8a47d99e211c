"""Proxies in a study: who is asked for them, and that resuming and workers change nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from study_parts import Hashed, Random, ToySpace

from swath import spaces, strategies
from swath.core.errors import RecipeError, UnknownName
from swath.core.history import History
from swath.estimators.proxy import ProxyEstimator
from swath.estimators.tables import Column, Table, TableEstimator, write_table
from swath.estimators.trained import TrainedEstimator
from swath.spaces.base import InputSpec, OutputSpec
from swath.strategies.rank_and_train import RankAndTrain
from swath.study import studies
from swath.study.conduct import open_study, run_study
from swath.study.recipes import resolve
from swath.study.run import RunFolder
from swath.study.scorers import SAMPLES, make_scorer, with_scores
from swath.study.settings import PartSettings
from swath.study.trials import check_trials, search_by_trials
from swath.training.loop import TrainingSettings

# Networks small enough to be scored in milliseconds; other spaces as they are.
SMALL: dict[str, dict[str, Any]] = {
    "darts": {"channels": 2, "cells": 1, "nodes": 1},
    "hsi3d": {"base_width": 2, "stem_width": 3, "head_width": 4},
    "hytas": {"embed_dims": (32,), "max_depth": 4},
    "nasbench101": {"channels": 5, "cells": 1},
    "nasbench201": {"channels": 2, "cells": 1},
    "nasbenchmacro": {"channels": 2, "head_width": 3},
    "seg101": {"backbone": "narrow", "merge_ratio": 0.25},
}
TRAINING = TrainingSettings(iterations=2, window=8, batch=4, validate_every=1)


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chains of blocks with a figure, and two scores that follow it more or less."""
    rng = np.random.default_rng(0)
    space: Any = spaces.create("nasbenchmacro")
    chains = list(dict.fromkeys("".join(rng.choice(list("012"), 8)) for _ in range(300)))
    accuracy = np.array([chain.count("2") for chain in chains]) + rng.normal(size=len(chains))
    columns = [
        Column("acc", accuracy),
        Column("close", accuracy + 0.1 * rng.normal(size=len(chains)), role="proxy"),
        Column("loss", rng.normal(size=len(chains)) - accuracy, "minimize", role="proxy"),
        Column("parameters", 1000.0 + np.arange(len(chains)), "minimize", role="cost"),
    ]
    path = tmp_path_factory.mktemp("own") / "own.safetensors"
    write_table(Table.of("own", [space.from_digits(one) for one in chains], columns, space), path)
    return path


def recipe(table: Path, **strategy: Any) -> dict[str, Any]:
    name = strategy.pop("name", "rank-and-train")
    return {
        "strategy": {"name": name, "options": strategy},
        "estimator": {"name": "table", "options": {"table": str(table), "metric": "acc"}},
    }


def figures(study: Any) -> list[tuple[int, str, float]]:
    return [(t.number, t.architecture.key, t.evaluation.score) for t in study.trials]


def test_a_table_tells_its_own_scores_and_sizes(table: Path) -> None:
    estimator = TableEstimator(str(table), "acc")
    scorer = make_scorer(estimator)
    assert scorer.directions(["close", "loss", "parameters"]) == {
        "close": "maximize",
        "loss": "minimize",
        "parameters": "maximize",  # as a rival: the larger, the more it promises
    }
    chosen = estimator.data.architectures[5:9]
    found = scorer.scores(chosen, ["loss", "parameters"], 0)
    assert found["loss"].tolist() == estimator.data.listed("loss")[5:9]
    assert found["parameters"].tolist() == [1005, 1006, 1007, 1008]
    with pytest.raises(UnknownName, match=r"did you mean 'loss'.*parameters, close, loss"):
        scorer.directions(["los"])


@pytest.mark.parametrize("name", spaces.names())
def test_every_space_is_ranked_on_a_task(name: str, make_task: Callable[..., Any]) -> None:
    space, task = spaces.create(name, **SMALL.get(name, {})), make_task()
    estimator = TrainedEstimator(name, task, space.options, TRAINING, device="cpu")
    strategy = RankAndTrain(("naswot", "logsynflow", "parameters"), candidates=3, batch=3)
    told: list[dict[str, Any]] = []
    ready = with_scores(strategy, estimator, told.append)
    best = [one.architecture for one in ready.propose(space, History(), 0)]
    assert len(set(best)) == 3
    assert [event["done"] for event in told] == [1, 2, 3]
    scorer = make_scorer(estimator)
    found = scorer.scores(best, ["parameters", "naswot"], 0)
    networks = [space.build(one, InputSpec(task.bands), OutputSpec(task.classes)) for one in best]
    sizes = [sum(one.numel() for one in network.parameters()) for network in networks]
    assert found["parameters"].tolist() == sizes
    assert np.isfinite(found["naswot"]).all()


@pytest.mark.parametrize("name", ["hsi3d", "hytas"])
def test_the_batch_is_of_training_labels(name: str, make_task: Callable[..., Any]) -> None:
    task = make_task(spatial=True)
    estimator = TrainedEstimator(name, task, SMALL[name], TRAINING, device="cpu")
    made: ProxyEstimator = make_scorer(estimator)._estimator  # type: ignore[attr-defined]
    x, labels = made._batch(3)
    assert len(x) == len(labels) == SAMPLES
    assert x.shape[1] == task.bands
    train, visible = task.targets("train"), task.split.visible
    if name == "hytas":
        assert labels.shape == (SAMPLES,)
        counts = np.bincount(labels.numpy(), minlength=task.classes)
        assert counts.max() - counts.min() <= 1  # each class equally often
        middles = x[:, :, 3, 3]  # patches of 7 x 7
    else:
        assert labels.shape == (SAMPLES, 8, 8)
        middles, labels = x.permute(0, 2, 3, 1)[labels >= 0], labels[labels >= 0]
    pixels = task.image.permute(1, 2, 0)[train >= 0]
    classes = train[train >= 0]
    for middle, label in zip(middles, labels, strict=True):
        same = (pixels == middle).all(dim=1).numpy()
        assert same.any()
        assert (classes[same] == int(label)).all()
    assert visible is not None  # what is hidden from training is hidden here
    again, _ = made._batch(3)
    assert again is x


def test_estimators_without_data_are_refused() -> None:
    space: Any = ToySpace()
    estimator: Any = Hashed()
    with pytest.raises(RecipeError, match="the estimator Hashed has no data on which proxies"):
        studies.run_study(space, RankAndTrain(), estimator, trials=2)
    plain: Any = Random()
    assert with_scores(plain, estimator) is plain
    without = strategies.create("npenas")
    assert with_scores(without, estimator) is without


def test_a_study_trains_the_first_in_rank(table: Path) -> None:
    study = run_study(recipe(table, proxies=["close"], candidates=200), trials=10)
    own = TableEstimator(str(table), "acc")
    scorer = make_scorer(own)
    drawn = with_scores(RankAndTrain("close", 200, batch=200), own)
    space = own.search_space()
    everyone = [one.architecture for one in drawn.propose(space, History(), study.facts["seed"])]
    close = scorer.scores(everyone, ["close"], 0)["close"]
    assert [t.architecture for t in study.trials] == [
        everyone[place] for place in np.argsort(-close, kind="stable")[:10]
    ]
    scores = [trial.evaluation.score for trial in study.trials if trial.evaluation is not None]
    assert np.mean(scores) > np.quantile(own.data.listed("acc"), 0.9)


@pytest.mark.parametrize(
    ("strategy", "workers"),
    [
        ({"proxies": ["close", "loss"], "candidates": 40, "batch": 5}, 2),
        ({"name": "npenas", "features": ["loss", "parameters"], "initial": 5, "batch": 5}, 1),
    ],
)
def test_resumed_and_shared_studies_have_the_same_trials(
    strategy: dict[str, Any], workers: int, table: Path, tmp_path: Path
) -> None:
    asked = recipe(table, **strategy)
    whole = figures(run_study(asked, trials=18, seed=4))
    assert len({key for _, key, _ in whole}) == 18
    for trials in (3, 12, 18):  # stopped in the first batch and in the third
        run_study(asked, trials=trials, seed=4, out=tmp_path / "resumed")
    assert figures(open_study(tmp_path / "resumed")) == whole
    if workers > 1:
        assert figures(run_study(asked, trials=18, seed=4, workers=workers)) == whole


def test_what_proposing_took_is_kept(table: Path, tmp_path: Path) -> None:
    asked = recipe(table, proxies=["close"], candidates=200, batch=4)
    run_study(asked, trials=6, out=tmp_path / "study")
    study = open_study(tmp_path / "study")
    shares = [record.proposing for record in study.records]
    assert shares[0] == shares[3] > 0  # four of one batch
    assert shares[4] == shares[5] > 0
    assert shares[4] != shares[0]  # the second batch was proposed on its own
    from swath.study.export import rows

    assert [row["proposing_seconds"] for row in rows(study)] == shares


def test_the_trials_of_a_search_are_the_first_in_rank(
    make_task: Callable[..., Any], tmp_path: Path
) -> None:
    """Of 'swath search', by sizes that can be counted."""
    options: dict[str, Any] = {**SMALL["nasbench201"], "patch": 5}
    asked = resolve(
        {
            "space": {"name": "nasbench201", "options": options},
            "study": {
                "strategy": {
                    "name": "rank-and-train",
                    "options": {"proxies": "parameters", "candidates": 12},
                },
                "trials": 3,
                "iterations": 2,
            },
            "training": {"iterations": 2, "validate_every": 1, "batch": 8},
            "device": "cpu",
        }
    )
    assert asked.study is not None
    space, task = spaces.create("nasbench201", **options), make_task()
    check_trials(space, task, asked)
    told: list[dict[str, Any]] = []
    found = search_by_trials(space, task, asked, RunFolder(tmp_path), told.append)
    scored = [event["done"] for event in told if event["phase"] == "score"]
    assert scored == list(range(1, 13))
    sizes = [t.evaluation.cost.parameters for t in found.study.trials if t.evaluation is not None]
    assert len(sizes) == 3
    assert sizes == sorted(sizes, reverse=True)
    assert found.seconds > sum(record.proposing for record in found.study.records) > 0
    wrong = asked.study.model_copy(
        update={"strategy": PartSettings(name="rank-and-train", options={"proxies": ["snop"]})}
    )
    with pytest.raises(UnknownName, match="did you mean 'snip'"):
        check_trials(space, task, asked.model_copy(update={"study": wrong}))
