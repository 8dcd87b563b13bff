"""A FIFO whose words leave a block RAM through two registers."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

__all__ = ["BlockFifo"]


class BlockFifo(wiring.Component):
    """First in, first out; an item enters and one leaves in each cycle.

    The second register is one that nothing stands before, so that it can be the block RAM's own:
    an item is at the output three cycles after it entered, or later.

    Parameters
    ----------
    width, depth
        Bits of an item; how many items there is room for. Whoever gives items counts them.

    Members
    -------
    w_en, w_data
        An item enters.
    o : ``Out(stream of width)``
    """

    def __init__(self, *, width: int, depth: int) -> None:
        self._width, self._places = width, 1 << ceil_log2(depth)
        super().__init__(
            {"w_en": In(1), "w_data": In(width), "o": Out(stream.Signature(width))},
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.storage = storage = Memory(shape=self._width, depth=self._places, init=[])
        write, read = storage.write_port(), storage.read_port()
        some = Signal()  # something is in the memory
        following = Signal(
            range(self._places), init=1 % self._places
        )  # the place behind the one being read
        found = Signal()  # the memory's output is an item
        free, leaves = Signal(), Signal()  # the second register, the memory
        word = Signal(self._width, reset_less=True)
        m.d.comb += [
            write.en.eq(self.w_en),
            write.data.eq(self.w_data),
            free.eq(~self.o.valid | self.o.ready),
            read.en.eq(~found | free),
            leaves.eq(some & read.en),
            self.o.p.eq(word),
        ]
        with m.If(self.w_en):
            m.d.sync += write.addr.eq(write.addr + 1)
        with m.If(leaves):
            m.d.sync += [read.addr.eq(following), following.eq(following + 1)]
        with m.If(read.en):
            m.d.sync += found.eq(some)
        with m.If(free):
            m.d.sync += [word.eq(read.data), self.o.valid.eq(found)]
        # Whether the one that leaves is the last one is compared before it is known to leave.
        m.d.sync += some.eq(self.w_en | Mux(leaves, following != write.addr, some))
        return m
