"""Arrays of ternary cells: what runs on them, in how many tiles and bytes, and what is refused."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from ternary_networks import convolution, residual_network

from tilewright.compiler.isa import Opcode
from tilewright.compiler.listing import instructions
from tilewright.compiler.lower import compile_network
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target
from tilewright.compiler.ternary import digit_of, digits, equal_parts, least_repeats
from tilewright.errors import TilewrightError
from tilewright.quant.reference import run_fixed
from tilewright.sim.isa_model import execute
from tilewright.sim.random_layers import random_inputs, random_network

SCALED = Target(rows=8, cols=8, ternary=True, act_depth=1024, acc_depth=128)
PLAIN = dataclasses.replace(SCALED, weight_bits=2)
MULTIPLIERS = dataclasses.replace(SCALED, ternary=False)


def of(program: Program, opcode: Opcode) -> list[dict[str, int]]:
    return [fields for name, fields in instructions(program) if Opcode[name] is opcode]


def tiles(program: Program) -> int:
    return sum(fields["tiles"] for fields in of(program, Opcode.WEIGHTS))


def array_cycles(program: Program) -> int:
    """Cycles in which the array takes a pixel, but those that bring scales."""
    calcs = [f for f in of(program, Opcode.CALC) if not f["scales"]]
    names = ("tiles0", "tiles1", "tiles2", "rows", "cols")
    return sum(math.prod(fields[name] for name in names) for fields in calcs)


def weight_bytes(program: Program) -> int:
    return sum(fields["beats"] for fields in of(program, Opcode.WEIGHTS)) * SCALED.bus_bytes


def test_two_scales_a_channel_take_the_tiles_of_multipliers_and_a_quarter_of_their_bytes() -> None:
    fixed = convolution(scales=(100, 37))
    scaled, plain = (compile_network(fixed, target) for target in (SCALED, MULTIPLIERS))
    streams = len(of(scaled, Opcode.WEIGHTS))
    assert streams == len(of(plain, Opcode.WEIGHTS))
    assert array_cycles(scaled) == array_cycles(plain)
    assert tiles(scaled) == tiles(plain) + streams  # one of scales each
    assert 4 * weight_bytes(scaled) == weight_bytes(plain) + 64 * streams


def test_scales_of_one_need_no_tile_of_scales() -> None:
    fixed = convolution(scales=(1, 1), bits=2)
    assert tiles(compile_network(fixed, PLAIN)) == tiles(compile_network(fixed, MULTIPLIERS))


def test_other_weights_take_a_tile_for_each_bit_of_their_magnitudes() -> None:
    fixed = convolution(scales=None)
    scaled, plain = (compile_network(fixed, target) for target in (SCALED, MULTIPLIERS))
    assert array_cycles(scaled) == 7 * array_cycles(plain)


@pytest.mark.parametrize(
    "target",
    [
        SCALED,
        PLAIN,
        dataclasses.replace(SCALED, rows=5, cols=3, weight_bits=5, acc_bits=40),
    ],
    ids=["8-bit scales", "no scales", "5-bit scales"],
)
def test_programs_compute_what_the_reference_does(target: Target) -> None:
    networks = [random_network(seed, target) for seed in range(6)]
    networks.append(residual_network(target.weight_bits))
    for number, fixed in enumerate(networks):
        program = compile_network(fixed, target, keep=True)
        inputs = random_inputs(fixed, number)
        wanted = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
        for name, values in execute(program, inputs).items():
            np.testing.assert_array_equal(values, wanted[name][0])


def test_digits_add_up_to_the_numbers_with_their_signs() -> None:
    rng = np.random.default_rng(0)
    values = rng.integers(-128, 127, (4, 40), endpoint=True)
    found = digits(values)
    assert found == tuple(range(8))
    parts = [digit_of(values, digit) for digit in found]
    np.testing.assert_array_equal(np.sum(parts, axis=0), values)
    assert all((part * values >= 0).all() for part in parts)
    assert digits(np.array([[3, 0, -5, 3], [0, -1, 0, 7]])) == (None,)
    assert digits(np.array([[4, 8, 0]])) == (2, 3)


def test_numbers_beyond_the_scales_are_repeated_in_equal_parts() -> None:
    values = np.array([[1024], [-3], [0]])
    repeats = least_repeats(values, SCALED)
    assert repeats == 8
    parts = equal_parts(values, repeats)
    assert (parts.sum(axis=0) == values).all()
    assert sorted(set(parts[:, 0, 0])) == [128]
    assert least_repeats(np.array([[1025]]), SCALED) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"multiplier": "ecp5", "multiplier_stages": 3}, "multiplier must be 'generic' with tern"),
        ({"decoder_lanes": 2}, "decoder_lanes must be 0 with ternary cells, .*, not 2$"),
        ({"rows": 7}, r"weight_bits must be at most rows and act_bits .*, not 8 with 7 rows and"),
        ({"act_bits": 6}, r"not 8 with 8 rows and act_bits 6; use fewer, or 2 for no scales$"),
        ({"weight_bits": 2, "weights_per_multiplier": 2}, "weights_per_multiplier must be 1"),
    ],
)
def test_settings_that_ternary_cells_do_not_have_are_refused(
    settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(TilewrightError, match=rf"^Target 'default': .*{message}"):
        dataclasses.replace(SCALED, **settings)


def test_layers_that_cells_without_scales_cannot_compute_are_named() -> None:
    with pytest.raises(TilewrightError, match=r"^Layer 'conv': its weights have 8 bits but the"):
        compile_network(convolution(scales=(100, 37)), PLAIN)
    text = r"^Layer 'conv': it has a weight of -2, and the ternary cells of target 'default', which"
    with pytest.raises(TilewrightError, match=text):
        compile_network(convolution(scales=(1, 2), bits=2), PLAIN)
