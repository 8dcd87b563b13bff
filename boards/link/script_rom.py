"""A script in block RAM."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Out

__all__ = ["ScriptRom"]


class ScriptRom(wiring.Component):
    """Gives bytes that the bitstream holds, once, a byte in two cycles.

    Parameters
    ----------
    content : the bytes; what comes behind the last is not defined

    Members
    -------
    o : ``Out(stream(8))``
    """

    o: Any

    def __init__(self, content: bytes) -> None:
        self._content = content
        super().__init__({"o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        depth = len(self._content)
        m.submodules.storage = storage = Memory(shape=8, depth=depth, init=self._content)
        port = storage.read_port()
        address = Signal(range(depth))
        m.d.comb += [port.addr.eq(address), self.o.p.eq(port.data)]
        m.d.sync += self.o.valid.eq(~(self.o.valid & self.o.ready))
        with m.If(self.o.valid & self.o.ready):
            m.d.sync += address.eq(address + 1)
        return m
