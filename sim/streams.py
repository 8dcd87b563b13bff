"""Drivers and monitors for Amaranth streams in cocotb benches.

A stream called ``i`` of an Amaranth component is ``i__payload``, ``i__valid`` and ``i__ready`` in
Verilog; a payload with fields is one flat vector, the first field in the lowest bits.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from typing import Any

from cocotb.triggers import FallingEdge, ReadOnly, RisingEdge, Timer

__all__ = ["StreamPort", "always", "monitor", "now_and_then", "receive", "send"]

Value = int | Mapping[str, int]
"""A payload: an integer, or the integers of its fields."""


class StreamPort:
    """The signals of one stream port of a design.

    Parameters
    ----------
    dut : cocotb's handle of the design
    name : of the port, for example "i"
    layout : bits of each field of the payload, from bit 0 on; payloads are then mappings. Without,
        they are unsigned integers.
    clock : of the stream; ``dut.clk`` if not given
    """

    def __init__(
        self, dut: Any, name: str, layout: Mapping[str, int] | None = None, clock: Any = None
    ) -> None:
        self.name = name
        self.layout = layout
        self.clock = dut.clk if clock is None else clock
        self.payload = getattr(dut, f"{name}__payload")
        self.valid = getattr(dut, f"{name}__valid")
        self.ready = getattr(dut, f"{name}__ready")

    def put(self, value: Value) -> None:
        """Drive the payload; raises ValueError if a field is unknown or does not fit."""
        if self.layout is None:
            self.payload.value = value
            return
        assert isinstance(value, Mapping)
        if set(value) != set(self.layout):
            raise ValueError(f"{self.name} has fields {list(self.layout)}, not {list(value)}")
        packed = offset = 0
        for field, bits in self.layout.items():
            if not 0 <= value[field] < 1 << bits:
                raise ValueError(f"{self.name}.{field} has {bits} bits, {value[field]} needs more")
            packed |= value[field] << offset
            offset += bits
        self.payload.value = packed

    def get(self) -> Value:
        """Read the payload, unsigned; raises ValueError if it is unknown (X)."""
        packed = int(self.payload.value.to_unsigned())
        if self.layout is None:
            return packed
        values = {}
        for field, bits in self.layout.items():
            values[field] = packed & ((1 << bits) - 1)
            packed >>= bits
        return values

    def transfers(self) -> bool:
        """Whether a value passes at the next rising edge; raises ValueError if that is unknown."""
        return bool(self.valid.value) and bool(self.ready.value)


def always() -> bool:
    """Give in every cycle: no back-pressure."""
    return True


def now_and_then(probability: float, seed: int) -> Callable[[], bool]:
    """Give in a cycle with `probability`, in bursts as often as alternately, the same each run."""
    chance = random.Random(seed)
    return lambda: chance.random() < probability


async def send(
    port: StreamPort, values: Iterable[Value], offer: Callable[[], bool] = always
) -> None:
    """Drive `values` into an input stream; in a cycle without offer, valid stays low.

    Once valid, a value waits unchanged until it is taken. Signals change at falling edges.
    """
    await FallingEdge(port.clock)
    for value in values:
        while not offer():
            await FallingEdge(port.clock)
        port.put(value)
        port.valid.value = 1
        await _transfer(port)
        port.valid.value = 0


async def receive(port: StreamPort, count: int, take: Callable[[], bool] = always) -> list[Value]:
    """Take `count` values from an output stream; in a cycle without take, ready is low."""
    values: list[Value] = []
    await FallingEdge(port.clock)
    while len(values) < count:
        port.ready.value = int(take())
        await ReadOnly()
        taken = port.get() if port.transfers() else None
        if taken is not None:
            values.append(taken)
        await FallingEdge(port.clock)
        port.ready.value = 0
    return values


async def monitor(port: StreamPort, values: list[Value]) -> None:
    """Append to `values` what passes an output stream, for ever, and check the stream's rules.

    Raises
    ------
    AssertionError
        If valid is dropped, or the payload changes, while the stream waits for ready.
    """
    waiting: Value | None = None
    async for _ in _before_edges(port.clock):
        await ReadOnly()
        valid = bool(port.valid.value)
        if waiting is not None:
            assert valid, f"{port.name}: valid was dropped before ready"
            assert port.get() == waiting, f"{port.name}: the payload changed before ready"
        waiting = None
        if valid and port.transfers():
            values.append(port.get())
        elif valid:
            waiting = port.get()
        await RisingEdge(port.clock)


async def _before_edges(clock: Any) -> AsyncIterator[None]:
    """Yield in each cycle at a time when all inputs of the cycle stand."""
    while True:
        await FallingEdge(clock)
        await Timer(1, "ns")
        yield


async def _transfer(port: StreamPort) -> None:
    """Wait until the value that is offered has passed; return at a falling edge."""
    while True:
        await ReadOnly()
        passed = port.transfers()
        await FallingEdge(port.clock)
        if passed:
            return
