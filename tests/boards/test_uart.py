# amaranth: UnusedElaboratable=no
"""The UART at any ratio of clock and baud rate, at the edge of what it must bear."""

from __future__ import annotations

from typing import Any

import pytest
from amaranth.hdl import Module
from amaranth.lib import wiring
from amaranth.sim import Simulator

from tilewright.boards.link.baud import BaudRate
from tilewright.boards.link.receiver import UartReceiver
from tilewright.boards.link.transmitter import UartTransmitter

CYCLE_S = 1e-6
RATES = [(48, 12), (50, 12), (50, 3), (25, 3), (12, 1), (100, 7)]
BYTES = [0x00, 0xFF, 0x55, 0x80, 0x7E, 0x01]


def received(rate: BaudRate, levels: list[tuple[int, float]]) -> list[tuple[int, int]]:
    """(byte, error) that a receiver sees on a line of (level, how many bits long)."""
    dut = UartReceiver(rate)
    got: list[tuple[int, int]] = []
    bit_s = rate.clock_hz / rate.baud * CYCLE_S

    async def line(ctx: Any) -> None:
        await ctx.delay(3.3 * CYCLE_S)
        for level, bits in levels:
            ctx.set(dut.rx, level)
            await ctx.delay(bits * bit_s)
        ctx.set(dut.rx, 1)
        await ctx.delay(3 * bit_s + 10 * CYCLE_S)

    async def watch(ctx: Any) -> None:
        async for _, _, valid, data, error in ctx.tick().sample(dut.valid, dut.data, dut.error):
            if valid:
                got.append((data, error))

    simulator = Simulator(dut)
    simulator.add_clock(CYCLE_S)
    simulator.add_testbench(line)
    simulator.add_process(watch)
    simulator.run()
    return got


def line_of(data: list[int], bit: float = 1.0) -> list[tuple[int, float]]:
    """Bytes right behind each other, each bit `bit` bits long."""
    return [
        (level, bit)
        for byte in data
        for level in (0, *(byte >> place & 1 for place in range(8)), 1)
    ]


@pytest.mark.parametrize("megahertz, megabaud", RATES)
@pytest.mark.parametrize("drift", [-0.02, 0.02])
def test_bytes_back_to_back_are_received_whatever_the_ratio(
    megahertz: int, megabaud: int, drift: float
) -> None:
    rate = BaudRate(clock_hz=megahertz * 1_000_000, baud=megabaud * 1_000_000)
    assert received(rate, line_of(BYTES, 1 + drift)) == [(byte, 0) for byte in BYTES]


@pytest.mark.parametrize("drift", [-0.04, 0.04])
def test_at_many_cycles_a_bit_the_sender_may_be_4_percent_off(drift: float) -> None:
    rate = BaudRate(clock_hz=25, baud=1)
    assert received(rate, line_of(BYTES, 1 + drift)) == [(byte, 0) for byte in BYTES]


def test_a_missing_stop_bit_is_an_error() -> None:
    rate = BaudRate(clock_hz=8, baud=1)
    assert received(rate, [(0, 1), (1, 8), (0, 1), (1, 2), *line_of([0x42])]) == [
        (0xFF, 1),
        (0x42, 0),
    ]


def test_a_line_that_stays_down_gives_one_error_and_then_nothing() -> None:
    rate = BaudRate(clock_hz=8, baud=1)
    assert received(rate, [(0, 100), (1, 1), *line_of([0x42])]) == [(0, 1), (0x42, 0)]


@pytest.mark.parametrize("bits", [0.1, 0.3])
def test_a_glitch_is_no_start_bit(bits: float) -> None:
    rate = BaudRate(clock_hz=16, baud=1)
    glitch = [(0, bits), (1, 1 - bits)]
    assert received(rate, [*glitch, *line_of([0x42])]) == [(0x42, 0)]


def test_a_glitch_of_a_cycle_within_a_bit_is_not_seen() -> None:
    rate = BaudRate(clock_hz=16, baud=1)
    middle = [(0, 1), (0, 0.5), (1, 0.06), (0, 0.44), *[(0, 1)] * 7, (1, 1)]
    assert received(rate, middle) == [(0, 0)]


class Loop(wiring.Component):
    """A transmitter whose line is a receiver's, of another rate."""

    def __init__(self, sends: BaudRate, hears: BaudRate) -> None:
        self.sender, self.receiver = UartTransmitter(sends), UartReceiver(hears)
        super().__init__({})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules += [self.sender, self.receiver]
        m.d.comb += self.receiver.rx.eq(self.sender.tx)
        return m


@pytest.mark.parametrize("megahertz, megabaud", RATES)
@pytest.mark.parametrize("faster", [0.98, 1.02])
def test_what_is_sent_is_received_and_takes_ten_bits_a_byte(
    megahertz: int, megabaud: int, faster: float
) -> None:
    baud = megabaud * 1_000_000
    sends = BaudRate(clock_hz=megahertz * 1_000_000, baud=baud)
    clock_hz = max(round(megahertz * 1_000_000 * faster), 4 * baud)
    dut = Loop(sends, BaudRate(clock_hz=clock_hz, baud=baud))
    got: list[int] = []
    taken: list[int] = []

    async def send(ctx: Any) -> None:
        port = dut.sender.i
        ctx.set(port.valid, 1)
        for byte in [*BYTES, 0]:
            ctx.set(port.p, byte)
            while not ctx.get(port.ready):
                await ctx.tick()
                taken[-1] += 1
            taken.append(1)
            await ctx.tick()
        for _ in range(8):
            await ctx.tick()

    async def watch(ctx: Any) -> None:
        port = dut.receiver
        async for _, _, valid, data, error in ctx.tick().sample(port.valid, port.data, port.error):
            if valid:
                assert not error
                got.append(data)

    simulator = Simulator(dut)
    simulator.add_clock(CYCLE_S)
    simulator.add_testbench(send)
    simulator.add_process(watch)
    simulator.run()
    assert got == BYTES
    ten_bits = 10 * megahertz / megabaud
    assert all(ten_bits - 1 < cycles <= ten_bits + 2 for cycles in taken[:-1])


@pytest.mark.parametrize("clock_hz", [12_000_000, 50_000_000, 100_000_000])
@pytest.mark.parametrize("baud", [9600, 115_200, 921_600, 3_000_000])
def test_rates_are_right_to_a_fifth_of_a_percent(clock_hz: int, baud: int) -> None:
    rate = BaudRate(clock_hz=clock_hz, baud=baud)
    assert rate.step * clock_hz / 2**rate.bits == pytest.approx(baud, rel=0.002)


def test_fewer_than_four_cycles_a_bit_are_refused() -> None:
    BaudRate(clock_hz=12_000_000, baud=3_000_000)
    with pytest.raises(ValueError, match=r"^Baud rate must be in 367\.\.3000000 at a clock of "):
        BaudRate(clock_hz=12_000_000, baud=3_000_001)
