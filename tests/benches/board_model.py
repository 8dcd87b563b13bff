"""A board as its host sees it, in Python: the protocol, memory, registers, an accelerator."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilewright.boards.host.protocol import (
    FLAG,
    HEADER,
    NOT_ACKNOWLEDGED,
    REGISTER_BYTES,
    Command,
    Identity,
    Status,
    enframe,
    unescape,
)
from tilewright.compiler.capabilities import capability_words
from tilewright.compiler.program import Program
from tilewright.compiler.registers import Control, offset
from tilewright.compiler.target import Target
from tilewright.sim.isa_model import execute

__all__ = ["BoardModel"]


class BoardModel:
    """A board behind a transport; `program` is what it can compute, if memory holds it.

    Attributes
    ----------
    memory, registers : registers by offset
    status : of the self-test, in every answer
    fault : STATUS and further registers by name, with which the next run ends; None: it is good
    stuck : runs never end
    starts : how often CTRL.start was written
    """

    name = "the model"

    def __init__(
        self,
        target: Target,
        program: Program | None = None,
        *,
        board: str = "model",
        memory_bytes: int = 1 << 16,
        data_bytes: int = 4,
        payload: int = 256,
        noise: Callable[[bytes], bytes] = lambda data: data,
    ) -> None:
        self.identity = Identity(
            board=board,
            clock_hz=25_000_000,
            baud=3_000_000,
            data_bytes=data_bytes,
            memory_bytes=memory_bytes,
            memory_base=0x4000_0000,
            payload=payload,
        )
        self.program, self.noise = program, noise
        self.memory = bytearray(b"\xa5" * memory_bytes)
        self.registers = {offset(n): w for n, w in capability_words(target).items()}
        self.registers[offset("CTRL")] = Control.IDLE
        self.status = Status(0)
        self.fault: dict[str, int] | None = None
        self.stuck = False
        self.starts = 0
        self._last: tuple[int, bytes] | None = None
        self._half = bytearray()
        self._arrived = bytearray()

    def write(self, data: bytes) -> None:
        self._half += self.noise(data)
        *frames, rest = bytes(self._half).split(bytes((FLAG,)))
        self._half = bytearray(rest)
        for body in map(unescape, filter(None, frames)):
            whole = body is not None and len(body) >= HEADER.size
            self._arrived += self.noise(self._answer(body) if whole and body else _REFUSAL)

    def read(self, timeout: float) -> bytes:
        found, self._arrived = bytes(self._arrived), bytearray()
        return found

    def discard(self) -> None:
        self._arrived.clear()

    def _answer(self, body: bytes) -> bytes:
        command, sequence, count, address = HEADER.unpack(body[: HEADER.size])
        data = body[HEADER.size :]
        if command == Command.WAIT and not self.registers.get(offset("ISR"), 0):
            return b""
        writes = command in (Command.WRITE_MEMORY, Command.WRITE_REGISTER)
        if writes and len(data) != count:
            return _REFUSAL
        if writes and self._last is not None and self._last[0] == sequence:
            return self._last[1]
        status = self.status
        result = b""
        if not self._allowed(command, count, address):
            status |= Status.REFUSED
        elif command == Command.IDENTIFY:
            result = self.identity.to_bytes()[:count]
        elif command in (Command.READ_MEMORY, Command.WRITE_MEMORY):
            at = address - self.identity.memory_base
            if not 0 <= at <= len(self.memory) - count:
                status |= Status.BUS_ERROR | Status.BUS_DECODE
            elif writes:
                self.memory[at : at + count] = data
            result = b"" if writes else bytes(self.memory[at : at + count]).ljust(count, b"\0")
        elif command == Command.READ_REGISTER:
            result = self.registers.get(address, 0).to_bytes(REGISTER_BYTES, "little")
        elif command == Command.WRITE_REGISTER:
            self._write_register(address, int.from_bytes(data, "little"))
        answer = enframe(bytes((command, sequence)) + result + bytes((status,)))
        self._last = sequence, answer
        return answer

    def _allowed(self, command: int, count: int, address: int) -> bool:
        if command not in list(Command):
            return False
        registers = command in (Command.READ_REGISTER, Command.WRITE_REGISTER, Command.WAIT)
        unit = REGISTER_BYTES if registers else self.identity.data_bytes
        within = address % self.identity.payload + count <= self.identity.payload
        return not (count % unit or address % unit) and within

    def _write_register(self, address: int, value: int) -> None:
        if address == offset("ISR"):
            self.registers[address] = self.registers.get(address, 0) & ~value
        elif address != offset("CTRL"):
            self.registers[address] = value
        elif value & Control.START:
            self.starts += 1
            self._start()
        elif value & Control.SOFT_RESET:
            self.registers[address] = Control.IDLE

    def _start(self) -> None:
        registers = self.registers
        registers[offset("CTRL")] = Control(0)
        if self.stuck:
            return
        registers[offset("STATUS")] = 0
        if self.fault is None:
            self._compute()
        else:
            registers |= {offset(name): value for name, value in self.fault.items()}
        failed = registers[offset("STATUS")] != 0
        registers[offset("CTRL")] = Control.IDLE | (0 if failed else Control.DONE)
        registers[offset("ISR")] = 2 if failed else 1

    def _compute(self) -> None:
        program, memory = self.program, self.memory
        assert program is not None
        assert memory[: len(program.image)] == program.image, "the program is in memory"
        assert self.registers[offset("COUNT")] == program.count
        inputs = {}
        for name in program.inputs:
            place = program.tensors[name]
            data = memory[place.address : place.address + place.layout.size]
            inputs[name] = place.layout.unpack(bytes(data))
        results = execute(program, inputs)
        for name in program.outputs:
            place = program.tensors[name]
            packed = place.layout.pack(results[name].astype(np.int64))
            memory[place.address : place.address + len(packed)] = packed
        self.registers[offset("CYCLES")] = 1000
        self.registers[offset("CALC_BUSY")] = 500


_REFUSAL = bytes((NOT_ACKNOWLEDGED,))
