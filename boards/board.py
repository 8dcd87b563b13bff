"""What a board is: a part with its clock, memory and link, and the accelerator that fits it."""

from __future__ import annotations

import importlib
import re
from dataclasses import dataclass
from typing import Any, Self

from tilewright.boards.clocks import CHIP_LAG, Pll, find_pll
from tilewright.boards.host.protocol import Identity
from tilewright.boards.link.flash_reader import FLASH_ALIGNMENT
from tilewright.boards.memory.sdram_timing import SdramTiming
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError

__all__ = ["MEMORY_KINDS", "Board", "Memory"]

MEMORY_KINDS = ("sdram", "spram", "block")
"""External SDR SDRAM; the four 32 KiB blocks of an UltraPlus; block RAM of the part."""

_FAMILIES = ("ecp5", "ice40", "gowin")
_NAME = re.compile(r"[a-z][a-z0-9-]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """The memory that programs and feature maps are in.

    Attributes
    ----------
    kind : one of MEMORY_KINDS
    size : bytes, a multiple of 4096
    chip : of an SDRAM: its geometry and timing
    """

    kind: str
    size: int
    chip: SdramTiming | None = None

    @classmethod
    def sdram(cls, chip: SdramTiming) -> Self:
        """All of an SDRAM."""
        return cls(kind="sdram", size=chip.bytes, chip=chip)


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """A board whose bitstream is built, and what is in that.

    Attributes
    ----------
    name : on the command line
    title : as its maker calls it
    part : the FPGA
    family : "ecp5", "ice40" or "gowin": the tools, the PLL and the multiplier blocks
    platform : module and class of amaranth-boards, "module:Class"
    target : the accelerator, its `clock_mhz` the clock of everything on the board
    input_mhz : of the oscillator that the PLL starts from
    memory : where programs and feature maps are
    baud : of the host link
    loader : name that openFPGALoader has for the board
    reason : why the array has this size
    flash_address : where the script of power-up is in the board's flash; None: the bitstream holds
        the self-test in block RAM
    seeds : of the placement, tried in this order until one meets the clock

    Raises
    ------
    TilewrightError
        If something is out of range or does not go together.
    """

    name: str
    title: str
    part: str
    family: str
    platform: str
    target: Target
    input_mhz: float
    memory: Memory
    baud: int
    loader: str
    reason: str
    flash_address: int | None = None
    seeds: tuple[int, ...] = (1, 2, 3)

    def __post_init__(self) -> None:
        self._check(_NAME.fullmatch(self.name), "name", self.name, "a word in lower case")
        self._check(self.family in _FAMILIES, "family", self.family, ", ".join(_FAMILIES))
        kind, size = self.memory.kind, self.memory.size
        self._check(kind in MEMORY_KINDS, "memory.kind", kind, ", ".join(MEMORY_KINDS))
        self._check(
            size > 0 and size % 4096 == 0,
            "memory.size",
            size,
            "a multiple of 4096",
        )
        self._check(
            (self.memory.chip is not None) == (kind == "sdram"),
            "memory.chip",
            self.memory.chip,
            "a chip for an SDRAM, and None for memory within the part",
        )
        self._check(
            kind != {"ice40": "sdram"}.get(self.family, "spram"),
            "memory.kind",
            kind,
            "one that the family has",
        )
        self._check(
            self.target.multiplier in ("generic", self.family),
            "target.multiplier",
            self.target.multiplier,
            f"generic or {self.family}",
        )
        self._check(
            4 * self.baud <= self.target.clock_mhz * 1e6 and self.baud >= 9600,
            "baud",
            self.baud,
            f"9600 to {int(self.target.clock_mhz * 250_000)}, a quarter of the clock",
        )
        self._check(self.seeds, "seeds", self.seeds, "one number at least")
        self._check(
            self.flash_address is None
            or (0 < self.flash_address < 1 << 24 and self.flash_address % FLASH_ALIGNMENT == 0),
            "flash_address",
            self.flash_address,
            f"a multiple of {FLASH_ALIGNMENT:#x} below 0x1000000, or None",
        )
        find_pll(self.family, self.input_mhz, self.target.clock_mhz)
        if self.memory.chip is not None:
            self.memory.chip.at(self.target.clock_mhz).read_latency(CHIP_LAG)

    def _check(self, good: object, what: str, found: object, allowed: str) -> None:
        if not good:
            raise TilewrightError(
                f"Board {self.name!r}: {what} must be {allowed}, not {found!r}; correct the "
                "board's file"
            )

    @property
    def pll(self) -> Pll:
        """Dividers of the PLL that makes the clock."""
        return find_pll(self.family, self.input_mhz, self.target.clock_mhz)

    def identity(self, baud: int | None = None) -> Identity:
        """What the board says of itself over its link; `baud` where it is not the board's."""
        return Identity(
            board=self.name,
            clock_hz=round(self.target.clock_mhz * 1e6),
            baud=baud or self.baud,
            data_bytes=self.target.bus_bytes,
            memory_bytes=self.memory.size,
        )

    def make_platform(self) -> Any:
        """A new instance of the board's class in amaranth-boards.

        Raises
        ------
        TilewrightError
            If amaranth-boards is not installed.
        """
        module, _, name = self.platform.partition(":")
        try:
            return getattr(importlib.import_module(f"amaranth_boards.{module}"), name)()
        except ModuleNotFoundError:
            raise TilewrightError(
                f"Board {self.name!r} needs the package amaranth-boards, which is missing: "
                "pip install 'tilewright[boards]'"
            ) from None
