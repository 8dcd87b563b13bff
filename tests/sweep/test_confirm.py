"""--confirm: what was measured replaces what was estimated, and constraints are judged anew."""

import numpy as np
import pytest
from targets import need

import tilewright
from tilewright.boards import flow as flow_module
from tilewright.boards.flow import TimingError
from tilewright.boards.registry import get_board
from tilewright.data import as_data
from tilewright.errors import TilewrightError
from tilewright.quant.config import QuantConfig
from tilewright.sweep import confirm as confirm_module
from tilewright.sweep import evaluate as evaluate_module
from tilewright.sweep.measure import measure_cycles
from tilewright.sweep.space import Hardware

GIVEN = ("--board", "ulx3s-85f", "--bits", "8", "--arrays", "2x2,4x4", "-o", "confirm",
         "--objective", "cycles,luts")  # fmt: skip
REFRESH = 25
"""Cycles of a refresh at 50 MHz, with all rows to be opened anew."""


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


@pytest.mark.slow
@pytest.mark.parametrize("board", ["ulx3s-85f", "icebreaker"])
def test_on_a_board_the_whole_board_is_simulated_and_takes_what_was_estimated(
    folder, board, simulations, monkeypatch
):
    """Within one percent, or one refresh of the SDRAM: when those come is chance."""
    need("verilator")
    monkeypatch.setenv("TILEWRIGHT_CACHE", str(simulations))
    graph = tilewright.load(folder / "net.onnx")
    images = np.load(folder / "unlabelled.npy")
    hardware = Hardware(board=board, target=get_board(board).target)
    config = QuantConfig.paper(acc_bits=hardware.target.acc_bits)
    network = tilewright.quantize(graph, images[:16], config=config).fixed
    data = as_data(images[:1], graph)
    found = confirm_module.simulated(network, hardware, data, 50)
    (estimated,) = measure_cycles([network], [(0, hardware)], latency=50)
    assert found["mismatches"] == 0
    assert found["cycles"] == pytest.approx(estimated["cycles"], rel=0.01, abs=REFRESH)
