"""One-shot searches against what they should do, told slowly and independently."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from swath import spaces
from swath.core.architecture import Architecture
from swath.core.errors import NothingToSample, RecipeError, UnknownName
from swath.estimators.inherited import asked_as
from swath.networks.cost import count_parameters
from swath.spaces.base import InputSpec, OutputSpec, SearchSpace
from swath.spaces.narrowed import Narrowed
from swath.strategies.one_shot import FoundOneShot, OneShot, one_shot_search
from swath.strategies.one_shot_settings import OneShotSettings, Shrinking
from swath.supernets.operators import Operator, is_possible, operators, reachable, without
from swath.supernets.shrinking import dropped
from swath.supernets.training import SupernetTraining
from swath.training.batches import batches
from swath.training.evaluate import evaluate, recalibrated

TRAINING = SupernetTraining(epochs=2, later_epochs=1, steps=3, batch=8, snapshots=2, window=6)
SETTINGS = OneShotSettings(
    training=TRAINING, recalibration=16, population=6, parents=3, crossover=3, generations=2
)


def chain(widths: tuple[int, ...] = (2, 2), layers: tuple[int, ...] = (1, 2)) -> SearchSpace:
    return spaces.create(
        "mobilenet",
        stem_width=2,
        first_width=2,
        widths=widths,
        layers=layers,
        strides=(2,) * len(widths),
        head_width=3,
        patch=5,
    )


def cells() -> SearchSpace:
    return spaces.create("nasbench201", channels=2, cells=1, patch=5)


def parameters(space: SearchSpace, architecture: Architecture, bands: int, classes: int) -> int:
    return count_parameters(space.build(architecture, InputSpec(bands), OutputSpec(classes)))


def found(search: FoundOneShot) -> list[tuple[str, float, float]]:
    return [
        (r.architecture.to_json(), r.evaluation.score, r.evaluation.metrics["validation_loss"])
        for r in search.ranking
    ]


def test_the_ranking_is_that_of_brute_force(make_task: Any, tmp_path: Path) -> None:
    """Every child of a small space, taken out of the supernet and judged by itself."""
    space, task = chain((2,), (2,)), make_task()
    search = OneShot(space, task, SETTINGS, seed=4)
    while not search.trained:
        search.train_epoch()
    assert space.size() == 42
    search.supernet.load_tensors(search.trainer.mean)
    judged = search._inherited()
    expected = []
    for architecture in search.remaining.enumerate():
        child = search.supernet.extract(architecture)
        with recalibrated(child, judged._calibration):
            result = evaluate(asked_as(child, space), task, "validation")
        expected.append((architecture.to_json(), result.scores.oa, result.loss))
    expected.sort(key=lambda one: (-one[1], one[2]))
    ranking = one_shot_search(space, task, SETTINGS, seed=4, folder=tmp_path).ranking
    assert [r.architecture.to_json() for r in ranking] == [key for key, _, _ in expected]
    for one, (_, accuracy, loss) in zip(ranking, expected, strict=True):
        assert one.evaluation.score == pytest.approx(accuracy)
        assert one.evaluation.metrics["validation_loss"] == pytest.approx(loss, rel=1e-4)
    # The calibration data are training data, and the mean is what the ranking is of.
    drawn = batches(asked_as(search.supernet, space), task, judged_seed(search), window=6)
    assert torch.equal(judged._calibration[0], drawn.batch(16, 0, augmented=False)[0])


def judged_seed(search: OneShot) -> int:
    from swath.core.seeds import derive

    return derive(search.seed, "recalibration")


@pytest.mark.parametrize(
    ("name", "measure"),
    [
        ("nasbench201", "score"),
        ("mobilenet", "importance"),
        ("hytas", "angle"),
        ("hytas", "score"),
        ("hsi3d", "random"),
    ],
)
def test_every_measure_shrinks_every_kind_of_space(
    name: str, measure: Any, make_task: Any, tmp_path: Path
) -> None:
    options: dict[str, dict[str, Any]] = {
        "hsi3d": {"nodes": 1, "base_width": 2, "stem_width": 3, "head_width": 4},
        "hytas": {
            "embed_dims": (8, 12),
            "min_depth": 1,
            "max_depth": 3,
            "heads": (2,),
            "mlp_ratios": (1, 2),
            "patch": 3,
        },
    }
    space = {"nasbench201": cells, "mobilenet": chain}.get(
        name, lambda: spaces.create(name, **options[name])
    )()
    shrinking = Shrinking(measure=measure, drop=2, children=1, stages=2, threshold=12)
    settings = replace(SETTINGS, shrinking=shrinking, enumerate=0, generations=1)
    task = make_task()
    result = one_shot_search(space, task, settings, seed=1, folder=tmp_path)
    stages = json.loads((tmp_path / "stages.json").read_text())["stages"]
    assert len(stages) == 2
    before = {gene.name: list(gene.choices) for gene in space.genes}
    for stage in stages:
        gone = [one for one in stage["operators"] if one["dropped"]]
        assert len(gone) >= 2
        for one in gone:
            before[one["gene"]].remove(one["value"])
        assert stage["remaining"] == before
        assert min(map(len, before.values())) >= 1
    assert {g.name: list(g.choices) for g in result.remaining.genes} == before
    for one in result.ranking:
        result.remaining.validate(one.architecture)
    history = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
    assert [(line["stage"], line["epoch"]) for line in history] == [(0, 1), (0, 2), (1, 3), (2, 4)]


def test_shrinking_ends_where_the_space_is_small_enough(make_task: Any, tmp_path: Path) -> None:
    shrinking = Shrinking(measure="random", drop=2, target_size=30)
    settings = replace(SETTINGS, shrinking=shrinking)
    result = one_shot_search(chain(), make_task(), settings, seed=1, folder=tmp_path)
    sizes = [s["size"] for s in json.loads((tmp_path / "stages.json").read_text())["stages"]]
    assert sizes[-1] == result.remaining.size() <= 30
    assert min(sizes[:-1]) > 30
    # And where nothing more may go.
    settings = replace(SETTINGS, shrinking=replace(shrinking, target_size=0.5, drop=7))
    result = one_shot_search(chain(), make_task(), settings, seed=1, folder=tmp_path / "all")
    assert result.remaining.size() == 1
    assert len(result.ranking) == 1


HYTAS: dict[str, Any] = {
    "embed_dims": (8,),
    "heads": (2,),
    "mlp_ratios": (1, 2),
    "min_depth": 1,
    "max_depth": 3,
}


def brute(space: Narrowed) -> set[Operator]:
    """The operators of the architectures that there are."""
    every = [Operator(g, v) for one in space.enumerate() for g, v in one.genes]
    return set(every)


def test_what_would_leave_nothing_stays() -> None:
    """hytas: where a layer is 'none' alone, so must be all that follow."""
    space = Narrowed(spaces.create("hytas", **HYTAS), {})
    rng = np.random.default_rng(0)
    worst = [Operator("layer.3", "none"), *(Operator("layer.2", v) for v in space.genes[2].choices)]
    scores: dict[Operator, float] = {o: 0.1 * i for i, o in enumerate(worst)}
    scores = {o: scores.get(o, 9.0) for o in operators(space)} | {Operator("layer.2", "none"): 8.0}
    unchecked = without(space, dropped(scores, 3))
    assert list(unchecked.enumerate()) == []

    def possible(gone: Any) -> bool:
        return is_possible(without(space, gone), rng)

    gone = dropped(scores, 3, possible)
    assert gone[0] == worst[0]
    assert len(gone) == 3
    assert list(without(space, gone).enumerate())


@pytest.mark.parametrize("seed", range(12))
def test_what_is_out_of_reach_goes_too(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for name, options in (("hytas", HYTAS), ("hsi3d", {"layers": 3, "nodes": 1})):
        whole = spaces.create(name, **options)
        few = {g.name: g.choices[:1] for g in whole.genes if ".op" in g.name}
        space = Narrowed(whole, few)
        scores = {operator: float(rng.random()) for operator in operators(space)}
        gone = dropped(scores, 4, lambda g, s=space: is_possible(without(s, g), rng))
        left = without(space, gone)
        every = list(left.enumerate())
        assert every
        kept = reachable(left, rng)
        assert set(kept.enumerate()) == set(every)
        assert {Operator(g.name, v) for g in kept.genes for v in g.choices} == brute(left)


def test_a_space_out_of_reach_is_no_space() -> None:
    space = Narrowed(
        spaces.create("hsi3d", layers=2, nodes=1), {"cell0.width": [0], "cell1.width": [2]}
    )
    assert not is_possible(space, np.random.default_rng(0))


@pytest.mark.parametrize("enumerate_", [0, 10_000])
def test_constraints_hold_for_all_that_is_judged(
    make_task: Any, tmp_path: Path, enumerate_: int
) -> None:
    space, task = chain(), make_task()
    sizes = {
        one: parameters(space, one, task.bands, task.classes)
        for one in Narrowed(space, {}).enumerate()
    }
    # As little as it can be while each operator is in a network that is allowed.
    limit = max(
        min(size for one, size in sizes.items() if one[operator.gene] == operator.value)
        for operator in operators(space)
    )

    def allows(architecture: Architecture) -> bool:
        return sizes[architecture] <= limit

    shrinking = Shrinking(measure="importance", drop=4, children=1, stages=1, threshold=12)
    settings = replace(SETTINGS, shrinking=shrinking, enumerate=enumerate_)
    result = one_shot_search(space, task, settings, seed=2, folder=tmp_path, allows=allows)
    lines = [json.loads(line) for line in (tmp_path / "children.jsonl").read_text().splitlines()]
    judged = [space.architecture(line["genes"]) for line in lines]
    assert {line["stage"] for line in lines} == {0, 1}
    assert len({(line["stage"], line["key"]) for line in lines}) == len(lines)
    assert all(sizes[architecture] <= limit for architecture in judged)
    assert sum(size > limit for size in sizes.values()) > 50  # many are refused
    if enumerate_:
        allowed = {a for a in result.remaining.enumerate() if allows(a)}
        assert {r.architecture for r in result.ranking} == allowed
    with pytest.raises(NothingToSample):
        one_shot_search(
            space, task, settings, seed=2, folder=tmp_path / "no", allows=lambda one: False
        )


class Stop(BaseException):
    """Ends a search from within its report, as a kill would."""


@pytest.mark.parametrize("name", ["se-nas", "fairnas", "genetic"])
def test_a_search_that_was_stopped_anywhere_ends_alike(
    name: str, make_task: Any, tmp_path: Path
) -> None:
    settings = {
        "se-nas": replace(
            SETTINGS, shrinking=Shrinking(drop=3, children=2, stages=2, threshold=9), enumerate=60
        ),
        "fairnas": replace(SETTINGS, training=replace(TRAINING, paths="fair"), enumerate=300),
        "genetic": replace(
            SETTINGS, shrinking=Shrinking(measure="angle", drop=3, stages=1, threshold=9),
            enumerate=0,
        ),
    }[name]  # fmt: skip
    task, events = make_task(), []
    whole = one_shot_search(
        chain(), task, settings, seed=3, folder=tmp_path / "whole", report=events.append
    )
    assert {event["phase"] for event in events} == {"supernet", "children"}
    stops = sorted({0, 1, 2, 3, 4, 6, len(events) // 2, len(events) - 1} & set(range(len(events))))

    def stopping(after: int) -> Callable[[dict[str, Any]], None]:
        left = [after]

        def report(event: dict[str, Any]) -> None:
            left[0] -= 1
            if left[0] < 0:
                raise Stop

        return report

    folder = tmp_path / "stopped"
    for after in stops:
        try:
            one_shot_search(
                chain(), task, settings, seed=3, folder=folder, report=stopping(after % 5)
            )
        except Stop:
            # As a kill in the middle of a line leaves it.
            with open(folder / "children.jsonl", "a") as file:
                file.write('{"stage": 0, "key"')
    again = one_shot_search(chain(), task, settings, seed=3, folder=folder)
    assert found(again) == found(whole)
    for file in ("history.jsonl", "stages.json", "children.jsonl"):
        parts = [tmp_path / part / file for part in ("whole", "stopped")]
        assert parts[0].exists() == parts[1].exists()
        if parts[0].exists():
            texts = [_without_seconds(path.read_text()) for path in parts]
            assert texts[0] == texts[1], file


def _without_seconds(text: str) -> Any:
    if text.startswith("{\n"):
        return json.loads(text)
    lines = [json.loads(line) for line in text.splitlines()]
    for line in lines:
        line.pop("seconds", None)
        line.get("evaluation", {}).pop("cost", None)
    return lines


def test_another_folder_of_an_unfinished_search_is_begun_anew(
    make_task: Any, tmp_path: Path
) -> None:
    """Without its checkpoint, nothing of what else lies there is believed."""
    (tmp_path / "history.jsonl").write_text('{"epoch": 1}\n')
    (tmp_path / "children.jsonl").write_text('{"stage": 0, "key": "x"}\n')
    (tmp_path / "stages.json").write_text("{}")
    one_shot_search(chain((2,), (2,)), make_task(), SETTINGS, seed=3, folder=tmp_path)
    assert len((tmp_path / "history.jsonl").read_text().splitlines()) == 2
    assert not (tmp_path / "stages.json").exists()


def test_a_space_without_a_supernet_is_refused(make_task: Any, tmp_path: Path) -> None:
    space = spaces.create("nasbench101")
    with pytest.raises(UnknownName, match="'nasbench101' has no supernet"):
        one_shot_search(space, make_task(), SETTINGS, seed=0, folder=tmp_path)


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (OneShotSettings, {"generations": 0}, r"one_shot\.generations must be at least 1, not 0"),
        (OneShotSettings, {"recalibration": -1}, r"recalibration cannot be negative: -1"),
        (OneShotSettings, {"recalibration": 1}, r"recalibration must be 0 or at least 2"),
        (OneShotSettings, {"population": 0}, r"^one_shot\.population must be at least 1, not 0"),
        (OneShotSettings, {"crossover": 51}, r"^one_shot\.crossover must be from 0 to one_shot\.p"),
        (OneShotSettings, {"rate": 0}, r"^one_shot\.rate must be in \(0, 1\], not 0"),
        (Shrinking, {"drop": 0}, r"one_shot\.shrinking\.drop must be at least 1, not 0"),
        (Shrinking, {"stages": 0}, r"stages must be at least 1, or null, not 0"),
    ],
)
def test_unusable_settings_are_refused(kind: Any, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        kind(**settings)
