"""Scenarios of the array of ternary cells."""

from __future__ import annotations

from random import Random
from typing import Any

import numpy as np
from array_scenarios import edge_or_random
from streams import Drive, Scenario, Watch

from tilewright.compiler.target import Target
from tilewright.compiler.ternary import ternary_codes
from tilewright.hw.array import SystolicArray, array_latency

__all__ = ["ternary_array"]


def ternary_target(random: Random) -> Target:
    """Any small array of ternary cells, with scales and without."""
    rows, act_bits = random.randint(3, 6), random.randint(3, 10)
    return Target(
        rows=rows,
        cols=random.choice((1, 2, 3, 4, 8)),
        act_bits=act_bits,
        weight_bits=random.randint(2, min(rows, act_bits)),
        multiplier_stages=random.randint(0, 2),
        edge_registers=random.choice((0, 0, 1, 2)),
        ternary=True,
    )


def random_weights(random: Random, target: Target) -> np.ndarray:
    """A tile with one positive and one negative number a column, extremes favoured."""
    most = (1 << target.weight_bits) - 1 if target.scaled else 1
    scales = [[random.choice((1, most, random.randint(1, most))) for _ in "pn"] for _ in "c" * 64]
    return np.array(
        [
            [random.choice((0, scales[c][0], -scales[c][1])) for c in range(target.cols)]
            for _ in range(target.rows)
        ],
        np.int64,
    )


def ternary_array(seed: int) -> Scenario:
    """Scales come with a tile of their own; sums after it are those of the numbers themselves."""
    random = Random(seed)
    target = ternary_target(random)
    dut = SystolicArray(target)
    rows, cols, stop = target.rows, target.cols, 0
    words: dict[int, np.ndarray] = {}
    captures: dict[int, int] = {}
    starts: set[int] = set()
    takes: set[int] = set()
    pixels: dict[int, list[int]] = {}
    expected: dict[tuple[int, int], int] = {}

    def add_tile(codes: np.ndarray, tile_pixels: list[list[int]], at: int) -> int:
        """Let a tile in from cycle `at` on; returns the cycle of its first pixel."""
        for r in range(rows):
            at += random.choice((0, 0, 0, 2))
            words[at] = codes[r]
            captures[at + r] = captures.get(at + r, 0) | 1 << r
            at += 1
        start = max(at, stop)
        starts.add(start)
        for n, pixel in enumerate(tile_pixels):
            pixels[start + n] = pixel
        return start

    at = 0
    for _ in range(6):
        tile = random_weights(random, target)
        *scales, codes = ternary_codes(tile[None], target)
        for brought in scales:
            bits = [1 << r if r < target.weight_bits else 0 for r in range(rows)]
            at = add_tile(brought, [bits], at)
            takes.add(at + rows - 1)
            stop = at + target.accumulate_latency
        values = [
            [edge_or_random(random, target.act_bits) for _ in range(rows)]
            for _ in range(random.randint(1, rows + 3))
        ]
        at = add_tile(codes, values, at)
        stop = at + len(values)
        for n, pixel in enumerate(values):
            for c, total in enumerate(np.array(pixel) @ tile):
                group = c // target.columns_per_cell
                expected[at + n + array_latency(target) + group, c] = int(total)
    seen: dict[tuple[int, int], int] = {}

    def drive(ctx: Any, cycle: int) -> None:
        ctx.set(dut.weights, [int(v) for v in words.get(cycle, [random.randint(-2, 1)] * cols)])
        ctx.set(dut.capture, captures.get(cycle, 0))
        ctx.set(dut.swap, sum(1 << r for r in range(rows) if cycle - r in starts))
        if target.scaled:
            ctx.set(dut.scales, int(cycle in takes))
        junk = edge_or_random(random, target.act_bits)
        row_values = [pixels[cycle - r][r] if cycle - r in pixels else junk for r in range(rows)]
        ctx.set(dut.activations, row_values)

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
