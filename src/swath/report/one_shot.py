"""The section on a search with a supernet: its stages, what left the space, and the ranking."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from swath.core.words import counted
from swath.report.charts import Series, line_chart
from swath.report.html import Column, Html, figure, join, paragraph, section, sentence, table
from swath.report.operator_grid import operator_grid
from swath.report.record import OneShotRecord, RunRecord
from swath.report.trials import axis_limits, correlation_with_size
from swath.report.words import count, duration, is_number, percent, plain, short

__all__ = ["one_shot"]

Record = Mapping[str, Any]

_TOP = 5
_DOTS = 500  # of a chart
_SMALL, _LARGE = (340.0, 230.0), (520.0, 260.0)
"""Width and height of charts that stand three and two in a row."""

Size = tuple[float, float]
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_MEASURES = {
    "score": "the least score (importance over sensitivity, SE-NAS Eq. 7)",
    "importance": "the least importance (SE-NAS Eq. 5)",
    "angle": "the least angle (ABS)",
    "random": "the least of random numbers",
}


@dataclass(frozen=True)
class _Child:
    """A judged architecture."""

    stage: int
    genes: Record
    accuracy: float
    loss: float | None
    parameters: int | None
    seconds: float | None


def one_shot(run: RunRecord, search: OneShotRecord) -> Html:
    """Return words, charts and tables of a search with a supernet, with its trivial rival."""
    children = _children(search.children)
    last = [child for child in children if child.stage == len(search.stages)]
    ranked = sorted(last, key=lambda child: (-child.accuracy, child.loss or 0.0))
    sizes = any(child.parameters is not None for child in last)
    space = _SMALL if search.stages and sizes else _LARGE
    charts = [_loss(search, space), _by_stage(search, children, space), _by_size(last, space)]
    shown = [figure(chart) for chart in charts if chart]
    parts: list[str] = [
        paragraph(_how_trained(search)),
        paragraph(_how_chosen(run, search, children)),
        Html(f'<div class="{"trio" if len(shown) > 2 else "pair"}">{join(*shown)}</div>'),
    ]
    if search.stages:
        parts += [Html("<h3>Stages</h3>"), _stages(search, children), *_what_left(run, search)]
    if search.ranking.get("best"):
        parts += [Html("<h3>The best of the ranking</h3>"), _best(run, search, ranked)]
        parts += [Html("<h3>The trivial rival: size alone</h3>"), paragraph(_rival(ranked))]
    return section("Search", *parts)


def _children(records: Sequence[Record]) -> list[_Child]:
    children = []
    for record in records:
        evaluation = record["evaluation"]
        if is_number(evaluation.get("score")):
            metrics, cost = evaluation.get("metrics") or {}, evaluation.get("cost") or {}
            children.append(
                _Child(
                    record["stage"],
                    record.get("genes") or {},
                    evaluation["score"],
                    metrics.get("validation_loss"),
                    cost.get("parameters"),
                    cost.get("seconds"),
                )
            )
    return children


def _how_trained(search: OneShotRecord) -> str:
    epochs, shrinkings = search.epochs, len(search.stages)
    words = "One supernet, whose weights all architectures share, was trained for "
    words += counted(len(epochs), "epoch")
    if not shrinkings:
        return words + f" on the whole space of {_size(epochs[0].get('size'))} architectures."
    measure = _MEASURES.get(str(search.stages[0].get("measure")), "the least measure")
    gone = sum(bool(one.get("dropped")) for s in search.stages for one in s.get("operators", ()))
    words += (
        f" in {shrinkings + 1} stages. After each stage but the last, operators with {measure} "
        f"left the space, {gone} in all: of {_size(epochs[0].get('size'))} architectures "
        f"{_size(search.stages[-1].get('size'))} remained."
    )
    return words


def _how_chosen(run: RunRecord, search: OneShotRecord, children: Sequence[_Child]) -> str:
    settings = run.recipe.get("one_shot")
    settings = settings if isinstance(settings, Mapping) else {}
    words = f"The strategy {settings['strategy']}" if settings.get("strategy") else "The search"
    judged, remaining = search.ranking.get("judged"), search.ranking.get("remaining")
    best = search.ranking.get("best") or []
    if not best or judged is None:
        return words + " has not come to its end: no ranking is recorded."
    some = "all" if judged == remaining else f"{count(judged)} of the"
    words += (
        f" then judged {some} {_size(remaining)} architectures with the weights of the supernet, "
        "by the validation labels alone"
    )
    words += f" ({counted(len(children), 'child', 'children')} in all stages)" * bool(search.stages)
    words += f". The first has a validation accuracy of {percent(best[0]['accuracy'])}"
    last = [child for child in children if child.stage == len(search.stages)]
    alike = sum(child.accuracy == best[0]["accuracy"] for child in last)
    if alike > 1:
        words += f", as have {count(alike - 1)} more: of equals the one of lower loss comes first"
    words += ". "
    retrained, place = settings.get("retrain", 1), _place(run, best)
    if retrained > 1:
        words += (
            f"The first {min(retrained, len(best))} were trained on their own, and the one that "
            "was then the best by the validation labels was taken"
        )
        words += f": number {place}. " if place else ". "
    elif place == 1:
        words += "It was taken. "
    words += (
        "The best of many such figures is a little too good, for part of it is luck, and inherited "
        "weights say less of a network than its own training"
    )
    seconds = [child.seconds for child in children if child.seconds is not None]
    if seconds:
        words += f". To judge one took {plain(sum(seconds) / len(seconds), 2)} s"
        words += f", the training until its last epoch {duration(search.epochs[-1].get('seconds'))}"
        words += ", with the judging in between" * bool(search.stages)
    return words + "."


def _place(run: RunRecord, best: Sequence[Record]) -> int | None:
    """Return which of the ranking was taken, from 1."""
    taken = run.architecture.get("genes")
    places = [place for place, one in enumerate(best, start=1) if one.get("genes") == taken]
    return places[0] if places else None


def _loss(search: OneShotRecord, size: Size) -> str | None:
    epochs = search.epochs
    series = Series("loss", [r["epoch"] for r in epochs], [r.get("loss") for r in epochs])
    return line_chart(
        [series],
        title="Training loss of the supernet",
        x_label="epoch" + (" (dashed: a new stage)" if search.stages else ""),
        dividers=[start - 0.5 for start, _ in _spans(search)[1:]],
        size=size,
    )


def _spans(search: OneShotRecord) -> list[tuple[int, int]]:
    """Return the first and the last epoch of each stage."""
    stages: dict[int, list[int]] = {}
    for record in search.epochs:
        stages.setdefault(int(record.get("stage", 0)), []).append(record["epoch"])
    return [(min(epochs), max(epochs)) for _, epochs in sorted(stages.items())]


def _by_stage(search: OneShotRecord, children: Sequence[_Child], size: Size) -> str | None:
    """Return the accuracy of the children at the end of each stage, side by side there."""
    spans = _spans(search)
    if len(spans) < 2:
        return None
    x: list[float] = []
    y: list[float | None] = []
    ends, medians = [], []
    for stage, (first, last) in enumerate(spans):
        scores = [child.accuracy for child in children if child.stage == stage]
        if not scores:
            continue
        ends.append(float(last))
        medians.append(median(scores))
        step = max(1, len(scores) * len(spans) // _DOTS)
        shown = scores[::step]
        room = 0.6 * (last - first + 1)
        x += [last - room * (1 - (n + 1) / len(shown)) for n in range(len(shown))]
        y += shown
    return line_chart(
        [Series("median", ends, medians), Series("one child", x, y, dots=True)],
        title="Accuracy of the children by stage",
        x_label="epoch (dashed: a new stage)",
        percent=True,
        dividers=[first - 0.5 for first, _ in spans[1:]],
        size=size,
    )


def _by_size(last: Sequence[_Child], size: Size) -> str | None:
    known = [child for child in last if child.parameters is not None]
    known = known[:: max(1, len(known) // _DOTS)]
    limits, outside = axis_limits([child.accuracy for child in known])
    return line_chart(
        [
            Series(
                "one child",
                [float(child.parameters or 0) for child in known],
                [child.accuracy for child in known],
                dots=True,
            )
        ],
        title=f"Accuracy by size{outside}",
        x_label="parameters",
        percent=True,
        y_range=limits,
        size=size,
    )


def _stages(search: OneShotRecord, children: Sequence[_Child]) -> Html:
    columns = [
        Column("stage"),
        *(Column(name, "number") for name in ("epochs", "operators", "architectures", "judged")),
        *(Column(name, "number") for name in ("lowest", "median", "highest", "left", "merged")),
    ]
    rows = []
    for stage, (first, last) in enumerate(_spans(search)):
        record = next((r for r in search.epochs if r["epoch"] == first), {})
        scores = [child.accuracy for child in children if child.stage == stage]
        spread = (min(scores), median(scores), max(scores)) if scores else (None,) * 3
        after = search.stages[stage] if stage < len(search.stages) else {}
        gone = sum(bool(one.get("dropped")) for one in after.get("operators", ()))
        merged = " + ".join(str(len(group)) for group in after.get("merged") or ())
        rows.append(
            [
                str(stage + 1),
                str(last - first + 1),
                count(record.get("operators")),
                _size(record.get("size")),
                count(len(scores)),
                *map(percent, spread),
                count(gone) if after else "–",
                (merged or "none") if after else "–",
            ]
        )
    words = (
        "Lowest, median and highest accuracy of the children judged at the end of the stage; how "
        "many operators left after it; how many genes lie together in each group whose "
        "combinations then got weights of their own."
    )
    return join(table(columns, rows), sentence(words))


def _what_left(run: RunRecord, search: OneShotRecord) -> list[str]:
    genes = run.architecture.get("genes")
    drawn = operator_grid(search.stages, genes if isinstance(genes, Mapping) else {})
    if drawn is None:
        return []
    told = "importance" if _has_importance(search) else "measure"
    caption = (
        "A number: the stage after which the operator left; none: it stayed. "
        f"Shade: its {told} when it was last judged, from the least of that stage (pale) to the "
        "greatest (full). Framed: the architecture that was taken."
    )
    parts: list[str] = [
        Html("<h3>Which operators left when</h3>"),
        figure(drawn, caption, kind="wide"),
    ]
    for number, stage in enumerate(search.stages, start=1):
        if words := _ties(number, stage.get("operators") or ()):
            parts.append(sentence(words))
    return parts


def _has_importance(search: OneShotRecord) -> bool:
    return any(
        one.get("importance") is not None for s in search.stages for one in s.get("operators") or ()
    )


def _ties(number: int, operators: Sequence[Record]) -> str:
    """Say so where operators left and others stayed that were judged alike."""
    stayed = {one.get("score") for one in operators if not one.get("dropped")}
    gone = [one for one in operators if one.get("dropped")]
    alike = sum(one.get("score") in stayed for one in gone)
    if not alike:
        return ""
    return (
        f"After stage {number}, {alike} of the {len(gone)} operators that left had the same score "
        "as some that stayed; among equals the order of the genes decided, not the data."
    )


def _best(run: RunRecord, search: OneShotRecord, ranked: Sequence[_Child]) -> Html:
    best = search.ranking["best"]
    taken = _place(run, best)
    columns = [
        Column("place"),
        *(Column(name, "number") for name in ("validation accuracy", "loss", "parameters")),
        Column(""),
    ]
    rows = []
    places = [*range(1, min(_TOP, len(best)) + 1), *([taken] if taken and taken > _TOP else [])]
    for place in places:
        one = best[place - 1]
        size = next((c.parameters for c in ranked if c.genes == one.get("genes")), None)
        figures = [percent(one.get("accuracy")), short(one.get("loss")), count(size)]
        rows.append([str(place), *figures, "taken" if place == taken else ""])
    return table(columns, rows)


def _rival(ranked: Sequence[_Child]) -> str:
    known = [child for child in ranked if child.parameters is not None]
    if len(known) < 3:
        return (
            "Too few sizes of judged networks are recorded to say whether larger ones are better."
        )
    words = correlation_with_size(
        [(float(child.parameters or 0), child.accuracy) for child in known], "children"
    )
    largest = max(known, key=lambda child: child.parameters or 0)  # of equals the better one
    place = ranked.index(largest) + 1
    if place == 1:
        return words + "The first is the largest one: taking that would have done as well."
    return words + (
        f"Taking the largest network judged, of {count(largest.parameters)} parameters, would have "
        f"given {percent(largest.accuracy)} (place {place:,} of {len(ranked):,}); the first has "
        f"{percent(ranked[0].accuracy)} with {count(ranked[0].parameters)}."
    )


def _size(value: Any) -> str:
    """Return a number of architectures; a large one as a power of ten."""
    if not is_number(value) or value < 1e9:
        return count(value)
    digits, power = f"{value:.2e}".split("e+")
    return f"{digits} × 10" + str(int(power)).translate(_RAISED)
