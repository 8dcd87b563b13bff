"""STORE instructions: pieces of equal pooling windows, and lanes cut at channel blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from tilewright.compiler.checks import function_number
from tilewright.compiler.geometry import PLAIN, Packing, Piece
from tilewright.compiler.isa import Opcode
from tilewright.compiler.layout import TensorLayout, stored_offset
from tilewright.compiler.machine import Machine
from tilewright.compiler.work import Area, LayerWork
from tilewright.quant.numerics import store_shift

__all__ = ["Fill", "store_instructions"]


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """One accumulator fill: column tile `column` of outputs `rows` x `cols`.

    Attributes
    ----------
    number : counts the layer's fills from 0
    batch : number of the first of the fills with which it shares an accumulator half
    margin : accumulators left free before the first one
    calcs : instructions that fill it, as they are emitted
    """

    number: int
    batch: int
    column: int
    rows: tuple[int, int]
    cols: tuple[int, int]
    margin: int
    area: Area
    packing: Packing
    calcs: list[int] = field(default_factory=list)

    @property
    def region(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Accumulator rows and columns that the outputs read, in whole packed words."""
        return (
            self.packing.whole(*self.area.row_windows.region(*self.rows), 0),
            self.packing.whole(*self.area.col_windows.region(*self.cols), 1),
        )

    @property
    def accumulators(self) -> int:
        """Accumulators that it takes, without the margin."""
        (top, bottom), (left, right) = self.region
        return (bottom - top) * (right - left)


def store_instructions(machine: Machine, work: LayerWork, fill: Fill, half: int) -> None:
    """Emit the STOREs of a fill.

    Pieces go from right to left: a piece that does not start at a bus-aligned pixel also covers
    the pixels before it, and the piece to its left then writes those.
    """
    if fill.packing is not PLAIN:
        for row in range(min(fill.packing.rows, fill.rows[1] - fill.rows[0])):
            for part in _lane_parts(work, fill.column):
                _store_phase(machine, work, fill, half, row, *part)
        return
    windows = fill.area.row_windows, fill.area.col_windows
    for cols in reversed(windows[1].pieces(*fill.cols)):
        for rows in windows[0].pieces(*fill.rows):
            for block, first, last in _lane_parts(work, fill.column):
                _store(machine, work, fill, half, rows, cols, block, first, last)


def _lane_parts(work: LayerWork, j: int) -> list[tuple[int, int, int]]:
    """Lanes [first, last) of column tile `j`, cut at channel blocks: (block, first, last)."""
    rows, cols = work.target.rows, work.target.cols
    first, stop = j * cols, min((j + 1) * cols, work.used_lanes)
    parts = []
    while first < stop:
        block = first // rows
        last = min((block + 1) * rows, stop)
        parts.append((block, first, last))
        first = last
    return parts


def _store_phase(
    machine: Machine,
    work: LayerWork,
    fill: Fill,
    half: int,
    row: int,
    block: int,
    first: int,
    last: int,
) -> None:
    """Store every rows-th output row of a packed fill, from its row `row` on."""
    target, packing = work.target, fill.packing
    layout = TensorLayout(work.shape, target)
    _, (left, right) = fill.region
    top = fill.rows[0] + row
    _emit(
        machine,
        work,
        fill,
        half,
        (block, first, last),
        fill.rows,
        address=block * layout.block_bytes + top * layout.pitch + fill.cols[0] * target.pixel_bytes,
        pitch=packing.rows * layout.pitch,
        rows=len(range(top, fill.rows[1], packing.rows)),
        cols=fill.cols[1] - fill.cols[0],
        acc_base=fill.margin,
        acc_row_step=(right - left) * packing.rows,
        acc_col_step=packing.pixels,
        win_rows=1,
        win_cols=1,
        win_row_step=0,
        pack=packing.code,
        phase=row * packing.cols,
    )


def _store(
    machine: Machine,
    work: LayerWork,
    fill: Fill,
    half: int,
    rows: Piece,
    cols: Piece,
    block: int,
    first: int,
    last: int,
) -> None:
    target = work.target
    layout = TensorLayout(work.shape, target)
    (top, _), (left, right) = fill.region
    width = right - left
    extra = cols.first % target.pixel_align
    count = cols.last - cols.first + extra
    acc_base = fill.margin + (rows.start - top) * width + (cols.start - left) - extra * cols.step
    address = block * layout.block_bytes + rows.first * layout.pitch
    _emit(
        machine,
        work,
        fill,
        half,
        (block, first, last),
        (rows.first, rows.last),
        address=address + (cols.first - extra) * target.pixel_bytes,
        pitch=layout.pitch,
        rows=rows.last - rows.first,
        cols=count,
        acc_base=acc_base,
        acc_row_step=rows.step * width,
        acc_col_step=cols.step,
        win_rows=rows.length,
        win_cols=cols.length,
        win_row_step=width,
    )


def _emit(
    machine: Machine,
    work: LayerWork,
    fill: Fill,
    half: int,
    lanes: tuple[int, int, int],
    written: tuple[int, int],
    *,
    address: int,
    cols: int,
    **fields: int,
) -> None:
    """Emit a STORE of `lanes` (block, first, last) within output rows `written`."""
    target, fixed = work.target, work.fixed
    block, first, last = lanes
    index = machine.emit(
        Opcode.STORE,
        [fill.calcs[-1]],
        half=half,
        params=machine.constants.params(work, fill.area, fill.column),
        address=machine.addresses[work.name] + address,
        cols=cols,
        row_beats=-(-cols * target.pixel_bytes // target.bus_bytes),
        pool_sum=int(work.pool_sum),
        lo=fixed.lo - stored_offset(fixed.output, target),
        hi=fixed.hi - stored_offset(fixed.output, target),
        leaky=int(fixed.leaky is not None),
        slope_multiplier=fixed.leaky.multiplier if fixed.leaky else 0,
        slope_shift=fixed.leaky.shift if fixed.leaky else 1,
        function=function_number(fixed, target),
        function_shift=int(store_shift(fixed.function_shift)),
        src_lane=first - fill.column * target.cols,
        dst_lane=first - block * target.rows,
        lanes=last - first,
        **fields,
    )
    machine.half_store[half] = index
    machine.writers.setdefault(work.name, {}).setdefault(block, []).append((*written, index))
