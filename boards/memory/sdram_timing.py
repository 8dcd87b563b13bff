"""What an SDR SDRAM chip asks for, and the chips of the boards."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Self

from tilewright.errors import TilewrightError

__all__ = ["AS4C32M16SB_7", "IS42S16160B_7", "M12L64322A_6", "MT48LC16M16A2_75", "SdramTiming"]
__all__ += ["PADS_NS", "PARTS", "ULX3S_32MB", "W9825G6KH_6"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SdramTiming:
    """Geometry and timing of a chip at a clock; times in ns as in data sheets.

    Attributes
    ----------
    part : name of the chip
    data_bits : of its data pins, 16 or 32
    rows, cols : of each bank, in words of `data_bits`; banks are always four
    t_rcd : ACTIVE to READ or WRITE
    t_rp : PRECHARGE to ACTIVE or REFRESH
    t_ras : ACTIVE to PRECHARGE
    t_rc : ACTIVE to ACTIVE of a bank
    t_rfc : REFRESH to any command
    t_wr : last data of a WRITE to PRECHARGE
    t_rrd : ACTIVE to ACTIVE of another bank
    mrd_cycles : MODE to any command, in clocks
    t_refi : one REFRESH on average
    t_power : clock and supply stable to the first command
    fastest_mhz : fastest clock with CAS latency 2, and with 3
    t_ac, t_oh : output valid after, and held after, a clock edge, with CAS latency 2
    clock_mhz : of the controller and the chip
    """

    part: str
    data_bits: int
    rows: int
    cols: int
    t_rcd: float
    t_rp: float
    t_ras: float
    t_rc: float
    t_rfc: float
    t_wr: float
    t_rrd: float
    mrd_cycles: int = 2
    t_refi: float
    t_power: float = 200_000.0
    fastest_mhz: tuple[float, float]
    t_ac: float = 6.0
    t_oh: float = 2.5
    clock_mhz: float = 100.0

    def __post_init__(self) -> None:
        allowed = {
            "data_bits": (16, 32),
            "rows": tuple(1 << bits for bits in range(6, 14)),
            "cols": (256, 512, 1024),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                raise TilewrightError(
                    f"SDRAM {self.part}: {name} must be one of "
                    f"{', '.join(map(str, values))}, not {getattr(self, name)!r}"
                )
        if not 0 < self.clock_mhz <= max(self.fastest_mhz):
            raise TilewrightError(
                f"SDRAM {self.part}: clock_mhz must be above 0 and at most "
                f"{max(self.fastest_mhz):g}, not {self.clock_mhz:g}"
            )

    def at(self, clock_mhz: float) -> Self:
        """The same chip at another clock."""
        return replace(self, clock_mhz=clock_mhz)

    @property
    def bytes(self) -> int:
        """Size."""
        return 4 * self.rows * self.cols * self.data_bits // 8

    @property
    def cas(self) -> int:
        """The smallest CAS latency that the chip has at this clock."""
        return 2 if self.clock_mhz <= self.fastest_mhz[0] else 3

    @property
    def row_bits(self) -> int:
        """Bits of a row's number, at most the chip's address pins."""
        return self.rows.bit_length() - 1

    @property
    def col_bits(self) -> int:
        """Bits of a column's number."""
        return self.cols.bit_length() - 1

    def read_latency(self, lag: float) -> int:
        """Cycles from a READ to its first word in the register of the input's I/O cell.

        Parameters
        ----------
        lag : share of a cycle, above 0 and up to 1, by which the chip's clock is behind the registers
            of the outputs; 1 is in phase with them

        Raises
        ------
        TilewrightError
            If no edge of the clock surely finds the word: it is too fast for that lag.
        """
        period = 1000 / self.clock_mhz
        late = (self.t_ac + PADS_NS) / period
        latency = math.ceil(self.cas + lag + late - 1e-6)
        if latency > self.cas + 1 + lag + self.t_oh / period:
            fastest = 1000 * (1 - lag % 1) / (self.t_ac + PADS_NS)
            raise TilewrightError(
                f"SDRAM {self.part}: at {self.clock_mhz:g} MHz no clock edge is sure to find what is "
                f"read, with the chip's clock {lag:g} cycles late; use at most {fastest:.1f} MHz"
            )
        return latency

    def cycles(self, nanoseconds: float) -> int:
        """The fewest clocks that last at least so long."""
        return math.ceil(nanoseconds * self.clock_mhz / 1000 - 1e-6)


_64MS = 64e6

PADS_NS = 6.0
"""From an edge of the clock within the FPGA to the chip, and from its data to a register's setup:
what pads and wires take both ways, counted generously."""

MT48LC16M16A2_75 = SdramTiming(
    part="MT48LC16M16A2-75",
    data_bits=16,
    rows=8192,
    cols=512,
    t_rcd=20,
    t_rp=20,
    t_ras=44,
    t_rc=66,
    t_rfc=66,
    t_wr=15,
    t_rrd=15,
    t_refi=_64MS / 8192,
    fastest_mhz=(100, 133),
)
"""Micron, 32 MB."""

ULX3S_32MB = replace(MT48LC16M16A2_75, part="ULX3S-32MB", t_rcd=21, t_rp=21)
"""ULX3S has this chip, AS4C16M16 or IS42S16160G: the slowest of them in every parameter."""

AS4C32M16SB_7 = SdramTiming(
    part="AS4C32M16SB-7",
    data_bits=16,
    rows=8192,
    cols=1024,
    t_rcd=21,
    t_rp=21,
    t_ras=42,
    t_rc=63,
    t_rfc=63,
    t_wr=14,
    t_rrd=14,
    t_refi=_64MS / 8192,
    fastest_mhz=(100, 143),
)
"""Alliance, 64 MB: ULX3S boards that have 64 MB."""

IS42S16160B_7 = SdramTiming(
    part="IS42S16160B-7",
    data_bits=16,
    rows=8192,
    cols=512,
    t_rcd=20,
    t_rp=20,
    t_ras=45,
    t_rc=67.5,
    t_rfc=70,
    t_wr=20,
    t_rrd=15,
    t_refi=_64MS / 8192,
    fastest_mhz=(100, 143),
)
"""ISSI, 32 MB: iCESugar-Pro."""

W9825G6KH_6 = SdramTiming(
    part="W9825G6KH-6",
    data_bits=16,
    rows=8192,
    cols=512,
    t_rcd=18,
    t_rp=18,
    t_ras=42,
    t_rc=60,
    t_rfc=60,
    t_wr=15,
    t_rrd=12,
    t_refi=_64MS / 8192,
    fastest_mhz=(133, 166),
)
"""Winbond, 32 MB: Icepi Zero."""

M12L64322A_6 = SdramTiming(
    part="M12L64322A-6",
    data_bits=32,
    rows=2048,
    cols=256,
    t_rcd=18,
    t_rp=18,
    t_ras=42,
    t_rc=60,
    t_rfc=60,
    t_wr=15,
    t_rrd=12,
    t_refi=_64MS / 4096,
    fastest_mhz=(100, 166),
)
"""ESMT, 8 MB of 32 bits: Colorlight i5 and i9. Those boards tie DQM low: strobes have no effect there,
so that the accelerator, which writes parts of beats, cannot be used with them."""

PARTS = {
    timing.part: timing
    for timing in (
        MT48LC16M16A2_75,
        ULX3S_32MB,
        AS4C32M16SB_7,
        IS42S16160B_7,
        W9825G6KH_6,
        M12L64322A_6,
    )
}
"""Chips by name. Each value is LiteDRAM's (modules.py) or a slower one of the chip's data sheets."""
