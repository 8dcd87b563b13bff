"""The number format: integers with a fractional length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["MAX_BITS", "MIN_BITS", "QFormat"]

MIN_BITS = 2
MAX_BITS = 16


@dataclass(frozen=True, slots=True)
class QFormat:
    """Fixed point: value = q * 2**-frac, q an integer of `bits` bits.

    q is in two's complement, or if not `signed` in 0..2**bits - 1: for feature maps that an
    activation keeps from being negative. `frac` may be negative or larger than `bits` ("Going
    Deeper with Embedded FPGA Platform for CNN", FPGA 2016, section 5.1).

    Raises
    ------
    ValueError
        If `bits` is not in 2..16.
    """

    bits: int
    frac: int
    signed: bool = True

    def __post_init__(self) -> None:
        if not MIN_BITS <= self.bits <= MAX_BITS:
            raise ValueError(f"Bit width must be in {MIN_BITS}..{MAX_BITS}, not {self.bits!r}")

    @property
    def min(self) -> int:
        """Smallest integer."""
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def max(self) -> int:
        """Largest integer."""
        return (1 << (self.bits - self.signed)) - 1

    def quantize(self, value: npt.ArrayLike) -> npt.NDArray[np.int64]:
        """Integers nearest to the real `value`: round half up, saturate."""
        scaled = np.floor(np.ldexp(np.asarray(value, np.float64), self.frac) + 0.5)
        return np.clip(scaled, self.min, self.max).astype(np.int64)

    def dequantize(self, q: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Real values of the integers `q`."""
        return np.ldexp(np.asarray(q, np.float64), -self.frac)

    def __str__(self) -> str:
        return f"{'' if self.signed else 'U'}Q{self.bits - self.frac}.{self.frac}"
