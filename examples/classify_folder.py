"""Classify a folder of images on a board, or on the virtual board before it arrives.

    python examples/classify_folder.py                        # handwritten digits, virtual board
    python examples/classify_folder.py photos --board ulx3s-85f --port /dev/ttyUSB0

The network is the one of digits.py. Without a folder, images of the test set are written as PNG files
first, their labels in their names, and the share of right answers is printed at the end. Everything
passes through the driver that a real board has; with --port it is a real board.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from digits import network, read_digits, split
from PIL import Image

import tilewright
from tilewright.board_runs import open_accelerator
from tilewright.boards.host import HostProgram
from tilewright.boards.host.images import read_input
from tilewright.boards.registry import BOARDS, get_board
from tilewright.compiler.save import save_program

CALIBRATION = 64
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp")


def write_digits(folder: Path, count: int) -> None:
    """Test images as LABEL_NUMBER.png."""
    pixels, labels = read_digits()
    folder.mkdir(parents=True, exist_ok=True)
    for number in split(len(labels))[1][:count]:
        Image.fromarray(pixels[number, 0]).save(folder / f"{labels[number]}_{number}.png")


def compile_digits(board: str, folder: Path) -> HostProgram:
    """The network's program for a board, as its driver reads it."""
    pixels, labels = read_digits()
    graph = tilewright.load(network(), np.zeros((1, 1, 28, 28)), name="digits", scale=[1 / 255])
    images = pixels[split(len(labels))[0][:CALIBRATION]]
    compiled = tilewright.compile(
        tilewright.quantize(graph, images), get_board(board).target, keep=False
    )
    path = folder / "program.twp"
    save_program(compiled.program, path)
    return HostProgram.load(path)


def main() -> int:
    """Classify; 1 if most labelled images get another class than their name says."""
    parser = argparse.ArgumentParser(description="Classify a folder of images on a board")
    parser.add_argument("folder", nargs="?", type=Path, help="of images (default: digits)")
    parser.add_argument("--board", default="icepi-zero", choices=BOARDS)
    parser.add_argument("--port", help="serial port of a real board (default: the virtual board)")
    parser.add_argument("--images", type=int, default=10, help="digits to write (%(default)s)")
    options = parser.parse_args()
    work = Path("build/classify")
    work.mkdir(parents=True, exist_ok=True)
    folder = options.folder or work / "digits"
    if options.folder is None:
        write_digits(folder, options.images)
    program = compile_digits(options.board, work)
    right = named = 0
    with open_accelerator(get_board(options.board), options.port) as accelerator:
        accelerator.load(program)
        for path in sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES):
            run = accelerator.run(read_input(path, program))
            scores = next(iter(run.outputs.values()))
            best = int(run.classes[0])
            spent = f"{run.accelerator_seconds * 1e3:.2f} ms, {run.counters['CYCLES']:,} cycles"
            print(f"{path.name}: {best} ({scores[best]:.2f}), {spent}", flush=True)
            if options.folder is None:
                named, right = named + 1, right + path.name.startswith(f"{best}_")
    if named:
        print(f"{right} of {named} right")
    return int(2 * right < named)


if __name__ == "__main__":
    sys.exit(main())
