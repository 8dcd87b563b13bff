"""--confirm: what was measured replaces what was estimated, and constraints are judged anew."""

import pytest

from tilewright.errors import TilewrightError
from tilewright.sweep import confirm as confirm_module

GIVEN = ("--board", "ulx3s-85f", "--bits", "8", "--arrays", "2x2,4x4", "-o", "confirm",
         "--objective", "cycles,luts")  # fmt: skip


@pytest.fixture
def measured(monkeypatch):
    """Stands for synthesis and simulation: 4,000 LUTs, 5,000 cycles; there is no nextpnr."""
    asked = []

    def synthesize(target, family, cache):
        asked.append(target)
        return {"engine": {"lut": 4000, "ff": 3000, "dsp": 16, "bram": 13}}

    def missing(family):
        raise TilewrightError("A bitstream needs the package nextpnr, which is missing")

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


def test_what_was_measured_may_break_a_constraint(refused, measured, sweep):
    sweep(*GIVEN)
    text = refused(*GIVEN, "--arrays", "4x4", "--only", "--confirm", "1", "--min-fps", "12000")
    assert "misses --min-fps" in text
