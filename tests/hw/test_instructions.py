# amaranth: UnusedElaboratable=no
"""What the units' queues keep of an instruction is all that the hardware can see of it."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from amaranth.hdl import Module, Signal
from amaranth.sim import Simulator
from word_scenarios import legal_fields

from tilewright.compiler.isa import FIELDS, Opcode
from tilewright.compiler.target import Target
from tilewright.hw.instructions import Excerpt, instruction_layout

TARGET = Target(rows=8, cols=4, act_depth=1024, acc_depth=100, bus_bytes=4)
COUNTED_MODULO = {
    **dict.fromkeys(("bank_address", "base", "row_step", "col_step"), 10),
    **dict.fromkeys(("step0", "step1", "step2"), 10),
    **dict.fromkeys(("acc_base", "acc_step"), 7),
    **dict.fromkeys(("acc_row_step", "acc_col_step", "win_row_step"), 7),
    **dict.fromkeys(("lo", "hi"), 8),
    **dict.fromkeys(("pack", "phase"), 0),  # the target cannot pack
    "function_shift": 0,  # ... and has no registered activations
}
"""Bits of fields of which the rest makes no difference."""


@pytest.mark.parametrize("opcode", [Opcode.LOAD, Opcode.WEIGHTS, Opcode.CALC, Opcode.STORE])
def test_a_legal_instruction_comes_back_whole_from_fewer_bits(opcode: Opcode) -> None:
    names = tuple(field.name for field in FIELDS[opcode])
    excerpt = Excerpt(TARGET, opcode, names)
    assert excerpt.width < instruction_layout(opcode).size
    random = Random(int(opcode))
    m = Module()
    job = Signal(instruction_layout(opcode))
    back = Signal(instruction_layout(opcode))
    m.d.comb += back.eq(excerpt.unpack(excerpt.pack(job)))

    async def bench(ctx: Any) -> None:
        for _ in range(20):
            fields = legal_fields(random, opcode, TARGET)
            ctx.set(job, fields)
            await ctx.delay(1e-9)
            found = ctx.get(back)
            for name, value in fields.items():
                modulus = 1 << COUNTED_MODULO.get(name, 48)
                assert (int(found[name]) - value) % modulus == 0, name

    simulator = Simulator(m)
    simulator.add_testbench(bench)
    simulator.run()


def test_only_the_fields_asked_for_are_kept() -> None:
    some = Excerpt(TARGET, Opcode.CALC, ("tiles0", "half"))
    assert some.width == 17
