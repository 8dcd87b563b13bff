"""How an area is cut: macro tiles for the banks, fills for the accumulators, blocks per step.

A *macro tile* is a rectangle of outputs whose inputs are in the banks together; it is computed in
*fills* of one accumulator half each. Channel blocks are loaded in *groups* of `group` blocks, and
either stay resident for all of a macro tile's fills or are loaded anew for each use.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tilewright.compiler.cost import (
    Demand,
    Tiles,
    column_counts,
    demand,
    estimate,
    sum_tiles,
)
from tilewright.compiler.cuts import Cut, cut_axis, input_extent
from tilewright.compiler.geometry import PLAIN, Packing, Windows, ranges
from tilewright.compiler.joint import joint_groups
from tilewright.compiler.matrices import area_runs
from tilewright.compiler.packing import packings
from tilewright.compiler.target import Target
from tilewright.compiler.work import Area, LayerWork, Source
from tilewright.errors import TilewrightError

__all__ = [
    "Plan",
    "acc_margin",
    "best_plan",
    "choose_plan",
    "column_extent",
    "row_extent",
    "unit",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The chosen tiling of one area.

    Attributes
    ----------
    macro, fill : outputs (rows, columns) of a macro tile and of an accumulator fill
    columns : column tiles whose fills share an accumulator half and take turns with each block
    packing : of the bank words and accumulators
    group : channel blocks loaded and computed in one step
    joint : only terms that are not zero are multiplied, and a step's blocks share weight tiles
    resident : groups stay in the banks for all fills of a macro tile
    slot_words, slots : the banks are used as `slots` slots of `slot_words` words
    cycles : estimated cycles
    bound : "compute" or "memory"
    """

    macro: tuple[int, int]
    fill: tuple[int, int]
    columns: int
    packing: Packing
    group: int
    joint: bool = False
    resident: bool
    slot_words: int
    slots: int
    cycles: float
    bound: str


def acc_margin(area: Area, target: Target) -> int:
    """Accumulators left free before a fill's first one.

    A STORE starts at a bus-aligned pixel. Where equal windows start elsewhere it also covers the
    pixels before, whose values a later STORE replaces; their accumulators may lie before the fill.
    """
    align = target.pixel_align
    pieces = area.col_windows.pieces(*area.cols)
    if align == 1 or all(piece.first % align == 0 for piece in pieces):
        return 0
    return (align - 1) * area.col_windows.step


def row_extent(source: Source, first: int, last: int, packing: Packing) -> tuple[int, int]:
    """Input rows [start, stop) of accumulators [first, last)."""
    return input_extent(source.rows, first, last, 0, 1, packing)


def column_extent(
    source: Source, first: int, last: int, target: Target, packing: Packing
) -> tuple[int, int]:
    """Input columns [start, stop) of accumulators [first, last), starting bus-aligned in the map."""
    return input_extent(source.cols, first, last, 1, target.pixel_align, packing)


def unit(packing: Packing, target: Target, axis: int) -> int:
    """Outputs of which macro tiles and fills hold whole multiples, except at the map's end."""
    return max(packing.size(axis), target.pixel_align if axis else 1)


def choose_plan(work: LayerWork, area: Area, *, joint: bool = True) -> Plan:
    """Cheapest tiling of an area; without `joint`, terms that are zero have tiles as all others.

    Raises
    ------
    TilewrightError
        If not even the smallest tile fits the target's buffers.
    """
    found = [best_plan(work, area, packing) for packing in packings(work, area)]
    groups = joint_groups(work, area.sources[0]) if joint else ()
    found += [best_plan(work, area, PLAIN, blocks) for blocks in groups]
    plans = [plan for plan in found if plan is not None]
    if not plans:
        raise TilewrightError(_too_small(work, area))
    return min(plans, key=lambda plan: plan.cycles)


def best_plan(work: LayerWork, area: Area, packing: Packing, joint: int = 0) -> Plan | None:
    """Cheapest tiling of an area with one packing of its words; None if no tile fits.

    With `joint`, groups are of so many channel blocks, which share tiles: see `area_runs`.
    """
    best: Plan | None = None
    runs = area_runs(work, area, packing, joint)
    need = demand(work, area, runs, (joint,) if joint else None)
    cuts = _Cuts(area, work.target, packing)
    for macro, fill, columns in _candidates(work, area, packing, column_counts(runs)):
        tiles = cuts.tiles(need, macro, fill)
        if best is not None and tiles.period * need.tiles >= best.cycles:
            continue  # the array alone takes longer
        for plan in _plans(work, area, need, cuts, tiles, macro, fill, columns):
            if best is None or plan.cycles < best.cycles:
                best = replace(plan, joint=joint > 0)
    return best


def _divisions(extent: int, align: int) -> list[int]:
    """Tile sizes along an axis: all of it, and even divisions down to the smallest."""
    sizes = {extent}
    parts = 2
    while True:
        size = math.ceil(math.ceil(extent / parts) / align) * align
        sizes.add(min(size, extent))
        if size <= align:
            return sorted(sizes, reverse=True)
        parts = parts + 1 if parts < 5 else parts * 3 // 2


def _candidates(
    work: LayerWork, area: Area, packing: Packing, counts: tuple[int, ...]
) -> Iterator[tuple[tuple[int, int], tuple[int, int], int]]:
    """Macro and fill sizes, and numbers of column tiles, whose fills fit the accumulators."""
    target = work.target
    row_unit, align = unit(packing, target, 0), unit(packing, target, 1)
    heights = _divisions(area.rows[1] - area.rows[0] + area.rows[0] % row_unit, row_unit)
    # An area that does not start aligned is cut as if it did, so its extent grows.
    widths = _divisions(area.cols[1] - area.cols[0] + area.cols[0] % align, align)
    margin = acc_margin(area, target)
    for width in widths:
        cols = packing.whole(0, _most(area.col_windows, area.cols, width, align), 1)[1]
        sizes = {
            h: packing.whole(0, _most(area.row_windows, area.rows, h, row_unit), 0)[1] * cols
            for h in heights
        }
        for columns in counts:
            fitting = [h for h in heights if columns * (sizes[h] + margin) <= target.acc_depth]
            for height in fitting[: 3 if columns == 1 else 2]:
                for macro_width in {widths[0], width}:
                    for macro_height in _multiples(height, heights[0]):
                        yield (macro_height, macro_width), (height, width), columns


def _multiples(size: int, extent: int) -> list[int]:
    """`size` times powers of two, and whole `size`s that cover the extent."""
    whole = math.ceil(extent / size) * size
    sizes = {whole}
    while size < whole:
        sizes.add(size)
        size *= 2
    return sorted(sizes, reverse=True)


def _most(windows: Windows, extent: tuple[int, int], size: int, align: int) -> int:
    """Most accumulators of a tile of `size` outputs."""
    most = 0
    for first, last in ranges(*extent, size, align):
        start, stop = windows.region(first, last)
        most = max(most, stop - start)
    return most


class _Cuts:
    """Cuts of both axes of an area, each computed once."""

    def __init__(self, area: Area, target: Target, packing: Packing) -> None:
        self._area, self._target, self._packing = area, target, packing
        self._align = target.pixel_align
        self._known: dict[tuple[int, int, int], Cut] = {}
        self._tiles: dict[tuple[tuple[int, int], tuple[int, int]], Tiles] = {}

    def get(self, axis: int, macro: int, fill: int) -> Cut:
        """Cut of axis 0 (rows) or 1 (columns)."""
        key = (axis, macro, fill)
        if key not in self._known:
            area = self._area
            windows, extent = (area.row_windows, area.rows), (area.col_windows, area.cols)
            sources = tuple(s.cols if axis else s.rows for s in area.sources)
            align = self._align if axis else 1
            self._known[key] = cut_axis(
                *(windows, extent)[axis], macro, fill, sources, axis, align, self._packing
            )
        return self._known[key]

    def tiles(self, need: Demand, macro: tuple[int, int], fill: tuple[int, int]) -> Tiles:
        """Sums over the fills that cutting both axes makes; `need` is always the same."""
        key = (macro, fill)
        if key not in self._tiles:
            rows, cols = self.get(0, macro[0], fill[0]), self.get(1, macro[1], fill[1])
            self._tiles[key] = sum_tiles(self._target, need, rows, cols)
        return self._tiles[key]


def _plans(
    work: LayerWork,
    area: Area,
    need: Demand,
    cuts: _Cuts,
    tiles: Tiles,
    macro: tuple[int, int],
    fill: tuple[int, int],
    columns: int,
) -> Iterator[Plan]:
    target = work.target
    rows = cuts.get(0, macro[0], fill[0])
    cols = cuts.get(1, macro[1], fill[1])
    words = [int(r.max() * c.max()) for r, c in zip(rows.words, cols.words, strict=True)]
    blocks = [source.blocks(target) for source in area.sources]
    for group in need.calcs:
        live = need.live[group, columns]
        slot = max(w * min(group, b) for w, b in zip(words, blocks, strict=True))
        slots = target.act_depth // slot
        for resident in (True, False):
            if slots < (live if resident else 1):
                continue
            cycles, bound = estimate(target, need, tiles, group, columns, resident, slots)
            yield Plan(
                macro=macro,
                fill=fill,
                columns=columns,
                packing=need.packing,
                group=group,
                resident=resident,
                slot_words=slot,
                slots=slots,
                cycles=cycles,
                bound=bound,
            )


def _too_small(work: LayerWork, area: Area) -> str:
    target = work.target
    cuts = _Cuts(area, target, PLAIN)
    rows, cols = cuts.get(0, 1, 1), cuts.get(1, target.pixel_align, target.pixel_align)
    needed = int(rows.accumulators.max() * cols.accumulators.max()) + acc_margin(area, target)
    if needed > target.acc_depth:
        return (
            f"Layer {work.name!r}: one output needs {needed} accumulators (its pooling window, and "
            f"what bus alignment adds), but the target's acc_depth is {target.acc_depth}; "
            f"choose acc_depth of at least {needed}"
        )
    words = max(int(r.max() * c.max()) for r, c in zip(rows.words, cols.words, strict=True))
    return (
        f"Layer {work.name!r}: one output needs {words} words of every activation bank (its kernel "
        f"over one channel block), but the target's act_depth is {target.act_depth}; "
        f"choose act_depth of at least {words}"
    )
