"""Scenarios of the STORE unit, held against the instruction's meaning in plain loops."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from array_scenarios import edge_or_random
from bus_scenarios import CHANCES
from buses import Port, transferred
from drain_scenarios import (
    lane_move,
    lane_source,
    pack_rows,
    random_packing_target,
    store_job,
    unpack_beats,
    windows,
)
from feed_scenarios import as_store, instruction, latency
from streams import Agent, Collector, Drive, Scenario, Sink, Source, Watch

from tilewright.compiler.isa import PARAM_BYTES, Opcode
from tilewright.compiler.target import Target
from tilewright.hw.store import StoreUnit
from tilewright.quant import numerics

__all__ = ["store"]


class AccumulatorModel(Agent):
    """The accumulators as STORE sees them: each request is answered, in order, a little later."""

    def __init__(self, dut: Any, target: Target, values: Any, random: Random) -> None:
        self.dut, self.target, self.values = dut, target, values
        self.requests = Collector(dut.request)
        self.answers = Source(dut.drained, chance=random.choice(CHANCES), random=random)

    def drive(self, ctx: Any, cycle: int) -> None:
        self.answers.drive(ctx, cycle)

    def sample(self, ctx: Any, cycle: int) -> None:
        before = len(self.requests.got)
        self.requests.sample(ctx, cycle)
        self.answers.sample(ctx, cycle)
        for item in self.requests.got[before:]:
            cols, groups = self.target.cols, self.target.bank_groups
            values = self.values[ctx.get(self.dut.drain_half)]
            read = [values[item["addresses"][c * groups // cols], c] for c in range(cols)]
            turn = item["distance"] * cols // groups
            accs = read[turn:] + read[:turn]
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


def reference(
    job: dict[str, int], target: Target, values: Any, params: list[tuple[int, int]]
) -> list[list[list[int]]]:
    """Rows of output pixels, C values each, by the functions of the integer reference."""
    lines: list[list[list[int]]] = [[]]
    bias = np.array([b for b, _ in params], np.int64)
    shift = np.array([s for _, s in params], np.int64)
    for pixel, (window, row_end, _) in enumerate(windows(job)):
        sources = [lane_source(job, pixel % job["cols"], c, target) for c in range(target.cols)]
        column, after = np.array(sources).T
        accs = values[job["half"], np.array(window)[:, None] + after, column]
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
        function=0,
        function_shift=random.randrange(64),
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
        dut.i,
        [as_store(job) for job in [*jobs, finish]],
        chance=random.choice(CHANCES),
        random=random,
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
    sums = AccumulatorModel(dut, target, values, random)
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
