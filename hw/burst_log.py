"""The addresses of bursts under way, to name the one that the bus answers with an error."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from tilewright.hw.burst import ADDRESS_BITS

__all__ = ["BUS_FAULT", "BurstLog"]

BUS_FAULT = data.StructLayout({"error": 1, "response": 2, "address": unsigned(ADDRESS_BITS)})
"""A bus error: whether there was one, the response (2 SLVERR, 3 DECERR), the burst's address."""


class BurstLog(wiring.Component):
    """Keeps the addresses of up to `depth` bursts that are answered in order.

    The first error is kept until reset: `error` and `response` the cycle after it, `address` one
    cycle later.

    Parameters
    ----------
    depth
        Bursts under way; a power of two.

    Members
    -------
    start, address : ``In``
        A burst is announced.
    answer, response : ``In``
        An answer to the oldest burst, and AXI's response in it.
    last : ``In(1)``
        With `answer`: the burst's last one.
    fault : ``Out(BUS_FAULT)``
    """

    def __init__(self, depth: int) -> None:
        self._depth = depth
        super().__init__(
            {
                "start": In(1),
                "address": In(ADDRESS_BITS),
                "answer": In(1),
                "response": In(2),
                "last": In(1),
                "fault": Out(BUS_FAULT),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory = Memory(shape=unsigned(ADDRESS_BITS), depth=self._depth, init=[])
        m.submodules.memory = memory
        write, read = memory.write_port(), memory.read_port()
        head, tail = Signal(range(self._depth)), Signal(range(self._depth))
        slot = Signal(range(self._depth))  # of the burst in error
        m.d.comb += [
            write.en.eq(self.start),
            write.addr.eq(tail),
            write.data.eq(self.address),
            read.addr.eq(slot),
            read.en.eq(1),
            self.fault.address.eq(read.data),
        ]
        with m.If(self.start):
            m.d.sync += tail.eq(tail + 1)
        with m.If(self.answer & self.last):
            m.d.sync += head.eq(head + 1)
        with m.If(~self.fault.error):
            m.d.sync += [
                slot.eq(head),
                self.fault.error.eq(self.answer & self.response[1]),
                self.fault.response.eq(self.response),
            ]
        return m
