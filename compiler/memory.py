"""The memory map of the feature maps: lifetimes by layer, space reused when a map is dead."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Lifetime", "place"]

ALIGNMENT = 64


@dataclass(frozen=True, slots=True)
class Lifetime:
    """A tensor of `size` bytes that must be intact during layers [first, last]."""

    name: str
    size: int
    first: int
    last: int


def place(tensors: list[Lifetime], base: int) -> tuple[dict[str, int], int]:
    """Byte offset of each tensor from `base` on, and one past the last byte used.

    Larger tensors are placed first, each at the lowest offset where it overlaps no tensor that
    lives at the same time.
    """
    placed: list[tuple[int, int, Lifetime]] = []
    addresses: dict[str, int] = {}
    for tensor in sorted(tensors, key=lambda t: -t.size):
        size = -(-tensor.size // ALIGNMENT) * ALIGNMENT
        address = base
        for start, stop, other in sorted(placed, key=lambda p: p[0]):
            alive = other.first <= tensor.last and tensor.first <= other.last
            if alive and start < address + size and address < stop:
                address = stop
        placed.append((address, address + size, tensor))
        addresses[tensor.name] = address
    return addresses, max((stop for _, stop, _ in placed), default=base)
