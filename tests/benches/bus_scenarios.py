"""Scenarios of the DMA: bursts, readers, arbiter, writer; each made from one seed."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random
from typing import Any

from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from streams import Agent, Scenario, Sink, Source, Watch

from tilewright.compiler.microarchitecture import READS_UNDER_WAY
from tilewright.compiler.target import Target
from tilewright.hw.burst import BURST, TRANSFER, BurstSplitter
from tilewright.hw.read_arbiter import ReadArbiter
from tilewright.hw.reader import BurstReader
from tilewright.hw.writer import BurstWriter

__all__ = ["ReadSide", "WriteBus", "bursts_of", "reader", "splitter", "writer"]

CHANCES = (0.15, 0.5, 0.9, 1.0)


def bursts_of(target: Target, transfer: dict[str, int], longest: int) -> list[dict[str, int]]:
    """The bursts that a transfer must become."""
    bursts = []
    address, left = transfer["address"], transfer["beats"]
    while left:
        page = (4096 - address % 4096) // target.bus_bytes
        take = min(page, longest, left)
        left -= take
        tag = transfer["tag"] if not left else 0
        bursts.append({"address": address, "length": take - 1, "tag": tag})
        address += take * target.bus_bytes
    return bursts


def random_transfer(random: Random, target: Target, most: int) -> dict[str, int]:
    """A transfer that often starts or ends at a page boundary."""
    beats = random.choice((0, 1, target.burst_beats, random.randrange(most)))
    page = random.randrange(1, 200) * 4096
    before = random.choice((0, 1, beats, random.randrange(4096 // target.bus_bytes)))
    address = page - before * target.bus_bytes
    return {"address": max(address, 0), "beats": beats, "tag": random.randrange(2)}


def small_target(random: Random, **settings: Any) -> Target:
    bus = random.choice((1, 2, 4, 8, 32, 64))
    burst = random.choice([beats for beats in (1, 4, 16, 64, 256) if beats * bus <= 4096])
    edges = random.choice((0, 2))
    return Target(bus_bytes=bus, burst_beats=burst, edge_registers=edges, **settings)


def splitter(seed: int) -> Scenario:
    """Transfers of any length from any address become the bursts they must."""
    random = Random(seed)
    target = small_target(random)
    longest = random.choice((target.burst_beats, random.randint(1, target.burst_beats)))
    dut = BurstSplitter(target, longest=longest)
    transfers = [random_transfer(random, target, 4 * longest) for _ in range(12)]
    expected = [burst for transfer in transfers for burst in bursts_of(target, transfer, longest)]
    source = Source(dut.i, transfers, chance=random.choice(CHANCES), random=random)
    sink = Sink(dut.o, chance=random.choice(CHANCES), random=random)

    def check() -> None:
        assert sink.got == expected

    return Scenario(
        dut=dut,
        agents=[source, sink],
        done=lambda: not source.items and len(sink.got) >= len(expected),
        check=check,
        limit=100 * (len(expected) + 20),
    )


class ReadSide(wiring.Component):
    """Readers behind an arbiter, wired as the engine wires them."""

    def __init__(self, target: Target, *, count: int, depth: int) -> None:
        """Readers take bursts of 1 up to the target's longest, by their number."""
        self._target, self._count, self._depth = target, count, depth
        super().__init__(
            {
                "i": In(stream.Signature(TRANSFER)).array(count),
                "o": Out(stream.Signature(8 * target.bus_bytes)).array(count),
                "ar": Out(stream.Signature(BURST)),
                "r_valid": In(1),
                "r_last": In(1),
                "r_data": In(8 * target.bus_bytes),
                "halt": In(1),
                "idle": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.arbiter = arbiter = ReadArbiter(self._count)
        for index in range(self._count):
            longest = max(1, self._target.burst_beats - index)
            reader = BurstReader(self._target, longest=longest, depth=self._depth)
            m.submodules[f"reader_{index}"] = reader
            connect(m, flipped(self.i[index]), reader.i)
            connect(m, reader.o, flipped(self.o[index]))
            connect(m, reader.request, arbiter.requests[index])
            m.d.comb += [
                reader.beat.eq(self.r_data),
                reader.beat_valid.eq(arbiter.beat_valid[index]),
            ]
        connect(m, arbiter.ar, flipped(self.ar))
        m.d.comb += [
            arbiter.r_valid.eq(self.r_valid),
            arbiter.r_last.eq(self.r_last),
            arbiter.halt.eq(self.halt),
            self.idle.eq(arbiter.idle),
        ]
        return m


def pattern(address: int, bus: int) -> int:
    """What memory holds at an address, different everywhere."""
    return (address // bus * 0x9E3779B97F4A7C15 + address) % (1 << (8 * bus))


class ReadBus(Agent):
    """Takes read bursts and returns their beats in order, some time later."""

    def __init__(self, dut: Any, bus: int, random: Random, *, chance: float, latency: int) -> None:
        self.dut, self.bus, self.random, self.chance = dut, bus, random, chance
        self.latency = latency
        self.bursts = Sink(dut.ar, chance=chance, random=random, on_item=self._take)
        self.waiting: list[tuple[int, int, int]] = []
        self.now = 0
        self.answering = True

    def _take(self, burst: dict[str, int]) -> None:
        ready = self.now + 1 + self.random.randrange(self.latency + 1)
        for beat in range(burst["length"] + 1):
            last = int(beat == burst["length"])
            self.waiting.append((ready, burst["address"] + beat * self.bus, last))

    def drive(self, ctx: Any, cycle: int) -> None:
        self.now = cycle
        self.bursts.drive(ctx, cycle)
        go = bool(self.waiting) and self.waiting[0][0] <= cycle and self.answering
        go = go and self.random.random() < self.chance
        ctx.set(self.dut.r_valid, int(go))
        if go:
            _, address, last = self.waiting.pop(0)
            ctx.set(self.dut.r_data, pattern(address, self.bus))
            ctx.set(self.dut.r_last, last)

    def sample(self, ctx: Any, cycle: int) -> None:
        self.bursts.sample(ctx, cycle)


def reader(seed: int) -> Scenario:
    """Several readers get their own data in order, never more than their FIFOs hold."""
    random = Random(seed)
    bus = random.choice((1, 4, 8))
    burst = random.choice((1, 4, 8))
    target = Target(bus_bytes=bus, burst_beats=burst, edge_registers=random.choice((0, 2)))
    count, depth = random.randrange(2, 5), burst * random.randrange(1, 4) + random.randrange(3)
    dut = ReadSide(target, count=count, depth=depth)
    memory = ReadBus(
        dut, bus, random, chance=random.choice(CHANCES), latency=random.choice((0, 3, 40))
    )
    sources, sinks, wanted = [], [], []
    for index in range(count):
        transfers = [random_transfer(random, target, 3 * depth) for _ in range(4)]
        for transfer in transfers:  # each reader in a region of its own
            transfer["address"] += index << 24
        sources.append(
            Source(dut.i[index], transfers, chance=random.choice(CHANCES), random=random)
        )
        sinks.append(Sink(dut.o[index], chance=random.choice(CHANCES), random=random))
        wanted.append(
            [
                pattern(transfer["address"] + at * bus, bus)
                for transfer in transfers
                for at in range(transfer["beats"])
            ]
        )

    def credits(ctx: Any, cycle: int) -> None:
        asked = [0] * count
        for item in memory.bursts.got:
            asked[item["address"] >> 24] += item["length"] + 1
        for index in range(count):
            assert asked[index] - len(sinks[index].got) <= depth, "more asked than fits"

    def check() -> None:
        for sink, words in zip(sinks, wanted, strict=True):
            assert sink.got == words

    return Scenario(
        dut=dut,
        agents=[memory, *sources, *sinks, Watch(credits)],
        done=lambda: all(len(s.got) >= len(w) for s, w in zip(sinks, wanted, strict=True)),
        check=check,
        limit=60 * sum(map(len, wanted)) + 3000,
    )


class WriteBus(Agent):
    """Takes addresses and data in any order, and answers each burst some time after its last beat.

    `bursts` lists (burst, beats) as far as both are known; `answered` the cycles of responses.
    """

    def __init__(
        self,
        dut: Any,
        random: Random,
        *,
        address_chance: float = 1.0,
        data_chance: float = 1.0,
        latency: int = 0,
        data_first: bool = False,
    ) -> None:
        self.dut, self.random, self.latency = dut, random, latency
        self.addresses = Sink(dut.aw, chance=address_chance, random=random)
        self.data = Sink(dut.w, chance=data_chance, random=random)
        self.data_first = data_first
        self.beats: list[list[dict[str, int]]] = [[]]
        self.due: list[int] = []
        self.answered: list[int] = []
        self.completed: list[int] = []

    def drive(self, ctx: Any, cycle: int) -> None:
        complete = len(self.beats) - 1
        self.addresses.open = not self.data_first or complete > len(self.addresses.got)
        self.addresses.drive(ctx, cycle)
        self.data.drive(ctx, cycle)
        while len(self.due) < min(complete, len(self.addresses.got)):
            self.due.append(cycle + self.random.randrange(self.latency + 1))
        respond = len(self.answered) < len(self.due) and self.due[len(self.answered)] <= cycle
        if respond:
            self.answered.append(cycle)
        ctx.set(self.dut.b_valid, int(respond))

    def sample(self, ctx: Any, cycle: int) -> None:
        self.addresses.sample(ctx, cycle)
        before = len(self.data.got)
        self.data.sample(ctx, cycle)
        if len(self.data.got) > before:
            self.beats[-1].append(self.data.got[-1])
            if ctx.get(self.dut.w_last):
                self.beats.append([])
        if ctx.get(self.dut.complete):
            self.completed.append(cycle)

    @property
    def bursts(self) -> Iterator[tuple[dict[str, int], list[dict[str, int]]]]:
        return zip(self.addresses.got, self.beats[:-1], strict=False)


def writer(seed: int) -> Scenario:
    """Transfers are written burst by burst, and the tagged ones reported when answered."""
    random = Random(seed)
    target = small_target(random)
    dut = BurstWriter(target)
    most = min(3 * target.burst_beats, 200)
    transfers = [random_transfer(random, target, most) for _ in range(8)]
    expected = [
        burst for transfer in transfers for burst in bursts_of(target, transfer, target.burst_beats)
    ]
    count = sum(transfer["beats"] for transfer in transfers)
    beats = [
        {
            "data": random.getrandbits(8 * target.bus_bytes),
            "strobe": random.getrandbits(target.bus_bytes),
        }
        for _ in range(count)
    ]
    bus = WriteBus(
        dut,
        random,
        address_chance=random.choice(CHANCES),
        data_chance=random.choice(CHANCES),
        latency=random.choice((0, 5, 60)),
        data_first=random.random() < 0.4,
    )
    source = Source(dut.i, transfers, chance=random.choice(CHANCES), random=random)
    data = Source(dut.beats, list(beats), chance=random.choice(CHANCES), random=random)
    idle: list[int] = []

    def watch(ctx: Any, cycle: int) -> None:
        under_way = len(bus.addresses.got) - len(bus.answered)
        if under_way or len(bus.beats) - 1 > len(bus.answered):
            assert not ctx.get(dut.quiet) and not ctx.get(dut.idle)
        if ctx.get(dut.idle):
            idle.append(cycle)

    def check() -> None:
        assert bus.addresses.got == expected
        assert bus.data.got == beats
        assert [len(part) for part in bus.beats[:-1]] == [b["length"] + 1 for b in expected]
        tagged = [at for at, b in zip(bus.answered, expected, strict=True) if b["tag"]]
        assert bus.completed == tagged
        assert idle and idle[-1] > max(bus.answered, default=0), "idle when all is answered"

    return Scenario(
        dut=dut,
        agents=[source, data, bus, Watch(watch)],
        done=lambda: not source.items and len(bus.answered) >= len(expected),
        check=check,
        limit=40 * (count + len(expected) * 40) + 3000,
        linger=READS_UNDER_WAY,
    )
