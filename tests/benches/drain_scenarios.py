"""Scenarios of the parts of STORE: the walk over windows, rows, lanes and stamps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Any

from array_scenarios import edge_or_random
from bus_scenarios import CHANCES
from feed_scenarios import BUSES, instruction
from streams import Agent, Collector, Drive, Scenario, Sink, Source, Watch

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.drain import DrainWalker
from tilewright.hw.lanes import LanePacker
from tilewright.hw.row_transfers import RowTransfers
from tilewright.hw.stamp_source import StampSource

__all__ = [
    "drain",
    "lane_move",
    "lane_source",
    "lanes",
    "pack_rows",
    "random_packing_target",
    "rows",
    "stamp",
    "store_job",
    "unpack_beats",
    "windows",
]


def windows(job: dict[str, int]) -> Iterator[tuple[list[int], bool, bool]]:
    """Accumulators of each output pixel's window; last pixel of its row; last of all.

    A packed pixel's is the first one of its block.
    """
    block = (1 << job["pack"]) // 2 or 1
    for y in range(job["rows"]):
        for x in range(job["cols"]):
            base = job["acc_base"] + y * job["acc_row_step"] + x // block * job["acc_col_step"]
            window = [
                base + wy * job["win_row_step"] + wx
                for wy in range(job["win_rows"])
                for wx in range(job["win_cols"])
            ]
            last = x == job["cols"] - 1
            yield window, last, last and y == job["rows"] - 1


def lane_source(job: dict[str, int], x: int, lane: int, target: Target) -> tuple[int, int]:
    """Column, and accumulator after the window's, from which lane `lane` of pixel x comes."""
    pixels = 1 << job["pack"]
    if pixels == 1:
        return lane, 0
    group, place = divmod(lane, target.cols // pixels)
    phase = job["phase"] + x % (pixels // 2)
    return (group + phase) % pixels * (target.cols // pixels) + place, group


def store_job(random: Random, target: Target, **wanted: int) -> dict[str, int]:
    """A random STORE whose windows stay inside the accumulators, packed if the target can."""
    while True:
        pixels = random.choice((1, *target.packs))
        win_rows, win_cols = random.choice((1, 1, 2, 3)), random.choice((1, 1, 2, 3))
        if pixels > 1:
            win_rows = win_cols = 1
        job = instruction(
            Opcode.STORE,
            half=random.randrange(2),
            rows=random.randint(1, 3),
            cols=random.randint(1, 5),
            acc_base=random.randrange(target.acc_depth // pixels) * pixels,
            acc_row_step=random.randrange(12 if pixels == 1 else 3) * pixels,
            acc_col_step=random.randrange(4 if pixels == 1 else 3) * pixels,
            pack=pixels.bit_length() - 1,
            phase=random.choice((0, pixels // 2)),
            win_rows=win_rows,
            win_cols=win_cols,
            win_row_step=random.randrange(10),
            pool_sum=random.randrange(2),
        )
        job |= wanted
        if max(max(window) for window, _, _ in windows(job)) < target.acc_depth:
            return job


def drain(seed: int) -> Scenario:
    """Every accumulator of every window, in order, with its marks and its rotation."""
    random = Random(seed)
    side = random.choice((4, 12, 16))
    target = Target(
        acc_depth=64,
        rows=side,
        cols=side,
        pack_pixels=random.choice((1, 4, 8)),
        edge_registers=random.choice((0, 2)),
    )
    dut = DrainWalker(target)
    jobs = [store_job(random, target) for _ in range(4)]
    expected = [
        {
            **asked(job, pixel % job["cols"], address, target),
            "first": int(n == 0),
            "last": int(n == len(window) - 1),
            "tag": row_end + 2 * end,
        }
        for job in jobs
        for pixel, (window, row_end, end) in enumerate(windows(job))
        for n, address in enumerate(window)
    ]
    sink, chance = Collector(dut.o), random.choice(CHANCES)
    starter = Starter(dut, jobs)
    windows_done: list[int] = []

    def check() -> None:
        assert sink.got == expected
        assert sum(windows_done) == sum(item["last"] for item in expected)
        assert not starter.busy
        if chance == 1.0:
            ends = [n for n, item in enumerate(expected) if item["tag"] & 2 and item["last"]]
            gaps = [b - a for a, b in zip(sink.cycles, sink.cycles[1:], strict=False)]
            assert all(gap == 1 for n, gap in enumerate(gaps) if n not in ends), "one a cycle"

    return Scenario(
        dut=dut,
        agents=[
            starter,
            Drive(lambda ctx, _: ctx.set(dut.go, int(random.random() < chance))),
            sink,
            Watch(lambda ctx, _: windows_done.append(ctx.get(dut.window))),
        ],
        done=lambda: len(sink.got) >= len(expected),
        check=check,
    )


def asked(job: dict[str, int], x: int, address: int, target: Target) -> dict[str, Any]:
    """Where each column group reads for pixel x, and from which group on the lanes come."""
    groups = target.bank_groups
    addresses = [address] * groups
    for lane in range(target.cols):
        column, after = lane_source(job, x, lane, target)
        addresses[column * groups // target.cols] = address + after
    first, _ = lane_source(job, x, 0, target)
    return {"addresses": addresses, "distance": first * groups // target.cols}


class Starter(Agent):
    """Starts one job after the other on something with `job`, `start` and `busy`.

    A job stands a cycle before it is started.
    """

    def __init__(self, dut: Any, jobs: list[dict[str, int]]) -> None:
        self.dut, self.jobs = dut, list(jobs)
        self.busy = False
        self._started = self._stands = False

    def drive(self, ctx: Any, cycle: int) -> None:
        free = bool(self.jobs) and not self.busy and not self._started
        self._started = self._stands
        ctx.set(self.dut.start, int(self._started))
        self._stands = free and not self._started
        if self._stands:
            ctx.set(self.dut.job, self.jobs.pop(0))

    def sample(self, ctx: Any, cycle: int) -> None:
        self.busy = self._started or bool(ctx.get(self.dut.busy))


def rows(seed: int) -> Scenario:
    """A transfer a row, the last one tagged if LOAD wants a token."""
    random = Random(seed)
    target = Target(edge_registers=random.choice((0, 2)))
    dut = RowTransfers(target)
    jobs = [
        instruction(
            Opcode.STORE,
            address=random.getrandbits(31) * 8 % (1 << 31),
            pitch=random.getrandbits(13) * 8,
            rows=random.randint(1, 5),
            row_beats=random.randint(1, 1000),
            signal_load=random.randrange(2),
        )
        for _ in range(4)
    ]
    expected = [
        {
            "address": (job["address"] + row * job["pitch"]) % (1 << 32),
            "beats": job["row_beats"],
            "tag": int(job["signal_load"] and row == job["rows"] - 1),
        }
        for job in jobs
        for row in range(job["rows"])
    ]
    sink = Sink(dut.o, chance=random.choice(CHANCES), random=random)

    def check() -> None:
        assert sink.got == expected

    return Scenario(
        dut=dut,
        agents=[Starter(dut, jobs), sink],
        done=lambda: len(sink.got) >= len(expected),
        check=check,
    )


def lane_move(random: Random, target: Target) -> dict[str, int]:
    """Any placement that the compiler may ask for."""
    unit = math.gcd(target.rows, target.cols)
    while True:
        src, dst = random.randrange(target.cols), random.randrange(target.rows)
        if (dst - src) % unit == 0:
            break
    most = min(target.cols - src, target.rows - dst)
    return {"src_lane": src, "dst_lane": dst, "lanes": random.randint(1, most)}


def pack_rows(
    target: Target, move: dict[str, int], lines: list[list[list[int]]]
) -> list[list[int | None]]:
    """Bytes of each row of output pixels (columns of each), None where nothing is written."""
    packed = []
    mask = (1 << (8 * target.lane_bytes)) - 1
    for line in lines:
        cells: list[int | None] = []
        for columns in line:
            for j in range(target.rows):
                if move["dst_lane"] <= j < move["dst_lane"] + move["lanes"]:
                    value = columns[j - move["dst_lane"] + move["src_lane"]] & mask
                    cells += value.to_bytes(target.lane_bytes, "little")
                else:
                    cells += [None] * target.lane_bytes
        cells += [None] * (-len(cells) % target.bus_bytes)
        packed.append(cells)
    return packed


def unpack_beats(beats: list[dict[str, int]], bus: int) -> list[int | None]:
    """Bytes of beats, None where the strobe is off."""
    return [
        beat["data"] >> (8 * byte) & 255 if beat["strobe"] >> byte & 1 else None
        for beat in beats
        for byte in range(bus)
    ]


def random_packing_target(random: Random) -> Target:
    side = random.choice((4, 8))
    square = random.random() < 0.4
    return Target(
        rows=side if square else random.randint(1, 6),
        cols=side if square else random.randint(1, 6),
        pack_pixels=random.choice((1, 4, 8)),
        act_bits=random.choice((3, 8, 9, 16)),
        acc_bits=random.randint(32, 48),
        acc_depth=64,
        bus_bytes=random.choice(BUSES),
        burst_beats=1,
        leaky=random.random() < 0.5,
        edge_registers=random.choice((0, 0, 1, 2)),
    )


def lanes(seed: int) -> Scenario:
    """Columns go to their lanes, rows to whole beats, and nothing else is written."""
    random = Random(seed)
    target = random_packing_target(random)
    dut = LanePacker(target)
    move = lane_move(random, target)
    lines = [
        [
            [edge_or_random(random, target.act_bits) for _ in range(target.cols)]
            for _ in range(random.randint(1, 7))
        ]
        for _ in range(4)
    ]
    items = [
        {"lanes": columns, "last": int(n == len(line) - 1)}
        for line in lines
        for n, columns in enumerate(line)
    ]
    expected = [cell for cells in pack_rows(target, move, lines) for cell in cells]
    source = Source(dut.i, items, chance=random.choice(CHANCES), random=random)
    sink = Sink(dut.o, chance=random.choice(CHANCES), random=random)

    def place(ctx: Any, cycle: int) -> None:
        for name, value in move.items():
            ctx.set(getattr(dut, name), value)

    def check() -> None:
        assert unpack_beats(sink.got, target.bus_bytes) == expected

    return Scenario(
        dut=dut,
        agents=[Drive(place), source, sink],
        done=lambda: len(sink.got) * target.bus_bytes >= len(expected),
        check=check,
    )


def stamp(seed: int) -> Scenario:
    """Eight bytes, sampled at the start, in as many beats as the bus needs."""
    random = Random(seed)
    target = Target(bus_bytes=random.choice(BUSES), burst_beats=1)
    dut = StampSource(target)
    sink = Sink(dut.o, chance=random.choice(CHANCES), random=random)
    counters = (random.getrandbits(32), random.getrandbits(32))

    def drive(ctx: Any, cycle: int) -> None:
        ctx.set(dut.start, int(cycle == 3))
        ctx.set(dut.cycles, counters[0] if cycle == 3 else random.getrandbits(32))
        ctx.set(dut.busy_cycles, counters[1] if cycle == 3 else random.getrandbits(32))

    count = -(-8 // target.bus_bytes)
    lasting: list[bool] = []

    def check() -> None:
        cells = unpack_beats(sink.got, target.bus_bytes)
        data = counters[0].to_bytes(4, "little") + counters[1].to_bytes(4, "little")
        assert cells == [*data, *[None] * (len(cells) - 8)]
        assert len(sink.got) == count
        assert not lasting[-1]

    return Scenario(
        dut=dut,
        agents=[Drive(drive), sink, Watch(lambda ctx, _: lasting.append(ctx.get(dut.active)))],
        done=lambda: len(sink.got) >= count,
        check=check,
    )
