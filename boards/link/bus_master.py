"""Single accesses to memory and registers, with the data in a register that moves by bytes."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tilewright.boards.host.protocol import REGISTER_BYTES
from tilewright.hw.axi import axi4, axi_lite
from tilewright.hw.axilite import REGISTER_ADDRESS_BITS

__all__ = ["BusMaster"]

_INCR = 1


class BusMaster(wiring.Component):
    """Reads or writes one beat of memory, or one register, at a time.

    Written is what entered last; read is a word of which `low` is the first byte, and each `shift`
    brings the next. Address and data of a write are offered together. One beat a burst is enough: a
    beat passes in a fraction of the time that its bytes take on the line.

    Parameters
    ----------
    data_bytes
        Bytes of a beat of memory: 2, 4 or 8.

    Members
    -------
    memory : ``Out(axi4(data_bytes))``
    registers : ``Out(axi_lite)``
    address : ``In(32)``
        Held, with `to_registers`, from `read` or `write` on until `done`.
    to_registers : ``In(1)``
    read, write : ``In(1)``
        Begin, for one cycle.
    done : ``Out(1)``
        The access ends in this cycle.
    response : ``Out(2)``
        With `done`: AXI's.
    busy : ``Out(1)``
        An access has not ended.
    shift, data : ``In(1)``, ``In(8)``
        A byte enters behind the others; `low` leaves.
    low : ``Out(8)``
    """

    memory: Any
    registers: Any

    def __init__(self, data_bytes: int) -> None:
        self._bytes = data_bytes
        super().__init__(
            {
                "memory": Out(axi4(data_bytes)),
                "registers": Out(axi_lite(REGISTER_ADDRESS_BITS)),
                "address": In(32),
                "to_registers": In(1),
                "read": In(1),
                "write": In(1),
                "done": Out(1),
                "response": Out(2),
                "busy": Out(1),
                "shift": In(1),
                "data": In(8),
                "low": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        memory, registers = self.memory, self.registers
        word = Signal(8 * max(self._bytes, REGISTER_BYTES), reset_less=True)
        # Channels on which something is still to happen.
        ar, r, aw, w, b = (Signal(name=name) for name in ("ar", "r", "aw", "w", "b"))
        m.d.comb += [
            self.low.eq(word[:8]),
            memory.wdata.eq(word[-8 * self._bytes :]),
            registers.wdata.eq(word[-8 * REGISTER_BYTES :]),
            memory.wstrb.eq(~0),
            registers.wstrb.eq(~0),
            memory.wlast.eq(1),
        ]
        for name in ("ar", "aw"):
            m.d.comb += [
                getattr(memory, f"{name}addr").eq(self.address),
                getattr(memory, f"{name}size").eq(exact_log2(self._bytes)),
                getattr(memory, f"{name}burst").eq(_INCR),
                getattr(registers, f"{name}addr").eq(self.address),
            ]
        for select, bus in ((~self.to_registers, memory), (self.to_registers, registers)):
            m.d.comb += [
                bus.arvalid.eq(ar & select),
                bus.awvalid.eq(aw & select),
                bus.wvalid.eq(w & select),
                bus.rready.eq(r & ~ar & select),
                bus.bready.eq(b & ~aw & ~w & select),
            ]

        def selected(name: str) -> Value:
            return Mux(self.to_registers, getattr(registers, name), getattr(memory, name))

        with m.If(selected("arready")):
            m.d.sync += ar.eq(0)
        with m.If(selected("awready")):
            m.d.sync += aw.eq(0)
        with m.If(selected("wready")):
            m.d.sync += w.eq(0)
        got, acknowledged = Signal(), Signal()
        m.d.comb += [
            got.eq(r & ~ar & selected("rvalid")),
            acknowledged.eq(b & ~aw & ~w & selected("bvalid")),
            self.done.eq(got | acknowledged),
            self.busy.eq(r | b),
            self.response.eq(Mux(b, selected("bresp"), selected("rresp"))),
        ]
        with m.If(self.done):
            m.d.sync += [r.eq(0), b.eq(0)]
        with m.If(self.read):
            m.d.sync += [ar.eq(1), r.eq(1)]
        with m.If(self.write):
            m.d.sync += [aw.eq(1), w.eq(1), b.eq(1)]
        with m.If(self.shift):
            m.d.sync += word.eq(Cat(word[8:], self.data))
        with m.Elif(got):
            m.d.sync += word.eq(Mux(self.to_registers, registers.rdata, memory.rdata))
        return m
