"""What moves with the clock alone: streams that cannot wait, and values a cycle later."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

__all__ = ["flow", "registered"]


def flow(shape: Any) -> wiring.Signature:
    """A stream without `ready`: each item stands for one cycle and must be taken in it."""
    return wiring.Signature({"valid": Out(1), "p": Out(shape)})


def registered(m: Module, value: Value, name: str, *, reset_less: bool = True) -> Signal:
    """A register with that name: the value, one cycle later."""
    register = Signal(value.shape(), name=name, reset_less=reset_less)
    m.d.sync += register.eq(value)
    return register
