"""A compiled network: instructions, weight stream, parameters and memory map."""

from __future__ import annotations

from dataclasses import dataclass

from tilewright.compiler.layout import TensorLayout
from tilewright.compiler.target import Target
from tilewright.graph.ir import Input, Op, Output
from tilewright.quant.formats import QFormat

__all__ = ["STAMP_BYTES", "Placement", "Program", "Region", "stamp_pitch"]

STAMP_BYTES = 8
"""Bytes of a cycle stamp."""


def stamp_pitch(target: Target) -> int:
    """Bytes from one stamp to the next: each starts at a bus-aligned address."""
    return max(STAMP_BYTES, target.bus_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a tensor stands in memory, at `address` bytes from MEM_BASE."""

    name: str
    address: int
    layout: TensorLayout
    format: QFormat


@dataclass(frozen=True, slots=True, kw_only=True)
class Region:
    """What the program does for one layer (tiles of one accumulator fill are numbered from 0).

    Attributes
    ----------
    first, last : instruction indices, last exclusive; the STAMP after the layer is instruction
        last - 1
    tiles : number of accumulator fills
    bound : "compute" or "memory"
    macs : useful multiply-accumulates
    slots : multiply-accumulate slots that the mapping issues (array cells * busy cycles)
    """

    name: str
    op: Op
    first: int
    last: int
    tiles: int
    bound: str
    macs: int
    slots: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Program:
    """Everything that memory holds before a run, and where the results will be.

    Attributes
    ----------
    target : what it was compiled for
    image : initial content of memory from MEM_BASE on: instructions at `instructions`, weights and
        parameters behind them
    instructions : byte offset of the first instruction
    count : number of instructions
    memory_bytes : bytes of memory needed, feature maps included
    tensors : every tensor that is in memory at the end of the run; inputs, outputs, and with
        `keep` also those in between
    stamps : byte offset of the cycle stamps, 8 bytes each, one for each region, `stamp_pitch` apart
    regions : layers in the order in which they run
    images, results : the network's inputs and outputs as its user knows them, as far as they are
        the program's
    """

    target: Target
    image: bytes
    instructions: int
    count: int
    memory_bytes: int
    tensors: dict[str, Placement]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    stamps: int
    regions: tuple[Region, ...]
    images: tuple[Input, ...] = ()
    results: tuple[Output, ...] = ()
