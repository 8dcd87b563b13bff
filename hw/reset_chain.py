"""The reset of many units, one after the other."""

from __future__ import annotations

from typing import TypeVar

from amaranth.hdl import Module, ResetInserter, Signal, Value
from amaranth.lib import wiring

__all__ = ["ResetChain"]

_Unit = TypeVar("_Unit", bound=wiring.Component)


class ResetChain:
    """Gives each unit a reset register of its own, fed by that of the unit before.

    One register for all would drive thousands of loads across the die, and synthesis merges equal
    ones. In the chain none equals another; unit n (from 0) is reset n + 1 cycles late.

    Parameters
    ----------
    m
        Where the units and the registers are.
    reset
        Begins the chain; must stay for longer than the chain has units.
    most
        Units at most.
    """

    def __init__(self, m: Module, reset: Value, *, most: int) -> None:
        self._m = m
        self._last = reset
        self._left = most

    def add(self, name: str, unit: _Unit) -> _Unit:
        """Make `unit` a submodule, with its reset; returns it.

        Raises
        ------
        ValueError
            If there are more than `most`.
        """
        if not self._left:
            raise ValueError(
                f"the reset is too short to reach {name!r}: raise `most` and its length"
            )
        self._left -= 1
        register = Signal(name=f"reset_{name}", init=1)
        self._m.d.sync += register.eq(self._last)
        self._m.submodules[name] = ResetInserter(register)(unit)
        self._last = register
        return unit
