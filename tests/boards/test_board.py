"""Boards: what their files say is checked, and how an unusable one is refused."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from tilewright.boards.board import Memory
from tilewright.boards.clocks import find_pll
from tilewright.boards.registry import BOARDS, get_board
from tilewright.errors import TilewrightError

FOLDER = Path(__file__).parents[2] / "boards"
ULX3S = BOARDS["ulx3s-85f"]


def changed(**changes):
    return dataclasses.replace(ULX3S, **changes)


@pytest.mark.parametrize("name", BOARDS)
def test_a_board_is_one_file_of_fewer_than_60_lines(name):
    text = (FOLDER / f"{name.replace('-', '_')}.py").read_text("utf-8")
    assert len(text.splitlines()) < 60


@pytest.mark.parametrize("board", BOARDS.values(), ids=lambda board: board.name)
def test_a_board_has_the_pins_that_its_top_asks_for(board):
    platform = board.make_platform()
    assert platform.default_clk_frequency == pytest.approx(board.input_mhz * 1e6)
    for name in ("uart", "led", *(["sdram"] if board.memory.chip else [])):
        assert platform.request(name, 0, dir="-") is not None


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"name": "ULX3S"}, "name"),
        ({"family": "artix"}, "family"),
        ({"baud": 20_000_000}, "baud"),
        ({"memory": Memory(kind="flash", size=4096)}, "memory.kind"),
        ({"memory": Memory(kind="block", size=5000)}, "memory.size"),
        ({"memory": Memory(kind="sdram", size=4096)}, "memory.chip"),
        ({"memory": Memory(kind="spram", size=1 << 17)}, "memory.kind"),
        ({"family": "gowin"}, "target.multiplier"),
        ({"seeds": ()}, "seeds"),
    ],
)
def test_a_board_that_cannot_be_names_what_is_wrong(changes, what):
    with pytest.raises(TilewrightError, match=what):
        changed(**changes)


def test_an_unknown_board_names_the_nearest():
    with pytest.raises(TilewrightError, match="did you mean 'ulx3s-85f'"):
        get_board("ulx3s")


@pytest.mark.parametrize(
    ("family", "source", "clock", "oscillator"),
    [
        ("ecp5", 25.0, 50.0, (400, 800)),
        ("ecp5", 50.0, 62.5, (400, 800)),
        ("ice40", 12.0, 30.0, (533, 1066)),
        ("gowin", 27.0, 54.0, (500, 1200)),
    ],
)
def test_a_pll_makes_exactly_the_clock_within_its_limits(family, source, clock, oscillator):
    pll = find_pll(family, source, clock)
    divider = 1 if family != "ice40" else pll.output
    assert source / pll.reference * pll.feedback / divider == pytest.approx(clock)
    assert oscillator[0] <= clock * pll.output <= oscillator[1]


def test_a_clock_that_a_pll_cannot_make_names_the_nearest():
    with pytest.raises(TilewrightError, match=r"cannot make 53 MHz of 27 MHz; .* 5\d(\.\d+)? MHz"):
        find_pll("gowin", 27.0, 53.0)
