"""Projects for Vivado: every port is connected, and Yosys reads what Vivado is given."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from tilewright.boards.board import Memory
from tilewright.boards.host import Accelerator, HostError
from tilewright.boards.host.pynq_link import PynqLink
from tilewright.boards.vivado.boards import VIVADO_BOARDS, get_vivado_board
from tilewright.boards.vivado.project import write_project
from tilewright.errors import TilewrightError

CHECK = """
import sys
from pyosys import libyosys
design = libyosys.Design()
top, *sources = sys.argv[1:]
libyosys.run_pass("read_verilog -lib +/xilinx/cells_sim.v +/xilinx/cells_xtra.v", design)
for source in sources:
    libyosys.run_pass(f"read_verilog {source}", design)
libyosys.run_pass(f"hierarchy -check -top {top}", design)
"""


def small(name):
    """The board with a small accelerator, whose Verilog is soon written."""
    board = VIVADO_BOARDS[name]
    target = dataclasses.replace(board.target, rows=2, cols=2, act_depth=64, acc_depth=16)
    return dataclasses.replace(board, target=target, memory=Memory(kind="block", size=4096))


def checked(folder, top):
    sources = sorted(str(path) for path in (folder / "rtl").glob("*.v"))
    run = [sys.executable, "-c", CHECK, top, *sources]
    done = subprocess.run(run, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-1000:]


def test_a_system_with_a_processor_connects_both_buses(tmp_path):
    files = write_project(small("arty-z7-20"), tmp_path)
    assert files == ["build.tcl", "constraints.xdc", "rtl/accelerator.v", "rtl/system.v"]
    checked(tmp_path, "tilewright_system")
    tcl = (tmp_path / "build.tcl").read_text()
    assert "xc7z020clg400-1" in tcl and "PCW_S_AXI_HP0_DATA_WIDTH {64}" in tcl
    assert "$" not in re.sub(r"\$slack", "", tcl)
    wrapper = (tmp_path / "rtl" / "system.v").read_text()
    assert 'aximm:1.0 m_axi WDATA" *) output [63:0] m_axi_wdata' in wrapper
    assert 'aximm:1.0 s_axi WDATA" *) input [31:0] s_axi_wdata' in wrapper


def test_a_board_without_a_processor_has_clock_pins_and_link(tmp_path):
    files = write_project(small("arty-a7-35"), tmp_path)
    assert files == ["build.tcl", "constraints.xdc", "rtl/board.v", "rtl/core.v"]
    checked(tmp_path, "board")
    constraints = (tmp_path / "constraints.xdc").read_text()
    assert "PACKAGE_PIN E3 IOSTANDARD LVCMOS33 } [get_ports {clk_in}]" in constraints
    assert "create_clock -period 10.000 [get_ports clk_in]" in constraints
    assert ".CLKOUT0_DIVIDE_F(12.000)" in (tmp_path / "rtl" / "board.v").read_text()


class Buffer(np.ndarray):
    """PYNQ's contiguous memory, on a host without any."""

    device_address = 0x1000_0000

    def invalidate(self):
        """Nothing is cached here."""

    def flush(self):
        """Nothing is cached here."""


class Registers(dict[int, int]):
    """PYNQ's MMIO."""

    def __init__(self, base, size):
        super().__init__()
        self.base, self.size = base, size

    def read(self, offset):
        return self.get(offset, 0)

    def write(self, offset, value):
        self[offset] = value


def test_the_driver_takes_a_link_through_pynq(monkeypatch):
    pynq = SimpleNamespace(
        MMIO=Registers, allocate=lambda shape, dtype: np.zeros(shape, dtype).view(Buffer)
    )
    monkeypatch.setitem(sys.modules, "pynq", pynq)
    link = PynqLink("zc706", 150_000_000, 8192)
    accelerator = Accelerator(link, board="zc706")
    assert accelerator.identity.memory_base == Buffer.device_address
    link.write_memory(Buffer.device_address + 100, b"weights")
    assert link.read_memory(Buffer.device_address + 100, 7) == b"weights"
    accelerator.write("WATCHDOG", 77)
    assert accelerator.read("WATCHDOG") == 77
    assert not link.wait(0.002)
    accelerator.write("ISR", 1)
    assert link.wait(0.002)


def test_without_pynq_the_link_says_so():
    with pytest.raises(HostError, match="PYNQ is not installed"):
        PynqLink("zc706", 150_000_000, 8192)


def test_a_board_that_cannot_be_is_refused():
    board = VIVADO_BOARDS["zc706"]
    with pytest.raises(TilewrightError, match="multiplier must be 'xilinx'"):
        target = dataclasses.replace(board.target, multiplier="generic")
        dataclasses.replace(board, target=target)
    with pytest.raises(TilewrightError, match="pins are needed without a processor"):
        dataclasses.replace(board, board_part=None)
    with pytest.raises(TilewrightError, match="did you mean 'zc706'"):
        get_vivado_board("zc702")
