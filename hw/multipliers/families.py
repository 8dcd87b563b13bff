"""Which cell a target has."""

from __future__ import annotations

from amaranth.lib import wiring

from tilewright.compiler.target import Target
from tilewright.hw.multipliers.fabric_cell import FabricCell
from tilewright.hw.multipliers.ice40_cell import Ice40Cell
from tilewright.hw.multipliers.ternary_cell import TernaryCell
from tilewright.hw.multipliers.xilinx_cell import XilinxCell

__all__ = ["array_cell"]

_CELLS = {"ice40": Ice40Cell, "xilinx": XilinxCell}


def array_cell(target: Target) -> wiring.Component:
    """A new cell for `target`; see :func:`tilewright.hw.multipliers.cell.cell_members`."""
    if target.ternary:
        return TernaryCell(target)
    return _CELLS.get(target.multiplier, FabricCell)(target)
