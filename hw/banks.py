"""The activation banks: one per array row, each read at its own address."""

from __future__ import annotations

from amaranth.hdl import Module, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.target import Target
from tilewright.hw.bank_row import BankRow, pixel_layout
from tilewright.hw.load_rotator import bank_addresses

__all__ = ["ActivationBanks"]


class ActivationBanks(wiring.Component):
    """R banks of act_depth words; row r sees every pixel and every weight word r cycles late.

    A pixel given in cycle t has its activation for row r at ``activations[r]`` in cycle
    t + Target.bank_latency + r. A tile's R words may be given from the cycle of the previous tile's swap
    on; the tile's own swap may come one cycle after its last word. One pixel, one word and one
    write a cycle, no handshake.

    Members
    -------
    pixel : ``In(pixel_layout(target))``
        Pixel issued by CALC.
    word_valid, word_offset : ``In(1)``, ``In(address)``
        A weight row given to the array, and the offset that came with it.
    write_enable, write_address, write_data : ``In``
        Port of the LOAD unit: a lane for each bank, an address for each group of banks.
    activations, swap, capture : ``Out``
        To the array.
    scales : ``Out(1)``
        Only if the target is scaled: the last row's.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        address = ceil_log2(target.act_depth)
        lanes = data.ArrayLayout(signed(target.act_bits), target.rows)
        super().__init__(
            {
                "pixel": In(pixel_layout(target)),
                "word_valid": In(1),
                "word_offset": In(address),
                "write_enable": In(1),
                "write_address": In(bank_addresses(target)),
                "write_data": In(lanes),
                "activations": Out(lanes),
                "swap": Out(target.rows),
                "capture": Out(target.rows),
                **({"scales": Out(1)} if target.scaled else {}),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        pixel = self.pixel
        word: object = None
        group = self._target.rows // self._target.bank_groups  # banks that share an address
        for r in range(self._target.rows):
            m.submodules[f"row_{r}"] = row = BankRow(self._target, r)
            if word is None:
                m.d.comb += [
                    row.word_in.valid.eq(self.word_valid),
                    row.word_in.offset.eq(self.word_offset),
                ]
            else:
                m.d.comb += row.word_in.eq(word)
            m.d.comb += [
                row.pixel_in.eq(pixel),
                row.write_enable.eq(self.write_enable),
                row.write_address.eq(self.write_address[r // group]),
                row.write_data.eq(self.write_data[r]),
                self.activations[r].eq(row.activation),
                self.swap[r].eq(row.swap),
                self.capture[r].eq(row.capture),
            ]
            pixel, word = row.pixel_out, row.word_out
        if self._target.scaled:
            m.d.comb += self.scales.eq(row.scales)
        return m
