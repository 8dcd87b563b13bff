"""The weight streams of a program, read back as rows of weights and their bank offsets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, decode
from tilewright.compiler.program import Program

__all__ = ["Stream", "weight_streams"]

IntArray = npt.NDArray[np.int64]

_CONTAINERS = (2, 4, 8, 16)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """What the WEIGHTS instructions with one address stream.

    Attributes
    ----------
    layer : which streams it first
    weights : int64 [tiles * R, C]
    offsets : int64 [tiles * R], or None if rows have none
    size : bytes in memory, padded to the bus
    """

    layer: str
    weights: IntArray
    offsets: IntArray | None
    size: int


def weight_streams(program: Program) -> list[Stream]:
    """Every weight stream of a program once, in the order of their first use."""
    found: dict[int, Stream] = {}
    for region in program.regions:
        for number in range(region.first, region.last):
            start = program.instructions + number * INSTRUCTION_BYTES
            opcode, fields = decode(program.image[start : start + INSTRUCTION_BYTES])
            if opcode is Opcode.WEIGHTS and fields["address"] not in found:
                found[fields["address"]] = _stream(program, region.name, fields)
    return list(found.values())


def _stream(program: Program, layer: str, fields: dict[str, int]) -> Stream:
    target, container = program.target, _CONTAINERS[fields["container"]]
    size = fields["beats"] * target.bus_bytes
    data = np.frombuffer(program.image, np.uint8)[fields["address"] :][:size]
    head = 16 if fields["gather"] else 0
    width, rows = head + target.cols * container, fields["tiles"] * target.rows
    bits = np.unpackbits(data, bitorder="little")[: rows * width].reshape(rows, width)
    weights = _integers(bits[:, head:].reshape(rows, target.cols, container))
    limit = 1 << (container - 1)
    return Stream(
        layer=layer,
        weights=(weights + limit) % (2 * limit) - limit,
        offsets=_integers(bits[:, None, :16])[:, 0] if head else None,
        size=size,
    )


def _integers(bits: npt.NDArray[np.uint8]) -> IntArray:
    """Numbers of their bits, lowest first, along the last axis."""
    result: IntArray = bits.astype(np.int64) @ (1 << np.arange(bits.shape[-1], dtype=np.int64))
    return result
