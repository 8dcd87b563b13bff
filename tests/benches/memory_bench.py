"""Memories behind checking AXI4 masters (axi_traffic.v), as one component for unit benches.

`play` runs a list of traffic settings on a memory, one after the other, and returns what each took.
The cocotb side is in this module too: it sets, starts and waits, while no Python runs.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import cocotb
from amaranth.hdl import ClockSignal, Instance, Module, Mux, ResetSignal, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from cocotb.clock import Clock
from cocotb.triggers import FallingEdge, ValueChange

from tilewright.hw.axi import axi4
from tilewright.sim.unit import bench_parameters, run_bench

__all__ = ["SETTINGS", "MemoryBench", "play", "stalls"]

HERE = Path(__file__).parent

SETTINGS = {
    "reads": (32, 0),
    "writes": (32, 0),
    "beats": (9, 16),
    "fixed": (1, 0),
    "sequential": (1, 0),
    "streams": (32, 1),
    "span": (32, 4096),
    "base": (32, 0),
    "spread": (32, 1),
    "page_mask": (20, 0xFFFFF),
    "full": (1, 0),
    "outside": (8, 0),
    "outside_address": (32, 0),
    "stalls": (40, 0),
}
"""Bits and default of what axi_traffic.v may be told."""


_FAILURE_BITS = 8 * 48
_RESULTS = ("cycles", "read_beats", "write_beats", "compared")


class MemoryBench(wiring.Component):
    """A memory and a master at each of its buses.

    Parameters
    ----------
    memory : the component
    buses : its AXI4 slave ports of `data_bytes`
    data_bytes : of a beat
    span : bytes that each master keeps in mind
    base_step : how much further in the memory each master's bytes begin than those of the one before
    chip : what has `failed` and `failure` of a chip's model
    """

    def __init__(
        self,
        memory: wiring.Component,
        buses: Sequence[Any],
        data_bytes: int,
        *,
        span: int,
        base_step: int = 0,
        chip: Any = None,
    ) -> None:
        self._chip = chip
        self._memory, self._buses, self._data_bytes = memory, buses, data_bytes
        self._span, self._base_step = span, base_step
        masters = range(len(buses))
        super().__init__(
            {
                "run": In(32),
                "over": Out(1),
                "chip_failure": Out(_FAILURE_BITS),
                "only": In(1),
                **{name: In(bits) for name, (bits, _) in SETTINGS.items()},
                **{f"failure_{n}": Out(_FAILURE_BITS) for n in masters},
                **{f"failure_address_{n}": Out(32) for n in masters},
                **{f"{name}_{n}": Out(32) for n in masters for name in _RESULTS},
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = self._memory
        failed, running = Signal(len(self._buses)), Signal(len(self._buses))
        for n, bus in enumerate(self._buses):
            finished = Signal(32, name=f"finished_{n}")
            settings = {f"i_cfg_{name}": getattr(self, name) for name in SETTINGS}
            settings["i_cfg_base"] = (self.base + n * self._base_step)[:32]
            if n:
                settings["i_cfg_reads"] = Mux(self.only, 0, self.reads)
                settings["i_cfg_writes"] = Mux(self.only, 0, self.writes)
            results = {f"o_{name}": getattr(self, f"{name}_{n}") for name in _RESULTS}
            m.submodules[f"traffic_{n}"] = Instance(
                "axi_traffic",
                p_BUS_BYTES=self._data_bytes,
                p_BYTES=self._span,
                p_SEED=n + 1,
                i_clk=ClockSignal(),
                i_rst=ResetSignal(),
                i_run=self.run,
                o_finished=finished,
                o_failed=failed[n],
                o_failure=getattr(self, f"failure_{n}"),
                o_failure_address=getattr(self, f"failure_address_{n}"),
                **settings,
                **results,
                **_ports(bus, self._data_bytes),
            )
            m.d.comb += running[n].eq(finished != self.run)
        m.d.comb += self.over.eq((running == 0) | failed.any())
        if self._chip is not None:
            m.d.comb += self.chip_failure.eq(self._chip.failure)
            with m.If(self._chip.failed):
                m.d.comb += self.over.eq(1)
        return m


def _ports(bus: Any, data_bytes: int) -> dict[str, Any]:
    """The connections of a master's instance; `bus` is a slave's port, seen from outside."""
    return {
        f"{'o' if member.flow == Out else 'i'}_{name}": getattr(bus, name)
        for name, member in axi4(data_bytes).members.items()
    }


def stalls(ar: int = 0, r: int = 0, aw: int = 0, w: int = 0, b: int = 0) -> int:
    """Of 256 cycles, how many each channel's master waits."""
    return ar | r << 8 | aw << 16 | w << 24 | b << 32


def play(
    bench: MemoryBench,
    runs: Sequence[Mapping[str, int]],
    work_dir: Path,
    *,
    masters: int = 1,
    models: Mapping[str, str] | None = None,
    simulator: str = "icarus",
    build_dir: Path | None = None,
    period_ps: int = 10_000,
    seed: int = 0,
) -> list[dict[str, int]]:
    """Results of each run: cycles, read_beats, write_beats and compared bytes of all masters.

    A run is settings by name; with "only" the first master plays it alone. `first_done` is the cycle
    at which the first master to be done was done.

    Raises
    ------
    SimulationError
        If the memory gave a wrong answer; the message says which.
    """
    run_bench(
        bench,
        "memory_bench",
        work_dir=work_dir,
        build_dir=build_dir,
        simulator=simulator,
        parameters={"runs": [dict(run) for run in runs], "masters": masters, "period": period_ps},
        models={"axi_traffic.v": (HERE / "axi_traffic.v").read_text(), **(models or {})},
        seed=seed,
    )
    results: list[dict[str, int]] = json.loads((work_dir / "traffic.json").read_text())
    return results


def _text(port: Any) -> str:
    raw: bytes = port.value.to_unsigned().to_bytes(_FAILURE_BITS // 8, "big")
    return raw.lstrip(b"\0").decode().strip()


@cocotb.test(timeout_time=100, timeout_unit="ms")
async def play_traffic(dut: Any) -> None:
    """Make the runs of the bench parameters; what they took goes to traffic.json."""
    made = bench_parameters()
    masters = range(made["masters"])
    for name in SETTINGS:
        getattr(dut, name).value = 0
    dut.run.value = 0
    Clock(dut.clk, made["period"], unit="ps").start()
    dut.rst.value = 1
    for _ in range(3):
        await FallingEdge(dut.clk)
    dut.rst.value = 0
    results = []
    for number, run in enumerate(made["runs"], start=1):
        for name, (_, default) in SETTINGS.items():
            getattr(dut, name).value = run.get(name, default)
        dut.only.value = run.get("only", 0)
        dut.run.value = number
        await FallingEdge(dut.clk)
        while dut.over.value != 1:
            await ValueChange(dut.over)
        message = _text(dut.chip_failure)
        assert not message, f"run {number}, chip: {message}"
        for n in masters:
            message = _text(getattr(dut, f"failure_{n}"))
            where = getattr(dut, f"failure_address_{n}").value.to_unsigned()
            assert not message, f"run {number}, master {n}: {message} ({where:#x})"
        results.append(
            {name: [int(getattr(dut, f"{name}_{n}").value) for n in masters] for name in _RESULTS}
        )
    merged = [
        {
            **{name: sum(values) for name, values in result.items()},
            "cycles": max(result["cycles"]),
            "first_done": min(result["cycles"]),
        }
        for result in results
    ]
    Path("traffic.json").write_text(json.dumps(merged))
