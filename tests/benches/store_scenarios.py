"""Scenarios of STORE and its parts, held against the instruction's meaning in plain loops."""

from __future__ import annotations

import math
from collections.abc import Iterator
from random import Random
from typing import Any

import numpy as np
from array_scenarios import edge_or_random
from bus_scenarios import CHANCES
from buses import Port, transferred
from feed_scenarios import BUSES, instruction, latency
from streams import Agent, Drive, Scenario, Sink, Source, Watch

from tilewright.compiler.isa import FIELDS, PARAM_BYTES, SHIFT_BIAS, Opcode
from tilewright.compiler.target import Target
from tilewright.hw.drain import DrainWalker, RowTransfers
from tilewright.hw.lanes import LanePacker
from tilewright.hw.store import StampSource, StoreUnit
from tilewright.quant import numerics

__all__ = ["drain", "lanes", "pack_rows", "rows", "stamp", "store", "windows"]


def windows(job: dict[str, int]) -> Iterator[tuple[list[int], bool, bool]]:
    """Accumulators of each output pixel's window; last pixel of its row; last of all."""
    for y in range(job["rows"]):
        for x in range(job["cols"]):
            base = job["acc_base"] + y * job["acc_row_step"] + x * job["acc_col_step"]
            window = [
                base + wy * job["win_row_step"] + wx
                for wy in range(job["win_rows"])
                for wx in range(job["win_cols"])
            ]
            last = x == job["cols"] - 1
            yield window, last, last and y == job["rows"] - 1


def store_job(random: Random, target: Target, **wanted: int) -> dict[str, int]:
    """A random STORE whose windows stay inside the accumulators."""
    while True:
        win_rows, win_cols = random.choice((1, 1, 2, 3)), random.choice((1, 1, 2, 3))
        job = instruction(
            Opcode.STORE,
            half=random.randrange(2),
            rows=random.randint(1, 3),
            cols=random.randint(1, 5),
            acc_base=random.randrange(target.acc_depth),
            acc_row_step=random.randrange(12),
            acc_col_step=random.randrange(4),
            win_rows=win_rows,
            win_cols=win_cols,
            win_row_step=random.randrange(10),
            pool_sum=random.randrange(2),
        )
        job |= wanted
        if max(max(window) for window, _, _ in windows(job)) < target.acc_depth:
            return job


def drain(seed: int) -> Scenario:
    """Every accumulator of every window, in order, with its marks."""
    random = Random(seed)
    target = Target(acc_depth=64)
    dut = DrainWalker(target)
    jobs = [store_job(random, target) for _ in range(4)]
    expected = [
        {
            "address": address,
            "first": int(n == 0),
            "last": int(n == len(window) - 1),
            "tag": row_end + 2 * end,
        }
        for job in jobs
        for window, row_end, end in windows(job)
        for n, address in enumerate(window)
    ]
    sink = Sink(dut.o, chance=random.choice(CHANCES), random=random)
    starter = Starter(dut, jobs)

    def check() -> None:
        assert sink.got == expected
        assert not starter.busy
        if sink.chance == 1.0:
            ends = [n for n, item in enumerate(expected) if item["tag"] & 2 and item["last"]]
            gaps = [b - a for a, b in zip(sink.cycles, sink.cycles[1:], strict=False)]
            assert all(gap == 1 for n, gap in enumerate(gaps) if n not in ends), "one a cycle"

    return Scenario(
        dut=dut,
        agents=[starter, sink],
        done=lambda: len(sink.got) >= len(expected),
        check=check,
    )


class Starter(Agent):
    """Starts one job after the other on something with `job`, `start` and `busy`."""

    def __init__(self, dut: Any, jobs: list[dict[str, int]]) -> None:
        self.dut, self.jobs = dut, list(jobs)
        self.busy = False
        self._started = False

    def drive(self, ctx: Any, cycle: int) -> None:
        self._started = bool(self.jobs) and not self.busy
        ctx.set(self.dut.start, int(self._started))
        if self._started:
            ctx.set(self.dut.job, self.jobs.pop(0))

    def sample(self, ctx: Any, cycle: int) -> None:
        self.busy = self._started or bool(ctx.get(self.dut.busy))


def rows(seed: int) -> Scenario:
    """A transfer a row, the last one tagged if LOAD wants a token."""
    random = Random(seed)
    dut = RowTransfers()
    jobs = [
        instruction(
            Opcode.STORE,
            address=random.getrandbits(31),
            pitch=random.getrandbits(16),
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
    return Target(
        rows=random.randint(1, 6),
        cols=random.randint(1, 6),
        act_bits=random.choice((3, 8, 9, 16)),
        acc_bits=random.randint(32, 48),
        acc_depth=64,
        bus_bytes=random.choice(BUSES),
        burst_beats=1,
        leaky=random.random() < 0.5,
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


class AccumulatorModel(Agent):
    """The accumulators as STORE sees them: each request is answered, in order, a little later."""

    def __init__(self, dut: Any, values: Any, random: Random) -> None:
        self.dut, self.values = dut, values
        self.requests = Sink(dut.request, chance=random.choice(CHANCES), random=random)
        self.answers = Source(dut.drained, chance=random.choice(CHANCES), random=random)

    def drive(self, ctx: Any, cycle: int) -> None:
        self.requests.drive(ctx, cycle)
        self.answers.drive(ctx, cycle)

    def sample(self, ctx: Any, cycle: int) -> None:
        before = len(self.requests.got)
        self.requests.sample(ctx, cycle)
        self.answers.sample(ctx, cycle)
        for item in self.requests.got[before:]:
            accs = self.values[ctx.get(self.dut.drain_half), item["address"]]
            marks = {name: item[name] for name in ("first", "last", "tag")}
            self.answers.items.append({"accs": [int(v) for v in accs], **marks})


class WriterModel(Agent):
    """The DMA writer as STORE sees it: idle once every beat of every transfer has been taken."""

    def __init__(self, dut: Any, random: Random) -> None:
        self.dut, self.random = dut, random
        self.transfers = Sink(dut.transfer, chance=random.choice(CHANCES), random=random)
        self.beats = Sink(dut.beats, chance=random.choice(CHANCES), random=random)
        self.slow = random.randrange(1, 30)
        self.pause = 0
        self.idle = True

    @property
    def wanted(self) -> int:
        return sum(item["beats"] for item in self.transfers.got)

    def drive(self, ctx: Any, cycle: int) -> None:
        self.transfers.drive(ctx, cycle)
        self.beats.open = len(self.beats.got) < self.wanted
        self.beats.drive(ctx, cycle)
        self.idle = not self.pause and not self.beats.open

    def sample(self, ctx: Any, cycle: int) -> None:
        self.idle = self.idle and not ctx.get(self.dut.transfer.valid)
        before = len(self.transfers.got)
        self.transfers.sample(ctx, cycle)
        self.beats.sample(ctx, cycle)
        moving = len(self.transfers.got) > before or len(self.beats.got) < self.wanted
        self.pause = self.slow if moving else max(self.pause - 1, 0)


def raw(job: dict[str, int]) -> int:
    """An instruction as the bits of the queue."""
    word, at = 0, 0
    for item in FIELDS[Opcode(job["opcode"])]:
        word |= (job[item.name] & ((1 << item.bits) - 1)) << at
        at += item.bits
    return word


def reference(
    job: dict[str, int], target: Target, values: Any, params: list[tuple[int, int]]
) -> list[list[list[int]]]:
    """Rows of output pixels, C values each, by the functions of the integer reference."""
    lines: list[list[list[int]]] = [[]]
    bias = np.array([b for b, _ in params], np.int64)
    shift = np.array([s for _, s in params], np.int64)
    for window, row_end, _ in windows(job):
        accs = values[job["half"], window]
        acc = accs.sum(axis=0) if job["pool_sum"] else accs.max(axis=0)
        result = numerics.postprocess(
            acc,
            bias,
            shift,
            job["lo"],
            job["hi"],
            bool(job["leaky"]),
            job["slope_multiplier"],
            job["slope_shift"],
            shift_bias=SHIFT_BIAS,
        )
        lines[-1].append([int(v) for v in result])
        if row_end:
            lines.append([])
    return lines[:-1]


def full_store_job(random: Random, target: Target, number: int) -> dict[str, int]:
    """A STORE with everything: parameters, activation, placement."""
    lo, hi = sorted(edge_or_random(random, target.act_bits) for _ in range(2))
    job = store_job(
        random,
        target,
        **lane_move(random, target),
        lo=lo,
        hi=hi,
        leaky=random.randrange(2) if target.leaky else 0,
        slope_multiplier=random.randrange(256),
        slope_shift=random.randint(1, 31),
        wait_calc=random.choice((0, 1, 2)),
        signal_calc=random.randrange(2),
        signal_load=random.randrange(2),
        params=number * 4096,
        address=number * (1 << 16),
        pitch=4096,
    )
    job["row_beats"] = -(-job["cols"] * target.pixel_bytes // target.bus_bytes)
    return job


def store(seed: int) -> Scenario:
    """STOREs and STAMPs, then FINISH, with a slow bus, slow accumulators and late tokens."""
    random = Random(seed)
    target = random_packing_target(random)
    dut = StoreUnit(target)
    top = 1 << (target.acc_bits - 6)  # sums of windows still fit
    values = np.array(
        [
            [[random.randrange(-top, top) for _ in range(target.cols)] for _ in range(64)]
            for _ in range(2)
        ],
        np.int64,
    )
    jobs: list[dict[str, int]] = []
    memory = bytearray(4 * 4096)
    beats: list[list[int | None]] = []
    transfers: list[tuple[int, int]] = []
    tokens = 0
    for number in range(4):
        job = full_store_job(random, target, number)
        params = [
            (random.randrange(-top, top), random.randrange(10, 64)) for _ in range(target.cols)
        ]
        for c, (bias, shift) in enumerate(params):
            at = job["params"] + PARAM_BYTES * c
            memory[at : at + 6] = (bias & ((1 << 48) - 1)).to_bytes(6, "little")
            memory[at + 6] = shift
        jobs.append(job)
        tokens += job["wait_calc"]
        move = {name: job[name] for name in ("src_lane", "dst_lane", "lanes")}
        beats += pack_rows(target, move, reference(job, target, values, params))
        transfers += [
            (job["address"] + y * job["pitch"], job["row_beats"]) for y in range(job["rows"])
        ]
        if random.random() < 0.5:
            jobs.append(instruction(Opcode.STAMP, address=0x800000 + 64 * number))
            transfers.append((0x800000 + 64 * number, -(-8 // target.bus_bytes)))
            beats.append([-1] * 8 + [None] * (-8 % target.bus_bytes))
    finish = instruction(Opcode.FINISH)
    source = Source(
        dut.i, [raw(job) for job in [*jobs, finish]], chance=random.choice(CHANCES), random=random
    )
    port = Port(
        dut.param_transfer,
        dut.param_beats,
        bytes(memory),
        target.bus_bytes,
        random=random,
        chance=random.choice(CHANCES),
        latency=latency(random),
    )
    sums = AccumulatorModel(dut, values, random)
    writer = WriterModel(dut, random)
    state = {"given": 0, "seen": 0, "calc": 0}
    finished: list[int] = []
    total = sum(map(len, beats))

    def drive(ctx: Any, cycle: int) -> None:
        state["seen"] = state["given"]
        go = state["given"] < tokens and random.random() < 0.05
        state["given"] += go
        ctx.set(dut.give_from_calc, int(go))
        ctx.set(dut.cycles, cycle)
        ctx.set(dut.busy_cycles, cycle // 2)

    def idle(ctx: Any, cycle: int) -> None:
        ctx.set(dut.writer_idle, int(writer.idle))

    def watch(ctx: Any, cycle: int) -> None:
        state["calc"] += ctx.get(dut.give_calc)
        # Windows of one STORE are read only when all its tokens, and those before, are there.
        read, need = len(sums.requests.got), 0
        for job in jobs:
            if job["opcode"] == Opcode.STORE and read > 0:
                need += job["wait_calc"]
                read -= sum(len(window) for window, _, _ in windows(job))
        assert state["seen"] >= need
        if ctx.get(dut.finished):
            finished.append(cycle)
            assert writer.idle

    def check() -> None:
        cells = unpack_beats(writer.beats.got, target.bus_bytes)
        wanted = [cell for row in beats for cell in row]
        assert len(cells) == len(wanted)
        for cell, want in zip(cells, wanted, strict=True):
            assert cell == want or (want == -1 and cell is not None)
        assert transferred(writer.transfers.got) == transfers
        assert len(finished) == 1
        assert state["calc"] == sum(job.get("signal_calc", 0) for job in jobs)
        tagged = sum(item["tag"] for item in writer.transfers.got)
        assert tagged == sum(job.get("signal_load", 0) for job in jobs)

    return Scenario(
        dut=dut,
        agents=[Drive(drive), Drive(idle), source, port, sums, writer, Watch(watch)],
        done=lambda: bool(finished),
        check=check,
        limit=100 * total + 20000,
    )
