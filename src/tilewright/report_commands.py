"""What the subcommands that end with a report do: report and build."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from tilewright.board_commands import build_for_board
from tilewright.console import Outcome, print_lines
from tilewright.errors import TilewrightError
from tilewright.html.writing import require_plotly, write_page
from tilewright.networks import quantized_network, save_quantized
from tilewright.outputs import staging, to_json
from tilewright.progress import show_progress
from tilewright.report_tables import print_report
from tilewright.reports import NetworkReport, report_dict
from tilewright.settings import output_folder, resolve, test_data

if TYPE_CHECKING:
    from tilewright.boards.board import Board

__all__ = ["build", "report"]


def report(options: argparse.Namespace) -> Outcome:
    """Compare float with fixed, static with dynamic, and predict cycles; no simulation."""
    from tilewright.boards.registry import get_board

    return _road(options, board=None if options.board is None else get_board(options.board))


def build(options: argparse.Namespace) -> Outcome:
    """Go the whole road: quantize, compile, Verilog, simulation, report; or for a board, bitstream."""
    if options.board is not None:
        return build_for_board(options)
    if options.no_bitstream:
        raise TilewrightError("Option --no-bitstream needs --board")
    return _road(options, rtl=True)


def _road(options: argparse.Namespace, *, rtl: bool = False, board: Board | None = None) -> Outcome:
    from tilewright.road import Road, run_road

    if options.html:
        require_plotly()
    config = resolve(options)
    if board is not None:
        if options.target is not None:
            raise TilewrightError(
                "Options --board and --target exclude each other: a board has one"
            )
        config = dataclasses.replace(config, target=board.target)
    with show_progress(quiet=options.quiet) as progress:
        network = quantized_network(config, progress, resume=options.resume)
        fixed = network.fixed
        if network.calibration is None:
            raise TilewrightError("No images to compare on: give --calibration FILE")
        road = Road(
            fixed=fixed,
            graph=network.graph,
            calibration=network.calibration,
            test=test_data(config, fixed.graph),
            target=config.target,
            precision=tuple(options.precision),
            images=config.simulate.images if rtl else 0,
            latency=config.simulate.latency,
            simulator=config.simulate.simulator,
            detail=options.html or options.json,
            board=board,
        )
        folder = output_folder(config, fixed.graph.name)
        with staging(folder) as stage:
            save_quantized(network, config, stage)
            found = run_road(road, stage, progress)
            result = {"output": str(folder), **report_dict(found)}
            (stage / "report.json").write_text(to_json(result), "utf-8")
            if options.html:
                write_page(stage / "report.html", result)
    return Outcome(_verdict(found), result, lambda console: _print_report(console, found, folder))


def _verdict(found: NetworkReport) -> int:
    return int(found.rtl is not None and found.rtl.mismatches > 0)


def _print_report(console: Console, found: NetworkReport, folder: Path) -> None:
    print_report(found, console)
    print_lines(console, [f"Wrote {folder}"])
