"""Commands at the pins of SDRAM chips, clock by clock: what is just allowed, and what is not.

A script is played on a chip of its own (sdram_model.v) at 100 MHz, one letter a clock. Upper case goes
to a bank of all, a digit behind it says which:

    .  nothing          P  PRECHARGE of all banks    A0 ACTIVE         w0 WRITE
    k  CKE is low       R  REFRESH                   p0 PRECHARGE      x0 WRITE, nobody drives the data
    t  BURST TERMINATE  M  MODE                      r0 READ           q0 READ with DQM
    v  data are driven  K  REFRESH without CKE       a0 READ with auto precharge
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cocotb
from amaranth.hdl import ClockSignal, Const, Instance, Module, Signal
from amaranth.lib import data, wiring
from amaranth.lib.wiring import Out
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, Timer

__all__ = ["SCRIPTS", "Script", "ScriptedChips"]

FAILURE_BITS = 8 * 48
CYCLES = 160

UP = ". . . . . P . R ...... R ...... "
READY = UP + "M . "
"""Power-up as short as it may be: tRFC is 7 clocks, tRP, tRCD, tWR, tRRD and tMRD are 2, tRAS 5."""


@dataclass(frozen=True, slots=True)
class Script:
    """Commands, the failure they must cause, and what differs in the chip or its mode.

    Attributes
    ----------
    mode : CAS latency in bits 4 to 6, burst length of 2**n in bits 0 to 2
    """

    commands: str
    failure: str = ""
    mode: int = 0x20
    chip: dict[str, int] = field(default_factory=dict)


_ROW = "tRCD: READ or WRITE too early after ACTIVE"
_REFRESHED = "tRFC: too early after REFRESH"

SCRIPTS = {
    "all that is allowed, as early as it is": Script(
        READY + "A0 . r0 A1 . p0 . A0 ... w1 w0 . P . R ...... R ...... A3 . r3 t"
    ),
    "a burst of four, read and written": Script(
        READY + "A0 . r0 ........ w0 vvv . P . R", mode=0x22
    ),
    "CAS latency 3": Script(READY + "A0 . r0 .... w0", mode=0x30),
    "a command too early after power-up": Script(
        ". P", "tPOWER: a command too early after power-up", chip={"T_POWER": 50_000}
    ),
    "REFRESH first": Script("..... R", "REFRESH before all banks were precharged"),
    "MODE first": Script("..... M", "MODE before all banks were precharged"),
    "one refresh": Script("..... P . R ...... M", "MODE before two refreshes"),
    "no mode": Script(UP + "A0", "ACTIVE before the mode register was set"),
    "tMRD": Script(UP + "M A0", "tMRD: too early after MODE"),
    "tRFC to ACTIVE": Script(READY + "R ..... A0", _REFRESHED),
    "tRFC to REFRESH": Script(READY + "R ..... R", _REFRESHED),
    "tRCD to READ": Script(READY + "A0 r0", _ROW),
    "tRCD to WRITE": Script(READY + "A2 w2", _ROW),
    "tRP to ACTIVE": Script(READY + "A0 ....... p0 A0", "tRP: too early after PRECHARGE"),
    "tRP to REFRESH": Script(READY + "A0 ....... P R", "tRP: too early after PRECHARGE"),
    "tRAS": Script(READY + "A0 ... p0", "tRAS: PRECHARGE too early after ACTIVE"),
    "tRC": Script(
        READY + "A0 .... p0 . A0", "tRC: ACTIVE too early after ACTIVE", chip={"T_RC": 80_000}
    ),
    "tRRD": Script(READY + "A0 A1", "tRRD: ACTIVE too early after another bank's"),
    "tWR": Script(READY + "A0 ... w0 p0", "tWR: PRECHARGE too early after write data"),
    "a burst written and cut": Script(
        READY + "A0 ... w0 v p0",
        "tWR: PRECHARGE within a write burst",
        mode=0x22,
        chip={"T_WR": 10_000},
    ),
    "no refresh for two intervals": Script(
        READY + "." * 110, "tREFI: REFRESH is overdue", chip={"T_REFI": 500_000}
    ),
    "a refresh in each interval": Script(
        READY + ("R" + "." * 48) * 2 + "R", chip={"T_REFI": 500_000}
    ),
    "ACTIVE in an open bank": Script(
        READY + "A0 ........ A0", "a bank is open that must be closed"
    ),
    "REFRESH with an open bank": Script(
        READY + "A0 ........ R", "a bank is open that must be closed"
    ),
    "READ in a closed bank": Script(READY + "A0 . r1", "READ or WRITE in a closed bank"),
    "auto precharge": Script(READY + "A0 . a0", "auto precharge is not modelled"),
    "CAS latency 1": Script(READY, "the mode's CAS latency is neither 2 nor 3", mode=0x10),
    "a burst of a page": Script(READY, "the mode's burst is not sequential of 1 to 8", mode=0x27),
    "a reserved mode": Script(READY, "the mode has reserved bits", mode=0x220),
    "a clock too fast": Script(
        READY, "tCK: the clock is too fast for the CAS latency", chip={"T_CK2": 12_000}
    ),
    "a command without CKE": Script(READY + "K", "a command without CKE"),
    "both sides drive": Script(READY + "A0 . r0 . w0", "both sides drive the data pins"),
    "no clock to turn the pins": Script(READY + "A0 . r0 . . w0", "both sides drive the data pins"),
    "a clock to turn the pins": Script(READY + "A0 . r0 . . . w0"),
    "nobody drives": Script(READY + "A0 . x0", "nobody drives the data of a WRITE"),
    "DQM in a READ": Script(READY + "A0 . q0", "DQM masks data that are read"),
}

_PINS = data.StructLayout(
    {"ras": 1, "cas": 1, "we": 1, "cke": 1, "oe": 1, "dqm": 1, "ba": 2, "a": 13}
)
_COMMANDS = {
    ".": "",
    "k": "",
    "v": "",
    "t": "we",
    "P": "ras we",
    "p": "ras we",
    "R": "ras cas",
    "K": "ras cas",
    "M": "ras cas we",
    "A": "ras",
    "r": "cas",
    "q": "cas",
    "a": "cas",
    "w": "cas we",
    "x": "cas we",
}


def _pins(letter: str, bank: str, mode: int) -> dict[str, int]:
    pins = dict.fromkeys(_COMMANDS[letter].split(), 1)
    pins["cke"] = letter not in "kK"
    pins["oe"] = letter in "vw"
    pins["dqm"] = letter == "q"
    pins["ba"] = int(bank or 0)
    pins["a"] = {"P": 1 << 10, "a": 1 << 10, "M": mode, "A": 5}.get(letter, 0)
    return pins


class ScriptedChips(wiring.Component):
    """A chip for each script, which a register as long as the script plays."""

    def __init__(self) -> None:
        super().__init__({f"failure_{n}": Out(FAILURE_BITS) for n in range(len(SCRIPTS))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        for n, script in enumerate(SCRIPTS.values()):
            letters = re.findall(r"([.kvtPRKMAprqawx])(\d?)", script.commands)
            assert len(letters) < CYCLES
            rows = [_pins(letter, bank, script.mode) for letter, bank in letters]
            rows += [_pins(".", "", 0)] * 4
            # The pins' values of all clocks, moved on by one a clock; the last one stays.
            coming = Signal(data.ArrayLayout(_PINS, len(rows)), init=rows, name=f"coming_{n}")
            m.d.sync += coming[:-1].eq(coming[1:])
            pins = coming[0]
            m.submodules[f"chip_{n}"] = Instance(
                "sdram_model",
                p_ROW_BITS=6,
                p_COL_BITS=8,
                **{
                    f"p_{name}": value for name, value in {"T_POWER": 20_000, **script.chip}.items()
                },
                i_clk=ClockSignal(),
                i_cke=pins.cke,
                i_cs_n=Const(0, 1),
                i_ras_n=~pins.ras,
                i_cas_n=~pins.cas,
                i_we_n=~pins.we,
                i_ba=pins.ba,
                i_a=pins.a,
                i_dqm=pins.dqm.replicate(2),
                i_dq_i=Const(0x1234, 16),
                i_dq_oe=pins.oe,
                o_failure=getattr(self, f"failure_{n}"),
            )
        return m


@cocotb.test(timeout_time=1, timeout_unit="ms")
async def play_scripts(dut: Any) -> None:
    """Play all; what the chips say goes to failures.json."""
    Clock(dut.clk, 10, unit="ns").start()
    dut.rst.value = 1
    await FallingEdge(dut.clk)
    dut.rst.value = 0
    await Timer(10 * CYCLES, unit="ns")
    failures = {
        name: getattr(dut, f"failure_{n}").value.to_unsigned().to_bytes(48, "big").lstrip(b"\0")
        for n, name in enumerate(SCRIPTS)
    }
    Path("failures.json").write_text(json.dumps({k: v.decode() for k, v in failures.items()}))
