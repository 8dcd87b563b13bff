"""The core after synthesis: the cells that are placed compute what the reference says."""

from __future__ import annotations

import pytest

from tilewright.boards.cycles import predict_board_cycles
from tilewright.boards.host import Accelerator, Link, SerialTransport
from tilewright.boards.registry import BOARDS
from tilewright.boards.script import program_script
from tilewright.boards.selftest import known_answer
from tilewright.boards.virtual import virtual_board, virtual_identity

BOARD = BOARDS["icebreaker"]


@pytest.mark.slow
def test_the_cells_of_the_smallest_board_test_themselves_load_from_flash_and_serve_the_driver(
    simulations,
):
    known = known_answer(BOARD.target)
    flash = program_script(BOARD.identity(), known, known.program)
    with (
        virtual_board(BOARD, simulations, netlist=True, flash=flash) as path,
        SerialTransport(path, virtual_identity(BOARD).baud) as transport,
    ):
        link = Link(transport, timeout_s=10.0, gap_s=0.2)
        accelerator = Accelerator(link, board=BOARD.name)
        assert accelerator.tested_itself
        accelerator.adopt(known.program)
        found = accelerator.run({name: x.astype(float) for name, x in known.inputs.items()})
        for name, values in known.expected.items():
            assert (found.integers[name] == values).all()
        predicted = predict_board_cycles(BOARD, known.compiled).cycles
        assert found.counters["CYCLES"] == pytest.approx(predicted, rel=0.01)
        accelerator.selftest(known.program, known.inputs, known.expected)
        assert link.identity == BOARD.identity()  # the virtual board's baud rate is the board's
