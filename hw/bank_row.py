"""One activation bank with its address path and its row's offset."""

from __future__ import annotations

from amaranth.hdl import Const, Module, Mux, Signal, Value, signed, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.microarchitecture import BANK_LATENCY
from tilewright.compiler.target import Target

__all__ = ["BankRow", "pixel_layout"]


def pixel_layout(target: Target) -> data.StructLayout:
    """What travels down the rows for each pixel: bank address, first of a tile, use offsets.

    Where columns have scales, also whether it is one that brings them.
    """
    scales = {"scales": 1} if target.scaled else {}
    return data.StructLayout(
        {"address": unsigned(ceil_log2(target.act_depth)), "swap": 1, "gather": 1, **scales}
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
        Target.bank_latency cycles after `pixel_in`. For a pixel that brings scales it is 2**index
        instead of a bank's word.
    swap, capture : ``Out(1)``
        For the array's row, aligned with `activation`.
    scales : ``Out(1)``
        Only if the target is scaled: the same.
    """

    def __init__(self, target: Target, index: int) -> None:
        self._target = target
        self._bit = 1 << index if index < target.weight_bits else 0
        scales = {"scales": Out(1)} if target.scaled else {}
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
                **scales,
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
        marks = {"swap": self.pixel_in.swap, "capture": capture}
        if target.scaled:
            marks["scales"] = self.pixel_in.scales
        delayed = {name: self._delayed(m, name, source) for name, source in marks.items()}
        m.d.comb += [getattr(self, name).eq(stages[-1]) for name, stages in delayed.items()]
        activation: Value = read.data
        if target.scaled:
            instead = Const(self._bit, target.act_bits).as_signed()
            activation = Mux(delayed["scales"][BANK_LATENCY - 2], instead, activation)
        for stage in range(1 + target.edge_registers):
            later = Signal(signed(target.act_bits), name=f"activation_{stage}", reset_less=True)
            m.d.sync += later.eq(activation)
            activation = later
        m.d.comb += self.activation.eq(activation)
        return m

    def _delayed(self, m: Module, name: str, source: Value) -> list[Signal]:
        """A bit after each cycle on its way beside the activation."""
        stages: list[Signal] = []
        for stage in range(self._target.bank_latency):
            register = Signal(name=f"{name}_{stage}")
            m.d.sync += register.eq(stages[-1] if stages else source)
            stages.append(register)
        return stages
