"""What an accelerator says of itself: every difference from the program's target is named."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tilewright.compiler.capabilities import (
    capability_words,
    check_accelerator,
    check_target,
    program_fingerprint,
)
from tilewright.compiler.fit import CAPABILITIES
from tilewright.compiler.registers import REGISTERS
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError

TARGET = Target(name="mine", rows=8, cols=8)
OTHERS: dict[str, Any] = {
    "rows": 4,
    "cols": 16,
    "act_bits": 7,
    "weight_bits": 4,
    "acc_bits": 40,
    "bus_bytes": 4,
    "act_depth": 65536,
    "acc_depth": 256,
    "leaky": False,
    "ternary": True,
    "pack_pixels": 1,
    "address_bits": 20,
    "function_count": 1,
    "decoder_lanes": 2,
}
SPEED: dict[str, Any] = {
    "name": "other",
    "prefix": "other",
    "burst_beats": 16,
    "fifo_bursts": 8,
    "multiplier": "ecp5",
    "multiplier_stages": 4,
    "edge_registers": 2,
    "counters": False,
    "unit_queue": 1,
    "bursts": False,
    "clock_mhz": 7.0,
}


def changed(name: str) -> Target:
    """The target with another value of one capability."""
    if name == "function_count":  # an entry as a program's file has it, registered nowhere
        return dataclasses.replace(TARGET, activations=("swish:0badcafe:5",))
    return dataclasses.replace(TARGET, **{name: OTHERS[name]})


@pytest.mark.parametrize("name", OTHERS)
def test_each_capability_that_differs_alone_is_named(name: str) -> None:
    hardware = changed(name)
    ours, theirs = (int(getattr(target, name)) for target in (TARGET, hardware))
    text = (
        rf"^The program \(target 'mine'\) was compiled for {name} = {ours}, the accelerator has "
        rf"{name} = {theirs}; compile it for the accelerator's target$"
    )
    with pytest.raises(TilewrightError, match=text):
        check_target(TARGET, hardware)


def test_every_capability_is_tried() -> None:
    assert set(OTHERS) == {entry.name for entry in CAPABILITIES}
    fields = {field.name for field in dataclasses.fields(Target)}
    others = {"activations", *OTHERS} - {"function_count"}
    assert fields == others | set(SPEED) | {"weights_per_multiplier"}


def test_several_differences_are_named_together() -> None:
    hardware = dataclasses.replace(TARGET, cols=4, bus_bytes=16)
    text = "for cols = 8, bus_bytes = 8, the accelerator has cols = 4, bus_bytes = 16;"
    with pytest.raises(TilewrightError, match=text):
        check_target(TARGET, hardware)


def test_what_only_changes_the_speed_is_no_difference() -> None:
    for name, value in SPEED.items():
        changes: dict[str, Any] = {name: value}
        if name == "multiplier":
            changes["multiplier_stages"] = 4
        if name == "bursts":
            changes["burst_beats"] = 1
        check_target(TARGET, dataclasses.replace(TARGET, **changes))
    narrow = dataclasses.replace(TARGET, weight_bits=4)
    check_target(narrow, dataclasses.replace(narrow, weights_per_multiplier=2))


@pytest.mark.parametrize(
    ("register", "value", "text"),
    [
        ("ID", 0, "Register ID reads 0x00000000, not 0x54574731: .* check the base address"),
        ("VERSION", 0x010203, "version 1.2.3 of instructions and registers, the program version"),
        ("FINGERPRINT", 1, "the accelerator has 0x00000001: they differ in something that no reg"),
    ],
)
def test_other_hardware_is_refused(register: str, value: int, text: str) -> None:
    words = capability_words(TARGET) | {register: value}
    with pytest.raises(TilewrightError, match=text):
        check_accelerator(TARGET, words.__getitem__)


def test_the_words_are_those_of_registers() -> None:
    assert set(capability_words(TARGET)) <= {register.name for register in REGISTERS}
    assert all(0 <= word < 1 << 32 for word in capability_words(TARGET).values())


def test_the_fingerprint_covers_every_parameter_of_programs() -> None:
    variants = [TARGET, *map(changed, OTHERS)]
    assert len({program_fingerprint(target) for target in variants}) == len(variants)
