"""Registers, start, stop, faults, interrupt and counters."""

from __future__ import annotations

from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import exact_log2

from tilewright.compiler.capabilities import capability_words
from tilewright.compiler.registers import (
    ACTIVITY,
    FAULT_FIELDS,
    PAGE,
    REGISTERS,
    WATCHDOG_BITS,
    Status,
    StreamFault,
    Unit,
    offset,
)
from tilewright.compiler.target import Target
from tilewright.hw.axilite import REGISTER_ADDRESS_BITS
from tilewright.hw.burst_log import BUS_FAULT

__all__ = ["CLEAR_CYCLES", "COUNTERS", "Control", "read_cycles"]

CLEAR_CYCLES = 16
"""Cycles in which `clear` reaches every unit; a power of two."""

COUNTERS = tuple(r.name for r in REGISTERS if r.offset >= offset("CYCLES"))
"""Counter registers; each but the first counts the cycles of one event."""

_WATCHDOG_STEP = 16
"""Bits of WATCHDOG that are 0 on targets without counters."""

_READ_GROUPS = (2, 4)
"""With short stages: so many registers are put together in a cycle, so many of the results in the next."""


def read_cycles(target: Target) -> int:
    """Cycles from a register's address to its value."""
    return 2 + len(_READ_GROUPS) if target.short_stages else 1


class _HostWrites:
    """What the host writes, `registered` with a bit for each register a cycle later.

    Attributes
    ----------
    data, strobe : of the write
    """

    data: Value
    strobe: Value

    def __init__(self, m: Module, control: Control, *, registered: bool) -> None:
        self._m, self._control, self._registered = m, control, registered
        self.data, self.strobe = control.write_data, control.write_strobe
        self._written: dict[str, Signal] = {}
        if registered:
            data, strobe = (
                Signal.like(self.data, name="data"),
                Signal.like(self.strobe, name="strobe"),
            )
            m.d.sync += [data.eq(self.data), strobe.eq(self.strobe)]
            self.data, self.strobe = data, strobe

    def written(self, name: str) -> Value:
        """Whether register `name` is written."""
        control = self._control
        if self._registered and name in self._written:
            return self._written[name]
        written = control.write_enable & (control.write_address == offset(name))
        if not self._registered:
            return written
        later = self._written[name] = Signal(name=f"written_{name.lower()}")
        self._m.d.sync += later.eq(written)
        return later


class Control(wiring.Component):
    """The register file, and what the host starts and stops with it.

    Outside of a run `clear` keeps every unit in reset, and a run begins with CLEAR_CYCLES cycles of
    it and as many after it, so that it may reach the units one after the other; then comes `start`.
    As long as `clear` lasts so does `halt`, since the bus is not the first that it reaches.

    A run ends by FINISH, a fault (illegal instruction, bus error, watchdog) or a soft reset; either
    first halts the bus, waits until no burst is under way, and then clears the units; the
    configuration stays. It cannot be written while a run lasts. If the bus never answers, the
    watchdog raises the interrupt, but the accelerator stays busy: only a reset of both helps then.

    Members
    -------
    write_enable, write_address, write_data, write_strobe, read_address, read_data
        From the AXI4-Lite slave.
    start, clear, halt : ``Out(1)``
        To the units and the bus.
    quiet : ``In(1)``
        No burst is under way.
    finished : ``In(1)``
        FINISH is done.
    illegal, reason, number : ``In``
        From the fetch unit.
    read_fault, read_unit, write_fault : ``In``
        Bus errors; the address may come a cycle after the error.
    stream_fault, stream_number : ``In(StreamFault)``, ``In(32)``
        From the WEIGHTS unit: what is wrong with which instruction's stream.
    progress, activity : ``In``
        What the watchdog and the ACTIVITY register look at.
    base, instructions, count : ``Out(address_bits)``
        Registers for the units; what the host writes above is lost.
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
                "clear": Out(1, init=1),
                "halt": Out(1, init=1),
                "quiet": In(1),
                "finished": In(1),
                "illegal": In(1),
                "reason": In(8),
                "number": In(32),
                "read_fault": In(BUS_FAULT),
                "read_unit": In(range(len(Unit))),
                "write_fault": In(BUS_FAULT),
                "stream_fault": In(StreamFault),
                "stream_number": In(32),
                "progress": In(1),
                "activity": In(len(ACTIVITY)),
                "base": Out(target.address_bits),
                "instructions": Out(target.address_bits),
                "count": Out(target.address_bits),
                "cycles": Out(32),
                "busy_cycles": Out(32),
                "events": In(len(COUNTERS) - 1),
                "irq": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        done = Signal()
        status = Signal(Status)
        idle = Signal()
        soft_reset = Signal()
        start_wanted = Signal()
        host = _HostWrites(m, self, registered=self._target.short_stages)
        m.d.comb += [
            start_wanted.eq(host.written("CTRL") & host.strobe[0] & host.data[0]),
            soft_reset.eq(host.written("CTRL") & host.strobe[0] & host.data[4]),
        ]
        done_now, error_now = Signal(), Signal()
        finishing = Signal()
        reported = Signal()  # the interrupt has been raised, though the bus is not quiet
        watchdog, step = Signal(WATCHDOG_BITS), 0 if self._target.counters else _WATCHDOG_STEP
        running, halting = Signal(), Signal()
        clearing = Signal()  # some cycles before the start
        expired = self._expired(m, watchdog[step:], running | halting)
        # What goes to every register, or comes from the far ends of the bus, is a register itself.
        quiet = Signal()
        preparing = Signal(range(2 * CLEAR_CYCLES))
        m.d.sync += [quiet.eq(self.quiet & self.halt), self.halt.eq(self.clear)]
        # So are the reasons to end a run, in the order of their importance.
        heard = {
            Status.ILLEGAL: self.illegal,
            Status.READ_ERROR: self.read_fault.error,
            Status.WRITE_ERROR: self.write_fault.error,
            Status.WEIGHT_STREAM: self.stream_fault != StreamFault.NONE,
            Status.WATCHDOG: expired,
        }
        faults, finished, ending = Signal(len(heard)), Signal(), Signal()
        m.d.sync += [
            faults.eq(Cat(heard.values())),
            finished.eq(self.finished),
            ending.eq(Cat(heard.values()).any() | self.finished),
        ]
        with m.FSM() as fsm:
            with m.State("IDLE"):
                m.d.comb += idle.eq(1)
                with m.If(start_wanted & ~soft_reset):
                    m.d.sync += [done.eq(0), status.eq(Status.GOOD)]
                    m.d.sync += [finishing.eq(0), reported.eq(0), preparing.eq(0)]
                    m.next = "CLEAR"
            with m.State("CLEAR"):
                m.d.sync += [preparing.eq(preparing + 1), self.clear.eq(~preparing[-1])]
                with m.If(preparing.all()):
                    m.next = "START"
                with m.If(soft_reset):
                    m.next = "HALT"
            with m.State("START"):
                m.d.comb += self.start.eq(1)
                m.next = "RUN"
                with m.If(soft_reset):
                    m.next = "HALT"
            with m.State("RUN"):
                with m.If(soft_reset | ending):
                    m.next = "HALT"
                with m.If(~soft_reset):
                    m.d.sync += finishing.eq(finished)
                    # The first one wins.
                    for code, fault in reversed(list(zip(heard, faults, strict=True))):
                        with m.If(fault):
                            m.d.sync += [status.eq(code), finishing.eq(0)]
            with m.State("HALT"):
                m.d.sync += self.halt.eq(1)
                with m.If(quiet):
                    failed = status != Status.GOOD
                    m.d.comb += [
                        done_now.eq(finishing & ~failed),
                        error_now.eq(failed & ~reported),
                    ]
                    m.d.sync += [self.clear.eq(1), done.eq(done_now)]
                    m.next = "IDLE"
                with m.Elif(expired & ~reported):
                    m.d.comb += error_now.eq(1)
                    m.d.sync += reported.eq(1)
                    with m.If(status == Status.GOOD):
                        m.d.sync += status.eq(Status.WATCHDOG)
        m.d.comb += [running.eq(fsm.ongoing("RUN") & ~ending), halting.eq(fsm.ongoing("HALT"))]
        m.d.sync += clearing.eq(fsm.ongoing("CLEAR") & ~preparing[-1])
        values = {
            "CTRL": Cat(~idle, done, idle),
            "STATUS": status,
            "WATCHDOG": watchdog,
            **self._fault(m, status, error_now, running, clearing),
            **self._counters(m, running, clearing),
            **capability_words(self._target),
        }
        self._registers(m, host, idle, Cat(done_now, error_now), values)
        return m

    def _expired(self, m: Module, watchdog: Value, counts: Value) -> Signal:
        """Whether nothing has moved for as many cycles, or steps, as `watchdog` says.

        With short stages a cycle later, and what is left is compared when it changes.
        """
        left = Signal(len(watchdog))
        tick = Signal(init=1)
        if not self._target.counters:
            m.d.sync += tick.eq(self.cycles[:_WATCHDOG_STEP].all())
        expired = Signal()
        some, none, armed = left != 0, left == 0, watchdog != 0
        reload, step = [left.eq(watchdog)], [left.eq(left - 1)]
        if self._target.short_stages:
            counted, some_left, was_armed = Signal(), Signal(), Signal()
            m.d.sync += [counted.eq(counts), was_armed.eq(armed)]
            reload.append(some_left.eq(was_armed))
            step.append(some_left.eq(left != 1))
            counts, some, none, armed = counted, some_left, ~some_left, was_armed
        with m.If(self.progress | expired | ~counts):
            m.d.sync += reload
        with m.Elif(some & tick):
            m.d.sync += step
        m.d.sync += expired.eq(none & armed & counts & ~self.progress)
        return expired

    def _fault(
        self, m: Module, status: Signal, error_now: Signal, running: Signal, clearing: Signal
    ) -> dict[str, Value]:
        """Registers that say what went wrong, kept from the fault to the next start."""
        short = self._target.short_stages
        unit, response, reason = (
            Signal(w, name=f"fault_{n}", reset_less=short) for n, (_, w) in FAULT_FIELDS.items()
        )
        bits = self._target.address_bits  # instructions are fewer
        address = Signal(bits, name="fault_address", reset_less=short)
        activity = Signal.like(self.activity)
        if short:
            clearing = self._cleared(m, clearing, "forgets")
        with m.If(clearing):
            m.d.sync += [unit.eq(Unit.NONE), response.eq(0), reason.eq(0), address.eq(0)]
        failed = Signal()
        m.d.sync += failed.eq(error_now)
        with m.If(failed), m.Switch(status):  # the units are being cleared, and still know
            with m.Case(Status.ILLEGAL):
                m.d.sync += [unit.eq(Unit.FETCH), reason.eq(self.reason), address.eq(self.number)]
            with m.Case(Status.WEIGHT_STREAM):
                m.d.sync += [
                    unit.eq(Unit.WEIGHTS),
                    reason.eq(self.stream_fault),
                    address.eq(self.stream_number),
                ]
            for code, fault, who in (
                (Status.READ_ERROR, self.read_fault, self.read_unit),
                (Status.WRITE_ERROR, self.write_fault, Unit.STORE),
            ):
                with m.Case(code):
                    m.d.sync += [
                        unit.eq(who),
                        response.eq(fault.response),
                        address.eq(fault.address),
                    ]
        with m.If(running | clearing):
            m.d.sync += activity.eq(Mux(running, self.activity, 0))
        places = zip(FAULT_FIELDS.values(), (unit, response, reason), strict=True)
        word = Signal(32)
        m.d.comb += [word[first : first + width].eq(x) for (first, width), x in places]
        return {"FAULT": word, "FAULT_ADDRESS": address, "ACTIVITY": activity}

    def _cleared(self, m: Module, clearing: Signal, name: str) -> Signal:
        """`clearing` in a register that a reset sets, for registers that have none themselves."""
        register = Signal(init=1, name=name)
        m.d.sync += register.eq(clearing)
        return register

    def _counters(self, m: Module, running: Signal, clearing: Signal) -> dict[str, Value]:
        built = COUNTERS if self._target.counters else COUNTERS[:1]
        short = self._target.short_stages
        counters = {name: Signal(32, name=name.lower(), reset_less=short) for name in built}
        events = (running, *(running & event for event in self.events))
        if self._target.short_stages:  # what happens in the units comes from afar
            heard = Signal(len(events) - 1)
            m.d.sync += heard.eq(Cat(events[1:]))
            events = (running, *heard)
            clearing = self._cleared(m, clearing, "wipes")
        for counter, event in zip(counters.values(), events, strict=False):
            with m.If(clearing):
                m.d.sync += counter.eq(0)
            with m.Elif(event):
                m.d.sync += counter.eq(counter + 1)
        m.d.comb += [
            self.cycles.eq(counters["CYCLES"]),
            self.busy_cycles.eq(counters.get("CALC_BUSY", 0)),
        ]
        return dict.fromkeys(COUNTERS, Const(0, 32)) | counters

    def _registers(
        self,
        m: Module,
        host: _HostWrites,
        idle: Signal,
        raised: Value,
        values: dict[str, Value | int],
    ) -> None:
        """The registers that the host writes; `values` are those that it can only read."""
        global_enable = Signal()
        enabled, pending = Signal(2), Signal(2)
        strobes = host.strobe
        acknowledged = Mux(host.written("ISR") & strobes[0], host.data[:2], 0)
        m.d.sync += pending.eq((pending & ~acknowledged) | raised)
        m.d.comb += self.irq.eq(global_enable & (enabled & pending).any())
        with m.If(host.written("GIE") & strobes[0]):
            m.d.sync += global_enable.eq(host.data[0])
        with m.If(host.written("IER") & strobes[0]):
            m.d.sync += enabled.eq(host.data[:2])
        words = {
            "MEM_BASE": (self.base, exact_log2(PAGE)),
            "INSTRUCTIONS": (self.instructions, 0),
            "COUNT": (self.count, 0),
            "WATCHDOG": (values["WATCHDOG"], 0 if self._target.counters else _WATCHDOG_STEP),
        }
        for name, (register, first) in words.items():
            for byte in range(first // 8, -(-len(register) // 8)):
                low, end = max(8 * byte, first), min(8 * byte + 8, len(register))
                with m.If(host.written(name) & strobes[byte] & idle):
                    m.d.sync += register[low:end].eq(host.data[low:end])
        values = {"GIE": global_enable, "IER": enabled, "ISR": pending, **values}
        values |= {name: register for name, (register, _) in words.items()}
        m.d.comb += self.read_data.eq(self._read(m, values))

    def _read(self, m: Module, values: dict[str, Value | int]) -> Value:
        """The register at the read address, 0 where none is, found along the address's bits.

        With short stages a bit for each register says whether it is wanted, and they are put together
        four at a time, a cycle each.
        """
        nothing: Value = Const(0, 32)
        words = [nothing] * (1 << (REGISTER_ADDRESS_BITS - 2))
        for register in REGISTERS:
            words[register.offset // 4] = Value.cast(values[register.name])
        if self._target.short_stages:
            return self._gather(m, words, nothing)
        for bit in self.read_address[2:]:
            pairs = zip(words[::2], words[1::2], strict=True)
            words = [even if even is odd else Mux(bit, odd, even) for even, odd in pairs]
        return words[0]

    def _gather(self, m: Module, words: list[Value], nothing: Value) -> Value:
        """The wanted one of `words`, of which those that are `nothing` need not be looked for."""
        masked: list[Value] = []
        for index, word in enumerate(words):
            if word is not nothing:
                wanted = Signal(name=f"wanted_{index}")
                m.d.sync += wanted.eq(self.read_address[2:] == index)
                masked.append(Mux(wanted, word, 0))
        for level, size in enumerate(_READ_GROUPS):
            groups = [masked[at : at + size] for at in range(0, len(masked), size)]
            masked = []
            for index, group in enumerate(groups):
                found = Signal(32, name=f"read_{level}_{index}", reset_less=True)
                m.d.sync += found.eq(reduce(or_, group))
                masked.append(found)
        return reduce(or_, masked)
