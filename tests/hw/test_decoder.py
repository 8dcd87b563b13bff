# amaranth: UnusedElaboratable=no
"""The weight decoder against compress/unstream.py: rows, symbol rates, and streams that are damaged."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from amaranth.hdl import ResetInserter, Signal, Value
from amaranth.sim import Simulator

from tilewright.compiler.registers import StreamFault
from tilewright.compiler.target import Target
from tilewright.compress.stream import Codes, choose_codes, encode_stream, offset_block, seal
from tilewright.compress.unstream import decode_stream, stream_lanes, unpack_codes
from tilewright.errors import TilewrightError
from tilewright.hw.decoder import WeightDecoder, decoded_row_layout

MOST_CYCLES = 1500
"""Cycles after which a run hangs."""

IntArray = npt.NDArray[np.int64]


@dataclass
class Run:
    """Parts (bytes, whether a block) to decode, how the bus and the array pause, what came out."""

    parts: Sequence[tuple[bytes, int]]
    offer: Callable[[], bool] = lambda: True
    take: Callable[[], bool] = lambda: True
    rows: list[tuple[list[int], int, int]] = field(default_factory=list)
    """Weights, offset, and cycle of each row."""
    fault: StreamFault = StreamFault.NONE

    @property
    def weights(self) -> IntArray:
        return np.array([row[0] for row in self.rows], np.int64)


def play(target: Target, runs: Sequence[Run]) -> None:
    """Simulate runs on one decoder, with a reset, which leaves memories as they are, after each."""
    reset = Signal()
    dut = WeightDecoder(target)
    layout, raw = decoded_row_layout(target), Value.cast(dut.o.p)

    def row(word: int, cycle: int) -> tuple[tuple[list[int], int, int], bool]:
        found = layout.from_bits(word)
        sign = 1 << target.weight_bits - 1
        weights = [(value ^ sign) - sign for value in found.weights]
        return (weights, found.offset, cycle), bool(found.last)

    async def part(ctx: Any, run: Run, data: bytes, block: int, cycle: int) -> int:
        """Feed a part until it is complete, or the decoder has stopped; returns the cycle then."""
        size, limit = target.bus_bytes, cycle + MOST_CYCLES
        data += bytes(-len(data) % size)
        left = [int.from_bytes(data[at : at + size], "little") for at in range(0, len(data), size)]
        ctx.set(dut.block, block)
        offered = done = False
        while left or not done:
            offered = bool(left) and (offered or run.offer())
            taking = run.take()
            ctx.set(dut.i.valid, int(offered))
            ctx.set(dut.o.ready, int(taking))
            if left:
                ctx.set(dut.i.p, {"data": left[0], "last": int(len(left) == 1)})
            if taking and ctx.get(dut.o.valid):
                found, done = row(ctx.get(raw), cycle)
                run.rows.append(found)
            done |= bool(block and ctx.get(dut.complete))
            if offered and ctx.get(dut.i.ready):
                left.pop(0)
                offered = False
            await ctx.tick()
            cycle += 1
            run.fault = StreamFault(ctx.get(dut.fault))
            if run.fault is not StreamFault.NONE:
                return cycle
            assert cycle < limit, f"{len(left)} beats left, {len(run.rows)} rows: it hangs"
        ctx.set(dut.i.valid, 0)
        return cycle

    async def bench(ctx: Any) -> None:
        for run in runs:
            cycle = 0
            for data, block in run.parts:
                cycle = await part(ctx, run, data, block, cycle)
            ctx.set(dut.i.valid, 0)
            ctx.set(reset, 1)
            await ctx.tick()
            ctx.set(reset, 0)

    simulator = Simulator(ResetInserter(reset)(dut))
    simulator.add_clock(1e-6)
    simulator.add_testbench(bench)
    simulator.run()


def sparse(seed: int, rows: int, cols: int, density: float, entries: int = 20) -> IntArray:
    """Rows of weights from a codebook of `entries` values."""
    rng = np.random.default_rng(seed)
    values = rng.choice(np.arange(1, 128), entries, replace=False) * rng.choice([-1, 1], entries)
    weights = np.where(rng.random((rows, cols)) < density, rng.choice(values, (rows, cols)), 0)
    weights[0, 0] = values[0]
    return weights.astype(np.int64)


@pytest.mark.parametrize(
    ("cols", "lanes", "bus", "bits", "density"),
    [(8, 4, 8, 8, 0.03), (6, 2, 2, 12, 0.2), (16, 4, 16, 8, 1)],
)
def test_rows_are_those_of_the_reference_whoever_pauses(
    cols: int, lanes: int, bus: int, bits: int, density: float
) -> None:
    target = Target(cols=cols, decoder_lanes=lanes, bus_bytes=bus, weight_bits=bits)
    streams = [sparse(lanes + rows, rows, cols, density) for rows in (1, 24)]
    codes = choose_codes(streams, lanes=lanes)
    block = codes.pack(1 if bits <= 8 else 2)
    offsets = np.random.default_rng(bus).integers(0, 1 << 16, 24)
    # With 8 words the longer one has several chunks.
    data = [encode_stream(part, codes, words=8) for part in streams]
    wanted = [
        decode_stream(unpack_codes(block), part, rows=len(weights), cols=cols)
        for part, weights in zip(data, streams, strict=True)
    ]
    parts = [(block, 1), (offset_block(offsets, lanes), 1), *((part, 0) for part in data)]
    chance = Random(cols)
    runs = [
        Run(parts),
        Run(parts, lambda: chance.random() < 0.5, lambda: chance.random() < 0.6),
    ]
    play(target, runs)
    for run in runs:
        assert run.fault is StreamFault.NONE
        np.testing.assert_array_equal(run.weights, np.concatenate(wanted))
        assert [row[1] for row in run.rows] == [offsets[0], *offsets]


def test_lanes_decode_a_symbol_a_cycle_and_the_array_gets_a_row_a_cycle() -> None:
    target = Target(cols=16, decoder_lanes=4, bus_bytes=16)
    runs = []
    for density in (1.0, 0.02):
        weights = sparse(1, 100, 16, density)
        codes = choose_codes([weights], lanes=4)
        runs.append(Run([(codes.pack(), 1), (encode_stream(weights, codes), 0)]))
    play(target, runs)
    # At full density each of a lane's four weights of a row takes a run and a value.
    for run, rate in zip(runs, (8, 1), strict=True):
        cycles = [row[2] for row in run.rows]
        # The first rows wait in the lanes, the last one for the checksum's round.
        assert (cycles[-2] - cycles[20]) / (len(cycles) - 22) == pytest.approx(rate, rel=0.05)


DAMAGED = Target(cols=8, decoder_lanes=2, bus_bytes=4)


@pytest.fixture(scope="module")
def sound() -> tuple[Codes, bytes, bytes]:
    """Codes, their block, and a stream of 30 rows in several chunks."""
    weights = sparse(5, 30, 8, 0.3)
    codes = choose_codes([weights], lanes=2)
    return codes, codes.pack(), encode_stream(weights, codes, words=12)


def flip(data: bytes, place: int) -> bytes:
    """The bytes with one bit changed."""
    result = bytearray(data)
    result[place // 8] ^= 1 << place % 8
    return bytes(result)


def test_damage_ends_with_a_fault_and_never_with_the_last_row(
    sound: tuple[Codes, bytes, bytes],
) -> None:
    codes, block, data = sound
    random = Random(5)
    bad = [flip(data, place) for place in random.sample(range(8 * len(data)), 16)]
    bad += [data[:-cut] for cut in (4, 8, len(data) // 8 * 4)]
    for part in bad:
        with pytest.raises(TilewrightError):
            decode_stream(codes, part, rows=30, cols=8)
    runs = [Run([(block, 1), (part, 0)], lambda: random.random() < 0.8) for part in bad]
    # Blocks that are damaged, or end too soon; and first of all a stream without codes.
    runs += [Run([(flip(block, 8 * place + 6), 1)]) for place in (0, 1, 2)]
    blocks = [flip(block, 200), block[:-4], offset_block(np.arange(9), 2)[:-8]]
    runs += [Run([(part, 1)]) for part in blocks]
    good = Run([(block, 1), (data, 0)])
    play(DAMAGED, [Run([(data, 0)]), *runs, good])
    for run in runs:
        assert run.fault is not StreamFault.NONE and len(run.rows) < 30
    assert [run.fault for run in runs[-6:-3]] == [StreamFault.HEADER] * 3
    faults = [run.fault for run in runs[-3:]]
    assert faults == [StreamFault.CHECKSUM, StreamFault.TRUNCATED, StreamFault.TRUNCATED]
    assert {run.fault for run in runs} > {StreamFault.CHECKSUM, StreamFault.TRUNCATED}
    assert good.fault is StreamFault.NONE and len(good.rows) == 30


def test_what_is_wrong_under_a_right_checksum_ends_as_in_the_reference(
    sound: tuple[Codes, bytes, bytes],
) -> None:
    codes, block, data = sound
    random = Random(7)
    runs: list[Run] = []
    wanted: list[IntArray | None] = []
    for _ in range(24):
        place = random.choice((random.randrange(32), random.randrange(400)))
        part = seal(flip(data[:-4], place), 2)
        try:
            rows = sum(count for count, _ in stream_lanes(codes, part))
            wanted.append(decode_stream(codes, part, rows=rows, cols=8))
        except TilewrightError:
            wanted.append(None)
        runs.append(Run([(block, 1), (part, 0)]))
    play(DAMAGED, runs)
    for run, weights in zip(runs, wanted, strict=True):
        assert (run.fault is StreamFault.NONE) == (weights is not None)
        if weights is not None:
            np.testing.assert_array_equal(run.weights, weights)
    assert {run.fault for run in runs} >= {StreamFault.NONE, StreamFault.NO_CODE}
