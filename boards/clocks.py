"""The PLL of each family: its dividers, and the clock and reset of everything on the board."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import ClockSignal, Const, Elaboratable, Instance, Module, Signal
from amaranth.lib import io
from amaranth.lib.cdc import ResetSynchronizer

from tilewright.errors import TilewrightError

__all__ = ["CHIP_LAG", "ClockGenerator", "Pll", "find_pll"]

CHIP_LAG = 0.25
"""Share of a cycle by which the clock of a memory chip lags, see ClockGenerator."""

_EXACT = 1e-6


@dataclass(frozen=True, slots=True)
class Pll:
    """Output = input / `reference` * `feedback`; the oscillator runs at output * `output`."""

    reference: int
    feedback: int
    output: int


@dataclass(frozen=True, slots=True)
class _Limits:
    """What a family's PLL can do: MHz of phase detector and oscillator, divider ranges."""

    detector: tuple[float, float]
    oscillator: tuple[float, float]
    reference: range
    feedback: range
    outputs: tuple[int, ...]


_LIMITS = {
    # FPGA-DS-02012; feedback from the output.
    "ecp5": _Limits((3.125, 400), (400, 800), range(1, 129), range(1, 81), tuple(range(1, 129))),
    # FPGA-DS-02008; "simple" feedback from the oscillator, so that feedback counts its dividers.
    "ice40": _Limits((10, 133), (533, 1066), range(1, 17), range(1, 129), (2, 4, 8, 16, 32, 64)),
    # DS117, DS226: what GW1NR-9 C6/I5 and GW2A-18 C8/I7 have in common; feedback from the output.
    "gowin": _Limits(
        (3, 400),
        (500, 1200),
        range(1, 65),
        range(1, 65),
        (2, 4, 8, 16, 32, 48, 64, 80, 96, 112, 128),
    ),
}


def find_pll(family: str, input_mhz: float, output_mhz: float) -> Pll:
    """Dividers that make `output_mhz`, the oscillator in the middle of its range.

    Raises
    ------
    TilewrightError
        If the PLL cannot make that clock exactly; the message names the nearest that it can.
    """
    limits = _LIMITS[family]
    middle = sum(limits.oscillator) / 2
    nearest, _, pll = min(
        _reachable(limits, input_mhz, simple=family == "ice40"),
        key=lambda found: (abs(found[0] - output_mhz), abs(found[1] - middle)),
    )
    if abs(nearest - output_mhz) > _EXACT * output_mhz:
        raise TilewrightError(
            f"A PLL of family {family!r} cannot make {output_mhz:g} MHz of {input_mhz:g} MHz; "
            f"the nearest clock that it can make is {nearest:g} MHz"
        )
    return pll


def _reachable(
    limits: _Limits, input_mhz: float, *, simple: bool
) -> Iterator[tuple[float, float, Pll]]:
    """Clock, oscillator and dividers of all settings within the limits."""
    low, high = limits.oscillator
    for reference in limits.reference:
        detector = input_mhz / reference
        if not limits.detector[0] <= detector <= limits.detector[1]:
            continue
        for feedback in limits.feedback:
            for output in limits.outputs:
                oscillator = detector * feedback * (1 if simple else output)
                if low <= oscillator <= high:
                    yield oscillator / output, oscillator, Pll(reference, feedback, output)


class ClockGenerator(Elaboratable):
    """Clock and reset of the domain `sync`: a PLL on the board's oscillator; reset until it locks.

    On an ECP5 also the clock of a domain `late`, which lags by a quarter: for the clock pin of a
    memory, which then sees commands in the middle of a cycle.

    Parameters
    ----------
    family : "ecp5", "ice40" or "gowin"
    pll : its dividers
    input_mhz, output_mhz : the clocks before and behind it
    """

    def __init__(self, family: str, pll: Pll, input_mhz: float, output_mhz: float) -> None:
        self._family = family
        self._pll = pll
        self._input_mhz = input_mhz
        self._output_mhz = output_mhz

    def elaborate(self, platform: Any) -> Module:
        m = Module()
        clock, locked = Signal(name="pll_clock"), Signal(name="pll_locked")
        pin = platform.request(platform.default_clk, dir="-")
        if self._family == "ice40":
            # This PLL's input is the pad itself, which then cannot have a buffer of its own.
            m.submodules.pll = self._ice40(pin.io, clock, locked)
        else:
            m.submodules.buffer = buffer = io.Buffer("i", pin)
            if self._family == "ecp5":
                m.submodules.pll = self._ecp5(buffer.i, clock, ClockSignal("late"), locked)
            else:
                m.submodules.pll = self._gowin(buffer.i, clock, locked)
        m.d.comb += ClockSignal().eq(clock)
        m.submodules.reset = ResetSynchronizer(~locked)
        return m

    def _ecp5(self, source: Any, clock: Signal, late: Any, locked: Signal) -> Instance:
        pll = self._pll
        phase = pll.output // 2 - 1  # of edges in phase, in cycles of the oscillator (ecppll)
        lag, eighths = divmod(2 * pll.output, 8)  # a quarter of the output's cycle
        return Instance(
            "EHXPLLL",
            a_FREQUENCY_PIN_CLKI=f"{self._input_mhz:g}",
            a_FREQUENCY_PIN_CLKOP=f"{self._output_mhz:g}",
            a_FREQUENCY_PIN_CLKOS=f"{self._output_mhz:g}",
            a_ICP_CURRENT="12",
            a_LPF_RESISTOR="8",
            a_MFG_ENABLE_FILTEROPAMP="1",
            a_MFG_GMCREF_SEL="2",
            p_CLKI_DIV=pll.reference,
            p_CLKFB_DIV=pll.feedback,
            p_CLKOP_DIV=pll.output,
            p_CLKOP_CPHASE=phase,
            p_CLKOS_ENABLE="ENABLED",
            p_CLKOS_DIV=pll.output,
            p_CLKOS_CPHASE=phase + lag,
            p_CLKOS_FPHASE=eighths,
            p_FEEDBK_PATH="CLKOP",
            i_CLKI=source,
            i_CLKFB=clock,
            i_RST=Const(0),
            i_STDBY=Const(0),
            i_PHASESEL0=Const(0),
            i_PHASESEL1=Const(0),
            i_PHASEDIR=Const(1),
            i_PHASESTEP=Const(1),
            i_PHASELOADREG=Const(1),
            i_PLLWAKESYNC=Const(0),
            i_ENCLKOP=Const(0),
            o_CLKOP=clock,
            o_CLKOS=late,
            o_LOCK=locked,
        )

    def _ice40(self, pad: Any, clock: Signal, locked: Signal) -> Instance:
        pll = self._pll
        detector = self._input_mhz / pll.reference
        # Loop filter by the phase detector's clock, as icepll chooses it.
        filters = sum(detector >= limit for limit in (17, 26, 44, 66, 101)) + 1
        return Instance(
            "SB_PLL40_PAD",
            p_FEEDBACK_PATH="SIMPLE",
            p_DIVR=Const(pll.reference - 1, 4),
            p_DIVF=Const(pll.feedback - 1, 7),
            p_DIVQ=Const(pll.output.bit_length() - 1, 3),
            p_FILTER_RANGE=Const(filters, 3),
            i_PACKAGEPIN=pad,
            i_RESETB=Const(1),
            i_BYPASS=Const(0),
            o_PLLOUTGLOBAL=clock,
            o_LOCK=locked,
        )

    def _gowin(self, source: Any, clock: Signal, locked: Signal) -> Instance:
        pll = self._pll
        return Instance(
            "rPLL",
            p_FCLKIN=f"{self._input_mhz:g}",
            p_IDIV_SEL=pll.reference - 1,
            p_FBDIV_SEL=pll.feedback - 1,
            p_ODIV_SEL=pll.output,
            p_DYN_SDIV_SEL=2,
            i_CLKIN=source,
            i_CLKFB=Const(0),
            i_RESET=Const(0),
            i_RESET_P=Const(0),
            i_FBDSEL=Const(0, 6),
            i_IDSEL=Const(0, 6),
            i_ODSEL=Const(0, 6),
            i_PSDA=Const(0, 4),
            i_DUTYDA=Const(0, 4),
            i_FDLY=Const(0, 4),
            o_CLKOUT=clock,
            o_LOCK=locked,
        )
