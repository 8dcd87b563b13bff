"""A board's core after synthesis, as Verilog of the family's cells: what is placed and routed."""

from __future__ import annotations

import tempfile
from pathlib import Path

from tilewright.boards.board import Board
from tilewright.boards.flow import SYNTHESIS
from tilewright.boards.soc import CORE, core_verilog
from tilewright.boards.tools import check_tools, run_tool

__all__ = ["core_netlist"]

_SCRIPT = """
read_verilog core.v
synth_{family} {options} -top {core} -json netlist.json
write_verilog -noattr -noexpr netlist.v
"""


def core_netlist(board: Board, baud: int | None = None) -> str:
    """Verilog of the core's cells, made with the bitstream's options; `baud` as of `core_verilog`.

    Raises
    ------
    TilewrightError
        If a package is missing.
    """
    check_tools(board.family)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "core.v").write_text(core_verilog(board, baud), "utf-8")
        script = _SCRIPT.format(family=board.family, options=SYNTHESIS[board.family], core=CORE)
        (folder / "core.ys").write_text(script, "utf-8")
        done = run_tool(["yosys", "-q", "-l", "core.rpt", "core.ys"], folder)
        if done.returncode:
            raise RuntimeError(f"yosys failed: {(done.stdout + done.stderr)[-2000:]}")
        return (folder / "netlist.v").read_text("utf-8")
