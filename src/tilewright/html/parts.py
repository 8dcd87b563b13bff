"""What a page consists of: sections, each with a picture, and a table of the same numbers."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

__all__ = [
    "Copy",
    "Section",
    "Table",
    "copies_html",
    "format_name",
    "label",
    "number",
    "table_html",
    "views_html",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Rows of text under column titles; the first column names the row."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def known(self) -> Table:
        """The table without columns of which nothing is known in any row."""
        kept = [
            i for i in range(len(self.columns)) if i == 0 or any(row[i] != "–" for row in self.rows)
        ]
        return Table(
            columns=tuple(self.columns[i] for i in kept),
            rows=tuple(tuple(row[i] for i in kept) for row in self.rows),
        )


@dataclass(frozen=True, slots=True)
class Copy:
    """A text that the reader can copy with a button, and what it is."""

    title: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One part of a page.

    Attributes
    ----------
    key : HTML id, unique in the page
    text : what the picture shows and how to read it
    figure : a `plotly.graph_objects.Figure`; None where a table is all. Where a point's `customdata`
        is a text, a click copies it
    copies : texts under the table; those under a picture's are not printed
    views : values and titles among which the reader chooses: of the figure's traces those are shown
        whose `meta` is the value; buttons zoom along the x axis
    """

    key: str
    title: str
    text: str
    table: Table
    figure: Any = None
    copies: tuple[Copy, ...] = ()
    views: tuple[tuple[str, str], ...] = ()


def label(name: str) -> str:
    """A name as Plotly's text, which would read tags and entities in it."""
    return html.escape(name, quote=False)


def number(value: float | None, form: str = ",", factor: float = 1) -> str:
    """A number as text; a dash for what was not measured."""
    return "–" if value is None else format(value if factor == 1 else value * factor, form)


def format_name(bits: int, frac: int) -> str:
    """A format as `Qm.n`: n bits behind the binary point, m before it, any sign's bit among them."""
    return f"Q{bits - frac}.{frac}"


def copies_html(copies: Sequence[Copy]) -> str:
    """A button for each text, and the text; nothing for none."""
    entries = "\n".join(
        f'<li><button type="button" class="copy" data-text="{html.escape(copy.text)}" '
        f'aria-label="Copy the command of {html.escape(copy.title)}">Copy</button> '
        f"{html.escape(copy.title)}<br><code>{html.escape(copy.text)}</code></li>"
        for copy in copies
    )
    return f'<ul class="copies">\n{entries}\n</ul>' if copies else ""


def views_html(section: Section) -> str:
    """A list of the figure's views and buttons to move in it; nothing where there is one only."""
    if not section.views:
        return ""
    options = "".join(
        f'<option value="{html.escape(value)}">{html.escape(title)}</option>'
        for value, title in section.views
    )
    buttons = "".join(
        f'<button type="button" data-move="{move}" data-by="{by}">{title}</button>'
        for title, move, by in (
            *(("Zoom in", 0, 0.5), ("Zoom out", 0, 2)),
            *(("Left", -0.4, 1), ("Right", 0.4, 1)),
        )
    )
    return (
        f'<p class="views" data-picture="{section.key}-picture"><label>Show '
        f"<select>{options}</select></label> {buttons}</p>\n"
    )


def table_html(table: Table) -> str:
    """The table as HTML, its text escaped."""
    head = _row("th scope='col'", table.columns)
    body = "\n".join(_row("td", row) for row in table.rows)
    return f"<table>\n<thead>{head}</thead>\n<tbody>\n{body}\n</tbody>\n</table>"


def _row(kind: str, cells: Sequence[str]) -> str:
    end = kind.partition(" ")[0]
    first = "th scope='row'" if kind == "td" else kind
    texts = [f"<{first}>{html.escape(cells[0])}</th>"]
    texts += [f"<{kind}>{html.escape(cell)}</{end}>" for cell in cells[1:]]
    return f"<tr>{''.join(texts)}</tr>"
