"""The host's place at power-up: requests that are known, and the answers that they must get."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.boards.host.protocol import FLAG

__all__ = ["PATIENCE", "START_CYCLES", "ScriptPlayer"]

START_CYCLES = 1 << 15
"""Before the first request; an SDRAM is awake by then."""

_PACE = 16
"""Cycles between two bytes; the CRC needs 10."""

PATIENCE = 1 << 20
"""Cycles that a frame may take, with what is done for it: a run of the accelerator, or a WAIT."""


class ScriptPlayer(wiring.Component):
    """Plays a script of frames: a request is given to the link, its answer compared, and so on.

    A frame ends with its second flag. The script ends where no flag begins a frame. At the first
    byte of an answer that differs, and where a frame takes too long, the test has failed and the rest is
    not played. Then the link is the host's.

    Members
    -------
    i : ``In(stream(8))``
        The script.
    valid, data : ``Out(1)``, ``Out(8)``
        A request's byte, in the receiver's place; at least 16 cycles apart.
    answer : ``In(stream(8))``
        What the link sends, in the transmitter's place.
    playing : ``Out(1)``
        From power-up until the script's end.
    done, passed : ``Out(1)``
        A script was there and is over; every byte was right.
    """

    i: In(stream.Signature(8))
    valid: Out(1)
    data: Out(8)
    answer: In(stream.Signature(8))
    playing: Out(1, init=1)
    done: Out(1)
    passed: Out(1)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waited = Signal(range(PATIENCE))
        paused = Signal(range(_PACE))
        inside, flag, due, move = Signal(), Signal(), Signal(), Signal()
        m.d.comb += [
            flag.eq(self.i.p == FLAG),
            self.data.eq(self.i.p),
            self.i.ready.eq(move),
            due.eq(self.i.valid & paused.all()),
        ]
        m.d.sync += [waited.eq(waited + 1), paused.eq(paused + ~paused.all())]
        with m.If(move):
            m.d.sync += [paused.eq(0), inside.eq(inside ^ flag)]
            with m.If(flag):
                m.d.sync += waited.eq(0)

        def end(passed: bool) -> None:
            m.d.sync += [self.playing.eq(0), self.passed.eq(int(passed) & self.done)]
            m.next = "OVER"

        with m.FSM():
            with m.State("START"), m.If(waited[START_CYCLES.bit_length() - 1]):
                m.next = "FRAME"
            with m.State("FRAME"), m.If(self.i.valid):
                m.next = "REQUEST"
                with m.If(flag):
                    m.d.sync += self.done.eq(1)
                with m.Else():
                    end(passed=True)
            with m.State("REQUEST"):
                m.d.comb += [move.eq(due), self.valid.eq(due)]
                with m.If(waited.all()):
                    end(passed=False)
                with m.Elif(move & flag & inside):
                    m.next = "ANSWER"
            with m.State("ANSWER"):
                m.d.comb += [self.answer.ready.eq(due), move.eq(due & self.answer.valid)]
                with m.If((move & (self.answer.p != self.i.p)) | waited.all()):
                    end(passed=False)
                with m.Elif(move & flag & inside):
                    m.next = "FRAME"
            with m.State("OVER"):
                pass
        return m
