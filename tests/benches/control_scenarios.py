"""Scenarios of the register bus: the AXI4-Lite slave in front of the register file."""

from __future__ import annotations

from random import Random
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from bus_scenarios import CHANCES
from streams import Agent, Scenario, Sink, Source

from tilewright.compiler.capabilities import program_fingerprint
from tilewright.compiler.registers import REGISTERS, offset
from tilewright.compiler.target import Target
from tilewright.hw.axilite import REGISTER_ADDRESS_BITS, AxiLiteSlave
from tilewright.hw.control import Control

__all__ = ["Registers", "initial_values", "registers"]

WRITABLE = {"MEM_BASE": 0xFFFFF000, "INSTRUCTIONS": 0xFFFFFFFF, "COUNT": 0xFFFFFFFF}
WRITABLE |= {"WATCHDOG": 0xFFFFFF}
"""Registers that hold what is written, and which of their bits do."""


class Registers(wiring.Component):
    """The slave and the register file, wired as in the accelerator; no unit behind them."""

    def __init__(self, target: Target) -> None:
        self._target = target
        address, word = stream.Signature(REGISTER_ADDRESS_BITS), stream.Signature(32)
        super().__init__(
            {
                "aw": In(address),
                "w": In(word),
                "w_strobe": In(4),
                "b": Out(stream.Signature(2)),
                "ar": In(address),
                "r": Out(word),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slave = slave = AxiLiteSlave()
        m.submodules.control = control = Control(self._target)
        for name in ("aw", "w", "ar"):
            connect(m, flipped(getattr(self, name)), getattr(slave, name))
        for name in ("b", "r"):
            connect(m, getattr(slave, name), flipped(getattr(self, name)))
        m.d.comb += [
            slave.w_strobe.eq(self.w_strobe),
            control.write_enable.eq(slave.write_enable),
            control.write_address.eq(slave.write_address),
            control.write_data.eq(slave.write_data),
            control.write_strobe.eq(slave.write_strobe),
            control.read_address.eq(slave.read_address),
            slave.read_data.eq(control.read_data),
        ]
        return m


def initial_values(target: Target) -> dict[str, int]:
    """What every register reads after reset."""
    values = {register.name: 0 for register in REGISTERS}
    return values | {
        "CTRL": 0b100,
        "ID": int.from_bytes(b"TWG1", "big"),
        "VERSION": 0x000400,
        "ARRAY": target.cols << 16 | target.rows,
        "WIDTHS": int.from_bytes(
            bytes((target.bus_bytes, target.acc_bits, target.weight_bits, target.act_bits)), "big"
        ),
        "DEPTHS": (target.acc_depth - 1) << 16 | (target.act_depth - 1),
        "FINGERPRINT": program_fingerprint(target),
        "FEATURES": target.decoder_lanes << 24
        | target.address_bits << 16
        | target.pack_pixels << 8
        | int(target.leaky),
    }


class Writes(Agent):
    """Addresses and data of writes, each channel at its own pace; strobes go with the data."""

    def __init__(self, dut: Any, random: Random) -> None:
        self.dut = dut
        self.addresses = Source(dut.aw, chance=random.choice(CHANCES), random=random)
        self.data = Source(dut.w, chance=random.choice(CHANCES), random=random)
        self.strobes: list[int] = []

    def put(self, address: int, value: int, strobe: int) -> None:
        self.addresses.items.append(address)
        self.data.items.append(value)
        self.strobes.append(strobe)

    def drive(self, ctx: Any, cycle: int) -> None:
        self.addresses.drive(ctx, cycle)
        self.data.drive(ctx, cycle)
        taken = len(self.data.cycles)
        ctx.set(self.dut.w_strobe, self.strobes[taken] if taken < len(self.strobes) else 0)

    def sample(self, ctx: Any, cycle: int) -> None:
        self.addresses.sample(ctx, cycle)
        self.data.sample(ctx, cycle)


def registers(seed: int) -> Scenario:
    """Writes with any strobes, to any register, then reads: only writable bytes have changed.

    Reads go out between the writes, too; every access gets one response.
    """
    random = Random(seed)
    target = Target(rows=3, cols=5, act_bits=7, acc_depth=512)
    dut = Registers(target)
    values = initial_values(target)
    writes, count = Writes(dut, random), 30
    for _ in range(count):
        name = random.choice([r.name for r in REGISTERS if r.name not in ("CTRL", "ISR")])
        value, strobe = random.getrandbits(32), random.randrange(16)
        writes.put(offset(name), value, strobe)
        if name in WRITABLE:
            mask = sum(255 << (8 * byte) for byte in range(4) if strobe >> byte & 1)
            mask &= WRITABLE[name]
            values[name] = values[name] & ~mask | value & mask
        elif name in ("GIE", "IER") and strobe & 1:
            values[name] = value & {"GIE": 1, "IER": 3}[name]
    early = 10
    reads = Source(dut.ar, chance=random.choice(CHANCES), random=random)
    reads.items += [offset("ID")] * early
    answers = Sink(dut.r, chance=random.choice(CHANCES), random=random)
    responses = Sink(dut.b, chance=random.choice(CHANCES), random=random)
    hole = 0xFFC
    final = [register.offset for register in REGISTERS] + [hole]
    asked: list[bool] = []

    class ThenRead(Agent):
        """Reads everything back once all writes are answered."""

        def drive(self, ctx: Any, cycle: int) -> None:
            if len(responses.got) == count and not asked:
                asked.append(True)
                reads.items += final

    def check() -> None:
        assert responses.got == [0] * count
        assert answers.got[:early] == [values["ID"]] * early
        names = [register.name for register in REGISTERS]
        found = dict(zip(names, answers.got[early:-1], strict=True))
        assert found == values
        assert answers.got[-1] == 0, "an address without register reads 0"

    return Scenario(
        dut=dut,
        agents=[ThenRead(), writes, reads, answers, responses],
        done=lambda: len(answers.got) >= early + len(final),
        check=check,
    )
