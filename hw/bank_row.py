"""One activation bank with its address path and its row's offset."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.target import Target

__all__ = ["BankRow", "pixel_layout"]


def pixel_layout(target: Target) -> data.StructLayout:
    """What travels down the rows for each pixel: bank address, first of a tile, use offsets."""
    return data.StructLayout(
        {"address": unsigned(ceil_log2(target.act_depth)), "swap": 1, "gather": 1}
    )


class BankRow(wiring.Component):
    """One bank, its address path and its row's double-buffered offset.

    The first weight word that arrives after a swap is this row's: it is captured and goes no
    further; later ones pass to the next row. So a tile's R words, sent in row order, each find
    their row without an address.

    Members
    -------
    pixel_in, pixel_out : pixel_layout
        Pixel travelling down, one row a cycle.
    word_in, word_out : ``{"valid": 1, "offset": address}``
        Weight words' offsets travelling down, one row a cycle.
    write_enable, write_address, write_data
        Port of the LOAD unit.
    activation : ``Out(signed(act_bits))``
        Target.bank_latency cycles after `pixel_in`.
    swap, capture : ``Out(1)``
        For the array's row, aligned with `activation`.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        address = ceil_log2(target.act_depth)
        word = data.StructLayout({"valid": 1, "offset": unsigned(address)})
        super().__init__(
            {
                "pixel_in": In(pixel_layout(target)),
                "pixel_out": Out(pixel_layout(target)),
                "word_in": In(word),
                "word_out": Out(word),
                "write_enable": In(1),
                "write_address": In(address),
                "write_data": In(signed(target.act_bits)),
                "activation": Out(signed(target.act_bits)),
                "swap": Out(1),
                "capture": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        target = self._target
        m.submodules.bank = bank = Memory(
            shape=signed(target.act_bits), depth=target.act_depth, init=[]
        )
        read, write = bank.read_port(), bank.write_port()
        m.d.comb += [
            write.en.eq(self.write_enable),
            write.addr.eq(self.write_address),
            write.data.eq(self.write_data),
        ]

        # Weight words: keep the first after a swap, pass the others on.
        have = Signal()
        capture = Signal()
        upcoming = Signal.like(self.word_in.offset, reset_less=True)
        offset = Signal.like(self.word_in.offset, reset_less=True)
        m.d.comb += capture.eq(self.word_in.valid & (~have | self.pixel_in.swap))
        m.d.sync += [
            have.eq(capture | (have & ~self.pixel_in.swap)),
            self.word_out.valid.eq(self.word_in.valid & ~capture),
            self.word_out.offset.eq(self.word_in.offset),
            self.pixel_out.eq(self.pixel_in),
        ]
        with m.If(capture):
            m.d.sync += upcoming.eq(self.word_in.offset)
        with m.If(self.pixel_in.swap):
            m.d.sync += offset.eq(upcoming)

        # Address, read, and one more register: a block RAM's output is slow.
        in_use = Mux(self.pixel_in.swap, upcoming, offset)
        address = Signal.like(read.addr, reset_less=True)
        m.d.sync += address.eq(self.pixel_in.address + Mux(self.pixel_in.gather, in_use, 0))
        m.d.comb += read.addr.eq(address)
        activation = read.data
        for stage in range(1 + target.edge_registers):
            later = Signal(signed(target.act_bits), name=f"activation_{stage}", reset_less=True)
            m.d.sync += later.eq(activation)
            activation = later
        m.d.comb += self.activation.eq(activation)
        for name, source in (("swap", self.pixel_in.swap), ("capture", capture)):
            delayed = source
            for stage in range(target.bank_latency):
                register = Signal(name=f"{name}_{stage}")
                m.d.sync += register.eq(delayed)
                delayed = register
            m.d.comb += getattr(self, name).eq(delayed)
        return m
