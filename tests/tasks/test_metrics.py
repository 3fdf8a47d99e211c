"""Metrics against hand-computed cases, scikit-learn and torchmetrics."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from swath.core.errors import DataError
from swath.tasks.metrics import Scores, Statistic, confusion, score, scores, summarise

PAIRS = st.integers(1, 60).flatmap(
    lambda n: st.tuples(
        arrays(np.int64, n, elements=st.integers(0, 4)),
        arrays(np.int64, n, elements=st.integers(0, 4)),
    )
)


def test_hand_computed() -> None:
    s = scores([[40, 10, 0], [5, 35, 10], [0, 0, 0]])
    assert s.oa == pytest.approx(75 / 100)
    assert s.aa == pytest.approx((40 / 50 + 35 / 50) / 2)
    chance = (50 * 45 + 50 * 45 + 0 * 10) / 100**2
    assert s.kappa == pytest.approx((0.75 - chance) / (1 - chance))
    assert s.per_class == (pytest.approx(0.8), pytest.approx(0.7), None)
    assert s.support == (50, 50, 0)


@settings(deadline=None)
@given(PAIRS)
def test_agrees_with_scikit_learn(pair: tuple[np.ndarray, np.ndarray]) -> None:
    sk = pytest.importorskip("sklearn.metrics")
    truth, prediction = pair
    s = score(truth, prediction, 5)
    np.testing.assert_array_equal(
        confusion(truth, prediction, 5), sk.confusion_matrix(truth, prediction, labels=range(5))
    )
    assert s.oa == pytest.approx(sk.accuracy_score(truth, prediction))
    present = np.unique(truth)
    recalls = sk.recall_score(truth, prediction, labels=present, average=None, zero_division=0)
    assert s.aa == pytest.approx(recalls.mean())
    assert [s.per_class[c] for c in present] == pytest.approx(list(recalls))
    if np.unique(np.concatenate(pair)).size > 1:
        assert s.kappa == pytest.approx(sk.cohen_kappa_score(truth, prediction), abs=1e-12)
    else:
        assert s.kappa == 0.0


def test_agrees_with_torchmetrics() -> None:
    classification = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(-1, 6, (30, 40)), rng.integers(0, 6, (30, 40))
    s = score(truth, prediction, 6)
    t, p = torch.from_numpy(truth), torch.from_numpy(prediction)
    options = {"num_classes": 6, "ignore_index": -1}
    accuracy = classification.multiclass_accuracy
    assert s.oa == pytest.approx(accuracy(p, t, average="micro", **options).item(), abs=1e-6)
    assert s.aa == pytest.approx(accuracy(p, t, average="macro", **options).item(), abs=1e-6)
    assert s.kappa == pytest.approx(
        classification.multiclass_cohen_kappa(p, t, **options).item(), abs=1e-6
    )


def slow_segmentation(truth: np.ndarray, prediction: np.ndarray, classes: int) -> dict[str, float]:
    """The definitions, class by class and pixel by pixel, without a matrix."""
    pairs = [(t, p) for t, p in zip(truth.ravel(), prediction.ravel(), strict=True) if t >= 0]
    summed, counted, weighted, recalls, target = 0.0, 0, 0.0, [], 0.0
    for c in range(classes):
        right = sum(t == c == p for t, p in pairs)
        true, predicted = sum(t == c for t, _ in pairs), sum(p == c for _, p in pairs)
        union = true + predicted - right
        if true + predicted:
            counted += 1
        if true:
            summed += right / union
            weighted += right / union * true
            recalls.append(right / true)
        if c == 1 and union:
            target = right / union
    return {
        "miou": summed / counted,
        "fwiou": weighted / len(pairs),
        "oa": sum(t == p for t, p in pairs) / len(pairs),
        "aa": sum(recalls) / len(recalls),
        "target_iou": target,
    }


@given(PAIRS)
def test_segmentation_agrees_with_the_definitions(pair: tuple[np.ndarray, np.ndarray]) -> None:
    truth, prediction = pair
    truth = truth - 1 if (truth > 0).any() else truth  # class 0 becomes "ignored"
    s = score(truth, prediction, 5)
    for name, value in slow_segmentation(truth, prediction, 5).items():
        assert getattr(s, name) == pytest.approx(value), name


def test_segmentation_agrees_with_other_libraries() -> None:
    torchmetrics = pytest.importorskip("torchmetrics.functional.classification")
    sk = pytest.importorskip("sklearn.metrics")
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(1)
    truth, prediction = rng.integers(-1, 4, (20, 30)), rng.integers(0, 4, (20, 30))
    s = score(truth, prediction, 4)
    labelled = truth >= 0
    each = sk.jaccard_score(truth[labelled], prediction[labelled], average=None)
    assert s.iou == pytest.approx(list(each))
    assert s.fwiou == pytest.approx(
        sk.jaccard_score(truth[labelled], prediction[labelled], average="weighted")
    )
    assert s.miou == pytest.approx(
        torchmetrics.multiclass_jaccard_index(
            torch.from_numpy(prediction), torch.from_numpy(truth), 4, ignore_index=-1
        ).item(),
        abs=1e-6,
    )


def test_a_class_that_is_predicted_but_absent_lowers_the_mean_iou() -> None:
    present = scores([[6, 2, 0], [1, 3, 0], [0, 0, 0]])
    assert present.iou == (pytest.approx(6 / 9), pytest.approx(3 / 6), None)
    assert present.miou == pytest.approx((6 / 9 + 3 / 6) / 2)
    invented = scores([[6, 1, 1], [1, 3, 0], [0, 0, 0]])
    assert invented.iou == (pytest.approx(6 / 9), pytest.approx(3 / 5), 0.0)
    assert invented.miou == pytest.approx((6 / 9 + 3 / 5) / 3)
    assert invented.fwiou == pytest.approx((6 / 9 * 8 + 3 / 5 * 4) / 12)
    assert invented.target_iou == pytest.approx(3 / 5)
    assert (invented.oa, invented.aa) == (pytest.approx(9 / 12), pytest.approx((6 / 8 + 3 / 4) / 2))
    assert scores([[5, 0], [0, 0]]).target_iou == 0.0
    with pytest.raises(DataError, match="no target"):
        _ = scores([[5]]).target_iou


def test_scores_of_older_files_are_read_without_iou() -> None:
    data = scores([[6, 1], [1, 3]]).to_dict()
    assert Scores.from_dict(json.loads(json.dumps(data))).iou == scores([[6, 1], [1, 3]]).iou
    del data["iou"]
    old = Scores.from_dict(data)
    assert old.oa == pytest.approx(9 / 11)
    with pytest.raises(DataError, match="without IoU"):
        _ = old.miou


def test_unlabelled_pixels_do_not_count() -> None:
    truth = np.array([[0, -1], [1, -1]])
    np.testing.assert_array_equal(confusion(truth, [[0, 7], [0, -1]], 2), [[1, 0], [1, 0]])


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([0, 1], [0], "shape"),
        ([0, 3], [0, 1], "truth holds class 3"),
        ([0, 1], [0, 2], "prediction holds class 2"),
        ([0, 1], [0, -1], "prediction holds class -1"),
    ],
)
def test_wrong_input(truth: list[int], prediction: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        confusion(truth, prediction, 2)


def test_nothing_to_score() -> None:
    with pytest.raises(DataError, match="no labelled pixel"):
        score([-1, -1], [0, 1], 2)


def test_summary_of_runs() -> None:
    runs = [
        Scores(oa, oa, oa, per_class, (1, 1))
        for oa, per_class in ((0.7, (0.5, None)), (0.8, (0.7, None)), (0.9, (None, None)))
    ]
    summary = summarise(runs)
    assert summary.oa.mean == pytest.approx(0.8)
    assert summary.oa.standard_deviation == pytest.approx(0.1)
    assert summary.oa.standard_error == pytest.approx(0.1 / math.sqrt(3))
    assert summary.oa.n == 3
    assert summary.per_class[0] == Statistic.of([0.5, 0.7])
    assert summary.per_class[1] is None
    assert str(summary.oa) == "80.00 ± 10.00"
    json.dumps(summary.to_dict(), allow_nan=False)


def test_one_run_has_no_spread() -> None:
    statistic = Statistic.of([0.5])
    assert (statistic.standard_deviation, statistic.standard_error) == (None, None)
    assert str(statistic) == "50.00"
    with pytest.raises(ValueError, match="no runs"):
        summarise([])


def test_round_trip_through_json() -> None:
    s = scores([[3, 1], [0, 0]])
    assert Scores.from_dict(json.loads(json.dumps(s.to_dict()))) == s
