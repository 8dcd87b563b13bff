"""The weight tiles of a layer: which exist for a column tile, and the numbers in them.

A number that exceeds the weight range is split: its high part goes into a shifted run, repeated if
even that is not enough, its low part into an unshifted one. All parts have the number's sign, so
that no partial sum exceeds the bound that `quant/accumulator.py` proves. Ternary cells with scales need
more parts, see `compiler/ternary.py`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tilewright.compiler.geometry import PLAIN, Packing
from tilewright.compiler.joint import joint_terms, joint_tiles, weight_block
from tilewright.compiler.packing import packed_runs
from tilewright.compiler.target import Target
from tilewright.compiler.ternary import digit_of, digits, equal_parts, least_repeats
from tilewright.compiler.work import Area, LayerWork, Run, Source
from tilewright.errors import TilewrightError

__all__ = ["MAX_REPEATS", "area_runs", "diagonal_values", "run_taps", "run_tiles"]

IntArray = npt.NDArray[np.int64]

MAX_REPEATS = 1 << 12
"""Most tiles into which a constant that exceeds the weight range is split."""


def area_runs(
    work: LayerWork, area: Area, packing: Packing = PLAIN, joint: int = 0
) -> tuple[tuple[Run, ...], ...]:
    """Runs of each column tile, in the order in which they are accumulated.

    With `joint`, the terms of a convolution that are not zero share tiles across so many channel
    blocks; without, each term has its place, zero or not.
    """
    if packing is not PLAIN:
        return packed_runs(work, area, packing)
    dense: list[_Part] = []
    result = []
    for j in range(len(work.columns)):
        if area.sources[0].dense and (j == 0 or work.target.scaled):
            dense = _dense_parts(work, j)
        affine: list[Run] = []
        gathered: list[Run] = []
        for s, source in enumerate(area.sources):
            if source.dense:
                find = _joint_runs if joint else _dense_runs
                for run in find(work, source, j, dense, joint):
                    (gathered if run.gather else affine).append(run)
            else:
                affine.extend(_diagonal_runs(work, area, s, j))
        affine.sort(key=lambda run: run.container)
        result.append((*gathered, *affine))
    return tuple(result)


def _limits(target: Target) -> tuple[int, int]:
    if target.ternary and not target.scaled:
        return -1, 1
    return -(1 << (target.weight_bits - 1)), (1 << (target.weight_bits - 1)) - 1


def _container(bits: int, target: Target) -> int:
    return min(c for c in target.weight_containers if c >= bits or target.ternary)


@dataclass(frozen=True, slots=True)
class _Part:
    """What the runs for some numbers have in common: see `Run`."""

    shift: bool
    repeats: int
    container: int
    digit: int | None = None


def _high(values: IntArray, target: Target) -> IntArray:
    """What of each number goes into a shifted run, in units of 2**sum_shift."""
    low, high = _limits(target)
    parts: IntArray = np.sign(values) * (np.abs(values) >> target.sum_shift)
    return np.where((values < low) | (values > high), parts, 0)


def _parts(work: LayerWork, values: IntArray) -> list[_Part]:
    """Runs whose tiles together can hold all of `values`."""
    target = work.target
    high = _high(values, target)
    low = values - (high << target.sum_shift)
    if target.scaled:
        return _scaled_parts(work, high, low)
    parts = []
    if high.any():
        repeats = _repeats(work, int(high.min()), int(high.max()), int(np.abs(values).max()))
        parts.append(_Part(True, repeats, _fitting(high, target)))
    if low.any() or not parts:
        parts.append(_Part(False, 1, _fitting(low, target)))
    return parts


def _scaled_parts(work: LayerWork, high: IntArray, low: IntArray) -> list[_Part]:
    """Runs for numbers [channels, terms] in two parts, where columns have scales."""
    parts: list[_Part] = []
    for shift, values in ((True, high), (False, low)):
        if not values.any() and (shift or parts):
            continue
        for digit in digits(values):
            repeats = least_repeats(digit_of(values, digit), work.target)
            if repeats is None or repeats > MAX_REPEATS:
                raise TilewrightError(
                    f"Layer {work.name!r}: a constant of {int(np.abs(values).max())} does not fit "
                    f"scales of {work.target.weight_bits} bits; the fractional lengths of its "
                    "operands lie too far apart: choose closer ones or a larger weight_bits"
                )
            parts.append(_Part(shift, repeats, 2, digit))
    return parts


def _fitting(values: IntArray, target: Target) -> int:
    """Container that takes `values`, as far as weights may be."""
    largest = max(int(values.max()), -1 - int(values.min()))
    return _container(min(largest.bit_length() + 1, target.weight_bits), target)


def _repeats(work: LayerWork, low: int, high: int, largest: int) -> int:
    """Tiles whose sum can hold values in [low, high]; `largest` is for the message."""
    least, most = _limits(work.target)
    repeats = max(-(-high // most), -(low // -least) if low < 0 else 1, 1)
    if repeats > MAX_REPEATS:
        raise TilewrightError(
            f"Layer {work.name!r}: a constant of {largest} would take {repeats} weight tiles of "
            f"{work.target.weight_bits} bits (at most {MAX_REPEATS}); the fractional lengths of "
            f"its operands lie too far apart: choose closer ones or a larger weight_bits"
        )
    return repeats


def _dense_parts(work: LayerWork, j: int) -> list[_Part]:
    """Runs that a convolution's weights take; with scales, those of column tile `j`."""
    weight = work.fixed.weight
    assert weight is not None
    shift = work.main_shift
    assert (shift >= 0).all(), f"{work.name}: accumulator coarser than the products"
    if work.target.scaled:
        of = _channels(work, j)
        numbers = weight[of].reshape(len(of), -1).astype(np.int64)
        return _parts(work, numbers << shift[of][:, None])
    if not shift.any():
        return [_Part(False, 1, _container(work.fixed.weight_bits, work.target))]
    return _parts(work, weight.reshape(len(weight), -1).astype(np.int64) << shift[:, None])


def _channels(work: LayerWork, j: int) -> IntArray:
    columns = work.columns[j]
    used: IntArray = columns[columns >= 0]
    return used


def _joint_runs(
    work: LayerWork, source: Source, j: int, parts: list[_Part], joint: int
) -> list[Run]:
    """Runs over `joint` channel blocks each; at least one, so that accumulators are written."""
    blocks = source.blocks(work.target)
    spans = [(first, min(first + joint, blocks)) for first in range(0, blocks, joint)]
    counts = [len(joint_terms(work, source, j, *span)) for span in spans]
    counts[0] = counts[0] or int(not any(counts))
    return [
        replace(_run(0, *span, gather=True, part=part, tiles=count), joint=True)
        for part in parts
        for span, count in zip(spans, counts, strict=True)
        if count
    ]


def _dense_runs(
    work: LayerWork, source: Source, j: int, parts: list[_Part], joint: int = 0
) -> list[Run]:
    assert work.fixed.layer.conv is not None
    channels, rows = source.shape[0], work.target.rows
    groups = work.fixed.layer.conv.groups
    group = _channels(work, j) // (work.shape[0] // groups)
    per_group = channels // groups
    first = int(group.min()) * per_group // rows
    last = -(-(int(group.max()) + 1) * per_group // rows)
    taps = source.rows.taps * source.cols.taps
    copies = _copies(source)
    stop = last
    if last * rows >= channels and copies > 1 and taps > 1:
        stop = last - 1
    runs = []
    for part in parts:
        if stop < last:
            tiles = -(-taps // copies)
            runs.append(_run(0, stop, last, gather=True, part=part, tiles=tiles))
        if stop > first:
            runs.append(_run(0, first, stop, gather=False, part=part, tiles=taps))
    return runs


def _run(source: int, first: int, last: int, *, gather: bool, part: _Part, tiles: int) -> Run:
    """A run of `tiles` tiles a block, not counting repeats."""
    each = tiles * part.repeats
    result = Run(source, first, last, gather, part.repeats, part.container, each)
    return replace(result, shift=part.shift, digit=part.digit)


def _copies(source: Source) -> int:
    """How many copies of its channels the last block of a tensor holds in the banks."""
    return int(np.count_nonzero(source.layout.lane_map == source.shape[0] - 1))


def diagonal_values(work: LayerWork, area: Area, s: int, j: int) -> IntArray:
    """Weight of source `s` for each column of tile `j`; 0 where the source does not reach."""
    source = area.sources[s]
    columns = work.columns[j]
    local = columns - source.offset
    reached = (columns >= 0) & (local >= 0) & (local < source.shape[0])
    if work.pool_sum:
        return np.where(reached, area.scale, 0)
    shift = work.fixed.acc_frac[np.maximum(columns, 0)] - work.fracs[s]
    assert (shift[reached] >= 0).all(), f"{work.name}: accumulator coarser than an operand"
    if (shift[reached] > 40).any():
        raise TilewrightError(
            f"Layer {work.name!r}: the fractional lengths of its operands differ by "
            f"{int(shift[reached].max())} bits; choose closer ones (at most 40 apart)"
        )
    return np.where(reached, np.int64(1) << np.where(reached, shift, 0), 0)


def _diagonal_runs(work: LayerWork, area: Area, s: int, j: int) -> list[Run]:
    source = area.sources[s]
    values = diagonal_values(work, area, s, j)
    if not values.any():
        return []
    local = (work.columns[j] - source.offset)[values > 0]
    first = int(local.min()) // work.target.rows
    last = int(local.max()) // work.target.rows + 1
    taps = source.rows.taps * source.cols.taps
    parts = _parts(work, values[:, None])
    return [_run(s, first, last, gather=False, part=part, tiles=taps) for part in parts]


def run_taps(work: LayerWork, source: Source, run: Run) -> IntArray:
    """Tap (kernel row * kernel width + kernel column) each row of a gathered run's tiles reads.

    Returns int64 [tiles, R].
    """
    channels, rows = source.shape[0], work.target.rows
    copies = _copies(source)
    ragged = channels - (run.last - 1) * rows
    taps = source.rows.taps * source.cols.taps
    tap = np.arange(run.tiles_per_block // run.repeats)[:, None] * copies
    tap = tap + np.minimum(np.arange(rows) // ragged, copies - 1)
    # Rows beyond the last tap have weight 0 and only need an address inside the rectangle.
    tap = np.where(tap < taps, tap, tap[:, :1])
    return np.repeat(tap, run.repeats, axis=0)


def run_tiles(work: LayerWork, area: Area, j: int, run: Run) -> IntArray:
    """Weights of a run for column tile `j`: int64 [tiles, R, C], within weight_bits."""
    source = area.sources[run.source]
    if not source.dense:
        tiles = _diagonal_tiles(work, area, j, run)
    elif run.joint:
        tiles = joint_tiles(work, source, j, run)
    elif run.gather:
        tiles = _gathered_tiles(work, source, j, run)
    else:
        tiles = _affine_tiles(work, source, j, run)
    if source.dense and not work.main_shift.any() and run.digit is None:
        return tiles
    high = _high(tiles, work.target)
    tiles = high if run.shift else tiles - (high << work.target.sum_shift)
    if work.target.scaled:
        parts = equal_parts(digit_of(tiles, run.digit), run.repeats)
        return parts.swapaxes(0, 1).reshape(-1, *tiles.shape[1:])
    return _split(tiles, run.repeats, *_limits(work.target))


def _split(tiles: IntArray, repeats: int, low: int, high: int) -> IntArray:
    """Each tile as `repeats` tiles within [low, high] whose sum it is."""
    if repeats == 1:
        return tiles
    result = np.empty((len(tiles), repeats, *tiles.shape[1:]), np.int64)
    rest = tiles
    for i in range(repeats):
        result[:, i] = np.clip(rest, low, high)
        rest = rest - result[:, i]
    assert not rest.any()
    return result.reshape(-1, *tiles.shape[1:])


def _affine_tiles(work: LayerWork, source: Source, j: int, run: Run) -> IntArray:
    rows, cols = work.target.rows, work.target.cols
    block = weight_block(work, source, j, run.first, run.last)
    block = block.reshape(cols, run.last - run.first, rows, *block.shape[2:])
    return block.transpose(1, 3, 4, 2, 0).reshape(-1, rows, cols)


def _gathered_tiles(work: LayerWork, source: Source, j: int, run: Run) -> IntArray:
    rows, cols = work.target.rows, work.target.cols
    copies = _copies(source)
    ragged = source.shape[0] - run.first * rows
    block = weight_block(work, source, j, run.first, run.last)[:, :ragged]
    block = block.reshape(cols, ragged, -1)
    count = run.tiles_per_block // run.repeats
    padded = np.zeros((cols, ragged, count * copies), np.int64)
    padded[:, :, : block.shape[2]] = block
    packed = padded.reshape(cols, ragged, count, copies).transpose(2, 3, 1, 0)
    tiles = np.zeros((count, rows, cols), np.int64)
    tiles[:, : copies * ragged] = packed.reshape(count, copies * ragged, cols)
    return tiles


def _diagonal_tiles(work: LayerWork, area: Area, j: int, run: Run) -> IntArray:
    source, rows = area.sources[run.source], work.target.rows
    values = diagonal_values(work, area, run.source, j)
    tiles = np.zeros((run.last - run.first, rows, work.target.cols), np.int64)
    block, lane = np.divmod(work.columns[j] - source.offset, rows)
    used = np.flatnonzero((values != 0) & (block >= run.first) & (block < run.last))
    tiles[block[used] - run.first, lane[used], used] = values[used]
    return np.repeat(tiles, source.rows.taps * source.cols.taps, axis=0)
