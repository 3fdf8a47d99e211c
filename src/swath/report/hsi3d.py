"""Drawings of hsi3d: the cell of a layer as a graph, and the path through the widths."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swath.core.architecture import Value
from swath.core.errors import InvalidArchitecture
from swath.report.drawing import Edge, Node, svg, svg_text

__all__ = ["draw_widths", "hsi3d_cell", "hsi3d_widths"]


def hsi3d_cell(
    genes: Mapping[str, Value], layer: int, channels: int | None = None
) -> tuple[list[Node], list[Edge]]:
    """Return the cell of one layer of an ``hsi3d`` architecture as a graph.

    Parameters
    ----------
    genes : ``cell{l}.node{i}.inputs`` ("0,1": two of previous-previous 0, previous 1, earlier nodes
        2...), ``cell{l}.node{i}.op0`` and ``.op1`` (operator names).
    channels : of each node, written into the output's note.

    Raises
    ------
    InvalidArchitecture : a gene is missing or names an input that does not exist.
    """
    count = 0
    while f"cell{layer}.node{count}.inputs" in genes:
        count += 1
    if not count:
        raise InvalidArchitecture(f"the architecture has no gene 'cell{layer}.node0.inputs'")
    states = ["older", "previous", *(f"node{i}" for i in range(count))]
    edges: list[Edge] = []
    for node in range(count):
        name = f"cell{layer}.node{node}"
        for number, source in enumerate(_inputs(genes, f"{name}.inputs", 2 + node)):
            operator = str(_gene(genes, f"{name}.op{number}"))
            edges.append(Edge(states[source], f"node{node}", operator, _family(operator)))
    used = {edge.source for edge in edges}
    nodes = [
        Node(key, label, note, "input" if key in used else "input unused")
        for key, label, note in (
            ("previous", "previous", "input 1"),
            ("older", "before previous", "input 0"),
        )
    ]
    nodes += [Node(f"node{i}", f"node {i}", "sum") for i in range(count)]
    note = f"{count} × {channels} channels" if channels else "concatenated"
    nodes.append(Node("output", "output", note, "output"))
    edges += [Edge(f"node{i}", "output") for i in range(count)]
    return nodes, edges


def hsi3d_widths(genes: Mapping[str, Value]) -> tuple[int, ...]:
    """Return the width index of every layer of an ``hsi3d`` architecture, first layer first.

    Raises
    ------
    InvalidArchitecture : there is no width gene, or one is not a whole number from 0.
    """
    path: list[int] = []
    while (name := f"cell{len(path)}.width") in genes:
        value = genes[name]
        if not isinstance(value, int) or value < 0:
            raise InvalidArchitecture(f"gene '{name}' cannot be {value!r}; it is 0, 1, 2, ...")
        path.append(value)
    if not path:
        raise InvalidArchitecture("the architecture has no gene 'cell0.width'")
    return tuple(path)


def draw_widths(
    path: Sequence[int],
    names: Sequence[str],
    moves: Mapping[tuple[int, int, int], float] | None = None,
) -> str:
    """Return an SVG of the trellis of widths with one path through it.

    Parameters
    ----------
    path : width index of each layer; it starts at width 0 before the first layer, and each layer
        moves by one at most, as in 3D-ANAS section III-B.
    names : what each width is called, narrowest first.
    moves : probability of a move by (layer, from width, to width), written beside its line.
    """
    columns, step, rise, left, top = len(path) + 1, 180.0, 66.0, 150.0, 44.0
    reach = [range(min(c + 1, len(names))) for c in range(columns)]
    full = (0, *path)

    def at(column: int, width: int) -> tuple[float, float]:
        return left + step * column, top + rise * width

    parts: list[str] = []
    chosen: list[str] = []
    probabilities: list[str] = []
    for layer in range(columns - 1):
        for source in reach[layer]:
            for target in range(max(0, source - 1), source + 2):
                if target not in reach[layer + 1]:
                    continue
                (x1, y1), (x2, y2) = at(layer, source), at(layer + 1, target)
                taken = (full[layer], full[layer + 1]) == (source, target)
                kind = "move taken" if taken else "move"
                line = f'<path class="{kind}" d="M{x1:g} {y1:g}L{x2:g} {y2:g}"/>'
                (chosen if taken else parts).append(line)
                if moves and (layer, source, target) in moves:
                    share = 0.25
                    x, y = x1 + share * (x2 - x1), y1 + share * (y2 - y1) - 5
                    text = f"{moves[layer, source, target]:.2f}"
                    probabilities.append(svg_text(x, y, text, "halo strong" if taken else "halo"))
    parts += chosen + probabilities
    for column in range(columns):
        x, _ = at(column, 0)
        parts.append(svg_text(x, 20, f"layer {column}" if column else "stem", "small"))
        for width in reach[column]:
            x, y = at(column, width)
            taken = full[column] == width
            kind, radius = ("state taken", 9) if taken else ("state", 5)
            parts.append(f'<circle class="{kind}" cx="{x:g}" cy="{y:g}" r="{radius}"/>')
    for width, name in enumerate(names):
        parts.append(svg_text(left - 34, top + rise * width + 4, name, "end"))
    size = left + step * (columns - 1) + 40, top + rise * (len(names) - 1) + 24
    return svg(*size, "widths", "width of each layer", parts)


def _gene(genes: Mapping[str, Value], name: str) -> Value:
    try:
        return genes[name]
    except KeyError:
        raise InvalidArchitecture(f"the architecture has no gene '{name}'") from None


def _inputs(genes: Mapping[str, Value], name: str, count: int) -> list[int]:
    value = genes[name]
    try:
        inputs = [int(part) for part in str(value).split(",")]
    except ValueError:
        inputs = []
    if len(inputs) != 2 or not all(0 <= i < count for i in inputs):
        raise InvalidArchitecture(
            f"gene '{name}' cannot be {value!r}; it names two of the inputs 0 to {count - 1}"
        )
    return inputs


def _family(operator: str) -> str:
    """Return the style of an operator: what stands before its kernel."""
    family = operator.split("_")[0]
    return family if family in {"con", "sep", "skip", "none"} else ""
