"""The arbiter that shares the bus's read channels among the DMA readers."""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from tilewright.compiler.microarchitecture import READS_UNDER_WAY
from tilewright.hw.burst import BURST
from tilewright.hw.burst_log import BUS_FAULT, BurstLog
from tilewright.hw.queue import Queue

__all__ = ["ReadArbiter", "arbiter_members"]


def arbiter_members(count: int) -> dict[str, wiring.Member]:
    """The interface of read arbiters, described at ReadArbiter."""
    return {
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


class ReadArbiter(wiring.Component):
    """Shares AXI's read channels among `count` readers, round-robin by burst.

    Data returns in the order of the requests; a queue of reader numbers routes it. Nothing is
    requested while `halt` is set.

    Parameters
    ----------
    count
        Readers.
    short
        Whose turn it is, and that a burst has ended, are registers: a request is granted a cycle later.

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

    def __init__(self, count: int, *, short: bool = False) -> None:
        self._count, self._short = count, short
        super().__init__(arbiter_members(count))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count = self._count
        # Its place in the order is noted a cycle after the grant, before any data can be there.
        m.submodules.order = order = Queue(width=len(self.fault_reader), depth=READS_UNDER_WAY)
        free = Signal()
        grant, granted = Signal(), Signal()
        under_way = Signal(range(READS_UNDER_WAY + 1))
        room = Signal(init=1)
        chosen = self._chosen(m, grant)
        ended: Value = order.r_en & order.r_rdy
        if self._short:
            over = Signal()
            m.d.sync += over.eq(ended)
            ended = over
        m.d.sync += [
            granted.eq(grant),
            order.w_data.eq(_any_of(chosen, range(count))),
            under_way.eq(under_way + granted - ended),
            room.eq(under_way < READS_UNDER_WAY - 1),
        ]
        m.d.comb += [
            free.eq((~self.ar.valid | self.ar.ready) & room & ~granted & ~self.halt),
            grant.eq(free & chosen.any()),
            order.w_en.eq(granted),
            order.r_en.eq(self.r_valid & self.r_last),
            self.beat_valid.eq(self.r_valid << order.r_data),
            self.idle.eq(~order.r_rdy & ~self.ar.valid),
            Cat(request.ready for request in self.requests).eq(
                chosen & free.replicate(count),
            ),
        ]
        with m.If(self.ar.ready):
            m.d.sync += self.ar.valid.eq(0)
        burst = Signal.like(self.ar.p, reset_less=True)
        m.d.comb += self.ar.p.eq(burst)
        with m.If(~self.ar.valid | self.ar.ready if self._short else free):
            m.d.sync += burst.eq(_any_of(chosen, (r.p.as_value() for r in self.requests)))
        with m.If(grant):
            m.d.sync += self.ar.valid.eq(1)

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
            m.d.sync += self.fault_reader.eq(order.r_data)
        return m

    def _chosen(self, m: Module, grant: Signal) -> Signal:
        """A bit for the reader whose turn it is, if any requests anything.

        Round-robin: the reader after the last one served comes first. Which of two comes before
        the other is a register for each pair, so that only requests have to be looked at.
        """
        count = self._count
        chosen = Signal(count)
        granted = Signal(count, name="chosen_later") if self._short else chosen
        for index, request in enumerate(self.requests):
            outdone = []
            for other in range(count):
                if other == index:
                    continue
                # It comes first if the last one served is this reader or stands between the two.
                between = [(index + n) % count for n in range((other - index) % count)]
                first = Signal(init=0 in between, name=f"first_{other}_{index}")
                with m.If(grant):
                    m.d.sync += first.eq(Cat(granted[last] for last in between).any())
                outdone.append(first & self.requests[other].valid)
            m.d.comb += chosen[index].eq(request.valid & ~Cat(outdone).any())
        if self._short:  # wrong in the cycle after a grant, in which none follows
            m.d.sync += granted.eq(chosen)
        return granted


def _any_of(chosen: Signal, values: Iterable[ValueLike]) -> Value:
    """The value whose bit of `chosen` is set; 0 if none is."""
    return reduce(or_, (Mux(bit, value, 0) for bit, value in zip(chosen, values, strict=True)))
