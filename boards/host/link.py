"""The host's end of the link: requests, answers, and trying again."""

from __future__ import annotations

import random
from dataclasses import dataclass

from .errors import HostError
from .protocol import (
    FLAG,
    HEADER,
    IDENTITY_BYTES,
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
        self.identity = self._identify()
        self._byte_s = _BITS / self.identity.baud

    def read_memory(self, address: int, count: int) -> bytes:
        """`count` bytes from a bus address on."""
        unit = self.identity.data_bytes
        first = address // unit * unit
        last = -(-(address + count) // unit) * unit
        blocks = [
            self._good(Command.READ_MEMORY, at, size=size) for at, size in self._blocks(first, last)
        ]
        return b"".join(blocks)[address - first :][:count]

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes from a bus address on; the rest of a beat that they touch stays."""
        unit = self.identity.data_bytes
        first = address // unit * unit
        last = -(-(address + len(data)) // unit) * unit
        if data and first < address:
            data = self.read_memory(first, address - first) + data
        if data and (end := first + len(data)) < last:
            data += self.read_memory(end, last - end)
        for at, size in self._blocks(first, last):
            self._good(Command.WRITE_MEMORY, at, data=data[at - first : at - first + size])

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

    def _blocks(self, first: int, last: int) -> list[tuple[int, int]]:
        """Address and size of requests for first..last: none crosses a block's border."""
        block = self.identity.payload
        starts = [first, *range((first // block + 1) * block, last, block)] if first < last else []
        return [(at, min((at // block + 1) * block, last) - at) for at in starts]

    def _identify(self) -> Identity:
        data = self._request(Command.IDENTIFY, 0, size=IDENTITY_BYTES)
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
        answer = self._request(command, address, size=size, data=data)
        what = command.name.lower().replace("_", " ")
        if self.status & Status.REFUSED:
            raise HostError(
                f"Board {self.identity.board!r} refused to {what} at {address:#x}; use the host "
                "package that was built with its bitstream"
            )
        if self.status & (Status.BUS_ERROR | Status.BUS_DECODE):
            raise HostError(
                f"Board {self.identity.board!r} got a bus error on {what} at {address:#x}; check "
                "the address"
            )
        return answer

    def _request(self, command: Command, address: int, size: int = 0, data: bytes = b"") -> bytes:
        """Data of the answer, after as many tries as it takes."""
        self._sequence = (self._sequence + 1) % 256
        self.counts.requests += 1
        for attempt in range(self.tries):
            self.counts.retries += attempt > 0
            answer = self._try(command, address, data, size, timeout_s=self.timeout_s)
            if answer is not None:
                return answer
        raise HostError(
            f"No answer on {self.transport.name} after {self.tries} tries; check that the board is "
            "powered, its bitstream loaded, and that port and baud rate are the board's"
        )

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
                elif body[:2] == expected and len(body) in (3, 3 + size):
                    self.status = Status(body[-1])
                    return body[2:-1]
            received = bytearray(rest)
        if damaged:
            self.counts.damaged += 1
        else:
            self.counts.silent += 1
        return None
