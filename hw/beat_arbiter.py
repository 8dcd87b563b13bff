"""The read arbiter of small targets: one beat under way."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value
from amaranth.lib import wiring

from tilewright.compiler.target import Target
from tilewright.hw.read_arbiter import arbiter_members

__all__ = ["BeatArbiter"]


class BeatArbiter(wiring.Component):
    """Shares AXI's read channels among `count` readers of single beats, one of which is under way.

    Of several that ask, the first one's turn it is: each holds one beat until its consumer takes it,
    so none can keep the others from the bus. An error stops everything until reset.

    Members
    -------
    As those of ReadArbiter.
    """

    def __init__(self, target: Target, count: int) -> None:
        self._target, self._count = target, count
        super().__init__(arbiter_members(count))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        busy = Signal()
        owner = Signal(self._count, reset_less=True)  # a bit for each
        address = Signal(self._target.address_bits, reset_less=True)
        free = Signal()
        wanted = Signal(self._count)
        error = self.fault.error
        m.d.comb += [
            free.eq(~busy & ~self.halt & ~error),
            self.idle.eq(~busy),
            self.ar.p.address.eq(address),
            self.fault.address.eq(address),
            self.beat_valid.eq(owner & self.r_valid.replicate(self._count)),
        ]
        before: list[Value] = []
        for index, request in enumerate(self.requests):
            m.d.comb += [
                wanted[index].eq(request.valid & ~Cat(before).any()),
                request.ready.eq(free & wanted[index]),
            ]
            before.append(request.valid)
        chosen = self.requests[-1].p.address
        for index in reversed(range(self._count - 1)):
            chosen = Mux(wanted[index], self.requests[index].p.address, chosen)
        with m.If(free):
            m.d.sync += [
                owner.eq(wanted),
                address.eq(chosen),
                busy.eq(wanted.any()),
                self.ar.valid.eq(wanted.any()),
            ]
        with m.Elif(self.ar.ready):
            m.d.sync += self.ar.valid.eq(0)
        with m.If(self.r_valid):
            m.d.sync += busy.eq(0)
        with m.If(~error):
            m.d.sync += [
                error.eq(self.r_valid & self.r_resp[1]),
                self.fault.response.eq(self.r_resp),
            ]
        for index in range(1, self._count):
            with m.If(owner[index]):
                m.d.comb += self.fault_reader.eq(index)
        return m
