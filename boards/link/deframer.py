"""Finding frames in received bytes."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.boards.host.protocol import ESCAPE, ESCAPED_BIT, FLAG

__all__ = ["Deframer"]


class Deframer(wiring.Component):
    """Cuts bytes at flags and undoes escapes; a flag may end a frame and begin the next.

    Whatever is lost or damaged, the next flag begins a new frame: no time limit is needed.

    Members
    -------
    listen : ``In(1)``
        While 0, everything is dropped; then frames are heard again from the next flag on.
    i_valid, i_data, i_error : ``In(1)``, ``In(8)``, ``In(1)``
        From the receiver.
    begin : ``Out(1)``
        A flag, in this cycle.
    end : ``Out(1)``
        With `begin`: it ends a frame that is not empty.
    damaged : ``Out(1)``
        With `end`: a byte of the frame had an error, or an escape stood at its end.
    valid, data : ``Out(1)``, ``Out(8)``
        A byte of the frame.
    """

    listen: In(1)
    i_valid: In(1)
    i_data: In(8)
    i_error: In(1)
    begin: Out(1)
    end: Out(1)
    damaged: Out(1)
    valid: Out(1)
    data: Out(8)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        inside, filled = Signal(), Signal()
        escaped, wrong = Signal(), Signal()
        flag, escape = Signal(), Signal()
        m.d.comb += [
            flag.eq(self.i_data == FLAG),
            escape.eq(self.i_data == ESCAPE),
            self.begin.eq(self.listen & self.i_valid & flag),
            self.end.eq(self.begin & inside & filled),
            self.damaged.eq(escaped | wrong),
            self.valid.eq(inside & self.i_valid & ~flag & ~escape),
            self.data.eq(self.i_data ^ Mux(escaped, ESCAPED_BIT, 0)),
        ]
        with m.If(~self.listen):
            m.d.sync += inside.eq(0)
        with m.Elif(self.i_valid):
            m.d.sync += [
                inside.eq(inside | flag),
                filled.eq(~flag),
                escaped.eq(escape),
                wrong.eq(~flag & (wrong | self.i_error)),
            ]
        return m
