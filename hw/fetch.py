"""The FETCH unit: reads instructions and hands them to the units."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode
from tilewright.compiler.target import Target
from tilewright.hw.burst import TRANSFER
from tilewright.hw.halves_queue import queue_input
from tilewright.hw.instructions import QUEUED_BITS
from tilewright.hw.legal import InstructionCheck

__all__ = ["FetchUnit"]

_ROUTES = {
    "load": (Opcode.LOAD,),
    "weights": (Opcode.WEIGHTS,),
    "calc": (Opcode.CALC,),
    "store": (Opcode.STORE, Opcode.STAMP, Opcode.FINISH),
}


class FetchUnit(wiring.Component):
    """Reads `count` instructions from `address` and dispatches them in order.

    An instruction that breaks a rule of `compiler/legal.py` raises `illegal`; dispatching stops. Where
    units have no queue, nothing is checked but that there is a unit for the opcode, and beats are
    passed on as they come.

    Members
    -------
    start : ``In(1)``
    address, count : ``In(32)``
        Byte address of the first instruction, and how many.
    transfer, beats : to and from the unit's reader
    load, weights, calc, store : ``Out(stream of queue_input(target, opcode))``
        The last one gets STORE, STAMP and FINISH.
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
                **{
                    name: Out(stream.Signature(queue_input(target, opcodes[0])))
                    for name, opcodes in _ROUTES.items()
                },
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

        if self._target.unit_queue == 1:
            self._pass_on(m)
        else:
            self._assemble(m, bus_bits, per_instruction)
        return m

    def _pass_on(self, m: Module) -> None:
        """Give each beat to its unit, which the instruction's first one names, as it comes."""
        number = Signal(self.load.p.number.shape())
        kept, opcode = Signal(4), Signal(4)
        m.d.comb += opcode.eq(Mux(number == 0, self.beats.p, kept))
        taken = []
        for name, opcodes in _ROUTES.items():
            port = getattr(self, name)
            chosen = Cat(opcode == code for code in opcodes).any()
            m.d.comb += [
                port.valid.eq(self.beats.valid & chosen),
                port.p.number.eq(number),
                port.p.beat.eq(self.beats.p),
            ]
            taken.append(chosen & port.ready)
        m.d.comb += [
            self.beats.ready.eq(Cat(taken).any()),
            self.blocked.eq(self.beats.valid & ~self.beats.ready),
        ]
        with m.If(self.beats.valid & self.beats.ready):
            m.d.sync += [number.eq(number + 1), kept.eq(opcode)]

    def _assemble(self, m: Module, bus_bits: int, per_instruction: int) -> None:
        """Assemble instructions, leaving out the bits that no opcode uses, and dispatch them."""
        word = Signal(QUEUED_BITS, reset_less=True)
        complete = Signal()
        beat = Signal(range(max(per_instruction, 2)))
        dispatched = Signal()
        m.d.comb += self.beats.ready.eq(~complete)
        with m.If(dispatched):
            m.d.sync += complete.eq(0)
        with m.If(self.beats.valid & self.beats.ready):
            last = beat == per_instruction - 1
            m.d.sync += [beat.eq(Mux(last, 0, beat + 1)), complete.eq(last)]
            for index in range(-(-QUEUED_BITS // bus_bits)):
                part = word[index * bus_bits : (index + 1) * bus_bits]
                with m.If(beat == index):
                    m.d.sync += part.eq(self.beats.p)
        decoded: Value = complete
        if per_instruction == 1:  # the opcode has only come with the last beat
            later = Signal()
            m.d.sync += later.eq(complete & ~dispatched)
            decoded = later
        self._dispatch(m, word, decoded, dispatched)

    def _dispatch(self, m: Module, word: Signal, complete: Value, dispatched: Signal) -> None:
        """Offer a complete instruction to its unit, which is chosen a cycle ahead.

        With short stages it is offered, and checked, a cycle later.
        """
        short = self._target.short_stages
        taken = []
        for name, opcodes in _ROUTES.items():
            port = getattr(self, name)
            chosen = Signal(name=f"to_{name}")
            m.d.sync += chosen.eq(Cat(word[:4] == code for code in opcodes).any())
            offers: Value = complete & chosen
            if short:
                offered = Signal(name=f"offered_{name}")
                m.d.sync += offered.eq(offers & ~dispatched)
                offers = chosen = offered
            m.d.comb += [
                Value.cast(port.p).eq(word[: port.p.shape().size]),
                port.valid.eq(offers & ~self.illegal),
            ]
            taken.append(chosen & port.ready)
        goes_on = ~self.illegal if short else complete & ~self.illegal
        m.d.comb += dispatched.eq(goes_on & Cat(taken).any())
        m.d.comb += self.blocked.eq(complete & ~dispatched)
        m.submodules.check = check = InstructionCheck(self._target)
        seen: tuple[Value, Value, Value] = (word, complete, dispatched)
        if short:  # as much later as the units see it
            later = [
                Signal.like(Value.cast(value), name=f"seen_{n}") for n, value in enumerate(seen)
            ]
            m.d.sync += [register.eq(value) for register, value in zip(later, seen, strict=True)]
            seen = tuple(later)
        m.d.comb += [
            check.word.eq(seen[0]),
            check.valid.eq(seen[1]),
            check.passed.eq(seen[2]),
            self.illegal.eq(check.illegal),
            self.reason.eq(check.reason),
            self.number.eq(check.number),
        ]
