"""LOAD instructions: the input rectangle of a macro tile, clipped to the map and padded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tilewright.compiler.geometry import PLAIN, Packing
from tilewright.compiler.isa import Opcode
from tilewright.compiler.machine import Machine
from tilewright.compiler.target import Target
from tilewright.compiler.tiling import column_extent, row_extent
from tilewright.compiler.work import Source

__all__ = ["Group", "Rectangle", "load_instructions", "rectangle"]

MAX_PAD = 255
"""Most rows or columns of zeros on one side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rectangle:
    """Input pixels of a macro tile: rows [top, bottom) and columns [left, right) of the map.

    They may leave the map; what lies outside is zero.
    """

    top: int
    bottom: int
    left: int
    right: int
    height: int
    real_width: int
    packing: Packing

    @property
    def width(self) -> int:
        """Bank words from one row to the next."""
        return self.right - self.left

    @property
    def words(self) -> int:
        """Bank words of one channel block."""
        return (self.bottom - self.top) * self.width


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Channel blocks [first, last) of a source's rectangle, loaded together, `block_words` apart."""

    source: int
    first: int
    last: int
    rect: Rectangle
    block_words: int

    @property
    def words(self) -> int:
        """Bank words."""
        return (self.last - self.first) * self.block_words


def rectangle(
    source: Source, rows: tuple[int, int], cols: tuple[int, int], target: Target, packing: Packing
) -> Rectangle:
    """Input rectangle of `source` for accumulators `rows` x `cols`."""
    top, bottom = row_extent(source, *rows, packing)
    left, right = column_extent(source, *cols, target, packing)
    return Rectangle(
        top=top,
        bottom=bottom,
        left=left,
        right=right,
        height=source.shape[1],
        real_width=source.shape[2],
        packing=packing,
    )


def load_instructions(machine: Machine, source: Source, group: Group, base: int) -> list[int]:
    """Emit the LOADs of a group into bank words from `base` on; returns their indices.

    Rectangles of one row, or of whole columns without padding above and below, stand in memory at
    one pitch across channel blocks and take a single instruction.
    """
    rect, layout = group.rect, source.layout
    first, last = _clip(rect.top, rect.bottom, rect.height)
    blocks = group.last - group.first
    left, right = _clip(rect.left, rect.right, rect.real_width)
    if left == right:
        if group.block_words == rect.words:
            return _zeros(machine, source, base, rect, group.words)
        starts = range(base, base + group.words, group.block_words)
        return [index for at in starts for index in _zeros(machine, source, at, rect, rect.words)]
    if rect.packing is not PLAIN:
        return [
            _load_phase(machine, source, group, base, block, row)
            for block in range(group.first, group.last)
            for row in range(rect.packing.rows)
        ]
    whole = first == rect.top and last == rect.bottom and group.block_words == rect.words
    if whole and blocks > 1 and (last - first == 1 or last - first == rect.height):
        pitch = layout.block_bytes if last - first == 1 else layout.pitch
        rows = (last - first) * blocks
        return [_load(machine, source, group, base, group.first, (first, rows), pitch)]
    return [
        _load(
            machine,
            source,
            group,
            base + (block - group.first) * group.block_words,
            block,
            (first, last - first),
            layout.pitch,
        )
        for block in range(group.first, group.last)
    ]


def _load_phase(
    machine: Machine, source: Source, group: Group, base: int, block: int, row: int
) -> int:
    """Emit the LOAD of every rows-th row of a packed rectangle's channel block, from `row` on."""
    rect, target = group.rect, machine.target
    layout = source.layout
    step = rect.packing.rows
    rows = np.arange(rect.top + row, rect.bottom, step)
    real = rows[(rows >= 0) & (rows < rect.height)]
    left, right = _clip(rect.left, rect.right, rect.real_width)
    base += (block - group.first) * group.block_words
    needs = [int(machine.bank_user[base : base + rect.words].max())]
    address = 0
    if len(real):
        first, last = int(real[0]), int(real[-1]) + 1
        needs.append(machine.writer(source.tensor, block, first, last))
        address = block * layout.block_bytes + first * layout.pitch + left * target.pixel_bytes
    cols = right - left
    beats = -(-cols * target.pixel_bytes // target.bus_bytes)
    _account(machine, len(real) * max(beats - cols, 0) + len(rows) * rect.width)
    return machine.emit(
        Opcode.LOAD,
        needs,
        address=machine.addresses[source.tensor] + address,
        pitch=step * layout.pitch,
        rows=len(real),
        cols=cols,
        row_beats=beats,
        pad_top=int(np.count_nonzero(rows < 0)) if len(real) else len(rows),
        pad_bottom=int(np.count_nonzero(rows >= rect.height)) if len(real) else 0,
        pad_left=left - rect.left,
        pad_right=rect.right - right,
        bank_address=base,
        pack=rect.packing.code,
        phase=row * rect.packing.cols,
        unsigned=int(layout.offset > 0),
    )


def _zeros(machine: Machine, source: Source, base: int, rect: Rectangle, count: int) -> list[int]:
    """LOADs of `count` words, in whole rows, that lie wholly beside the map of `source`."""
    result = []
    end = base + count
    while base < end:
        height = min((end - base) // rect.width, MAX_PAD)
        words = height * rect.width
        needs = [int(machine.bank_user[base : base + words].max())]
        index = machine.emit(
            Opcode.LOAD,
            needs,
            pad_top=height,
            pad_right=rect.width,
            bank_address=base,
            unsigned=int(source.layout.offset > 0),
        )
        _account(machine, words)
        result.append(index)
        base += words
    return result


def _account(machine: Machine, cycles: int) -> None:
    """Keep the schedule's idea of when its loads end."""
    machine.load_time = max(machine.load_time, machine.calc_time) + cycles
    machine.load_ends.append(machine.load_time)


def _clip(start: int, stop: int, size: int) -> tuple[int, int]:
    """The part of [start, stop) inside [0, size), empty at the nearer end if there is none."""
    low = min(max(start, 0), size)
    return low, max(min(stop, size), low)


def _load(
    machine: Machine,
    source: Source,
    group: Group,
    base: int,
    block: int,
    real: tuple[int, int],
    pitch: int,
) -> int:
    rect, target = group.rect, machine.target
    layout = source.layout
    first, rows = real
    left, right = _clip(rect.left, rect.right, rect.real_width)
    height = max(rect.bottom - rect.top, rows)
    pad_top = min(max(-rect.top, 0), height - rows) if rows else height
    pad_left = left - rect.left
    cols = right - left
    pad_bottom, pad_right = height - rows - pad_top, rect.width - cols - pad_left
    needs = [int(machine.bank_user[base : base + height * rect.width].max())]
    if rows:
        merged = rows > rect.bottom - rect.top or pitch != layout.pitch
        blocks = range(group.first, group.last) if merged else (block,)
        bottom = first + (1 if pitch != layout.pitch else min(rows, rect.height))
        needs += [machine.writer(source.tensor, b, first, bottom) for b in blocks]
    address = block * layout.block_bytes + first * layout.pitch + left * layout.pixel_bytes
    if not rows:
        address = 0
    beats = -(-cols * layout.pixel_bytes // target.bus_bytes)
    index = machine.emit(
        Opcode.LOAD,
        needs,
        address=machine.addresses[source.tensor] + address,
        pitch=pitch,
        rows=rows,
        cols=cols,
        row_beats=beats,
        pad_top=pad_top,
        pad_bottom=pad_bottom,
        pad_left=pad_left,
        pad_right=pad_right,
        bank_address=base,
        narrow=layout.narrow,
        period=layout.period,
        unsigned=int(layout.offset > 0),
    )
    cycles = rows * (max(beats, cols) + pad_left + pad_right) + (height - rows) * rect.width
    _account(machine, cycles)
    return index
