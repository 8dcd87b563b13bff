"""The link's RTL in Amaranth's simulator, as a line for the host's driver.

The bench has a memory, registers and a UART as the board's bridge has it; the driver runs in the
test's thread, and every read of it lets the simulation go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from random import Random
from typing import Any

from amaranth.hdl import Module
from amaranth.lib.wiring import connect
from amaranth.sim import Simulator

from tilewright.boards.host.protocol import Identity
from tilewright.boards.link import HostLink
from tilewright.boards.link.script_rom import ScriptRom

__all__ = ["Bench"]

_CYCLE_S = 1e-6
"""Of the simulator's time; how fast the clock really is does not matter."""


class Bench:
    """A `HostLink` with memory and registers behind it, and a transport in front.

    Attributes
    ----------
    memory, registers : what stands there; register accesses are listed in `accesses`
    faults : addresses that answer with an error: SLVERR from memory, DECERR from a register
    mute : addresses of memory that are not answered as long as they are here
    irq : the interrupt's level

    With a `script`, that is played at power-up.
    """

    name = "the simulated line"

    def __init__(
        self,
        identity: Identity,
        *,
        noise: Callable[[bytes], bytes] = lambda data: data,
        seed: int = 0,
        latency: int = 0,
        drift: float = 0.0,
        script: bytes = b"",
    ) -> None:
        self.identity = identity
        self.dut = HostLink(identity, scripted=bool(script))
        self.noise, self.random, self.latency = noise, Random(seed), latency
        self.memory = bytearray(self.random.randbytes(identity.memory_bytes))
        self.registers: dict[int, int] = {}
        self.accesses: list[tuple[str, int, int]] = []
        self.faults: set[int] = set()
        self.mute: set[int] = set()
        self.bursts: list[tuple[str, int]] = []
        self.irq = 0
        self.sent: deque[int] = deque()
        self.arrived = bytearray()
        self.cycles = 0
        self.bit_s = identity.clock_hz / identity.baud * _CYCLE_S * (1 + drift)
        self._simulator = Simulator(_scripted(self.dut, script) if script else self.dut)
        self._simulator.add_clock(_CYCLE_S)
        for process in (self._sender, self._receiver, self._memory_bus, self._register_bus):
            self._simulator.add_testbench(process, background=True)

    def write(self, data: bytes) -> None:
        self.sent.extend(self.noise(data))

    def read(self, timeout: float) -> bytes:
        """Bytes that arrive within `timeout` seconds of the board's clock, behind what is sent."""
        limit = int(timeout * self.identity.clock_hz)
        while not self.arrived and limit > 0:
            limit -= 0 if self.sent else 50
            self.run(50)
        found, self.arrived = bytes(self.arrived), bytearray()
        return found

    def discard(self) -> None:
        self.arrived.clear()

    def run(self, cycles: int) -> None:
        """Let the board go on by itself."""
        self.cycles += cycles
        self._simulator.run_until(self.cycles * _CYCLE_S)

    def drive_line(self, value: int) -> None:
        """Hold the line for one bit from now on, instead of what is to be sent."""
        self.sent.append(-1 - value)

    async def _sender(self, ctx: Any) -> None:
        while True:
            ctx.set(self.dut.irq, self.irq)
            if not self.sent:
                await ctx.delay(8 * _CYCLE_S)
                continue
            byte = self.sent.popleft()
            bits = [-1 - byte] if byte < 0 else [0, *(byte >> n & 1 for n in range(8)), 1]
            for level in bits:
                ctx.set(self.dut.rx, level)
                await ctx.delay(self.bit_s)

    async def _receiver(self, ctx: Any) -> None:
        while True:
            await ctx.negedge(self.dut.tx)
            await ctx.delay(self.bit_s / 2)
            value = 0
            for n in range(9):
                await ctx.delay(self.bit_s)
                value |= ctx.get(self.dut.tx) << n
            if value >> 8:  # a stop bit
                self.arrived += self.noise(bytes((value & 255,)))

    async def _pause(self, ctx: Any) -> None:
        if pause := self.random.randrange(self.latency + 1):
            await ctx.delay(pause * _CYCLE_S)

    async def _unmuted(self, ctx: Any, address: int) -> None:
        while address in self.mute:
            await ctx.delay(8 * _CYCLE_S)

    async def _accept(self, ctx: Any, bus: Any, channel: str, *fields: str) -> list[int]:
        """Values of a channel when it is taken, after a pause."""
        valid, ready = getattr(bus, f"{channel}valid"), getattr(bus, f"{channel}ready")
        if not ctx.get(valid):
            await ctx.posedge(valid)
        await self._pause(ctx)
        ctx.set(ready, 1)
        values = [ctx.get(getattr(bus, channel + field)) for field in fields]
        assert ctx.get(valid)
        await ctx.tick()
        ctx.set(ready, 0)
        return values

    async def _answer(self, ctx: Any, bus: Any, channel: str, **values: int) -> None:
        await self._pause(ctx)
        valid, ready = getattr(bus, f"{channel}valid"), getattr(bus, f"{channel}ready")
        for field, value in values.items():
            ctx.set(getattr(bus, channel + field), value)
        ctx.set(valid, 1)
        while True:
            taken = ctx.get(ready)
            await ctx.tick()
            if taken:
                break
        ctx.set(valid, 0)

    async def _memory_bus(self, ctx: Any) -> None:
        bus, size = self.dut.memory, self.identity.data_bytes
        while True:
            if ctx.get(bus.arvalid):
                (address,) = await self._accept(ctx, bus, "ar", "addr")
                at = address - self.identity.memory_base
                value = int.from_bytes(self.memory[at : at + size], "little")
                self.bursts.append(("read", address))
                resp = 2 * (address in self.faults)
                await self._unmuted(ctx, address)
                await self._answer(ctx, bus, "r", data=value, resp=resp, last=1)
            elif ctx.get(bus.awvalid):
                (address,) = await self._accept(ctx, bus, "aw", "addr")
                value, strobe, last = await self._accept(ctx, bus, "w", "data", "strb", "last")
                assert (strobe, last) == ((1 << size) - 1, 1)
                at = address - self.identity.memory_base
                self.memory[at : at + size] = value.to_bytes(size, "little")
                self.bursts.append(("write", address))
                await self._unmuted(ctx, address)
                await self._answer(ctx, bus, "b", resp=2 * (address in self.faults))
            else:
                await ctx.changed(bus.arvalid, bus.awvalid)

    async def _register_bus(self, ctx: Any) -> None:
        bus = self.dut.registers
        while True:
            if ctx.get(bus.arvalid):
                (address,) = await self._accept(ctx, bus, "ar", "addr")
                value = self.registers.get(address, 0)
                self.accesses.append(("read", address, value))
                await self._answer(ctx, bus, "r", data=value, resp=3 * (address in self.faults))
            elif ctx.get(bus.awvalid):
                value, _ = await self._accept(ctx, bus, "w", "data", "strb")
                (address,) = await self._accept(ctx, bus, "aw", "addr")
                self.registers[address] = value
                self.accesses.append(("write", address, value))
                await self._answer(ctx, bus, "b", resp=3 * (address in self.faults))
            else:
                await ctx.changed(bus.arvalid, bus.awvalid)


def _scripted(link: HostLink, script: bytes) -> Module:
    """The link, and a ROM that gives it its script."""
    m = Module()
    m.submodules.link = link
    m.submodules.rom = rom = ScriptRom(script)
    connect(m, rom.o, link.script)
    return m
