"""What a target says of the registered activations that its post-processing has."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tilewright.errors import TilewrightError
from tilewright.graph.functions import Function, find_function

__all__ = ["MAX_FUNCTIONS", "describe", "function_latency", "resolve"]

MAX_FUNCTIONS = 7
"""Activations of a target: STORE has three bits to choose one."""

_DESCRIBED = re.compile(r"\w+:[0-9a-f]{8}:\d{1,3}")
_AROUND = (20, 26)
"""Stages for requantizing before and behind the functions and for choosing one, without and with
LeakyReLU: what the widths that take most need."""


def describe(entry: str) -> str:
    """A target's entry for an activation, "name:identity:cycles", from its name.

    An entry that is described already stays as it is, so that programs can be read where the
    activation is not registered.
    """
    if _DESCRIBED.fullmatch(entry):
        return entry
    function = find_function(entry)
    return f"{function.name}:{function.identity}:{function.cycles}"


def resolve(entry: str) -> Function:
    """Registered function behind a described entry.

    Raises
    ------
    TilewrightError : none is registered, or another than the target was made for.
    """
    function = find_function(entry.partition(":")[0])
    if describe(function.name) != entry:
        raise TilewrightError(
            f"Activation {function.name!r} is not what the target was made for ({entry}, now "
            f"{describe(function.name)}); name it anew in the target's activations"
        )
    return function


def function_latency(entries: Sequence[str], *, leaky: bool) -> int:
    """Stages of a post-processing with the described activations; the slowest of them counts."""
    return max(int(entry.split(":")[2]) for entry in entries) + _AROUND[leaky]
