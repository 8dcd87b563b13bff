"""The boards by name; docs/boards.md says how one is added."""

from __future__ import annotations

from tilewright.boards import icebreaker, icepi_zero, tang_primer_20k, ulx3s_85f
from tilewright.boards.board import Board
from tilewright.errors import TilewrightError, nearest

__all__ = ["BOARDS", "get_board"]

BOARDS: dict[str, Board] = {
    module.BOARD.name: module.BOARD
    for module in (ulx3s_85f, icepi_zero, icebreaker, tang_primer_20k)
}
"""Boards whose bitstreams are built with tools from PyPI."""


def get_board(name: str) -> Board:
    """Board called `name`.

    Raises
    ------
    TilewrightError
        If there is none; the message names the nearest.
    """
    if name not in BOARDS:
        raise TilewrightError(f"Board {name!r} is unknown; {nearest(name, BOARDS)}")
    return BOARDS[name]
