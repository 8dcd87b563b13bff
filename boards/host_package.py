"""The self-contained host package that a build leaves beside the bitstream."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tilewright.boards import host
from tilewright.boards.host.package import PROGRAM, SELFTEST, SELFTEST_VALUES, Board
from tilewright.boards.selftest import known_answer
from tilewright.compiler.program import Program
from tilewright.compiler.save import program_bytes
from tilewright.compiler.target import Target

__all__ = ["PACKAGE", "write_host_package"]

PACKAGE = "tilewright_host"

_README = """Driver of the accelerator on board {name}, with a network's program.

Needs Python 3.11, NumPy and pyserial (pip install numpy pyserial), and Pillow to read image files.
From the folder that holds {package}:

    python -m {package} identify --port /dev/ttyUSB0
    python -m {package} selftest --port /dev/ttyUSB0
    python -m {package} run --port /dev/ttyUSB0 image.png

In a program of your own:

    from {package} import Accelerator, HostProgram, SerialTransport

    accelerator = Accelerator(SerialTransport("/dev/ttyUSB0", {baud}))
    accelerator.load(HostProgram.load("{package}/{program}"))
    print(accelerator.run(image).classes[:5])
"""


def write_host_package(
    folder: Path, *, board: str, baud: int, target: Target, program: Program | None
) -> Path:
    """Write the package into `folder`, which exists; returns the package's own folder.

    Parameters
    ----------
    board, baud : as the board's link says of itself
    target : of the board; for the self-test
    program : the network's; None leaves a package for programs given later
    """
    place = folder / PACKAGE
    place.mkdir()
    for source in sorted(Path(str(host.__file__)).parent.glob("*.py")):
        (place / source.name).write_bytes(source.read_bytes())  # links become files
    Board(board, baud).write(place)
    if program is not None:
        (place / PROGRAM).write_bytes(program_bytes(program))
    test = known_answer(target)
    (place / SELFTEST).write_bytes(program_bytes(test.compiled))
    values = {f"input_{name}": array for name, array in test.inputs.items()}
    values |= {f"output_{name}": array for name, array in test.expected.items()}
    np.savez(place / SELFTEST_VALUES, **values)  # type: ignore[arg-type]
    text = _README.format(name=board, baud=baud, package=PACKAGE, program=PROGRAM)
    (folder / "README.txt").write_text(text, "utf-8")
    return place
