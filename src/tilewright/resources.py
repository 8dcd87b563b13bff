"""What an accelerator takes of its part: estimated, measured when it was built, and what there is."""

from __future__ import annotations

from typing import Any

from tilewright.boards.board import Board
from tilewright.boards.parts import PARTS
from tilewright.boards.proven import proven
from tilewright.boards.routing import Route
from tilewright.compiler.target import Target
from tilewright.reports import Resource
from tilewright.sweep.resources import NAMES, estimate
from tilewright.sweep.space import Hardware

__all__ = ["resources"]

_TITLES = {
    "luts": "LUTs",
    "ffs": "flip-flops",
    "dsps": "multiplier blocks",
    "brams": "block RAMs",
}


def resources(
    target: Target, board: Board | None, memory_bytes: int, route: Route | None = None
) -> tuple[Resource, ...]:
    """Rows of the report; none where neither a board nor a model of the target's family is known.

    Parameters
    ----------
    board : with the accelerator `target`; its memory controller and link are counted too
    memory_bytes : of the program
    route : the board's design, if it was placed; else what was recorded of the board is looked up
    """
    guess = estimate(Hardware(board=None if board is None else board.name, target=target))
    built = _built(board, route)
    there = {} if board is None else PARTS.get(board.part, {})
    rows = [
        Resource(
            name=title,
            estimated=guess[name],
            measured=built.get(NAMES[name]),
            available=there.get(NAMES[name]),
        )
        for name, title in _TITLES.items()
    ]
    rows.append(
        Resource(
            name="MHz",
            estimated=guess["fmax_mhz"],
            measured=built.get("fmax_mhz"),
            available=target.clock_mhz,
        )
    )
    memory = Resource(
        name="bytes of memory",
        estimated=memory_bytes,
        measured=None,
        available=None if board is None else board.memory.size,
    )
    known = [row for row in rows if row.estimated is not None or row.measured is not None]
    return () if board is None and not known else (*known, memory)


def _built(board: Board | None, route: Route | None) -> dict[str, Any]:
    """What the board's array in the size that it has now takes, and its clock."""
    if board is None:
        return {}
    if route is not None:
        counts = {what: route.count(board.family, what) for what in NAMES.values()}
        return {**counts, "fmax_mhz": route.fmax_mhz}
    size = (board.target.rows, board.target.cols, board.target.weight_bits)
    for record in proven(board.name):
        if (record["rows"], record["cols"], record["weight_bits"]) == size:
            return record
    return {}
