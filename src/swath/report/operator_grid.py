"""Which operators left a shrinking space, and when: a picture with a row for each gene.

After SE-NAS Fig. 6.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from swath.report.words import is_number, plain

__all__ = ["operator_grid"]

Record = Mapping[str, Any]

_WIDTH = 1040.0
_HIGH = 22.0
_LETTER = 6.9


@dataclass(frozen=True)
class _Cell:
    """An operator: its measure when last judged, that measure's share, the stage it left after."""

    value: float | None
    share: float
    left: int | None


def operator_grid(stages: Sequence[Record], taken: Mapping[str, Any]) -> str | None:
    """Return an SVG with a block for genes of the same choices; None where nothing was judged.

    Parameters
    ----------
    stages : of ``search/stages.json``.
    taken : genes of the architecture that was taken; its operators are framed.
    """
    cells = _cells(stages)
    blocks = _blocks(cells)
    if not blocks:
        return None
    left = 20 + _LETTER * max(len(gene) for gene in cells)
    widest = max(len(choices) for choices, _ in blocks)
    needed = 16 + _LETTER * max(len(choice) for choices, _ in blocks for choice in choices)
    wide = min(max(44.0, needed), (_WIDTH - left) / widest)
    turned = wide < needed
    head = 18 + 0.72 * (needed - 16) if turned else 24.0
    parts: list[str] = []
    y = 0.0
    for choices, genes in blocks:
        y += head
        for column, choice in enumerate(choices):
            parts.append(_heading(left + wide * (column + 0.5), y - 7, choice, turned))
        for gene in genes:
            parts.append(_text(left - 10, y + 15, gene, "mono end"))
            for column, choice in enumerate(choices):
                if choice in cells[gene]:
                    framed = str(taken.get(gene)) == choice
                    x = left + wide * column
                    parts.append(_drawn(cells[gene][choice], x, y, wide, framed, gene, choice))
            y += _HIGH
        y += 10
    room = 0.72 * (needed - 16) if turned else 0.0  # of the last heading, which leans outwards
    size = left + wide * widest + room, y
    return (
        f'<svg class="chart grid" viewBox="0 0 {size[0]:.0f} {size[1]:.0f}" width="{size[0]:.0f}" '
        f'height="{size[1]:.0f}" role="img" aria-label="operators that left">'
        + "".join(parts)
        + "</svg>"
    )


def _cells(stages: Sequence[Record]) -> dict[str, dict[str, _Cell]]:
    """Return the last that is known of each operator, by gene and choice."""
    cells: dict[str, dict[str, _Cell]] = {}
    for number, stage in enumerate(stages, start=1):
        judged = [(one, _measure(one)) for one in stage.get("operators") or ()]
        known = [value for _, value in judged if value is not None]
        low, high = min(known, default=0.0), max(known, default=0.0)
        for one, value in judged:
            share = (value - low) / (high - low) if value is not None and high > low else 0.0
            left = number if one.get("dropped") else None
            row = cells.setdefault(str(one.get("gene")), {})
            row[str(one.get("value"))] = _Cell(value, share, left)
    return cells


def _measure(operator: Record) -> float | None:
    """Return the importance, or the score where a measure knows no importance (ABS, random)."""
    for name in ("importance", "score"):
        if is_number(operator.get(name)):
            return float(operator[name])
    return None


def _blocks(cells: Mapping[str, Mapping[str, _Cell]]) -> list[tuple[list[str], list[str]]]:
    """Return (choices, genes) of the genes whose choices are the same, or some of the same."""
    blocks: list[tuple[list[str], list[str]]] = []
    for choices in sorted({tuple(row) for row in cells.values()}, key=len, reverse=True):
        if not any(set(choices) <= set(known) for known, _ in blocks):
            blocks.append((list(choices), []))
    for gene, row in cells.items():
        next(genes for known, genes in blocks if set(row) <= set(known)).append(gene)
    order = {gene: place for place, gene in enumerate(cells)}
    return sorted(blocks, key=lambda block: order[block[1][0]])


def _drawn(
    cell: _Cell, x: float, y: float, wide: float, framed: bool, gene: str, choice: str
) -> str:
    place = f'x="{x + 1:.1f}" y="{y + 1:.1f}" width="{wide - 2:.1f}" height="{_HIGH - 2:g}"'
    told = f"{gene} {choice}: {plain(cell.value)}"
    told += f", left after stage {cell.left}" if cell.left else ", stayed"
    shade = f'fill-opacity="{0.1 + 0.7 * cell.share:.2f}"'
    parts = [f'<rect class="share" {place} {shade}><title>{escape(told)}</title></rect>']
    if cell.left:
        parts.append(_text(x + wide / 2, y + 15, str(cell.left), "halo middle"))
    if framed:
        parts.append(f'<rect class="outline" {place}/>')
    return "".join(parts)


def _heading(x: float, y: float, choice: str, turned: bool) -> str:
    if not turned:
        return _text(x, y, choice, "mono middle")
    turn = f'transform="rotate(-45 {x:.1f} {y:.1f})"'
    return f'<text x="{x:.1f}" y="{y:.1f}" class="mono" {turn}>{escape(choice)}</text>'


def _text(x: float, y: float, content: str, kind: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}">{escape(content)}</text>'
