"""Scenarios of the WEIGHTS unit with a decoder of compressed streams."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from feed_scenarios import BUSES, instruction, weight_rows, weights_job
from streams import Scenario

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.compress.stream import choose_codes, encode_stream, offset_block
from tilewright.hw.weights import WeightsUnit

__all__ = ["coded"]


def coded_jobs(
    random: Random, target: Target, address: int
) -> tuple[list[dict[str, int]], bytes, list[dict[str, Any]]]:
    """WEIGHTS instructions of codes, offsets and compressed streams, their data, and the rows."""
    rng = np.random.default_rng(random.getrandbits(32))
    limit, bus = 1 << (target.weight_bits - 1), target.bus_bytes
    book = rng.integers(-limit, limit, 6)
    kept, tiles = random.choice((0.0, 0.1, 0.9)), [random.randint(1, 3) for _ in range(2)]
    shapes = [(count * target.rows, target.cols) for count in tiles]
    streams = [np.where(rng.random(s) < kept, rng.choice(book, s), 0) for s in shapes]
    streams[0][0, 0] = 1
    codes = choose_codes(streams, lanes=target.decoder_lanes, huffman=random.random() < 0.7)
    offsets = rng.integers(0, target.act_depth, max(len(part) for part in streams))
    gather = random.randrange(2)
    parts: list[tuple[bytes, dict[str, int]]] = [
        (codes.pack(1 if target.weight_bits <= 8 else 2), {"block": 1, "tiles": 1}),
        (offset_block(offsets, target.decoder_lanes), {"block": 1, "tiles": 1}),
    ]
    rows = []
    for part, count in zip(streams, tiles, strict=True):
        data = encode_stream(part, codes, words=random.choice((6, 256)))
        parts.append((data, {"coded": 1, "tiles": count, "gather": gather}))
        places = offsets.tolist() if gather else [None] * len(part)
        rows += [
            {"offset": offset, "weights": row}
            for offset, row in zip(places, part.tolist(), strict=False)
        ]
    jobs, memory = [], b""
    for data, fields in parts:
        beats = -(-len(data) // bus) + random.choice((0, 0, 3))
        jobs.append(
            instruction(Opcode.WEIGHTS, address=address + len(memory), beats=beats, **fields)
        )
        memory += data + random.randbytes(beats * bus - len(data))
    return jobs, memory, rows


def coded(seed: int) -> Scenario:
    """Plain and compressed streams by turns, on units with and without a queue."""
    random = Random(seed)
    lanes = random.choice((2, 4))
    target = Target(
        rows=random.randint(1, 4),
        cols=lanes * random.randint(1, 3),
        decoder_lanes=lanes,
        pack_pixels=1,
        weight_bits=random.choice((2, 8, 12)),
        acc_bits=48,
        act_depth=4096,
        bus_bytes=random.choice(BUSES),
        burst_beats=1,
        unit_queue=random.choice((1, 4)),
        edge_registers=random.choice((0, 2)),
    )
    dut = WeightsUnit(target)
    memory, jobs, expected = b"", [], []
    for plain in (0, 1, 0):
        if plain:
            job, data, rows = weights_job(random, target, len(memory))
            more = [job]
        else:
            more, data, rows = coded_jobs(random, target, len(memory))
        memory += data
        jobs += more
        expected += rows
    return weight_rows(random, dut, target, memory, jobs, expected)
