"""What was built for which board: benchmarks/results/boards.json, also part of the package."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

__all__ = ["largest_proven", "proven"]


def proven(board: str | None = None) -> list[dict[str, Any]]:
    """Records of bitstreams that met their clock, for one board or for all."""
    text = (resources.files("tilewright.boards") / "proven.json").read_text("utf-8")
    records: list[dict[str, Any]] = json.loads(text)
    return [record for record in records if board in (None, record["board"])]


def largest_proven(board: str) -> dict[str, Any] | None:
    """The record of the board's largest array; None if none was built yet."""
    return max(
        proven(board), key=lambda record: (record["peak_gops"], record["fmax_mhz"]), default=None
    )
