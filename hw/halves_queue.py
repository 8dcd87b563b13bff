"""The instructions of a unit of two halves, of which the first runs ahead."""

from __future__ import annotations

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import Opcode
from tilewright.compiler.microarchitecture import INNER_QUEUE, UNIT_QUEUE
from tilewright.compiler.target import Target
from tilewright.hw.instruction_queue import InstructionQueue
from tilewright.hw.instructions import Excerpt, instruction_layout

__all__ = ["HalvesQueue"]


class HalvesQueue(wiring.Component):
    """Queues instructions; each half gets the fields that it needs, from a queue of its own.

    UNIT_QUEUE instructions wait for the first half. When it passes one on, the second half may have
    it from the next cycle on; up to INNER_QUEUE are passed on and not finished.

    Parameters
    ----------
    target, opcode
        Whose instructions.
    first, second
        Names of the fields that the halves need; the others are 0 in what they get.

    Members
    -------
    i : ``In(stream of instructions)``
    first, second : ``Out(stream of instructions)``
        An instruction stays until its half takes it.
    room : ``Out(1)``
        An instruction may be passed on.
    passed : ``In(1)``
        The one at `first` is passed on, once; only with `first.valid` and `room`.
    """

    def __init__(
        self, target: Target, opcode: Opcode, *, first: tuple[str, ...], second: tuple[str, ...]
    ) -> None:
        self._excerpts = Excerpt(target, opcode, first), Excerpt(target, opcode, second)
        layout = instruction_layout(opcode)
        super().__init__(
            {
                "i": In(stream.Signature(layout)),
                "first": Out(stream.Signature(layout)),
                "second": Out(stream.Signature(layout)),
                "room": Out(1),
                "passed": In(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        first, second = self._excerpts
        m.submodules.requests = ahead = InstructionQueue(width=first.width, depth=UNIT_QUEUE)
        m.submodules.jobs = behind = InstructionQueue(
            width=second.width, depth=UNIT_QUEUE + INNER_QUEUE
        )
        m.d.comb += [
            self.i.ready.eq(ahead.w_rdy),  # and then `behind` has room, too
            ahead.w_en.eq(self.i.valid),
            ahead.w_data.eq(first.pack(self.i.p)),
            behind.w_en.eq(self.i.valid & ahead.w_rdy),
            behind.w_data.eq(second.pack(self.i.p)),
            self.first.valid.eq(ahead.r_rdy),
            self.first.p.eq(first.unpack(ahead.r_data)),
            ahead.r_en.eq(self.first.ready),
            self.second.p.eq(second.unpack(behind.r_data)),
        ]
        waiting = Signal(range(INNER_QUEUE + 1))  # passed on, not finished
        finished = self.second.valid & self.second.ready
        m.d.sync += waiting.eq(waiting + self.passed - finished)
        m.d.comb += [
            self.room.eq(waiting != INNER_QUEUE),
            self.second.valid.eq(behind.r_rdy & (waiting != 0)),
            behind.r_en.eq(finished),
        ]
        return m
