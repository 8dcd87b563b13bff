"""The quick cycle estimate by which tilings are compared."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.compiler.geometry import Axis, Windows, ranges
from tilewright.compiler.isa import INSTRUCTION_BYTES
from tilewright.compiler.target import Target
from tilewright.compiler.work import Area, LayerWork, Run

__all__ = ["Cut", "Demand", "cut_axis", "demand", "estimate"]

FloatArray = npt.NDArray[np.float64]

STEP_OVERHEAD = 6
"""Cycles lost between two CALC instructions."""
TRAFFIC = 0.03
"""Weight of hidden memory traffic, since units that share the bus also hold each other up."""
STORE_OVERHEAD = 24
"""Cycles lost between two STOREs, besides the C parameter records."""
ROW_CYCLES = 8
"""Least cycles of a row in memory: a burst's latency over the bursts under way at once."""
READ_LATENCY = 60
"""Cycles until the first beat of a read that nothing hides."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What one fill of an area costs besides its pixels, summed over all column tiles.

    Attributes
    ----------
    tiles : weight tiles
    tile_beats : bus beats of the widest tile's weights
    beats : bus beats of all weights
    segments : STORE passes over the accumulators
    streamed : channel blocks of each source that all column tiles together load when streaming
    resident : channel blocks of each source in all
    calcs : CALC instructions for each `group`
    live : most groups in use at once in resident mode, for each `group`
    """

    tiles: int
    tile_beats: float
    beats: float
    segments: int
    streamed: tuple[int, ...]
    resident: tuple[int, ...]
    calcs: dict[int, int]
    live: dict[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """One axis cut into macro tiles and fills.

    Attributes
    ----------
    outputs : outputs of each fill
    accumulators : accumulators of each fill
    macro_fills : fills of each macro tile
    words : for each source, bank words of each macro tile
    real : for each source, words of each macro tile that are read from memory
    """

    outputs: FloatArray
    accumulators: FloatArray
    macro_fills: FloatArray
    words: tuple[FloatArray, ...]
    real: tuple[FloatArray, ...]


def cut_axis(
    windows: Windows,
    extent: tuple[int, int],
    macro: int,
    fill: int,
    sources: tuple[Axis, ...],
    align: int,
) -> Cut:
    """Cut outputs `extent` of one axis; loads start at multiples of `align` pixels."""
    outputs, accumulators, fills = [], [], []
    words: list[list[int]] = [[] for _ in sources]
    real: list[list[int]] = [[] for _ in sources]
    for first, last in ranges(*extent, macro, align):
        count = 0
        for a, b in ranges(first, last, fill, align):
            start, stop = windows.region(a, b)
            outputs.append(b - a)
            accumulators.append(stop - start)
            count += 1
        fills.append(count)
        region = windows.region(first, last)
        for s, axis in enumerate(sources):
            start, stop = axis.needs(*region)
            start -= start % align if start > 0 else 0
            words[s].append(stop - start)
            real[s].append(max(min(stop, axis.size) - max(start, 0), 0))
    return Cut(
        outputs=np.array(outputs, np.float64),
        accumulators=np.array(accumulators, np.float64),
        macro_fills=np.array(fills, np.float64),
        words=tuple(np.array(w, np.float64) for w in words),
        real=tuple(np.array(r, np.float64) for r in real),
    )


def group_sizes(work: LayerWork, area: Area) -> list[int]:
    """Candidate numbers of channel blocks a step."""
    most = max(source.blocks(work.target) for source in area.sources)
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(sizes[-1] * 2, most))
    return sizes


def demand(work: LayerWork, area: Area, runs: tuple[tuple[Run, ...], ...]) -> Demand:
    """Sum up an area's runs."""
    target = work.target
    tiles = 0
    bits = widest = 0
    streamed = [0] * len(area.sources)
    for column in runs:
        for run in column:
            tile = target.rows * (target.cols * run.container + 16 * run.gather)
            tiles += run.tiles
            bits += tile * run.tiles
            widest = max(widest, tile)
            streamed[run.source] += run.last - run.first
    calcs, live = {}, {}
    for size in group_sizes(work, area):
        calcs[size], live[size] = _grouped(runs, size)
    per_segment = _segments(work)
    return Demand(
        tiles=tiles,
        tile_beats=widest / 8 / target.bus_bytes,
        beats=bits / 8 / target.bus_bytes,
        segments=per_segment,
        streamed=tuple(streamed),
        resident=tuple(source.blocks(target) for source in area.sources),
        calcs=calcs,
        live=live,
    )


def _segments(work: LayerWork) -> int:
    rows, cols, used = work.target.rows, work.target.cols, work.used_lanes
    bounds = {*range(0, used, rows), *range(0, used, cols)}
    return len(bounds)


def _grouped(runs: tuple[tuple[Run, ...], ...], size: int) -> tuple[int, int]:
    """CALC steps, and most groups live at once, with `size` blocks a group.

    All groups of a column tile count as live together, since its fills take turns with them.
    """
    first: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], int] = {}
    steps = 0
    for j, column in enumerate(runs):
        for run in column:
            for q in range(run.first // size, (run.last - 1) // size + 1):
                first.setdefault((run.source, q), j)
                last[run.source, q] = j
                steps += 1
    change = np.zeros(len(runs) + 1, np.int64)
    for key, j in first.items():
        change[j] += 1
        change[last[key] + 1] -= 1
    return steps, int(change.cumsum().max())


def estimate(
    target: Target, need: Demand, rows: Cut, cols: Cut, group: int, resident: bool, slots: int
) -> tuple[float, str]:
    """Cycles of an area, and whether compute or memory bounds it."""
    pixels = np.outer(rows.accumulators, cols.accumulators)
    period = np.maximum(pixels, max(target.min_tile_period, need.tile_beats))
    fills = pixels.size
    calc = float(period.sum()) * need.tiles + fills * need.calcs[group] * STEP_OVERHEAD
    blocks = need.resident if resident else need.streamed
    repeat = np.outer(rows.macro_fills, cols.macro_fills)
    load = read = first = 0.0
    for s, count in enumerate(blocks):
        beats = np.ceil(cols.real[s] * target.pixel_bytes / target.bus_bytes)
        pads = cols.words[s] - cols.real[s]
        row = np.maximum(np.maximum(beats, cols.real[s]) + pads, ROW_CYCLES)
        one = np.outer(rows.real[s], row)
        one = one + np.outer(rows.words[s] - rows.real[s], cols.words[s]) + 4.0
        times = np.ones_like(one) if resident else repeat
        load += float((one * times).sum()) * count
        read += float((np.outer(rows.real[s], beats) * times).sum()) * count
        first = max(first, float(one.flat[0]) * min(group, count))
    weights = need.beats * fills
    instructions = fills * (2 * need.calcs[group] + need.segments) * INSTRUCTION_BYTES
    memory = read + weights + instructions / target.bus_bytes
    row_beats = np.ceil(cols.outputs * target.pixel_bytes / target.bus_bytes)
    reads = pixels / rows.outputs[:, None]
    written = rows.outputs[:, None] * np.maximum(np.maximum(row_beats, reads), ROW_CYCLES)
    store = float((written + STORE_OVERHEAD + target.cols).sum()) * need.segments
    drain = store / fills / max(need.segments, 1)
    busy = max(calc, memory, load, store)
    if slots <= (need.live[group] if resident else 1) and repeat.size + (not resident) > 1:
        busy = max(calc + load, memory, store)
    array = float(np.maximum(pixels, target.min_tile_period).sum()) * need.tiles
    bound = "memory" if max(memory, load, store) > array * 1.02 else "compute"
    return busy + first + drain + TRAFFIC * memory + 2 * READ_LATENCY, bound
