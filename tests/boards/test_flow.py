"""From a core to a packed bitstream, and what is said where that fails."""

from __future__ import annotations

import json
import os
import subprocess
import time

import pytest

from tilewright.boards import flow, proven, tools
from tilewright.boards.loader import load_bitstream, loader_command, write_flash_program
from tilewright.boards.registry import BOARDS
from tilewright.errors import TilewrightError

BOARD = BOARDS["icepi-zero"]
CORE = """
module tilewright_board(
    input clk, input rst, input rx, output reg tx, output [2:0] leds,
    output reg sdram_cke, sdram_cs, sdram_ras, sdram_cas, sdram_we, output reg [1:0] sdram_ba,
    output reg [12:0] sdram_a, output reg [1:0] sdram_dqm, output reg [15:0] sdram_dq_o,
    output reg sdram_dq_oe, input [15:0] sdram_dq_i
);
    reg [60:0] line;
    assign leds = line;
    always @(posedge clk) begin
        line <= {line, rx ^ rst};
        {sdram_cke, sdram_cs, sdram_ras, sdram_cas, sdram_we, sdram_ba, sdram_a, sdram_dqm,
         sdram_dq_o, sdram_dq_oe} <= line;
        tx <= ^sdram_dq_i;
    end
endmodule
"""
"""A core of the same ports that is placed within seconds."""


@pytest.fixture
def small_core(monkeypatch):
    monkeypatch.setattr(flow, "core_verilog", lambda board: CORE)


def answer(path_ns=9.0, used=100, clock=50.0):
    """A stand-in for the tools: nextpnr reports this."""
    step = {"from": {"cell": "a_TRELLIS_FF_Q"}, "to": {"cell": "b_TRELLIS_FF_Q"}}
    report = {
        "fmax": {"clk": {"achieved": 1000 / path_ns, "constraint": clock}},
        "utilization": {"TRELLIS_COMB": {"used": used, "available": 24288}},
        "critical_paths": [
            {
                "from": "posedge clk",
                "to": "posedge clk",
                "path": [
                    {**step, "type": "logic", "delay": 1.0},
                    {**step, "type": "routing", "delay": path_ns - 1.0},
                ],
            }
        ],
    }

    def run(command, folder):
        code = 0
        if command[0].startswith("nextpnr"):
            (folder / "top.tim").write_text(
                f"Info: \t TRELLIS_COMB:  {used}/  24288   {used // 242}%\n"
            )
            if used <= 24288:
                (folder / "report.json").write_text(json.dumps(report))
            code = int(used > 24288 or path_ns > 1000 / clock)
        elif command[0] == "ecppack":
            (folder / "top.bit").write_bytes(b"bits")
        return subprocess.CompletedProcess(command, code, "", "no BELs remaining")

    return run


@pytest.mark.slow
def test_a_core_becomes_a_bitstream_that_is_built_once(small_core, tmp_path, monkeypatch):
    made = flow.build_bitstream(BOARD, tmp_path)
    assert made.path.suffix == ".bit" and made.path.stat().st_size > 50_000
    assert made.route.met and made.route.fmax_mhz > 50 and made.route.seed == 1
    assert made.route.available["TRELLIS_COMB"] == 24288 and made.route.used["EHXPLLL"] == 1
    assert made.route.used["IOLOGIC"] + made.route.used["SIOLOGIC"] == 39  # every SDRAM pin
    monkeypatch.setattr(flow, "run_tool", None)
    assert flow.build_bitstream(BOARD, tmp_path) == made


def test_a_clock_that_is_not_met_fails_with_the_path_and_an_array_that_meets_it(
    small_core, tmp_path, monkeypatch
):
    record = {"board": BOARD.name, "rows": 2, "cols": 2, "target_mhz": 50.0, "peak_gops": 0.4}
    monkeypatch.setattr(flow, "run_tool", answer(path_ns=21.5))
    monkeypatch.setattr(flow, "largest_proven", lambda name: {**record, "fmax_mhz": 52.0})
    with pytest.raises(TilewrightError) as failure:
        flow.build_bitstream(BOARD, tmp_path)
    said = str(failure.value)
    assert "reaches 46.51 MHz of 50 (best of 3 seeds)" in said
    assert "from a to b (20.5 ns of it routing), takes 21.5 ns, 1.5 ns more than a cycle" in said
    assert "2x2 at 50 MHz" in said
    assert not list((tmp_path / "bitstreams").iterdir())


def test_a_later_seed_may_meet_the_clock(small_core, tmp_path, monkeypatch):
    slow, fast = answer(path_ns=21.5), answer(path_ns=19.0)
    monkeypatch.setattr(
        flow, "run_tool", lambda c, f: (fast if "2" in c[-4:] or "pack" in c[0] else slow)(c, f)
    )
    made = flow.build_bitstream(BOARD, tmp_path)
    assert made.route.seed == 2 and made.tried == ((1, 46.51),)


def without_a_place(seeds):
    """The tools, if nextpnr finds no legal placement with those seeds."""
    ran = answer()

    def run(command, folder):
        if command[0].startswith("nextpnr") and command[command.index("--seed") + 1] in seeds:
            (folder / "top.tim").write_text("Info: \t TRELLIS_COMB:  100/  24288   0%\n")
            said = "ERROR: Unable to find legal placement for cell 'a' after 9 attempts"
            return subprocess.CompletedProcess(command, 1, "", said)
        return ran(command, folder)

    return run


def test_a_later_seed_may_find_a_place(small_core, tmp_path, monkeypatch):
    monkeypatch.setattr(flow, "run_tool", without_a_place("1"))
    assert flow.build_bitstream(BOARD, tmp_path).route.seed == 2


def test_a_design_that_no_seed_places_is_refused(small_core, tmp_path, monkeypatch):
    monkeypatch.setattr(flow, "run_tool", without_a_place("123"))
    with pytest.raises(TilewrightError, match="no legal placement with the seeds 1, 2, 3"):
        flow.build_bitstream(BOARD, tmp_path)


def test_what_a_killed_build_left_is_removed_a_day_later(small_core, tmp_path, monkeypatch):
    folder = tmp_path / "bitstreams"
    old, young = folder / ".building-old", folder / ".building-young"
    for left in (old, young):
        (left / "build").mkdir(parents=True)
    os.utime(old, times=(time.time() - 25 * 3600,) * 2)
    monkeypatch.setattr(flow, "run_tool", answer())
    made = flow.build_bitstream(BOARD, tmp_path)
    assert set(folder.iterdir()) == {young, made.path.parent}


def test_a_design_too_large_names_the_resource_and_by_how_much(small_core, tmp_path, monkeypatch):
    monkeypatch.setattr(flow, "run_tool", answer(used=30000))
    with pytest.raises(TilewrightError, match=r"30,000 TRELLIS_COMB of 24,288 \(5,712 too many\)"):
        flow.build_bitstream(BOARD, tmp_path)


def test_a_fault_of_a_tool_is_not_blamed_on_the_user(small_core, tmp_path, monkeypatch):
    failed = subprocess.CompletedProcess([], 1, "", "syntax error")
    monkeypatch.setattr(flow, "run_tool", lambda command, folder: failed)
    with pytest.raises(RuntimeError, match="yosys failed: syntax error"):
        flow.build_bitstream(BOARD, tmp_path)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(tools.FAMILY_PACKAGES, "ecp5", ("nextpnr-x",))
    with pytest.raises(TilewrightError, match=r"nextpnr-x, which is missing: pip install"):
        tools.check_tools("ecp5")


def test_a_tool_that_fails_says_why(tmp_path):
    (tmp_path / "bad.ys").write_text("read_verilog nothing.v\n")
    done = tools.run_tool(["yosys", "-q", "-l", "bad.rpt", "bad.ys"], tmp_path)
    assert done.returncode != 0 and "nothing.v" in done.stdout + done.stderr


def test_results_name_boards_and_arrays_that_met_their_clock():
    for record in proven.proven():
        assert record["board"] in BOARDS
        assert record["fmax_mhz"] >= record["target_mhz"] > 0
        assert record["bitstream_bytes"] > 0


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("libusb-1.0.so.0: cannot open shared object file", "install libusb 1.0"),
        ("unable to open ftdi device: -3 (device not found)", "no board is connected"),
        ("unable to open ftdi device: -4 (usb_open() failed)", "udev rules"),
        ("mismatch between target's idcode and bitstream idcode", "another FPGA"),
        ("something new", "something new"),
    ],
)
def test_what_openfpgaloader_says_is_put_in_a_sentence(said, meant, tmp_path, monkeypatch):
    bitstream = tmp_path / "top.bit"
    bitstream.write_bytes(b"")
    failed = subprocess.CompletedProcess([], 1, "", said)
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: failed)
    with pytest.raises(TilewrightError, match=f"'icepi-zero' could not be loaded: .*{meant}"):
        load_bitstream(BOARD, bitstream)


def test_a_bitstream_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(TilewrightError, match=r"no such bitstream; make it with"):
        load_bitstream(BOARD, tmp_path / "top.bit")
    assert loader_command(BOARD, tmp_path / "top.bit", flash=True)[3:6] == [
        *("-b", "icepi-zero", "--write-flash")
    ]


def test_a_flash_program_goes_to_where_the_board_finds_it(tmp_path, monkeypatch):
    board, calls = BOARDS["icebreaker"], []
    path = tmp_path / "flash.bin"
    with pytest.raises(
        TilewrightError, match=r"flash.bin: there is no such flash program; make it"
    ):
        write_flash_program(board, path)
    path.write_bytes(b"~")

    def run(call, **options):
        calls.append(call)
        return subprocess.CompletedProcess(call, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    write_flash_program(board, path)
    assert calls[0][5:] == [
        "--write-flash",
        *("--file-type", "raw", "--offset"),
        "1048576",
        str(path),
    ]
    with pytest.raises(TilewrightError, match=r"'icepi-zero' loads no program from its flash"):
        write_flash_program(BOARD, path)
