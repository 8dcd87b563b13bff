"""The queue of a unit's instructions."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["InstructionQueue"]


class InstructionQueue(wiring.Component):
    """First in, first out, the head in registers that nothing but a memory feeds.

    Instructions are wide, so an item has no way around the memory, which costs it a cycle on the
    way in: it is at the head QUEUE_LATENCY cycles after it entered at the earliest. One item enters and one
    leaves in each cycle. The memory is one that FPGAs build of look-up tables.

    Parameters
    ----------
    width, depth
        Bits of an item; how many items there is room for, the head included, at least 2.
    short
        What waits behind the head is counted in ones.

    Members
    -------
    w_en, w_rdy, w_data
        An item enters if both are set.
    r_rdy, r_data, r_en
        The head, and its removal.
    """

    def __init__(self, *, width: int, depth: int, short: bool = False) -> None:
        if depth < 2:
            raise ValueError(f"InstructionQueue depth must be at least 2, not {depth!r}")
        self._width, self._depth, self._short = width, depth, short
        super().__init__(
            {
                "w_en": In(1),
                "w_rdy": Out(1, init=1),
                "w_data": In(width),
                "r_rdy": Out(1),
                "r_data": Out(width),
                "r_en": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        behind = self._depth - 1  # items behind the head
        places = 1 << max(ceil_log2(behind), 1)
        m.submodules.storage = storage = Memory(shape=self._width, depth=places, init=[])
        write, read = storage.write_port(), storage.read_port(domain="comb")
        head = Signal(self._width, reset_less=True)
        waiting = Signal(behind if self._short else range(behind + 1))
        some = waiting[0] if self._short else Signal()  # not 0
        entering, free, leaving = Signal(), Signal(), Signal()  # the memory, that is
        m.d.comb += [
            entering.eq(self.w_en & self.w_rdy),
            free.eq(self.r_en | ~self.r_rdy),
            leaving.eq(free & some),
            write.en.eq(entering),
            write.data.eq(self.w_data),
            self.r_data.eq(head),
        ]
        with m.If(entering):
            m.d.sync += write.addr.eq(write.addr + 1)
        with m.If(leaving):
            m.d.sync += read.addr.eq(read.addr + 1)
        with m.If(free):
            m.d.sync += [self.r_rdy.eq(some), head.eq(read.data)]
        if self._short:
            m.d.comb += self.w_rdy.eq(~waiting[-1])
            with m.If(entering ^ leaving):
                m.d.sync += waiting.eq(Mux(leaving, waiting >> 1, Cat(1, waiting)))
            return m
        with m.If(entering & ~leaving):
            m.d.sync += [waiting.eq(waiting + 1), some.eq(1), self.w_rdy.eq(waiting != behind - 1)]
        with m.Elif(leaving & ~entering):
            m.d.sync += [waiting.eq(waiting - 1), some.eq(waiting != 1), self.w_rdy.eq(1)]
        return m
