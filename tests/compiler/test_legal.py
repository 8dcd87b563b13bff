"""The table of rules: sound in itself, kept by the compiler, told in words."""

from __future__ import annotations

from collections import Counter

import pytest
from targets import TINY

from tilewright.compiler.diagnosis import describe_fault
from tilewright.compiler.faults import DIAGNOSTIC, describe_activity
from tilewright.compiler.isa import FIELDS, INSTRUCTION_BYTES, Opcode
from tilewright.compiler.legal import RULES, UNKNOWN_OPCODE, broken_rule
from tilewright.compiler.lower import compile_network
from tilewright.compiler.registers import ACTIVITY, RESPONSES, Status, Unit
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.sim.random_layers import random_layer


def test_codes_are_unique_and_fields_exist() -> None:
    codes = Counter([UNKNOWN_OPCODE, *(rule.code for rule in RULES)])
    assert max(codes.values()) == 1
    assert max(codes) < 256
    for rule in RULES:
        names = {field.name for field in FIELDS[rule.opcode]}
        assert {*rule.fields, *filter(None, [rule.given])} <= names
        assert rule.positive or rule.aligned or rule.most


@pytest.mark.parametrize("target", [TINY, Target(rows=5, cols=3, bus_bytes=2, acc_depth=64)])
def test_the_compiler_keeps_every_rule(target: Target) -> None:
    seen = set()
    for seed in range(25):
        try:
            program = compile_network(random_layer(seed, target), target)
        except TilewrightError:
            continue
        for number in range(program.count):
            start = program.instructions + number * INSTRUCTION_BYTES
            data = program.image[start : start + INSTRUCTION_BYTES]
            assert broken_rule(data, target) is None
            seen.add(data[0] & 15)
    assert seen == set(Opcode)


def test_an_opcode_that_does_not_exist_breaks_the_first_rule() -> None:
    assert broken_rule(bytes(64), TINY) == (UNKNOWN_OPCODE, "opcode 0 does not exist")


def words(**values: int) -> dict[str, int]:
    return dict.fromkeys(DIAGNOSTIC, 0) | {"MEM_BASE": 0x4000_0000} | values


def test_faults_are_told_with_place_and_remedy() -> None:
    program = compile_network(random_layer(1, TINY), TINY)
    tensor = program.tensors[program.inputs[0]].address
    fault = Unit.LOAD | RESPONSES["DECERR"] << 8
    texts = {
        tensor: f"tensor '{program.inputs[0]}'",
        program.instructions + 130: "instruction 2",
        program.memory_bytes + 4096: "outside the program's memory",
        len(program.image) - 1: "weights and parameters",
    }
    for offset, text in texts.items():
        found = words(STATUS=Status.READ_ERROR, FAULT=fault, FAULT_ADDRESS=0x4000_0000 + offset)
        said = describe_fault(found, program)
        assert said.startswith(
            f"LOAD got DECERR when reading at bus address {0x40000000 + offset:#x}"
        )
        assert f"({text}); check that {program.memory_bytes} bytes of memory answer" in said


def test_an_instruction_that_is_illegal_only_in_memory_asks_to_load_it_again() -> None:
    program = compile_network(random_layer(1, TINY), TINY)
    found = words(STATUS=Status.ILLEGAL, FAULT=18 << 16, FAULT_ADDRESS=1)
    text = "instruction 1 is illegal in memory (WEIGHTS: tiles must not be 0), though not in the"
    assert describe_fault(found, program).startswith(text)
    beyond = describe_fault(found | {"FAULT_ADDRESS": program.count}, program)
    assert beyond.endswith(f"but the program has {program.count} only")


def test_activity_is_told_by_unit() -> None:
    assert describe_activity(0) == "no unit has anything to do"
    bits = {entry.name: 1 << bit for bit, entry in enumerate(ACTIVITY)}
    assert describe_activity(bits["calc_waits_load"] | bits["writes_under_way"]) == (
        "the bus: a write burst has no response yet; CALC: waits for a token from LOAD"
    )
    found = words(STATUS=Status.WATCHDOG, WATCHDOG=700, ACTIVITY=bits["store_waits_calc"])
    program = compile_network(random_layer(1, TINY), TINY)
    text = describe_fault(found, program)
    assert text.startswith("nothing moved for 700 cycles: STORE: waits for a token from CALC; ")
