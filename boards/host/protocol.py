"""The host link's protocol, defined once for the hardware, the host and docs/link.md.

A frame is what stands between two flags, with flags and escapes in it escaped as in HDLC-like
framing (RFC 1662), and ends with its CRC-32, the one of zlib and Ethernet.
"""

from __future__ import annotations

import enum
import struct
import zlib
from dataclasses import dataclass

__all__ = [
    "CRC_BYTES",
    "CRC_RESIDUE",
    "ESCAPE",
    "ESCAPED_BIT",
    "FLAG",
    "HEADER",
    "IDENTITY_BYTES",
    "MAX_PAYLOAD",
    "MIN_PAYLOAD",
    "NOT_ACKNOWLEDGED",
    "PROTOCOL_VERSION",
    "REGISTER_BYTES",
    "Command",
    "Identity",
    "Status",
    "enframe",
    "unescape",
]

PROTOCOL_VERSION = 1

FLAG = 0x7E
ESCAPE = 0x7D
ESCAPED_BIT = 0x20
"""The bit by which an escaped byte differs from what it stands for."""

NOT_ACKNOWLEDGED = 0x15
"""Sent alone, outside any frame, when the board has received a damaged frame."""

CRC_BYTES = 4
CRC_RESIDUE = 0xDEBB20E3
"""The CRC register, before its final inversion, behind a good frame and its CRC."""

HEADER = struct.Struct("<BBHI")
"""What a request begins with: command, sequence number, count of data bytes, byte address."""

REGISTER_BYTES = 4

MIN_PAYLOAD, MAX_PAYLOAD = 64, 4096


class Command(enum.IntEnum):
    """What a request asks for; bit 0 tells registers from memory, bit 1 writes from reads."""

    READ_MEMORY = 0
    READ_REGISTER = 1
    WRITE_MEMORY = 2
    WRITE_REGISTER = 3
    IDENTIFY = 4
    WAIT = 5


class Status(enum.IntFlag):
    """The last byte of an answer's data."""

    BUS_ERROR = 0b01
    """With BUS_DECODE: DECERR instead of SLVERR."""
    BUS_DECODE = 0b10
    REFUSED = 0b100
    """The command does not exist, or its count or address is not allowed; nothing was done."""
    BUS_SILENT = 0b1000
    """Memory or registers did not answer in time; the data end before the answer's count."""
    SELFTEST_DONE = 0x10
    SELFTEST_PASSED = 0x20


_IDENTITY = struct.Struct("<3sBHBBIIII16s")
IDENTITY_BYTES = _IDENTITY.size
_MAGIC = b"TWL"


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """What a board says of itself.

    Attributes
    ----------
    board : its name, at most 16 ASCII characters
    clock_hz : clock of the accelerator and of the link
    baud : of the link
    data_bytes : what memory is read and written in, 2, 4 or 8 bytes; counts and addresses are
        multiples of it
    memory_base, memory_bytes : where memory stands on the accelerator's bus
    payload : most data bytes of a request or an answer, a power of two; a request stays within a
        block of that size
    version : of the protocol
    """

    board: str
    clock_hz: int
    baud: int
    data_bytes: int
    memory_bytes: int
    memory_base: int = 0
    payload: int = 256
    version: int = PROTOCOL_VERSION

    def __post_init__(self) -> None:
        if not (self.board.isascii() and self.board.isprintable() and 1 <= len(self.board) <= 16):
            raise ValueError(f"Board name must have 1..16 ASCII characters, not {self.board!r}")
        if self.data_bytes not in (2, 4, 8):
            raise ValueError(f"data_bytes must be 2, 4 or 8, not {self.data_bytes!r}")
        if not (MIN_PAYLOAD <= self.payload <= MAX_PAYLOAD and self.payload.bit_count() == 1):
            raise ValueError(
                f"Payload must be a power of two in {MIN_PAYLOAD}..{MAX_PAYLOAD}, "
                f"not {self.payload!r}"
            )

    def to_bytes(self) -> bytes:
        """The answer's data, `IDENTITY_BYTES` long."""
        return _IDENTITY.pack(
            _MAGIC,
            self.version,
            self.payload,
            self.data_bytes,
            0,
            self.clock_hz,
            self.baud,
            self.memory_base,
            self.memory_bytes,
            self.board.encode("ascii"),
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Identity:
        """What `to_bytes` wrote; raises ValueError if it is something else."""
        if len(data) != IDENTITY_BYTES or data[:3] != _MAGIC:
            raise ValueError("these are not the bytes of an identity")
        _, version, payload, data_bytes, _, clock_hz, baud, base, size, board = _IDENTITY.unpack(
            data
        )
        return cls(
            board=board.rstrip(b"\0").decode("ascii"),
            clock_hz=clock_hz,
            baud=baud,
            data_bytes=data_bytes,
            memory_bytes=size,
            memory_base=base,
            payload=payload,
            version=version,
        )


def enframe(body: bytes) -> bytes:
    """The frame of `body`, with CRC, escapes and both flags."""
    out = bytearray([FLAG])
    for byte in body + zlib.crc32(body).to_bytes(CRC_BYTES, "little"):
        out += bytes((ESCAPE, byte ^ ESCAPED_BIT)) if byte in (FLAG, ESCAPE) else bytes((byte,))
    out.append(FLAG)
    return bytes(out)


def unescape(frame: bytes) -> bytes | None:
    """The body of what stood between two flags; None if it is damaged."""
    out, escaped = bytearray(), False
    for byte in frame:
        if byte == ESCAPE and not escaped:
            escaped = True
            continue
        out.append(byte ^ ESCAPED_BIT if escaped else byte)
        escaped = False
    body, crc = bytes(out[:-CRC_BYTES]), bytes(out[-CRC_BYTES:])
    whole = len(out) >= CRC_BYTES and not escaped
    return body if whole and zlib.crc32(body) == int.from_bytes(crc, "little") else None
