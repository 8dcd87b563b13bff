"""The single-port RAM of the iCE40 UP5K behind an AXI4 port."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, ClockSignal, Const, Instance, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from tilewright.boards.memory.beats import DECERR, OKAY, BurstBeats, SingleBeats
from tilewright.errors import TilewrightError
from tilewright.hw.axi import axi4

__all__ = ["SPRAM_BYTES", "Spram"]

_BLOCKS = 4
_WORDS = 1 << 14
_WORD_BYTES = 2

SPRAM_BYTES = _BLOCKS * _WORDS * _WORD_BYTES
"""All of the UP5K's: 128 KiB."""


class Spram(wiring.Component):
    """The UP5K's four SPRAM blocks as one memory from address 0 on.

    The blocks have one port, so a beat is read or written in a cycle; where both wait, they take
    turns. The first beat of a read is there two cycles after its address at the earliest, a response
    one cycle after the last beat of its write. Bursts are INCR and of the full width; those beyond
    the memory are answered with DECERR and write nothing. Contents are unknown at power-up.

    Without `bursts` there are single beats only, from masters that take their answers at once; a read
    is then answered in the cycle after its address.

    Parameters
    ----------
    data_bytes : of a beat: 2, 4 or 8
    bursts : whether there are any

    Members
    -------
    bus : ``In(axi4(data_bytes))``
    """

    def __init__(self, data_bytes: int, *, bursts: bool = True) -> None:
        if data_bytes not in (2, 4, 8):
            raise TilewrightError(f"Spram: data_bytes must be 2, 4 or 8, not {data_bytes!r}")
        self._data_bytes, self._bursts = data_bytes, bursts
        super().__init__({"bus": In(axi4(data_bytes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bus = self.bus
        kind = BurstBeats if self._bursts else SingleBeats
        m.submodules.read_beats = reads = kind(SPRAM_BYTES, self._data_bytes)
        m.submodules.write_beats = writes = kind(SPRAM_BYTES, self._data_bytes)
        m.d.comb += [
            reads.i.valid.eq(bus.arvalid),
            reads.i.p.address.eq(bus.araddr),
            reads.i.p.length.eq(bus.arlen),
            bus.arready.eq(reads.i.ready),
            writes.i.valid.eq(bus.awvalid),
            writes.i.p.address.eq(bus.awaddr),
            writes.i.p.length.eq(bus.awlen),
            bus.awready.eq(writes.i.ready),
        ]
        can_read, can_write, turn = Signal(), Signal(), Signal()
        read, write = Signal(), Signal()
        m.d.comb += [
            can_read.eq(reads.o.valid & (~bus.rvalid | bus.rready)),
            can_write.eq(writes.o.valid & bus.wvalid & (~bus.bvalid | bus.bready)),
            read.eq(can_read & ~(can_write & turn)),
            write.eq(can_write & ~(can_read & ~turn)),
            reads.o.ready.eq(read),
            writes.o.ready.eq(write),
            bus.wready.eq(write),
        ]
        m.d.sync += turn.eq(read)
        found = self._blocks(m, read, write, Mux(write, writes.o.p.word, reads.o.p.word), writes)
        self._answer(m, read, reads, found)
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(write & writes.o.p.last):
            m.d.sync += [
                bus.bvalid.eq(1),
                bus.bresp.eq(Mux(writes.o.p.outside, DECERR, OKAY)),
            ]
        return m

    def _blocks(
        self, m: Module, read: Signal, write: Signal, word: Signal, writes: BurstBeats | SingleBeats
    ) -> Signal:
        """The blocks; what the read of the cycle before found."""
        bus = self.bus
        lanes = self._data_bytes // _WORD_BYTES
        group_now = word[14:]
        group = Signal(len(group_now))
        with m.If(read):
            m.d.sync += group.eq(group_now)
        outputs = []
        for index in range(_BLOCKS // lanes):
            chosen, out = Signal(), Signal(8 * self._data_bytes, name=f"out_{index}")
            m.d.comb += chosen.eq((read | (write & ~writes.o.p.outside)) & (group_now == index))
            for lane in range(lanes):
                strobe = bus.wstrb[2 * lane : 2 * lane + 2]
                m.submodules[f"block_{index}_{lane}"] = Instance(
                    "SB_SPRAM256KA",
                    i_CLOCK=ClockSignal(),
                    i_ADDRESS=word[:14],
                    i_DATAIN=bus.wdata[16 * lane : 16 * lane + 16],
                    i_MASKWREN=Cat(strobe[0].replicate(2), strobe[1].replicate(2)),
                    i_WREN=write,
                    i_CHIPSELECT=chosen,
                    i_STANDBY=Const(0, 1),
                    i_SLEEP=Const(0, 1),
                    i_POWEROFF=Const(1, 1),  # active low
                    o_DATAOUT=out[16 * lane : 16 * lane + 16],
                )
            outputs.append(out)
        return Array(outputs)[group] if lanes < _BLOCKS else outputs[0]

    def _answer(
        self, m: Module, read: Signal, reads: BurstBeats | SingleBeats, found: Signal
    ) -> None:
        """Offer what was read; a write in the meantime spoils the blocks' outputs, so keep it."""
        bus = self.bus
        fresh = Signal()  # the blocks' outputs are what is offered
        kept = Signal(8 * self._data_bytes, reset_less=True)
        m.d.comb += bus.rdata.eq(Mux(fresh, found, kept) if self._bursts else found)
        m.d.sync += fresh.eq(read)
        with m.If(fresh):
            m.d.sync += kept.eq(found)
        with m.If(~bus.rvalid | bus.rready):
            m.d.sync += bus.rvalid.eq(read)
        with m.If(read):
            m.d.sync += [
                bus.rlast.eq(reads.o.p.last),
                bus.rresp.eq(Mux(reads.o.p.outside, DECERR, OKAY)),
            ]
