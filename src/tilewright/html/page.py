"""The page around the sections: one file that needs no other file and no network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tilewright.html.parts import Section, copies_html, table_html, views_html

__all__ = ["page_text"]

_HERE = Path(__file__).parent

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src 'unsafe-inline'; \
style-src 'unsafe-inline'; img-src data: blob:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{style}
</style>
</head>
<body>
<header>
<h1>{title}</h1>
<nav aria-label="Sections">{links}</nav>
</header>
<main>
{sections}
</main>
<div id="status" role="status"></div>
<script>
{library}
</script>
<script type="application/json" id="templates">{templates}</script>
<script>
{script}
</script>
</body>
</html>
"""


def page_text(title: str, facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The page as HTML.

    Parameters
    ----------
    title : heading and title of the page
    facts : what holds for the whole, as name and value
    sections : in the order in which they stand; keys unique
    """
    import plotly.io
    from plotly.offline import get_plotlyjs

    templates = {
        scheme: plotly.io.templates[name].to_plotly_json()
        for scheme, name in (("light", "plotly_white"), ("dark", "plotly_dark"))
    }
    links = " ".join(f'<a href="#{s.key}">{html.escape(s.title)}</a>' for s in sections)
    return _PAGE.format(
        title=html.escape(title),
        style=(_HERE / "page.css").read_text("utf-8"),
        links=links,
        sections="\n".join([_facts_html(facts), *map(_section_html, sections)]),
        library=get_plotlyjs(),
        templates=_script_text(json.dumps(templates)),
        script=(_HERE / "page.js").read_text("utf-8"),
    )


def _facts_html(facts: Mapping[str, str]) -> str:
    entries = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>"
        for name, value in facts.items()
    )
    return f"<dl>{entries}</dl>"


def _section_html(section: Section) -> str:
    head = (
        f'<section id="{section.key}" aria-labelledby="{section.key}-title">\n'
        f'<h2 id="{section.key}-title">{html.escape(section.title)}</h2>\n'
        f"<p>{html.escape(section.text)}</p>\n"
    )
    table, copies = table_html(section.table), copies_html(section.copies)
    if section.figure is None:
        return f'{head}<div class="table">{table}</div>\n{copies}</section>'
    return (
        f'{head}{views_html(section)}<div class="picture" id="{section.key}-picture" role="img" '
        f'aria-labelledby="{section.key}-title"></div>\n'
        f'<script type="application/json" class="figure" id="{section.key}-figure">'
        f"{_script_text(_figure_json(section.figure))}</script>\n"
        f'<details><summary>{html.escape(section.title)}: the numbers</summary><div class="table">'
        f"{table}</div>\n{copies}</details>\n</section>"
    )


def _figure_json(figure: Any) -> str:
    """The figure without a template: the page gives it the one of the reader's colour scheme."""
    figure.layout.template = None
    text: str = figure.to_json()
    return text


def _script_text(text: str) -> str:
    """JSON that cannot end the script element it stands in, nor open a comment there."""
    return text.replace("<", "\\u003c")
