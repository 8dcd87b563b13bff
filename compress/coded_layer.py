"""All compressed weights of a layer: its codes, its bank offsets, its streams."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.compress.stream import (
    OFFSET_ROWS,
    Codes,
    choose_codes,
    encode_stream,
    lane_items,
    offset_block,
)
from tilewright.errors import TilewrightError

__all__ = ["Encoded", "Rows", "encode_layer"]

IntArray = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """What one WEIGHTS instruction streams: rows of C weights, and each row's bank offset or None."""

    weights: IntArray
    offsets: IntArray | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Encoded:
    """A compressed layer, and what its bits went to.

    Attributes
    ----------
    block : the codes
    offset_blocks : bank offsets; `offset_block_of` tells each stream's, None if it has none
    streams : each to be padded to the bus, as the blocks are
    cycles : of each stream in its slowest lane: symbols
    weights : weights that are not zero
    value_bits, run_bits : bits of all codewords of values and of runs
    """

    codes: Codes
    block: bytes
    offset_blocks: tuple[bytes, ...]
    offset_block_of: tuple[int | None, ...]
    streams: tuple[bytes, ...]
    cycles: tuple[int, ...]
    weights: int
    value_bits: int
    run_bits: int

    def parts(self) -> tuple[bytes, ...]:
        """Everything that is in memory."""
        return (self.block, *self.offset_blocks, *self.streams)

    def size(self, align: int = 8) -> int:
        """Bytes in memory, every part padded to a multiple of `align`."""
        return sum(-(-len(part) // align) * align for part in self.parts())


def encode_layer(
    streams: Sequence[Rows], *, lanes: int = 4, huffman: bool = True, entry_bytes: int = 1
) -> Encoded:
    """Compress the weights of a layer.

    Parameters
    ----------
    streams : what each WEIGHTS instruction streams
    lanes : decoders that work side by side
    huffman : codewords as frequent symbols suggest, or all equally long
    entry_bytes : of a codebook entry, 1 or 2

    Raises
    ------
    TilewrightError
        As `choose_codes`, or if a stream has more bank offsets than the decoder holds.
    """
    codes = choose_codes([part.weights for part in streams], lanes=lanes, huffman=huffman)
    offset_blocks, block_of = _offset_blocks(streams, lanes)
    weights = value_bits = run_bits = 0
    cycles = []
    for part in streams:
        symbols = []
        for runs, values in lane_items(part.weights, codes):
            used = values[values != 0]
            value_bits += int(codes.value_lengths[np.searchsorted(codes.values, used)].sum())
            run_bits += int(codes.run_lengths[runs].sum())
            weights += len(used)
            symbols.append(len(runs) + len(used))
        cycles.append(max(symbols))
    return Encoded(
        codes=codes,
        block=codes.pack(entry_bytes),
        offset_blocks=offset_blocks,
        offset_block_of=block_of,
        streams=tuple(encode_stream(part.weights, codes) for part in streams),
        cycles=tuple(cycles),
        weights=weights,
        value_bits=value_bits,
        run_bits=run_bits,
    )


def _offset_blocks(
    streams: Sequence[Rows], lanes: int
) -> tuple[tuple[bytes, ...], tuple[int | None, ...]]:
    """As few blocks as do: a stream may use the first offsets of a longer one's."""
    lists = sorted(
        (part.offsets for part in streams if part.offsets is not None), key=len, reverse=True
    )
    kept: list[IntArray] = []
    for offsets in lists:
        if len(offsets) > OFFSET_ROWS:
            raise TilewrightError(
                f"A compressed stream has {len(offsets)} rows with bank offsets; the decoder holds "
                f"{OFFSET_ROWS}"
            )
        if not any(np.array_equal(offsets, other[: len(offsets)]) for other in kept):
            kept.append(offsets)

    def find(offsets: IntArray | None) -> int | None:
        if offsets is None:
            return None
        return next(
            n for n, other in enumerate(kept) if np.array_equal(offsets, other[: len(offsets)])
        )

    return tuple(offset_block(offsets, lanes) for offsets in kept), tuple(
        find(part.offsets) for part in streams
    )
