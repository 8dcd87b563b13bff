"""The driver: programs, images, results and counters."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .errors import HostError
from .faults import DIAGNOSTIC, describe, describe_activity
from .fit import IDENTITY, misfit
from .link import Link
from .program import HostProgram
from .protocol import Identity, Status
from .registers import REGISTERS, Control
from .transport import Transport

__all__ = ["POWER_UP", "Accelerator", "Run", "run_settings"]

Array = npt.NDArray[Any]

_OFFSETS = {register.name: register.offset for register in REGISTERS}
_COUNTERS = tuple(r.name for r in REGISTERS if r.offset >= _OFFSETS["CYCLES"])
_WATCHDOG_CYCLES = 1 << 22
POWER_UP = {
    True: "The board's own test at power-up has passed",
    False: "The board had no test to do at power-up: its flash holds none",
}
"""What `Accelerator.tested_itself` means."""

_STEP_BYTES = 1 << 14
"""Written between two reports of progress; a multiple of every beat."""

_WAIT_S = 1.0
"""How long a wait may be silent before the board is asked whether it still runs."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """What one image gave.

    Attributes
    ----------
    outputs : real values by output name, in the shape of the user's model, the host's operators
        (Softmax, ...) applied
    integers : the accelerator's own values [C, H, W] by output name
    saturated : input values beyond what the input's format holds
    seconds : from the first byte of the image to the last of the results
    counters : the accelerator's
    clock_hz : of the board
    """

    outputs: dict[str, npt.NDArray[np.float32]]
    integers: dict[str, npt.NDArray[np.int64]]
    saturated: int
    seconds: float
    counters: dict[str, int]
    clock_hz: int

    @property
    def classes(self) -> npt.NDArray[np.int64]:
        """Numbers of the first output's values, the largest first."""
        first = next(iter(self.outputs.values())).reshape(-1)
        return np.argsort(-first, kind="stable")

    @property
    def accelerator_seconds(self) -> float:
        """Time that the accelerator took."""
        return self.counters["CYCLES"] / self.clock_hz


class Accelerator:
    """An accelerator on a board, behind any line that can carry bytes.

    Parameters
    ----------
    transport
        The line, or a link that is open already.
    board
        Name of the board that must answer; any if None.

    Raises
    ------
    HostError
        From every method, if something is wrong with the board, the line or what was given.
    """

    def __init__(self, transport: Transport | Link, *, board: str | None = None) -> None:
        self.link = transport if isinstance(transport, Link) else Link(transport)
        self.program: HostProgram | None = None
        found = self.identity.board
        if board is not None and found != board:
            raise HostError(
                f"Board {found!r} answers on {self.link.transport.name}, this package was built for "
                f"{board!r}; give the port of that board, or build for this one"
            )

    @property
    def identity(self) -> Identity:
        """What the board says of itself."""
        return self.link.identity

    def load(
        self, program: HostProgram, *, progress: Callable[[int, int], None] | None = None
    ) -> None:
        """Check that a program fits, and write it into the board's memory.

        Parameters
        ----------
        progress : called with bytes written and bytes in all
        """
        self._check_fit(program)
        self.program = None
        self._stop()
        for at in range(0, len(program.image), _STEP_BYTES):
            if progress is not None:
                progress(at, len(program.image))
            piece = program.image[at : at + _STEP_BYTES]
            self.link.write_memory(self.identity.memory_base + at, piece)
        for name, value in run_settings(program, self.identity.memory_base).items():
            self.write(name, value)
        self.program = program

    def adopt(self, program: HostProgram) -> None:
        """Take the program that the board has loaded from its flash at power-up.

        What is in memory is read and compared, so the flash may hold no other one.
        """
        self._check_fit(program)
        self._check_own_test()
        settings = run_settings(program, self.identity.memory_base)
        same = all(self.read(name) == value for name, value in settings.items() if name != "ISR")
        if (
            not same
            or self.link.read_memory(self.identity.memory_base, len(program.image)) != program.image
        ):
            raise HostError(
                f"Board {self.identity.board!r} has not loaded this program from its flash; write the "
                "program's flash.bin there and switch the board off and on, or load the program"
            )
        self.program = program

    def run(self, image: Array | Mapping[str, Array]) -> Run:
        """Run the loaded program on one image, or on one for each input by its name."""
        program = self._loaded()
        started = time.monotonic()
        images = self._images(program, image)
        base = self.identity.memory_base
        for item in program.inputs:
            packed = item.tensor.pixels.pack(item.integers(images[item.name]))
            self.link.write_memory(base + item.tensor.address, packed)
        self.write("CTRL", Control.START)
        self._wait()
        integers = {}
        for output in program.outputs:
            place = output.tensor
            data = self.link.read_memory(base + place.address, place.pixels.size)
            integers[output.name] = place.pixels.unpack(data)
        seconds = time.monotonic() - started
        return Run(
            outputs={o.name: o.values(integers[o.name]) for o in program.outputs},
            integers=integers,
            saturated=sum(item.saturated(images[item.name]) for item in program.inputs),
            seconds=seconds,
            counters=self.counters(),
            clock_hz=self.identity.clock_hz,
        )

    def counters(self) -> dict[str, int]:
        """The accelerator's counters of its last run, by register name."""
        return {name: self.read(name) for name in _COUNTERS}

    def selftest(
        self, program: HostProgram, inputs: Mapping[str, Array], expected: Mapping[str, Array]
    ) -> None:
        """Run a program whose results are known; the one that was loaded is gone then.

        Parameters
        ----------
        inputs : integers [C, H, W] by input name
        expected : integers [C, H, W] by output name

        Raises
        ------
        HostError
            If a value differs, or the board's own test has failed.
        """
        self._check_own_test()
        self.load(program)
        base = self.identity.memory_base
        for item in program.inputs:
            packed = item.tensor.pixels.pack(inputs[item.name])
            self.link.write_memory(base + item.tensor.address, packed)
        self.write("CTRL", Control.START)
        self._wait()
        for output in program.outputs:
            place = output.tensor
            data = self.link.read_memory(base + place.address, place.pixels.size)
            wrong = int((place.pixels.unpack(data) != expected[output.name]).sum())
            if wrong:
                raise HostError(
                    f"Board {self.identity.board!r} computes {wrong} of "
                    f"{expected[output.name].size} values of {output.name!r} wrong; write its "
                    "bitstream again, and lower the clock if that does not help"
                )

    @property
    def tested_itself(self) -> bool:
        """Whether the board tested itself at power-up, with success: `POWER_UP` has the words.

        Raises
        ------
        HostError
            If that test failed.
        """
        self._check_own_test()
        return bool(self.link.status & Status.SELFTEST_DONE)

    def _check_own_test(self) -> None:
        status = self.link.status
        if status & Status.SELFTEST_DONE and not status & Status.SELFTEST_PASSED:
            raise HostError(
                f"Board {self.identity.board!r} failed its own test when it was switched on; switch "
                "it off and on, and write its bitstream again if that does not help"
            )

    def _check_fit(self, program: HostProgram) -> None:
        words = {name: self.read(name) for name in IDENTITY}
        reason = misfit(words, program.identity, program.target)
        if reason is not None:
            raise HostError(f"Board {self.identity.board!r}: {reason}")
        size = self.identity.memory_bytes
        if program.memory_bytes > size:
            raise HostError(
                f"The program needs {program.memory_bytes} bytes of memory, board "
                f"{self.identity.board!r} has {size}; compile it for a board with more, or a smaller "
                "network"
            )

    def read(self, register: str) -> int:
        """A register by name."""
        return self.link.read_register(_OFFSETS[register])

    def write(self, register: str, value: int) -> None:
        """Write a register by name."""
        self.link.write_register(_OFFSETS[register], value)

    def _loaded(self) -> HostProgram:
        if self.program is None:
            raise HostError("No program is loaded; load one before running images")
        return self.program

    def _images(self, program: HostProgram, image: Array | Mapping[str, Array]) -> dict[str, Array]:
        names = [item.name for item in program.inputs]
        given = image if isinstance(image, Mapping) else dict.fromkeys(names[:1], image)
        if set(given) != set(names):
            raise HostError(
                f"The network's inputs are {', '.join(names)}, given are "
                f"{', '.join(sorted(given))}; give an array for each"
            )
        return {name: np.asarray(array) for name, array in given.items()}

    def _stop(self) -> None:
        """End what a host before this one may have left running."""
        if not self.read("CTRL") & Control.IDLE:
            self.write("CTRL", Control.SOFT_RESET)
            for _ in range(self.link.tries):
                if self.read("CTRL") & Control.IDLE:
                    return
            raise HostError(
                f"The accelerator on board {self.identity.board!r} cannot be stopped "
                f"({describe_activity(self.read('ACTIVITY'))}); reset the board"
            )

    def _wait(self) -> None:
        """Wait for the end of a run; the watchdog ends one in which nothing moves."""
        while not self.link.wait(_WAIT_S):
            control = self.read("CTRL")
            if control & Control.IDLE and not self.read("ISR"):
                raise HostError(
                    f"The accelerator on board {self.identity.board!r} stopped before it was done: "
                    "the board was reset; load the program again"
                )
        words = {name: self.read(name) for name in DIAGNOSTIC}
        self.write("ISR", 3)
        if words["STATUS"]:
            reason = describe(words, self._loaded().memory, _illegal)
            raise HostError(f"The run on board {self.identity.board!r} failed: {reason}")


def run_settings(program: HostProgram, memory_base: int) -> dict[str, int]:
    """Registers to write, in this order, before a program that is in memory is started."""
    return {
        "MEM_BASE": memory_base,
        "INSTRUCTIONS": program.instructions,
        "COUNT": program.count,
        "WATCHDOG": _WATCHDOG_CYCLES,
        "ISR": 3,
        "IER": 3,
        "GIE": 1,
    }


def _illegal(reason: int, number: int) -> str:
    return (
        f"instruction {number} is illegal in memory (reason {reason} in docs/isa.md); load the "
        "program again"
    )
