"""Putting bytes into frames."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.boards.host.protocol import CRC_BYTES, ESCAPE, ESCAPED_BIT, FLAG

__all__ = ["Enframer"]


class Enframer(wiring.Component):
    """Sends a frame: a flag, the bytes of the body with escapes, their CRC, a flag.

    Members
    -------
    i : ``In(stream(8))``
        The body; the frame begins with its first byte.
    last : ``In(1)``
        With `i`: the byte is the body's last.
    done : ``Out(1)``
        The frame's last flag is taken in this cycle.
    o : ``Out(stream(8))``
        To the transmitter, which takes bytes at least 10 cycles apart.
    crc_start, crc_valid, crc_shift : ``Out(1)``
        The CRC begins anew; the byte that `i` gives is to be counted, or the CRC moved on by one.
    crc_low : ``In(8)``
        Of the CRC.
    """

    i: In(stream.Signature(8))
    last: In(1)
    done: Out(1)
    o: Out(stream.Signature(8))
    crc_start: Out(1)
    crc_valid: Out(1)
    crc_shift: Out(1)
    crc_low: In(8)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte = Signal(8)
        special, escaped, taken = Signal(), Signal(), Signal()
        trailer = Signal()
        count = Signal(range(CRC_BYTES))
        m.d.comb += [
            byte.eq(Mux(trailer, ~self.crc_low, self.i.p)),
            special.eq((byte == FLAG) | (byte == ESCAPE)),
            self.crc_shift.eq(trailer),
        ]

        def offer_byte() -> None:
            """One byte of body or CRC: in one go, or an escape and then the changed byte."""
            with m.If(special & ~escaped):
                m.d.comb += self.o.p.eq(ESCAPE)
                with m.If(self.o.ready & self.o.valid):
                    m.d.sync += escaped.eq(1)
            with m.Else():
                m.d.comb += [
                    self.o.p.eq(byte ^ Mux(escaped, ESCAPED_BIT, 0)),
                    taken.eq(self.o.ready & self.o.valid),
                ]
                with m.If(taken):
                    m.d.comb += self.crc_valid.eq(1)
                    m.d.sync += escaped.eq(0)

        with m.FSM():
            with m.State("BEGIN"):
                m.d.comb += [self.o.p.eq(FLAG), self.o.valid.eq(self.i.valid)]
                with m.If(self.o.valid & self.o.ready):
                    m.d.comb += self.crc_start.eq(1)
                    m.next = "BODY"
            with m.State("BODY"):
                m.d.comb += [self.o.valid.eq(self.i.valid), self.i.ready.eq(taken)]
                offer_byte()
                with m.If(taken & self.last):
                    m.next = "CRC"
            with m.State("CRC"):
                m.d.comb += [trailer.eq(1), self.o.valid.eq(1)]
                offer_byte()
                with m.If(taken):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == CRC_BYTES - 1):
                        m.next = "END"
            with m.State("END"):
                m.d.comb += [self.o.p.eq(FLAG), self.o.valid.eq(1), self.done.eq(self.o.ready)]
                with m.If(self.o.ready):
                    m.next = "BEGIN"
        return m
