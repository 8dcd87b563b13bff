"""The accelerator's top module with its flat AXI ports."""

from __future__ import annotations

from amaranth.hdl import ClockDomain, ClockSignal, DomainRenamer, Module
from amaranth.lib import wiring
from amaranth.lib.wiring import Out
from amaranth.utils import exact_log2

from tilewright.compiler.target import Target
from tilewright.hw.axi import axi4, axi_lite, flat
from tilewright.hw.axilite import REGISTER_ADDRESS_BITS, AxiLiteSlave
from tilewright.hw.control import Control, read_cycles
from tilewright.hw.engine import Engine

__all__ = ["Accelerator"]

_INCR = 1


class Accelerator(wiring.Component):
    """The whole accelerator: an AXI4 master, an AXI4-Lite slave and an interrupt.

    The master reads and writes INCR bursts of the full bus width that never cross 4 KiB, expects
    read data in the order of the requests, and always takes read data and responses. Ports follow
    AXI's names; docs/registers.md describes what stands behind the slave.

    Members
    -------
    m_axi_* : AXI4 master without IDs
    s_axi_* : AXI4-Lite slave, 32 bits
    irq : ``Out(1)``
        Level; see ISR, IER and GIE.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "irq": Out(1),
                **flat("m_axi", axi4(target.bus_bytes)),
                **flat("s_axi", axi_lite(REGISTER_ADDRESS_BITS).flip()),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.slave = slave = AxiLiteSlave(
            registered=self._target.bursts, read_cycles=read_cycles(self._target)
        )
        m.submodules.control = control = Control(self._target)
        engine = Engine(self._target)
        # The engine has no reset but `clear`, which Control holds through a reset of its own. It
        # takes a while to reach the bus, whose valid signals a reset must lower at once.
        m.domains.engine = ClockDomain(reset_less=True)
        m.d.comb += ClockSignal("engine").eq(ClockSignal())
        m.submodules.engine = DomainRenamer("engine")(engine)
        self._connect_slave(m, slave, control)
        self._connect_master(m, engine, control)
        m.d.comb += [
            engine.start.eq(control.start),
            engine.clear.eq(control.clear),
            engine.base.eq(control.base),
            engine.instructions.eq(control.instructions),
            engine.count.eq(control.count),
            engine.cycles.eq(control.cycles),
            engine.busy_cycles.eq(control.busy_cycles),
            engine.halt.eq(control.halt),
            control.quiet.eq(engine.quiet),
            control.finished.eq(engine.finished),
            control.illegal.eq(engine.illegal),
            control.reason.eq(engine.reason),
            control.number.eq(engine.number),
            control.read_fault.eq(engine.read_fault),
            control.read_unit.eq(engine.read_unit),
            control.write_fault.eq(engine.write_fault),
            control.stream_fault.eq(engine.stream_fault),
            control.stream_number.eq(engine.stream_number),
            control.progress.eq(engine.progress),
            control.activity.eq(engine.activity),
            control.events.eq(engine.events),
            self.irq.eq(control.irq),
        ]
        return m

    def _connect_slave(self, m: Module, slave: AxiLiteSlave, control: Control) -> None:
        m.d.comb += [
            slave.aw.p.eq(self.s_axi_awaddr),
            slave.aw.valid.eq(self.s_axi_awvalid),
            self.s_axi_awready.eq(slave.aw.ready),
            slave.w.p.eq(self.s_axi_wdata),
            slave.w_strobe.eq(self.s_axi_wstrb),
            slave.w.valid.eq(self.s_axi_wvalid),
            self.s_axi_wready.eq(slave.w.ready),
            self.s_axi_bresp.eq(slave.b.p),
            self.s_axi_bvalid.eq(slave.b.valid),
            slave.b.ready.eq(self.s_axi_bready),
            slave.ar.p.eq(self.s_axi_araddr),
            slave.ar.valid.eq(self.s_axi_arvalid),
            self.s_axi_arready.eq(slave.ar.ready),
            self.s_axi_rdata.eq(slave.r.p),
            self.s_axi_rvalid.eq(slave.r.valid),
            slave.r.ready.eq(self.s_axi_rready),
            control.write_enable.eq(slave.write_enable),
            control.write_address.eq(slave.write_address),
            control.write_data.eq(slave.write_data),
            control.write_strobe.eq(slave.write_strobe),
            control.read_address.eq(slave.read_address),
            slave.read_data.eq(control.read_data),
        ]

    def _connect_master(self, m: Module, engine: Engine, control: Control) -> None:
        size = exact_log2(self._target.bus_bytes)
        m.d.comb += [
            self.m_axi_araddr.eq(engine.ar.p.address),
            self.m_axi_arlen.eq(engine.ar.p.length),
            self.m_axi_arsize.eq(size),
            self.m_axi_arburst.eq(_INCR),
            self.m_axi_arvalid.eq(engine.ar.valid & ~control.clear),
            engine.ar.ready.eq(self.m_axi_arready),
            engine.r_valid.eq(self.m_axi_rvalid),
            engine.r_data.eq(self.m_axi_rdata),
            engine.r_last.eq(self.m_axi_rlast),
            engine.r_resp.eq(self.m_axi_rresp),
            self.m_axi_rready.eq(1),
            self.m_axi_awaddr.eq(engine.aw.p.address),
            self.m_axi_awlen.eq(engine.aw.p.length),
            self.m_axi_awsize.eq(size),
            self.m_axi_awburst.eq(_INCR),
            self.m_axi_awvalid.eq(engine.aw.valid & ~control.clear),
            engine.aw.ready.eq(self.m_axi_awready),
            self.m_axi_wdata.eq(engine.w.p.data),
            self.m_axi_wstrb.eq(engine.w.p.strobe),
            self.m_axi_wlast.eq(engine.w_last),
            self.m_axi_wvalid.eq(engine.w.valid & ~control.clear),
            engine.w.ready.eq(self.m_axi_wready),
            engine.b_valid.eq(self.m_axi_bvalid),
            engine.b_resp.eq(self.m_axi_bresp),
            self.m_axi_bready.eq(1),
        ]
