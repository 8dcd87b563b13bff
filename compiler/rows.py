"""The weight streams of a program, read back as rows of weights and their bank offsets."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, decode
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target
from tilewright.compress.stream import Codes
from tilewright.compress.unstream import decode_stream, is_codes, unpack_codes, unpack_offsets
from tilewright.errors import TilewrightError

__all__ = ["Decoder", "Stream", "plain_stream", "weight_streams"]

IntArray = npt.NDArray[np.int64]

_CONTAINERS = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """What the WEIGHTS instructions with one address stream.

    Attributes
    ----------
    weights : int64 [tiles * R, C]
    offsets : int64 [tiles * R], or None if rows have none
    size : bytes in memory, padded to the bus
    layer : which streams it first
    """

    weights: IntArray
    offsets: IntArray | None
    size: int
    layer: str = ""


class Decoder:
    """What the WEIGHTS unit knows of codes and offsets, from one instruction to the next."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.codes: Codes | None = None
        self._offsets: IntArray = np.zeros(0, np.int64)

    def read(self, data: bytes, fields: dict[str, int]) -> Stream | None:
        """What an instruction with these bytes streams; None if they are a block.

        Raises
        ------
        TilewrightError
            If a compressed stream or a block is damaged, or its codes or offsets are missing.
        """
        if fields.get("block"):
            if is_codes(data):
                self.codes = unpack_codes(data)
            else:
                self._offsets = unpack_offsets(data)
            return None
        if not fields.get("coded"):
            return plain_stream(data, fields, self._target)
        rows = fields["tiles"] * self._target.rows
        if self.codes is None or (fields["gather"] and len(self._offsets) < rows):
            raise TilewrightError("A compressed weight stream has no codes or offsets before it")
        weights = decode_stream(self.codes, data, rows=rows, cols=self._target.cols)
        return Stream(
            weights=weights,
            offsets=self._offsets[:rows] if fields["gather"] else None,
            size=fields["beats"] * self._target.bus_bytes,
        )


def weight_streams(program: Program) -> list[Stream]:
    """Every weight stream of a program once, in the order of their first use."""
    found: dict[int, Stream] = {}
    decoder = Decoder(program.target)
    for region in program.regions:
        for number in range(region.first, region.last):
            start = program.instructions + number * INSTRUCTION_BYTES
            opcode, fields = decode(program.image[start : start + INSTRUCTION_BYTES])
            address = fields.get("address", 0)
            if opcode is Opcode.WEIGHTS and address not in found:
                size = fields["beats"] * program.target.bus_bytes
                stream = decoder.read(program.image[address : address + size], fields)
                if stream is not None:
                    found[address] = replace(stream, layer=region.name)
    return list(found.values())


def plain_stream(image: bytes, fields: dict[str, int], target: Target) -> Stream:
    """What an instruction streams that is not compressed."""
    container = _CONTAINERS[fields["container"]]
    size = fields["beats"] * target.bus_bytes
    data = np.frombuffer(image, np.uint8)
    head = 16 if fields["gather"] else 0
    width, rows = head + target.cols * container, fields["tiles"] * target.rows
    bits = np.unpackbits(data, bitorder="little")[: rows * width].reshape(rows, width)
    weights = _integers(bits[:, head:].reshape(rows, target.cols, container))
    limit = 1 << (container - 1)
    return Stream(
        weights=(weights + limit) % (2 * limit) - limit,
        offsets=_integers(bits[:, None, :16])[:, 0] if head else None,
        size=size,
    )


def _integers(bits: npt.NDArray[np.uint8]) -> IntArray:
    """Numbers of their bits, lowest first, along the last axis."""
    result: IntArray = bits.astype(np.int64) @ (1 << np.arange(bits.shape[-1], dtype=np.int64))
    return result
