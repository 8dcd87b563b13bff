"""The host's end of the link: requests, answers, and trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .errors import HostError
from .protocol import (
    FLAG,
    HEADER,
    IDENTITY_BYTES,
    MIN_PAYLOAD,
    NOT_ACKNOWLEDGED,
    PROTOCOL_VERSION,
    REGISTER_BYTES,
    Command,
    Identity,
    Status,
    enframe,
    unescape,
)
from .transport import Transport

__all__ = ["Link", "LinkCounts"]

_BITS = 10
"""Of a byte on the line: start and stop with it."""

_LEAST_PIECE = 32
"""Bytes of a request below which the frame around them is most of it."""

_TRIES_OF_PIECE = 3
"""After so many, a request for memory is made anew, with half of its data."""

_MOST_BYTES = 1 << 15
"""More than any answer has, what was under way before it included: something else is talking."""


@dataclass(slots=True)
class LinkCounts:
    """What a link has seen: requests, further tries, and why those were made."""

    requests: int = 0
    retries: int = 0
    silent: int = 0
    refused: int = 0
    damaged: int = 0


class Link:
    """Memory and registers of a board over a transport.

    Opening it resynchronizes both ends: whatever was under way before is forgotten.

    Parameters
    ----------
    transport
        The line.
    timeout_s
        Silence after which a request is sent again, besides the time that sending it takes. A retry
        that comes too early does no harm.
    tries
        How often a request is sent before it is given up.
    gap_s
        Silence after which the board has surely ended an answer that came damaged.

    Attributes
    ----------
    identity : what the board says of itself
    status : of the last answer
    counts : for statistics

    Raises
    ------
    HostError
        From every method, if the board does not answer or answers with an error.
    """

    def __init__(
        self,
        transport: Transport,
        *,
        timeout_s: float = 0.25,
        tries: int = 10,
        gap_s: float = 0.02,
    ) -> None:
        self.transport = transport
        self.timeout_s = timeout_s
        self.tries = tries
        self.gap_s = gap_s
        self.counts = LinkCounts()
        self.status = Status(0)
        self._sequence = random.randrange(256)
        self._byte_s = 0.0
        self._piece = MIN_PAYLOAD
        self.identity = self._identify()
        self._byte_s = _BITS / self.identity.baud

    def read_memory(self, address: int, count: int) -> bytes:
        """`count` bytes from a bus address on."""
        unit = self.identity.data_bytes
        first = address // unit * unit
        last = -(-(address + count) // unit) * unit
        return self._move(Command.READ_MEMORY, first, last)[address - first :][:count]

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes from a bus address on; the rest of a beat that they touch stays."""
        unit = self.identity.data_bytes
        first = address // unit * unit
        last = -(-(address + len(data)) // unit) * unit
        if data and first < address:
            data = self.read_memory(first, address - first) + data
        if data and (end := first + len(data)) < last:
            data += self.read_memory(end, last - end)
        self._move(Command.WRITE_MEMORY, first, last, data)

    def read_register(self, offset: int) -> int:
        """The register at a byte offset."""
        return int.from_bytes(self._good(Command.READ_REGISTER, offset, REGISTER_BYTES), "little")

    def write_register(self, offset: int, value: int) -> None:
        """Write the register at a byte offset; once, however often the request is repeated."""
        data = value.to_bytes(REGISTER_BYTES, "little")
        self._good(Command.WRITE_REGISTER, offset, data=data)

    def wait(self, timeout_s: float) -> bool:
        """Whether the interrupt was, or went, up; False if nothing came for `timeout_s` seconds."""
        return self._try(Command.WAIT, 0, b"", 0, timeout_s=timeout_s) is not None

    def _move(self, command: Command, first: int, last: int, data: bytes = b"") -> bytes:
        """Read addresses first..last, or write `data` there, in requests within their blocks.

        They get shorter where the line is bad, and longer where it is good.
        """
        at, result = first, bytearray()
        while at < last:
            end = min((at // self._piece + 1) * self._piece, last)
            shortest = self._piece == _LEAST_PIECE
            before = self.counts.retries
            piece = data[at - first : end - first]
            tries = self.tries if shortest else min(_TRIES_OF_PIECE, self.tries)
            answer = self._request(command, at, end - at, piece, tries=tries)
            if answer is None and shortest:
                raise self._silence()
            if answer is None or self.counts.retries > before:
                self._piece = max(self._piece // 2, _LEAST_PIECE)
            else:
                self._piece = min(self._piece * 2, self.identity.payload)
            if answer is not None:
                self._check(command, at)
                result += answer
                at = end
        return bytes(result)

    def _identify(self) -> Identity:
        data = self._request(Command.IDENTIFY, 0, IDENTITY_BYTES)
        if data is None:
            raise self._silence()
        try:
            identity = Identity.from_bytes(data)
        except ValueError:
            raise HostError(
                f"What answers on {self.transport.name} is not a Tilewright board; check the port"
            ) from None
        if identity.version != PROTOCOL_VERSION:
            raise HostError(
                f"Board {identity.board!r} on {self.transport.name} speaks version "
                f"{identity.version} of the link's protocol, this host version {PROTOCOL_VERSION}; "
                "use the host package that was built with its bitstream"
            )
        return identity

    def _good(self, command: Command, address: int, size: int = 0, data: bytes = b"") -> bytes:
        """Data of the answer to a request that the board could fulfil."""
        answer = self._request(command, address, size, data)
        if answer is None:
            raise self._silence()
        self._check(command, address)
        return answer

    def _check(self, command: Command, address: int) -> None:
        """Raise HostError if the last answer says that the board could not do it."""
        what = command.name.lower().replace("_", " ")
        if self.status & Status.REFUSED:
            raise HostError(
                f"Board {self.identity.board!r} refused to {what} at {address:#x}; use the host "
                "package that was built with its bitstream"
            )
        if self.status & Status.BUS_SILENT:
            raise HostError(
                f"Board {self.identity.board!r} got no answer from its bus on {what} at "
                f"{address:#x}; reset the board, or load its bitstream again"
            )
        if self.status & (Status.BUS_ERROR | Status.BUS_DECODE):
            raise HostError(
                f"Board {self.identity.board!r} got a bus error on {what} at {address:#x}; check "
                "the address"
            )

    def _silence(self) -> HostError:
        return HostError(
            f"No answer on {self.transport.name} after {self.tries} tries; check that the board is "
            "powered, its bitstream loaded, and that port and baud rate are the board's"
        )

    def _request(
        self,
        command: Command,
        address: int,
        size: int = 0,
        data: bytes = b"",
        *,
        tries: int | None = None,
    ) -> bytes | None:
        """Data of the answer, after as many tries as it takes; None if `tries` are not enough."""
        self._sequence = (self._sequence + 1) % 256
        self.counts.requests += 1
        for attempt in range(self.tries if tries is None else tries):
            self.counts.retries += attempt > 0
            answer = self._try(command, address, data, size, timeout_s=self.timeout_s)
            if answer is not None:
                return answer
        return None

    def _try(
        self, command: Command, address: int, data: bytes, size: int, *, timeout_s: float
    ) -> bytes | None:
        """Send a request once; data of its answer, or None if it did not come."""
        count = len(data) or size
        header = HEADER.pack(command, self._sequence, count, address)
        frame = enframe(header + data)
        timeout_s += len(frame) * self._byte_s
        self.transport.discard()
        self.transport.write(frame)
        expected = bytes((command, self._sequence))
        received, total, damaged = bytearray(), 0, False
        while chunk := self.transport.read(self.gap_s if damaged else timeout_s):
            received += chunk
            total += len(chunk)
            if total > _MOST_BYTES:
                break
            if received[0] == NOT_ACKNOWLEDGED and not damaged:
                self.counts.refused += 1
                return None
            *frames, rest = bytes(received).split(bytes((FLAG,)))
            for body in map(unescape, filter(None, frames)):
                if body is None:
                    damaged = True
                elif body[:2] == expected and _whole(body, size):
                    self.status = Status(body[-1])
                    return body[2:-1]
            received = bytearray(rest)
        if damaged:
            self.counts.damaged += 1
        else:
            self.counts.silent += 1
        return None


def _whole(body: bytes, size: int) -> bool:
    """Whether an answer has the data that it should have."""
    return len(body) in (3, 3 + size) or (len(body) > 3 and bool(body[-1] & Status.BUS_SILENT))
