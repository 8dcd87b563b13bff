"""A hundred images through the driver on the virtual board, with noise on its link.

The demo's network (examples/digits.py), or another, runs on the RTL of a whole board, SDRAM controller
and the chip's model included, compiled with Verilator. Of the link's bytes, in each direction, a share
is lost, doubled or altered. With --netlist the core is what synthesis made of it, cell by cell; that has
results of its own, one a board. "selftest" is the known computation of the power-up test, which suits
netlists of large boards. Every value that the driver returns is compared with the integer reference; the
exit code is 1 if one differs.

    python benchmarks/virtual_board.py
    python benchmarks/virtual_board.py --board ulx3s-85f --images 10 --noise 0
    python benchmarks/virtual_board.py --board icebreaker --network mnist-8 --images 2 --noise 0 --netlist
    python benchmarks/virtual_board.py --board ulx3s-85f --network selftest --noise 0 --netlist
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import RESULTS, missing, save
from small_networks import NETWORKS, quantized

import tilewright
from tilewright.board_runs import open_accelerator
from tilewright.boards.board import Board
from tilewright.boards.cycles import predict_board_cycles
from tilewright.boards.host import HostProgram
from tilewright.boards.registry import BOARDS
from tilewright.boards.script import selftest_script
from tilewright.boards.selftest import known_answer
from tilewright.boards.virtual import virtual_identity
from tilewright.compiler.program import Program
from tilewright.compiler.save import save_program
from tilewright.quant.reference import quantize_inputs, run_fixed

__all__ = ["measure"]

SELFTEST = "selftest"


@dataclass(frozen=True)
class Work:
    """A program, and images with what the reference and, if known, the labels say of them."""

    program: Program
    host_program: HostProgram
    images: list[Any]
    expected: list[Any]
    labels: list[int] | None


def digits(board: Board, network: str, images: int) -> Work:
    """Images of the test set for one of the small networks."""
    from digits import read_digits, split

    pixels, labels = read_digits()
    _, test = split(len(labels))
    chosen = test[:images]
    fixed = quantized(network, board.target.acc_bits)
    program = tilewright.compile(fixed, board.target, keep=False).program
    integers = quantize_inputs(fixed, {fixed.graph.inputs[0].name: pixels[chosen]})
    expected = run_fixed(fixed, integers)[fixed.graph.outputs[0].tensor]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.twp")
        save_program(program, path)
        host_program = HostProgram.load(path)
    return Work(program, host_program, list(pixels[chosen]), list(expected), list(labels[chosen]))


def known(board: Board) -> Work:
    """The known computation, whose inputs are integers."""
    found = known_answer(board.target)
    image = {name: values.astype(float) for name, values in found.inputs.items()}
    return Work(found.compiled, found.program, [image], list(found.expected.values()), None)


def measure(
    board: Board, network: str, images: int, noise: float, *, netlist: bool = False
) -> dict[str, Any]:
    """Run the images; what the driver saw and how much of it is wrong."""
    work = known(board) if network == SELFTEST else digits(board, network, images)
    wrong = right = 0
    cycles = []
    flash = b""
    if board.flash_address is not None:
        flash = selftest_script(virtual_identity(board), known_answer(board.target))
    with open_accelerator(board, None, noise=noise, netlist=netlist, flash=flash) as accelerator:
        started = time.monotonic()
        tested = accelerator.tested_itself
        accelerator.load(work.host_program)
        for number, (image, expected) in enumerate(zip(work.images, work.expected, strict=True)):
            run = accelerator.run(image)
            (found,) = run.integers.values()
            wrong += int((found.reshape(-1) != expected.reshape(-1)).any())
            right += int(work.labels is not None and run.classes[0] == work.labels[number])
            cycles.append(run.counters["CYCLES"])
            print(f"image {number}: {wrong} wrong so far, {accelerator.link.counts}", flush=True)
        seconds = time.monotonic() - started
        counts = dataclasses.asdict(accelerator.link.counts)
    return {
        "board": board.name,
        "memory": board.memory.kind,
        "baud": virtual_identity(board).baud,
        "clock_mhz": board.target.clock_mhz,
        "netlist": netlist,
        "noise": noise,
        "tested_itself": tested,
        "network": network,
        "images": len(work.images),
        "wrong_answers": wrong,
        "right_classes": None if work.labels is None else right,
        "link": counts,
        "cycles": {"least": min(cycles), "most": max(cycles)},
        "predicted_cycles": predict_board_cycles(board, work.program).cycles,
        "seconds": round(seconds, 1),
    }


def main() -> int:
    """Measure and save; 1 if an answer is wrong."""
    parser = argparse.ArgumentParser(description="Images through the virtual board's driver")
    parser.add_argument("--board", default="icepi-zero", choices=BOARDS)
    parser.add_argument("--network", default="digits", choices=[*NETWORKS, SELFTEST])
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--noise", type=float, default=0.001, help="share of bytes (%(default)g)")
    parser.add_argument("--netlist", action="store_true", help="of the core, after synthesis")
    options = parser.parse_args()
    reason = missing("verilator", "serial", "torch", "mlxtend", "qonnx")
    if reason:
        print(f"virtual_board skipped: {reason}")
        return 0
    board = BOARDS[options.board]
    found = measure(board, options.network, options.images, options.noise, netlist=options.netlist)
    packages = ("verilator", "amaranth", "pyserial", "pyosys")
    if options.netlist:
        path = RESULTS / "virtual_netlist.json"
        before = json.loads(path.read_text("utf-8"))["boards"] if path.is_file() else []
        others = [one for one in before if one["board"] != board.name]
        link = found.pop("link")
        record = {**found, **link, "cycles": found["cycles"]["most"]}
        order = list(BOARDS)
        boards = sorted([*others, record], key=lambda one: order.index(one["board"]))
        save("virtual_netlist", {"boards": boards}, packages)
    else:
        save("virtual_board", found, packages)
    print(found)
    return int(found["wrong_answers"] > 0)


if __name__ == "__main__":
    sys.exit(main())
