"""A multiplexer over few codes that uses only the bits which tell them apart."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from amaranth.hdl import Mux, Value

__all__ = ["choose"]


def choose(selector: Value, keys: Mapping[int, int], value: Callable[[int], Value]) -> Value:
    """The value of the key that belongs to what `selector` holds.

    Codes that `keys` does not name never occur: what is chosen for them is whatever costs least.

    Parameters
    ----------
    selector
        Compared with the codes, bit by bit.
    keys
        What is chosen, by code; at least one. Equal keys have equal values.
    value
        Of a key.
    """
    if len(set(keys.values())) == 1:
        return value(next(iter(keys.values())))
    bit, zeros, ones = min(_splits(keys), key=lambda split: _cost(split[1]) + _cost(split[2]))
    return Mux(selector[bit], choose(selector, ones, value), choose(selector, zeros, value))


def _splits(keys: Mapping[int, int]) -> list[tuple[int, dict[int, int], dict[int, int]]]:
    """Each bit that tells codes apart, and the codes without and with it."""
    found = []
    for bit in range(max(keys).bit_length()):
        ones = {code: key for code, key in keys.items() if code >> bit & 1}
        zeros = {code: key for code, key in keys.items() if code not in ones}
        if zeros and ones:
            found.append((bit, zeros, ones))
    return found


def _cost(keys: Mapping[int, int]) -> int:
    """Multiplexers of two inputs that `choose` builds."""
    if len(set(keys.values())) == 1:
        return 0
    return 1 + min(_cost(zeros) + _cost(ones) for _, zeros, ones in _splits(keys))
