"""The UART's receiver."""

from amaranth.hdl import Cat, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.cdc import FFSynchronizer
from amaranth.lib.wiring import In, Out

from tilewright.boards.link.baud import BaudRate

__all__ = ["UartReceiver"]


class UartReceiver(wiring.Component):
    """Receives bytes of 8 bits, no parity, one stop bit (8N1), least significant bit first.

    The line is sampled every clock cycle; the majority of three samples counts, so that a glitch of
    one cycle is not seen. From the edge of a start bit on, a phase accumulator finds the middle of
    each bit to a clock cycle, whatever the ratio of clock and baud rate, down to 4 cycles a bit.
    A start bit that is over by its middle is none. After half of the stop bit the next start bit
    is looked for. Samples are at most a cycle off the middle, so the sender may be 2 % faster or slower
    at 4 cycles a bit, and 4 % at many.

    Parameters
    ----------
    rate
        Clock cycles of a bit.

    Members
    -------
    rx : ``In(1)``
        The line, 1 when idle; synchronized here.
    valid, data : ``Out(1)``, ``Out(8)``
        A byte has arrived, in this cycle only.
    error : ``Out(1)``
        With `valid`: its stop bit is missing. The line must go up before another byte is seen, so
        that a line that stays down (no cable, a break) gives one such byte.
    """

    rx: In(1, init=1)
    valid: Out(1)
    data: Out(8)
    error: Out(1)

    def __init__(self, rate: BaudRate) -> None:
        self._rate = rate
        super().__init__()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sampled = Signal(init=1)
        m.submodules.synchronizer = FFSynchronizer(self.rx, sampled, init=1)
        before = Signal(2, init=3)
        level, previous = Signal(init=1), Signal(init=1)
        first, second = before[0], before[1]
        m.d.sync += [
            before.eq(Cat(sampled, first)),
            level.eq((sampled & first) | (sampled & second) | (first & second)),
            previous.eq(level),
        ]

        # Bits enter at the top; the mark that a start bit sets falls out with the stop bit's sample.
        busy, starting = Signal(), Signal()
        bits = Signal(9)
        phase = Signal(self._rate.bits)
        sample = Signal()
        m.d.sync += [self.valid.eq(0), Cat(phase, sample).eq(phase + self._rate.step)]
        with m.If(~busy):
            # Half a bit is left to the middle, and two cycles have passed when it is looked at.
            half, last = 1 << self._rate.bits - 1, (1 << self._rate.bits) - 1
            m.d.sync += [
                phase.eq(min(half + 2 * self._rate.step, last)),
                sample.eq(0),
                bits.eq(1 << 8),
                busy.eq(previous & ~level),
                starting.eq(1),
            ]
        with m.Elif(sample & starting):
            m.d.sync += [starting.eq(0), busy.eq(~level)]
        with m.Elif(sample & bits[0]):
            m.d.sync += [
                busy.eq(0),
                self.valid.eq(1),
                self.data.eq(bits[1:]),
                self.error.eq(~level),
            ]
        with m.Elif(sample):
            m.d.sync += bits.eq(Cat(bits[1:], level))
        return m
