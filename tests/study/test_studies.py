"""Studies: the same trials whatever happens, infeasible ones kept, constraints before work."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from study_parts import Climber, Failing, Given, Hashed, Random, ToySpace

from swath.core.errors import NothingToSample, RecipeError
from swath.core.history import History, Objective, Proposal
from swath.core.seeds import derive
from swath.study.conduct import find_studies, open_study
from swath.study.store import load
from swath.study.studies import Study, run_study

SPACE: Any = ToySpace()


def straight(strategy: Any, estimator: Any, trials: int, seed: int) -> list[tuple[Any, float]]:
    """A study as a plain loop: what the engine must come to."""
    from swath.core.history import Trial

    done: list[Trial] = []
    while len(done) < trials:
        for proposal in strategy.propose(SPACE, History(tuple(done)), seed):
            number = len(done)
            evaluation = estimator.evaluate(
                proposal.architecture, budget=proposal.budget, seed=derive(seed, "trial", number)
            )
            done.append(Trial(number, proposal, evaluation))
    return [(t.architecture, t.evaluation.score) for t in done[:trials] if t.evaluation]


def found(study: Study) -> list[tuple[Any, float]]:
    return [(t.architecture, t.evaluation.score) for t in study.trials if t.evaluation]


@pytest.mark.parametrize("strategy", [Random(), Climber()])
@pytest.mark.parametrize("stored", [False, True])
def test_a_study_is_the_plain_loop(strategy: Any, stored: bool, tmp_path: Path) -> None:
    store = tmp_path if stored else None
    study = run_study(SPACE, strategy, Hashed(), trials=30, seed=5, store=store)
    assert found(study) == straight(strategy, Hashed(), 30, 5)
    assert study.best is not None
    assert study.best.evaluation is not None
    assert study.best.evaluation.score == max(score for _, score in found(study))


def test_each_trial_has_its_own_seed_of_the_study() -> None:
    first, second = (run_study(SPACE, Random(), Hashed(), trials=20, seed=seed) for seed in (0, 1))
    noise = [t.evaluation.metrics["noise"] for s in (first, second) for t in s.trials]  # type: ignore[union-attr]
    assert len(set(noise)) == 40


def test_the_study_of_a_run_is_found_by_the_runs_folder(tmp_path: Path) -> None:
    """A run that searches by trials keeps them in the folder ``search`` beside its training."""
    run = tmp_path / "run"
    study = run_study(SPACE, Random(), Hashed(), trials=3, seed=5, store=run / "search")
    (run / "recipe.yaml").write_text("seed: 5\n")
    assert open_study(run).trials == study.trials
    for place in (tmp_path, run, run / "search"):
        assert [where for where, _ in find_studies(place)] == [run / "search"]


@pytest.mark.parametrize("strategy", [Random(), Climber()])
@pytest.mark.parametrize("stops", [[1], [7, 8, 20], [30]])
def test_a_study_in_pieces_is_the_study_in_one(
    strategy: Any, stops: list[int], tmp_path: Path
) -> None:
    """Trials raised again and again, so that batches are cut at every place."""
    whole = run_study(SPACE, strategy, Hashed(), trials=40, seed=3)
    for trials in [*stops, 40]:
        pieces = run_study(SPACE, strategy, Hashed(), trials=trials, seed=3, store=tmp_path)
        assert len(pieces.trials) == trials
    assert pieces.trials == whole.trials
    assert open_study(tmp_path).trials == whole.trials


class Stop(BaseException):
    """Stands for whatever ends a process."""


@pytest.mark.parametrize("strategy", [Random(), Climber()])
def test_an_interrupted_study_goes_on_and_evaluates_nothing_twice(
    strategy: Any, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    estimator = Hashed(log=str(log))

    def stop_after(count: int) -> Callable[[dict[str, Any]], None]:
        def progress(event: dict[str, Any]) -> None:
            if event["phase"] == "trials" and event["done"] >= count:
                raise Stop

        return progress

    for count in (3, 9, 10, 25):
        with pytest.raises(Stop):
            run_study(
                SPACE, strategy, estimator, trials=30, store=tmp_path, progress=stop_after(count)
            )
        assert len(open_study(tmp_path).trials) == count
    study = run_study(SPACE, strategy, estimator, trials=30, store=tmp_path)
    assert found(study) == straight(strategy, Hashed(), 30, 0)
    assert len(log.read_text().splitlines()) == 30


def test_a_complete_study_is_left_alone(tmp_path: Path) -> None:
    first = run_study(SPACE, Random(), Hashed(), trials=10, store=tmp_path)
    before = (tmp_path / "study.journal").read_bytes()
    again = run_study(SPACE, Random(), Hashed(), trials=10, store=tmp_path)
    assert again.trials == first.trials
    assert (tmp_path / "study.journal").read_bytes() == before


def test_what_cannot_be_evaluated_is_kept_with_its_reason(tmp_path: Path) -> None:
    study = run_study(SPACE, Random(), Failing(), trials=40, store=tmp_path)
    reasons = {
        "none": "the training diverged",
        "skip": "out of memory",
        "pool": "the score is nan",
        "conv1": None,
        "conv3": None,
    }
    assert {t.architecture["edge0"] for t in study.trials} == set(reasons)
    assert [t.reason for t in study.trials] == [
        reasons[str(t.architecture["edge0"])] for t in study.trials
    ]
    assert all((t.evaluation is None) == (t.reason is not None) for t in study.trials)
    assert open_study(tmp_path).trials == study.trials


def test_running_out_of_torch_memory_is_infeasible() -> None:
    import torch

    from swath.study.workers import Job, evaluate

    class Large:
        def evaluate(self, architecture: Any, **options: Any) -> Any:
            return torch.empty(10**15)

    class OnDevice:
        def evaluate(self, architecture: Any, **options: Any) -> Any:
            raise torch.OutOfMemoryError("CUDA out of memory")

    job = Job(0, Proposal(SPACE.architecture({g.name: "none" for g in SPACE.genes})), 0)
    for estimator in (Large(), OnDevice()):
        outcome = evaluate(estimator, job)  # type: ignore[arg-type]
        assert outcome.evaluation is None
        assert outcome.reason is not None
        assert outcome.reason.startswith("out of memory")

    class Broken:
        def evaluate(self, architecture: Any, **options: Any) -> Any:
            raise RuntimeError("sizes of tensors must match")

    with pytest.raises(RuntimeError, match="must match"):
        evaluate(Broken(), job)  # type: ignore[arg-type]


def test_a_broken_estimator_ends_the_study_and_keeps_what_was_finished(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the estimator is broken"):
        run_study(SPACE, Random(), Failing(folder="x"), trials=40, store=tmp_path)
    kept = open_study(tmp_path).trials
    whole = run_study(SPACE, Random(), Failing(), trials=40)
    broken_at = next(t.number for t in whole.trials if t.architecture["edge0"] == "conv1")
    assert broken_at > 0
    assert kept == whole.trials[:broken_at]


def test_figures_that_are_no_number_come_back_as_nothing(tmp_path: Path) -> None:
    run_study(SPACE, Random(), Hashed(), trials=3, store=tmp_path)
    text = (tmp_path / "study.journal").read_text()
    assert "NaN" not in text
    assert open_study(tmp_path).trials[0].evaluation.metrics["odd"] is None  # type: ignore[union-attr]


# --- objectives -----------------------------------------------------------------------------------


def test_several_objectives_give_a_front(tmp_path: Path) -> None:
    goals = (Objective(), Objective("parameters", "minimize"))
    study = run_study(SPACE, Random(), Hashed(), trials=60, objectives=goals, store=tmp_path)
    front = study.pareto()
    points = {
        t.number: (t.evaluation.score, -(t.evaluation.cost.parameters or 0))
        for t in study.trials
        if t.evaluation
    }
    expected = [
        n
        for n, p in points.items()
        if not any(q != p and q[0] >= p[0] and q[1] >= p[1] for q in points.values())
    ]
    assert [t.number for t in front] == expected
    assert 1 < len(front) < 60
    assert {t.number for t in study.optuna().best_trials} == set(expected)


@pytest.mark.parametrize(
    ("name", "near"), [("scores", "score"), ("parametres", "parameters"), ("noize", "noise")]
)
def test_an_unknown_objective_names_the_nearest(name: str, near: str, tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match=f"'{name}' .did you mean '{near}'") as caught:
        run_study(SPACE, Random(), Hashed(), trials=5, objectives=[Objective(name)], store=tmp_path)
    assert "latency" not in str(caught.value).partition("it gives")[2]
    assert open_study(tmp_path).trials == ()


def test_an_objective_given_twice_is_refused() -> None:
    with pytest.raises(RecipeError, match="twice"):
        run_study(SPACE, Random(), Hashed(), trials=5, objectives=[Objective(), Objective()])


def test_the_direction_is_the_estimators() -> None:
    study = run_study(SPACE, Random(), Hashed(direction="minimize"), trials=30)
    assert study.best is not None
    assert study.best.evaluation is not None
    assert study.best.evaluation.score == min(score for _, score in found(study))


# --- constraints ----------------------------------------------------------------------------------


def test_constraints_hold_before_anything_is_evaluated(tmp_path: Path) -> None:
    log = tmp_path / "log"
    limits = {"parameters": {"min": 100, "max": 200}, "flops": {"max": 2000}}
    study = run_study(
        SPACE, Random(), Hashed(log=str(log)), trials=30, constraints=limits, store=tmp_path
    )
    assert {t.evaluation.cost.parameters for t in study.trials if t.evaluation} == {100}
    # Nothing else was evaluated, not even to be thrown away.
    assert len(log.read_text().splitlines()) == 30


@pytest.mark.parametrize(
    ("limits", "error", "message"),
    [
        ({"parameters": {"min": 5, "max": 3}}, NothingToSample, "at least 5 and at most 3"),
        ({"parameters": {"max": -1}}, NothingToSample, "parameters at most -1"),
        (
            {"parameters": {"max": 100}, "flops": {"min": 9000}},
            NothingToSample,
            "parameters at most 100 and flops at least 9,000",
        ),
        ({"parametres": {"max": 5}}, RecipeError, "did you mean 'parameters'"),
        ({"parameters": {"maximum": 5}}, RecipeError, "has no 'maximum'.*'max'"),
        ({"parameters": {}}, RecipeError, "no limit"),
        ({"parameters": {"max": math.nan}}, RecipeError, "cannot be nan"),
        ({"latency": {"max": 5}}, RecipeError, "does not tell the latency.*parameters, flops"),
    ],
)
def test_constraints_that_cannot_be_met(
    limits: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        run_study(SPACE, Random(), Hashed(), trials=5, constraints=limits, store=tmp_path / "s")


# --- other bad input ------------------------------------------------------------------------------


@pytest.mark.parametrize(("trials", "workers"), [(0, 1), (-3, 1), (5, 0)])
def test_no_trials_or_workers_are_refused_before_anything_is_written(
    trials: int, workers: int, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match="at least one"):
        run_study(
            SPACE, Random(), Hashed(), trials=trials, workers=workers, store=tmp_path / "study"
        )
    assert not (tmp_path / "study").exists()


def test_a_strategy_that_has_nothing_left_ends_the_study(tmp_path: Path) -> None:
    listed = tuple(t.architecture for t in run_study(SPACE, Random(), Hashed(), trials=5).trials)
    notes: list[str] = []

    def progress(event: dict[str, Any]) -> None:
        notes.append(event.get("text", ""))

    study = run_study(SPACE, Given(listed), Hashed(), trials=9, store=tmp_path, progress=progress)
    assert [t.architecture for t in study.trials] == list(listed)
    assert any("nothing left to try after 5 trials" in note for note in notes)


def test_a_batch_that_is_proposed_otherwise_than_before_loses_nothing(tmp_path: Path) -> None:
    """Another release of a library may compute another batch; finished trials stay."""
    a, b, c, d, e = (t.architecture for t in run_study(SPACE, Random(), Hashed(), trials=5).trials)
    run_study(SPACE, Given((a, b, c, d), 4), Hashed(), trials=2, store=tmp_path)
    notes: list[dict[str, Any]] = []
    changed = Given((b, e, c, a), 4)
    facts = load(tmp_path)[1]
    about = {key: facts[key] for key in ("space", "strategy", "estimator")}
    study = run_study(
        SPACE, changed, Hashed(), trials=4, store=tmp_path, facts=about, progress=notes.append
    )
    assert [t.architecture for t in study.trials] == [a, b, e, c]
    assert any("another batch" in note.get("text", "") for note in notes)


def test_progress_tells_how_far_and_how_good() -> None:
    events: list[dict[str, Any]] = []
    study = run_study(SPACE, Random(), Failing(), trials=20, progress=events.append)
    assert [e["done"] for e in events] == list(range(1, 21))
    assert events[-1]["total"] == 20
    assert events[-1]["best"] == 1.0
    assert events[-1]["infeasible"] == sum(t.evaluation is None for t in study.trials)


def test_budgets_are_kept_and_the_largest_decides(tmp_path: Path) -> None:
    class Rising:
        def propose(self, space: Any, history: History, seed: int) -> list[Proposal]:
            budget = 1 if len(history) < 8 else 9
            return [
                Proposal(p.architecture, budget) for p in Random().propose(space, history, seed)
            ]

    strategy: Any = Rising()
    study = run_study(SPACE, strategy, Hashed(), trials=16, store=tmp_path)
    assert [t.budget for t in open_study(tmp_path).trials] == [1] * 8 + [9] * 8
    assert [t.number for t in study.comparable] == list(range(8, 16))
    assert study.best in study.comparable
