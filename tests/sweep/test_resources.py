"""The resource model: what it counts, and that it follows the designs it was fitted to."""

from pathlib import Path

import pytest

from tilewright.boards.registry import BOARDS
from tilewright.compiler.target import Target
from tilewright.sweep.features import TERMS, features, memory
from tilewright.sweep.resources import capacity, estimate, load_model
from tilewright.sweep.space import Hardware
from tilewright.sweep.synthesis import UNITS

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"


@pytest.mark.parametrize(
    ("depth", "width", "luts", "blocks"),
    [
        (16, 4, 4, 0),
        (64, 16, 64, 0),
        (64, 64, 0, 2),
        (512, 32, 0, 1),
        (1024, 32, 0, 2),
        (4096, 5, 0, 2),
    ],
)
def test_memories_go_where_yosys_puts_them(depth, width, luts, blocks):
    assert memory(depth, width) == (luts, blocks)


def test_every_unit_has_terms_and_every_term_is_a_feature():
    assert set(TERMS) == set(UNITS)
    known = features(Target())
    assert all(
        name in known for terms in TERMS.values() for names in terms.values() for name in names
    )


def test_more_cells_and_wider_weights_take_more():
    def counted(**fields):
        board = BOARDS["ulx3s-85f"]
        target = Target(**{**board_fields, **fields})
        return estimate(Hardware(board=board.name, target=target))

    board_fields = {
        "multiplier": "ecp5",
        "multiplier_stages": 4,
        "rows": 4,
        "cols": 4,
        "leaky": False,
    }
    base = counted()
    assert base["dsps"] == 16
    assert counted(leaky=True)["dsps"] == 20
    assert counted(rows=8)["dsps"] == 32 and counted(rows=8)["luts"] > base["luts"]
    assert counted(weight_bits=4)["ffs"] < base["ffs"]
    assert counted(act_depth=8192)["brams"] > base["brams"]


def test_other_families_have_no_estimate():
    found = estimate(Hardware(board=None, target=Target()))
    assert set(found.values()) == {None}


def test_a_board_has_room_for_its_own_accelerator():
    for name in load_model()["boards"]:
        board = BOARDS[name]
        found = estimate(Hardware(board=name, target=board.target))
        for what, most in capacity(board).items():
            assert (found.get(what) or 0) <= most
