"""Two narrow weights in one operand of one multiplier.

``packed = upper * 2**field + lower``, so ``a * packed`` holds ``a * lower`` in its low `field` bits
and ``a * upper`` above them; there it is one too low wherever ``a * lower`` is negative. The same
holds for sums of such products, as long as the lower one fits in the field.
"""

from __future__ import annotations

from amaranth.hdl import Cat, Value

__all__ = ["lower_part", "pack", "packed_bits", "upper_part"]


def packed_bits(field: int, weight_bits: int) -> int:
    """Width of a packed pair; the extra bit is the lower weight's borrow."""
    return field + weight_bits + 1


def pack(lower: Value, upper: Value, field: int) -> Value:
    """A signed pair; only the upper part needs logic, the lower one is sign-extended."""
    low = Cat(lower, lower[-1].replicate(field - len(lower)))
    return Cat(low, (upper - lower[-1])[: len(upper) + 1]).as_signed()


def lower_part(product: Value, field: int) -> Value:
    """The lower product."""
    return product[:field].as_signed()


def upper_part(product: Value, field: int) -> tuple[Value, Value]:
    """The upper product as a number and what must still be added to it, 0 or 1."""
    return product[field:].as_signed(), product[field - 1]
