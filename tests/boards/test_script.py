# amaranth: UnusedElaboratable=no
"""What a board does at power-up: a script of requests to its own link, from block RAM or flash."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import Out, connect, flipped
from amaranth.sim import Simulator
from link_bench import Bench

from tilewright.boards.host.link import Link
from tilewright.boards.host.protocol import Command, Identity, Status, enframe
from tilewright.boards.link import script_player
from tilewright.boards.link.flash_reader import FlashReader
from tilewright.boards.link.script_rom import ScriptRom
from tilewright.boards.memory.flash_model import FlashModel
from tilewright.boards.script import Script
from tilewright.compiler.registers import offset

IDENTITY = Identity(
    board="bench", clock_hz=12_000_000, baud=3_000_000, data_bytes=4, payload=64, memory_bytes=4096
)


@pytest.fixture(autouse=True)
def little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Amaranth's simulator takes a minute for the million cycles that a board may take."""
    monkeypatch.setattr(script_player, "START_CYCLES", 1 << 8)
    monkeypatch.setattr(script_player, "PATIENCE", 1 << 14)


def scripted(content: bytes) -> tuple[Bench, Link]:
    """A link that has played `content`, and a host that has asked it who it is."""
    bench = Bench(IDENTITY, script=content)
    bench.run(script_player.START_CYCLES + 40 * len(content) + 1000)
    link = Link(bench, timeout_s=0.0001, gap_s=0.00001)
    assert link.identity == IDENTITY
    return bench, link


def writes(data: bytes = bytes(range(100))) -> Script:
    script = Script(IDENTITY)
    script.write_memory(0x30, data)
    script.write("COUNT", 7)
    return script


def test_the_script_is_done_and_its_success_is_in_each_answer():
    bench, link = scripted(writes().end())
    assert bytes(bench.memory[0x30:0x94]) == bytes(range(100))
    assert bench.registers == {offset("COUNT"): 7}
    assert link.status == Status.SELFTEST_DONE | Status.SELFTEST_PASSED


def test_without_a_script_the_link_is_the_hosts_and_no_test_was_done():
    _, link = scripted(b"\xff" * 8)
    assert link.status == 0


@pytest.mark.parametrize("what", ["answer", "request", "half"])
def test_a_wrong_answer_a_damaged_request_and_half_a_frame_fail_and_end_the_script(what):
    script = writes()
    script.ask(Command.READ_MEMORY, 0x30, 4, found=b"\0\1\2\3" if what != "answer" else b"wron")
    content = bytearray(script.end())
    if what == "request":
        content[12] ^= 1
    elif what == "half":
        content[-20:] = bytes(20)
    bench = Bench(IDENTITY, script=bytes(content))
    bench.run(script_player.START_CYCLES + script_player.PATIENCE + 40 * len(content))
    link = Link(bench, timeout_s=0.0001, gap_s=0.00001)
    assert link.identity == IDENTITY
    assert link.status == Status.SELFTEST_DONE


class _FromFlash(wiring.Component):
    """A reader and a flash."""

    o: Any

    def __init__(self, content: bytes, address: int) -> None:
        self._content, self._address = content, address
        super().__init__({"o": Out(stream.Signature(8))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.reader = reader = FlashReader(self._address)
        m.submodules.flash = flash = FlashModel(self._content, self._address)
        m.d.comb += [
            flash.cs.eq(reader.cs),
            flash.clk.eq(reader.clk),
            flash.copi.eq(reader.copi),
            reader.cipo.eq(flash.cipo),
        ]
        connect(m, reader.o, flipped(self.o))
        return m


@pytest.mark.parametrize("source", ["rom", "flash"])
def test_bytes_come_in_order_at_any_pace(source):
    content = enframe(bytes(range(40)))
    dut: Any = ScriptRom(content) if source == "rom" else _FromFlash(content, 0x30000)
    found = []

    async def take(ctx: Any) -> None:
        for number in range(len(content)):
            ctx.set(dut.o.ready, 0)
            await ctx.tick().repeat(number % 7 * 5 + 1)
            ctx.set(dut.o.ready, 1)
            (byte,) = await ctx.tick().sample(dut.o.p).until(dut.o.valid)
            found.append(byte)

    simulator = Simulator(dut)
    simulator.add_clock(1e-6)
    simulator.add_testbench(take)
    simulator.run_until(0.02)
    assert bytes(found) == content
