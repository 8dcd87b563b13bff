"""A memory of block RAM behind an AXI4 port."""

from __future__ import annotations

from amaranth.hdl import Module, Mux
from amaranth.lib import wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In

from tilewright.boards.memory.beats import DECERR, OKAY, BurstBeats, check_size
from tilewright.errors import TilewrightError
from tilewright.hw.axi import axi4

__all__ = ["BlockMemory"]


class BlockMemory(wiring.Component):
    """Block RAM from address 0 on; reads and writes each move a beat a cycle, at the same time.

    Bursts are INCR and of the full width. The first beat of a read is there two cycles after its
    address, a response one cycle after the last beat of its write. Bursts beyond the memory are
    answered with DECERR and write nothing. What a read finds of a write that has not been answered
    is not defined.

    Parameters
    ----------
    size : bytes, a multiple of 4096
    data_bytes : of a beat
    init : contents at power-up, from address 0 on, where the FPGA's bitstream can hold them

    Members
    -------
    bus : ``In(axi4(data_bytes))``
    """

    def __init__(self, size: int, data_bytes: int, *, init: bytes = b"") -> None:
        check_size("BlockMemory", size, data_bytes)
        if len(init) > size:
            raise TilewrightError(
                f"BlockMemory: init has {len(init)} bytes, but the memory only {size}"
            )
        self._size, self._data_bytes, self._init = size, data_bytes, init
        super().__init__({"bus": In(axi4(data_bytes))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        step = self._data_bytes
        words = [
            int.from_bytes(self._init[at : at + step], "little")
            for at in range(0, len(self._init), step)
        ]
        m.submodules.storage = storage = Memory(
            shape=8 * step, depth=self._size // step, init=words
        )
        self._reads(m, storage)
        self._writes(m, storage)
        return m

    def _reads(self, m: Module, storage: Memory) -> None:
        bus = self.bus
        port = storage.read_port()
        m.submodules.read_beats = beats = BurstBeats(self._size, self._data_bytes)
        m.d.comb += [
            beats.i.valid.eq(bus.arvalid),
            beats.i.p.address.eq(bus.araddr),
            beats.i.p.length.eq(bus.arlen),
            bus.arready.eq(beats.i.ready),
            beats.o.ready.eq(~bus.rvalid | bus.rready),
            port.en.eq(beats.o.ready),
            port.addr.eq(beats.o.p.word),
            bus.rdata.eq(port.data),
        ]
        with m.If(beats.o.ready):
            m.d.sync += [
                bus.rvalid.eq(beats.o.valid),
                bus.rlast.eq(beats.o.p.last),
                bus.rresp.eq(Mux(beats.o.p.outside, DECERR, OKAY)),
            ]

    def _writes(self, m: Module, storage: Memory) -> None:
        bus = self.bus
        port = storage.write_port(granularity=8)
        m.submodules.write_beats = beats = BurstBeats(self._size, self._data_bytes)
        m.d.comb += [
            beats.i.valid.eq(bus.awvalid),
            beats.i.p.address.eq(bus.awaddr),
            beats.i.p.length.eq(bus.awlen),
            bus.awready.eq(beats.i.ready),
            bus.wready.eq(beats.o.valid & (~bus.bvalid | bus.bready)),
            beats.o.ready.eq(bus.wvalid & bus.wready),
            port.en.eq(Mux(beats.o.ready & ~beats.o.p.outside, bus.wstrb, 0)),
            port.addr.eq(beats.o.p.word),
            port.data.eq(bus.wdata),
        ]
        with m.If(bus.bready):
            m.d.sync += bus.bvalid.eq(0)
        with m.If(beats.o.ready & beats.o.p.last):
            m.d.sync += [
                bus.bvalid.eq(1),
                bus.bresp.eq(Mux(beats.o.p.outside, DECERR, OKAY)),
            ]
