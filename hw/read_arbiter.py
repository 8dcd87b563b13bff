"""The arbiter that shares the bus's read channels among the DMA readers."""

from __future__ import annotations

from amaranth.hdl import Array, Cat, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.microarchitecture import READS_UNDER_WAY
from tilewright.hw.burst import BURST
from tilewright.hw.burst_log import BUS_FAULT, BurstLog

__all__ = ["ReadArbiter"]


class ReadArbiter(wiring.Component):
    """Shares AXI's read channels among `count` readers, round-robin by burst.

    Data returns in the order of the requests; a queue of reader numbers routes it. Nothing is
    requested while `halt` is set.

    Members
    -------
    requests : ``In(stream of BURST).array(count)``
    ar : ``Out(stream of BURST)``
        Read address channel.
    r_valid, r_last, r_resp : ``In``
        A beat arrives, whether it ends its burst, and its response. Beats are always taken.
    beat_valid : ``Out(count)``
        Which reader the beat is for.
    halt : ``In(1)``
    idle : ``Out(1)``
        No burst is under way.
    fault, fault_reader : ``Out``
        The first error response, and the number of the reader that got it; stay until reset.
    """

    def __init__(self, count: int) -> None:
        self._count = count
        super().__init__(
            {
                "requests": In(stream.Signature(BURST)).array(count),
                "ar": Out(stream.Signature(BURST)),
                "r_valid": In(1),
                "r_last": In(1),
                "r_resp": In(2),
                "beat_valid": Out(count),
                "halt": In(1),
                "idle": Out(1),
                "fault": Out(BUS_FAULT),
                "fault_reader": Out(range(count)),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = self._count
        order = Array(Signal(range(count), name=f"order_{i}") for i in range(READS_UNDER_WAY))
        head = Signal(range(READS_UNDER_WAY))
        tail = Signal(range(READS_UNDER_WAY))
        level = Signal(range(READS_UNDER_WAY + 1))

        free = Signal()
        room = Signal(init=1)
        grant = Signal()
        done = Signal()
        chosen = self._chosen(m, grant)
        number = Signal(range(count))  # of the chosen one
        m.d.comb += [
            free.eq((~self.ar.valid | self.ar.ready) & room & ~self.halt),
            grant.eq(free & chosen.any()),
            done.eq(self.r_valid & self.r_last),
            self.beat_valid.eq(self.r_valid << order[head]),
            self.idle.eq((level == 0) & ~self.ar.valid),
        ]
        with m.If(self.ar.ready):
            m.d.sync += self.ar.valid.eq(0)
        for index, request in enumerate(self.requests):
            m.d.comb += request.ready.eq(free & chosen[index])
            with m.If(chosen[index]):
                m.d.comb += number.eq(index)
                with m.If(free):
                    m.d.sync += [self.ar.valid.eq(1), self.ar.p.eq(request.p)]
        with m.If(grant):
            m.d.sync += [order[tail].eq(number), tail.eq(tail + 1)]
        with m.If(grant & ~done):
            m.d.sync += [level.eq(level + 1), room.eq(level != READS_UNDER_WAY - 1)]
        with m.Elif(done & ~grant):
            m.d.sync += [level.eq(level - 1), room.eq(1)]
        with m.If(done):
            m.d.sync += head.eq(head + 1)

        m.submodules.log = log = BurstLog(READS_UNDER_WAY)
        m.d.comb += [
            log.start.eq(self.ar.valid & self.ar.ready),
            log.address.eq(self.ar.p.address),
            log.answer.eq(self.r_valid),
            log.response.eq(self.r_resp),
            log.last.eq(self.r_last),
            self.fault.eq(log.fault),
        ]
        with m.If(~log.fault.error):
            m.d.sync += self.fault_reader.eq(order[head])
        return m

    def _chosen(self, m: Module, grant: Signal) -> Signal:
        """A bit for the reader whose turn it is, if any requests anything.

        Round-robin: the reader after the last one served comes first. Which of two comes before
        the other is a register for each pair, so that only requests have to be looked at.
        """
        count = self._count
        chosen = Signal(count)
        for index, request in enumerate(self.requests):
            outdone = []
            for other in range(count):
                if other == index:
                    continue
                # It comes first if the last one served is this reader or stands between the two.
                between = [(index + n) % count for n in range((other - index) % count)]
                first = Signal(init=0 in between, name=f"first_{other}_{index}")
                with m.If(grant):
                    m.d.sync += first.eq(Cat(chosen[last] for last in between).any())
                outdone.append(first & self.requests[other].valid)
            m.d.comb += chosen[index].eq(request.valid & ~Cat(outdone).any())
        return chosen
