"""Scenarios of the multiplier, the array and the banks."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
from amaranth.utils import ceil_log2
from streams import Drive, Scenario, Watch

from tilewright.compiler.target import Target
from tilewright.hw.array import SystolicArray, array_latency
from tilewright.hw.banks import ActivationBanks
from tilewright.hw.multipliers.generic import GenericMultiplier

__all__ = [
    "array",
    "array_of",
    "array_of_pairs",
    "banks",
    "edge_or_random",
    "multiplier",
    "small_target",
]


def edge_or_random(random: Random, bits: int) -> int:
    """A signed integer of so many bits, often an extreme."""
    top = 1 << (bits - 1)
    return random.choice([-top, -top, top - 1, 0, -1, random.randint(-top, top - 1)])


def small_target(random: Random, **settings: Any) -> Target:
    """Any small array; its accumulators just as wide as they must be, or wider."""
    rows, act_bits, weight_bits = (
        random.randint(1, 5),
        random.randint(2, 16),
        random.randint(2, 16),
    )
    least = max(act_bits + weight_bits + (rows - 1).bit_length(), 16)
    return Target(
        rows=rows,
        cols=random.randint(1, 5),
        act_bits=act_bits,
        weight_bits=weight_bits,
        acc_bits=random.randint(least, 48),
        act_depth=random.choice([16, 37, 100, 128]),
        acc_depth=random.choice([4, 11, 16, 50]),
        multiplier_stages=random.randint(1, 4),
        edge_registers=random.choice((0, 0, 1, 2)),
        **settings,
    )


def multiplier(seed: int) -> Scenario:
    """A product a cycle, `stages` cycles late."""
    random = Random(seed)
    a_bits, b_bits, stages = random.randint(2, 16), random.randint(2, 16), random.randint(1, 4)
    dut = GenericMultiplier(a_bits=a_bits, b_bits=b_bits, stages=stages)
    pairs = [(-1 << (a_bits - 1), -1 << (b_bits - 1))]
    pairs += [(edge_or_random(random, a_bits), edge_or_random(random, b_bits)) for _ in range(40)]
    products: list[int] = []

    def drive(ctx: Any, cycle: int) -> None:
        a, b = pairs[cycle] if cycle < len(pairs) else (0, 0)
        ctx.set(dut.a, a)
        ctx.set(dut.b, b)

    def watch(ctx: Any, cycle: int) -> None:
        if cycle >= stages:
            products.append(ctx.get(dut.product))

    def check() -> None:
        assert products[: len(pairs)] == [a * b for a, b in pairs]

    return Scenario(
        dut=dut,
        agents=[Drive(drive), Watch(watch)],
        done=lambda: len(products) >= len(pairs),
        check=check,
    )


@dataclass
class Tile:
    """One weight tile: when its words enter, when its pixels start, and what they are."""

    start: int
    words: list[int]
    weights: np.ndarray
    pixels: np.ndarray

    @property
    def sums(self) -> Any:
        return self.pixels @ self.weights


def random_tiles(random: Random, target: Target, count: int, *, tight: bool) -> list[Tile]:
    """Tiles as close as the array allows, or with random pauses.

    The words of a tile enter from the previous tile's first pixel on; a tile starts at the
    earliest one cycle after its last word, and after the previous tile's last pixel.
    """
    rows, cols = target.rows, target.cols
    tiles: list[Tile] = []
    at, free = 0, 0
    for _ in range(count):
        words = []
        word = at
        for _ in range(rows):
            word += 0 if tight else random.choice((0, 0, 0, 1, 3))
            words.append(word)
            word += 1
        start = max(words[-1] + 1, free) + (0 if tight else random.choice((0, 0, 2)))
        pixels = rows if tight else random.randint(1, rows + 3)
        tiles.append(
            Tile(
                start=start,
                words=words,
                weights=np.array(
                    [
                        [edge_or_random(random, target.weight_bits) for _ in range(cols)]
                        for _ in range(rows)
                    ],
                    np.int64,
                ),
                pixels=np.array(
                    [
                        [edge_or_random(random, target.act_bits) for _ in range(rows)]
                        for _ in range(pixels)
                    ],
                    np.int64,
                ),
            )
        )
        at, free = start, start + pixels
    if tight:
        assert all(b.start - a.start == rows for a, b in pairwise(tiles))
    return tiles


def array(seed: int) -> Scenario:
    """Every column's sum stands below it array_latency + c cycles after the pixel."""
    random = Random(seed)
    return array_of(small_target(random), random)


def array_of_pairs(seed: int) -> Scenario:
    """The same with two columns in each cell."""
    random = Random(seed)
    target = Target(
        rows=random.randint(1, 5),
        cols=random.choice((2, 4)),
        act_bits=random.randint(2, 8),
        weight_bits=random.randint(2, 4),
        multiplier_stages=random.randint(1, 4),
        edge_registers=random.choice((0, 0, 1, 2)),
        weights_per_multiplier=2,
    )
    return array_of(target, random)


def array_of(target: Target, random: Random) -> Scenario:
    """The array of one target, which may need models of vendor cells."""
    dut = SystolicArray(target)
    tiles = random_tiles(random, target, 6, tight=random.random() < 0.5)
    rows, cols = target.rows, target.cols
    words = {at: tile.weights[r] for tile in tiles for r, at in enumerate(tile.words)}
    captures_at: dict[int, int] = defaultdict(int)
    for tile in tiles:
        for r, at in enumerate(tile.words):
            captures_at[at + r] |= 1 << r
    pixels = {tile.start + n: row for tile in tiles for n, row in enumerate(tile.pixels)}
    starts = {tile.start for tile in tiles}
    expected = {
        (tile.start + n + array_latency(target) + c // target.columns_per_cell, c): int(
            tile.sums[n, c]
        )
        for tile in tiles
        for n in range(len(tile.pixels))
        for c in range(cols)
    }
    seen: dict[tuple[int, int], int] = {}

    def drive(ctx: Any, cycle: int) -> None:
        junk = random.getrandbits(target.weight_bits - 1)
        ctx.set(dut.weights, [int(v) for v in words.get(cycle, [junk] * cols)])
        ctx.set(dut.capture, captures_at.get(cycle, 0))
        ctx.set(dut.swap, sum(1 << r for r in range(rows) if cycle - r in starts))
        ctx.set(
            dut.activations,
            [
                int(pixels[cycle - r][r])
                if cycle - r in pixels
                else edge_or_random(random, target.act_bits)
                for r in range(rows)
            ],
        )

    def watch(ctx: Any, cycle: int) -> None:
        for c in range(cols):
            if (cycle, c) in expected:
                seen[cycle, c] = ctx.get(dut.psums[c])

    def check() -> None:
        assert seen == expected

    return Scenario(
        dut=dut,
        agents=[Drive(drive), Watch(watch)],
        done=lambda: len(seen) == len(expected),
        check=check,
    )


def random_offsets(random: Random, target: Target) -> list[int]:
    return [random.randrange(target.act_depth) for _ in range(target.rows)]


def bank_pixels(
    random: Random, target: Target, tile: Tile, offsets: list[int]
) -> list[tuple[int, bool]]:
    """(address, gather) of each of a tile's pixels, such that every row reads inside its bank."""
    modulus = 1 << ceil_log2(target.act_depth)
    pixels = []
    for _ in range(len(tile.pixels)):
        gather = random.random() < 0.7
        address = random.randrange(modulus)
        while any(
            (address + (offset if gather else 0)) % modulus >= target.act_depth
            for offset in offsets
        ):
            address, gather = random.randrange(modulus), random.random() < 0.7
        pixels.append((address, gather))
    return pixels


def banks(seed: int) -> Scenario:
    """Each row reads at its own offset; words find their rows; swap and capture come in time."""
    random = Random(seed)
    target = small_target(random)
    dut = ActivationBanks(target)
    rows = target.rows
    content = [
        [edge_or_random(random, target.act_bits) for _ in range(rows)]
        for _ in range(target.act_depth)
    ]
    tiles = random_tiles(random, target, 6, tight=random.random() < 0.5)
    offsets = [random_offsets(random, target) for _ in tiles]
    ready = target.act_depth
    modulus = 1 << ceil_log2(target.act_depth)
    words, pixels = {}, {}
    expected: dict[tuple[int, int], int] = {}
    swaps, captures = set(), set()
    for tile, offset in zip(tiles, offsets, strict=True):
        for r, at in enumerate(tile.words):
            words[ready + at] = offset[r]
            captures.add((ready + at + r + target.bank_latency, r))
        for n, (address, gather) in enumerate(bank_pixels(random, target, tile, offset)):
            at = ready + tile.start + n
            pixels[at] = {"address": address, "swap": int(n == 0), "gather": int(gather)}
            for r in range(rows):
                where = (address + (offset[r] if gather else 0)) % modulus
                expected[at + target.bank_latency + r, r] = content[where][r]
                if n == 0:
                    swaps.add((at + target.bank_latency + r, r))
    end = max(at for at, _ in expected)
    seen: dict[tuple[int, int], int] = {}
    seen_swaps, seen_captures = set(), set()

    def drive(ctx: Any, cycle: int) -> None:
        ctx.set(dut.write_enable, int(cycle < ready))
        if cycle < ready:
            # Each group of banks has an address of its own.
            groups = target.bank_groups
            at = [(cycle + 5 * g) % target.act_depth for g in range(groups)]
            ctx.set(dut.write_address, at)
            ctx.set(dut.write_data, [content[at[r * groups // rows]][r] for r in range(rows)])
        ctx.set(dut.word_valid, int(cycle in words))
        ctx.set(dut.word_offset, words.get(cycle, random.randrange(target.act_depth)))
        ctx.set(dut.pixel, pixels.get(cycle, {"address": 0, "swap": 0, "gather": 0}))

    def watch(ctx: Any, cycle: int) -> None:
        for r in range(rows):
            if (cycle, r) in expected:
                seen[cycle, r] = ctx.get(dut.activations[r])
            if ctx.get(dut.swap) >> r & 1:
                seen_swaps.add((cycle, r))
            if ctx.get(dut.capture) >> r & 1:
                seen_captures.add((cycle, r))
        watch.cycle = cycle  # type: ignore[attr-defined]

    def check() -> None:
        assert seen == expected
        assert seen_swaps == swaps
        assert seen_captures == captures

    return Scenario(
        dut=dut,
        agents=[Drive(drive), Watch(watch)],
        done=lambda: getattr(watch, "cycle", 0) >= end,
        check=check,
    )
