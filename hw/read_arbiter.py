"""The arbiter that shares the bus's read channels among the DMA readers."""

from __future__ import annotations

from amaranth.hdl import Array, Module, Signal
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

        # Round-robin: the reader after the last one served comes first.
        last_served = Signal(range(count))
        chosen = Signal(range(count))
        with m.Switch(last_served):
            for last in range(count):
                with m.Case(last):
                    for distance in range(count, 0, -1):
                        candidate = (last + distance) % count
                        with m.If(self.requests[candidate].valid):
                            m.d.comb += chosen.eq(candidate)

        free = Signal()
        grant = Signal()
        done = Signal()
        m.d.comb += [
            free.eq((~self.ar.valid | self.ar.ready) & (level != READS_UNDER_WAY) & ~self.halt),
            done.eq(self.r_valid & self.r_last),
            self.beat_valid.eq(self.r_valid << order[head]),
            self.idle.eq((level == 0) & ~self.ar.valid),
        ]
        with m.If(self.ar.ready):
            m.d.sync += self.ar.valid.eq(0)
        for index, request in enumerate(self.requests):
            m.d.comb += request.ready.eq(free & (chosen == index))
            with m.If(request.valid & request.ready):
                m.d.comb += grant.eq(1)
                m.d.sync += [self.ar.valid.eq(1), self.ar.p.eq(request.p)]
        with m.If(grant):
            m.d.sync += [order[tail].eq(chosen), tail.eq(tail + 1), last_served.eq(chosen)]
        m.d.sync += level.eq(level + grant - done)
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
