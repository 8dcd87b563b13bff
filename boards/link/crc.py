"""CRC-32, a bit a cycle."""

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.boards.host.protocol import CRC_RESIDUE

__all__ = ["Crc32"]

_POLYNOMIAL = 0xEDB88320
_INIT = (1 << 32) - 1


class Crc32(wiring.Component):
    """The CRC of zlib and Ethernet over bytes that come at least 10 cycles apart.

    Members
    -------
    start : ``In(1)``
        Begin anew.
    valid, data : ``In(1)``, ``In(8)``
        A byte; counted in the 8 cycles that follow.
    shift : ``In(1)``
        With `valid`, instead of a byte: move the register on by 8 bits, to its next byte.
    low : ``Out(8)``
        The register's low byte: inverted, the byte of the CRC that is sent next.
    good : ``Out(1)``
        What came since `start` ended with its CRC.
    """

    start: In(1)
    valid: In(1)
    data: In(8)
    shift: In(1)
    low: Out(8)
    good: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        crc = Signal(32, init=_INIT)
        byte = Signal(8)
        left = Signal(9)  # a mark that moves down while bits are left
        feedback = Signal()
        m.d.comb += [
            feedback.eq(crc[0] ^ byte[0]),
            self.low.eq(crc[:8]),
            self.good.eq(crc == CRC_RESIDUE),
        ]
        with m.If(self.start):
            m.d.sync += [crc.eq(_INIT), left.eq(0)]
        with m.Elif(self.valid):
            m.d.sync += [byte.eq(Mux(self.shift, crc[:8], self.data)), left.eq(0xFF)]
        with m.Elif(left[0]):
            m.d.sync += [
                crc.eq(Cat(crc[1:], 0) ^ Mux(feedback, _POLYNOMIAL, 0)),
                byte.eq(byte >> 1),
                left.eq(left >> 1),
            ]
        return m
