"""The arbiter through which several AXI4 masters share one memory."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from tilewright.hw.axi import axi4
from tilewright.hw.queue import Queue

__all__ = ["BusArbiter"]

_UNDER_WAY = 8
_ADDRESS = ("addr", "len", "size", "burst")


class BusArbiter(wiring.Component):
    """Two AXI4 masters in front of one slave, burst by burst, in turn where both want something.

    Reads and writes are shared apart from each other. Addresses are passed on a cycle later, one a
    cycle, up to 8 bursts ahead of their answers; data and responses pass in the same cycle. So a
    master that is alone gets all of the memory's throughput. The slave must answer in the order of
    the addresses, and must not wait for a write's data before it takes the address.

    A master that does not take its read data holds the other's up.

    Parameters
    ----------
    data_bytes : of a beat

    Members
    -------
    masters : ``In(axi4(data_bytes)).array(2)``
    slave : ``Out(axi4(data_bytes))``
    """

    def __init__(self, data_bytes: int) -> None:
        self._data_bytes = data_bytes
        super().__init__({"masters": In(axi4(data_bytes)).array(2), "slave": Out(axi4(data_bytes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        self._reads(m)
        self._writes(m)
        return m

    def _addresses(self, m: Module, channel: str, owners: Queue) -> None:
        """Pass on addresses of channel "ar" or "aw", and note in `owners` whose they are."""
        slave = self.slave
        valids = Cat(getattr(master, f"{channel}valid") for master in self.masters)
        valid = getattr(slave, f"{channel}valid")
        free, chosen, last = (
            Signal(name=f"{channel}_{name}") for name in ("free", "chosen", "last")
        )
        m.d.comb += [
            free.eq((~valid | getattr(slave, f"{channel}ready")) & owners.w_rdy),
            chosen.eq(Mux(valids.all(), ~last, valids[1])),
            owners.w_data.eq(chosen),
            owners.w_en.eq(free & valids.any()),
        ]
        for index, master in enumerate(self.masters):
            m.d.comb += getattr(master, f"{channel}ready").eq(free & (chosen == index))
        with m.If(getattr(slave, f"{channel}ready")):
            m.d.sync += valid.eq(0)
        with m.If(owners.w_en):
            m.d.sync += [valid.eq(1), last.eq(chosen)]
            m.d.sync += [
                getattr(slave, channel + name).eq(
                    Array(getattr(master, channel + name) for master in self.masters)[chosen]
                )
                for name in _ADDRESS
            ]

    def _reads(self, m: Module) -> None:
        slave = self.slave
        m.submodules.readers = owners = Queue(width=1, depth=_UNDER_WAY)
        self._addresses(m, "ar", owners)
        owner = owners.r_data
        self._give(m, owner, owners.r_rdy, "r", ("data", "resp", "last"))
        m.d.comb += owners.r_en.eq(slave.rvalid & slave.rready & slave.rlast)

    def _writes(self, m: Module) -> None:
        """The data of writes follow the order of their addresses, and so do the responses."""
        slave = self.slave
        m.submodules.writers = writers = Queue(width=1, depth=_UNDER_WAY)
        m.submodules.answered = answered = Queue(width=1, depth=_UNDER_WAY)
        self._addresses(m, "aw", writers)
        writer = writers.r_data
        masters = Array(self.masters)
        # A burst's data end only where its response can be assigned.
        open_ = Signal()
        m.d.comb += [
            open_.eq(writers.r_rdy & answered.w_rdy),
            slave.wvalid.eq(masters[writer].wvalid & open_),
            slave.wdata.eq(masters[writer].wdata),
            slave.wstrb.eq(masters[writer].wstrb),
            slave.wlast.eq(masters[writer].wlast),
            writers.r_en.eq(slave.wvalid & slave.wready & slave.wlast),
            answered.w_en.eq(writers.r_en),
            answered.w_data.eq(writer),
            answered.r_en.eq(slave.bvalid & slave.bready),
        ]
        for index, master in enumerate(self.masters):
            m.d.comb += master.wready.eq(slave.wready & open_ & (writer == index))
        self._give(m, answered.r_data, answered.r_rdy, "b", ("resp",))

    def _give(
        self, m: Module, owner: Any, known: Any, channel: str, payload: tuple[str, ...]
    ) -> None:
        """Give what the slave answers on a channel to its owner."""
        slave = self.slave
        readies = Array(getattr(master, f"{channel}ready") for master in self.masters)
        m.d.comb += getattr(slave, f"{channel}ready").eq(readies[owner] & known)
        for index, master in enumerate(self.masters):
            mine = getattr(slave, f"{channel}valid") & known & (owner == index)
            m.d.comb += getattr(master, f"{channel}valid").eq(mine)
            m.d.comb += [
                getattr(master, channel + name).eq(getattr(slave, channel + name))
                for name in payload
            ]
