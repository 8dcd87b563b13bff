"""--confirm: what was measured replaces what was estimated, and constraints are judged anew."""

import pytest

from tilewright.boards import flow as flow_module
from tilewright.boards.flow import TimingError
from tilewright.errors import TilewrightError
from tilewright.sweep import confirm as confirm_module
from tilewright.sweep import evaluate as evaluate_module

GIVEN = ("--board", "ulx3s-85f", "--bits", "8", "--arrays", "2x2,4x4", "-o", "confirm",
         "--objective", "cycles,luts")  # fmt: skip


def missing(family):
    raise TilewrightError("A bitstream needs the package nextpnr, which is missing")


@pytest.fixture
def measured(monkeypatch):
    """Stands for synthesis and simulation: 4,000 LUTs, 5,000 cycles; there is no nextpnr."""
    asked = []

    def synthesize(target, family, cache):
        asked.append(target)
        return {"engine": {"lut": 4000, "ff": 3000, "dsp": 16, "bram": 13}}

    monkeypatch.setattr(confirm_module, "synthesize", synthesize)
    monkeypatch.setattr(confirm_module, "check_tools", missing)
    monkeypatch.setattr(
        confirm_module, "simulated", lambda *given: {"cycles": 5000, "mismatches": 0}
    )
    return asked


def test_the_best_points_are_measured_once_and_that_replaces_their_estimates(sweep, measured):
    found = sweep(*GIVEN, "--confirm", "1")
    (point,) = [p for p in found["points"] if p["measured"]]
    assert point["measured"]["mismatches"] == 0
    assert (point["cycles"], point["fps"]) == (5000, pytest.approx(50e6 / 5000))
    assert point["luts"] > 4000  # the board's own part is added
    assert point["estimated"]["cycles"] != 5000 and point["estimated"]["dsps"] in (4, 16)
    assert "nextpnr" in point["measured"]["unplaced"]
    assert len(measured) == 1
    assert sweep(*GIVEN, "--confirm", "1")["measured_now"] == 0
    assert len(measured) == 1


def test_a_design_is_placed_once_nextpnr_is_there_and_a_missed_clock_replaces_the_estimate(
    sweep, measured, monkeypatch
):
    def too_slow(board, cache):
        raise TimingError("timing is not met", 41.5)

    given = (*GIVEN, "-o", "placed", "--confirm", "1")
    monkeypatch.setattr(evaluate_module, "check_tools", missing)
    assert "unplaced" in sweep(*given)["points"][0]["measured"]
    for module in (evaluate_module, confirm_module):
        monkeypatch.setattr(module, "check_tools", lambda family: None)
    monkeypatch.setattr(evaluate_module, "versions", lambda family: {"nextpnr": "1"})
    monkeypatch.setattr(flow_module, "build_bitstream", too_slow)
    found = sweep(*given)
    assert found["measured_now"] == 1
    (point,) = [p for p in found["points"] if p["measured"]]
    assert point["fmax_mhz"] == 41.5 < point["estimated"]["fmax_mhz"]
    assert "not met" in point["measured"]["unplaced"]


def test_what_was_measured_may_break_a_constraint(refused, measured, sweep):
    sweep(*GIVEN)
    text = refused(*GIVEN, "--arrays", "4x4", "--only", "--confirm", "1", "--min-fps", "12000")
    assert "misses --min-fps" in text
