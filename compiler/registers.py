"""The register map, defined once for the hardware, the host and the documents."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["ID_WORD", "REGISTERS", "VERSION_WORD", "Register", "offset"]

ID_WORD = 0x54574731
"""The ASCII text "TWG1"."""

VERSION_WORD = 0x000100
"""Version of the instruction format and the register map: major << 16 | minor << 8 | patch."""


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
    Register(0x10, "MEM_BASE", "rw", "bus address of the program's memory, aligned to 4096"),
    Register(0x14, "INSTRUCTIONS", "rw", "byte offset of the first instruction from MEM_BASE"),
    Register(0x18, "COUNT", "rw", "number of instructions"),
    Register(0x1C, "STATUS", "ro", "0 good, 1 illegal instruction, 2 read error, 3 write error"),
    Register(0x40, "ID", "ro", "0x54574731, 'TWG1'"),
    Register(0x44, "VERSION", "ro", "major << 16 | minor << 8 | patch"),
    Register(0x48, "ARRAY", "ro", "cols << 16 | rows"),
    Register(
        0x4C, "WIDTHS", "ro", "bus_bytes << 24 | acc_bits << 16 | weight_bits << 8 | act_bits"
    ),
    Register(0x50, "DEPTHS", "ro", "(acc_depth - 1) << 16 | (act_depth - 1)"),
    Register(0x54, "FINGERPRINT", "ro", "low 32 bits of the target's hash; a program carries it"),
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
