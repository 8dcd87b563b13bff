"""Registers, start, stop, faults, interrupt and counters."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.registers import ID_WORD, REGISTERS, VERSION_WORD, offset
from tilewright.compiler.target import Target
from tilewright.hw.axilite import REGISTER_ADDRESS_BITS

__all__ = ["COUNTERS", "Control"]

COUNTERS = tuple(r.name for r in REGISTERS if r.offset >= offset("CYCLES"))
"""Counter registers; each but the first counts the cycles of one event."""


class Control(wiring.Component):
    """The register file, and what the host starts and stops with it.

    A run begins with `clear` for one cycle, which resets every unit, and then `start`. A fault
    (illegal instruction, bus error) or a soft reset in a run first halts the bus, waits until no
    burst is under way, and then clears the units; the configuration stays. It cannot be written
    while a run lasts.

    Members
    -------
    write_enable, write_address, write_data, write_strobe, read_address, read_data
        From the AXI4-Lite slave.
    start, clear, halt : ``Out(1)``
        To the units and the bus.
    quiet : ``In(1)``
        No burst is under way.
    finished, illegal, read_error, write_error : ``In(1)``
        From the units and the bus.
    base, instructions, count : ``Out(32)``
        Registers for the units.
    cycles, busy_cycles : ``Out(32)``
        Counters for stamps.
    events : ``In(len(COUNTERS) - 1)``
        What the counters after CYCLES count.
    irq : ``Out(1)``
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "write_enable": In(1),
                "write_address": In(REGISTER_ADDRESS_BITS),
                "write_data": In(32),
                "write_strobe": In(4),
                "read_address": In(REGISTER_ADDRESS_BITS),
                "read_data": Out(32),
                "start": Out(1),
                "clear": Out(1),
                "halt": Out(1),
                "quiet": In(1),
                "finished": In(1),
                "illegal": In(1),
                "read_error": In(1),
                "write_error": In(1),
                "base": Out(32),
                "instructions": Out(32),
                "count": Out(32),
                "cycles": Out(32),
                "busy_cycles": Out(32),
                "events": In(len(COUNTERS) - 1),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        done = Signal()
        status = Signal(2)
        idle = Signal()
        soft_reset = Signal()
        start_wanted = Signal()
        m.d.comb += [
            start_wanted.eq(self._written("CTRL") & self.write_strobe[0] & self.write_data[0]),
            soft_reset.eq(self._written("CTRL") & self.write_strobe[0] & self.write_data[4]),
        ]
        done_now, error_now = Signal(), Signal()
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                with m.If(start_wanted & ~soft_reset):
                    m.d.comb += self.clear.eq(1)
                    m.d.sync += [done.eq(0), status.eq(0)]
                    m.next = "START"
            with m.State("START"):
                m.d.comb += self.start.eq(1)
                m.next = "RUN"
                with m.If(soft_reset):
                    m.next = "HALT"
            with m.State("RUN"):
                fault = self.illegal | self.read_error | self.write_error
                with m.If(soft_reset):
                    m.next = "HALT"
                with m.Elif(fault):
                    m.d.sync += status.eq(Mux(self.illegal, 1, Mux(self.read_error, 2, 3)))
                    m.next = "HALT"
                with m.Elif(self.finished):
                    m.d.comb += done_now.eq(1)
                    m.d.sync += done.eq(1)
                    m.next = "IDLE"
            with m.State("HALT"):
                m.d.comb += self.halt.eq(1)
                with m.If(self.quiet):
                    m.d.comb += [self.clear.eq(1), error_now.eq(status != 0)]
                    m.next = "IDLE"
        running = Signal()
        m.d.comb += running.eq(fsm.ongoing("RUN"))
        counters = self._counters(m, running)
        self._registers(m, done, idle, status, done_now, error_now, counters)
        return m

    def _written(self, name: str) -> Signal:
        return self.write_enable & (self.write_address == offset(name))

    def _counters(self, m: Module, running: Signal) -> dict[str, Signal]:
        counters = {name: Signal(32, name=name.lower()) for name in COUNTERS}
        events = (running, *(running & event for event in self.events))
        for counter, event in zip(counters.values(), events, strict=True):
            with m.If(self.start):
                m.d.sync += counter.eq(0)
            with m.Elif(event):
                m.d.sync += counter.eq(counter + 1)
        m.d.comb += [
            self.cycles.eq(counters["CYCLES"]),
            self.busy_cycles.eq(counters["CALC_BUSY"]),
        ]
        return counters

    def _registers(
        self,
        m: Module,
        done: Signal,
        idle: Signal,
        status: Signal,
        done_now: Signal,
        error_now: Signal,
        counters: dict[str, Signal],
    ) -> None:
        target = self._target
        global_enable = Signal()
        enabled, pending = Signal(2), Signal(2)
        strobes = self.write_strobe
        raised = Cat(done_now, error_now)
        acknowledged = Mux(self._written("ISR") & strobes[0], self.write_data[:2], 0)
        m.d.sync += pending.eq((pending & ~acknowledged) | raised)
        m.d.comb += self.irq.eq(global_enable & (enabled & pending).any())
        with m.If(self._written("GIE") & strobes[0]):
            m.d.sync += global_enable.eq(self.write_data[0])
        with m.If(self._written("IER") & strobes[0]):
            m.d.sync += enabled.eq(self.write_data[:2])
        words = {
            "MEM_BASE": self.base,
            "INSTRUCTIONS": self.instructions,
            "COUNT": self.count,
        }
        for name, register in words.items():
            for byte in range(4):
                with m.If(self._written(name) & strobes[byte] & idle):
                    m.d.sync += register.word_select(byte, 8).eq(
                        self.write_data.word_select(byte, 8)
                    )
        values = {
            "CTRL": Cat(~idle, done, idle),
            "GIE": global_enable,
            "IER": enabled,
            "ISR": pending,
            "STATUS": status,
            "ID": ID_WORD,
            "VERSION": VERSION_WORD,
            "ARRAY": target.cols << 16 | target.rows,
            "WIDTHS": target.bus_bytes << 24
            | target.acc_bits << 16
            | target.weight_bits << 8
            | target.act_bits,
            "DEPTHS": (target.acc_depth - 1) << 16 | (target.act_depth - 1),
            "FINGERPRINT": int(target.fingerprint[-8:], 16),
            **words,
            **counters,
        }
        with m.Switch(self.read_address):
            for register in REGISTERS:
                with m.Case(register.offset):
                    m.d.comb += self.read_data.eq(values[register.name])
