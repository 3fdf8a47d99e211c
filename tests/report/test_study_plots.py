"""The pictures of a study: which there are, and that they show its figures."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest

from swath.core.architecture import Architecture
from swath.core.evaluation import Cost, Direction, Evaluation
from swath.core.history import Proposal, Trial
from swath.report import study_plots
from swath.report.study_plots import plot_study
from swath.study.store import Record
from swath.study.studies import Study

GENES = {"depth": [1, 2, 3], "operator": ["conv", "skip"], "fixed": ["only"]}


def make(
    scores: list[float | None],
    *,
    parameters: bool = True,
    direction: Direction = "maximize",
    batch: int = 5,
    second: bool = False,
) -> Study:
    records = []
    for number, score in enumerate(scores):
        genes = (("depth", 1 + number % 3), ("operator", ["conv", "skip"][number % 2]))
        architecture = Architecture("toy", (*genes, ("fixed", "only")))
        cost = Cost(parameters=1000 * (1 + number % 7) if parameters else None)
        evaluation = None if score is None else Evaluation(score, direction, cost, {"size": number})
        trial = Trial(number, Proposal(architecture), evaluation, "died" if score is None else None)
        records.append(Record(trial, number // batch * batch, batch, 0.1))
    goals = [{"name": "score", "direction": direction}]
    if second:
        goals.append({"name": "size", "direction": "minimize"})
    return Study("toy", None, {"genes": GENES, "objectives": goals}, tuple(records))


def axes_of(draw: Any, study: Study) -> Any:
    from matplotlib.figure import Figure

    axes = Figure().subplots()
    assert draw(study, axes)
    return axes


@pytest.mark.parametrize("kind", ["png", "svg"])
def test_every_picture_is_written(kind: str, tmp_path: Path) -> None:
    before = dict(mpl.rcParams)
    study = make([0.5, None, 0.7, 0.1, 0.9, 0.3, 0.6])
    written = plot_study(study, tmp_path / "plots", kind)
    assert [p.name for p in written] == [
        f"{name}.{kind}" for name in ("best", "batches", "scores", "pareto", "genes")
    ]
    start = {"png": b"\x89PNG", "svg": b"<?xml"}[kind]
    assert all(path.read_bytes().startswith(start) for path in written)
    assert dict(mpl.rcParams) == before


def test_without_a_cost_there_is_no_front(tmp_path: Path) -> None:
    written = plot_study(make([0.1, 0.2], parameters=False), tmp_path)
    assert "pareto.png" not in [path.name for path in written]


@pytest.mark.parametrize("scores", [[0.5], [0.5] * 12, [None, 0.5], [1e9, -1e9, 3.0]])
def test_studies_of_one_or_equal_scores_can_be_drawn(
    scores: list[float | None], tmp_path: Path
) -> None:
    assert len(plot_study(make(scores), tmp_path)) == 5


def test_nothing_to_draw(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no feasible trial"):
        plot_study(make([None, None]), tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("direction", ["maximize", "minimize"])
def test_best_so_far_never_gets_worse(direction: Direction) -> None:
    scores: list[float | None] = [0.5, 0.2, 0.8, None, 0.1, 0.9]
    axes = axes_of(study_plots._draw_best, make(scores, direction=direction))
    line = next(one for one in axes.lines if one.get_label() == "best so far")
    expected = (
        [0.5, 0.5, 0.8, 0.8, 0.9, 0.9]
        if direction == "maximize"
        else [0.5, 0.2, 0.2, 0.1, 0.1, 0.1]
    )
    assert line.get_ydata().tolist() == expected
    assert direction.replace("imize", "") in {"max": "max", "min": "min"}
    words = {"maximize": "larger is better", "minimize": "smaller is better"}
    assert words[direction] in axes.get_ylabel()


def test_boxes_are_of_the_ten_best_known(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    scores = [float(value) for value in rng.random(40)]
    axes = axes_of(study_plots._draw_batches, make(list(scores), batch=20))
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["20", "40"]
    # In the order of drawing, the orange lines are the medians.
    medians = [line.get_ydata()[0] for line in axes.lines if line.get_color() == "#cc6a1c"]
    expected = [np.median(sorted(scores[:end])[-10:]) for end in (20, 40)]
    assert medians == pytest.approx(expected)


def test_the_front_is_the_studys() -> None:
    rng = np.random.default_rng(1)
    study = make([float(value) for value in rng.random(50)], second=True)
    axes = axes_of(study_plots._draw_pareto, study)
    drawn = {tuple(point) for point in axes.collections[-1].get_offsets().tolist()}
    expected = {
        (t.evaluation.metrics["size"], t.evaluation.score) for t in study.pareto() if t.evaluation
    }
    assert drawn == {(float(x), y) for x, y in expected}
    assert axes.get_xlabel().startswith("size")


def test_lines_go_through_the_genes_of_their_trials() -> None:
    study = make([0.1, 0.2, 0.9])
    for trial in study.trials:
        points = study_plots._line(trial, GENES)
        assert [x for x, _ in points] == [0, 1, 2]
        depth = (int(trial.architecture["depth"]) - 1) / 2
        operator = ["conv", "skip"].index(str(trial.architecture["operator"]))
        assert [y for _, y in points] == pytest.approx([depth, operator, 0.5], abs=0.03)


def test_scores_equal_up_to_rounding_have_one_bar() -> None:
    axes = axes_of(study_plots._draw_scores, make([0.3, 0.1 + 0.2] * 4))
    assert [bar.get_height() for bar in axes.patches] == [8]
