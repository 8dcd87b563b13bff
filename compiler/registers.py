"""The register map, defined once for the hardware, the host and the documents."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = [
    "ACTIVITY",
    "FAULT_FIELDS",
    "ID_WORD",
    "PAGE",
    "REGISTERS",
    "RESPONSES",
    "VERSION_WORD",
    "WATCHDOG_BITS",
    "Activity",
    "Control",
    "Register",
    "Status",
    "StreamFault",
    "Unit",
    "offset",
]

ID_WORD = 0x54574731
"""The ASCII text "TWG1"."""

VERSION_WORD = 0x000400
"""Version of the instruction format and the register map: major << 16 | minor << 8 | patch."""

WATCHDOG_BITS = 24

PAGE = 4096
"""Alignment of MEM_BASE, and what no burst crosses."""

RESPONSES = {"SLVERR": 2, "DECERR": 3}
"""AXI's error responses."""


class Control(enum.IntFlag):
    """Bits of the CTRL register."""

    START = 1
    DONE = 2
    IDLE = 4
    SOFT_RESET = 16


class Status(enum.IntEnum):
    """Why a run ended: the STATUS register."""

    GOOD = 0
    ILLEGAL = 1
    READ_ERROR = 2
    WRITE_ERROR = 3
    WATCHDOG = 4
    WEIGHT_STREAM = 5


class StreamFault(enum.IntEnum):
    """What is wrong with a compressed weight stream: FAULT's reason with Status.WEIGHT_STREAM."""

    NONE = 0
    HEADER = 1
    """A block or a chunk does not begin as one for this decoder."""
    TRUNCATED = 2
    """Its beats end before it does."""
    NO_CODE = 3
    """A lane holds what is no codeword, or its words end before its weights."""
    BEYOND = 4
    """A value lies behind the last row of its chunk."""
    NO_ROOM = 5
    """A lane needs words that stand behind more of another's than that can hold."""
    CHECKSUM = 6
    """Its checksum is wrong."""
    ROWS = 7
    """It has more or fewer rows than its instruction has tiles for."""


class Unit(enum.IntEnum):
    """Who saw a fault: FAULT's low bits. The readers come first, in the arbiter's order."""

    NONE = 0
    LOAD = 1
    WEIGHTS = 2
    PARAMS = 3
    FETCH = 4
    CALC = 5
    STORE = 6


FAULT_FIELDS = {"unit": (0, 4), "response": (8, 2), "reason": (16, 8)}
"""Fields of FAULT: first bit and width."""


@dataclass(frozen=True, slots=True)
class Activity:
    """A bit of the ACTIVITY register, from bit 0: what `unit` does or waits for."""

    name: str
    unit: Unit
    doc: str


ACTIVITY = (
    Activity("fetch_reads", Unit.FETCH, "instructions are left to read"),
    Activity("fetch_blocked", Unit.FETCH, "an instruction waits: its unit's queue is full"),
    Activity("load_waits_store", Unit.LOAD, "waits for a token from STORE"),
    Activity("load_waits_calc", Unit.LOAD, "waits for a token from CALC"),
    Activity("load_writes", Unit.LOAD, "fills a rectangle, or waits for its data"),
    Activity("weights_active", Unit.WEIGHTS, "has an instruction, and waits for data or for CALC"),
    Activity("calc_waits_load", Unit.CALC, "waits for a token from LOAD"),
    Activity("calc_waits_store", Unit.CALC, "waits for a token from STORE"),
    Activity("calc_waits_weights", Unit.CALC, "waits for a weight tile"),
    Activity("store_waits_params", Unit.STORE, "waits for parameter records"),
    Activity("store_waits_calc", Unit.STORE, "waits for a token from CALC"),
    Activity("store_drains", Unit.STORE, "drains accumulators, or waits for the writer"),
    Activity("store_waits_writes", Unit.STORE, "STAMP or FINISH waits until all is written"),
    Activity("reads_under_way", Unit.NONE, "a read burst has not ended"),
    Activity("writes_under_way", Unit.NONE, "a write burst has no response yet"),
)


@dataclass(frozen=True, slots=True)
class Register:
    """A 32-bit register: byte offset, name, access (ro, rw, w1c: write 1 to clear) and meaning."""

    offset: int
    name: str
    access: str
    doc: str


REGISTERS: tuple[Register, ...] = (
    Register(
        0x00,
        "CTRL",
        "rw",
        "bit 0 start (write 1; ignored while busy), bit 1 done (cleared "
        "by start), bit 2 idle, bit 4 soft reset (write 1)",
    ),
    Register(0x04, "GIE", "rw", "bit 0 global interrupt enable"),
    Register(0x08, "IER", "rw", "bit 0 interrupt on done, bit 1 on error"),
    Register(0x0C, "ISR", "w1c", "bit 0 done, bit 1 error"),
    Register(0x10, "MEM_BASE", "rw", "bus address of the program's memory; bits 11:0 are 0"),
    Register(0x14, "INSTRUCTIONS", "rw", "byte offset of the first instruction from MEM_BASE"),
    Register(0x18, "COUNT", "rw", "number of instructions"),
    Register(
        0x1C,
        "STATUS",
        "ro",
        "0 good, 1 illegal instruction, 2 read error, 3 write error, 4 watchdog, 5 weight stream",
    ),
    Register(
        0x20,
        "WATCHDOG",
        "rw",
        f"cycles without progress after which a run ends with STATUS 4; 0: off ({WATCHDOG_BITS} "
        "bits)",
    ),
    Register(
        0x24,
        "FAULT",
        "ro",
        "bits 3:0 the unit that saw the fault (below), bits 9:8 the bus's response (2 SLVERR, 3 "
        "DECERR), bits 23:16 what is illegal (docs/isa.md), or wrong with a compressed weight stream "
        "(1 header, 2 truncated, 3 no code, 4 value behind the end, 5 no room, 6 checksum, 7 rows); "
        "of the last run",
    ),
    Register(
        0x28,
        "FAULT_ADDRESS",
        "ro",
        "bus errors: address of the burst; illegal instruction: its number, from 0; weight stream: "
        "number of its WEIGHTS instruction among those, from 0",
    ),
    Register(
        0x2C, "ACTIVITY", "ro", "what the units do, or did when the last run ended: bits below"
    ),
    Register(0x40, "ID", "ro", "0x54574731, 'TWG1'"),
    Register(0x44, "VERSION", "ro", "major << 16 | minor << 8 | patch"),
    Register(0x48, "ARRAY", "ro", "cols << 16 | rows"),
    Register(
        0x4C, "WIDTHS", "ro", "bus_bytes << 24 | acc_bits << 16 | weight_bits << 8 | act_bits"
    ),
    Register(0x50, "DEPTHS", "ro", "(acc_depth - 1) << 16 | (act_depth - 1)"),
    Register(0x54, "FINGERPRINT", "ro", "hash of all parameters on which programs depend"),
    Register(
        0x58,
        "FEATURES",
        "ro",
        "decoder_lanes << 24 | address_bits << 16 | pack_pixels << 8 | number of activations << 4 | "
        "ternary << 1 | leaky",
    ),
    Register(0x80, "CYCLES", "ro", "cycles of the last run"),
    Register(0x84, "CALC_BUSY", "ro", "cycles in which the array took a pixel"),
    Register(0x88, "CALC_WAIT_LOAD", "ro", "cycles CALC waited for LOAD"),
    Register(0x8C, "CALC_WAIT_STORE", "ro", "cycles CALC waited for STORE"),
    Register(0x90, "CALC_WAIT_WEIGHTS", "ro", "cycles CALC waited for a weight tile"),
    Register(
        0x94,
        "LOAD_BUSY",
        "ro",
        "cycles in which LOAD had an instruction, waiting for tokens included",
    ),
    Register(0x98, "STORE_BUSY", "ro", "cycles in which STORE drained or wrote"),
    Register(0x9C, "READ_BEATS", "ro", "bus beats read"),
    Register(0xA0, "WRITE_BEATS", "ro", "bus beats written"),
)


def offset(name: str) -> int:
    """Byte offset of the register called `name`; raises KeyError."""
    return {register.name: register.offset for register in REGISTERS}[name]
