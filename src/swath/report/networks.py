"""Drawings of the networks of any space, from the graph of their operators.

A chain of layers becomes a strip of boxes.  Cells become graphs: where the graph names the sums
(``add``) or the space has its operators on the edges of the cell, the arrows carry the operators,
else boxes do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

import numpy as np

from swath.core.architecture import Architecture
from swath.report.drawing import Edge, Node, draw_graph
from swath.report.html import Html, figure, join, sentence, text

if TYPE_CHECKING:
    from swath.spaces.base import OpGraph, SearchSpace

__all__ = ["cell_of_edges", "cells", "draw_network"]

_ENDS = ("input", "stem", "embedding", "head", "decoder", "output")
_PLAIN = ("none", "skip_connect", "identity")
_COLOURS = 6
_ON_EDGES = ("nasbench201",)
"""Spaces whose graph has a node for each edge of the cell."""

_CHANNELS = re.compile(r"(.+)_(\d+)_s(\d+)")
_NUMBER = re.compile(r"(attention|mlp|embedding)_(\d+)")
_MEANING = {"attention": "{} heads", "mlp": "ratio {}", "embedding": "{} numbers"}
_WIDTH = 1040.0


def draw_network(space: SearchSpace, architecture: Architecture) -> Html:
    """Return drawings of an architecture with a legend.

    Raises
    ------
    InvalidArchitecture : it is none of the space.
    """
    graph = space.graph(architecture)
    names = [_words(operator)[0] for operator in graph.operators]
    kind = _kinds(space, names)
    if space.name in _ON_EDGES:
        parts = [_cell("", *cell_of_edges(graph, kind))]
        words = "A node adds what arrives at it."
    elif graph.operators[0] == "input":
        parts = [_cell("", *_boxes(graph, kind))]
        words = "A box takes the sum of what arrives at it, and the output all of it together."
    elif any(name.startswith("concat") for name in names):
        parts = [_cell(name, *cell) for name, cell in cells(graph, kind)]
        words = "A node adds what arrives at it; the output of a cell is all its nodes together."
    elif _is_chain(graph):
        parts = [figure(_strip(graph, kind), kind="wide")]
        words = "From left to right, line by line."
        if any(_CHANNELS.fullmatch(operator) for operator in graph.operators):
            words += " Below a block are its output channels (ch) and its stride, where it has one."
        if np.triu(graph.adjacency, 2).any():
            words += " A box takes the one before it and those whose number it names."
    else:
        parts = [_cell("", *_boxes(graph, kind))]
        words = "Arrows say what feeds what."
    if "none" in names:
        words += " Edges with none are left out."
    return join(*parts, _legend(names, kind), sentence(words))


Kind = Callable[[str], str]


def _kinds(space: SearchSpace, names: Sequence[str]) -> Kind:
    """Return a function from an operator's name to its style, the same for all of a space."""
    choices = [str(c) for g in space.genes for c in g.choices if isinstance(c, str)]
    known = [name for name in dict.fromkeys([*choices, *names]) if not _is_plain(name)]
    own = [name for name in known if name in choices]
    # What no gene chooses (attention, mlp) begins with the first colour again.
    place = {name: n for n, name in enumerate(own)}
    place |= {name: n for n, name in enumerate(name for name in known if name not in choices)}

    def kind(name: str) -> str:
        if _is_end(name):
            return "input"
        return "plain" if _is_plain(name) else f"k{place[name] % _COLOURS}"

    return kind


def _is_end(name: str) -> bool:
    return name in _ENDS or name.startswith("concat") or name == "add"


def _is_plain(name: str) -> bool:
    return name in _PLAIN or _is_end(name)


def _words(operator: str) -> tuple[str, str]:
    """Return an operator's name, and what else its node in the graph says."""
    if found := _CHANNELS.fullmatch(operator):
        name, channels, stride = found.groups()
        return name, f"{channels} ch" + (f", stride {stride}" if stride != "1" else "")
    if found := _NUMBER.fullmatch(operator):
        return found[1], _MEANING[found[1]].format(found[2])
    return operator, ""


def _legend(names: Sequence[str], kind: Kind) -> Html:
    items = []
    for name, many in sorted(Counter(names).items(), key=lambda item: (kind(item[0]), item[0])):
        if _is_end(name):
            continue
        style = f'class="swatch {kind(name)}"' if kind(name) != "plain" else 'class="swatch none"'
        items.append(f"<li><i {style}></i>{text(name)} × {many}</li>")
    return Html(f'<ul class="legend">{"".join(items)}</ul>')


def _cell(name: str, nodes: Sequence[Node], edges: Sequence[Edge]) -> Html:
    heading = Html(f"<h3>{text(name)}</h3>") if name else None
    drawn = draw_graph(nodes, edges, title=name or "cell")
    return join(heading, figure(drawn, kind="wide"))


def cell_of_edges(graph: OpGraph, kind: Kind) -> tuple[list[Node], list[Edge]]:
    """Return the cell whose edges are the nodes of a graph (its line graph).

    Operators that feed the same ones end in the same node; input and output are such "edges" too.
    Edges with ``none`` are left out.
    """
    after = [tuple(np.flatnonzero(row).tolist()) for row in graph.adjacency]
    ends = list(dict.fromkeys(after[:-1]))
    ends.sort(key=lambda fed: fed[0])
    nodes = [Node(str(n), f"node {n}", "sum") for n in range(len(ends))]
    nodes[0], nodes[-1] = Node("0", "input", "", "input"), Node(str(len(ends) - 1), "output", "sum")
    begin = {operator: str(n) for n, fed in enumerate(ends) for operator in fed}
    edges = [
        Edge(begin[place], str(ends.index(after[place])), operator, kind(operator))
        for place, operator in enumerate(graph.operators)
        if 0 < place < len(after) - 1 and operator != "none"
    ]
    return nodes, edges


def _boxes(graph: OpGraph, kind: Kind) -> tuple[list[Node], list[Edge]]:
    """Return a graph as it is, an operator a box."""
    nodes = [Node(str(n), *_words(o), kind(_words(o)[0])) for n, o in enumerate(graph.operators)]
    return nodes, [Edge(str(a), str(b)) for a, b in np.argwhere(graph.adjacency)]


def cells(graph: OpGraph, kind: Kind) -> list[tuple[str, tuple[list[Node], list[Edge]]]]:
    """Return name and drawing of each cell of a graph: all up to its concatenation.

    Operators between two sums become edges; those with ``none`` are left out.
    """
    found, start = [], 2  # behind the two outputs of the stem that the first cell takes
    for end, operator in enumerate(graph.operators):
        if operator.startswith("concat"):
            name = operator.removeprefix("concat").strip("_")
            found.append((f"{name} cell".strip().capitalize(), _one_cell(graph, start, end, kind)))
            start = end + 1
    return found


def _one_cell(graph: OpGraph, start: int, end: int, kind: Kind) -> tuple[list[Node], list[Edge]]:
    """Return nodes [start, end] of a graph as a cell; what feeds them is its input."""
    before = [np.flatnonzero(graph.adjacency[:, place]) for place in range(end + 1)]
    outside = sorted({int(s) for p in range(start, end + 1) for s in before[p] if s < start})
    labels = ("before previous", "previous") if len(outside) == 2 else ("input",) * len(outside)
    sums = [place for place in range(start, end) if graph.operators[place] == "add"]
    edges: list[Edge] = []
    for place in [*sums, end]:
        for source in before[place]:
            operator = graph.operators[source]
            if operator == "add" or source < start:
                edges.append(Edge(str(source), str(place)))
            elif operator != "none":
                origin = str(before[source][0])
                edges.append(Edge(origin, str(place), operator, kind(operator)))
    used = {edge.source for edge in edges}
    nodes = [
        Node(str(o), name, "", "input" if str(o) in used else "input unused")
        for o, name in zip(outside, labels, strict=True)
    ]
    nodes += [Node(str(place), f"node {n}", "sum") for n, place in enumerate(sums)]
    nodes.append(Node(str(end), "output", "concatenated", "output"))
    return nodes, edges


def _is_chain(graph: OpGraph) -> bool:
    return bool(np.diagonal(graph.adjacency, 1).all())


@dataclass(frozen=True)
class _Step:
    name: str
    note: str
    kind: str


def _strip(graph: OpGraph, kind: Kind) -> str:
    """Return an SVG of a chain: boxes in lines, what skips a box named by its number."""
    further = np.triu(graph.adjacency, 2)
    steps = []
    for place, operator in enumerate(graph.operators):
        name, note = _words(operator)
        also = " and ".join(f"no. {source + 1}" for source in np.flatnonzero(further[:, place]))
        steps.append(
            _Step(name, ", ".join(filter(None, (note, f"+ {also}" if also else ""))), kind(name))
        )
    numbered, gap, tall = bool(further.any()), 16.0, 44.0
    wide = max(max(7.4 * len(s.name), 6.4 * len(s.note)) for s in steps) + 18
    most = max(1, int((_WIDTH + gap) // (wide + gap)))
    lines = -(-len(steps) // most)
    most = -(-len(steps) // lines)  # lines of about the same length
    pitch = tall + (26 if numbered else 16)
    parts = []
    for number, step in enumerate(steps):
        x, y = (number % most) * (wide + gap), (number // most) * pitch + (16 if numbered else 2)
        parts.append(
            f'<rect class="node {step.kind}" x="{x + 1:.1f}" y="{y:.1f}" width="{wide - 2:.1f}" '
            f'height="{tall:g}" rx="6"/>'
        )
        middle = x + wide / 2
        parts.append(_text(middle, y + (18 if step.note else 26), step.name, "strong"))
        if step.note:
            parts.append(_text(middle, y + 34, step.note, "small"))
        if numbered:
            parts.append(_text(middle, y - 4, str(number + 1), "small"))
        if number + 1 < len(steps) and (number + 1) % most:
            parts.append(f'<path class="edge" d="M{x + wide:.1f} {y + tall / 2:.1f}h{gap:g}"/>')
    size = most * (wide + gap) - gap, (lines - 1) * pitch + tall + (18 if numbered else 4)
    return (
        f'<svg class="graph" viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" width="{size[0]:.0f}" '
        f'height="{size[1]:.0f}" role="img" aria-label="layers">' + "".join(parts) + "</svg>"
    )


def _text(x: float, y: float, content: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(content)}</text>'
