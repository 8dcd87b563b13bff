"""The target: everything that the hardware depends on, and nothing of the network."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass

from tilewright.compiler.activations import MAX_FUNCTIONS, describe, function_latency
from tilewright.compiler.isa import INSTRUCTION_BYTES, PARAM_BYTES
from tilewright.compiler.microarchitecture import (
    ACCUMULATE_LATENCY,
    BANK_LATENCY,
    NEIGHBOURHOODS,
    UNIT_QUEUE,
)
from tilewright.errors import TilewrightError

__all__ = ["Target"]

_LIMITS = {
    "rows": (1, 64),
    "cols": (1, 64),
    "act_bits": (2, 16),
    "weight_bits": (2, 16),
    "acc_bits": (16, 48),
    "act_depth": (16, 65536),
    "acc_depth": (4, 65536),
    "bus_bytes": (1, 64),
    "burst_beats": (1, 256),
    "fifo_bursts": (2, 16),
    "pack_pixels": (1, 8),
    "multiplier_stages": (0, 6),
    "edge_registers": (0, 4),
    "address_bits": (16, 32),
    "unit_queue": (1, 4),
    "weights_per_multiplier": (1, 2),
}

_PACKS = (4, 8)
"""Pixels of a packed word, where rows and cols allow."""

_BLOCK_STAGES = {"generic": 1, "ecp5": 3, "ice40": 1, "gowin": 3, "xilinx": 1}
"""Least multiplier_stages of each family: the registers of its block from the cell's operand
registers on, which are the block's own in ice40 and xilinx."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Parameters of the generated accelerator.

    Attributes
    ----------
    name : shown in reports
    prefix : first part of every Verilog module name
    rows, cols : the array; rows are reduction terms, columns are output channels
    act_bits, weight_bits : widest feature map and weight; narrower tensors run too
    acc_bits : accumulator width; the compiler proves that the network fits in it
    act_depth : words of each of the `rows` activation banks
    acc_depth : pixels of each of the two accumulator halves
    bus_bytes : data width of the memory bus (a power of two)
    burst_beats : longest burst
    fifo_bursts : read-ahead of each DMA reader, in bursts
    pack_pixels : most pixels (4 or 8) of few channels that one bank word can hold, so that
        depthwise layers use the array better; 1 builds no hardware for it, nor does rows != cols
    multiplier : family of the multipliers: "generic" (what synthesis makes of `*`), "ecp5",
        "ice40" (UltraPlus), "gowin" or "xilinx" (7-series)
    multiplier_stages : registers from the operands to the product: those of the family's block (3
        for ecp5 and gowin) and further ones between it and the adder; 1 or 2, all in the block,
        for ice40 and xilinx
    weights_per_multiplier : 2 computes two columns with one multiplier, for narrow weights
    ternary : cells add an activation to a sum of positive or of negative weights, or to none, and
        multiply nothing; each column's two sums take their scales of weight_bits below the array, or
        with weight_bits of 2 none. multiplier_stages are then registers between a weight's gate and
        its adder, and may be 0
    edge_registers : further registers on the ways across the die: from the banks and the weights to
        the array's edge, from its bottom to the accumulators, from LOAD to the banks; with any,
        weight rows wait in a buffer, and the post-processing has shorter stages; with 2 or more,
        everything else has, too (`short_stages`)
    decoder_lanes : lanes of the decoder of compressed weight streams, a power of two from 2 on that
        divides cols; 0 builds no decoder
    leaky : whether the post-processing can do LeakyReLU
    activations : names of registered activations that the post-processing can do, which become
        "name:identity:cycles"
    counters : whether there are counters of CALC's cycles, of what units wait for and of what the bus
        moves; that of all cycles is always there. Without, the watchdog counts in steps of 65,536
        cycles
    address_bits : of the bus; programs and what they use lie below 2**address_bits
    unit_queue : instructions that wait in front of each unit; with 1 a unit keeps the one that it runs
        where it waited, takes the next when that is done, and no instruction is checked: one that
        stops a unit is ended by the watchdog
    bursts : whether the bus is used in bursts, read ahead into FIFOs; without, one beat at a time, and
        burst_beats is 1
    clock_mhz : intended clock, for frame rates in reports

    Raises
    ------
    TilewrightError
        If a parameter is out of range.
    """

    name: str = "default"
    prefix: str = "tilewright"
    rows: int = 16
    cols: int = 16
    act_bits: int = 8
    weight_bits: int = 8
    acc_bits: int = 32
    act_depth: int = 4096
    acc_depth: int = 512
    bus_bytes: int = 8
    burst_beats: int = 64
    fifo_bursts: int = 4
    pack_pixels: int = 8
    multiplier: str = "generic"
    multiplier_stages: int = 2
    weights_per_multiplier: int = 1
    ternary: bool = False
    edge_registers: int = 0
    decoder_lanes: int = 0
    leaky: bool = True
    activations: tuple[str, ...] = ()
    counters: bool = True
    address_bits: int = 32
    unit_queue: int = UNIT_QUEUE
    bursts: bool = True
    clock_mhz: float = 100.0

    def __post_init__(self) -> None:
        for field, (low, high) in _LIMITS.items():
            value = getattr(self, field)
            if not isinstance(value, int) or not low <= value <= high:
                raise TilewrightError(
                    f"Target {self.name!r}: {field} must be an integer in {low}..{high}, "
                    f"not {value!r}"
                )
        for field in ("bus_bytes", "burst_beats"):
            if getattr(self, field).bit_count() != 1:
                raise TilewrightError(
                    f"Target {self.name!r}: {field} must be a power of two, "
                    f"not {getattr(self, field)!r}"
                )
        if self.pack_pixels not in (1, *_PACKS):
            raise TilewrightError(
                f"Target {self.name!r}: pack_pixels must be 1, 4 or 8, not {self.pack_pixels!r}"
            )
        if self.burst_beats * self.bus_bytes > 4096:
            raise TilewrightError(
                f"Target {self.name!r}: burst_beats * bus_bytes must not exceed 4096 bytes "
                f"(AXI's burst boundary), not {self.burst_beats * self.bus_bytes}"
            )
        if not self.bursts and self.burst_beats != 1:
            raise TilewrightError(
                f"Target {self.name!r}: burst_beats must be 1 without bursts, not {self.burst_beats}"
            )
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.prefix):
            raise TilewrightError(
                f"Target {self.name!r}: prefix must be a lower-case Verilog name, "
                f"not {self.prefix!r}"
            )
        self._check_multiplier()
        if self.ternary:
            self._check_ternary()
        self._resolve_activations()
        lanes = self.decoder_lanes
        if lanes not in (0, 2, 4, 8, 16, 32) or (lanes and self.cols % lanes):
            raise TilewrightError(
                f"Target {self.name!r}: decoder_lanes must be 0 or a power of two in 2..32 that "
                f"divides cols, not {lanes!r} with cols {self.cols}"
            )
        if self.acc_bits < self.psum_bits:
            raise TilewrightError(
                f"Target {self.name!r}: acc_bits must be at least {self.psum_bits} (a column's "
                f"sum of {self.rows} products), not {self.acc_bits}"
            )
        if not self.clock_mhz > 0:
            raise TilewrightError(
                f"Target {self.name!r}: clock_mhz must be positive, not {self.clock_mhz!r}"
            )

    def _resolve_activations(self) -> None:
        resolved = tuple(describe(entry) for entry in self.activations)
        names = [entry.partition(":")[0] for entry in resolved]
        if len(set(names)) < len(names) or len(names) > MAX_FUNCTIONS:
            raise TilewrightError(
                f"Target {self.name!r}: activations must be at most {MAX_FUNCTIONS} different ones, "
                f"not {', '.join(names)}"
            )
        object.__setattr__(self, "activations", resolved)

    def _check_multiplier(self) -> None:
        if self.multiplier not in _BLOCK_STAGES:
            raise TilewrightError(
                f"Target {self.name!r}: multiplier must be one of {', '.join(_BLOCK_STAGES)}, "
                f"not {self.multiplier!r}"
            )
        least = 0 if self.ternary else _BLOCK_STAGES[self.multiplier]
        most = 2 if self.multiplier in ("ice40", "xilinx") else _LIMITS["multiplier_stages"][1]
        if not least <= self.multiplier_stages <= most:
            raise TilewrightError(
                f"Target {self.name!r}: multiplier_stages must be in {least}..{most} with "
                f"multiplier {self.multiplier!r}, not {self.multiplier_stages}"
            )
        if self.weights_per_multiplier == 2:
            self._check_pairs()
        if self.multiplier == "ice40" and max(self.act_bits, self.weight_bits) > 8:
            raise TilewrightError(
                f"Target {self.name!r}: multiplier 'ice40' needs act_bits and weight_bits of at "
                f"most 8, not {self.act_bits} and {self.weight_bits}; use multiplier 'generic'"
            )
        if self.cols % self.columns_per_cell:
            raise TilewrightError(
                f"Target {self.name!r}: cols must be even where two columns share a multiplier "
                f"(multiplier 'ice40', or weights_per_multiplier 2), not {self.cols}"
            )

    def _check_ternary(self) -> None:
        for field, wanted in (
            ("multiplier", "generic"),
            ("weights_per_multiplier", 1),
            ("decoder_lanes", 0),
        ):
            if getattr(self, field) != wanted:
                raise TilewrightError(
                    f"Target {self.name!r}: {field} must be {wanted!r} with ternary cells, which "
                    f"multiply nothing and take weights of 2 bits, not {getattr(self, field)!r}"
                )
        if self.scaled and self.weight_bits > min(self.rows, self.act_bits):
            raise TilewrightError(
                f"Target {self.name!r}: weight_bits must be at most rows and act_bits with ternary "
                f"cells (each row brings a bit of the scales), not {self.weight_bits} with "
                f"{self.rows} rows and act_bits {self.act_bits}; use fewer, or 2 for no scales"
            )

    def _check_pairs(self) -> None:
        if self.multiplier == "ice40":
            raise TilewrightError(
                f"Target {self.name!r}: multiplier 'ice40' needs weights_per_multiplier 1 (its "
                "block computes two columns as it is), not 2"
            )
        if self.weight_bits > 4 or self.act_bits > 8:
            raise TilewrightError(
                f"Target {self.name!r}: weights_per_multiplier 2 needs weight_bits of at most 4 "
                f"and act_bits of at most 8 (an 18x18 multiplier), not {self.weight_bits} and "
                f"{self.act_bits}; use weights_per_multiplier 1"
            )

    @property
    def function_names(self) -> tuple[str, ...]:
        """Names of the activations; STORE numbers them from 1."""
        return tuple(entry.partition(":")[0] for entry in self.activations)

    @property
    def function_count(self) -> int:
        """Number of activations."""
        return len(self.activations)

    @property
    def columns_per_cell(self) -> int:
        """Neighbouring columns that share a multiplier, and with it their activation.

        Ternary cells share the activation's register only.
        """
        if self.ternary:
            return max(n for n in (1, 2, 4) if self.cols % n == 0)
        return 2 if self.multiplier == "ice40" else self.weights_per_multiplier

    @property
    def cells_per_row(self) -> int:
        """Multipliers of one row of the array; an activation passes one a cycle."""
        return self.cols // self.columns_per_cell

    @property
    def product_registers(self) -> int:
        """Registers in the fabric between a multiplier block and its adder."""
        if self.multiplier in ("ecp5", "gowin"):
            return self.multiplier_stages - _BLOCK_STAGES[self.multiplier]
        return 0

    @property
    def scaled(self) -> bool:
        """Whether columns have scales: for sums of positive and of negative weights."""
        return self.ternary and self.weight_bits > 2

    @property
    def code_bits(self) -> int:
        """Bits of a weight in the array."""
        return 2 if self.ternary else self.weight_bits

    @property
    def sum_bits(self) -> int:
        """Width of a sum of activations in ternary cells."""
        return self.act_bits + (self.rows - 1).bit_length()

    @property
    def scale_registers(self) -> int:
        """Cycles from a column's two sums below ternary cells to its one sum."""
        if not self.ternary:
            return 0
        return 3 if self.scaled else 1

    @property
    def lane_bytes(self) -> int:
        """Bytes of one channel of one pixel in memory."""
        return 1 if self.act_bits <= 8 else 2

    @property
    def pixel_bytes(self) -> int:
        """Bytes of one pixel of one channel block in memory."""
        return self.rows * self.lane_bytes

    @property
    def narrow_lanes(self) -> tuple[int, ...]:
        """Lanes that a pixel of a network input may have in memory instead of R."""
        return tuple(lanes for lanes in (1, 2, 4) if lanes < self.rows)

    @property
    def pixel_align(self) -> int:
        """Smallest number of pixels that fills whole bus beats."""
        return self.bus_bytes // math.gcd(self.bus_bytes, self.pixel_bytes)

    @property
    def packs(self) -> tuple[int, ...]:
        """Numbers of pixels that a packed word may hold; none if the hardware cannot pack."""
        if self.rows != self.cols or self.ternary:
            return ()
        return tuple(p for p in _PACKS if p <= self.pack_pixels and self.rows % p == 0)

    @property
    def bank_groups(self) -> int:
        """Groups of banks that have a write address of their own."""
        return max(self.packs, default=1)

    @property
    def short_stages(self) -> bool:
        """Whether stages are cut for clocks above 100 MHz, which costs registers and latency.

        Accumulators and readers then are read through two registers, so that block RAMs can use
        their own, pooling takes three cycles, buffers are in front of the writer and the packer, and
        the controller hears a cycle late of what the units and the host do.
        """
        return self.edge_registers > 1

    @property
    def neighbours(self) -> int:
        """Columns that get what an instruction says for all from the same registers, if stages are short."""
        return -(-self.cols // NEIGHBOURHOODS)

    @property
    def control_lead(self) -> int:
        """Cycles that an accumulator's address and marks come ahead of its column's sum."""
        return 1 + 2 * self.short_stages

    @property
    def pooling_latency(self) -> int:
        """Cycles from a window's last pixel to its result."""
        return 3 if self.short_stages else 1

    @property
    def load_latency(self) -> int:
        """Cycles from a word's leaving LOAD's gearbox to its writing; rotating takes one of them."""
        return (2 if self.packs else 1) + self.edge_registers

    @property
    def drain_latency(self) -> int:
        """Cycles from an accumulator's request to its value.

        Packed ones are rotated in one more; small parts have no register behind the two halves. Short
        stages have one on the way to the columns and one in front of their memories.
        """
        return 2 + self.bursts + (len(self.packs) > 0) + 2 * self.short_stages

    @property
    def results_queue(self) -> int:
        """Post-processed pixels between the accumulators' request and the packer.

        One more than a power of two, since the head of the queue has registers of its own, and
        enough for a pixel a cycle: besides the units a pixel passes the walker and the queue
        (3 cycles), and its room is known again 2 cycles later. Without bursts the bus takes several
        cycles for a pixel, and as many are enough as take the least registers.
        """
        if not self.bursts:
            return 3
        needed = self.drain_latency + self.pooling_latency + self.postprocess_latency + 5
        needed += self.short_stages  # a buffer behind the queue
        return 1 + (1 << (needed - 2).bit_length())

    @property
    def bank_latency(self) -> int:
        """Cycles from a pixel's address at row r to its activation at row r's edge of the array."""
        return BANK_LATENCY + self.edge_registers

    @property
    def sum_shift(self) -> int:
        """Bits by which CALC's `shift` moves partial sums up."""
        return self.weight_bits - 1

    @property
    def psum_bits(self) -> int:
        """Width of a partial sum at the bottom of the array."""
        return self.act_bits + self.weight_bits + (self.rows - 1).bit_length()

    @property
    def weight_containers(self) -> tuple[int, ...]:
        """Bits a weight can take in the stream: 2, 4, 8, 16, as far as weight_bits needs."""
        widest = 1 << (self.code_bits - 1).bit_length()
        return tuple(bits for bits in (2, 4, 8, 16) if bits <= widest)

    @property
    def postprocess_latency(self) -> int:
        """Cycles through the post-processing; the hardware keeps to it."""
        if self.activations:
            return function_latency(self.activations, leaky=self.leaky)
        if self.short_stages:
            return 28 if self.leaky else 14
        if self.edge_registers:
            return 12 if self.leaky else 6
        return 7 if self.leaky else 4

    @property
    def accumulate_latency(self) -> int:
        """Cycles before an accumulator may be added to again; short stages have one more to read it."""
        return ACCUMULATE_LATENCY + self.short_stages

    @property
    def min_tile_period(self) -> int:
        """Least cycles between two weight tiles: loading R rows, or the accumulator's latency."""
        return max(self.rows, self.accumulate_latency)

    @property
    def readers(self) -> dict[str, tuple[int, int]]:
        """Longest burst and FIFO depth, in beats, of each DMA reader, in the arbiter's order."""
        if not self.bursts:
            return dict.fromkeys(("load", "weights", "params", "fetch"), (1, 1))
        ahead = (self.burst_beats, self.burst_beats * self.fifo_bursts)
        pair = min(self.burst_beats, 2 * INSTRUCTION_BYTES // self.bus_bytes)
        records = max(-(-2 * self.cols * PARAM_BYTES // self.bus_bytes), self.burst_beats)
        instructions = max(8 * INSTRUCTION_BYTES // self.bus_bytes, 4 * pair)
        return {
            "load": ahead,
            "weights": ahead,
            "params": (self.burst_beats, records),
            "fetch": (pair, instructions),
        }

    @property
    def fingerprint(self) -> str:
        """Hash of every parameter that shapes the hardware or the program."""
        shaping = dataclasses.asdict(self)
        for cosmetic in ("name", "prefix", "clock_mhz"):
            del shaping[cosmetic]
        return hashlib.sha256(json.dumps(shaping, sort_keys=True).encode()).hexdigest()[:16]
