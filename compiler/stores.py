"""STORE instructions: pieces of equal pooling windows, and lanes cut at channel blocks."""

from __future__ import annotations

from dataclasses import dataclass, field

from tilewright.compiler.geometry import Piece
from tilewright.compiler.isa import Opcode
from tilewright.compiler.layout import TensorLayout
from tilewright.compiler.machine import Machine
from tilewright.compiler.work import Area, LayerWork

__all__ = ["Fill", "store_instructions"]


@dataclass(frozen=True, slots=True, eq=False)
class Fill:
    """One accumulator fill: column tile `column` of outputs `rows` x `cols`.

    Attributes
    ----------
    number : counts the layer's fills from 0
    margin : accumulators left free before the first one
    calcs : instructions that fill it, as they are emitted
    """

    number: int
    column: int
    rows: tuple[int, int]
    cols: tuple[int, int]
    margin: int
    area: Area
    calcs: list[int] = field(default_factory=list)

    @property
    def region(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Accumulator rows and columns that the outputs read."""
        return (
            self.area.row_windows.region(*self.rows),
            self.area.col_windows.region(*self.cols),
        )


def store_instructions(machine: Machine, work: LayerWork, fill: Fill, half: int) -> None:
    """Emit the STOREs of a fill.

    Pieces go from right to left: a piece that does not start at a bus-aligned pixel also covers
    the pixels before it, and the piece to its left then writes those.
    """
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
    target, fixed = work.target, work.fixed
    layout = TensorLayout(work.shape, target)
    (top, _), (left, right) = fill.region
    width = right - left
    extra = cols.first % target.pixel_align
    count = cols.last - cols.first + extra
    acc_base = fill.margin + (rows.start - top) * width + (cols.start - left) - extra * cols.step
    address = block * layout.block_bytes + rows.first * layout.pitch
    index = machine.emit(
        Opcode.STORE,
        [fill.calcs[-1]],
        half=half,
        params=machine.constants.params(work, fill.column),
        address=machine.addresses[work.name] + address + (cols.first - extra) * target.pixel_bytes,
        pitch=layout.pitch,
        rows=rows.last - rows.first,
        cols=count,
        row_beats=-(-count * target.pixel_bytes // target.bus_bytes),
        acc_base=acc_base,
        acc_row_step=rows.step * width,
        acc_col_step=cols.step,
        win_rows=rows.length,
        win_cols=cols.length,
        win_row_step=width,
        pool_sum=int(work.pool_sum),
        lo=fixed.lo,
        hi=fixed.hi,
        leaky=int(fixed.leaky is not None),
        slope_multiplier=fixed.leaky.multiplier if fixed.leaky else 0,
        slope_shift=fixed.leaky.shift if fixed.leaky else 1,
        src_lane=first - fill.column * target.cols,
        dst_lane=first - block * target.rows,
        lanes=last - first,
    )
    machine.half_store[half] = index
    stores = machine.writers.setdefault(work.name, {}).setdefault(block, [])
    stores.append((rows.first, rows.last, index))
