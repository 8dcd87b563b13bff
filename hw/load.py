"""The LOAD unit: rectangles of feature maps, with zero padding, into the activation banks."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from tilewright.compiler.isa import FIELDS, Opcode
from tilewright.compiler.target import Target
from tilewright.hw.burst import TRANSFER
from tilewright.hw.halves_queue import HalvesQueue, queue_input
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.load_rotator import LoadRotator, bank_addresses
from tilewright.hw.load_writer import LoadWriter
from tilewright.hw.loop_counter import LoopCounter
from tilewright.hw.semaphore import Semaphore

__all__ = ["LoadUnit"]

_INSTRUCTION = instruction_layout(Opcode.LOAD)
_REQUEST = ("wait_store", "address", "pitch", "rows", "row_beats")
_WRITE = tuple(
    field.name
    for field in FIELDS[Opcode.LOAD]
    if field.name not in ("opcode", "wait_store", "address", "pitch")
)
"""Fields that the unit's halves need."""


class LoadUnit(wiring.Component):
    """Runs LOAD instructions: requests rows, then writes them with their padding.

    Requesting needs STORE's tokens (the map is in memory), writing needs CALC's (the banks are
    free), so the next rectangles are read while the banks are still in use. One bank word a cycle.

    Members
    -------
    i : ``In(stream of queue_input(target, LOAD))``
    transfer, beats : to and from the unit's reader
    give_from_calc, give_from_store : ``In(1)``
        Tokens for this unit.
    give_calc : ``Out(1)``
        A token for CALC.
    write_enable, write_address, write_data : ``Out``
        To the banks, `Target.load_latency` cycles after the word has left the gearbox.
    busy : ``Out(1)``
        An instruction is there, waiting for tokens or under way.
    wait_store, wait_calc, writing : ``Out(1)``
        For ACTIVITY: each half's waiting for its tokens; a rectangle has begun.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "i": In(stream.Signature(queue_input(target, Opcode.LOAD))),
                "transfer": Out(stream.Signature(TRANSFER)),
                "beats": In(stream.Signature(8 * target.bus_bytes)),
                "give_from_calc": In(1),
                "give_from_store": In(1),
                "give_calc": Out(1),
                "write_enable": Out(1),
                "write_address": Out(bank_addresses(target)),
                "write_data": Out(data.ArrayLayout(signed(target.act_bits), target.rows)),
                "busy": Out(1),
                "wait_store": Out(1),
                "wait_calc": Out(1),
                "writing": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.freed = freed = Semaphore(self._target)
        m.submodules.writer = writer = LoadWriter(self._target)
        m.submodules.rotator = rotator = LoadRotator(self._target)
        m.submodules.queue = queue = HalvesQueue(
            self._target, Opcode.LOAD, first=_REQUEST, second=_WRITE
        )
        wiring.connect(m, wiring.flipped(self.i), queue.i)
        self._request(m, queue)

        wiring.connect(m, wiring.flipped(self.beats), writer.beats)
        wiring.connect(m, queue.second, writer.i)
        job = queue.second.p
        m.d.comb += [
            freed.give.eq(self.give_from_calc),
            freed.count.eq(job.wait_calc),
            freed.take.eq(writer.started),
            writer.start.eq(freed.enough),
            rotator.enable.eq(writer.enable),
            rotator.address.eq(writer.address),
            rotator.lanes.eq(writer.lanes),
            rotator.pack.eq(job.pack),
            rotator.phase.eq(writer.phase),
            self.write_enable.eq(rotator.write_enable),
            self.write_address.eq(rotator.write_address),
            self.write_data.eq(rotator.write_data),
            self.busy.eq(queue.first.valid | queue.second.valid),
            self.wait_calc.eq(writer.waiting & ~freed.enough),
            self.writing.eq(writer.i.valid & ~writer.waiting),
        ]
        # A word written now can be read from the next cycle on, as can the token.
        gives = writer.done & job.signal_calc
        for stage in range(self._target.load_latency):
            register = Signal(name=f"gives_{stage}")
            m.d.sync += register.eq(gives)
            gives = register
        m.d.comb += self.give_calc.eq(gives)
        return m

    def _request(self, m: Module, queue: HalvesQueue) -> None:
        """One transfer a row; the second half may begin in the cycle in which the first is asked."""
        job = queue.first.p
        row_bits = bits_for(self._target.act_depth)
        beat_bits = exact_log2(self._target.bus_bytes)
        m.submodules.stored = stored = Semaphore(self._target)
        m.submodules.rows = rows = LoopCounter(row_bits, short=self._target.short_stages)
        asking = Signal()
        more = Signal()  # rows are left
        address = Signal(self._target.address_bits - beat_bits)  # in beats
        row_asked = self.transfer.valid & self.transfer.ready
        m.d.comb += [
            stored.give.eq(self.give_from_store),
            stored.count.eq(job.wait_store),
            stored.take.eq(queue.first.valid & stored.enough & ~asking & queue.room),
            queue.passed.eq(stored.take),
            queue.first.ready.eq(asking & (~more | (self.transfer.ready & rows.last))),
            self.wait_store.eq(queue.first.valid & ~asking & ~stored.enough),
            self.transfer.valid.eq(asking & more),
            self.transfer.p.address.eq(address << beat_bits),
            self.transfer.p.beats.eq(job.row_beats),
            rows.count.eq(job.rows),
            rows.single.eq(job.rows == 1),
            rows.start.eq(~asking if self._target.short_stages else stored.take),
            rows.step.eq(row_asked),
        ]
        with m.If(stored.take):
            m.d.sync += [asking.eq(1), more.eq(job.rows != 0), address.eq(job.address >> beat_bits)]
        with m.If(row_asked):
            m.d.sync += [more.eq(~rows.last), address.eq(address + (job.pitch >> beat_bits))]
        with m.If(queue.first.ready):
            m.d.sync += asking.eq(0)
