"""Scenarios of what feeds the array: LOAD and WEIGHTS."""

from __future__ import annotations

from random import Random
from typing import Any

from amaranth.utils import ceil_log2
from bus_scenarios import CHANCES
from buses import Port, transferred
from streams import Drive, Scenario, Sink, Source, Watch, bits_of

from tilewright.compiler.isa import FIELDS, INSTRUCTION_BYTES, Opcode, encode
from tilewright.compiler.layout import memory_lanes
from tilewright.compiler.target import Target
from tilewright.hw.load import LoadUnit
from tilewright.hw.weights import WeightsUnit

__all__ = [
    "BUSES",
    "as_store",
    "instruction",
    "latency",
    "load",
    "load_job",
    "load_words",
    "packed_load",
    "weight_rows",
    "weights",
    "weights_job",
    "written_word",
]

BUSES = (1, 2, 4, 8, 16, 64)


def as_store(job: dict[str, int]) -> dict[str, int]:
    """The bits of an instruction for STORE's unit, as the fields that a STORE has there."""
    word, at = 0, 0
    for item in FIELDS[Opcode(job["opcode"])]:
        word |= (job[item.name] & ((1 << item.bits) - 1)) << at
        at += item.bits
    fields = {}
    for item in FIELDS[Opcode.STORE]:
        value = word & ((1 << item.bits) - 1)
        fields[item.name] = value - (value >> (item.bits - 1) << item.bits if item.signed else 0)
        word >>= item.bits
    return fields


def instruction(opcode: Opcode, **values: int) -> dict[str, int]:
    """Fields of an instruction, 0 where not given."""
    fields = {field.name: 0 for field in FIELDS[opcode]}
    return {**fields, "opcode": int(opcode), **values}


def latency(random: Random) -> Any:
    longest = random.choice((0, 3, 30))
    return lambda: random.randrange(longest + 1)


def load_job(
    random: Random, target: Target, address: int, **wanted: int
) -> tuple[dict[str, int], int]:
    """A random LOAD from `address` on, and how many bytes it covers."""
    bus = target.bus_bytes
    rows = wanted.get("rows", random.choice((0, 1, 1, 2, 4)))
    cols = wanted.get("cols", random.randint(1, 6))
    narrow = wanted.get("narrow", random.choice((0, 0, *range(1, len(target.narrow_lanes) + 1))))
    most = memory_lanes(target, narrow)
    beats = -(-cols * most * target.lane_bytes // bus)
    pitch = (beats + random.choice((0, 0, 2))) * bus
    pads = {f"pad_{side}": random.choice((0, 0, 1, 3)) for side in ("left", "right", "bottom")}
    pixels = random.choice((1, *target.packs)) if random.random() < 0.8 else 1
    half = max(pixels // 2, 1)
    pads["pad_right"] += -(pads["pad_left"] + cols + pads["pad_right"]) % half
    least = 0 if rows + pads["pad_bottom"] else 1
    top = max(random.choice((0, 0, 2)), least)
    job = instruction(
        Opcode.LOAD,
        signal_calc=random.randrange(2),
        address=address,
        pitch=pitch,
        rows=rows,
        cols=cols,
        row_beats=beats,
        pad_top=top,
        bank_address=random.randrange(1 << 12) // pixels * pixels,
        pack=ceil_log2(pixels),
        phase=random.choice((0, half)) if pixels > 1 else 0,
        narrow=narrow,
        period=random.randint(most // 2 + 1, most) if narrow else 0,
        unsigned=random.randrange(2),
        **pads,
    )
    return {**job, **wanted}, rows * pitch


def load_words(
    job: dict[str, int], memory: bytes, target: Target, depth_bits: int
) -> list[tuple[list[int], list[int]]]:
    """(addresses, values), one for each bank, of every word that a LOAD writes."""
    words = []
    pixels = 1 << job["pack"]
    group = target.rows // pixels  # banks, and lanes, that go together
    width = job["pad_left"] + job["cols"] + job["pad_right"]
    height = job["pad_top"] + job["rows"] + job["pad_bottom"]
    for y in range(height):
        for x in range(width):
            row, col = y - job["pad_top"], x - job["pad_left"]
            lanes = [-job["unsigned"] << (target.act_bits - 1)] * target.rows
            if 0 <= row < job["rows"] and 0 <= col < job["cols"]:
                pixel = memory_lanes(target, job["narrow"]) * target.lane_bytes
                at = job["address"] + row * job["pitch"] + col * pixel
                for r in range(target.rows):
                    source = r % (job["period"] or target.rows)
                    lane = memory[at + source * target.lane_bytes :][: target.lane_bytes]
                    value = int.from_bytes(lane, "little") & ((1 << target.act_bits) - 1)
                    lanes[r] = value - ((value >> (target.act_bits - 1)) << target.act_bits)
            word = y * width + x
            if pixels > 1:
                phase = job["phase"] + x % (pixels // 2)
                word = word // (pixels // 2) * pixels
                lows = [(r // group - phase) % pixels for r in range(target.rows)]
                lanes = [lanes[lows[r] * group + r % group] for r in range(target.rows)]
            else:
                lows = [0] * target.rows
            addresses = [(job["bank_address"] + word + low) % (1 << depth_bits) for low in lows]
            words.append((addresses, lanes))
    return words


def written_word(ctx: Any, dut: LoadUnit, target: Target) -> tuple[list[int], list[int]]:
    """(addresses, values), one for each bank, of the word being written."""
    group = target.rows // target.bank_groups
    addresses, values = ctx.get(dut.write_address), ctx.get(dut.write_data)
    return (
        [addresses[r // group] for r in range(target.rows)],
        [values[r] for r in range(target.rows)],
    )


def load(seed: int) -> Scenario:
    """Rectangles back to back: rows in order, zeros around them, tokens taken and given."""
    random = Random(seed)
    return load_on(random, rows=random.randint(1, 5))


def packed_load(seed: int) -> Scenario:
    """The same where words can hold 4 or 8 pixels; some instructions pack, others do not."""
    random = Random(seed)
    rows = random.choice((4, 8, 8, 12, 16))
    return load_on(random, rows=rows, cols=rows, pack_pixels=random.choice((4, 8, 8)))


def load_on(random: Random, **settings: Any) -> Scenario:
    """Random rectangles on a random target with some settings."""
    target = Target(
        **settings,
        act_bits=random.choice((3, 8, 11, 16)),
        acc_bits=48,
        bus_bytes=random.choice(BUSES),
        burst_beats=1,
        act_depth=4096,
        edge_registers=random.choice((0, 0, 1, 2)),
    )
    dut = LoadUnit(target)
    memory = random.randbytes(1 << 15)
    jobs, address = [], 0
    for _ in range(6):
        job, size = load_job(
            random,
            target,
            address,
            wait_calc=random.choice((0, 0, 1, 2)),
            wait_store=random.choice((0, 0, 1, 2)),
        )
        jobs.append(job)
        address += size
    expected = [load_words(job, memory, target, 12) for job in jobs]
    transfers = [
        (job["address"] + row * job["pitch"], job["row_beats"])
        for job in jobs
        for row in range(job["rows"])
    ]
    port = Port(
        dut.transfer,
        dut.beats,
        memory,
        target.bus_bytes,
        random=random,
        chance=random.choice(CHANCES),
        latency=latency(random),
    )
    source = Source(dut.i, list(jobs), chance=random.choice(CHANCES), random=random)
    written: list[tuple[list[int], list[int]]] = []
    given: list[int] = []  # words written when CALC got a token
    tokens = {"calc": [0, 0], "store": [0, 0]}
    need = {
        unit: [sum(j[f"wait_{unit}"] for j in jobs[: n + 1]) for n in range(6)] for unit in tokens
    }
    total = sum(map(len, expected))
    ends = [sum(map(len, expected[: n + 1])) for n in range(6)]

    def give(ctx: Any, cycle: int) -> None:
        for unit, count in tokens.items():
            count[1] = count[0]  # tokens that count from this cycle on
            now = int(count[0] < need[unit][-1] and random.random() < 0.05)
            count[0] += now
            ctx.set(getattr(dut, f"give_from_{unit}"), now)

    def watch(ctx: Any, cycle: int) -> None:
        if ctx.get(dut.write_enable):
            written.append(written_word(ctx, dut, target))
            number = next(n for n, end in enumerate(ends) if len(written) <= end)
            assert tokens["calc"][1] >= need["calc"][number], "written before CALC's token"
            assert tokens["store"][1] >= need["store"][number], "read before STORE's token"
        if ctx.get(dut.give_calc):
            given.append(len(written))

    def check() -> None:
        assert written == [word for words in expected for word in words]
        assert transferred(port.transfers.got) == transfers
        assert given == [end for end, job in zip(ends, jobs, strict=True) if job["signal_calc"]]

    return Scenario(
        dut=dut,
        agents=[Drive(give), source, port, Watch(watch)],
        done=lambda: len(written) >= total,
        check=check,
        limit=40000,
    )


def weights_job(
    random: Random, target: Target, address: int, **wanted: int
) -> tuple[dict[str, int], bytes, list[dict[str, Any]]]:
    """A WEIGHTS instruction, its stream, and the rows that must come out."""
    containers = target.weight_containers
    container = wanted.get("container", random.randrange(len(containers)))
    room = containers[container] * target.cols
    pixels = random.choice((1, *(p for p in target.packs if p * containers[-1] <= room)))
    gather = wanted.get("gather", random.randrange(2))
    tiles = wanted.get("tiles", random.randint(1, 4))
    width = containers[-1] if pixels > 1 else containers[container]
    bits = min(width, target.weight_bits)
    rows, stream, size = [], 0, 0
    for number in range(tiles * target.rows):
        offset = random.randrange(target.act_depth)
        values = [
            random.choice((-1 << (bits - 1), random.randrange(-1 << (bits - 1), 1 << (bits - 1))))
            for _ in range(pixels if pixels > 1 else target.cols)
        ]
        if gather:
            stream |= offset << size
            size += 16
        stream |= bits_of(values, width) << size
        junk = random.getrandbits(room) >> (width * len(values))
        stream |= junk << (size + width * len(values))
        size += room
        if pixels > 1:
            lanes = target.cols // pixels
            kept = [c % lanes == number % lanes for c in range(target.cols)]
            values = [values[c // lanes] if keep else 0 for c, keep in enumerate(kept)]
        rows.append({"offset": offset if gather else None, "weights": values})
    beats = -(-size // (8 * target.bus_bytes))
    job = instruction(
        Opcode.WEIGHTS,
        address=address,
        beats=beats,
        tiles=tiles,
        container=container,
        gather=gather,
        pack=pixels.bit_length() - 1,
    )
    junk = random.getrandbits(8 * target.bus_bytes * beats) >> size << size
    return job, (stream | junk).to_bytes(beats * target.bus_bytes, "little"), rows


def weights(seed: int) -> Scenario:
    """Streams of any container, packed or not, with and without offsets, one after the other."""
    random = Random(seed)
    side = random.choice((4, 8, 12))
    square = random.random() < 0.5
    target = Target(
        rows=side if square else random.randint(1, 4),
        cols=side if square else random.randint(1, 5),
        pack_pixels=random.choice((1, 4, 8)),
        weight_bits=random.choice((2, 3, 4, 7, 8, 12, 16)),
        acc_bits=48,
        act_depth=random.choice((16, 100, 4096, 65536)),
        bus_bytes=random.choice(BUSES),
        burst_beats=1,
        edge_registers=random.choice((0, 2)),
    )
    dut = WeightsUnit(target)
    memory, jobs, expected = b"", [], []
    for _ in range(6):
        job, data, rows = weights_job(random, target, len(memory))
        memory += data
        jobs.append(job)
        expected += rows
    return weight_rows(random, dut, target, memory, jobs, expected)


def weight_rows(
    random: Random,
    dut: WeightsUnit,
    target: Target,
    memory: bytes,
    jobs: list[dict[str, int]],
    expected: list[dict[str, Any]],
) -> Scenario:
    """The WEIGHTS unit runs `jobs` on `memory`, with pauses everywhere, and gives `expected`."""
    port = Port(
        dut.transfer,
        dut.beats,
        memory,
        target.bus_bytes,
        random=random,
        chance=random.choice(CHANCES),
        latency=latency(random),
    )
    source = Source(dut.i, chance=random.choice(CHANCES), random=random)
    source.items += jobs if target.unit_queue > 1 else instruction_beats(jobs, target)
    sink = Sink(dut.o, chance=random.choice(CHANCES), random=random)

    def check() -> None:
        assert transferred(port.transfers.got) == [(job["address"], job["beats"]) for job in jobs]
        assert len(sink.got) == len(expected)
        for row, wanted in zip(sink.got, expected, strict=True):
            assert row["weights"] == wanted["weights"]
            assert wanted["offset"] in (None, row["offset"])

    return Scenario(
        dut=dut,
        agents=[source, port, sink],
        done=lambda: len(sink.got) >= len(expected),
        check=check,
        limit=40000,
    )


def instruction_beats(jobs: list[dict[str, int]], target: Target) -> list[dict[str, int]]:
    """Instructions as FETCH gives them to a unit without a queue."""
    size, items = target.bus_bytes, []
    for job in jobs:
        fields = {name: value for name, value in job.items() if name != "opcode"}
        data = encode(Opcode(job["opcode"]), **fields)
        items += [
            {"number": n, "beat": int.from_bytes(data[n * size : (n + 1) * size], "little")}
            for n in range(INSTRUCTION_BYTES // size)
        ]
    return items
