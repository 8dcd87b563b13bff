"""The instruction format, defined once for the compiler, the hardware and the documentation.

Every instruction is 64 bytes, little-endian, its opcode in the low bits. Fields of one opcode are
packed in the order below without gaps, from bit 0. All memory addresses are byte offsets from the
MEM_BASE register and aligned to the bus.

Four units run decoupled: LOAD, WEIGHTS, CALC and STORE. Instructions are dispatched in order to the
unit that their opcode names and each unit runs its own in order. Counting semaphores order the
units: `wait_x = n` takes n tokens that unit x produced for this unit before the instruction starts,
`signal_x` gives unit x one token when it has completed.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = [
    "BIAS_BITS",
    "FIELDS",
    "INSTRUCTION_BYTES",
    "PARAM_BYTES",
    "Field",
    "Opcode",
    "decode",
    "encode",
]

INSTRUCTION_BYTES = 64
BIAS_BITS = 48
PARAM_BYTES = 8
"""Bytes of one column's parameter record: bias (48-bit two's complement), shift, 0."""


class Opcode(enum.IntEnum):
    """What an instruction does, and which unit runs it."""

    LOAD = 1
    """LOAD unit: a rectangle of one channel block, with zero padding around it, into the banks."""
    WEIGHTS = 2
    """WEIGHTS unit: stream weight tiles to the array, in the order in which CALC uses them."""
    CALC = 3
    """CALC unit: for each tile, for each pixel, accumulate."""
    STORE = 4
    """STORE unit: drain accumulators through pooling and post-processing to memory."""
    STAMP = 5
    """STORE unit: write the cycle counter and the CALC-busy counter (32 bits each) to memory."""
    FINISH = 6
    """STORE unit: everything before it is complete; raise done and the interrupt."""


@dataclass(frozen=True, slots=True)
class Field:
    """A field of an instruction: `bits` wide, two's complement if `signed`."""

    name: str
    bits: int
    doc: str
    signed: bool = False


_OPCODE = Field("opcode", 4, "Opcode")

FIELDS: dict[Opcode, tuple[Field, ...]] = {
    Opcode.LOAD: (
        _OPCODE,
        Field("wait_calc", 16, "tokens from CALC: the banks' old content has been used"),
        Field("wait_store", 16, "tokens from STORE: the feature map is in memory"),
        Field("signal_calc", 1, "give CALC a token when the rectangle is in the banks"),
        Field("address", 32, "of the first pixel"),
        Field("pitch", 32, "bytes from one row to the next"),
        Field("rows", 16, "rows read from memory (may be 0)"),
        Field("cols", 16, "pixels read a row"),
        Field("row_beats", 16, "bus beats read a row: ceil(cols * pixel bytes / bus bytes)"),
        Field("pad_top", 8, "rows of zeros written before"),
        Field("pad_bottom", 8, "rows of zeros written after"),
        Field("pad_left", 8, "zeros written before each row"),
        Field("pad_right", 8, "zeros written after each row"),
        Field("bank_address", 16, "first word; the rectangle is dense, row by row"),
        Field("pack", 2, "log2 of the pixels in a packed word (0: words are not packed)"),
        Field("phase", 3, "packed: phase of each row's first word"),
        Field("narrow", 2, "lanes of a pixel in memory: 0: R, 1: 1, 2: 2, 3: 4"),
        Field("period", 3, "narrow: bank r gets lane r mod period; 0 if not narrow"),
        Field(
            "unsigned", 1, "padding is -2^(act_bits - 1), the 0 of an unsigned map, instead of 0"
        ),
    ),
    Opcode.WEIGHTS: (
        _OPCODE,
        Field("address", 32, "of the stream"),
        Field("beats", 32, "bus beats of the stream; the last one may be ragged"),
        Field("tiles", 24, "weight tiles in it"),
        Field("container", 2, "bits a weight takes: 0: 2, 1: 4, 2: 8, 3: 16"),
        Field("gather", 1, "each row of a tile is preceded by its 16-bit bank offset"),
        Field("pack", 2, "log2 of the weights in a packed row (0: rows are not packed)"),
        Field("coded", 1, "the stream is compressed (docs/compression.md); pack must be 0"),
        Field("block", 1, "no stream, but codes or offsets for compressed streams"),
    ),
    Opcode.CALC: (
        _OPCODE,
        Field("wait_load", 16, "tokens from LOAD: the pixels are in the banks"),
        Field("wait_store", 16, "tokens from STORE: the accumulator half has been drained"),
        Field("signal_load", 1, "give LOAD a token"),
        Field("signal_store", 1, "give STORE a token"),
        Field("half", 1, "accumulator half"),
        Field("first", 1, "the first tile overwrites the accumulators instead of adding"),
        Field("gather", 1, "rows add the offsets that came with the weights"),
        Field("tiles0", 16, "innermost tile count"),
        Field("tiles1", 16, "middle tile count"),
        Field("tiles2", 16, "outermost tile count"),
        Field("step0", 16, "words added to the tile's base, innermost", signed=True),
        Field("step1", 16, "words from one middle iteration to the next", signed=True),
        Field("step2", 16, "words from one outermost iteration to the next", signed=True),
        Field("base", 16, "bank address of the first tile's first pixel"),
        Field("rows", 16, "pixel rows"),
        Field("cols", 16, "pixels a row"),
        Field("row_step", 16, "words from one pixel row to the next"),
        Field("col_step", 16, "words from one pixel to the next"),
        Field("acc_base", 16, "accumulator address of the first pixel"),
        Field("acc_step", 4, "accumulators from one pixel to the next"),
        Field("shift", 1, "sums are shifted left by weight_bits - 1 before they are added"),
        Field("scales", 1, "its (only) tile and pixel bring the columns' scales; nothing is added"),
    ),
    Opcode.STORE: (
        _OPCODE,
        Field("wait_calc", 16, "tokens from CALC: the accumulators are complete"),
        Field("signal_calc", 1, "give CALC a token: the half is free"),
        Field("signal_load", 1, "give LOAD a token: the map is in memory (write responses seen)"),
        Field("half", 1, "accumulator half"),
        Field("params", 32, "address of `cols` parameter records"),
        Field("address", 32, "of the first output pixel"),
        Field("pitch", 32, "bytes from one output row to the next"),
        Field("rows", 16, "output rows"),
        Field("cols", 16, "output pixels a row"),
        Field(
            "row_beats", 16, "bus beats written a row; bytes beyond the last pixel are left alone"
        ),
        Field("acc_base", 16, "accumulator address of the first window's first pixel"),
        Field("acc_row_step", 16, "accumulators from one output row's window to the next's"),
        Field("acc_col_step", 16, "accumulators from one output pixel's window to the next's"),
        Field("win_rows", 8, "rows of a pooling window (1: none)"),
        Field("win_cols", 8, "accumulators a window row"),
        Field("win_row_step", 16, "accumulators from one window row to the next"),
        Field("pool_sum", 1, "windows are summed (average) instead of maximised"),
        Field("lo", 16, "clip, and saturation, below", signed=True),
        Field("hi", 16, "clip, and saturation, above", signed=True),
        Field("leaky", 1, "scale negative values by the slope"),
        Field("slope_multiplier", 8, "LeakyReLU"),
        Field("slope_shift", 5, "LeakyReLU"),
        Field("function", 3, "registered activation, from 1 in the target's order; 0: none"),
        Field("function_shift", 6, "right shift of its result, plus 15"),
        Field("src_lane", 8, "first column stored"),
        Field("dst_lane", 8, "lane of the memory word that it goes to"),
        Field("lanes", 8, "columns stored"),
        Field("pack", 2, "log2 of the pixels in a packed accumulator word (0: not packed)"),
        Field("phase", 3, "packed: phase of each output row's first pixel"),
    ),
    Opcode.STAMP: (
        _OPCODE,
        Field("unused", 51, "0: the address stands where STORE's does"),
        Field("address", 32, "of 8 bytes"),
    ),
    Opcode.FINISH: (_OPCODE,),
}


def encode(opcode: Opcode, **values: int) -> bytes:
    """Encode one instruction; fields not given are 0. Raises ValueError if a value does not fit."""
    word = 0
    offset = 0
    values = {"opcode": int(opcode), **values}
    for field in FIELDS[opcode]:
        value = int(values.pop(field.name, 0))
        low, high = (-(1 << (field.bits - 1)), 1 << (field.bits - 1))
        if not field.signed:
            low, high = 0, 1 << field.bits
        if not low <= value < high:
            raise ValueError(
                f"{opcode.name}.{field.name} must be in {low}..{high - 1}, not {value}"
            )
        word |= (value & ((1 << field.bits) - 1)) << offset
        offset += field.bits
    if values:
        raise ValueError(f"{opcode.name} has no field {min(values)!r}")
    return word.to_bytes(INSTRUCTION_BYTES, "little")


def decode(data: bytes) -> tuple[Opcode, dict[str, int]]:
    """Opcode and fields of one encoded instruction. Raises ValueError for an unknown opcode."""
    word = int.from_bytes(data, "little")
    opcode = Opcode(word & 15)
    values = {}
    for field in FIELDS[opcode]:
        value = word & ((1 << field.bits) - 1)
        if field.signed and value >> (field.bits - 1):
            value -= 1 << field.bits
        values[field.name] = value
        word >>= field.bits
    return opcode, values
