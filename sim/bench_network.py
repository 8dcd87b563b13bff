"""The cocotb side of whole-network runs: reads job.json, runs it, writes result.json.

It talks to the host of `sim/verilog/testbench.v` one command at a time, so no Python runs while
the accelerator works.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.triggers import ValueChange

from tilewright.compiler.registers import ID_WORD, REGISTERS, offset

RESET, WRITE, READ, WAIT, FILL, LOAD, DUMP, IDLE = range(1, 9)
PROGRESS = "@tilewright "
"""What begins a line that tells the parent process about a finished inference."""

_SHORT = 100_000
_COUNTERS = [r.name for r in REGISTERS if r.offset >= offset("CYCLES")]


class BenchError(Exception):
    """The test bench saw something that must not be."""


class Host:
    """Gives commands to the host in the test bench."""

    def __init__(self, dut: Any) -> None:
        self.dut = dut
        self.number = 0

    async def run(
        self, command: int, first: int = 0, second: int = 0, third: int = 0, limit: int = _SHORT
    ) -> int:
        """Run one command and return its result; raises BenchError with the bench's message."""
        dut = self.dut
        dut.command.value = command
        dut.argument0.value = first
        dut.argument1.value = second
        dut.argument2.value = third
        dut.limit.value = limit
        self.number += 1
        dut.command_number.value = self.number
        while dut.done_number.value != self.number:  # initial values are changes too
            await ValueChange(dut.done_number)
        if dut.failed.value == 1:
            raw = dut.failure.value.to_unsigned().to_bytes(96, "big")
            text = raw.lstrip(b"\0").decode("ascii", "replace").strip()
            where = dut.failure_address.value
            place = f"{where.to_unsigned():#x}" if where.is_resolvable else str(where)
            raise BenchError(f"{text} ({place})")
        return int(dut.result.value.to_unsigned()) if command == READ else 0

    async def write(self, register: str, value: int) -> None:
        await self.run(WRITE, offset(register), value)

    async def read(self, register: str) -> int:
        return await self.run(READ, offset(register))


@cocotb.test()
async def run_jobs(dut: Any) -> None:
    """Run every inference of every job of the file that TILEWRIGHT_JOB names."""
    path = Path(os.environ["TILEWRIGHT_JOB"])
    jobs = json.loads(path.read_text())["jobs"]
    host = Host(dut)
    results = []
    for number, job in enumerate(jobs):
        for name, value in job["config"].items():
            getattr(dut, name).value = value
        if number == 0 or job["reset"]:
            await host.run(RESET, 8)
        await _check_identity(host, job)
        for inference in job["inferences"]:
            result = await _infer(host, job, inference)
            results.append(result)
            print(PROGRESS + json.dumps({"job": number, "cycles": result["elapsed"]}), flush=True)
            if result["registers"]["STATUS"]:
                break
    scratch = path.with_name("result.tmp")
    scratch.write_text(json.dumps({"complete": True, "results": results}))
    scratch.rename(path.with_name("result.json"))


async def _check_identity(host: Host, job: dict[str, Any]) -> None:
    for register, expected in (("ID", ID_WORD), ("FINGERPRINT", job["fingerprint"])):
        found = await host.read(register)
        if found != expected:
            raise BenchError(f"register {register} is {found:#010x}, not {expected:#010x}")


async def _infer(host: Host, job: dict[str, Any], inference: dict[str, Any]) -> dict[str, Any]:
    """Fill memory, start the accelerator as a driver would, wait, read back."""
    dut = host.dut
    for first, beats, value in inference["fills"]:
        await host.run(FILL, first, beats, value)
    for first, beats, file in inference["loads"]:
        await host.run(LOAD, first, beats, file)
    reads, writes = int(dut.read_beats.value), int(dut.write_beats.value)
    for register, value in job["registers"].items():
        await host.write(register, value)
    await host.write("CTRL", 1)
    await host.run(WAIT, limit=job["max_cycles"])
    elapsed = int(dut.elapsed.value)
    registers = {name: await host.read(name) for name in ("STATUS", "ISR", "CTRL")}
    await _clear_interrupt(host, registers)
    for name in _COUNTERS:
        registers[name] = await host.read(name)
    for first, beats, file in inference["dumps"]:
        await host.run(DUMP, first, beats, file)
    return {
        "registers": registers,
        "elapsed": elapsed,
        "read_beats": (int(dut.read_beats.value) - reads) % 2**32,
        "write_beats": (int(dut.write_beats.value) - writes) % 2**32,
    }


async def _clear_interrupt(host: Host, registers: dict[str, int]) -> None:
    if registers["STATUS"] == 0 and (registers["ISR"] & 1 == 0 or registers["CTRL"] & 2 == 0):
        raise BenchError(
            f"irq came with STATUS 0 but without done (ISR {registers['ISR']:#x}, "
            f"CTRL {registers['CTRL']:#x})"
        )
    await host.write("ISR", registers["ISR"])
    await host.run(IDLE, 4)
    if host.dut.irq.value != 0:
        raise BenchError("irq stays high after ISR was cleared")
