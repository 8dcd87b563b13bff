"""The resource model: what it counts, and that it follows the designs it was fitted to."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tilewright.boards.registry import BOARDS
from tilewright.compiler.target import Target
from tilewright.sweep.features import TERMS, features, memory
from tilewright.sweep.resources import capacity, estimate, load_model, predict
from tilewright.sweep.space import Hardware
from tilewright.sweep.synthesis import UNITS

CLOCKS = Path(__file__).parents[2] / "src" / "tilewright" / "sweep" / "clock.json"
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


def test_the_model_gives_what_was_recorded_and_designs_it_was_not_fitted_to_are_near():
    record = json.loads((RESULTS / "resources.json").read_text("utf-8"))
    units = load_model()["families"]["ecp5"]["units"]
    for design in record["designs"]:
        target = Target(multiplier="ecp5", **design["parameters"])
        found = predict(target, units)
        assert {what: round(count) for what, count in found.items()} == design["predicted"]
    for error in record["errors"]["tested"].values():
        assert error["median"] <= 0.05 and error["worst"] <= 0.15


def test_the_clock_model_was_fitted_to_the_routed_designs_and_falls_with_the_array():
    board = BOARDS["ulx3s-85f"]
    clocks = [
        estimate(Hardware(board=board.name, target=replace(board.target, rows=n, cols=n)))[
            "fmax_mhz"
        ]
        for n in (2, 4, 8)
    ]
    assert clocks == sorted(clocks, key=lambda mhz: -(mhz or 0))
    assert all(mhz is not None and 50 < mhz < 100 for mhz in clocks)
    alone = estimate(Hardware(board=None, target=board.target))["fmax_mhz"]
    assert alone is not None and clocks[-1] is not None and alone > clocks[-1] + 10
    for point in json.loads(CLOCKS.read_text("utf-8"))["points"]:
        target = replace(board.target, rows=point["rows"], cols=point["cols"])
        mhz = estimate(Hardware(board=point["board"], target=target))["fmax_mhz"]
        assert mhz == pytest.approx(point["fmax_mhz"], rel=0.15)
