"""How fast the decoder of compressed weights goes through a stream, for the cycle model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, decode
from tilewright.compiler.program import Program
from tilewright.compiler.rows import Decoder
from tilewright.compress.huffman import LIMIT
from tilewright.compress.stream import CODES_HEAD, WORD, Codes, lane_items, round_bytes
from tilewright.compress.unstream import is_codes, stream_lanes

__all__ = ["Progress", "decoding_progress"]

_BLOCK_END = 5
"""Cycles from a block's last round to the next part's first."""

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Progress:
    """What each weight tile of a compressed stream needs; a block counts as one.

    Attributes
    ----------
    cycles : of the slowest lane until it has given the tile, from the stream's beginning on
    beats : of the stream that have to be there
    """

    cycles: IntArray
    beats: IntArray


def decoding_progress(program: Program) -> dict[int, Progress]:
    """Progress of each compressed stream and block, by the address of its WEIGHTS instruction."""
    found: dict[int, Progress] = {}
    decoder, bus = Decoder(program.target), program.target.bus_bytes
    for index in range(program.count):
        start = program.instructions + index * INSTRUCTION_BYTES
        opcode, fields = decode(program.image[start : start + INSTRUCTION_BYTES])
        if opcode is not Opcode.WEIGHTS or not (fields["coded"] or fields["block"]):
            continue
        address, beats = fields["address"], fields["beats"]
        if address in found and fields["coded"]:
            continue
        data = program.image[address : address + beats * bus]
        stream = decoder.read(data, fields)
        if stream is None:
            cycles = _block_cycles(data, program.target.decoder_lanes, bus)
            found[address] = Progress(cycles=np.array([cycles]), beats=np.array([beats]))
            continue
        assert decoder.codes is not None
        found[address] = _progress(stream.weights, decoder.codes, data, program.target.rows, bus)
    return found


def _block_cycles(data: bytes, lanes: int, bus: int) -> int:
    """A byte a cycle of codes and of the other blocks' head, a round a cycle of offsets."""
    size = round_bytes(lanes)
    taken = 8
    if is_codes(data):
        _, _, _, entry, entries, runs, *_ = CODES_HEAD.unpack_from(data)
        taken = int(CODES_HEAD.size + entry * entries + runs)
    rounds = len(data) // size
    # Between two rounds of several beats each the gearbox waits for the rest of them.
    waits = rounds * max(size // bus - 1, 0)
    return taken + rounds - -(-taken // size) + waits + _BLOCK_END


def _progress(weights: IntArray, codes: Codes, data: bytes, rows: int, bus: int) -> Progress:
    size = weights.shape[1] // codes.lanes
    wanted = np.arange(1, len(weights) // rows + 1) * rows * size
    lanes = [_lane(*item, codes, wanted, size) for item in lane_items(weights, codes)]
    cycles = np.max([cycles for cycles, _ in lanes], axis=0)
    # Lanes look at more bits than a codeword has; behind the words is the checksum's round.
    words = -(-(np.max([bits for _, bits in lanes], axis=0) + LIMIT) // WORD)
    chunks = stream_lanes(codes, data)
    rounds = np.minimum(words + len(chunks), sum(len(part.T) + 1 for _, part in chunks))
    rounds[-1] = sum(len(part.T) + 1 for _, part in chunks) + 1
    cycles = np.maximum(cycles, rounds)
    return Progress(cycles=cycles, beats=-(-rounds * round_bytes(codes.lanes) // bus))


def _lane(
    runs: IntArray, values: IntArray, codes: Codes, wanted: IntArray, size: int
) -> tuple[IntArray, IntArray]:
    """Cycles and bits until a lane has given so many weights, `size` a row.

    A codeword takes a cycle. So does an item that stays in its row, and each row that is given.
    """
    some = values != 0
    given = np.cumsum(runs + some)
    ends = np.searchsorted(given, wanted)
    place = (given - runs - some) % size + runs
    rows, behind = np.divmod(place, size)
    placing = np.maximum(rows + (some & (rows > 0) & (behind == size - 1)), 1)
    # The item that ends a tile may go on for some rows behind it.
    more = np.clip(given[ends] // size - wanted // size, 0, placing[ends] - 1)
    cycles = np.maximum(np.cumsum(1 + some)[ends], np.cumsum(placing)[ends] - more)
    order = np.argsort(codes.values)
    index = order[np.searchsorted(codes.values, values, sorter=order) % len(order)]
    bits = codes.run_lengths[runs] + np.where(some, codes.value_lengths[index], 0)
    return cycles, np.cumsum(bits)[ends]
