"""Sections on how the network was found: its drawing, the search and the training."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swath.core.errors import SwathError
from swath.core.words import counted
from swath.report.charts import Mark, Panel, Series, heat_panels, legend_scale, line_chart
from swath.report.drawing import draw_graph
from swath.report.hsi3d import draw_widths, hsi3d_cell, hsi3d_widths
from swath.report.html import (
    Column,
    Html,
    figure,
    join,
    paragraph,
    section,
    sentence,
    table,
    text,
)
from swath.report.networks import draw_network
from swath.report.one_shot import one_shot
from swath.report.record import RunRecord
from swath.report.trials import trials
from swath.report.words import count, is_number, percent

__all__ = ["network", "search", "training"]

Record = Mapping[str, Any]
_SMALL = (340.0, 230.0)
"""Width and height of charts that stand three in a row."""

_MOVES = ("narrower", "same width", "wider")


def network(run: RunRecord) -> Html:
    """Return the drawn architecture with its genes; these alone where it cannot be drawn."""
    named = run.recipe.get("network")
    if isinstance(named, Mapping):
        words = f"The network is {named.get('name')}, of no search space: nothing was searched."
        return section("Network", paragraph(words))
    genes = run.architecture.get("genes")
    if not isinstance(genes, Mapping) or not genes:
        return section("Network", sentence("No architecture is recorded in this run."))
    try:
        drawing = _hsi3d(run, genes) if run.architecture.get("space") == "hsi3d" else _drawn(run)
    except SwathError as error:
        reason = f"The architecture cannot be drawn: {error}. These are its genes."
        return section("Network", sentence(reason), _genes(genes))
    key = run.architecture.get("key")
    words = join("Key of the architecture: ", Html(f"<code>{text(key)}</code>"), between="")
    named = sentence(words) if key else None
    if run.architecture.get("space") == "hsi3d":
        return section("Network", drawing, named)
    return section("Network", drawing, Html("<h3>Genes</h3>"), _genes(genes), named)


def _genes(genes: Record) -> Html:
    """Return the genes as a table, in columns where there are many."""
    rows = [[str(name), str(value)] for name, value in genes.items()]
    listed = table([Column("gene"), Column("value")], rows)
    return Html(f'<div class="columns">{listed}</div>') if len(rows) > 12 else listed


def _drawn(run: RunRecord) -> Html:
    """Return the drawing of a network of any space.

    Raises
    ------
    SwathError : the space is not known here, or the architecture is none of it.
    """
    from swath import spaces
    from swath.core.architecture import Architecture

    architecture = Architecture.from_dict(run.architecture)
    space = spaces.create(architecture.space, **run.options)
    return draw_network(space, space.architecture(architecture.as_dict()))


def _hsi3d(run: RunRecord, genes: Record) -> Html:
    options = run.options
    base = options.get("base_width")
    path = hsi3d_widths(genes)
    factors = options.get("width_factors")
    if not isinstance(factors, list) or len(factors) <= max(path):
        factors = []
    names = [f"× {factor:g}" for factor in factors] or [f"width {k}" for k in range(max(path) + 1)]
    channels = [round(base * f) for f in factors] if is_number(base) else []
    parts: list[str] = []
    for layer, width in enumerate(path):
        many = channels[width] if channels else None
        heading = f"Layer {layer + 1}: width {names[width]}"
        heading += f", {many} channels a node" if many else ""
        drawn = draw_graph(*hsi3d_cell(genes, layer, many), title=f"cell of layer {layer + 1}")
        parts += [Html(f"<h3>{text(heading)}</h3>"), figure(drawn, kind="wide")]
    undecomposed = str(options.get("variant", "")).endswith("-ud")
    parts.append(
        sentence(
            "A node adds its two operators. con_a-b is a convolution over "
            + ("a × a pixels and b bands at once" if undecomposed else "a × a pixels, then b bands")
            + "; sep_a-b is the same by channel, with a mixing of channels, applied twice; "
            "skip_connect passes its input on. A cell’s output halves the spectral axis."
        )
    )
    if channels:
        names = [f"{name}, {many} ch." for name, many in zip(names, channels, strict=True)]
    chosen = _best(run.search)
    moves = _moves(chosen, len(path), len(names)) if chosen else None
    caption = "The layers’ widths: a layer is at most one step narrower or wider than the last."
    if moves and chosen:
        caption += f" Numbers: the probabilities of the moves at epoch {chosen['epoch']}."
    parts += [Html("<h3>Widths</h3>"), figure(draw_widths(path, names, moves), caption)]
    return join(*parts)


def _best(records: Sequence[Record]) -> Record | None:
    """Return the step that was kept: the last that was the best so far."""
    marked = [r for r in records if r.get("best") and is_number(r.get("validation_accuracy"))]
    return marked[-1] if marked else None


def _beta_rows(layers: int, widths: int) -> list[tuple[int, int]]:
    """Return (layer, width it comes from) of every row of beta, layers from 0."""
    return [(layer, width) for layer in range(layers) for width in range(min(layer + 1, widths))]


def _moves(record: Record, layers: int, widths: int) -> dict[tuple[int, int, int], float] | None:
    rows = _beta_rows(layers, widths)
    beta = _array(record.get("beta"))
    if beta is None or beta.shape != (len(rows), 3):
        return None
    return {
        (layer, source, source + move - 1): float(beta[row, move])
        for row, (layer, source) in enumerate(rows)
        for move in range(3)
    }


def _array(value: Any) -> NDArray[np.float64] | None:
    try:
        array = np.asarray(value, np.float64)
    except (TypeError, ValueError):
        return None
    return array if array.ndim and np.isfinite(array).all() else None


def search(run: RunRecord) -> Html:
    """Return the search curves, the weights of the operators and of the moves by epoch.

    Of a search by trials, :func:`swath.report.trials.trials`, and of one with a supernet whose best
    architecture is taken, :func:`swath.report.one_shot.one_shot`.
    """
    if run.study is not None:
        return trials(run, run.study)
    if run.one_shot is not None:
        return one_shot(run, run.one_shot)
    records = run.search
    if not records:
        words = "No search is recorded."
        if run.architecture:
            words = "This run has no search history: the architecture was given, not searched for."
        return section("Search", sentence(words))
    genes = run.architecture.get("genes")
    genes = genes if isinstance(genes, Mapping) else {}
    return section(
        "Search",
        paragraph(_search_words(records)),
        _search_curves(records),
        _alpha(run, genes),
        _beta(run),
    )


def _search_words(records: Sequence[Record]) -> str:
    warm = sum(not r.get("arch_trained", True) for r in records)
    words = f"The search took {counted(len(records), 'epoch')}"
    words += f", of which {warm} trained only the weights. " if warm else ". "
    best = _best(records)
    if best:
        words += (
            f"The architecture is that of epoch {best['epoch']}, with a validation accuracy of "
            f"{percent(best['validation_accuracy'])}. "
        )
    decoded = [(r["epoch"], r["genes"]) for r in records if r.get("genes")]
    changes = [epoch for (_, old), (epoch, new) in itertools.pairwise(decoded) if old != new]
    if changes:
        words += f"The decoded architecture changed last at epoch {changes[-1]}."
    elif len(decoded) > 1:
        words += "The decoded architecture never changed."
    return words


def _search_curves(records: Sequence[Record]) -> Html:
    epochs = [r["epoch"] for r in records]
    warm = [r["epoch"] for r in records if not r.get("arch_trained", True)]
    shade = (min(epochs), max(warm), "weights only") if warm else None
    best = _best(records)
    mark = _mark(best, "epoch") if best else None
    charts = [
        line_chart(
            [_series("validation accuracy", records, "epoch", "validation_accuracy")],
            title="Accuracy of the supernet",
            x_label="epoch",
            percent=True,
            size=_SMALL,
            shade=shade,
            mark=mark,
        ),
        line_chart(
            [
                _series("training loss", records, "epoch", "loss"),
                _series("validation loss", records, "epoch", "validation_loss"),
            ],
            title="Cross-entropy",
            size=_SMALL,
            x_label="epoch",
            shade=shade,
        ),
        line_chart(
            [_series("share of skip_connect", records, "epoch", "skip_share")],
            title="Share of skip connections",
            x_label="epoch",
            percent=True,
            size=_SMALL,
            y_range=(0, 1),
            shade=shade,
        ),
    ]
    return _grid("trio", charts)


def _mark(record: Record, x: str, y: str = "validation_accuracy") -> Mark:
    return Mark(record[x], record[y], f"{percent(record[y])}, {x} {count(record[x])}")


def _series(name: str, records: Sequence[Record], x: str, y: str) -> Series:
    return Series(name, [r[x] for r in records], [r.get(y) for r in records])


def _grid(kind: str, charts: Sequence[str | None]) -> Html:
    shown = [figure(chart) for chart in charts if chart]
    if not shown:
        return sentence("The history holds no figures to draw.")
    return Html(f'<div class="{kind}">{join(*shown)}</div>')


def _alpha(run: RunRecord, genes: Record) -> Html:
    heading = Html("<h3>Operators on every edge, by epoch</h3>")
    epochs, layers = _stacked(run.search, "alpha")
    if not layers:
        return join(heading, sentence("The weights of the operators (alpha) were not recorded."))
    operators = layers[0].shape[2]
    names = list(run.operators)
    if len(names) != operators:
        names = [f"operator {k}" for k in range(operators)]
    middle = 1 / operators
    reach = max(float(np.abs(layer - middle).max()) for layer in layers) or middle
    words = f"softmax of alpha; no colour is 1/{operators}, where all started."
    if genes:
        words += " Framed: the operators of the final cell."
    parts: list[str] = [heading, sentence(legend_scale(reach, middle, words))]
    for number, layer in enumerate(layers):
        groups, grid = _alpha_panels(number, layer, names, genes)
        drawn = heat_panels(
            grid,
            rows=names,
            groups=groups,
            steps=(epochs[0], epochs[-1]),
            reach=reach,
            middle=middle,
            title=f"operator weights of layer {number + 1}",
        )
        parts.append(figure(drawn, kind="wide"))
    return join(*parts)


def _alpha_panels(
    layer: int, values: NDArray[np.float64], names: Sequence[str], genes: Record
) -> tuple[list[str], list[list[Panel]]]:
    """Return titles and panels; ``values`` is (epochs, edges, operators) of one layer."""
    edges = values.shape[1]
    nodes = 0
    while sum(2 + i for i in range(nodes)) < edges:
        nodes += 1
    if sum(2 + i for i in range(nodes)) != edges:
        flat = [Panel(f"edge {edge}", values[:, edge].T) for edge in range(edges)]
        lines = [flat[start : start + 4] for start in range(0, edges, 4)]
        return [f"Layer {layer + 1}"] * len(lines), lines
    groups, grid, edge = [], [], 0
    for node in range(nodes):
        inputs = str(genes.get(f"cell{layer}.node{node}.inputs", "")).split(",")
        line = []
        for source in range(2 + node):
            outlined: tuple[int, ...] = ()
            if str(source) in inputs:
                chosen = genes.get(f"cell{layer}.node{node}.op{inputs.index(str(source))}")
                outlined = (names.index(str(chosen)),) if chosen in names else ()
            origin = ("from before previous", "from previous")
            title = origin[source] if source < 2 else f"from node {source - 2}"
            line.append(Panel(title, values[:, edge].T, outlined))
            edge += 1
        groups.append(f"Layer {layer + 1}, node {node}")
        grid.append(line)
    return groups, grid


def _stacked(records: Sequence[Record], name: str) -> tuple[list[int], list[NDArray[np.float64]]]:
    """Return epochs and, for each layer, probabilities (epochs, edges, operators)."""
    epochs: list[int] = []
    layers: list[list[NDArray[np.float64]]] = []
    for record in records:
        value = record.get(name)
        arrays = [_array(layer) for layer in value] if isinstance(value, list) else []
        known = [a for a in arrays if a is not None and a.ndim == 2]
        if not known or len(known) != len(arrays):
            continue
        if layers and [a.shape for a in known] != [layer[0].shape for layer in layers]:
            continue
        layers = layers or [[] for _ in known]
        for layer, array in zip(layers, known, strict=True):
            layer.append(array)
        epochs.append(record["epoch"])
    if len({layer[0].shape[1] for layer in layers}) > 1:
        return [], []
    return epochs, [np.stack(layer) for layer in layers]


def _beta(run: RunRecord) -> Html:
    heading = Html("<h3>Moves between widths, by epoch</h3>")
    rows: list[tuple[int, NDArray[np.float64]]] = []
    for record in run.search:
        beta = _array(record.get("beta"))
        if beta is not None and beta.ndim == 2 and (not rows or beta.shape == rows[0][1].shape):
            rows.append((record["epoch"], beta))
    if not rows:
        return join(heading, sentence("The weights of the moves (beta) were not recorded."))
    factors = run.options.get("width_factors")
    factors = factors if isinstance(factors, list) else [1, 1.5, 2]
    layers = int(run.options.get("layers") or 1)
    known = _beta_rows(layers, len(factors))
    epochs = [epoch for epoch, _ in rows]
    charts = []
    for number in range(rows[0][1].shape[0]):
        name, allowed = f"row {number}", range(rows[0][1].shape[1])
        if len(known) == rows[0][1].shape[0]:
            layer, source = known[number]
            before = f"layer {layer}" if layer else "stem"
            name = f"From {before}, width × {factors[source]:g}"
            top = min(layer + 2, len(factors)) - 1
            allowed = range(0 if source else 1, 3 if source < top else 2)
        series = [
            Series(
                _MOVES[k] if k < 3 else f"move {k}", epochs, [float(b[number, k]) for _, b in rows]
            )
            for k in allowed
        ]
        charts.append(line_chart(series, title=name, x_label="epoch", y_range=(0, 1), size=_SMALL))
    words = "Softmax of beta: the probability of each move out of a width, for every width."
    return join(heading, _grid("trio", charts), sentence(words))


def training(run: RunRecord) -> Html:
    """Return the training curves of the final network."""
    records = run.training
    if not records:
        return section("Training", sentence("This run has no training history."))
    best = _best(records)
    counted_by = "validation_miou" if "validation_miou" in records[-1] else "validation_accuracy"
    mark = _mark(best, "iteration", counted_by) if best else None
    words = f"The network was trained for {count(records[-1]['iteration'])} iterations. "
    if best:
        words += "The best on validation labels was kept; test labels played no part."
    settings = run.recipe.get("training")
    loss = settings.get("loss") if isinstance(settings, Mapping) else None
    charts = [
        line_chart(
            [
                _series(name, records, "iteration", key)
                for name, key in (
                    ("mean IoU", "validation_miou"),
                    ("overall", "validation_accuracy"),
                    ("average over classes", "validation_aa"),
                )
                if key in records[-1]
            ],
            title="Validation accuracy",
            x_label="iteration",
            percent=True,
            mark=mark,
        ),
        line_chart(
            [
                _series("training loss", records, "iteration", "loss"),
                _series("validation loss", records, "iteration", "validation_loss"),
            ],
            title="Cross-entropy"
            if loss in (None, "cross-entropy")
            else f"Loss: {loss} in training, cross-entropy in validation",
            x_label="iteration",
        ),
    ]
    return section("Training", paragraph(words), _grid("pair", charts))
