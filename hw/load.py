"""The LOAD unit: rectangles of feature maps, with zero padding, into the activation banks."""

from __future__ import annotations

from amaranth.hdl import Module, Signal, signed
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.isa import Opcode
from tilewright.compiler.microarchitecture import INNER_QUEUE
from tilewright.compiler.target import Target
from tilewright.hw.burst import TRANSFER
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.load_rotator import LoadRotator, bank_addresses
from tilewright.hw.load_writer import LoadWriter
from tilewright.hw.loop_counter import LoopCounter
from tilewright.hw.queue import Queue
from tilewright.hw.semaphore import Semaphore

__all__ = ["LoadUnit"]

_INSTRUCTION = instruction_layout(Opcode.LOAD)


class LoadUnit(wiring.Component):
    """Runs LOAD instructions: requests rows, then writes them with their padding.

    Requesting needs STORE's tokens (the map is in memory), writing needs CALC's (the banks are
    free), so the next rectangles are read while the banks are still in use. One bank word a cycle.

    Members
    -------
    i : ``In(stream of LOAD instructions)``
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
                "i": In(stream.Signature(_INSTRUCTION)),
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
        m.submodules.stored = stored = Semaphore()
        m.submodules.freed = freed = Semaphore()
        m.submodules.queue = queue = Queue(width=_INSTRUCTION.size, depth=INNER_QUEUE)
        m.submodules.writer = writer = LoadWriter(self._target)
        m.submodules.rotator = rotator = LoadRotator(self._target)

        # First half: one transfer a row, then the instruction goes on to the second half.
        job = self.i.p
        asking = Signal()
        more = Signal()  # rows are left
        address = Signal(32)
        m.submodules.rows = rows = LoopCounter(16)
        m.d.comb += [
            stored.give.eq(self.give_from_store),
            stored.count.eq(job.wait_store),
            stored.take.eq(self.i.valid & stored.enough & ~asking & queue.w_rdy),
            self.transfer.valid.eq(asking & more),
            rows.count.eq(job.rows),
            rows.single.eq(job.rows == 1),
            rows.start.eq(stored.take),
            rows.step.eq(self.transfer.valid & self.transfer.ready),
            self.transfer.p.address.eq(address),
            self.transfer.p.beats.eq(job.row_beats),
            queue.w_data.eq(job),
            queue.w_en.eq(stored.take),
            self.i.ready.eq(asking & (~more | (self.transfer.ready & rows.last))),
        ]
        with m.If(stored.take):
            m.d.sync += [asking.eq(1), more.eq(job.rows != 0), address.eq(job.address)]
        with m.If(self.transfer.valid & self.transfer.ready):
            m.d.sync += [more.eq(~rows.last), address.eq(address + job.pitch)]
        with m.If(self.i.ready):
            m.d.sync += asking.eq(0)

        wiring.connect(m, wiring.flipped(self.beats), writer.beats)
        m.d.comb += [
            freed.give.eq(self.give_from_calc),
            freed.count.eq(writer.i.p.wait_calc),
            freed.take.eq(writer.started),
            writer.start.eq(freed.enough),
            writer.i.valid.eq(queue.r_rdy),
            writer.i.p.eq(queue.r_data),
            queue.r_en.eq(writer.i.ready),
            rotator.enable.eq(writer.enable),
            rotator.address.eq(writer.address),
            rotator.lanes.eq(writer.lanes),
            rotator.pack.eq(writer.i.p.pack),
            rotator.phase.eq(writer.phase),
            self.write_enable.eq(rotator.write_enable),
            self.write_address.eq(rotator.write_address),
            self.write_data.eq(rotator.write_data),
            self.busy.eq(self.i.valid | queue.r_rdy),
            self.wait_store.eq(self.i.valid & ~asking & ~stored.enough),
            self.wait_calc.eq(writer.waiting & ~freed.enough),
            self.writing.eq(writer.i.valid & ~writer.waiting),
        ]
        # A word written now can be read from the next cycle on, as can the token.
        gives = writer.done & writer.i.p.signal_calc
        for stage in range(self._target.load_latency):
            register = Signal(name=f"gives_{stage}")
            m.d.sync += register.eq(gives)
            gives = register
        m.d.comb += self.give_calc.eq(gives)
        return m
