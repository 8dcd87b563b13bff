"""The AXI4-Lite slave: turns bus accesses into single-cycle register reads and writes."""

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["REGISTER_ADDRESS_BITS", "AxiLiteSlave"]

REGISTER_ADDRESS_BITS = 12


class AxiLiteSlave(wiring.Component):
    """One read and one write at a time; every access is answered OKAY.

    A register write takes effect at once, or, `registered`, a cycle after it was taken; a read takes
    two. Byte strobes are honoured by the register file through `write_strobe`.

    Parameters
    ----------
    registered : whether registers stand between the bus and the register file

    Members
    -------
    aw, ar : ``In(stream of byte addresses)``
    w, w_strobe : ``In(stream(32))``, ``In(4)``
    b : ``Out(stream(2))``
    r : ``Out(stream(32))``
        Response is OKAY.
    write_enable, write_address, write_data, write_strobe : ``Out``
        A register is written this cycle.
    read_address, read_data : ``Out``, ``In(32)``
        The register of this address; read `read_cycles` cycles after its address was taken.
    """

    aw: In(stream.Signature(REGISTER_ADDRESS_BITS))
    w: In(stream.Signature(32))
    w_strobe: In(4)
    b: Out(stream.Signature(2))
    ar: In(stream.Signature(REGISTER_ADDRESS_BITS))
    r: Out(stream.Signature(32))
    write_enable: Out(1)
    write_address: Out(REGISTER_ADDRESS_BITS)
    write_data: Out(32)
    write_strobe: Out(4)
    read_address: Out(REGISTER_ADDRESS_BITS)
    read_data: In(32)

    def __init__(self, *, registered: bool = True, read_cycles: int = 1) -> None:
        self._registered = registered
        self._read_cycles = read_cycles
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        accept_write = Signal()
        accept_read = Signal()
        reading = Signal()
        found: Value = reading
        busy: Value = reading
        for cycle in range(self._read_cycles - 1):
            later = Signal(name=f"reading_{cycle}")
            m.d.sync += later.eq(found)
            found, busy = later, busy | later
        taken = m.d.sync if self._registered else m.d.comb
        taken += [
            self.write_enable.eq(accept_write),
            self.write_address.eq(self.aw.p),
            self.write_data.eq(self.w.p),
            self.write_strobe.eq(self.w_strobe),
        ]
        m.d.comb += [
            accept_write.eq(self.aw.valid & self.w.valid & (~self.b.valid | self.b.ready)),
            self.aw.ready.eq(accept_write),
            self.w.ready.eq(accept_write),
            accept_read.eq(self.ar.valid & ~busy & (~self.r.valid | self.r.ready)),
            self.ar.ready.eq(accept_read),
        ]
        with m.If(self.b.ready):
            m.d.sync += self.b.valid.eq(0)
        with m.If(accept_write):
            m.d.sync += self.b.valid.eq(1)
        with m.If(self.r.ready):
            m.d.sync += self.r.valid.eq(0)
        # Finding a register takes cycles of its own.
        m.d.sync += reading.eq(accept_read)
        with m.If(accept_read):
            m.d.sync += self.read_address.eq(self.ar.p)
        with m.If(found):
            m.d.sync += [self.r.valid.eq(1), self.r.p.eq(self.read_data)]
        return m
