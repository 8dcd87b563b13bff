"""The UART's transmitter."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.boards.link.baud import BaudRate

__all__ = ["UartTransmitter"]


class UartTransmitter(wiring.Component):
    """Sends bytes of 8 bits, no parity, one stop bit (8N1), least significant bit first.

    Bit edges are right to a clock cycle, whatever the ratio of clock and baud rate.

    Parameters
    ----------
    rate
        Clock cycles of a bit.

    Members
    -------
    i : ``In(stream(8))``
        Taken when the byte before has been sent, its stop bit included.
    tx : ``Out(1)``
        The line; a register.
    """

    i: In(stream.Signature(8))
    tx: Out(1, init=1)

    def __init__(self, rate: BaudRate) -> None:
        self._rate = rate
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # What is left to send, with a mark above its last bit: nothing is left when only it remains.
        left = Signal(10)
        phase = Signal(self._rate.bits)
        due = Signal()
        m.d.comb += self.i.ready.eq(left == 0)
        m.d.sync += Cat(phase, due).eq(phase + self._rate.step)
        with m.If(self.i.ready):
            # A cycle passes before the start bit is seen, and half a one rounds to the nearest.
            m.d.sync += [phase.eq(self._rate.step * 3 // 2), due.eq(0)]
            with m.If(self.i.valid):
                m.d.sync += [left.eq(Cat(self.i.p, Const(0b11, 2))), self.tx.eq(0)]
        with m.Elif(due):
            m.d.sync += left.eq(left >> 1)
            with m.If(left[1:] != 0):
                m.d.sync += self.tx.eq(left[0])
        return m
