"""A hundred images through the driver on the virtual board, with noise on its link.

The demo's network (examples/digits.py), or another, runs on the RTL of a whole board, SDRAM controller
and the chip's model included, compiled with Verilator. Of the link's bytes, in each direction, a share
is lost, doubled or altered. With --netlist the core is what synthesis made of it, cell by cell, on
boards whose cells Yosys has models of; that has a result of its own. Every value that the driver returns
is compared with the integer reference; the exit code is 1 if one differs.

    python benchmarks/virtual_board.py
    python benchmarks/virtual_board.py --board ulx3s-85f --images 10 --noise 0
    python benchmarks/virtual_board.py --board icebreaker --network mnist-8 --images 2 --noise 0 --netlist
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from measuring import missing, save
from small_networks import NETWORKS, quantized

import tilewright
from tilewright.board_runs import open_accelerator
from tilewright.boards.board import Board
from tilewright.boards.cycles import predict_board_cycles
from tilewright.boards.host import HostProgram
from tilewright.boards.registry import BOARDS
from tilewright.boards.selftest import known_answer
from tilewright.boards.virtual import virtual_identity
from tilewright.compiler.save import save_program
from tilewright.quant.reference import quantize_inputs, run_fixed

__all__ = ["measure"]


def measure(
    board: Board, network: str, images: int, noise: float, *, netlist: bool = False
) -> dict[str, Any]:
    """Run the images; what the driver saw and how much of it is wrong."""
    from digits import read_digits, split

    pixels, labels = read_digits()
    _, test = split(len(labels))
    fixed = quantized(network, board.target.acc_bits)
    program = tilewright.compile(fixed, board.target, keep=False).program
    chosen = test[:images]
    integers = quantize_inputs(fixed, {fixed.graph.inputs[0].name: pixels[chosen]})
    expected = run_fixed(fixed, integers)[fixed.graph.outputs[0].tensor]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "program.twp")
        save_program(program, path)
        host_program = HostProgram.load(path)
    wrong = right = 0
    cycles = []
    with open_accelerator(board, None, noise=noise, netlist=netlist) as accelerator:
        started = time.monotonic()
        known = known_answer(board.target)
        accelerator.selftest(known.program, known.inputs, known.expected)
        accelerator.load(host_program)
        for number, image in enumerate(chosen):
            run = accelerator.run(pixels[image])
            (found,) = run.integers.values()
            wrong += int((found.reshape(-1) != expected[number].reshape(-1)).any())
            right += int(run.classes[0] == labels[image])
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
        "network": network,
        "images": images,
        "wrong_answers": wrong,
        "right_classes": right,
        "link": counts,
        "cycles": {"least": min(cycles), "most": max(cycles)},
        "predicted_cycles": predict_board_cycles(board, program).cycles,
        "seconds": round(seconds, 1),
    }


def main() -> int:
    """Measure and save; 1 if an answer is wrong."""
    parser = argparse.ArgumentParser(description="Images through the virtual board's driver")
    parser.add_argument("--board", default="icepi-zero", choices=BOARDS)
    parser.add_argument("--network", default="digits", choices=NETWORKS)
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
    name = "virtual_netlist" if options.netlist else "virtual_board"
    save(name, found, ("verilator", "amaranth", "pyserial", "pyosys"))
    print(found)
    return int(found["wrong_answers"] > 0)


if __name__ == "__main__":
    sys.exit(main())
