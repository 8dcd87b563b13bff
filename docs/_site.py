"""MkDocs hook: links to files of the repository that are no pages become plain code."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

_log = logging.getLogger("mkdocs.hooks.tilewright")
_ROOT = Path(__file__).parents[1]
_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./([^)#\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Replace links out of docs/; one that leads nowhere is a warning, which --strict refuses."""

    def code(match: re.Match[str]) -> str:
        text, path = match.groups()
        if not (_ROOT / path).exists():
            _log.warning(f"{page.file.src_path}: ../{path} does not exist")
        return f"`{path}`" if text in path else f"{text} (`{path}`)"

    return _OUTSIDE.sub(code, markdown)
