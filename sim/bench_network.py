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

from tilewright.compiler.capabilities import check_accelerator
from tilewright.compiler.faults import DIAGNOSTIC, describe_activity
from tilewright.compiler.fit import IDENTITY
from tilewright.compiler.registers import REGISTERS, Control, offset
from tilewright.compiler.target import Target

RESET, WRITE, READ, WAIT, FILL, LOAD, DUMP, IDLE = range(1, 9)
PROGRESS = "@tilewright "
"""What begins a line that tells the parent process about a finished inference."""


_SHORT = 100_000
_COUNTERS = [r.name for r in REGISTERS if r.offset >= offset("CYCLES")]


class BenchError(Exception):
    """The test bench saw something that must not be."""


class BenchTimeout(BenchError):
    """A command took more cycles than it may."""


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
            kind = BenchTimeout if dut.timed_out.value == 1 else BenchError
            raise kind(f"{text} ({place})")
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
        configured = False
        for inference in job["inferences"]:
            result = await _infer(host, job, inference, configured)
            results.append(result)
            configured = result["registers"]["STATUS"] != 0
            if configured:
                await _recover(host, job)
            print(PROGRESS + json.dumps({"job": number, "cycles": result["elapsed"]}), flush=True)
            if job["status"] not in (None, result["registers"]["STATUS"]):
                break
    scratch = path.with_name("result.tmp")
    scratch.write_text(json.dumps({"complete": True, "results": results}))
    scratch.rename(path.with_name("result.json"))


async def _check_identity(host: Host, job: dict[str, Any]) -> None:
    """The hardware must be what the program was compiled for."""
    words = {name: await host.read(name) for name in IDENTITY}
    check_accelerator(Target(**job["target"]), words.__getitem__)


async def _expect(host: Host, wanted: dict[str, int], when: str) -> None:
    """Registers must have these values."""
    for register, value in wanted.items():
        found = await host.read(register)
        if found != value:
            raise BenchError(f"register {register} is {found:#010x}, not {value:#010x}{when}")


async def _infer(
    host: Host, job: dict[str, Any], inference: dict[str, Any], configured: bool
) -> dict[str, Any]:
    """Fill memory, start the accelerator as a driver would, wait, read back.

    `configured`: the registers must still hold the configuration.
    """
    dut = host.dut
    await _fill(host, inference)
    if not configured:
        await _configure(host, job)
    beats = await _start(host)
    if job["disturb"] is not None:
        beats = await _disturb(host, job, inference, beats)
    await _wait_until_irq(host, job["max_cycles"])
    elapsed = int(dut.elapsed.value)
    registers = {name: await host.read(name) for name in (*DIAGNOSTIC, "ISR", "CTRL")}
    await _clear_interrupt(host, registers)
    for name in _COUNTERS:
        registers[name] = await host.read(name)
    for first, beats_read, file in inference["dumps"]:
        await host.run(DUMP, first, beats_read, file)
    return {
        "registers": registers,
        "elapsed": elapsed,
        "read_beats": (int(dut.read_beats.value) - beats[0]) % 2**32,
        "write_beats": (int(dut.write_beats.value) - beats[1]) % 2**32,
    }


async def _fill(host: Host, inference: dict[str, Any]) -> None:
    for first, beats, value in inference["fills"]:
        await host.run(FILL, first, beats, value)
    for first, beats, file in inference["loads"]:
        await host.run(LOAD, first, beats, file)


async def _configure(host: Host, job: dict[str, Any]) -> None:
    for register, value in job["registers"].items():
        await host.write(register, value)


async def _start(host: Host) -> tuple[int, int]:
    """Start a run; returns how many beats memory has read and written before."""
    beats = int(host.dut.read_beats.value), int(host.dut.write_beats.value)
    await host.write("CTRL", Control.START)
    return beats


async def _disturb(
    host: Host, job: dict[str, Any], inference: dict[str, Any], beats: tuple[int, int]
) -> tuple[int, int]:
    """Disturb the run that has just been started; what `_start` returned for the run that goes on.

    After a reset, soft or hard, that is another run.
    """
    cycles, kind = job["disturb"]["after_cycles"], job["disturb"]["kind"]
    await host.run(IDLE, cycles, limit=cycles + _SHORT)
    _still_running(host, cycles)
    if kind == "start":
        await host.write("CTRL", Control.START)
        _still_running(host, cycles)
        return beats
    if kind == "soft_reset":
        await host.write("CTRL", Control.SOFT_RESET)
        await _wait_until_idle(host)
        await _check_stopped(host, job)
    else:
        await host.run(RESET, 8)
        await _check_identity(host, job)
        await _expect(host, dict.fromkeys(job["registers"], 0), " after a reset")
    await _fill(host, inference)
    if kind == "reset":
        await _configure(host, job)
    return await _start(host)


async def _wait_until_irq(host: Host, limit: int) -> None:
    try:
        await host.run(WAIT, limit=limit)
    except BenchTimeout as error:
        names = ("ACTIVITY", "CTRL", "CYCLES", "CALC_BUSY", "READ_BEATS", "WRITE_BEATS")
        words = {name: await host.read(name) for name in names}
        counters = ", ".join(f"{name} {words[name]}" for name in names[1:])
        doing = describe_activity(words["ACTIVITY"])
        raise BenchError(f"{error} without an interrupt: {doing} ({counters})") from None


def _still_running(host: Host, cycles: int) -> None:
    if host.dut.irq.value != 0:
        raise BenchError(f"the run was over before it could be disturbed after {cycles} cycles")


async def _wait_until_idle(host: Host) -> None:
    for _ in range(_SHORT):
        if await host.read("CTRL") & Control.IDLE:
            return
    raise BenchError("the accelerator does not become idle after a soft reset")


async def _recover(host: Host, job: dict[str, Any]) -> None:
    """After a fault: a soft reset leaves an idle accelerator with its configuration."""
    await host.write("CTRL", Control.SOFT_RESET)
    await _wait_until_idle(host)
    await _expect(host, {**job["registers"], "ISR": 0, "CTRL": Control.IDLE}, " after a fault")


async def _check_stopped(host: Host, job: dict[str, Any]) -> None:
    """A run that a soft reset stopped is not done, did not fail, and leaves the registers."""
    if host.dut.irq.value != 0:
        raise BenchError("irq rose at a soft reset")
    kept = {**job["registers"], "ISR": 0, "STATUS": 0, "CTRL": Control.IDLE}
    await _expect(host, kept, " after a soft reset")


async def _clear_interrupt(host: Host, registers: dict[str, int]) -> None:
    status, raised, control = (registers[name] for name in ("STATUS", "ISR", "CTRL"))
    if status == 0 and (raised & 1 == 0 or control & Control.DONE == 0):
        raise BenchError(
            f"irq came with STATUS 0 but without done (ISR {raised:#x}, CTRL {control:#x})"
        )
    if status != 0 and (raised != 2 or control & Control.DONE):
        raise BenchError(
            f"irq came with STATUS {status} but not as an error alone "
            f"(ISR {raised:#x}, CTRL {control:#x})"
        )
    await host.write("ISR", registers["ISR"])
    await host.run(IDLE, 4)
    if host.dut.irq.value != 0:
        raise BenchError("irq stays high after ISR was cleared")
