"""Accuracy of a classified map, all from one confusion matrix.

Rows are the truth, columns the prediction; everything is a fraction of one.  The formulas are those
of the hyperspectral literature (3D-ANAS, HyTAS and SpectralFormer compute the same three figures)
and of the segmentation of tiles (SEG101), which calls ``oa`` pixel accuracy (PA) and ``aa`` mean
pixel accuracy (MPA).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from swath.core.errors import DataError

__all__ = ["Scores", "Statistic", "Summary", "confusion", "score", "scores", "summarise"]


@dataclass(frozen=True)
class Scores:
    """How well a prediction agrees with the truth.

    Parameters
    ----------
    oa : overall accuracy, the share of pixels predicted right.
    aa : average accuracy, the mean of ``per_class`` over the classes present in the truth.
    kappa : Cohen's kappa, (oa - p) / (1 - p) with p the agreement expected by chance.  Where chance
        agrees always (truth and prediction hold one and the same class alone) kappa is undefined
        and given as 0: such a map shows no skill beyond chance.
    per_class : the share of each class's pixels predicted right (producer's accuracy, recall);
        None for a class absent from the truth.
    support : true pixels of each class.
    iou : of each class the pixels that truth and prediction share, of those that either has
        (intersection over union, Jaccard index): 0 for a class that is predicted but absent from
        the truth, None for one that neither has.  Empty in scores of files that did not hold it.
    """

    oa: float
    aa: float
    kappa: float
    per_class: tuple[float | None, ...]
    support: tuple[int, ...]
    iou: tuple[float | None, ...] = ()

    @property
    def miou(self) -> float:
        """Mean IoU over the classes that truth or prediction has.

        A class that is predicted but absent counts as 0, as SEG101's code has it.
        """
        return float(np.mean([value for value in self._iou if value is not None]))

    @property
    def fwiou(self) -> float:
        """Frequency-weighted IoU: each class counts with its share of the true pixels."""
        pairs = zip(self._iou, self.support, strict=True)
        return sum(value * n for value, n in pairs if value is not None) / sum(self.support)

    @property
    def target_iou(self) -> float:
        """IoU of class 1, the target of two classes; 0 where neither truth nor prediction has it.

        Raises
        ------
        DataError : there is no class 1.
        """
        if len(self._iou) < 2:
            raise DataError("there is one class alone, so there is no target (class 1) to score")
        return self._iou[1] or 0.0

    @property
    def _iou(self) -> tuple[float | None, ...]:
        if not self.iou:
            raise DataError("these scores were kept without IoU; evaluate the network again")
        return self.iou

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form (lists, None for absent classes)."""
        return {key: _plain(value) for key, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Scores:
        """Read :meth:`to_dict`'s form."""
        return cls(
            oa=data["oa"],
            aa=data["aa"],
            kappa=data["kappa"],
            per_class=tuple(data["per_class"]),
            support=tuple(data["support"]),
            iou=tuple(data.get("iou", ())),
        )


@dataclass(frozen=True)
class Statistic:
    """Mean over ``n`` runs, standard deviation (n - 1 in the denominator) and standard error.

    Both spreads are None for a single run, which has none.
    """

    mean: float
    standard_deviation: float | None
    standard_error: float | None
    n: int

    @classmethod
    def of(cls, values: Sequence[float]) -> Statistic:
        """Summarise at least one value."""
        n = len(values)
        if n == 0:
            raise ValueError("no values to summarise")
        mean = float(np.mean(values))
        if n == 1:
            return cls(mean, None, None, 1)
        deviation = float(np.std(values, ddof=1))
        return cls(mean, deviation, deviation / math.sqrt(n), n)

    def __str__(self) -> str:
        """Percent, as tables print it: ``96.53 ± 0.21`` (standard deviation)."""
        spread = (
            "" if self.standard_deviation is None else f" ± {100 * self.standard_deviation:.2f}"
        )
        return f"{100 * self.mean:.2f}{spread}"


@dataclass(frozen=True)
class Summary:
    """Scores over several runs; a class absent from the truth of every run is None."""

    oa: Statistic
    aa: Statistic
    kappa: Statistic
    per_class: tuple[Statistic | None, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready form."""
        return {key: _plain(value) for key, value in asdict(self).items()}


def confusion(
    truth: npt.ArrayLike, prediction: npt.ArrayLike, classes: int
) -> npt.NDArray[np.int64]:
    """Count pixels by true class (rows) and predicted class (columns).

    Parameters
    ----------
    truth : class indices 0..classes-1 of any shape; negative values (unlabelled) are ignored.
    prediction : class indices of the same shape; anything may stand where ``truth`` is negative.
    classes : number of classes C.

    Returns
    -------
    int64 array (C, C).

    Raises
    ------
    ValueError : shapes differ, or a counted index lies outside 0..classes-1.
    """
    t, p = np.asarray(truth), np.asarray(prediction)
    if t.shape != p.shape:
        raise ValueError(f"truth has shape {t.shape} but the prediction {p.shape}")
    counted = t >= 0
    t, p = t[counted].astype(np.int64), p[counted].astype(np.int64)
    for name, values in (("truth", t), ("prediction", p)):
        if values.size and (values.min() < 0 or values.max() >= classes):
            bad = values[(values < 0) | (values >= classes)][0]
            raise ValueError(f"the {name} holds class {bad}, outside 0..{classes - 1}")
    flat = np.bincount(t * classes + p, minlength=classes * classes)
    return flat.reshape(classes, classes).astype(np.int64)


def scores(matrix: npt.ArrayLike) -> Scores:
    """Return OA, AA, kappa, per-class accuracy and IoU of a confusion matrix (C, C), rows truth.

    Raises
    ------
    DataError : the matrix counts no pixel.

    >>> s = scores([[2, 0], [1, 1]])
    >>> s.oa, s.aa, s.kappa
    (0.75, 0.75, 0.5)
    >>> round(s.miou, 4), s.target_iou
    (0.5833, 0.5)
    """
    m = np.asarray(matrix, dtype=np.float64)
    if m.ndim != 2 or m.shape[0] != m.shape[1]:
        raise ValueError(f"a confusion matrix is square, not of shape {m.shape}")
    total = float(m.sum())
    if total == 0:
        raise DataError("there is no labelled pixel to score; check the labels and the split")
    rows, columns, right = m.sum(axis=1), m.sum(axis=0), np.diagonal(m)
    oa = float(right.sum() / total)
    per_class = tuple(float(r / n) if n else None for r, n in zip(right, rows, strict=True))
    chance = float((rows * columns).sum() / total**2)
    return Scores(
        oa=oa,
        aa=float(np.mean([a for a in per_class if a is not None])),
        kappa=(oa - chance) / (1 - chance) if chance < 1 else 0.0,
        per_class=per_class,
        support=tuple(int(n) for n in rows),
        iou=tuple(
            float(r / n) if n else None for r, n in zip(right, rows + columns - right, strict=True)
        ),
    )


def score(truth: npt.ArrayLike, prediction: npt.ArrayLike, classes: int) -> Scores:
    """Return ``scores(confusion(truth, prediction, classes))``."""
    return scores(confusion(truth, prediction, classes))


def summarise(runs: Sequence[Scores]) -> Summary:
    """Return mean, standard deviation and standard error of each figure over runs.

    A class's statistic covers the runs whose truth holds it.

    Raises
    ------
    ValueError : no runs, or runs with different numbers of classes.
    """
    if not runs:
        raise ValueError("no runs to summarise")
    per_class = []
    for accuracies in zip(*(run.per_class for run in runs), strict=True):
        present = [a for a in accuracies if a is not None]
        per_class.append(Statistic.of(present) if present else None)
    return Summary(
        oa=Statistic.of([run.oa for run in runs]),
        aa=Statistic.of([run.aa for run in runs]),
        kappa=Statistic.of([run.kappa for run in runs]),
        per_class=tuple(per_class),
    )


def _plain(value: Any) -> Any:
    return [_plain(v) for v in value] if isinstance(value, tuple) else value
