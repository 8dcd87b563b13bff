"""Every layer as accumulation work: sources, and the weight tiles of each column of lanes.

The hardware knows only weight tiles over bank words. This module says, for each column tile (C
lanes of the output), which channel blocks of which source are multiplied with which matrices, and
leaves open how the map is cut into pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tilewright.compiler.geometry import PLAIN, Axis, Packing, Windows
from tilewright.compiler.layout import TensorLayout, lane_map
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.graph.ir import Op, Pool, Shape
from tilewright.quant.accumulator import average_multipliers
from tilewright.quant.fixed import FixedGraph, FixedLayer

__all__ = ["Area", "LayerWork", "Run", "Source", "layer_work"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A tensor that a layer reads, how it stands in memory, and how its accumulators read it.

    `offset` is the output channel to which the source's channel 0 belongs (diagonal sources only);
    `dense` tells a convolution's input from a source that is added channel by channel.
    """

    tensor: str
    layout: TensorLayout
    rows: Axis
    cols: Axis
    dense: bool
    offset: int = 0

    @property
    def shape(self) -> Shape:
        """Channels, rows and columns."""
        return self.layout.shape

    def blocks(self, target: Target) -> int:
        """Channel blocks of R lanes."""
        return -(-self.shape[0] // target.rows)


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A rectangle of the output that is computed with one set of weight tiles.

    Layers have one, except averages whose divisor differs at the border.

    Attributes
    ----------
    rows, cols : output rows and columns [first, last)
    scale : weight of a diagonal tile besides its 2**k (an average's reciprocal)
    row_windows, col_windows : accumulators that each output reads
    sources : what is accumulated
    """

    rows: tuple[int, int]
    cols: tuple[int, int]
    scale: int
    row_windows: Windows
    col_windows: Windows
    sources: tuple[Source, ...]


@dataclass(frozen=True, slots=True)
class Run:
    """Weight tiles of one column tile over consecutive channel blocks [first, last) of a source.

    With ternary cells and scales, `digit` is the bit of all weights' magnitudes that the run holds, or
    None if each column has at most one positive and one negative weight, which are then its scales.

    Tiles are ordered block, kernel row, kernel column, repeat. A gathered run has one block and
    takes several taps into a tile; a packed one does so for several pixels, and its tiles are
    ordered by channel group. The sums of a `shift` run count 2**Target.sum_shift times.
    """

    source: int
    first: int
    last: int
    gather: bool
    repeats: int
    container: int
    tiles_per_block: int
    packing: Packing = PLAIN
    shift: bool = False
    joint: bool = False
    digit: int | None = None

    @property
    def tiles(self) -> int:
        """Weight tiles in the run."""
        return (
            self.tiles_per_block if self.joint else (self.last - self.first) * self.tiles_per_block
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LayerWork:
    """A layer as accumulation work.

    Attributes
    ----------
    shape : of the output
    columns : int64 [column tiles, C], output channel of each column, -1 for none
    areas : parts of the output
    pool_sum : windows are summed instead of maximised
    fracs : fractional length of each source
    """

    fixed: FixedLayer
    target: Target
    shape: Shape
    columns: IntArray
    areas: tuple[Area, ...]
    pool_sum: bool
    fracs: tuple[int, ...]

    @property
    def name(self) -> str:
        """Name of the layer."""
        return self.fixed.name

    @property
    def main_shift(self) -> IntArray:
        """Left shift of the products of each output channel of a convolution."""
        shift: IntArray = self.fixed.acc_frac - self.fixed.weight_frac - self.fracs[0]
        return shift

    @property
    def used_lanes(self) -> int:
        """One past the last lane that holds a channel."""
        return int(np.flatnonzero(self.columns.ravel() >= 0)[-1]) + 1


def layer_work(fixed: FixedGraph, layer: FixedLayer, target: Target) -> LayerWork:
    """Lower one layer to accumulation work."""
    graph, ir = fixed.graph, layer.layer
    shape = graph.shapes[ir.name]
    lanes = lane_map(shape[0], target)
    used = int(np.flatnonzero(lanes >= 0)[-1]) + 1
    columns = np.full(-(-used // target.cols) * target.cols, -1, np.int64)
    columns[:used] = lanes[:used]
    layouts = [TensorLayout.of(fixed, name, target) for name in ir.all_inputs]
    return LayerWork(
        fixed=layer,
        target=target,
        shape=shape,
        columns=columns.reshape(-1, target.cols),
        areas=_areas(layer, shape, layouts, target),
        pool_sum=ir.op is Op.AVG_POOL,
        fracs=tuple(fixed.formats[name].frac for name in ir.all_inputs),
    )


def _areas(
    layer: FixedLayer, shape: Shape, layouts: list[TensorLayout], target: Target
) -> tuple[Area, ...]:
    ir = layer.layer
    inner = layouts[0].shape
    if ir.conv is not None:
        inner = ir.conv.output_shape(inner)
    pool = ir.max_pool if ir.conv is not None else ir.pool
    rows = Windows.of(pool, 0, inner[1])
    cols = Windows.of(pool, 1, inner[2])
    for windows, axis in ((rows, "rows"), (cols, "columns")):
        if any(a >= b for a, b in zip(windows.starts, windows.stops, strict=True)):
            raise TilewrightError(
                f"Layer {ir.name!r}: a pooling window lies wholly in the padding of the {axis}; "
                "every window must cover at least one pixel"
            )
    sources = _sources(layer, layouts)
    if ir.op is Op.AVG_POOL:
        assert pool is not None
        return _average_areas(pool, rows, cols, sources[0], target)
    return (
        Area(
            rows=(0, shape[1]),
            cols=(0, shape[2]),
            scale=1,
            row_windows=rows,
            col_windows=cols,
            sources=sources,
        ),
    )


def _sources(layer: FixedLayer, layouts: list[TensorLayout]) -> tuple[Source, ...]:
    ir = layer.layer
    sources: list[Source] = []
    offset = 0
    for name, layout in zip(ir.all_inputs, layouts, strict=True):
        shape = layout.shape
        rows, cols = Axis(size=shape[1]), Axis(size=shape[2])
        dense = ir.conv is not None and not sources
        if ir.conv is not None and dense:
            (kh, kw), (sy, sx), (dy, dx) = ir.conv.kernel, ir.conv.stride, ir.conv.dilation
            rows = Axis(size=shape[1], taps=kh, stride=sy, dilation=dy, pad=ir.conv.pads[0])
            cols = Axis(size=shape[2], taps=kw, stride=sx, dilation=dx, pad=ir.conv.pads[2])
        cols = replace(cols, align=layout.pixel_align)
        sources.append(
            Source(tensor=name, layout=layout, rows=rows, cols=cols, dense=dense, offset=offset)
        )
        offset += shape[0] if ir.op is Op.CONCAT else 0
    return tuple(sources)


def _average_areas(
    pool: Pool, rows: Windows, cols: Windows, source: Source, target: Target
) -> tuple[Area, ...]:
    multipliers = average_multipliers(pool, source.shape[1], source.shape[2])
    areas = []
    for x in reversed(cols.pieces(0, len(cols))):
        for y in rows.pieces(0, len(rows)):
            scale = int(multipliers[y.first, x.first])
            window = y.length * ((target.pixel_align - 1) * x.step * 2 + x.length)
            row_windows, col_windows, read = rows, cols, source
            if window > target.acc_depth:
                # The window exceeds the accumulators: each of its pixels becomes a tile.
                row_windows, col_windows = (
                    Windows(tuple(range(n)), tuple(range(1, n + 1)), (1,) * n, 1)
                    for n in (len(rows), len(cols))
                )
                read = replace(
                    source,
                    rows=Axis(
                        size=source.shape[1],
                        taps=y.length,
                        stride=y.step,
                        pad=y.first * y.step - y.start,
                    ),
                    cols=Axis(
                        size=source.shape[2],
                        taps=x.length,
                        stride=x.step,
                        pad=x.first * x.step - x.start,
                        align=source.cols.align,
                    ),
                )
            areas.append(
                Area(
                    rows=(y.first, y.last),
                    cols=(x.first, x.last),
                    scale=scale,
                    row_windows=row_windows,
                    col_windows=col_windows,
                    sources=(read,),
                )
            )
    return tuple(areas)
