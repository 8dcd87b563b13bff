"""The write transfers of a STORE's output rows."""

from amaranth.hdl import Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import bits_for, exact_log2

from tilewright.compiler.isa import Opcode
from tilewright.compiler.target import Target
from tilewright.hw.burst import TRANSFER
from tilewright.hw.instructions import instruction_layout
from tilewright.hw.loop_counter import LoopCounter

__all__ = ["RowTransfers"]

_INSTRUCTION = instruction_layout(Opcode.STORE)


class RowTransfers(wiring.Component):
    """One write transfer for each output row.

    Members
    -------
    job : ``In(STORE instruction)``
        Constant while busy.
    start : ``In(1)``
        Begin.
    o : ``Out(stream of TRANSFER)``
        The last row's tag asks for a completion, if the instruction gives LOAD a token.
    busy : ``Out(1)``
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        super().__init__(
            {
                "job": In(_INSTRUCTION),
                "start": In(1),
                "o": Out(stream.Signature(TRANSFER)),
                "busy": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        job = self.job
        beat_bits = exact_log2(self._target.bus_bytes)
        row_bits = bits_for(self._target.acc_depth)
        m.submodules.rows = rows = LoopCounter(row_bits, short=self._target.short_stages)
        address = Signal(self._target.address_bits - beat_bits)  # in beats
        m.d.comb += [
            self.o.valid.eq(self.busy),
            self.o.p.address.eq(address << beat_bits),
            self.o.p.beats.eq(job.row_beats),
            self.o.p.tag.eq(rows.last & job.signal_load),
            rows.count.eq(job.rows),
            rows.single.eq(job.rows == 1),
            rows.start.eq(self.start),
            rows.step.eq(self.o.valid & self.o.ready),
        ]
        with m.If(self.start):
            m.d.sync += [self.busy.eq(1), address.eq(job.address >> beat_bits)]
        with m.Elif(self.o.valid & self.o.ready):
            m.d.sync += [
                address.eq(address + (job.pitch >> beat_bits)),
                self.busy.eq(~rows.last),
            ]
        return m
