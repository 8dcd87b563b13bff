"""What `tilewright build` has put beside the code: board, program, self-test."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import HostError
from .program import HostProgram

__all__ = ["BOARD", "PROGRAM", "SELFTEST", "SELFTEST_VALUES", "Board", "SelfTest"]

BOARD = "board.json"
PROGRAM = "program.twp"
SELFTEST = "selftest.twp"
SELFTEST_VALUES = "selftest.npz"

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Board:
    """The board that a package was built for, and the baud rate of its link."""

    name: str
    baud: int

    @classmethod
    def of_package(cls, folder: Path = _HERE) -> Board | None:
        """That of the package; None if it was not built for any."""
        path = folder / BOARD
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_text("utf-8"))
            return cls(str(found["name"]), int(found["baud"]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise HostError(f"{path}: is damaged ({error}); build the package again") from None

    def write(self, folder: Path) -> None:
        """Leave it for `of_package`."""
        (folder / BOARD).write_text(json.dumps({"name": self.name, "baud": self.baud}), "utf-8")


@dataclass(frozen=True, slots=True, eq=False)
class SelfTest:
    """A program with integers [C, H, W] of its inputs and of its outputs, by name."""

    program: HostProgram
    inputs: dict[str, npt.NDArray[Any]]
    expected: dict[str, npt.NDArray[Any]]

    @classmethod
    def of_package(cls, folder: Path = _HERE) -> SelfTest:
        """That of the package; raises HostError if there is none."""
        path = folder / SELFTEST_VALUES
        if not path.is_file():
            raise HostError(f"{folder} holds no self-test; build the package with tilewright build")
        program = HostProgram.load(folder / SELFTEST)
        try:
            with np.load(path, allow_pickle=False) as values:
                return cls(
                    program,
                    {item.name: values[f"input_{item.name}"] for item in program.inputs},
                    {item.name: values[f"output_{item.name}"] for item in program.outputs},
                )
        except (OSError, ValueError, KeyError) as error:
            raise HostError(f"{path}: is damaged ({error}); build the package again") from None
