"""The check of each instruction before it can do harm."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for

from tilewright.compiler.isa import Opcode
from tilewright.compiler.legal import RULES, UNKNOWN_OPCODE, Rule, bound
from tilewright.compiler.target import Target
from tilewright.hw.instructions import QUEUED_BITS, instruction_layout

__all__ = ["InstructionCheck"]


class InstructionCheck(wiring.Component):
    """Holds instructions against the rules of `compiler/legal.py`.

    The check is two registers long and runs beside the dispatch: `illegal` rises two cycles after
    the instruction is seen. By then its unit may have it, but none can have started a burst. The
    reason is found a cycle later.

    Members
    -------
    word : ``In(QUEUED_BITS)``
    valid : ``In(1)``
        `word` is an instruction; it may stay for many cycles.
    passed : ``In(1)``
        With `valid`, in the instruction's last cycle.
    illegal : ``Out(1)``
        Stays set.
    reason, number : ``Out(8)``, ``Out(32)``
        The broken rule's code, from the cycle after `illegal` rises on, and which instruction it is,
        from 0; valid with `illegal`.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "word": In(QUEUED_BITS),
                "valid": In(1),
                "passed": In(1),
                "illegal": Out(1),
                "reason": Out(8),
                "number": Out(32),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        opcode = self.word[:4]
        known = Cat(opcode == code for code in Opcode).any()
        codes = [UNKNOWN_OPCODE, *(rule.code for rule in RULES)]
        broken = Signal(len(codes), reset_less=True)
        first_broken = Signal.like(broken)
        passed, counted = Signal(), Signal()
        violations = [(opcode == rule.opcode) & self._broken(rule) for rule in RULES]
        m.d.sync += [
            broken.eq(Mux(self.valid, Cat(~known, *violations), 0)),
            passed.eq(self.valid & self.passed),
            counted.eq(passed),  # when it is known whether that was a legal one
        ]
        with m.If(~self.illegal):
            with m.If(broken.any()):
                m.d.sync += self.illegal.eq(1)
            with m.If(counted):
                m.d.sync += self.number.eq(self.number + 1)
            m.d.sync += first_broken.eq(broken)
        m.d.sync += self.reason.eq(_first(first_broken, codes))
        return m

    def _broken(self, rule: Rule) -> Value:
        """Whether the instruction breaks a rule, its opcode aside."""
        layout = instruction_layout(rule.opcode)
        job = data.View(layout, self.word[: layout.size])
        fields = [Value.cast(job[name]).as_unsigned() for name in rule.fields]
        total, most = sum(fields[1:], fields[0]), bound(rule, self._target)
        largest = sum((1 << len(field)) - 1 for field in fields)
        wrong = []
        if rule.positive:
            wrong.append(~Cat(*fields).any())
        if most is not None and most < largest:
            bits = bits_for(most)  # a short comparison, if any, and nothing above
            wrong.append(total[bits:].any())
            if most + 1 < 1 << bits:
                wrong.append(total[:bits] > most)
        if rule.aligned:
            wrong.append(total % self._target.bus_bytes != 0)
        found = Cat(*wrong).any()
        return found if rule.given is None else found & job[rule.given].any()


def _first(bits: Value, codes: list[int]) -> Value:
    """The code of the first bit that is set, found by halves."""
    if len(codes) == 1:
        return Const(codes[0], 8)
    half = len(codes) // 2
    first = bits[:half]
    return Mux(first.any(), _first(first, codes[:half]), _first(bits[half:], codes[half:]))
