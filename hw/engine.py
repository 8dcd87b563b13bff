"""The four units, the array and the bus channels, wired together."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped
from amaranth.utils import bits_for, exact_log2

from tilewright.compiler.isa import PARAM_BYTES
from tilewright.compiler.legal import row_beats
from tilewright.compiler.registers import ACTIVITY, PAGE, StreamFault, Unit
from tilewright.compiler.target import Target
from tilewright.hw.accumulators import Accumulators
from tilewright.hw.array import SystolicArray
from tilewright.hw.banks import ActivationBanks
from tilewright.hw.beat_arbiter import BeatArbiter
from tilewright.hw.beat_reader import BeatReader
from tilewright.hw.beat_writer import BeatWriter
from tilewright.hw.burst import BURST, COUNT_BITS
from tilewright.hw.burst_log import BUS_FAULT
from tilewright.hw.calc import CalcUnit
from tilewright.hw.control import CLEAR_CYCLES, COUNTERS
from tilewright.hw.fetch import FetchUnit
from tilewright.hw.load import LoadUnit
from tilewright.hw.read_arbiter import ReadArbiter
from tilewright.hw.reader import BurstReader
from tilewright.hw.reset_chain import ResetChain
from tilewright.hw.store import StoreUnit
from tilewright.hw.stream_buffer import StreamBuffer
from tilewright.hw.weights import WeightsUnit, weight_row_layout
from tilewright.hw.writer import BurstWriter, beat_layout

__all__ = ["Engine"]

_Arbiter = ReadArbiter | BeatArbiter
_Writer = BurstWriter | BeatWriter


class Engine(wiring.Component):
    """Everything that a run uses and that is cleared before each run.

    Members
    -------
    start : ``In(1)``
        Run the program.
    clear : ``In(1)``
        Resets the units, one after the other: it stays at least `CLEAR_CYCLES` cycles, and as many
        pass before `start`.
    base, instructions, count : ``In(32)``
        Memory base, first instruction's byte offset, number of instructions.
    cycles, busy_cycles : ``In(32)``
        Counters for stamps.
    ar, r_valid, r_data, r_last, r_resp : AXI read channels
    aw, w, w_last, b_valid, b_resp : AXI write channels
    halt, quiet : stop starting bursts; none is under way
    finished, illegal : ``Out(1)``
    reason, number : ``Out(8)``, ``Out(32)``
        With `illegal`: why, and which instruction.
    read_fault, read_unit, write_fault : ``Out``
        Bus errors.
    stream_fault, stream_number : ``Out``
        A compressed weight stream's.
    progress : ``Out(1)``
        Something moves; a cycle late.
    activity : ``Out``
        Bits of `ACTIVITY`; a cycle late.
    events : ``Out``
        For the counters, in the order of `COUNTERS` after CYCLES.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "start": In(1),
                "clear": In(1),
                "base": In(32),
                "instructions": In(32),
                "count": In(32),
                "cycles": In(32),
                "busy_cycles": In(32),
                "ar": Out(stream.Signature(BURST)),
                "r_valid": In(1),
                "r_data": In(8 * target.bus_bytes),
                "r_last": In(1),
                "r_resp": In(2),
                "aw": Out(stream.Signature(BURST)),
                "w": Out(stream.Signature(beat_layout(target))),
                "w_last": Out(1),
                "b_valid": In(1),
                "b_resp": In(2),
                "halt": In(1),
                "quiet": Out(1),
                "finished": Out(1),
                "illegal": Out(1),
                "reason": Out(8),
                "number": Out(32),
                "read_fault": Out(BUS_FAULT),
                "read_unit": Out(range(len(Unit))),
                "write_fault": Out(BUS_FAULT),
                "stream_fault": Out(StreamFault),
                "stream_number": Out(32),
                "progress": Out(1),
                "activity": Out(len(ACTIVITY)),
                "events": Out(len(COUNTERS) - 1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        units = ResetChain(m, self.clear, most=CLEAR_CYCLES - 1)
        fetch = units.add("fetch_unit", FetchUnit(target))
        load = units.add("load_unit", LoadUnit(target))
        weights = units.add("weights_unit", WeightsUnit(target))
        calc = units.add("calc_unit", CalcUnit(target))
        store = units.add("store_unit", StoreUnit(target))
        writer = units.add("writer", (BurstWriter if target.bursts else BeatWriter)(target))

        connect(m, fetch.load, load.i)
        connect(m, fetch.weights, weights.i)
        connect(m, fetch.calc, calc.i)
        connect(m, fetch.store, store.i)
        m.d.comb += [
            fetch.start.eq(self.start),
            fetch.address.eq(self.instructions),
            fetch.count.eq(self.count),
            self.illegal.eq(fetch.illegal),
            self.reason.eq(fetch.reason),
            self.number.eq(fetch.number),
            self.stream_fault.eq(weights.fault),
            self.stream_number.eq(weights.number),
            self.finished.eq(store.finished),
            store.cycles.eq(self.cycles),
            store.busy_cycles.eq(self.busy_cycles),
        ]
        arbiter = self._read_side(m, units, fetch, load, weights, store)
        self._write_side(m, store, writer, arbiter)
        self._tokens(m, load, calc, store, writer)
        self._compute(m, units, load, weights, calc, store)
        m.d.comb += self.events.eq(
            Cat(
                calc.issuing,
                calc.wait_load,
                calc.wait_store,
                calc.wait_weights,
                load.busy,
                store.busy,
                self.r_valid,
                self.w.valid & self.w.ready,
            )
        )
        self._progress(m, load, calc, store)
        self._activity(
            m,
            {
                "fetch_reads": ~fetch.transfer.ready,
                "fetch_blocked": fetch.blocked,
                "load_waits_store": load.wait_store,
                "load_waits_calc": load.wait_calc,
                "load_writes": load.writing,
                "weights_active": weights.busy,
                "calc_waits_load": calc.wait_load,
                "calc_waits_store": calc.wait_store,
                "calc_waits_weights": calc.wait_weights,
                "store_waits_params": store.wait_params,
                "store_waits_calc": store.wait_calc,
                "store_drains": store.busy,
                "store_waits_writes": store.wait_writes,
                "reads_under_way": ~arbiter.idle,
                "writes_under_way": ~writer.quiet,
            },
        )
        return m

    def _progress(self, m: Module, load: LoadUnit, calc: CalcUnit, store: StoreUnit) -> None:
        """What the watchdog takes for progress: a beat, a response, a bank word, a pixel."""
        moves = (
            self.r_valid,
            self.w.valid & self.w.ready,
            self.b_valid,
            load.write_enable,
            calc.issuing,
            store.request.valid,
        )
        m.d.sync += self.progress.eq(Cat(moves).any())

    def _activity(self, m: Module, bits: dict[str, Value]) -> None:
        m.d.sync += self.activity.eq(Cat(bits[entry.name] for entry in ACTIVITY))

    def _read_side(
        self,
        m: Module,
        units: ResetChain,
        fetch: FetchUnit,
        load: LoadUnit,
        weights: WeightsUnit,
        store: StoreUnit,
    ) -> _Arbiter:
        target = self._target
        param_bits = bits_for(-(-self._target.cols * PARAM_BYTES // self._target.bus_bytes))
        users = {
            "load": (load.transfer, load.beats, bits_for(row_beats(target, target.act_depth))),
            "weights": (weights.transfer, weights.beats, COUNT_BITS),
            "params": (store.param_transfer, store.param_beats, param_bits),
            "fetch": (fetch.transfer, fetch.beats, COUNT_BITS),
        }
        arbiter = units.add(
            "arbiter",
            ReadArbiter(len(users), short=target.short_stages)
            if target.bursts
            else BeatArbiter(target, len(users)),
        )
        for index, (name, (longest, depth)) in enumerate(self._target.readers.items()):
            transfer, beats, count_bits = users[name]
            reader = units.add(
                f"reader_{name}",
                BurstReader(target, longest=longest, depth=depth, count_bits=count_bits)
                if target.bursts
                else BeatReader(target, count_bits=count_bits),
            )
            connect(m, reader.o, beats)
            connect(m, reader.request, arbiter.requests[index])
            m.d.comb += [
                reader.i.valid.eq(transfer.valid),
                reader.i.p.eq(transfer.p),
                reader.i.p.address.eq(self._in_memory(transfer.p.address)),
                transfer.ready.eq(reader.i.ready),
                reader.beat.eq(self.r_data),
                reader.beat_valid.eq(arbiter.beat_valid[index]),
            ]
        connect(m, arbiter.ar, flipped(self.ar))
        m.d.comb += [
            arbiter.r_valid.eq(self.r_valid),
            arbiter.r_last.eq(self.r_last),
            arbiter.r_resp.eq(self.r_resp),
            arbiter.halt.eq(self.halt),
            self.read_fault.eq(arbiter.fault),
            self.read_unit.eq(arbiter.fault_reader + Unit.LOAD),  # in the order of the readers
        ]
        return arbiter

    def _in_memory(self, address: Value) -> Value:
        """The bus address of an offset from MEM_BASE, which is aligned to PAGE."""
        page = exact_log2(PAGE)
        pages = (self.base[page:] + address[page:])[: self._target.address_bits - page]
        return Cat(address[:page], pages)

    def _write_side(self, m: Module, store: StoreUnit, writer: _Writer, arbiter: _Arbiter) -> None:
        connect(m, store.beats, writer.beats)
        connect(m, writer.aw, flipped(self.aw))
        connect(m, writer.w, flipped(self.w))
        m.d.comb += [
            writer.i.valid.eq(store.transfer.valid),
            writer.i.p.eq(store.transfer.p),
            writer.i.p.address.eq(self._in_memory(store.transfer.p.address)),
            store.transfer.ready.eq(writer.i.ready),
            store.writer_idle.eq(writer.idle),
            self.w_last.eq(writer.w_last),
            writer.b_valid.eq(self.b_valid),
            writer.b_resp.eq(self.b_resp),
            self.write_fault.eq(writer.fault),
            writer.halt.eq(self.halt),
            self.quiet.eq(writer.quiet & arbiter.idle),
        ]

    def _tokens(
        self, m: Module, load: LoadUnit, calc: CalcUnit, store: StoreUnit, writer: _Writer
    ) -> None:
        complete: Value = writer.complete
        if self._target.short_stages:  # it comes from a response on the bus
            complete = Signal()
            m.d.sync += complete.eq(writer.complete)
        m.d.comb += [
            calc.give_from_load.eq(load.give_calc),
            load.give_from_calc.eq(calc.give_load),
            store.give_from_calc.eq(calc.give_store),
            calc.give_from_store.eq(store.give_calc),
            load.give_from_store.eq(complete),
        ]

    def _compute(
        self,
        m: Module,
        units: ResetChain,
        load: LoadUnit,
        weights: WeightsUnit,
        calc: CalcUnit,
        store: StoreUnit,
    ) -> None:
        target = self._target
        banks = units.add("banks", ActivationBanks(target))
        accumulators = units.add("accumulators", Accumulators(target))
        m.submodules.array = array = SystolicArray(target)
        rows = weights.o
        if target.edge_registers and not target.short_stages:  # then WEIGHTS has one
            buffer = units.add("rows", StreamBuffer(weight_row_layout(target)))
            connect(m, weights.o, buffer.i)
            rows = buffer.o
        connect(m, rows, calc.weights)
        connect(m, store.request, accumulators.request)
        connect(m, accumulators.drained, store.drained)

        # A weight row reaches row 0's offset one cycle after it is taken, and row 0 of the array
        # Target.bank_latency cycles later, when the capture pulse does.
        word = Signal(weight_row_layout(target), reset_less=True)
        word_valid = Signal()
        m.d.sync += [word.eq(rows.p), word_valid.eq(calc.word_valid)]
        passing = word.weights
        for stage in range(target.bank_latency):
            register = Signal.like(passing, name=f"weights_{stage}", reset_less=True)
            m.d.sync += register.eq(passing)
            passing = register
        if target.scaled:
            m.d.comb += array.scales.eq(banks.scales)
        m.d.comb += [
            banks.pixel.eq(calc.pixel),
            banks.word_valid.eq(word_valid),
            banks.word_offset.eq(word.offset),
            banks.write_enable.eq(load.write_enable),
            banks.write_address.eq(load.write_address),
            banks.write_data.eq(load.write_data),
            array.activations.eq(banks.activations),
            array.swap.eq(banks.swap),
            array.capture.eq(banks.capture),
            array.weights.eq(passing),
            accumulators.psums.eq(array.psums),
            accumulators.control.eq(calc.control),
            accumulators.drain_half.eq(store.drain_half),
        ]
