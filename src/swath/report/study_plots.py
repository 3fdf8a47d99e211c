"""Pictures of a study: what was found, when, at what cost, and with which genes.

Trials at several budgets cannot be compared with each other; then the pictures show those at the
largest one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from swath.core.history import Objective, Trial
from swath.landscape.measure import same
from swath.report.pictures import BLUE, GREY, ORANGE, SOFT, STYLE, save
from swath.study.pareto import non_dominated
from swath.study.studies import Study

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["plot_study"]

_UNITS = {"latency": "s", "seconds": "s"}
_TOP = 10
_MOST_BOXES = 24
_MOST_LINES = 2000


def plot_study(study: Study, folder: Path, kind: str = "png") -> list[Path]:
    """Draw a study and write one file for each picture; return the files.

    ``best`` (the best so far), ``batches`` (the ten best known after each batch), ``scores`` (how
    often which score), ``pareto`` (against the second objective, or what a network costs, where it
    is known) and ``genes`` (parallel coordinates).

    Parameters
    ----------
    kind : "png" or "svg".

    Raises
    ------
    ValueError : the study has no feasible trial.
    RunError : the folder cannot be written.
    """
    if study.best is None:
        raise ValueError("the study has no feasible trial")
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    drawings: dict[str, Callable[[Study, Axes], bool]] = {
        "best": _draw_best,
        "batches": _draw_batches,
        "scores": _draw_scores,
        "pareto": _draw_pareto,
        "genes": _draw_genes,
    }
    written = []
    for name, draw in drawings.items():
        # The style holds while the picture is made: nothing of it stays with the caller.
        with matplotlib.rc_context(STYLE):
            figure = Figure(figsize=_size(study, name), dpi=144, layout="constrained")
            FigureCanvasAgg(figure)
            if not draw(study, figure.subplots()):
                continue
            written.append(save(figure, folder / f"{name}.{kind}"))
    return written


def _size(study: Study, name: str) -> tuple[float, float]:
    if name == "genes":
        return min(20.0, max(7.0, 1.1 * len(study.facts["genes"]))), 4.6
    return 7.0, 4.2


def _draw_best(study: Study, axes: Axes) -> bool:
    objective, trials = study.objectives[0], study.comparable
    numbers = [trial.number for trial in trials]
    values = np.array([_value(objective, trial) for trial in trials])
    better = np.maximum if objective.direction == "maximize" else np.minimum
    so_far = better.accumulate(values)
    outside = _leave_out_worst(axes, objective, values)
    axes.scatter(numbers, values, s=12, color=GREY, label=f"one trial{outside}", linewidths=0)
    last = study.trials[-1].number
    axes.step(
        [*numbers, last],
        [*so_far, so_far[-1]],
        where="post",
        color=BLUE,
        linewidth=1.8,
        label="best so far",
    )
    refused = [trial.number for trial in study.trials if trial.evaluation is None]
    if refused:
        axes.plot(
            refused,
            [0.0] * len(refused),
            "|",
            color=ORANGE,
            transform=axes.get_xaxis_transform(),
            clip_on=False,
            label="infeasible",
        )
    best = study.best
    assert best is not None
    axes.set_title(f"Best {objective.name}: {_value(objective, best):.6g}, trial {best.number}")
    axes.set_xlabel("trial")
    axes.set_ylabel(_label(objective))
    _whole_numbers(axes)
    _legend(axes)
    return True


def _draw_batches(study: Study, axes: Axes) -> bool:
    objective = study.objectives[0]
    groups = _known_after_batches(study)
    best = [_best_values(objective, trials, _TOP) for _, trials in groups]
    axes.boxplot(
        best,
        positions=list(range(len(best))),
        widths=0.6,
        patch_artist=True,
        boxprops={"facecolor": "#d3e2f1", "edgecolor": BLUE},
        medianprops={"color": ORANGE, "linewidth": 1.6},
        whiskerprops={"color": BLUE},
        capprops={"color": BLUE},
        flierprops={"marker": "o", "markersize": 3, "markeredgecolor": SOFT},
    )
    axes.set_xticks(range(len(groups)), [str(count) for count, _ in groups])
    axes.tick_params(axis="x", rotation=0 if len(groups) <= 12 else 60)
    axes.grid(visible=False, axis="x")
    axes.set_title("The ten best known after each batch")
    axes.set_xlabel("trials finished")
    axes.set_ylabel(_label(objective))
    return True


def _draw_scores(study: Study, axes: Axes) -> bool:
    objective = study.objectives[0]
    values = [_value(objective, trial) for trial in study.comparable]
    bins = 1 if same(values) else min(40, max(5, round(2 * len(values) ** 0.5)))
    axes.hist(values, bins=bins, color=BLUE, alpha=0.85, edgecolor="white", linewidth=0.6)
    median = float(np.median(values))
    axes.axvline(median, color=ORANGE, linewidth=1.6, label=f"median {median:.5g}")
    axes.grid(visible=False, axis="x")
    axes.set_title(f"{len(values):,} trials by their {objective.name}")
    axes.set_xlabel(_label(objective))
    axes.set_ylabel("trials")
    _legend(axes)
    return True


def _draw_pareto(study: Study, axes: Axes) -> bool:
    other = _second(study)
    if other is None:
        return False
    first, trials = study.objectives[0], study.comparable
    chosen = [
        trials[i]
        for i in non_dominated(
            [(first.merit(_of(trial)), other.merit(_of(trial))) for trial in trials]
        )
    ]
    chosen.sort(key=lambda trial: (_value(other, trial), _value(first, trial)))
    values = np.array([_value(first, trial) for trial in trials])
    axes.scatter(
        [_value(other, trial) for trial in trials],
        values,
        s=14,
        color=GREY,
        linewidths=0,
        label="one trial",
    )
    x, y = [_value(other, t) for t in chosen], [_value(first, t) for t in chosen]
    axes.step(
        x,
        y,
        # Between two points of the front, the worse of both values is what one can have.
        where="post" if other.direction == "minimize" else "pre",
        color=BLUE,
        linewidth=1.4,
    )
    axes.scatter(x, y, s=30, color=BLUE, zorder=3, label="Pareto front")
    axes.set_title(f"{len(chosen)} of {len(trials):,} trials are on the front")
    axes.set_xlabel(_label(other))
    axes.set_ylabel(_label(first))
    _engineering(axes, other)
    _legend(axes)
    return True


def _draw_genes(study: Study, axes: Axes) -> bool:
    from matplotlib.collections import LineCollection

    objective = study.objectives[0]
    genes: dict[str, list[Any]] = study.facts["genes"]
    # Best last, so that it lies on top; of very many the worst are left out.
    trials = sorted(study.comparable, key=study.history.merit)[-_MOST_LINES:]
    values = np.array([_value(objective, trial) for trial in trials])
    lines = LineCollection(
        [_line(trial, genes) for trial in trials],
        cmap="viridis" if objective.direction == "maximize" else "viridis_r",
        alpha=float(np.clip(40 / len(trials), 0.12, 0.8)),
        linewidths=1.0,
    )
    lines.set_array(values)
    lines.set_clim(
        *np.quantile(values, (0.05, 1) if objective.direction == "maximize" else (0, 0.95))
    )
    axes.add_collection(lines)
    axes.plot(*np.array(_line(trials[-1], genes)).T, color=ORANGE, linewidth=2.2, label="best")
    axes.set_xlim(-0.35, len(genes) - 0.4)
    axes.set_ylim(-0.09, 1.09)
    axes.set_xticks(range(len(genes)), list(genes))
    axes.tick_params(axis="x", rotation=0 if len(genes) <= 10 else 60, length=0)
    axes.set_yticks([])
    axes.grid(visible=False)
    for side in axes.spines.values():
        side.set_visible(False)
    for place, choices in enumerate(genes.values()):
        axes.axvline(place, color=SOFT, linewidth=0.8, zorder=1)
        for choice in choices:
            axes.text(
                place + 0.03,
                _height(choice, choices),
                str(choice),
                fontsize=7,
                va="center",
                zorder=5,
                bbox={"facecolor": "white", "alpha": 0.75, "edgecolor": "none", "pad": 0.8},
            )
    axes.set_title("Genes of the trials")
    _legend(axes)
    figure = axes.get_figure()
    assert figure is not None
    bar = figure.colorbar(lines, ax=axes, pad=0.01, label=_label(objective))
    assert bar.solids is not None
    bar.solids.set_alpha(1)
    return True


def _line(trial: Trial, genes: dict[str, list[Any]]) -> list[tuple[float, float]]:
    """Return the points of a trial, a little apart from others, always at the same places."""
    spread = (trial.number * 0.6180339887) % 1 - 0.5
    values = trial.architecture.as_dict()
    return [
        (place, _height(values[gene], choices) + 0.05 * spread / max(1, len(choices) - 1))
        for place, (gene, choices) in enumerate(genes.items())
    ]


def _height(choice: Any, choices: Sequence[Any]) -> float:
    return choices.index(choice) / (len(choices) - 1) if len(choices) > 1 else 0.5


def _known_after_batches(study: Study) -> list[tuple[int, list[Trial]]]:
    """Return (trials finished, comparable ones among them) after some batches and the last."""
    ends = sorted({record.batch for record in study.records if record.batch > 0})
    ends.append(study.records[-1].trial.number + 1)
    if len(ends) > _MOST_BOXES:
        places = np.linspace(0, len(ends) - 1, _MOST_BOXES).round().astype(int)
        ends = [ends[place] for place in places]
    groups = [(end, [t for t in study.comparable if t.number < end]) for end in ends]
    return [(end, trials) for end, trials in groups if trials]


def _best_values(objective: Objective, trials: Sequence[Trial], count: int) -> list[float]:
    values = sorted(_value(objective, trial) for trial in trials)
    return values[-count:] if objective.direction == "maximize" else values[:count]


def _second(study: Study) -> Objective | None:
    """Return what the first objective is drawn against: the second, or what a network costs."""
    if len(study.objectives) > 1:
        return study.objectives[1]
    for name in ("parameters", "flops", "latency"):
        costs = [getattr(_of(trial).cost, name) for trial in study.comparable]
        if name != study.objectives[0].name and None not in costs:
            return Objective(name, "minimize")
    return None


def _of(trial: Trial) -> Any:
    assert trial.evaluation is not None
    return trial.evaluation


def _value(objective: Objective, trial: Trial) -> float:
    return objective.value(_of(trial))


def _label(objective: Objective) -> str:
    unit = f" [{_UNITS[objective.name]}]" if objective.name in _UNITS else ""
    better = "larger" if objective.direction == "maximize" else "smaller"
    name = objective.name if objective.name != "flops" else "FLOPs"
    return f"{name}{unit}  ({better} is better)"


def _leave_out_worst(axes: Axes, objective: Objective, values: np.ndarray) -> str:
    """Fit the axis to all but the worst tenth, where they would crowd the rest; say how many."""
    best, worst = values.max(), values.min()
    bound = np.quantile(values, 0.1)
    if objective.direction == "minimize":
        best, worst, bound = worst, best, np.quantile(values, 0.9)
    if abs(worst - best) < 2 * abs(bound - best) or bound == best:
        return ""
    axes.set_ylim(*sorted((bound - 0.06 * (best - bound), best + 0.06 * (best - bound))))
    count = int((values < bound).sum() if best > bound else (values > bound).sum())
    return f" ({count} worse ones outside)"


def _legend(axes: Axes) -> None:
    """Place the legend above, beside the title, where it hides nothing."""
    axes.legend(
        loc="lower right", bbox_to_anchor=(1, 1), ncols=3, fontsize=9, columnspacing=1.2,
        handlelength=1.4, borderaxespad=0.3,
    )  # fmt: skip


def _whole_numbers(axes: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def _engineering(axes: Axes, objective: Objective) -> None:
    from matplotlib.ticker import EngFormatter

    if objective.name in ("parameters", "flops", "latency", "seconds"):
        axes.xaxis.set_major_formatter(EngFormatter(sep=" "))
