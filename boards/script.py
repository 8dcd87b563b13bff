"""What a board plays to its own link at power-up: its self-test, and perhaps a network's program."""

from __future__ import annotations

from collections.abc import Iterator

from tilewright.boards.host import HostProgram
from tilewright.boards.host.accelerator import run_settings
from tilewright.boards.host.protocol import HEADER, REGISTER_BYTES, Command, Identity, enframe
from tilewright.boards.host.registers import Control
from tilewright.boards.selftest import KnownAnswer
from tilewright.compiler.registers import Status, offset

__all__ = ["Script", "program_script", "selftest_script"]

_END = b"\0"
"""Where a frame would begin; anything but a flag."""

_MOST_READ = 64
"""Bytes of results in an answer."""


class Script:
    """Requests and the answers that a working board gives; see `link.script_player`."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._sequence = 0
        self.content = bytearray()

    def ask(
        self, command: Command, address: int, count: int, *, data: bytes = b"", found: bytes = b""
    ) -> None:
        """A request with `data`, and its answer with the data `found` and no error."""
        self._sequence = (self._sequence + 1) % 256
        request = HEADER.pack(command, self._sequence, count, address) + data
        self.content += enframe(request)
        self.content += enframe(bytes((command, self._sequence)) + found + b"\0")

    def write_memory(self, address: int, data: bytes) -> None:
        """Write to `address` of the accelerator's memory, in requests of one block each."""
        for at, piece in _pieces(address, data, self._identity):
            self.ask(Command.WRITE_MEMORY, at, len(piece), data=piece)

    def write(self, register: str, value: int) -> None:
        """Write a register."""
        data = value.to_bytes(REGISTER_BYTES, "little")
        self.ask(Command.WRITE_REGISTER, offset(register), len(data), data=data)

    def end(self) -> bytes:
        """All so far, and the end."""
        return bytes(self.content) + _END

    def load(self, program: HostProgram) -> None:
        """Write a program and what a run of it needs."""
        base = self._identity.memory_base
        self.write_memory(base, program.image)
        for name, value in run_settings(program, base).items():
            self.write(name, value)


def selftest_script(identity: Identity, known: KnownAnswer) -> bytes:
    """The self-test as frames: load, run, wait, compare status and every result."""
    script = Script(identity)
    program, base = known.program, identity.memory_base
    script.load(program)
    for item in program.inputs:
        pixels = item.tensor.pixels
        script.write_memory(base + item.tensor.address, pixels.pack(known.inputs[item.name]))
    for output in program.outputs:  # what is between rows is compared too, and not written
        script.write_memory(base + output.tensor.address, bytes(output.tensor.pixels.size))
    script.write("CTRL", Control.START)
    script.ask(Command.WAIT, 0, 0)
    good = int(Status.GOOD).to_bytes(REGISTER_BYTES, "little")
    script.ask(Command.READ_REGISTER, offset("STATUS"), REGISTER_BYTES, found=good)
    script.write("ISR", 3)
    for output in program.outputs:
        place = output.tensor
        right = place.pixels.pack(known.expected[output.name])
        at = base + place.address
        for address, piece in _pieces(at, right, identity, most=_MOST_READ):
            script.ask(Command.READ_MEMORY, address, len(piece), found=piece)
    return script.end()


def program_script(identity: Identity, known: KnownAnswer, program: HostProgram) -> bytes:
    """The self-test, and then a network's program, ready for images."""
    script = Script(identity)
    script.load(program)
    return selftest_script(identity, known)[: -len(_END)] + script.end()


def _pieces(
    address: int, data: bytes, identity: Identity, *, most: int | None = None
) -> Iterator[tuple[int, bytes]]:
    """Parts of `data` and their addresses, none across a block of the link's payload."""
    block = min(identity.payload, most or identity.payload)
    at = 0
    while at < len(data):
        count = min(block - (address + at) % block, len(data) - at)
        yield address + at, data[at : at + count]
        at += count
