"""The FETCH unit: reads instructions and hands them to the units."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode
from tilewright.compiler.target import Target
from tilewright.hw.burst import TRANSFER
from tilewright.hw.instructions import QUEUED_BITS, instruction_layout
from tilewright.hw.legal import InstructionCheck

__all__ = ["FetchUnit"]


class FetchUnit(wiring.Component):
    """Reads `count` instructions from `address` and dispatches them in order.

    An instruction that breaks a rule of `compiler/legal.py` raises `illegal`; dispatching stops.

    Members
    -------
    start : ``In(1)``
    address, count : ``In(32)``
        Byte address of the first instruction, and how many.
    transfer, beats : to and from the unit's reader
    load, weights, calc : ``Out(stream of instructions)``
    store : ``Out(stream of raw instructions)``
        STORE, STAMP and FINISH.
    illegal : ``Out(1)``
        Stays set.
    reason, number : ``Out(8)``, ``Out(32)``
        The rule, and which instruction; see `InstructionCheck`.
    blocked : ``Out(1)``
        An instruction waits for its unit.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "start": In(1),
                "address": In(32),
                "count": In(32),
                "transfer": Out(stream.Signature(TRANSFER)),
                "beats": In(stream.Signature(8 * target.bus_bytes)),
                "load": Out(stream.Signature(instruction_layout(Opcode.LOAD))),
                "weights": Out(stream.Signature(instruction_layout(Opcode.WEIGHTS))),
                "calc": Out(stream.Signature(instruction_layout(Opcode.CALC))),
                "store": Out(stream.Signature(QUEUED_BITS)),
                "illegal": Out(1),
                "reason": Out(8),
                "number": Out(32),
                "blocked": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus_bits = 8 * self._target.bus_bytes
        per_instruction = INSTRUCTION_BYTES // self._target.bus_bytes

        asking = Signal()
        m.d.comb += [
            self.transfer.valid.eq(asking),
            self.transfer.p.address.eq(self.address),
            self.transfer.p.beats.eq(self.count * per_instruction),
        ]
        with m.If(self.start):
            m.d.sync += asking.eq(1)
        with m.Elif(self.transfer.ready):
            m.d.sync += asking.eq(0)

        # Assemble an instruction, leaving out the bits that no opcode uses.
        word = Signal(QUEUED_BITS)
        complete = Signal()
        beat = Signal(range(max(per_instruction, 2)))
        dispatched = Signal()
        m.d.comb += self.beats.ready.eq(~complete | dispatched)
        with m.If(dispatched):
            m.d.sync += complete.eq(0)
        with m.If(self.beats.valid & self.beats.ready):
            last = beat == per_instruction - 1
            m.d.sync += [beat.eq(Mux(last, 0, beat + 1)), complete.eq(last)]
            for index in range(-(-QUEUED_BITS // bus_bits)):
                part = word[index * bus_bits : (index + 1) * bus_bits]
                with m.If(beat == index):
                    m.d.sync += part.eq(self.beats.p)
        opcode = Signal(4)  # as it will be in the next cycle
        m.d.comb += opcode.eq(word)
        with m.If(self.beats.valid & self.beats.ready & (beat == 0)):
            m.d.comb += opcode.eq(self.beats.p)

        self._dispatch(m, word, opcode, complete, dispatched)
        return m

    def _dispatch(
        self, m: Module, word: Signal, opcode: Signal, complete: Signal, dispatched: Signal
    ) -> None:
        """Offer a complete instruction to its unit, which is chosen a cycle ahead."""
        store_opcodes = (Opcode.STORE, Opcode.STAMP, Opcode.FINISH)
        routes = (
            ("load", (Opcode.LOAD,), self.load),
            ("weights", (Opcode.WEIGHTS,), self.weights),
            ("calc", (Opcode.CALC,), self.calc),
            ("store", store_opcodes, self.store),
        )
        taken = []
        for name, opcodes, port in routes:
            chosen = Signal(name=f"to_{name}")
            m.d.sync += chosen.eq(Cat(opcode == code for code in opcodes).any())
            m.d.comb += [
                Value.cast(port.p).eq(
                    word[: port.p.shape().size if name != "store" else len(word)]
                ),
                port.valid.eq(complete & chosen & ~self.illegal),
            ]
            taken.append(chosen & port.ready)
        m.d.comb += dispatched.eq(complete & ~self.illegal & Cat(taken).any())
        m.submodules.check = check = InstructionCheck(self._target)
        m.d.comb += [
            check.word.eq(word),
            check.valid.eq(complete),
            check.passed.eq(dispatched),
            self.illegal.eq(check.illegal),
            self.reason.eq(check.reason),
            self.number.eq(check.number),
            self.blocked.eq(complete & ~dispatched),
        ]
