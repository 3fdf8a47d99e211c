"""Drawings of layered graphs as SVG.

Layout follows the layered method of Sugiyama, Tagawa and Toda (1981): columns by longest path,
order within a column by barycentres, positions by least squares.  The label of an edge is an item
of the layout like a node, so neither boxes nor labels can overlap.  Colours are classes of the
page's style sheet, so that drawings follow its light and dark form.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

__all__ = [
    "Box",
    "Edge",
    "Layout",
    "Node",
    "draw_graph",
    "lay_out",
    "svg",
    "svg_text",
]

_TEXT = 13.0
_SMALL = 11.0
_GAP = 14.0
_COLUMN_GAP = 40.0
_MARGIN = 8.0


@dataclass(frozen=True)
class Node:
    """A box: its key, its label, a smaller second line, and a kind (a style: input, output)."""

    key: str
    label: str
    note: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Edge:
    """An arrow between two nodes by key, with an optional label and the label's kind."""

    source: str
    target: str
    label: str = ""
    kind: str = ""


@dataclass(frozen=True)
class Box:
    """A placed rectangle: centre, width and height in pixels."""

    x: float
    y: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        """Return whether the two rectangles share any area."""
        return (
            abs(self.x - other.x) * 2 < self.width + other.width
            and abs(self.y - other.y) * 2 < self.height + other.height
        )


@dataclass(frozen=True)
class Layout:
    """Where everything is: nodes by key, edge labels and edge routes by position of the edge.

    A route is the boxes an edge goes through: source, bends (of no height), its label, target.
    Bends that the edge does not need to pass clear of other boxes are left out.
    """

    width: float
    height: float
    nodes: Mapping[str, Box]
    labels: Mapping[int, Box]
    routes: Sequence[Sequence[Box]]


@dataclass
class _Item:
    level: int
    width: float
    height: float
    before: list[int] = field(default_factory=list)
    after: list[int] = field(default_factory=list)
    x: float = 0.0
    y: float = 0.0

    def near(self) -> list[int]:
        return [*self.before, *self.after]

    def box(self) -> Box:
        return Box(self.x, self.y, self.width, self.height)


def lay_out(nodes: Sequence[Node], edges: Sequence[Edge]) -> Layout:
    """Place a directed acyclic graph from left to right.

    Raises
    ------
    ValueError : an edge names no node, two nodes share a key, or the edges form a cycle.
    """
    depth = _depths(nodes, edges)
    items = [_node_item(node, 2 * depth[node.key]) for node in nodes]
    position = {node.key: index for index, node in enumerate(nodes)}
    routes: list[list[int]] = []
    labels: dict[int, int] = {}
    for number, edge in enumerate(edges):
        start, end = position[edge.source], position[edge.target]
        route = [start]
        for level in range(items[start].level + 1, items[end].level):
            if edge.label and level == items[end].level - 1:
                labels[number] = len(items)
                item = _Item(level, _text_width(edge.label, _TEXT - 1) + 18, 24)
            else:
                item = _Item(level, 0, 0)
            route.append(len(items))
            items.append(item)
        route.append(end)
        for one, two in itertools.pairwise(route):
            items[one].after.append(two)
            items[two].before.append(one)
        routes.append(route)
    levels = _order(items)
    width = _place_columns(items, levels)
    height = _place_rows(items, levels)
    boxes = [item.box() for item in items]
    solid = [box for box in boxes if box.height]
    return Layout(
        width,
        height,
        {key: boxes[index] for key, index in position.items()},
        {number: boxes[index] for number, index in labels.items()},
        [_straightened([boxes[index] for index in route], solid) for route in routes],
    )


def draw_graph(nodes: Sequence[Node], edges: Sequence[Edge], title: str = "graph") -> str:
    """Return an SVG of a directed acyclic graph, left to right; see :func:`lay_out` for errors."""
    layout = lay_out(nodes, edges)
    parts = [_arrow(route, layout.routes) for route in layout.routes]
    for number, box in layout.labels.items():
        edge = edges[number]
        parts.append(_rectangle(box, f"label {edge.kind}", 12))
        parts.append(svg_text(box.x, box.y + 4, edge.label, "mono"))
    for node in nodes:
        box = layout.nodes[node.key]
        parts.append(_rectangle(box, f"node {node.kind}", 6))
        if node.note:
            parts.append(svg_text(box.x, box.y - 3, node.label, "strong"))
            parts.append(svg_text(box.x, box.y + 13, node.note, "small"))
        else:
            parts.append(svg_text(box.x, box.y + 5, node.label, "strong"))
    return svg(layout.width, layout.height, "graph", title, parts)


def _depths(nodes: Sequence[Node], edges: Sequence[Edge]) -> dict[str, int]:
    depth = {node.key: 0 for node in nodes}
    if len(depth) != len(nodes):
        raise ValueError("two nodes share a key")
    for edge in edges:
        if edge.source not in depth or edge.target not in depth:
            raise ValueError(f"the edge {edge.source} -> {edge.target} names no node")
    for _ in nodes:
        moved = False
        for edge in edges:
            if depth[edge.target] <= depth[edge.source]:
                depth[edge.target] = depth[edge.source] + 1
                moved = True
        if not moved:
            return depth
    raise ValueError("the edges form a cycle")


def _node_item(node: Node, level: int) -> _Item:
    width = max(_text_width(node.label, _TEXT), _text_width(node.note, _SMALL)) + 22
    return _Item(level, width, 42 if node.note else 30)


def _text_width(text: str, size: float) -> float:
    """A cautious estimate: monospace letters are 0.6 of their size wide, others mostly less."""
    return 0.62 * size * len(text)


def _order(items: list[_Item]) -> list[list[int]]:
    """Return the items of each level, top to bottom, with few crossings."""
    levels: list[list[int]] = [[] for _ in range(1 + max((i.level for i in items), default=0))]
    for index, item in enumerate(items):
        levels[item.level].append(index)
    best, fewest = [list(level) for level in levels], _crossings(items, levels)
    for sweep in range(24):
        down = sweep % 2 == 0
        rank = {index: place for level in levels for place, index in enumerate(level)}
        for level in levels if down else reversed(levels):
            keys = {}
            for index in level:
                near = items[index].before if down else items[index].after
                keys[index] = sum(rank[n] for n in near) / len(near) if near else rank[index]
            level.sort(key=lambda index: keys[index])
            rank.update({index: place for place, index in enumerate(level)})
        crossings = _crossings(items, levels)
        if crossings < fewest:
            best, fewest = [list(level) for level in levels], crossings
    return best


def _crossings(items: list[_Item], levels: list[list[int]]) -> int:
    rank = {index: place for level in levels for place, index in enumerate(level)}
    total = 0
    for level in levels:
        lines = [(rank[one], rank[two]) for one in level for two in items[one].after]
        for number, (a, b) in enumerate(lines):
            total += sum((a - c) * (b - d) < 0 for c, d in lines[:number])
    return total


def _place_columns(items: list[_Item], levels: list[list[int]]) -> float:
    x = _MARGIN
    for level in levels:
        width = max((items[index].width for index in level), default=0.0)
        for index in level:
            items[index].x = x + width / 2
            if not items[index].height:
                items[index].width = width  # a line crosses its column level, clear of the boxes
        x += width + _COLUMN_GAP
    return x - _COLUMN_GAP + _MARGIN


def _place_rows(items: list[_Item], levels: list[list[int]]) -> float:
    for level in levels:
        _spread(items, level, [0.0] * len(level))
    for sweep in range(40):
        for level in levels if sweep % 2 == 0 else reversed(levels):
            wanted = []
            for index in level:
                pulls = [(_pull(items[index], items[n]), items[n].y) for n in items[index].near()]
                total = sum(pull for pull, _ in pulls)
                wanted.append(sum(pull * y for pull, y in pulls) / total if total else 0.0)
            _spread(items, level, wanted)
    top = min((item.y - item.height / 2 for item in items), default=0.0) - _MARGIN
    for item in items:
        item.y -= top
    return max((item.y + item.height / 2 for item in items), default=0.0) + _MARGIN


def _pull(one: _Item, two: _Item) -> float:
    """Bends of one line hold together most, so that long lines run straight."""
    return 1.0 + 3.0 * (not one.height) + 3.0 * (not two.height)


def _spread(items: list[_Item], level: list[int], wanted: list[float]) -> None:
    """Place a column as near to ``wanted`` as its order and gaps allow (least squares).

    Subtracting the least offsets turns the gaps into an order, and the answer is then the isotonic
    regression, found by pooling adjacent violators.
    """
    offsets, offset = [], 0.0
    for place, index in enumerate(level):
        if place:
            offset += (items[level[place - 1]].height + items[index].height) / 2 + _GAP
        offsets.append(offset)
    pools: list[tuple[float, int]] = []
    for target, offset in zip(wanted, offsets, strict=True):
        mean, size = target - offset, 1
        while pools and pools[-1][0] > mean:
            other, count = pools.pop()
            mean, size = (mean * size + other * count) / (size + count), size + count
        pools.append((mean, size))
    levelled = [mean for mean, size in pools for _ in range(size)]
    for index, value, offset in zip(level, levelled, offsets, strict=True):
        items[index].y = value + offset


def _straightened(route: list[Box], solid: Sequence[Box]) -> list[Box]:
    """Leave out bends as long as the curve without them stays clear of all boxes."""
    kept, start = [route[0]], 0
    while start < len(route) - 1:
        end = start + 1
        for further in range(len(route) - 1, start + 1, -1):
            bends = route[start + 1 : further]
            if any(box.height for box in bends):
                continue
            others = [box for box in solid if box is not route[start] and box is not route[further]]
            if _is_clear(route[start], route[further], others):
                end = further
                break
        kept.append(route[end])
        start = end
    return kept


def _is_clear(one: Box, two: Box, others: Sequence[Box]) -> bool:
    x1, x2 = one.x + one.width / 2, two.x - two.width / 2
    for step in range(1, 40):
        t = step / 40
        # The cubic of _arrow: its ends are level, and its control points lie half way across.
        x = x1 + (x2 - x1) * (1.5 * t * (1 - t) + t**3)
        y = one.y + (two.y - one.y) * (3 - 2 * t) * t * t
        point = Box(x, y, 12, 16)
        if any(point.overlaps(box) for box in others):
            return False
    return True


def _arrow(route: Sequence[Box], routes: Sequence[Sequence[Box]]) -> str:
    """Draw one edge as smooth pieces, level where it passes a column, with a head at the end."""
    parts, path, head = [], "", 7.0
    for number, (one, two) in enumerate(itertools.pairwise(route)):
        x1, y1 = one.x + one.width / 2, one.y + _port(one, two, routes, leaving=True)
        x2, y2 = two.x - two.width / 2, two.y + _port(two, one, routes, leaving=False)
        if number == len(route) - 2:
            parts.append(f'<path class="head" d="M{x2:.1f} {y2:.1f}l{-head:g} -3.5v7z"/>')
            x2 -= head - 1
        bend = (x1 + x2) / 2
        path += f"M{x1:.1f} {y1:.1f}C{bend:.1f} {y1:.1f} {bend:.1f} {y2:.1f} {x2:.1f} {y2:.1f}"
        if two.height == 0 and number < len(route) - 2:
            path += f"H{two.x + two.width / 2:.1f}"
    return f'<path class="edge" d="{path}"/>' + "".join(parts)


def _port(box: Box, other: Box, routes: Sequence[Sequence[Box]], *, leaving: bool) -> float:
    """Return how far from a box's middle a line meets its side: arriving lines stand apart."""
    if leaving or not box.height:
        return 0.0
    pairs = [pair for route in routes for pair in itertools.pairwise(route)]
    near = sorted({one.y for one, two in pairs if two is box})
    step = min(10.0, (box.height - 12) / max(1, len(near) - 1))
    return (near.index(other.y) - (len(near) - 1) / 2) * step


def _rectangle(box: Box, kind: str, radius: float) -> str:
    return (
        f'<rect class="{escape(kind.strip())}" x="{box.x - box.width / 2:.1f}" '
        f'y="{box.y - box.height / 2:.1f}" width="{box.width:.1f}" height="{box.height:.1f}" '
        f'rx="{radius:g}"/>'
    )


def svg_text(x: float, y: float, text: str, kind: str = "") -> str:
    """Return a text at a place; ``kind`` is its class of the style sheet."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(text)}</text>'


def svg(width: float, height: float, kind: str, title: str, parts: Sequence[str]) -> str:
    """Return a picture of that many pixels, of parts drawn one upon the other."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" '
        f'height="{height:.0f}" style="min-width:{0.75 * width:.0f}px" role="img" '
        f'aria-label="{escape(title)}">' + "".join(parts) + "</svg>"
    )
