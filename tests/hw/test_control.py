# amaranth: UnusedElaboratable=no
"""Registers, start and stop, faults, interrupt and counters."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from random import Random
from typing import Any

import pytest
from amaranth.sim import Simulator
from control_scenarios import initial_values, registers
from hypothesis import given, settings
from hypothesis import strategies as st
from streams import run

from tilewright.compiler.registers import ACTIVITY, REGISTERS, StreamFault, Unit, offset
from tilewright.compiler.target import Target
from tilewright.hw.control import CLEAR_CYCLES, COUNTERS, Control
from tilewright.hw.semaphore import Semaphore

TARGET = Target()
FAULTS: dict[str, Any] = {
    "illegal": 1,
    "finished": 1,
    "read_fault": {"error": 1, "response": 2, "address": 0x1111_0000},
    "write_fault": {"error": 1, "response": 3, "address": 0x2222_0000},
    "stream_fault": StreamFault.CHECKSUM,
}
"""What the units say of each fault."""
NOTHING = {
    fault: {"error": 0, "response": 0, "address": 0} for fault in ("read_fault", "write_fault")
}


class Host:
    """Accesses the register file in single cycles, and watches what it tells the units."""

    def __init__(self, ctx: Any, dut: Any) -> None:
        self.ctx, self.dut = ctx, dut

    async def write(self, name: str, value: int, strobe: int = 15) -> None:
        """Write a register; the write's effects are seen in the next cycle."""
        self.put(name, value, strobe)
        await self.ctx.tick()
        self.ctx.set(self.dut.write_enable, 0)

    def put(self, name: str, value: int, strobe: int = 15) -> None:
        """Offer a write for this cycle."""
        self.ctx.set(self.dut.write_enable, 1)
        self.ctx.set(self.dut.write_address, offset(name))
        self.ctx.set(self.dut.write_data, value)
        self.ctx.set(self.dut.write_strobe, strobe)

    def read(self, name: str) -> int:
        self.ctx.set(self.dut.read_address, offset(name))
        return int(self.ctx.get(self.dut.read_data))

    async def pulse(self, port: Any, value: int = 1) -> None:
        self.ctx.set(port, value)
        await self.ctx.tick()
        self.ctx.set(port, 0)

    def outputs(self) -> str:
        """Which of start, clear, halt and irq are set."""
        names = ("start", "clear", "halt", "irq")
        return " ".join(name for name in names if self.ctx.get(getattr(self.dut, name)))

    async def finish(self) -> None:
        """End the run; no burst is under way."""
        await self.pulse(self.dut.finished)
        await self.quieten()

    async def quieten(self) -> None:
        """No burst is under way any more; come to the cycle after the first of `clear`."""
        self.ctx.set(self.dut.quiet, 1)
        while self.read("CTRL") & 1:
            await self.ctx.tick()
        assert self.ctx.get(self.dut.clear)
        await self.ctx.tick()
        self.ctx.set(self.dut.quiet, 0)

    async def start(self) -> None:
        """Start a run, and come to its first cycle."""
        await self.write("CTRL", 1)
        await self.ctx.tick().until(self.dut.start)


def play(script: Callable[[Host], Any], target: Target = TARGET) -> None:
    dut = Control(target)

    async def bench(ctx: Any) -> None:
        await script(Host(ctx, dut))

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 1 << 32))
def test_the_host_reads_every_register_and_changes_only_writable_bytes(seed: int) -> None:
    run(registers(seed))


def test_registers_that_say_ro_keep_their_value() -> None:
    async def script(host: Host) -> None:
        values = initial_values(TARGET)
        for register in REGISTERS:
            if register.access == "ro":
                await host.write(register.name, 0xFFFFFFFF)
        assert {r.name: host.read(r.name) for r in REGISTERS} == values

    play(script)


def test_a_start_clears_the_units_and_then_starts_them() -> None:
    async def script(host: Host) -> None:
        assert host.read("CTRL") == 0b100
        host.put("CTRL", 1)
        seen = []
        while host.outputs() != "start":
            seen.append(host.outputs())
            await host.ctx.tick()
            host.ctx.set(host.dut.write_enable, 0)
            assert host.read("CTRL") == 0b001, "busy"
        cleared = seen.count("clear halt")
        assert seen == ["clear halt"] * cleared + ["halt"] + [""] * (len(seen) - cleared - 1)
        assert cleared >= CLEAR_CYCLES, "the clear has reached every unit"
        assert len(seen) - cleared >= CLEAR_CYCLES - 1, "and so has its end"
        await host.ctx.tick()
        assert host.outputs() == ""
        await host.finish()
        assert host.read("CTRL") == 0b110, "done and idle"
        await host.start()
        assert host.read("CTRL") == 0b001, "a start clears done"

    play(script)


@pytest.mark.parametrize(("value", "strobe"), [(0, 15), (1, 14), (2, 15), (0x11, 15)])
def test_other_writes_to_ctrl_do_not_start(value: int, strobe: int) -> None:
    async def script(host: Host) -> None:
        host.put("CTRL", value, strobe)
        assert host.outputs() == "clear halt"
        await host.ctx.tick()
        assert host.read("CTRL") == 0b100

    play(script)


def test_while_busy_neither_start_nor_configuration_is_taken() -> None:
    async def script(host: Host) -> None:
        await host.write("MEM_BASE", 0x1000)
        await host.start()
        await host.write("CTRL", 1)
        assert host.outputs() == ""
        await host.write("MEM_BASE", 0x2000)
        await host.write("COUNT", 7)
        assert host.read("MEM_BASE") == 0x1000
        assert host.read("COUNT") == 0
        await host.finish()
        assert host.outputs() == "clear halt", "the start while busy is not made up for"
        await host.write("MEM_BASE", 0x2000)
        assert host.read("MEM_BASE") == 0x2000

    play(script)


@pytest.mark.parametrize(
    ("faults", "status"),
    [
        (("illegal",), 1),
        (("read_fault",), 2),
        (("write_fault",), 3),
        (("stream_fault",), 5),
        (("stream_fault", "read_fault"), 2),
        (("illegal", "read_fault", "write_fault"), 1),
        (("read_fault", "write_fault"), 2),
        (("finished", "write_fault"), 3),
    ],
)
def test_a_fault_halts_until_the_bus_is_quiet_and_then_raises_error(
    faults: tuple[str, ...], status: int
) -> None:
    async def script(host: Host) -> None:
        await host.write("IER", 2)
        await host.write("GIE", 1)
        await host.start()
        for fault in faults:
            host.ctx.set(getattr(host.dut, fault), FAULTS[fault])
        host.ctx.set(host.dut.read_unit, Unit.WEIGHTS)
        host.ctx.set(host.dut.reason, 17)
        host.ctx.set(host.dut.number, 1234)
        host.ctx.set(host.dut.stream_number, 56)
        await host.ctx.tick()
        host.ctx.set(host.dut.finished, 0)
        await host.ctx.tick().repeat(2)
        for _ in range(5):
            assert host.outputs() == "halt"
            assert host.read("ISR") == 0
            await host.ctx.tick()
        host.ctx.set(host.dut.quiet, 1)
        await host.ctx.tick()
        assert host.outputs() == "halt"
        await host.ctx.tick()
        assert host.outputs() == "clear halt irq"
        await host.ctx.tick().repeat(20)
        assert host.outputs() == "clear halt irq", "until the next run"
        assert host.read("ISR") == 2
        assert host.read("STATUS") == status
        words = {1: (Unit.FETCH | 17 << 16, 1234)}
        words |= {2: (Unit.WEIGHTS | 2 << 8, 0x1111_0000), 3: (Unit.STORE | 3 << 8, 0x2222_0000)}
        words |= {5: (Unit.WEIGHTS | StreamFault.CHECKSUM << 16, 56)}
        assert (host.read("FAULT"), host.read("FAULT_ADDRESS")) == words[status]
        assert host.read("CTRL") == 0b100, "idle, not done"
        for fault in faults:  # the units have been cleared
            host.ctx.set(getattr(host.dut, fault), NOTHING.get(fault, 0))
        await host.write("ISR", 2)
        assert host.outputs() == "clear halt"
        await host.start()
        assert [host.read(name) for name in ("STATUS", "FAULT", "FAULT_ADDRESS")] == [0, 0, 0]

    play(script)


@pytest.mark.parametrize("wait", [0, 1, 5, 20, 2 * CLEAR_CYCLES, 2 * CLEAR_CYCLES + 5])
def test_a_soft_reset_ends_a_run_quietly_and_keeps_the_configuration(wait: int) -> None:
    """Also when it comes right behind the start."""

    async def script(host: Host) -> None:
        for name, value in (("IER", 3), ("GIE", 1), ("COUNT", 9), ("MEM_BASE", 0x5000)):
            await host.write(name, value)
        await host.write("CTRL", 1)
        for _ in range(wait):
            await host.ctx.tick()
        await host.write("CTRL", 0x10)
        await host.ctx.tick()
        for _ in range(3):
            assert "halt" in host.outputs()
            assert host.read("CTRL") == 1
            await host.ctx.tick()
        await host.quieten()
        assert host.outputs() == "clear halt"
        values = {name: host.read(name) for name in ("CTRL", "ISR", "STATUS", "COUNT", "MEM_BASE")}
        assert values == {"CTRL": 4, "ISR": 0, "STATUS": 0, "COUNT": 9, "MEM_BASE": 0x5000}

    play(script)


@pytest.mark.parametrize(("gie", "ier"), list(product((0, 1), range(4))))
def test_the_interrupt_is_gated_and_each_cause_is_cleared_alone(gie: int, ier: int) -> None:
    async def script(host: Host) -> None:
        await host.write("GIE", gie)
        await host.write("IER", ier)
        await host.start()
        await host.finish()
        await host.start()
        await host.pulse(host.dut.illegal)
        await host.quieten()
        pending = 3
        assert host.read("ISR") == pending
        for acknowledge in (0, 1, 2):
            await host.write("ISR", acknowledge)
            pending &= ~acknowledge
            assert host.read("ISR") == pending
            assert ("irq" in host.outputs()) == bool(gie and ier & pending)

    play(script)


def test_a_run_that_ends_waits_for_bursts_that_no_one_needed() -> None:
    async def script(host: Host) -> None:
        await host.start()
        await host.pulse(host.dut.finished)
        await host.ctx.tick().repeat(2)
        for _ in range(4):
            assert host.outputs() == "halt"
            assert (host.read("CTRL"), host.read("ISR")) == (1, 0)
            await host.ctx.tick()
        await host.quieten()
        assert (host.read("CTRL"), host.read("ISR")) == (0b110, 1)

    play(script)


@pytest.mark.parametrize("limit", [1, 5, 40])
def test_the_watchdog_ends_a_run_in_which_nothing_moves(limit: int) -> None:
    async def script(host: Host) -> None:
        host.ctx.set(host.dut.quiet, 1)
        await host.write("WATCHDOG", limit)
        await host.start()
        for _ in range(3):  # progress starts the count anew
            for _ in range(limit - 1):
                await host.ctx.tick()
                assert host.outputs() == ""
            await host.pulse(host.dut.progress)
        host.ctx.set(host.dut.activity, 0b101)
        waited = 0
        while host.outputs() == "":
            await host.ctx.tick()
            waited += 1
        assert limit <= waited <= limit + 4
        await host.ctx.tick().repeat(2)
        host.ctx.set(host.dut.activity, 0)
        assert [host.read(name) for name in ("STATUS", "CTRL", "ISR")] == [4, 4, 2]
        assert host.read("ACTIVITY") == 0b101, "what it was doing"
        await host.start()
        assert host.read("STATUS") == 0
        assert host.read("WATCHDOG") == limit

    play(script)


def test_without_a_limit_the_watchdog_is_off() -> None:
    async def script(host: Host) -> None:
        await host.start()
        for _ in range(200):
            await host.ctx.tick()
            assert host.outputs() == ""

    play(script)


@pytest.mark.parametrize("end", ["finished", "soft_reset", "write_fault", "nothing"])
def test_a_bus_that_never_answers_raises_the_interrupt_but_keeps_the_accelerator_busy(
    end: str,
) -> None:
    async def script(host: Host) -> None:
        for name, value in (("WATCHDOG", 20), ("IER", 3), ("GIE", 1)):
            await host.write(name, value)
        await host.start()
        if end == "soft_reset":
            await host.write("CTRL", 16)
        elif end == "finished":
            await host.pulse(host.dut.finished)
        elif end == "write_fault":
            host.ctx.set(host.dut.write_fault, FAULTS[end])
        for _ in range(60):
            await host.ctx.tick()
        status = 3 if end == "write_fault" else 4
        assert host.outputs() == "halt irq"
        assert [host.read(name) for name in ("STATUS", "CTRL", "ISR")] == [status, 1, 2]
        await host.write("ISR", 2)
        for _ in range(100):
            await host.ctx.tick()
            assert host.outputs() == "halt", "it is told once"
        await host.quieten()
        assert [host.read(name) for name in ("STATUS", "CTRL", "ISR")] == [status, 4, 0]

    play(script)


def test_activity_shows_what_goes_on_until_the_run_ends() -> None:
    async def script(host: Host) -> None:
        every = (1 << len(ACTIVITY)) - 1
        await host.start()
        host.ctx.set(host.dut.activity, every)
        await host.ctx.tick()
        assert host.read("ACTIVITY") == every
        host.ctx.set(host.dut.activity, 2)
        await host.finish()
        host.ctx.set(host.dut.activity, 1)
        await host.ctx.tick()
        assert host.read("ACTIVITY") == 2
        await host.start()
        assert host.read("ACTIVITY") == 0

    play(script)


def test_an_event_in_the_cycle_of_its_acknowledgement_is_not_lost() -> None:
    async def script(host: Host) -> None:
        await host.start()
        await host.pulse(host.dut.finished)
        host.ctx.set(host.dut.quiet, 1)
        await host.ctx.tick().repeat(3)
        host.put("ISR", 1)
        await host.ctx.tick()
        assert host.outputs() == "clear halt", "this was the last cycle"
        assert host.read("ISR") == 1

    play(script)


def test_counters_count_their_own_event_during_the_run_only() -> None:
    async def script(host: Host) -> None:
        random = Random(1)
        every = (1 << (len(COUNTERS) - 1)) - 1
        for _ in range(2):
            await host.pulse(host.dut.events, every)  # before the run
            host.ctx.set(host.dut.events, every)  # while it starts
            await host.start()
            expected = dict.fromkeys(COUNTERS, 0)
            length = random.randint(5, 30)
            for cycle in range(length):
                events = random.getrandbits(len(COUNTERS) - 1)
                assert host.ctx.get(host.dut.cycles) == cycle
                assert host.ctx.get(host.dut.busy_cycles) == expected["CALC_BUSY"]
                host.ctx.set(host.dut.finished, int(cycle == length - 1))
                host.ctx.set(host.dut.quiet, 1)
                await host.pulse(host.dut.events, events)
                expected["CYCLES"] += 1
                for bit, name in enumerate(COUNTERS[1:]):
                    expected[name] += events >> bit & 1
            host.ctx.set(host.dut.finished, 0)
            for _ in range(5):
                await host.pulse(host.dut.events, every)  # after it
            assert {name: host.read(name) for name in COUNTERS} == expected

    play(script)


def test_without_counters_only_cycles_are_counted() -> None:
    async def script(host: Host) -> None:
        await host.start()
        await host.pulse(host.dut.events, (1 << (len(COUNTERS) - 1)) - 1)
        await host.ctx.tick()
        shown = {name: host.read(name) for name in COUNTERS}
        assert shown == dict.fromkeys(COUNTERS, 0) | {"CYCLES": 2}

    play(script, Target(counters=False))


@pytest.mark.parametrize("edges", [1, 2])
def test_tokens_can_be_taken_from_the_cycle_after_they_were_given(edges: int) -> None:
    """As long as the count stands for a cycle, and two pass after tokens were taken.

    With short stages those of the last cycle cannot be taken yet.
    """
    target = Target(edge_registers=edges)
    dut = Semaphore(target)

    async def bench(ctx: Any) -> None:
        random = Random(3)
        tokens = new = 0
        for _ in range(60):
            ctx.set(dut.count, count := random.choice((0, 1, 2, 5)))
            take, cycle = False, 0
            while not take:
                known = cycle > 2
                there = tokens - (new if target.short_stages else 0) >= count
                assert not known or ctx.get(dut.enough) == there
                take = known and there and random.random() < 0.6
                ctx.set(dut.take, int(take))
                ctx.set(dut.give, give := random.randrange(2))
                await ctx.tick()
                tokens, new = tokens + give - (count if take else 0), give
                cycle += 1
            ctx.set(dut.take, 0)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()
