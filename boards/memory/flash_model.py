"""A model of an SPI flash, for simulations of a board's core."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

__all__ = ["FlashModel"]

_WAKE_UP, _READ = 0xAB, 0x03


class FlashModel(wiring.Component):
    """A flash in deep power-down that knows two commands: wake up (0xAB) and read (0x03).

    Everything else is ignored, and reads until it is awake. SPI mode 0, with a clock of at least two
    cycles of this domain.

    Parameters
    ----------
    content, address : bytes, and where the first is; all other bytes are 0xFF

    Members
    -------
    cs, clk, copi : ``In(1)``
        Chip select is active high.
    cipo : ``Out(1)``
    """

    cs: Any
    clk: Any
    copi: Any
    cipo: Any

    def __init__(self, content: bytes, address: int) -> None:
        self._content, self._address = content, address
        super().__init__({"cs": In(1), "clk": In(1), "copi": In(1), "cipo": Out(1)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = len(self._content) + 1
        m.submodules.storage = storage = Memory(shape=8, depth=depth, init=[*self._content, 0xFF])
        port = storage.read_port(domain="comb")
        before, awake = Signal(), Signal()
        command = Signal(32)
        heard = Signal(range(33))
        bit, place = Signal(3), Signal(24)
        at = Signal(24)
        m.d.sync += before.eq(self.clk)
        m.d.comb += [
            at.eq(command[:24] - self._address + place),
            port.addr.eq(Mux(at < depth, at, depth - 1)),
        ]
        with m.If(~self.cs):
            m.d.sync += [heard.eq(0), bit.eq(0), place.eq(0)]
            with m.If((heard == 8) & (command[:8] == _WAKE_UP)):
                m.d.sync += awake.eq(1)
        with m.Elif(self.clk & ~before & (heard != 32)):
            m.d.sync += [command.eq(command << 1), command[0].eq(self.copi), heard.eq(heard + 1)]
        with m.Elif(~self.clk & before & (heard == 32)):
            m.d.sync += [
                self.cipo.eq(awake & (command[24:] == _READ) & port.data.bit_select(~bit, 1)),
                bit.eq(bit + 1),
                place.eq(place + bit.all()),
            ]
        return m
