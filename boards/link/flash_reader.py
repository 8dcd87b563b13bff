"""The bytes of an SPI flash from an address on."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

__all__ = ["FLASH_ALIGNMENT", "FlashReader"]

FLASH_ALIGNMENT = 1 << 16
"""Of the address that is read from; also a multiple of every chip's sector."""

_WAKE_UP, _READ = 0xAB, 0x03
_REST = 256


class FlashReader(wiring.Component):
    """Wakes a flash and reads it from one address on, as fast as bytes are taken.

    Loading an iCE40 leaves its flash in deep power-down, so the first command is 0xAB; it has 256
    cycles to take effect. Then comes 0x03, which every chip knows up to 20 MHz and more, and 24 bits
    of address. SPI mode 0, a bit in two cycles; the clock rests while a byte waits.

    Parameters
    ----------
    address : of the first byte, a multiple of FLASH_ALIGNMENT below 2**24

    Members
    -------
    o : ``Out(stream(8))``
    cs : ``Out(1)``
        Chip select, active high.
    clk, copi, cipo : ``Out(1)``, ``Out(1)``, ``In(1)``
    """

    o: Any
    cs: Any
    clk: Any
    copi: Any
    cipo: Any

    def __init__(self, address: int) -> None:
        assert address % FLASH_ALIGNMENT == 0 and 0 <= address < 1 << 24, address
        self._block = address // FLASH_ALIGNMENT
        super().__init__(
            {
                "o": Out(stream.Signature(8)),
                "cs": Out(1),
                "clk": Out(1),
                "copi": Out(1),
                "cipo": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        byte = Signal(8)
        sent = Array([Const(value, 8) for value in (_WAKE_UP, _READ, self._block, 0, 0)])
        number = Signal(range(len(sent) + 1))
        left = Signal(range(9))  # bits of this byte
        rest = Signal(range(_REST))
        m.d.comb += [self.copi.eq(byte[7]), self.o.p.eq(byte)]
        with m.FSM():
            with m.State("BYTE"):
                m.d.sync += [byte.eq(sent[number]), left.eq(8), self.cs.eq(1)]
                m.next = "LOW"
            with m.State("LOW"):  # the chip has put its bit there when the clock fell
                m.d.sync += self.clk.eq(1)
                m.next = "HIGH"
            with m.State("HIGH"):
                m.d.sync += [self.clk.eq(0), byte.eq(byte << 1), left.eq(left - 1)]
                m.d.sync += byte[0].eq(self.cipo)
                m.next = "LOW"
                with m.If(left == 1):
                    m.next = "NEXT"
            with m.State("NEXT"):
                with m.If(number == len(sent)):
                    m.d.comb += self.o.valid.eq(1)
                    m.d.sync += left.eq(8)
                    with m.If(self.o.ready):
                        m.next = "LOW"
                with m.Else():
                    m.d.sync += number.eq(number + 1)
                    m.next = "MORE"
            with m.State("MORE"):
                m.d.sync += left.eq(8)
                with m.If(number == len(sent)):
                    m.next = "LOW"
                with m.Elif(number != 1):
                    m.next = "BYTE"
                with m.Else():  # the flash wakes up
                    m.d.sync += [self.cs.eq(0), rest.eq(rest + 1)]
                    with m.If(rest.all()):
                        m.next = "BYTE"
        return m
