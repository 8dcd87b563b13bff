"""The queue of instructions and other small items, its head in registers."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["Queue"]


class Queue(wiring.Component):
    """First in, first out, as Amaranth's SyncFIFO to the cycle, but with the head in registers.

    So the fields of an instruction are there at the start of a cycle, and not behind a memory's
    read. What follows the head waits in a memory that FPGAs build of look-up tables.

    Parameters
    ----------
    width, depth
        Bits of an item; how many items there is room for, at least 2.

    Members
    -------
    w_en, w_rdy, w_data
        An item enters if both are set; it is at the head in the next cycle at the earliest.
    r_rdy, r_data, r_en
        The head, and its removal.
    """

    def __init__(self, *, width: int, depth: int) -> None:
        if depth < 2:
            raise ValueError(f"Queue depth must be at least 2, not {depth!r}")
        self._width, self._depth = width, depth
        super().__init__(
            {
                "w_en": In(1),
                "w_rdy": Out(1),
                "w_data": In(width),
                "r_rdy": Out(1),
                "r_data": Out(width),
                "r_en": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        places = 1 << max(ceil_log2(self._depth - 1), 1)
        m.submodules.storage = storage = Memory(shape=self._width, depth=places, init=[])
        write, read = storage.write_port(), storage.read_port(domain="comb")
        level = Signal(range(self._depth + 1))
        room = Signal(init=1)
        more = Signal()  # something waits behind the head
        entering, leaving, straight = Signal(), Signal(), Signal()
        m.d.comb += [
            self.w_rdy.eq(room),
            entering.eq(self.w_en & room),
            leaving.eq(self.r_en & self.r_rdy),
            straight.eq(~self.r_rdy | (leaving & ~more)),
            write.en.eq(entering & ~straight),
            write.data.eq(self.w_data),
        ]
        # Each way apart: entering and leaving come late, and then only choose.
        with m.If(entering & ~leaving):
            m.d.sync += [
                level.eq(level + 1),
                room.eq(level != self._depth - 1),
                self.r_rdy.eq(1),
                more.eq(level != 0),
            ]
        with m.Elif(leaving & ~entering):
            m.d.sync += [
                level.eq(level - 1),
                room.eq(1),
                self.r_rdy.eq(level != 1),
                more.eq(level > 2),
            ]
        with m.If(write.en):
            m.d.sync += write.addr.eq(write.addr + 1)
        with m.If(leaving & more):
            m.d.sync += read.addr.eq(read.addr + 1)
        with m.If(self.r_en | ~self.r_rdy):
            m.d.sync += self.r_data.eq(Mux(more, read.data, self.w_data))
        return m
