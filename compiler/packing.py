"""Pixel packing: several pixels of a depthwise convolution share one bank word.

A depthwise convolution multiplies each channel with its own weights only, so of a plain weight tile
just the diagonal is used. A packed word holds R/P channels of P neighbouring pixels (P phases of a
block of pixels) instead of R channels of one, and the columns hold P outputs of R/P channels: a tile
then does up to P times as much, and a pixel that neighbouring outputs share is read once for all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilewright.compiler.geometry import PLAIN, Packing
from tilewright.compiler.layout import lane_map
from tilewright.compiler.target import Target
from tilewright.compiler.work import Area, LayerWork, Run, Source

__all__ = ["packed_offsets", "packed_runs", "packed_tiles", "packings"]

IntArray = npt.NDArray[np.int64]


def packings(work: LayerWork, area: Area) -> tuple[Packing, ...]:
    """The packings with which an area can be computed; PLAIN is always one of them."""
    conv = work.fixed.layer.conv
    channels = work.shape[0]
    simple = (
        conv is not None
        and conv.groups == channels == area.sources[0].shape[0]
        and len(area.sources) == 1
        and not area.sources[0].layout.narrow
        and area.row_windows.plain
        and area.col_windows.plain
        and not (work.fixed.acc_frac - work.fixed.weight_frac - work.fracs[0]).any()
    )
    if not simple:
        return (PLAIN,)
    return (PLAIN, *(Packing(2, pixels // 2) for pixels in work.target.packs))


def _positions(source: Source, packing: Packing, target: Target) -> IntArray:
    """Input pixel (row, column) that each phase reads in each tile: int64 [tiles, P, 2].

    Counted from the first input block of an output block; (-1, -1) where a phase reads nothing.
    """
    lead = packing.lead(source.cols, target.pixel_align)
    wanted = []
    for number, axis in enumerate((source.rows, source.cols)):
        output = np.arange(packing.size(number))[:, None] * axis.stride
        tap = np.arange(axis.taps) * axis.dilation
        wanted.append(np.unique(output + tap) + (lead if number else 0))
    phases: list[list[tuple[int, int]]] = [[] for _ in range(packing.pixels)]
    for row in wanted[0]:
        for col in wanted[1]:
            phase = row % packing.rows * packing.cols + col % packing.cols
            phases[phase].append((int(row), int(col)))
    result = np.full((max(map(len, phases)), packing.pixels, 2), -1, np.int64)
    for phase, places in enumerate(phases):
        result[: len(places), phase] = np.reshape(places, (-1, 2))
    return result


def packed_runs(work: LayerWork, area: Area, packing: Packing) -> tuple[tuple[Run, ...], ...]:
    """One run for each column tile, which reads the channel block of the same number."""
    target = work.target
    tiles = len(_positions(area.sources[0], packing, target)) * packing.pixels
    widest = max(target.weight_containers)
    container = min(
        c for c in target.weight_containers if packing.pixels * widest <= c * target.cols
    )
    return tuple(
        (Run(0, j, j + 1, True, 1, container, tiles, packing),) for j in range(len(work.columns))
    )


def _phase_of(packing: Packing) -> IntArray:
    """Phase that each lane group holds, for each channel group: int64 [P channel groups, P]."""
    group = np.arange(packing.pixels)
    return (group[None, :] - group[:, None]) % packing.pixels


def packed_offsets(work: LayerWork, area: Area, packing: Packing, width: int) -> IntArray:
    """Bank offset of each row of a run's tiles, for rows of `width` pixels: int64 [tiles, R]."""
    pixels, rows = packing.pixels, work.target.rows
    places = _positions(area.sources[0], packing, work.target)
    block = (
        places[..., 0] // packing.rows * (width // packing.cols) + places[..., 1] // packing.cols
    )
    offset = np.where(places[..., 0] < 0, 0, block * pixels)  # [tiles of a channel group, P]
    by_group = offset[:, _phase_of(packing)].transpose(1, 0, 2)
    return np.repeat(by_group.reshape(-1, pixels), rows // pixels, axis=1)


def packed_tiles(work: LayerWork, area: Area, j: int, packing: Packing) -> IntArray:
    """Weights of a column tile's run: int64 [tiles, R, P], for each row those of its P columns.

    Row r's columns are the P ones c with the same place in their lane group: c mod L == r mod L.
    """
    target, fixed, source = work.target, work.fixed, area.sources[0]
    assert fixed.weight is not None
    pixels, lanes = packing.pixels, target.rows // packing.pixels
    channel = lane_map(work.shape[0], target)[j * target.rows : (j + 1) * target.rows]
    kernel = fixed.weight[np.maximum(channel, 0), 0]
    kernel = np.where((channel >= 0)[:, None, None], kernel, 0).astype(np.int64)
    by_phase = _phase_weights(source, packing, target, kernel)  # [lane, tile, phase in, phase out]
    by_phase = by_phase.reshape(pixels, lanes, *by_phase.shape[1:])
    phase = _phase_of(packing)
    result = np.zeros((pixels, by_phase.shape[2], pixels, lanes, pixels), np.int64)
    for g in range(pixels):
        # Phases in the order of the row groups and of the column groups that hold them.
        result[g] = by_phase[g][:, :, phase[g]][..., phase[g]].transpose(1, 2, 0, 3)
    return result.reshape(-1, target.rows, pixels)


def _phase_weights(source: Source, packing: Packing, target: Target, kernel: IntArray) -> IntArray:
    """Weight from each input phase's pixel to each output phase: int64 [lanes, tiles, P, P]."""
    places = _positions(source, packing, target)
    result = np.zeros((len(kernel), len(places), packing.pixels, packing.pixels), np.int64)
    lead = packing.lead(source.cols, target.pixel_align)
    for out in range(packing.pixels):
        i, k = divmod(out, packing.cols)
        row = places[..., 0] - i * source.rows.stride
        col = places[..., 1] - k * source.cols.stride - lead
        ky, odd_y = np.divmod(row, source.rows.dilation)
        kx, odd_x = np.divmod(col, source.cols.dilation)
        used = (places[..., 0] >= 0) & (odd_y == 0) & (odd_x == 0)
        used &= (ky >= 0) & (ky < source.rows.taps) & (kx >= 0) & (kx < source.cols.taps)
        tile, phase = np.nonzero(used)
        result[:, tile, phase, out] = kernel[:, ky[used], kx[used]]
    return result
