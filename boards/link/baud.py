"""The ratio of clock and baud rate as a phase accumulator's step."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["MIN_CYCLES", "BaudRate"]

MIN_CYCLES = 4
"""Fewest clock cycles of a bit."""

_MAX_ERROR = 0.002
_MAX_BITS = 24


@dataclass(frozen=True, slots=True, kw_only=True)
class BaudRate:
    """`baud` bits a second at a clock of `clock_hz`.

    Raises
    ------
    ValueError
        If a bit has fewer than 4 clock cycles, or so many that it cannot be timed.
    """

    clock_hz: int
    baud: int

    def __post_init__(self) -> None:
        longest = self.clock_hz >> _MAX_BITS - 9
        if not longest < self.baud * MIN_CYCLES <= self.clock_hz:
            raise ValueError(
                f"Baud rate must be in {longest + 1}..{self.clock_hz // MIN_CYCLES} at a clock of "
                f"{self.clock_hz} Hz, not {self.baud!r}"
            )

    @property
    def bits(self) -> int:
        """Width of the phase accumulator: the least with which the rate is right to 0.2 %."""
        return next(n for n in range(4, _MAX_BITS + 1) if self._error(n) <= _MAX_ERROR)

    @property
    def step(self) -> int:
        """What is added to the phase each cycle; a bit is 2**bits."""
        return self._step(self.bits)

    def _step(self, bits: int) -> int:
        return ((self.baud << bits + 1) // self.clock_hz + 1) // 2

    def _error(self, bits: int) -> float:
        return abs(self._step(bits) * self.clock_hz / (self.baud << bits) - 1)
