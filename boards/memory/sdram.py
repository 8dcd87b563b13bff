"""An SDR SDRAM behind an AXI4 port."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.boards.memory.beats import DECERR, OKAY, check_size
from tilewright.boards.memory.sdram_segments import BUFFER_BEATS, SegmentSplitter
from tilewright.boards.memory.sdram_sequencer import SdramSequencer
from tilewright.boards.memory.sdram_timing import SdramTiming
from tilewright.errors import TilewrightError
from tilewright.hw.axi import axi4
from tilewright.hw.queue import Queue

__all__ = ["STAY", "SdramController", "sdram_pins"]

_RESPONSES = 8
STAY = 4
"""Segments of one direction in a row where the other waits: turning the pins takes cycles."""


def sdram_pins(timing: SdramTiming) -> wiring.Signature:
    """A chip's pins but for its clock, as its controller sees them; commands are active high."""
    return wiring.Signature(
        {
            "cke": Out(1),
            "cs": Out(1),
            "ras": Out(1),
            "cas": Out(1),
            "we": Out(1),
            "ba": Out(2),
            "a": Out(max(timing.row_bits, 11)),
            "dqm": Out(timing.data_bits // 8),
            "dq_o": Out(timing.data_bits),
            "dq_oe": Out(1),
            "dq_i": In(timing.data_bits),
        }
    )


class SdramController(wiring.Component):
    """A chip of four banks from address 0 on, at the clock of its pins.

    Bursts are INCR and of the full width; those beyond the chip are answered with DECERR and write
    nothing. They are cut into segments of up to 16 beats within a row. Segments wait until their data,
    or room for them, is there, are played in order (up to 4 of one direction before one of the other
    that waits), and each has its row opened while the one before it is transferred. A write is answered
    once nothing that is asked for later can come before it.

    Outputs are registers and belong into the registers of I/O cells, `dq_i` comes from those.

    Parameters
    ----------
    timing
        The chip, and the clock.
    data_bytes : of a beat: 1, 2, 4 or 8 words of the chip
    read_latency : cycles from a READ on the pins of this component to its first word on `dq_i`. With a
        register in each I/O cell and the chip's clock in phase with this one: CAS latency + 2.

    Members
    -------
    bus : ``In(axi4(data_bytes))``
    pins : ``Out(sdram_pins(timing))``
    """

    def __init__(
        self, timing: SdramTiming, data_bytes: int, *, read_latency: int | None = None
    ) -> None:
        check_size("SdramController", timing.bytes, data_bytes)
        if 8 * data_bytes < timing.data_bits:
            raise TilewrightError(
                f"SdramController: data_bytes must be at least {timing.data_bits // 8} "
                f"with the {timing.data_bits} data pins of {timing.part}, not {data_bytes!r}"
            )
        self._timing, self._data_bytes = timing, data_bytes
        self._words = 8 * data_bytes // timing.data_bits
        self._read_latency = timing.cas + 2 if read_latency is None else read_latency
        if self._read_latency < timing.cas:
            raise TilewrightError(
                f"SdramController: read_latency must be at least the CAS latency, {timing.cas}, "
                f"not {read_latency!r}"
            )
        super().__init__({"bus": In(axi4(data_bytes)), "pins": Out(sdram_pins(timing))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.sequencer = sequencer = SdramSequencer(self._timing, self._words)
        reads, read_room = self._addresses(m, "ar")
        writes, write_data = self._addresses(m, "aw")
        answers = self._answers(m, writes)
        self._choose(m, sequencer, reads, writes, answers)
        self._read(m, sequencer, reads, read_room)
        self._write(m, sequencer, writes, write_data)
        m.d.comb += [
            Cat(self.pins.ras, self.pins.cas, self.pins.we).eq(sequencer.command),
            self.pins.ba.eq(sequencer.bank),
            self.pins.a.eq(sequencer.address),
            self.pins.cke.eq(1),
            self.pins.cs.eq(1),
        ]
        return m

    def _addresses(self, m: Module, channel: str) -> tuple[SegmentSplitter, Signal]:
        """The segments of channel "ar" or "aw", and the signal of a beat more for `available`."""
        splitter = SegmentSplitter(self._timing, self._data_bytes)
        m.submodules[f"{channel}_segments"] = splitter
        bus = self.bus
        more = Signal(name=f"{channel}_more")
        available = Signal(
            range(BUFFER_BEATS + 1), init=BUFFER_BEATS if channel == "ar" else 0, name=channel
        )
        taken = Mux(splitter.o.valid & splitter.o.ready, splitter.o.p.length + 1, 0)
        m.d.sync += available.eq(available + more - taken)
        m.d.comb += [
            splitter.available.eq(available),
            splitter.i.valid.eq(getattr(bus, f"{channel}valid")),
            splitter.i.p.address.eq(getattr(bus, f"{channel}addr")),
            splitter.i.p.length.eq(getattr(bus, f"{channel}len")),
            getattr(bus, f"{channel}ready").eq(splitter.i.ready),
        ]
        return splitter, more

    def _answers(self, m: Module, writes: SegmentSplitter) -> Queue:
        """Responses to writes: a burst's last segment makes one."""
        bus = self.bus
        m.submodules.answers = answers = Queue(width=1, depth=_RESPONSES)
        m.d.comb += [
            answers.w_en.eq(writes.o.valid & writes.o.ready & writes.o.p.last),
            answers.w_data.eq(writes.o.p.outside),
            answers.r_en.eq(bus.bready),
            bus.bvalid.eq(answers.r_rdy),
            bus.bresp.eq(Mux(answers.r_data, DECERR, OKAY)),
        ]
        return answers

    def _choose(
        self,
        m: Module,
        sequencer: SdramSequencer,
        reads: SegmentSplitter,
        writes: SegmentSplitter,
        answers: Queue,
    ) -> None:
        """Give the sequencer segments of one direction, until the other's turn comes."""
        can_write = Signal()
        writing = Signal()  # the direction of the last segment
        stay = Signal(range(STAY))
        m.d.comb += [
            can_write.eq(writes.o.valid & answers.w_rdy),
            sequencer.i_write.eq(can_write & (~reads.o.valid | Mux(stay == 0, ~writing, writing))),
            sequencer.i.valid.eq(can_write | reads.o.valid),
            sequencer.i.p.eq(Mux(sequencer.i_write, writes.o.p, reads.o.p)),
            reads.o.ready.eq(sequencer.i.ready & ~sequencer.i_write),
            writes.o.ready.eq(sequencer.i.ready & sequencer.i_write),
        ]
        with m.If(sequencer.i.valid & sequencer.i.ready):
            m.d.sync += writing.eq(sequencer.i_write)
            with m.If(sequencer.i_write != writing):
                m.d.sync += stay.eq(STAY - 1)
            with m.Elif(stay != 0):
                m.d.sync += stay.eq(stay - 1)

    def _read(
        self, m: Module, sequencer: SdramSequencer, reads: SegmentSplitter, more: Signal
    ) -> None:
        """From the pins through a queue, whose room was kept before the READ, to the bus."""
        bus, pins, words = self.bus, self.pins, self._words
        width = 8 * self._data_bytes
        m.submodules.read_queue = queue = Queue(width=width + 2, depth=BUFFER_BEATS)
        # Words move down from the top: with the last one of a beat, the first one is at the bottom.
        beat = Signal(width)
        m.d.sync += beat.eq(Cat(beat[self._timing.data_bits :], pins.dq_i))
        delay = self._read_latency + words
        coming, last, outside = (Signal(delay + 1, name=f"read_{n}") for n in ("in", "last", "out"))
        m.d.sync += [
            coming.eq(Cat(sequencer.read, coming)),
            last.eq(Cat(sequencer.read_last, last)),
            outside.eq(Cat(sequencer.read_outside, outside)),
        ]
        m.d.comb += [
            queue.w_en.eq(coming[delay]),
            queue.w_data.eq(Cat(beat, last[delay], outside[delay])),
            queue.r_en.eq(bus.rready),
            bus.rvalid.eq(queue.r_rdy),
            bus.rdata.eq(queue.r_data),
            bus.rlast.eq(queue.r_data[width]),
            bus.rresp.eq(Mux(queue.r_data[width + 1], DECERR, OKAY)),
            more.eq(bus.rvalid & bus.rready),
        ]

    def _write(
        self, m: Module, sequencer: SdramSequencer, writes: SegmentSplitter, more: Signal
    ) -> None:
        """From the bus through a queue to the pins, word by word."""
        bus, pins, words = self.bus, self.pins, self._words
        bits = self._timing.data_bits
        width = 8 * self._data_bytes
        m.submodules.write_queue = queue = Queue(width=width + self._data_bytes, depth=BUFFER_BEATS)
        # Of a beat, the bottom word is on the pins.
        data, masks = Signal(width), Signal(self._data_bytes, init=-1)
        left = Signal(words)  # a one for each word to come
        m.d.comb += [
            queue.w_en.eq(bus.wvalid),
            queue.w_data.eq(Cat(bus.wdata, ~bus.wstrb)),
            bus.wready.eq(queue.w_rdy),
            more.eq(bus.wvalid & bus.wready),
            queue.r_en.eq(sequencer.write),
            pins.dq_o.eq(data),
            pins.dq_oe.eq(left[0]),
            pins.dqm.eq(masks),
        ]
        with m.If(sequencer.write):
            m.d.sync += [
                data.eq(queue.r_data),
                masks.eq(
                    queue.r_data[width:] | sequencer.write_outside.replicate(self._data_bytes)
                ),
                left.eq((1 << words) - 1),
            ]
        with m.Else():
            m.d.sync += [
                data.eq(data >> bits),
                masks.eq(Mux(sequencer.powered, masks >> (bits // 8), (1 << self._data_bytes) - 1)),
                left.eq(left >> 1),
            ]
