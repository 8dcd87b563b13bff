"""What the subcommands about boards do: boards, build --board, program, run."""

from __future__ import annotations

import argparse
import dataclasses
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console

from tilewright import api
from tilewright.boards.proven import largest_proven, proven
from tilewright.console import Outcome, print_lines, print_table
from tilewright.errors import TilewrightError
from tilewright.html.writing import require_plotly, write_page
from tilewright.networks import QuantizedNetwork, quantized_network, save_quantized
from tilewright.outputs import staging, to_json
from tilewright.progress import Progress, show_progress
from tilewright.settings import output_folder, resolve
from tilewright.simulation import cache_folder

if TYPE_CHECKING:
    from tilewright.boards.board import Board
    from tilewright.boards.flow import Bitstream
    from tilewright.boards.vivado.boards import VivadoBoard
    from tilewright.compiler.program import Program

__all__ = ["FLASH_PROGRAM", "boards", "build_for_board", "program"]

FLASH_PROGRAM = "flash.bin"
"""What a build leaves for a board's flash."""


def boards(options: argparse.Namespace) -> Outcome:
    """List the boards: array, clock, memory, link, and what was proven for each."""
    from tilewright.boards.registry import BOARDS
    from tilewright.boards.vivado.boards import VIVADO_BOARDS

    rows = [
        (board.name, board.part, _array(board), f"{board.target.clock_mhz:g}",
         f"{board.memory.size / 1024:,.0f} KiB {board.memory.kind}",
         f"{board.baud / 1e6:g} Mbaud", _evidence(board))
        for board in BOARDS.values()
    ]  # fmt: skip
    rows += [
        (board.name, board.part, _array(board), f"{board.target.clock_mhz:g}",
         f"{board.memory.size / 1024:,.0f} KiB {board.memory.kind}" if board.pins else "DDR",
         f"{board.baud / 1e6:g} Mbaud" if board.pins else "AXI",
         "project for Vivado, which was not run")
        for board in VIVADO_BOARDS.values()
    ]  # fmt: skip
    columns = ("name", "part", "array", "MHz", "memory", "link", "proven")
    result = {
        name: {**dataclasses.asdict(board), "proven": proven(name)}
        for name, board in (BOARDS | VIVADO_BOARDS).items()
    }
    return Outcome(0, result, lambda console: print_table(console, "Boards", columns, rows))


def _array(board: Board | VivadoBoard) -> str:
    return f"{board.target.rows}×{board.target.cols}"


def _evidence(board: Board) -> str:
    """The best bitstream of the committed results, in words."""
    found = largest_proven(board.name)
    if found is None:
        return "not built yet"
    return (
        f"{found['rows']}×{found['cols']} routed at {found['fmax_mhz']:g} MHz, "
        f"{found['target_mhz']:g} asked; not run on hardware"
    )


def build_for_board(options: argparse.Namespace) -> Outcome:
    """A network's bitstream, program and host package for a board."""
    from tilewright.boards.host_package import write_host_package
    from tilewright.boards.registry import get_board
    from tilewright.boards.vivado.boards import VIVADO_BOARDS
    from tilewright.compiler.listing import listing
    from tilewright.compiler.save import save_program

    if options.target is not None:
        raise TilewrightError("Options --board and --target exclude each other: a board has one")
    if options.html:
        require_plotly()
    if options.board in VIVADO_BOARDS:
        return _build_vivado(VIVADO_BOARDS[options.board], options)
    board = get_board(options.board)
    config = dataclasses.replace(resolve(options), target=board.target)
    with show_progress(quiet=options.quiet) as progress:
        network = quantized_network(config, progress, resume=options.resume)
        compiled = api.compile(network.fixed, board.target, keep=False, progress=progress)
        made = compiled.program
        _check_memory(board, made)
        bitstream = None if options.no_bitstream else _bitstream(board, progress)
        report = _layer_report(board, network, made, bitstream) if options.html else None
    folder = output_folder(config, network.fixed.graph.name)
    with staging(folder) as stage:
        save_quantized(network, config, stage)
        save_program(made, stage / "program.twp")
        (stage / "program.txt").write_text(listing(made), "utf-8")
        write_host_package(
            stage, board=board.name, baud=board.baud, target=board.target, program=made
        )
        if board.flash_address is not None:
            (stage / FLASH_PROGRAM).write_bytes(_flash_program(board, made))
        result = {"output": str(folder), **_report(board, made, bitstream)}
        if bitstream is not None:
            shutil.copyfile(bitstream.path, stage / f"{board.name}{bitstream.path.suffix}")
        (stage / "build.json").write_text(to_json(result), "utf-8")
        if report is not None:
            (stage / "report.json").write_text(to_json(report), "utf-8")
            write_page(stage / "report.html", report)
    return Outcome(0, result, lambda console: _print_build(console, result))


def _flash_program(board: Board, made: Program) -> bytes:
    """What the board plays from its flash: its self-test, and the network's program."""
    from tilewright.boards.host import HostProgram
    from tilewright.boards.script import program_script
    from tilewright.boards.selftest import known_answer
    from tilewright.compiler.save import program_bytes

    known = known_answer(board.target)
    return program_script(board.identity(), known, HostProgram.of_bytes(program_bytes(made)))


def _layer_report(
    board: Board, network: QuantizedNetwork, made: Program, bitstream: Bitstream | None
) -> dict[str, Any]:
    """What `report --board` finds, with the resources of this very bitstream."""
    from tilewright.analysis import make_report
    from tilewright.boards.cycles import predict_board_cycles
    from tilewright.quant.profile import profile
    from tilewright.reports import report_dict
    from tilewright.resources import resources

    images = network.calibration
    if images is None:
        raise TilewrightError("No images to compare on: give --calibration FILE")
    route = None if bitstream is None else bitstream.route
    found = make_report(
        network.fixed,
        images,
        program=made,
        predicted=predict_board_cycles(board, made, trace=True),
        ranges=profile(network.fixed, images.inputs),
        board=board.name,
        resources=resources(board.target, board, made.memory_bytes, route),
    )
    return report_dict(found)


def _build_vivado(board: VivadoBoard, options: argparse.Namespace) -> Outcome:
    """A network's program, and a project of which Vivado makes the bitstream."""
    if options.html:
        raise TilewrightError(
            "Option --html is not for boards that need Vivado: nothing is known of their memory"
        )
    from tilewright.boards.host_package import write_host_package
    from tilewright.boards.vivado.project import write_project
    from tilewright.compiler.listing import listing

    config = dataclasses.replace(resolve(options), target=board.target)
    with show_progress(quiet=options.quiet) as progress:
        network = quantized_network(config, progress, resume=options.resume)
        made = api.compile(network.fixed, board.target, keep=False, progress=progress).program
        if board.pins:
            _check_memory(board, made)
        folder = output_folder(config, network.fixed.graph.name)
        with staging(folder) as stage:
            save_quantized(network, config, stage)
            (stage / "program.txt").write_text(listing(made), "utf-8")
            write_host_package(
                stage, board=board.name, baud=board.baud, target=board.target, program=made
            )
            files: list[str] = []
            if not options.no_bitstream:
                progress(0, 0, "write the project for Vivado")
                (stage / "vivado").mkdir()
                files = write_project(board, stage / "vivado")
    result = {"output": str(folder), "board": board.name, "part": board.part, "vivado": files}
    lines = [f"Wrote {folder}; vivado/build.tcl makes the bitstream, which was not tried"]
    return Outcome(0, result, lambda console: print_lines(console, lines))


def _check_memory(board: Board | VivadoBoard, made: Program) -> None:
    if made.memory_bytes > board.memory.size:
        raise TilewrightError(
            f"Board {board.name!r} has {board.memory.size:,} bytes of memory, the network needs "
            f"{made.memory_bytes:,} (weights, feature maps and instructions); take a smaller "
            "network, fewer bits or another board"
        )


def _bitstream(board: Board, progress: Progress) -> Bitstream:
    from tilewright.boards.flow import build_bitstream

    return build_bitstream(board, cache_folder(), progress)


def _report(board: Board, made: Program, bitstream: Bitstream | None) -> dict[str, Any]:
    """What `build` prints: the network's cycles at the board's clock, and the bitstream."""
    from tilewright.boards.cycles import predict_board_cycles

    cycles = predict_board_cycles(board, made).cycles
    found: dict[str, Any] = {
        "board": board.name,
        "part": board.part,
        "target": dataclasses.asdict(board.target),
        "memory_bytes": made.memory_bytes,
        "clock_mhz": board.target.clock_mhz,
        "cycles": cycles,
        "fps": round(board.target.clock_mhz * 1e6 / cycles, 2),
        "bitstream": None,
    }
    if bitstream is not None:
        route = bitstream.route
        found["bitstream"] = {
            "file": f"{board.name}{bitstream.path.suffix}",
            "bytes": bitstream.path.stat().st_size,
            "fmax_mhz": route.fmax_mhz,
            "seed": route.seed,
            "slowest_path": route.path,
            "cells": {
                name: {"used": used, "available": route.available[name]}
                for name, used in route.used.items()
            },
        }
    return found


def _print_build(console: Console, result: dict[str, Any]) -> None:
    found, clock = result["bitstream"], result["clock_mhz"]
    speed = f"{result['fps']:,.1f} images a second at {clock:g} MHz"
    lines = [f"{result['cycles']:,} cycles an image (predicted), {speed}"]
    if found is not None:
        rows = [
            (name, f"{cells['used']:,}", f"{cells['available']:,}")
            for name, cells in found["cells"].items()
        ]
        title = f"{result['board']}: {result['part']}"
        print_table(console, title, ("cells", "used", "available"), rows)
        routed = f"Routed at {found['fmax_mhz']:g} MHz, {clock:g} needed"
        lines.insert(0, f"{routed}; slowest path {found['slowest_path']}")
    print_lines(console, [*lines, f"Wrote {result['output']}"])


def program(options: argparse.Namespace) -> Outcome:
    """Load a board's bitstream into it, or a network's program into its flash."""
    from tilewright.boards.loader import load_bitstream, write_flash_program
    from tilewright.boards.registry import get_board

    board = get_board(options.board)
    if options.flash_program:
        if options.bitstream or options.flash:
            raise TilewrightError(
                "Option --flash-program writes a network's program alone; leave out --bitstream and "
                "--flash, and load the bitstream with another call"
            )
        path = Path(options.flash_program)
        write_flash_program(board, path)
        result = {"board": board.name, "flash_program": str(path)}
        lines = [f"Wrote {path} into the flash of {board.title}; it is loaded at power-up"]
        return Outcome(0, result, lambda console: print_lines(console, lines))
    with show_progress(quiet=options.quiet) as progress:
        path = Path(options.bitstream) if options.bitstream else _bitstream(board, progress).path
        progress(0, 0, "load the bitstream")
        load_bitstream(board, path, flash=options.flash)
    result = {"board": board.name, "bitstream": str(path), "flash": options.flash}
    lines = [f"Loaded {path} into {board.title}"]
    return Outcome(0, result, lambda console: print_lines(console, lines))
