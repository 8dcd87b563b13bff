"""The virtual board: the driver of a real one, byte for byte, against the RTL of a whole board."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import tilewright
from tilewright.boards import virtual
from tilewright.boards.board import Memory
from tilewright.boards.cycles import predict_board_cycles
from tilewright.boards.host import Accelerator, HostError, HostProgram, Link, SerialTransport
from tilewright.boards.host.protocol import HEADER, Command, enframe
from tilewright.boards.registry import BOARDS
from tilewright.boards.selftest import known_answer
from tilewright.boards.virtual import virtual_board, virtual_identity
from tilewright.compiler.save import program_bytes
from tilewright.quant.config import QuantConfig
from tilewright.quant.reference import quantize_inputs, run_fixed
from tilewright.sim.runner import SimulationError

pytestmark = pytest.mark.slow

# With its memory in block RAM: the model of an SDRAM takes half of a simulation's time.
BOARD = dataclasses.replace(BOARDS["icepi-zero"], memory=Memory(kind="block", size=1 << 17))
IMAGES = 2


@pytest.fixture(scope="module")
def port(simulations):
    with virtual_board(BOARD, simulations) as path:
        yield path


@contextmanager
def opened(path: str) -> Iterator[Link]:
    transport = SerialTransport(path, virtual_identity(BOARD).baud)
    try:
        yield Link(transport, timeout_s=4.0, gap_s=0.2)
    finally:
        transport.close()


@pytest.fixture
def link(port):
    with opened(port) as found:
        yield found


@pytest.fixture(scope="module")
def digits():
    """The demo's network, quantized quickly, and a few of its images."""
    folder = Path(__file__).parents[2] / "examples"
    spec = importlib.util.spec_from_file_location("digits", folder / "digits.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["digits"] = module
    spec.loader.exec_module(module)
    pixels, _ = module.read_digits()
    graph = tilewright.load(
        module.network(), np.zeros((1, 1, 28, 28)), name="digits", scale=[1 / 255]
    )
    config = QuantConfig.paper(acc_bits=BOARD.target.acc_bits)
    return tilewright.quantize(graph, pixels[:8], config=config).fixed, pixels[:IMAGES]


def test_the_board_says_what_it_is(link):
    assert link.identity == virtual_identity(BOARD)
    assert link.identity.board == "icepi-zero" and link.identity.clock_hz == 50_000_000
    assert Accelerator(link).tested_itself, "at power-up"


def test_images_through_the_driver_equal_the_reference_and_take_the_cycles_predicted(link, digits):
    fixed, images = digits
    program = tilewright.compile(fixed, BOARD.target, keep=False).program
    accelerator = Accelerator(link, board=BOARD.name)
    accelerator.load(HostProgram.of_bytes(program_bytes(program)))
    name = fixed.graph.inputs[0].name
    values = run_fixed(fixed, quantize_inputs(fixed, {name: images}))
    for image, expected in zip(images, values[fixed.graph.outputs[0].tensor], strict=True):
        run = accelerator.run(image)
        (found,) = run.integers.values()
        assert (found.reshape(-1) == expected.reshape(-1)).all()
        predicted = predict_board_cycles(BOARD, program).cycles
        assert run.counters["CYCLES"] == pytest.approx(predicted, rel=0.01)


def test_the_bursts_that_block_memory_takes_ahead_are_those_of_the_cycle_model(link):
    """In a short run it shows how soon the other readers come after the instructions' reader."""
    test = known_answer(BOARD.target)
    accelerator = Accelerator(link, board=BOARD.name)
    accelerator.load(test.program)
    run = accelerator.run({name: x.astype(float) for name, x in test.inputs.items()})
    predicted = predict_board_cycles(BOARD, test.compiled).cycles
    assert run.counters["CYCLES"] == pytest.approx(predicted, rel=0.01)


def test_with_its_sdram_a_board_takes_the_cycles_predicted(simulations, digits):
    """An 8x8 that waits for rows, refreshes and turns of the bus more than for anything else."""
    fixed, images = digits
    board = BOARDS["ulx3s-85f"]
    program = tilewright.compile(fixed, board.target, keep=False).program
    with (
        virtual_board(board, simulations) as path,
        SerialTransport(path, virtual_identity(board).baud) as transport,
    ):
        accelerator = Accelerator(Link(transport, timeout_s=4.0, gap_s=0.2), board=board.name)
        accelerator.load(HostProgram.of_bytes(program_bytes(program)))
        cycles = accelerator.run(images[0]).counters["CYCLES"]
    assert cycles == pytest.approx(predict_board_cycles(board, program).cycles, rel=0.01)


def test_noise_on_the_link_is_repaired(simulations):
    test = known_answer(BOARD.target)
    with virtual_board(BOARD, simulations, noise=0.005, seed=3) as path, opened(path) as link:
        accelerator = Accelerator(link)
        accelerator.selftest(test.program, test.inputs, test.expected)
        assert link.counts.retries > 0


def test_half_a_transfer_leaves_the_board_ready_for_the_next_host(port):
    frame = enframe(HEADER.pack(Command.WRITE_MEMORY, 1, 64, 0) + bytes(64))
    with opened(port) as link:
        link.transport.write(frame[:40])
    with opened(port) as link:
        link.write_memory(4096, b"after the cable was pulled")
        assert link.read_memory(4096, 26) == b"after the cable was pulled"


def test_another_board_and_another_target_are_refused(link):
    with pytest.raises(HostError, match=r"'icepi-zero' answers on .* built for 'ulx3s-85f'"):
        Accelerator(link, board="ulx3s-85f")
    test = known_answer(dataclasses.replace(BOARD.target, rows=2, cols=2))
    with pytest.raises(HostError, match="compiled for rows = 2, cols = 2, the accelerator has"):
        Accelerator(link).load(test.program)


def test_a_port_that_is_in_use_or_missing_is_refused(link):
    with pytest.raises(HostError, match="in use by another program"):
        SerialTransport(link.transport.name, 9600)
    with pytest.raises(HostError, match="does not exist"):
        SerialTransport("/dev/nothing", 9600)


def test_what_the_chip_of_the_virtual_board_complains_of_is_an_error(tmp_path, monkeypatch):
    program = tmp_path / "simulation"
    program.write_text("#!/bin/sh\necho /dev/pts/0\necho 'SDRAM violation: tRP'\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setattr(virtual, "compile_board", lambda board, cache, **options: program)
    ended = pytest.raises(SimulationError, match="The virtual board ended: SDRAM violation: tRP")
    with ended, virtual.virtual_board(BOARD, tmp_path):
        time.sleep(0.5)
