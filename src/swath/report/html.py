"""The page: one style sheet, and small functions that write HTML and escape all text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from swath.report.style import STYLE

__all__ = [
    "Column",
    "Html",
    "facts",
    "figure",
    "join",
    "page",
    "paragraph",
    "section",
    "sentence",
    "swatch",
    "table",
    "text",
]


class Html(str):
    """Text that is HTML already; any other text is escaped where it is used."""


def text(value: object) -> Html:
    """Return a value as HTML."""
    return value if isinstance(value, Html) else Html(escape(str(value)))


def join(*parts: str | None, between: str = "\n") -> Html:
    """Put parts together, each escaped unless HTML; None is left out."""
    return Html(between.join(text(part) for part in parts if part is not None))


def paragraph(content: str, kind: str = "") -> Html:
    """Return a paragraph."""
    return Html(f'<p class="{kind}">{text(content)}</p>' if kind else f"<p>{text(content)}</p>")


def sentence(content: str) -> Html:
    """Return a paragraph of less weight."""
    return paragraph(content, "soft")


def section(name: str, *parts: str | None) -> Html:
    """Return a section with a heading."""
    return Html(f"<section><h2>{text(name)}</h2>\n{join(*parts)}</section>")


def figure(drawing: str, caption: str = "", kind: str = "") -> Html:
    """Return a figure around trusted SVG or HTML, scrolling sideways where it does not fit."""
    below = f"<figcaption>{text(caption)}</figcaption>" if caption else ""
    return Html(f'<figure class="{kind}"><div class="scroll">{drawing}</div>{below}</figure>')


def swatch(colour: tuple[int, int, int]) -> Html:
    """Return a small square of a colour."""
    return Html('<i class="swatch" style="background:rgb({},{},{})"></i>'.format(*colour))


def facts(pairs: Sequence[tuple[str, str]]) -> Html:
    """Return a list of names and values."""
    rows = "".join(f"<dt>{text(name)}</dt><dd>{text(value)}</dd>" for name, value in pairs)
    return Html(f'<dl class="facts">{rows}</dl>')


@dataclass(frozen=True)
class Column:
    """A table column: its heading, and whether it holds numbers or words."""

    name: str
    kind: Literal["number", "word"] = "word"


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    *,
    last_apart: int = 0,
    kind: str = "",
) -> Html:
    """Return a table; the first cell of a row heads it, the ``last_apart`` last rows are totals."""
    head = "".join(f'<th scope="col" class="{c.kind}">{text(c.name)}</th>' for c in columns)
    body = []
    for number, row in enumerate(rows):
        cells = []
        for place, (column, cell) in enumerate(zip(columns, row, strict=True)):
            if place == 0:
                cells.append(f'<th scope="row" class="{column.kind}">{text(cell)}</th>')
            else:
                cells.append(f'<td class="{column.kind}">{text(cell)}</td>')
        apart = ' class="apart"' if number >= len(rows) - last_apart else ""
        body.append(f"<tr{apart}>{''.join(cells)}</tr>")
    return Html(
        f'<div class="scroll"><table class="{kind}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(body)}</tbody></table></div>"
    )


def page(title: str, *parts: str | None) -> str:
    """Return a whole page that loads nothing from anywhere, and says so to the browser."""
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"{join(*parts)}\n</main>\n</body>\n</html>\n"
    )
