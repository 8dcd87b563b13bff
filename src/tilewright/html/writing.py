"""Writing a command's page; Plotly is imported only here, since it is an extra."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

from tilewright.outputs import to_json

__all__ = ["require_plotly", "write_page"]


def require_plotly() -> None:
    """Fail before the work, not behind it, where Plotly is missing.

    Raises
    ------
    ModuleNotFoundError
        If Plotly is not installed.
    """
    importlib.import_module("plotly")


def write_page(path: Path, result: dict[str, Any]) -> None:
    """Write a result as a page.

    Parameters
    ----------
    path : of the page; its stem is the command's name
    result : what the command prints with --json
    """
    from tilewright.html.pages import PAGES

    # The page shows what the JSON file beside it says: no infinities, no tuples.
    path.write_text(PAGES[path.stem](json.loads(to_json(result))), "utf-8")
