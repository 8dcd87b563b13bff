"""Bus errors, illegal instructions and deadlocks end a run with a status, and the next one is right.

All on the smallest accelerator, compiled once; after each fault the host does a soft reset, finds
its registers unchanged, and starts again without writing them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from targets import TINY, need

from tilewright.compiler.diagnosis import describe_fault
from tilewright.compiler.faults import fault_fields
from tilewright.compiler.isa import FIELDS, INSTRUCTION_BYTES, PARAM_BYTES, Opcode, decode, encode
from tilewright.compiler.lower import compile_network
from tilewright.compiler.program import Program
from tilewright.compiler.registers import RESPONSES, Status, Unit
from tilewright.hw.verilog import generate_verilog
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, RunResult, compare_run, simulate_jobs
from tilewright.sim.random_layers import random_inputs, random_layer
from tilewright.sim.runner import SimBuild, SimulationError, build_simulation

SEED = 1
"""A convolution of several tiles."""


@pytest.fixture(scope="module")
def build(simulations: Path) -> SimBuild:
    need("verilator")
    return build_simulation(
        generate_verilog(TINY), TINY, simulations, memory_bytes=1 << 16, optimise=0
    )


@pytest.fixture(scope="module")
def good() -> tuple[Job, dict[str, Any]]:
    """A job that is right, and the values that must come out."""
    fixed = random_layer(SEED, TINY)
    inputs = random_inputs(fixed, SEED)
    values = run_fixed(fixed, {name: value[None] for name, value in inputs.items()})
    job = Job(program=compile_network(fixed, TINY, keep=True), inputs=[inputs])
    return job, {name: value[0] for name, value in values.items()}


def instructions(program: Program) -> list[bytes]:
    start = program.instructions
    return [
        program.image[at : at + INSTRUCTION_BYTES]
        for at in range(start, start + program.count * INSTRUCTION_BYTES, INSTRUCTION_BYTES)
    ]


def with_instructions(program: Program, code: list[bytes]) -> Program:
    image = bytearray(program.image)
    image[program.instructions :][: len(code) * INSTRUCTION_BYTES] = b""
    image[program.instructions : program.instructions + len(code) * INSTRUCTION_BYTES] = b"".join(
        code
    )
    return dataclasses.replace(program, image=bytes(image))


def area(program: Program, unit: Unit) -> tuple[int, int]:
    """Byte offsets that only `unit` reads, or writes, in its first instruction."""
    if unit is Unit.FETCH:
        return program.instructions, program.instructions + INSTRUCTION_BYTES
    opcode = {Unit.PARAMS: Opcode.STORE}.get(unit) or Opcode[unit.name]
    fields = next(f for op, f in map(decode, instructions(program)) if op is opcode)
    if unit is Unit.PARAMS:
        return fields["params"], fields["params"] + TINY.cols * PARAM_BYTES
    beats = fields["beats"] if unit is Unit.WEIGHTS else fields["row_beats"]
    return fields["address"], fields["address"] + beats * TINY.bus_bytes


def recovers(build: SimBuild, job: Job, values: dict[str, Any], folder: Path) -> RunResult:
    """Run a job whose first inference fails and whose second must be right; returns the first."""
    twice = dataclasses.replace(job, inputs=list(job.inputs) * 2, status=None)
    [[first, second]] = simulate_jobs(build, [twice], work_dir=folder)
    assert first.counters["STATUS"] != Status.GOOD
    assert second.counters["STATUS"] == Status.GOOD
    assert compare_run(job.program, second, values) == []
    return first


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("unit", [u for u in Unit if u not in (Unit.NONE, Unit.CALC)])
def test_a_bus_error_names_unit_response_and_address(
    build: SimBuild,
    good: tuple[Job, dict[str, Any]],
    tmp_path: Path,
    unit: Unit,
    response: str,
) -> None:
    job, values = good
    first, last = area(job.program, unit)
    kind = "write" if unit is Unit.STORE else "read"
    options: dict[str, Any] = {f"{kind}_errors": (first, last), "error_burst": 1}
    memory = MemoryConfig(error_response=response, **options)
    faulty = dataclasses.replace(job, memory=memory)
    words = recovers(build, faulty, values, tmp_path).counters
    assert words["STATUS"] == (Status.WRITE_ERROR if kind == "write" else Status.READ_ERROR)
    fields = {"unit": unit, "response": RESPONSES[response], "reason": 0}
    assert fault_fields(words["FAULT"]) == fields
    longest = TINY.burst_beats * TINY.bus_bytes
    assert first - longest < words["FAULT_ADDRESS"] - memory.base < last
    text = describe_fault(words, job.program)
    assert f"{unit.name} got {response} when {kind[:3]}" in text.replace("writing", "wri")
    with pytest.raises(SimulationError, match=f"{kind} error.*{unit.name} got {response}"):
        simulate_jobs(build, [faulty, faulty], work_dir=tmp_path)


@pytest.mark.parametrize("burst", [2, 5])
def test_a_later_burst_can_fail_too(
    build: SimBuild, good: tuple[Job, dict[str, Any]], tmp_path: Path, burst: int
) -> None:
    job, values = good
    for kind in ("read", "write"):
        options: dict[str, Any] = {f"{kind}_errors": (0, job.program.memory_bytes)}
        memory = MemoryConfig(error_burst=burst, stall_w=100, stall_r=50, **options)
        recovers(build, dataclasses.replace(job, memory=memory), values, tmp_path)


def changed(program: Program, opcode: Opcode, **fields: int) -> tuple[Program, int]:
    """The program with other fields in its first instruction of a kind, and that one's number."""
    code = instructions(program)
    number = next(i for i, data in enumerate(code) if data[0] & 15 == opcode)
    values = decode(code[number])[1] | fields
    del values["opcode"]
    code[number] = encode(opcode, **values)
    return with_instructions(program, code), number


ILLEGAL: list[tuple[Opcode, dict[str, int], str]] = [
    (Opcode.LOAD, {"address": 4}, "LOAD: address must be a multiple of 8 bytes, not 4"),
    (Opcode.WEIGHTS, {"tiles": 0}, "WEIGHTS: tiles must not be 0, not 0"),
    (Opcode.WEIGHTS, {"container": 3}, "WEIGHTS: container must be in 0..2, not 3"),
    (Opcode.CALC, {"rows": 17}, "CALC: rows must be in 1..16, not 17"),
    (Opcode.CALC, {"tiles1": 0}, "CALC: tiles1 must not be 0, not 0"),
    (Opcode.STORE, {"win_cols": 0}, "STORE: win_cols must not be 0, not 0"),
    (Opcode.STORE, {"lanes": 3}, "STORE: src_lane \\+ lanes must be in 0..2, not 3"),
]


@pytest.mark.parametrize(("opcode", "fields", "text"), ILLEGAL)
def test_an_illegal_instruction_is_named(
    build: SimBuild,
    good: tuple[Job, dict[str, Any]],
    tmp_path: Path,
    opcode: Opcode,
    fields: dict[str, int],
    text: str,
) -> None:
    job, _ = good
    bad, number = changed(job.program, opcode, **fields)
    [[run]] = simulate_jobs(
        build, [dataclasses.replace(job, program=bad, status=Status.ILLEGAL)], work_dir=tmp_path
    )
    assert run.counters["FAULT_ADDRESS"] == number
    with pytest.raises(SimulationError, match=f"instruction {number} is illegal .{text}"):
        simulate_jobs(build, [dataclasses.replace(job, program=bad)], work_dir=tmp_path)


DEADLOCKS: list[tuple[Opcode, dict[str, int], str]] = [
    (Opcode.LOAD, {"signal_calc": 0}, "CALC: waits for a token from LOAD"),
    (Opcode.LOAD, {"wait_calc": 9}, "LOAD: waits for a token from CALC"),
    (Opcode.LOAD, {"wait_store": 9}, "LOAD: waits for a token from STORE"),
    (Opcode.STORE, {"wait_calc": 9}, "STORE: waits for a token from CALC"),
    (Opcode.STORE, {"row_beats": 4}, "a write burst has no response yet"),
]


@pytest.mark.parametrize(("opcode", "fields", "text"), DEADLOCKS)
def test_the_watchdog_ends_a_deadlock_and_says_who_waits(
    build: SimBuild,
    good: tuple[Job, dict[str, Any]],
    tmp_path: Path,
    opcode: Opcode,
    fields: dict[str, int],
    text: str,
) -> None:
    """Also one that leaves a write burst without its data: the bus must be free again."""
    job, values = good
    bad = dataclasses.replace(
        job,
        program=changed(job.program, opcode, **fields)[0],
        status=Status.WATCHDOG,
        watchdog=500,
        memory=MemoryConfig(decode_errors=True),
    )
    [[run], [after]] = simulate_jobs(build, [bad, job], work_dir=tmp_path)
    assert text in describe_fault(run.counters, bad.program)
    assert run.elapsed < 10_000
    assert compare_run(job.program, after, values) == []
    slow = dataclasses.replace(bad, watchdog=0, max_cycles=5000, status=0)
    with pytest.raises(SimulationError, match=f"too many cycles.*{text}"):
        simulate_jobs(build, [slow], work_dir=tmp_path)


def flip_bits(random: Random, code: list[bytes]) -> None:
    at = random.randrange(len(code))
    word = int.from_bytes(code[at], "little")
    for _ in range(random.choice((1, 1, 2, 8))):
        word ^= 1 << random.randrange(320)
    code[at] = word.to_bytes(INSTRUCTION_BYTES, "little")


def change_field(random: Random, code: list[bytes]) -> None:
    at = random.randrange(len(code))
    opcode, values = decode(code[at])
    field = random.choice(FIELDS[opcode])
    low = -(1 << (field.bits - 1)) if field.signed else 0
    high = low + (1 << field.bits) - 1
    new = random.choice((0, 1, high, random.randint(low, high), values[field.name] + 1))
    start = sum(f.bits for f in FIELDS[opcode][: FIELDS[opcode].index(field)])
    mask = (1 << field.bits) - 1
    word = int.from_bytes(code[at], "little") & ~(mask << start) | (new & mask) << start
    code[at] = word.to_bytes(INSTRUCTION_BYTES, "little")


def swap(random: Random, code: list[bytes]) -> None:
    one, other = random.randrange(len(code)), random.randrange(len(code))
    code[one], code[other] = code[other], code[one]


def copy_over(random: Random, code: list[bytes]) -> None:
    code[random.randrange(len(code))] = random.choice(code)


def noise(random: Random, code: list[bytes]) -> None:
    opcode = random.choice(list(Opcode))
    data = random.randbytes(INSTRUCTION_BYTES)
    code[random.randrange(len(code))] = bytes((data[0] & 0xF0 | opcode,)) + data[1:]


DAMAGES: list[Callable[[Random, list[bytes]], None]] = [
    flip_bits,
    change_field,
    change_field,
    change_field,
    swap,
    copy_over,
    noise,
]


def damaged(random: Random, program: Program) -> Program:
    code = instructions(program)
    random.choice(DAMAGES)(random, code)
    return with_instructions(program, code)


@settings(
    max_examples=2,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],  # each failure names its seed; shrinking would simulate for long
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seeds=st.lists(st.integers(0, 2**32 - 1), min_size=60, max_size=60, unique=True))
def test_damaged_programs_end_and_leave_a_sound_accelerator(
    build: SimBuild, good: tuple[Job, dict[str, Any]], tmp_path: Path, seeds: list[int]
) -> None:
    job, values = good
    jobs = []
    for seed in seeds:
        random = Random(seed)
        memory = dataclasses.replace(MemoryConfig.chaotic(seed), decode_errors=True, stall_host=0)
        memory = dataclasses.replace(memory, stall_r=min(memory.stall_r, 128))
        bad = dataclasses.replace(
            job,
            program=damaged(random, job.program),
            memory=memory,
            status=None,
            watchdog=20_000,
            max_cycles=3_000_000,
        )
        jobs += [bad, dataclasses.replace(job, memory=memory, watchdog=20_000)]
    results = simulate_jobs(build, jobs, work_dir=tmp_path)
    statuses = {runs[0].counters["STATUS"] for runs in results[::2]}
    assert statuses >= {Status.GOOD, Status.ILLEGAL, Status.WATCHDOG}, "the damage is of all kinds"
    for runs in results[1::2]:
        assert compare_run(job.program, runs[0], values) == []
