"""Which cell a target has."""

from __future__ import annotations

from amaranth.lib import wiring

from tilewright.compiler.target import Target
from tilewright.hw.multipliers.fabric_cell import FabricCell

__all__ = ["array_cell"]


def array_cell(target: Target) -> wiring.Component:
    """A new cell for `target`; see :func:`tilewright.hw.multipliers.cell.cell_members`."""
    return FabricCell(target)
