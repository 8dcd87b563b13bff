"""The instructions of a unit of two halves, of which the first runs ahead."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import Opcode
from tilewright.compiler.microarchitecture import INNER_QUEUE
from tilewright.compiler.target import Target
from tilewright.hw.instruction_queue import InstructionQueue
from tilewright.hw.instruction_register import InstructionRegister, part_layout
from tilewright.hw.instructions import Excerpt, instruction_layout

__all__ = ["HalvesQueue", "queue_input"]


def queue_input(target: Target, opcode: Opcode) -> data.StructLayout:
    """What FETCH gives a unit: whole instructions, or their beats if the unit has no queue."""
    return instruction_layout(opcode) if target.unit_queue > 1 else part_layout(target)


class HalvesQueue(wiring.Component):
    """Queues instructions; each half gets the fields that it needs, from a queue of its own.

    `unit_queue` instructions wait for the first half. When it passes one on, the second half may have
    it HALF_LATENCY cycles later; up to INNER_QUEUE are passed on and not finished. With a `unit_queue`
    of 1 there is one instruction in one register for both, until the second half has finished it.

    What says that an instruction is taken, or is there, is a register on its way: an instruction
    comes HEAD_CYCLES cycles after the one before was taken, and its fields stand a cycle before.

    Parameters
    ----------
    target, opcode
        Whose instructions.
    first, second
        Names of the fields that the halves need; the others are 0 in what they get.

    Members
    -------
    i : ``In(stream of queue_input(target, opcode))``
    first, second : ``Out(stream of instructions)``
        An instruction stays until its half takes it.
    room : ``Out(1)``
        An instruction may be passed on.
    passed : ``In(1)``
        The one at `first` is passed on, once; only with `first.valid` and `room`. The first half takes
        it no later than the second finishes it.
    """

    def __init__(
        self, target: Target, opcode: Opcode, *, first: tuple[str, ...], second: tuple[str, ...]
    ) -> None:
        self._excerpts = Excerpt(target, opcode, first), Excerpt(target, opcode, second)
        self._both = Excerpt(target, opcode, tuple(dict.fromkeys((*first, *second))))
        self._target, self._depth = target, target.unit_queue
        layout = instruction_layout(opcode)
        super().__init__(
            {
                "i": In(stream.Signature(queue_input(target, opcode))),
                "first": Out(stream.Signature(layout)),
                "second": Out(stream.Signature(layout)),
                "room": Out(1),
                "passed": In(1),
            }
        )

    def bits(self, name: str) -> int:
        """Bits of a field up to its highest one that can be set."""
        return self._both.bits(name)

    def elaborate(self, platform: object) -> Module:
        m = Module()
        if self._depth == 1:
            self._one(m)
        else:
            self._several(m)
        return m

    def _one(self, m: Module) -> None:
        """One instruction, which both halves look at."""
        m.submodules.register = register = InstructionRegister(self._target, self._both)
        wiring.connect(m, wiring.flipped(self.i), register.i)
        stands = Signal()  # for a cycle
        passed, gone = Signal(), Signal()  # gone: the first half has taken it
        job = self._both.unpack(register.r_data)
        m.d.sync += stands.eq(register.r_rdy & ~register.r_en)
        m.d.comb += [
            self.first.valid.eq(stands & ~gone),
            self.first.p.eq(job),
            self.second.valid.eq(stands & passed),
            self.second.p.eq(job),
            self.room.eq(~passed),
            register.r_en.eq(self.second.valid & self.second.ready),
        ]
        with m.If(self.first.valid & self.first.ready):
            m.d.sync += gone.eq(1)
        with m.If(self.passed):
            m.d.sync += passed.eq(1)
        with m.If(~register.r_rdy):
            m.d.sync += [passed.eq(0), gone.eq(0)]

    def _several(self, m: Module) -> None:
        """A queue for each half."""
        first, second = self._excerpts
        depth = self._depth
        short = self._target.short_stages
        m.submodules.requests = ahead = InstructionQueue(
            width=first.width, depth=depth, short=short
        )
        m.submodules.jobs = behind = InstructionQueue(
            width=second.width, depth=depth + INNER_QUEUE, short=short
        )
        m.d.comb += [
            self.i.ready.eq(ahead.w_rdy),  # and then `behind` has room, too
            ahead.w_en.eq(self.i.valid),
            ahead.w_data.eq(first.pack(self.i.p)),
            behind.w_en.eq(self.i.valid & ahead.w_rdy),
            behind.w_data.eq(second.pack(self.i.p)),
            self.first.p.eq(first.unpack(ahead.r_data)),
            self.second.p.eq(second.unpack(behind.r_data)),
        ]
        waiting = Signal(range(INNER_QUEUE + 1))  # passed on, not finished
        m.d.sync += waiting.eq(waiting + self.passed - behind.r_en)
        m.d.comb += self.room.eq(waiting != INNER_QUEUE)
        _registered(m, ahead, self.first, ahead.r_rdy)
        _registered(m, behind, self.second, behind.r_rdy & (waiting != 0))


def _registered(m: Module, queue: InstructionQueue, head: Any, there: Value) -> None:
    """Offer the head of a queue, and remove it when it is taken, through registers."""
    taken = head.valid & head.ready
    m.d.sync += [queue.r_en.eq(taken), head.valid.eq(there & ~taken & ~queue.r_en)]
