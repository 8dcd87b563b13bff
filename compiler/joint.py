"""Joint runs: only the reduction terms that are not zero, from several channel blocks in one tile.

A weight tile is any R reduction terms, one a bank. Where pruning has zeroed a term (an input channel
at one kernel position) for all output channels of a column tile, it need not be multiplied: a joint
run takes the others of its channel blocks, bank by bank, and has as many tiles as the bank with most
of them. Each row reads its own word, so the tiles are gathered ones.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from tilewright.compiler.work import LayerWork, Run, Source

__all__ = ["joint_groups", "joint_offsets", "joint_terms", "joint_tiles", "weight_block"]

IntArray = npt.NDArray[np.int64]


def weight_block(work: LayerWork, source: Source, j: int, first: int, last: int) -> IntArray:
    """Weights [C, input channels of blocks first..last, kh, kw] of column tile `j`, scaled."""
    fixed, rows = work.fixed, work.target.rows
    assert fixed.weight is not None and fixed.layer.conv is not None
    columns = work.columns[j]
    out = np.maximum(columns, 0)
    start, stop = first * rows, min(last * rows, source.shape[0])
    kernel = fixed.weight.shape[2:]
    block = np.zeros((len(columns), (last - first) * rows, *kernel), np.int64)
    if fixed.layer.conv.groups == 1:
        block[:, : stop - start] = fixed.weight[out, start:stop]
    else:
        per_group = fixed.weight.shape[1]
        outputs = work.shape[0] // fixed.layer.conv.groups
        for c, channel in enumerate(out):
            base = int(channel) // outputs * per_group
            lo, hi = max(base, start), min(base + per_group, stop)
            if lo < hi:
                block[c, lo - start : hi - start] = fixed.weight[channel, lo - base : hi - base]
    block[columns < 0] = 0
    shift = work.main_shift[out]
    return block << shift[:, None, None, None] if shift.any() else block


@lru_cache(maxsize=4)
def _kept(work: LayerWork, source: Source) -> npt.NDArray[np.bool_]:
    """Which terms are not zero: bool [column tiles, channels, taps]."""
    blocks = source.blocks(work.target)
    columns = (weight_block(work, source, j, 0, blocks) for j in range(len(work.columns)))
    kept = np.stack([(block != 0).any(axis=0) for block in columns])
    return kept.reshape(len(kept), kept.shape[1], -1)[:, : source.shape[0]]


def joint_groups(work: LayerWork, source: Source) -> tuple[int, ...]:
    """Numbers of channel blocks that may share tiles: none if no term is zero."""
    if not source.dense or _kept(work, source).all():
        return ()
    sizes, most = [1], source.blocks(work.target)
    while sizes[-1] < most:
        sizes.append(min(sizes[-1] * 2, most))
    return tuple(sizes)


def joint_terms(work: LayerWork, source: Source, j: int, first: int, last: int) -> IntArray:
    """Terms of column tile `j` over channel blocks [first, last), bank by bank: int64 [tiles, R].

    A term is (channel - first * R) * taps + tap; -1 where a bank has none left. Channels of which
    the last block holds copies are spread over the banks that hold them.
    """
    rows = work.target.rows
    kept = _kept(work, source)[j, first * rows : last * rows]
    lanes = source.layout.lane_map[first * rows : last * rows] - first * rows
    # Channels that stand in several banks are left for last, and fill the shortest queues.
    copied = np.bincount(lanes[lanes >= 0], minlength=len(kept)) > 1
    grid = np.zeros(((last - first) * rows, kept.shape[1]), np.bool_)
    grid[: len(kept)] = kept & ~copied[:, None]
    queues: list[list[int]] = [[] for _ in range(rows)]
    for bank in range(rows):
        block, tap = np.nonzero(grid[bank::rows])
        queues[bank] = ((block * rows + bank) * kept.shape[1] + tap).tolist()
    for channel in np.flatnonzero(copied):
        banks = np.flatnonzero(lanes == channel) % rows
        for place in np.flatnonzero(kept[channel]):
            shortest = min(banks, key=lambda bank: len(queues[bank]))
            queues[shortest].append(int(channel * kept.shape[1] + place))
    terms = np.full((max(map(len, queues)), rows), -1, np.int64)
    for bank, queue in enumerate(queues):
        terms[: len(queue), bank] = queue
    return terms


def joint_tiles(work: LayerWork, source: Source, j: int, run: Run) -> IntArray:
    """Weights of a joint run for column tile `j`, not counting repeats: int64 [tiles, R, C]."""
    terms = _terms(work, source, j, run)
    block = weight_block(work, source, j, run.first, run.last)
    values = block.reshape(len(block), -1).T[np.maximum(terms, 0)]
    return np.where(terms[..., None] < 0, 0, values)


def joint_offsets(
    work: LayerWork, source: Source, j: int, run: Run, pitch: int, words: int
) -> IntArray:
    """Bank offset of each row of a joint run's tiles: int64 [tiles, R].

    `pitch` is the words from one input row to the next, `words` from one channel block to the next.
    """
    terms = np.repeat(np.maximum(_terms(work, source, j, run), 0), run.repeats, axis=0)
    channel, tap = np.divmod(terms, source.rows.taps * source.cols.taps)
    tap_row, tap_col = np.divmod(tap, source.cols.taps)
    within = tap_row * source.rows.dilation * pitch + tap_col * source.cols.dilation
    result: IntArray = channel // work.target.rows * words + within
    return result


def _terms(work: LayerWork, source: Source, j: int, run: Run) -> IntArray:
    terms = joint_terms(work, source, j, run.first, run.last)
    if len(terms) * run.repeats == run.tiles:
        return terms
    # A column tile without any term still has one tile, which clears its accumulators.
    assert not len(terms), f"{work.name}: a joint run has other tiles than its terms take"
    return np.full((run.tiles // run.repeats, work.target.rows), -1, np.int64)
