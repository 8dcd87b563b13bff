"""The bus arbiter of small boards: single beats, one under way."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.hw.axi import axi4

__all__ = ["BeatBusArbiter"]

_ADDRESS = ("addr", "size", "burst")


class BeatBusArbiter(wiring.Component):
    """Two AXI4 masters of single beats in front of one slave; one read and one write under way.

    Reads and writes are shared apart from each other. The bus is the second master's, without a
    delay, until the first wants something and the second does not. Both keep their addresses and
    data until they are taken, as AXI wants it; a burst has one beat.

    Parameters
    ----------
    data_bytes : of a beat

    Members
    -------
    masters : ``In(axi4(data_bytes)).array(2)``
    slave : ``Out(axi4(data_bytes))``
    """

    def __init__(self, data_bytes: int) -> None:
        super().__init__({"masters": In(axi4(data_bytes)).array(2), "slave": Out(axi4(data_bytes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._channels(m, "ar", (), "r", ("data", "resp", "last"))
        self._channels(m, "aw", ("w",), "b", ("resp",))
        return m

    def _channels(
        self, m: Module, address: str, more: tuple[str, ...], answer: str, payload: tuple[str, ...]
    ) -> None:
        """The channels of reads, or of writes: what is asked on some is answered on the last."""
        slave, (first, second) = self.slave, self.masters
        guest = Signal(name=f"{address}_guest")  # the first master has the bus
        asked: Any = 0
        under_way: Any = 0
        for channel in (address, *more):
            done = Signal(name=f"{channel}_done")  # taken, and not answered
            valid = getattr(slave, f"{channel}valid")
            ready = getattr(slave, f"{channel}ready")
            m.d.comb += valid.eq(
                Mux(guest, getattr(first, f"{channel}valid"), getattr(second, f"{channel}valid"))
                & ~done
            )
            for master, mine in ((first, guest), (second, ~guest)):
                m.d.comb += getattr(master, f"{channel}ready").eq(ready & mine & ~done)
            with m.If(valid & ready):
                m.d.sync += done.eq(1)
            with m.If(getattr(slave, f"{answer}valid") & getattr(slave, f"{answer}ready")):
                m.d.sync += done.eq(0)
            names = ("data", "strb", "last") if channel == "w" else _ADDRESS
            m.d.comb += [
                getattr(slave, channel + name).eq(
                    Mux(guest, getattr(first, channel + name), getattr(second, channel + name))
                )
                for name in names
            ]
            asked, under_way = asked | valid, under_way | done
        with m.If(~asked & ~under_way):
            m.d.sync += guest.eq(getattr(first, f"{address}valid"))
        m.d.comb += getattr(slave, f"{answer}ready").eq(
            Mux(guest, getattr(first, f"{answer}ready"), getattr(second, f"{answer}ready"))
        )
        for master, mine in ((first, guest), (second, ~guest)):
            m.d.comb += getattr(master, f"{answer}valid").eq(
                getattr(slave, f"{answer}valid") & mine
            )
            m.d.comb += [
                getattr(master, answer + name).eq(getattr(slave, answer + name)) for name in payload
            ]
