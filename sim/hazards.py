"""Tokens and happens-before: proves that the tokens order what concurrent units would race for."""

from __future__ import annotations

from collections import deque

import numpy as np
import numpy.typing as npt

__all__ = ["Clock", "Orders", "ProgramFault", "Touched"]

UNITS = ("load", "weights", "calc", "store")

Clock = dict[str, int]
"""For each unit, how many of its instructions are complete for certain."""


class ProgramFault(Exception):
    """A program does what the hardware forbids; names the instruction."""


class Orders:
    """Vector clocks over the four units.

    Executed in program order, each instruction first takes its tokens (`start`); whatever it then
    touches must have been left by instructions that its clock covers.
    """

    def __init__(self) -> None:
        self._own: dict[str, Clock] = {unit: dict.fromkeys(UNITS, 0) for unit in UNITS}
        self._tokens: dict[tuple[str, str], deque[Clock]] = {}

    def start(self, unit: str, fields: dict[str, int]) -> Clock:
        """Take the instruction's tokens; returns what is complete when it starts.

        Raises
        ------
        ProgramFault
            If a token is not there yet.
        """
        clock = self._own[unit]
        for producer in UNITS:
            for _ in range(fields.get(f"wait_{producer}", 0)):
                queue = self._tokens.get((producer, unit))
                if not queue:
                    raise ProgramFault(f"waits for a token of {producer} that no one has signalled")
                token = queue.popleft()
                for other in UNITS:
                    clock[other] = max(clock[other], token[other])
        return clock

    def finish(self, unit: str, fields: dict[str, int]) -> None:
        """Complete the instruction and give its tokens."""
        clock = self._own[unit]
        clock[unit] += 1
        for consumer in UNITS:
            if fields.get(f"signal_{consumer}", 0):
                self._tokens.setdefault((unit, consumer), deque()).append(dict(clock))

    def left_over(self) -> dict[tuple[str, str], int]:
        """Tokens that nobody took."""
        return {key: len(queue) for key, queue in self._tokens.items() if queue}


class Touched:
    """When each word of a memory was last written, and last read, by number of instruction."""

    def __init__(self, size: int, writer: str, reader: str, what: str) -> None:
        self._written = np.zeros(size, np.int64)
        self._read = np.zeros(size, np.int64)
        self._writer, self._reader, self._what = writer, reader, what

    def read(self, clock: Clock, words: npt.NDArray[np.int64] | slice) -> None:
        """The reader reads `words`; their writes must be covered by `clock`."""
        if clock[self._writer] < int(self._written[words].max(initial=0)):
            raise ProgramFault(f"reads {self._what} that {self._writer} may still be writing")
        self._read[words] = clock[self._reader] + 1

    def write(self, clock: Clock, words: npt.NDArray[np.int64] | slice) -> None:
        """The writer writes `words`; what read them before must be covered by `clock`."""
        if clock[self._reader] < int(self._read[words].max(initial=0)):
            raise ProgramFault(f"overwrites {self._what} that {self._reader} may still need")
        self._written[words] = clock[self._writer] + 1
