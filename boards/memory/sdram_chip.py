"""A chip of SDRAM on a board, for simulation: I/O registers and the model behind them."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

from amaranth.hdl import ClockSignal, Instance, Module, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.boards.memory.sdram import sdram_pins
from tilewright.boards.memory.sdram_timing import SdramTiming

__all__ = ["FAILURE_BITS", "SdramChip", "sdram_models"]

FAILURE_BITS = 8 * 48


class SdramChip(wiring.Component):
    """What stands behind a controller's pins on a board, with its clock in phase or late.

    The registers of the I/O cells are here, so that a READ's first word is on `dq_i` CAS latency + 2
    cycles later, or CAS latency + 1 where the chip's clock lags by part of a cycle. Simulators need the text of `sdram_models` beside it.

    Parameters
    ----------
    timing
        The chip.
    parameters : of sdram_model.v, where they differ from the timing's
    late : the chip's clock lags by part of a cycle

    Members
    -------
    pins : ``In(sdram_pins(timing))``
    failed, failure : ``Out``
        The chip was used against its data sheet; the first violation as text.
    """

    def __init__(
        self,
        timing: SdramTiming,
        parameters: Mapping[str, int] | None = None,
        *,
        late: bool = False,
    ) -> None:
        self._timing, self._parameters, self._late = timing, dict(parameters or {}), late
        super().__init__(
            {
                "pins": In(sdram_pins(timing)),
                "failed": Out(1),
                "failure": Out(FAILURE_BITS),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        cells = {}
        for name, member in sdram_pins(self._timing).members.items():
            pin = getattr(self.pins, name)
            cells[name] = cell = Signal(len(pin), name=f"cell_{name}")
            if member.flow == In:
                m.d.sync += pin.eq(cell)
            elif self._late:  # the chip's edge is in the very cycle of the cell's value
                m.d.comb += cell.eq(pin)
            else:
                m.d.sync += cell.eq(pin)
        m.submodules.model = Instance(
            "sdram_model",
            *(("p", name, value) for name, value in self._values().items()),
            i_clk=ClockSignal(),
            i_cke=cells["cke"],
            **{f"i_{name}_n": ~cells[name] for name in ("cs", "ras", "cas", "we")},
            i_ba=cells["ba"],
            i_a=cells["a"],
            i_dqm=cells["dqm"],
            i_dq_i=cells["dq_o"],
            i_dq_oe=cells["dq_oe"],
            o_dq_o=cells["dq_i"],
            o_failed=self.failed,
            o_failure=self.failure,
        )
        return m

    def _values(self) -> dict[str, int]:
        """Parameters of the model; times in ps."""
        timing = self._timing
        times = ("t_rcd", "t_rp", "t_ras", "t_rc", "t_rfc", "t_wr", "t_rrd", "t_refi", "t_power")
        return {
            **{name.upper(): round(1000 * getattr(timing, name)) for name in times},
            "DATA_BITS": timing.data_bits,
            "ROW_BITS": timing.row_bits,
            "COL_BITS": timing.col_bits,
            "ADDRESS_BITS": max(timing.row_bits, 11),
            "MRD_CYCLES": timing.mrd_cycles,
            "T_CK2": int(1e6 / timing.fastest_mhz[0]),
            "T_CK3": int(1e6 / timing.fastest_mhz[1]),
            "T_AC": round(1000 * timing.t_ac),
            "T_OH": round(1000 * timing.t_oh),
            **self._parameters,
        }


def sdram_models() -> dict[str, str]:
    """File names and texts that must be compiled beside the Verilog of a board with a chip."""
    name = "sdram_model.v"
    return {name: (resources.files("tilewright.sim") / "verilog" / name).read_text()}
