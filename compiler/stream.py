"""The constant part of the memory image: weight streams and parameter records."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from tilewright.compiler.biases import stored_bias
from tilewright.compiler.encode import pack_compact, pack_params, pack_weights
from tilewright.compiler.geometry import PLAIN
from tilewright.compiler.isa import PARAM_BYTES
from tilewright.compiler.joint import joint_offsets
from tilewright.compiler.matrices import run_taps, run_tiles
from tilewright.compiler.packing import packed_offsets, packed_tiles
from tilewright.compiler.ternary import ternary_codes
from tilewright.compiler.work import Area, LayerWork, Run

__all__ = ["ALIGNMENT", "Constants", "Segment", "segments_of"]

ALIGNMENT = 64
"""Everything in the memory image starts at a multiple of this (a power of two >= the bus)."""

IntArray = npt.NDArray[np.int64]
Segment = tuple[Run, ...]
"""Runs of one column tile that one WEIGHTS instruction streams."""


def segments_of(runs: tuple[Run, ...], *, scaled: bool = False) -> list[Segment]:
    """Consecutive runs with one container, one kind of addressing and, if `scaled`, the same scales."""

    def kind(run: Run) -> tuple[object, ...]:
        scales = (run.source, run.shift, run.digit) if scaled else ()
        return (run.gather, run.container, run.packing, *scales)

    return [tuple(segment) for _, segment in itertools.groupby(runs, kind)]


class Constants:
    """Weight streams and parameters, placed one after another from `base` on."""

    def __init__(self, base: int) -> None:
        self._base = base
        self._parts: list[bytes] = []
        self._at: dict[int, int] = {}
        self._size = 0
        self._streams: dict[tuple[object, ...], tuple[int, int]] = {}
        self._params: dict[tuple[str, int, int], int] = {}

    @property
    def end(self) -> int:
        """First free byte offset."""
        return self._base + self._size

    def part(self, address: int) -> bytes:
        """The part at an address."""
        return self._parts[self._at[address]]

    def image(self) -> bytes:
        """Everything placed so far."""
        return b"".join(self._parts)

    def place(self, data: bytes) -> int:
        """Append a part; returns its address."""
        address = self.end
        self._at[address] = len(self._parts)
        padding = -len(data) % ALIGNMENT
        self._parts += [data, bytes(padding)]
        self._size += len(data) + padding
        return address

    def stream(
        self, work: LayerWork, area: Area, j: int, segment: Segment, pitch: int, words: int
    ) -> tuple[int, int]:
        """Address and bytes of a segment's weight stream.

        `pitch` is the bank words from one input row to the next and `words` those from one channel
        block to the next, on which gather offsets depend.
        """
        gather = segment[0].gather
        number = work.areas.index(area) if len({a.scale for a in work.areas}) > 1 else 0
        several = any(run.joint and run.last - run.first > 1 for run in segment)
        place = (pitch if gather else None, words if several else None)
        key = (work.name, number, j, segment, *place)
        if key not in self._streams:
            data = _packed(work, area, j, segment, pitch, words)
            self._streams[key] = (self.place(data), len(data))
        return self._streams[key]

    def params(self, work: LayerWork, area: Area, j: int) -> int:
        """Address of the parameter records of column tile `j` in an area."""
        number = work.areas.index(area) if work.pool_sum else 0
        key = (work.name, number, j)
        if key not in self._params:
            columns, bias = work.columns[j], stored_bias(work, area, j)
            shift = np.where(columns >= 0, work.fixed.shift[np.maximum(columns, 0)], 0)
            data = pack_params(bias, shift)
            assert len(data) == PARAM_BYTES * len(columns)
            self._params[key] = self.place(data)
        return self._params[key]


def _packed(work: LayerWork, area: Area, j: int, segment: Segment, pitch: int, words: int) -> bytes:
    packing = segment[0].packing
    if packing is not PLAIN:
        assert len(segment) == 1
        return pack_compact(
            packed_tiles(work, area, j, packing),
            packed_offsets(work, area, packing, pitch),
            width=max(work.target.weight_containers),
            room=work.target.cols * segment[0].container,
        )
    tiles = np.concatenate([run_tiles(work, area, j, run) for run in segment])
    offsets: list[IntArray] = []
    target = work.target
    if target.ternary:
        tiles = ternary_codes(tiles, target)
        offsets += [np.zeros((1, target.rows), np.int64)] * target.scaled
    if not segment[0].gather:
        return pack_weights(tiles, segment[0].container)
    for run in segment:
        source = area.sources[run.source]
        if run.joint:
            offsets.append(joint_offsets(work, source, j, run, pitch, words))
            continue
        tap_row, tap_col = np.divmod(run_taps(work, source, run), source.cols.taps)
        offsets.append(tap_row * source.rows.dilation * pitch + tap_col * source.cols.dilation)
    return pack_weights(tiles, segment[0].container, np.concatenate(offsets))
