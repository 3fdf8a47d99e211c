"""Sections on what came out: test figures, the map, accuracy by class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swath.core.words import counted
from swath.report.html import (
    Column,
    Html,
    facts,
    figure,
    join,
    paragraph,
    section,
    sentence,
    swatch,
    table,
    text,
)
from swath.report.images import data_uri, indexed_png
from swath.report.record import RunRecord
from swath.report.words import count, duration, is_number, percent, plain, short, together

__all__ = ["accuracy", "header", "maps", "title"]

_WITHOUT_DATA = (84, 88, 94)
_NONE = (0, 0, 0, 0)
_ROLES = (
    ("train", (204, 84, 16)),
    ("validation", (36, 132, 88)),
    ("test", (146, 186, 224)),
    ("hidden", (146, 152, 158)),
)
_RIGHT, _WRONG = (146, 186, 224), (200, 56, 32)


def header(run: RunRecord) -> Html:
    """Return title, warning of simulated data, test figures and the simplest facts."""
    scene, cost, split = run.part("scene"), run.part("cost"), run.part("split")
    banner = None
    if scene.get("simulated"):
        banner = paragraph(
            "Simulated scene. The image was made by a program from a label map and a spectral "
            "library; these figures say nothing about a real image.",
            "banner",
        )
    test = run.part("test")
    mode, protocol = run.metrics.get("map_mode"), split.get("protocol")
    if test:
        scores = Html(
            '<dl class="scores">'
            + "".join(
                f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in _headline(run)
            )
            + "</dl>"
        )
        unit = "tiles" if run.of_tiles else "pixels"
        where = [f"{count(split['test'])} test {unit}" if "test" in split else f"the test {unit}"]
        where += [f"{protocol} split"] if protocol else []
        where += [f"map mode {mode}"] if mode else []
        left = join(scores, sentence(f"Test figures: {', '.join(where)}."))
        if split.get("description"):
            left = join(left, sentence(str(split["description"])))
        if protocol == "random" and not run.of_tiles:
            words = (
                "Random split: neighbouring pixels leak. See the caution under Labels and split."
            )
            left = join(left, paragraph(words, "caution"))
    else:
        left = paragraph("No test figures: this run has not been measured on test labels.")
    validation = run.part("validation")
    pairs = [
        ("validation mIoU", percent(validation.get("miou")))
        if run.of_tiles
        else ("validation accuracy", percent(validation.get("oa"))),
        ("parameters", count(cost.get("parameters")) + together(cost.get("members"))),
        ("FLOPs per pixel", short(cost.get("flops_per_pixel"))),
        ("search", duration(cost.get("search_seconds") or None)),
        ("training", duration(cost.get("train_seconds"))),
        ("test tiles" if run.of_tiles else "mapping", duration(cost.get("map_seconds"))),
        ("all together", duration(cost.get("total_seconds"))),
    ]
    known = [(name, value) for name, value in pairs if value != "–"]
    return join(
        Html("<header>"),
        paragraph("swath report", "kind"),
        Html(f"<h1>{text(scene.get('name') or run.folder.name)}</h1>"),
        paragraph(_subtitle(run)),
        Html("</header>"),
        banner,
        Html(f'<div class="head"><div>{left}</div>{facts(known)}</div>'),
    )


def _headline(run: RunRecord) -> list[tuple[str, str]]:
    """Return the names and values of the test figures."""
    test = run.part("test")
    if run.of_tiles:
        target = run.classes[1].name if len(run.classes) > 1 else "class 1"
        return [
            ("mean IoU (mIoU)", _large_percent(test.get("miou"))),
            (f"IoU of {target}", _large_percent(test.get("iou_target"))),
            ("pixel accuracy (PA)", _large_percent(test.get("oa"))),
        ]
    return [
        ("overall accuracy (OA)", _large_percent(test.get("oa"))),
        ("average accuracy (AA)", _large_percent(test.get("aa"))),
        ("kappa", text(plain(test.get("kappa")))),
    ]


def title(run: RunRecord) -> str:
    """Return the page's title."""
    name = run.part("scene").get("name") or run.folder.name
    return f"{name}: {_space(run) or 'swath'}"


def _large_percent(value: Any) -> Html:
    if not is_number(value):
        return Html("–")
    return Html(f"{100 * value:.2f} <small>%</small>")


def _space(run: RunRecord) -> str:
    named = run.recipe.get("network")
    if isinstance(named, Mapping):
        return str(named.get("name") or "")
    name = run.architecture.get("space")
    if not name:
        chosen = run.recipe.get("space")
        name = chosen.get("name") if isinstance(chosen, Mapping) else chosen
    variant = run.options.get("variant")
    return f"{name} ({variant})" if name and variant else str(name or "")


def _subtitle(run: RunRecord) -> str:
    scene = run.part("scene")
    parts = []
    if space := _space(run):
        kind = "network" if run.recipe.get("network") else "search space"
        parts.append(f"{kind} {space}")
    if preset := run.recipe.get("preset"):
        parts.append(f"preset {preset}")
    if {"rows", "columns", "bands"} <= scene.keys():
        size = f"{scene['rows']} × {scene['columns']} pixels, {counted(scene['bands'], 'band')}"
        parts.append(size)
    if "tiles" in scene:
        parts.append(f"{counted(scene['tiles'], 'tile')}, {counted(scene['bands'], 'band')}")
    if run.classes:
        parts.append(counted(len(run.classes), "class", "classes"))
    if scene.get("sensor"):
        parts.append(str(scene["sensor"]))
    return " · ".join(parts)


def maps(run: RunRecord) -> Html:
    """Return map, truth, split and errors side by side, with one legend."""
    colours = [(*entry.colour, 255) for entry in run.classes]
    panels: list[Html] = []
    without_data = False
    if run.prediction is not None and run.classes:
        without_data = bool((run.prediction < 0).any())
        where = "where there are data" if without_data else "everywhere"
        palette = [(*_WITHOUT_DATA, 255), *colours]
        panels.append(_panel(run.prediction + 1, palette, "Map", f"the network's answer {where}"))
    if run.truth is not None and run.classes:
        panels.append(_panel(run.truth + 1, [_NONE, *colours], "Truth", "the labels given"))
    if run.split is not None:
        roles = [_NONE, *((*colour, 255) for _, colour in _ROLES)]
        present = set(np.unique(run.split).tolist())
        keys = [
            join(swatch(colour), name, between="")
            for number, (name, colour) in enumerate(_ROLES, 1)
            if number in present
        ]
        panels.append(_panel(run.split, roles, "Split", join(*keys, between=" &ensp;")))
        if errors := _errors(run):
            panels.append(errors)
    if not panels:
        return section("Map", sentence("This run folder holds no map, truth or split."))
    missing = run.prediction is None and sentence("There is no map of the scene in this run.")
    images = Html(f'<div class="maps n{_columns(run)}">{join(*panels)}</div>')
    used = [f"<li>{swatch(c.colour)}{text(c.name)}</li>" for c in run.classes]
    used.append('<li><i class="swatch none"></i>no label</li>')
    if without_data:
        used.append(f"<li>{swatch(_WITHOUT_DATA)}no data</li>")
    legend = Html(f'<ul class="legend">{"".join(used)}</ul>')
    thinned = None
    if run.stride > 1:
        thinned = sentence(
            f"One row and column in {run.stride} is shown; map.tif holds every pixel."
        )
    return section("Map", missing or None, images, legend, thinned)


def _panel(
    indices: NDArray[np.int64], palette: Sequence[tuple[int, int, int, int]], name: str, words: str
) -> Html:
    known = np.where((indices >= 0) & (indices < len(palette)), indices, 0)
    known = np.where(known > 255, (known - 1) % 255 + 1, known)  # a PNG has no more colours
    image = data_uri(indexed_png(known, palette[:256]))
    rows, columns = indices.shape
    return Html(
        f'<figure><img class="pixels" alt="{text(name)}" width="{columns}" height="{rows}" '
        f'style="height:auto" src="{image}"><figcaption><b>{text(name)}</b> &ensp;{text(words)}'
        "</figcaption></figure>"
    )


def _errors(run: RunRecord) -> Html | None:
    if run.truth is None or run.split is None or run.prediction is None:
        return None
    if not run.truth.shape == run.split.shape == run.prediction.shape:
        return None
    tested = (run.split == 3) & (run.truth >= 0)
    if not tested.any():
        return None
    wrong = tested & (run.truth != run.prediction)
    words = join(swatch(_WRONG), "wrong ", Html("&ensp;"), swatch(_RIGHT), "right", between="")
    if run.stride == 1:
        share = f" ({count(wrong.sum())} of {count(tested.sum())} wrong)"
        words = join(words, share, between="")
    indices = tested.astype(np.int64) + wrong
    return _panel(indices, [_NONE, (*_RIGHT, 255), (*_WRONG, 255)], "Test pixels", words)


def _columns(run: RunRecord) -> int:
    shape = next(m.shape for m in (run.prediction, run.truth, run.split) if m is not None)
    aspect = shape[1] / shape[0]
    return 1 if aspect > 2.2 else 4 if aspect < 1.3 else 2


def accuracy(run: RunRecord) -> Html:
    """Return the per-class table, the confusion matrix and the figures of every map mode."""
    if not run.part("test") and not run.classes:
        return section("Accuracy", sentence("No test figures and no classes are recorded."))
    return section("Accuracy", _class_table(run), _confusion(run), _modes(run))


def _class_table(run: RunRecord) -> Html:
    if not run.classes:
        return sentence("The classes are not recorded.")
    per_class = run.part("test").get("per_class")
    known = per_class if isinstance(per_class, list) else []
    matrix = _matrix(run)
    columns = [
        Column("class"),
        Column("label", "number"),
        Column("train", "number"),
        Column("validation", "number"),
        Column("test", "number"),
    ]
    if matrix is not None:
        columns.append(Column("user’s accuracy", "number"))
    iou = run.part("test").get("iou") if run.of_tiles else None
    if isinstance(iou, list):
        columns.append(Column("IoU", "number"))
    columns += [Column("accuracy", "number"), Column("")]
    rows: list[list[str]] = []
    for index, entry in enumerate(run.classes):
        row: list[str] = [
            join(swatch(entry.colour), entry.name, between=""),
            str(entry.original),
            count(entry.train),
            count(entry.validation),
            count(entry.test),
        ]
        if matrix is not None:
            called = matrix[:, index].sum()
            row.append(percent(matrix[index, index] / called if called else None))
        if isinstance(iou, list):
            row.append(percent(iou[index] if index < len(iou) else None))
        right = known[index] if index < len(known) else None
        row += [percent(right), _bar(right)]
        rows.append(row)
    total: list[str] = ["all (mean accuracy)", ""]
    for name in ("train", "validation", "test"):
        numbers = [getattr(entry, name) for entry in run.classes]
        total.append(count(sum(n for n in numbers if n is not None)) if any(numbers) else "–")
    if matrix is not None:
        total.append("")
    if isinstance(iou, list):
        present = [value for value in iou if is_number(value)]
        total.append(percent(sum(present) / len(present) if present else None))
    average = run.part("test").get("aa")
    total += [percent(average), _bar(average)]
    note = (
        "Labelled pixels by role, and accuracy on test pixels. Accuracy (the producer’s): the "
        "share of a class’s test pixels that are called so."
    )
    if matrix is not None:
        note += " User’s accuracy: the share of the test pixels called so that are of the class."
    if isinstance(iou, list):
        note += (
            " IoU: the pixels that are of the class and are called so, as a share of those that "
            "are either."
        )
    return join(table(columns, [*rows, total], last_apart=1, kind="full"), sentence(note))


def _bar(value: Any) -> Html:
    if not is_number(value):
        return Html("")
    width = min(100.0, max(0.0, 100 * value))
    return Html(f'<span class="bar"><i style="width:{width:.1f}%"></i></span>')


def _matrix(run: RunRecord) -> NDArray[np.int64] | None:
    size = len(run.classes)
    try:
        matrix = np.asarray(run.metrics.get("confusion"), dtype=np.int64)
    except (TypeError, ValueError):
        return None
    return matrix if matrix.shape == (size, size) and matrix.sum() > 0 else None


def _confusion(run: RunRecord) -> Html:
    heading = Html("<h3>Confusion matrix</h3>")
    matrix = _matrix(run)
    if matrix is None:
        return join(heading, sentence("No confusion matrix is recorded."))
    head = "".join(
        f'<th scope="col" title="{text(c.name)}">{swatch(c.colour)}{c.original}</th>'
        for c in run.classes
    )
    lines = []
    for index, (entry, row) in enumerate(zip(run.classes, matrix, strict=True)):
        total = int(row.sum())
        cells = "".join(
            _confusion_cell(int(n), total, index == column) for column, n in enumerate(row)
        )
        named = str(entry.original) in entry.name.split()  # as "class 3" is, where none was given
        name = f"{swatch(entry.colour)}{text(entry.name)}"
        name += "" if named else f" &ensp;{entry.original}"
        lines.append(
            f'<tr><th scope="row">{name}</th>{cells}<td class="total">{count(total)}</td></tr>'
        )
    grid = (
        '<table class="confusion"><thead><tr><th></th>'
        f'{head}<th scope="col" class="total">sum</th></tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table>"
    )
    columns = "the network’s answer" if run.of_tiles else "the map"
    caption = (
        f"Test pixels: rows are the truth, columns {columns}. Colour is the share of the row: blue "
        "where the two agree, orange where they do not; no number, no pixel."
    )
    return join(heading, figure(grid, caption))


def _confusion_cell(number: int, total: int, hit: bool) -> str:
    if number == 0:
        return '<td class="zero"></td>'
    share = number / total
    strong = " strong" if share > 0.55 else ""
    kind = "hit" if hit else "miss"
    return f'<td class="{kind}{strong}" style="--p:{0.1 + 0.9 * share:.3f}">{number:,}</td>'


def _modes(run: RunRecord) -> Html | None:
    modes = run.part("test_modes")
    rows: list[list[str]] = []
    for name, scores in modes.items():
        if isinstance(scores, Mapping):
            used = "this map" if name == run.metrics.get("map_mode") else ""
            values = [percent(scores.get("oa")), percent(scores.get("aa"))]
            rows.append([name, *values, plain(scores.get("kappa")), used])
    if not rows:
        return None
    columns = [
        Column("map mode"),
        Column("OA", "number"),
        Column("AA", "number"),
        Column("kappa", "number"),
        Column(""),
    ]
    note = (
        "The same network, mapped in several ways: plain windows, windows of several sizes (ms), "
        "overlapping windows (ov). The mode of the map was fixed before the test was read."
    )
    return join(Html("<h3>Test figures by map mode</h3>"), table(columns, rows), sentence(note))
