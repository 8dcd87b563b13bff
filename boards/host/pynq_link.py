"""A link to an accelerator beside the processor of a Zynq, with PYNQ, instead of over a line.

Written against PYNQ's documented interface; it was not run on hardware.
"""

from __future__ import annotations

import time
from typing import Any

from .errors import HostError
from .link import Link, LinkCounts
from .protocol import Identity, Status
from .registers import REGISTERS

__all__ = ["PynqLink"]

_REGISTERS = 0x43C0_0000
_REGISTER_BYTES = 4096
_ISR = next(r.offset for r in REGISTERS if r.name == "ISR")
_POLL_S = 0.0005


class PynqLink(Link):
    """Memory and registers of a Zynq; `Accelerator` takes it in place of a transport.

    Parameters
    ----------
    board, clock_hz
        As the bitstream was built.
    memory_bytes
        Of contiguous memory to take: what the largest program needs.
    data_bytes
        Of the accelerator's bus.
    registers
        Address of the accelerator's registers, as in build.tcl.

    Raises
    ------
    HostError
        If PYNQ is not installed, or has not so much contiguous memory.
    """

    def __init__(
        self,
        board: str,
        clock_hz: int,
        memory_bytes: int,
        *,
        data_bytes: int = 8,
        registers: int = _REGISTERS,
    ) -> None:
        try:
            from pynq import MMIO, allocate  # type: ignore[import-not-found]
        except ImportError:
            raise HostError("PYNQ is not installed; run this on a board with its image") from None
        self._registers: Any = MMIO(registers, _REGISTER_BYTES)
        try:
            self._memory: Any = allocate(shape=(memory_bytes,), dtype="u1")
        except (MemoryError, RuntimeError) as error:
            raise HostError(
                f"{memory_bytes} bytes of contiguous memory are not free ({error}); ask for less"
            ) from None
        self.counts = LinkCounts()
        self.status = Status(0)
        self.tries = 1000
        self.identity = Identity(
            board=board,
            clock_hz=clock_hz,
            baud=0,
            data_bytes=data_bytes,
            memory_bytes=memory_bytes,
            memory_base=int(self._memory.device_address),
        )

    def read_memory(self, address: int, count: int) -> bytes:
        """`count` bytes from a bus address on."""
        first = address - self.identity.memory_base
        self._memory.invalidate()
        return bytes(self._memory[first : first + count])

    def write_memory(self, address: int, data: bytes) -> None:
        """Write bytes from a bus address on."""
        first = address - self.identity.memory_base
        self._memory[first : first + len(data)] = bytearray(data)
        self._memory.flush()

    def read_register(self, offset: int) -> int:
        """The register at a byte offset."""
        return int(self._registers.read(offset))

    def write_register(self, offset: int, value: int) -> None:
        """Write the register at a byte offset."""
        self._registers.write(offset, value)

    def wait(self, timeout_s: float) -> bool:
        """Whether the accelerator is done within `timeout_s` seconds."""
        end = time.monotonic() + timeout_s
        while not self.read_register(_ISR):
            if time.monotonic() > end:
                return False
            time.sleep(_POLL_S)
        return True
