"""The quick cycle estimate by which tilings are compared."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tilewright.compiler.cuts import Cut
from tilewright.compiler.geometry import PLAIN, Packing
from tilewright.compiler.isa import INSTRUCTION_BYTES
from tilewright.compiler.target import Target
from tilewright.compiler.work import Area, LayerWork, Run

__all__ = ["Demand", "Tiles", "column_counts", "demand", "estimate", "sum_tiles"]

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
    columns : column tiles
    streamed : channel blocks of each source that all column tiles together load when streaming,
        for each number of column tiles that share loads
    resident : channel blocks of each source in all
    pixel_bytes : bytes of a pixel of each source in memory
    packing : of the words
    calcs : CALC instructions for each `group`
    live : most groups in use at once in resident mode, for each `group` and number of column tiles
        that share loads
    """

    tiles: int
    tile_beats: float
    beats: float
    packing: Packing
    segments: int
    columns: int
    streamed: dict[int, tuple[int, ...]]
    resident: tuple[int, ...]
    pixel_bytes: tuple[int, ...]
    calcs: dict[int, int]
    live: dict[tuple[int, int], int]


def group_sizes(work: LayerWork, area: Area) -> list[int]:
    """Candidate numbers of channel blocks a step."""
    most = max(source.blocks(work.target) for source in area.sources)
    sizes = [1]
    while sizes[-1] < most:
        sizes.append(min(sizes[-1] * 2, most))
    return sizes


def demand(
    work: LayerWork,
    area: Area,
    runs: tuple[tuple[Run, ...], ...],
    sizes: Sequence[int] | None = None,
) -> Demand:
    """Sum up an area's runs for groups of `sizes` blocks, or of those of `group_sizes`."""
    target = work.target
    tiles = bits = widest = 0
    packing = runs[0][0].packing
    for column in runs:
        for run in column:
            tile = target.rows * (target.cols * run.container + 16 * run.gather)
            tiles += run.tiles
            bits += tile * run.tiles
            widest = max(widest, tile)
    calcs, live = {}, {}
    for size in sizes or group_sizes(work, area):
        for columns in column_counts(runs):
            calcs[size], live[size, columns] = _grouped(runs, size, columns)
        calcs[size] *= packing.pixels * (1 + target.scaled)  # those that bring scales
    return Demand(
        tiles=tiles,
        tile_beats=widest / 8 / target.bus_bytes,
        beats=bits / 8 / target.bus_bytes,
        packing=packing,
        segments=_segments(work) * packing.rows,
        columns=len(runs),
        streamed={k: _streamed(runs, len(area.sources), k) for k in column_counts(runs)},
        resident=tuple(source.blocks(target) for source in area.sources),
        pixel_bytes=tuple(source.layout.pixel_bytes for source in area.sources),
        calcs=calcs,
        live=live,
    )


def _segments(work: LayerWork) -> int:
    rows, cols, used = work.target.rows, work.target.cols, work.used_lanes
    bounds = {*range(0, used, rows), *range(0, used, cols)}
    return len(bounds)


def column_counts(runs: tuple[tuple[Run, ...], ...]) -> tuple[int, ...]:
    """Numbers of column tiles that may share an accumulator half."""
    if runs[0][0].packing is not PLAIN:
        return (1,)
    return tuple(k for k in (1, 2, 3, 4, 6, 8) if k <= len(runs))


def _streamed(runs: tuple[tuple[Run, ...], ...], sources: int, columns: int) -> tuple[int, ...]:
    """Channel blocks of each source that are loaded if `columns` column tiles share loads."""
    blocks: list[set[tuple[int, int]]] = [set() for _ in range(sources)]
    for j, column in enumerate(runs):
        for run in column:
            blocks[run.source] |= {(j // columns, b) for b in range(run.first, run.last)}
    return tuple(map(len, blocks))


def _grouped(runs: tuple[tuple[Run, ...], ...], size: int, columns: int) -> tuple[int, int]:
    """CALC steps, and most groups live at once, with `size` blocks a group.

    All groups of `columns` column tiles count as live together: their fills take turns with them.
    """
    first: dict[tuple[int, int], int] = {}
    last: dict[tuple[int, int], int] = {}
    steps = 0
    for j, column in enumerate(runs):
        for run in column:
            for q in range(run.first // size, (run.last - 1) // size + 1):
                first.setdefault((run.source, q), j // columns)
                last[run.source, q] = j // columns
                steps += 1
    change = np.zeros(len(runs) + 1, np.int64)
    for key, j in first.items():
        change[j] += 1
        change[last[key] + 1] -= 1
    return steps, int(change.cumsum().max())


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiles:
    """Sums over the macro tiles and fills of one cut of both axes; all that tilings share.

    Attributes
    ----------
    fills, macros : how many there are
    period : cycles of one weight tile in every fill, as the memory delivers them
    array : the same, as the array could take them
    stored : cycles of one STORE of every fill
    load, read : for each source, cycles and bus beats of one channel block's LOADs, if it stays in
        the banks for a macro tile, and if each fill loads it anew
    first : for each source, cycles of the first such LOAD
    """

    fills: int
    macros: int
    period: float
    array: float
    stored: float
    load: tuple[tuple[float, float], ...]
    read: tuple[tuple[float, float], ...]
    first: tuple[float, ...]


def sum_tiles(target: Target, need: Demand, rows: Cut, cols: Cut) -> Tiles:
    """Sum up the fills that the cuts of rows and columns make."""
    accumulators = np.outer(rows.accumulators, cols.accumulators)
    pixels = accumulators / need.packing.pixels
    row_beats = np.ceil(cols.outputs * target.pixel_bytes / target.bus_bytes)
    reads = accumulators / rows.outputs[:, None]
    written = rows.outputs[:, None] * np.maximum(np.maximum(row_beats, reads), ROW_CYCLES)
    repeat = np.outer(rows.macro_fills, cols.macro_fills)
    load, read, first = [], [], []
    for s, pixel_bytes in enumerate(need.pixel_bytes):
        beats = np.ceil(cols.real[s] * pixel_bytes / target.bus_bytes)
        pads = cols.words[s] - cols.real[s]
        row = np.maximum(np.maximum(beats, cols.real[s]) + pads, ROW_CYCLES)
        one = np.outer(rows.real[s], row)
        one = one + np.outer(rows.words[s] - rows.real[s], cols.words[s]) + 4.0
        moved = np.outer(rows.real[s], beats)
        load.append((float(one.sum()), float((one * repeat).sum())))
        read.append((float(moved.sum()), float((moved * repeat).sum())))
        first.append(float(one.flat[0]))
    return Tiles(
        fills=pixels.size,
        macros=repeat.size,
        period=float(np.maximum(pixels, max(target.min_tile_period, need.tile_beats)).sum()),
        array=float(np.maximum(pixels, target.min_tile_period).sum()),
        stored=float(written.sum()),
        load=tuple(load),
        read=tuple(read),
        first=tuple(first),
    )


def estimate(
    target: Target,
    need: Demand,
    tiles: Tiles,
    group: int,
    columns: int,
    resident: bool,
    slots: int,
) -> tuple[float, str]:
    """Cycles of an area, and whether compute or memory bounds it."""
    fills = tiles.fills
    calc = tiles.period * need.tiles + fills * need.calcs[group] * STEP_OVERHEAD
    blocks = need.resident if resident else need.streamed[columns]
    load = read = first = 0.0
    for s, count in enumerate(blocks):
        load += tiles.load[s][not resident] * count
        read += tiles.read[s][not resident] * count
        first = max(first, tiles.first[s] * min(group, count))
    instructions = fills * (2 * need.calcs[group] + need.segments) * INSTRUCTION_BYTES
    memory = read + need.beats * fills + instructions / target.bus_bytes
    store = tiles.stored * need.segments / need.packing.rows
    store += fills * need.segments * (STORE_OVERHEAD + target.cols)
    drain = store / fills / max(need.segments, 1) * columns
    stall = _stall(need, tiles.macros, group, columns, resident, slots, calc, load)
    busy = max(calc + stall, memory, load, store)
    bound = "memory" if max(memory, load, store) > tiles.array * need.tiles * 1.02 else "compute"
    return busy + first + drain + TRAFFIC * memory + 2 * READ_LATENCY, bound


def _stall(
    need: Demand,
    macros: int,
    group: int,
    columns: int,
    resident: bool,
    slots: int,
    calc: float,
    load: float,
) -> float:
    """Cycles in which the array waits for LOADs that the bank slots do not let run ahead."""
    if not resident:
        return load if slots == 1 else 0.0
    live = need.live[group, columns]
    groups = macros * sum(-(-blocks // group) for blocks in need.resident)
    if slots <= live == 1 and groups > slots:
        return load
    # The first column tiles of a macro tile find only those blocks that were loaded during the
    # previous one.
    one = load / macros
    passes = math.ceil(need.columns / columns)
    ahead = min(max(slots - live, 0) / live, 1.0)
    later = max(one * (1 - ahead) - calc / macros / passes, 0.0)
    return max(one - calc / macros / passes, 0.0) + (macros - 1) * later
