"""What LOAD writes, on its way to the banks: packed pixels are rotated to their bank group."""

from __future__ import annotations

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from tilewright.compiler.target import Target
from tilewright.hw.flow import registered

__all__ = ["LoadRotator", "bank_addresses"]


def bank_addresses(target: Target) -> data.ArrayLayout:
    """An address for each group of banks that share one."""
    return data.ArrayLayout(ceil_log2(target.act_depth), target.bank_groups)


class LoadRotator(wiring.Component):
    """Writes a word to the banks, those of a packed pixel rotated by its phase.

    In words of P packed pixels, lanes and banks form P groups each. The pixel of phase f has lane
    group ``(b - f) mod P`` in bank group b, at the address whose low bits are that number too. Of a
    word that is not packed, every lane goes to its own bank, at the one address.

    A word a cycle, no handshake; it is written `Target.load_latency` cycles after it was given.

    Members
    -------
    enable : ``In(1)``
        A word is given.
    address, lanes : ``In``
        The word; the address of a packed one is a multiple of P.
    pack, phase : ``In(2)``, ``In(3)``
        log2(P), 0 if it is not packed; the pixel's phase.
    write_enable, write_address, write_data : ``Out``
        To the banks.
    """

    def __init__(self, target: Target) -> None:
        self._target = target
        lanes = data.ArrayLayout(signed(target.act_bits), target.rows)
        super().__init__(
            {
                "enable": In(1),
                "address": In(ceil_log2(target.act_depth)),
                "lanes": In(lanes),
                "pack": In(2),
                "phase": In(3),
                "write_enable": Out(1),
                "write_address": Out(bank_addresses(target)),
                "write_data": Out(lanes),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        groups = self._target.bank_groups
        distance = Signal(range(max(groups, 2)))  # of the rotation, in groups
        addresses = self._addresses(m, distance)
        enable, place, lanes = Value.cast(self.enable), Cat(addresses), Value.cast(self.lanes)
        turn: Value = distance
        if self._target.packs:
            enable = registered(m, enable, "enable", reset_less=False)
            place, lanes = registered(m, place, "place"), registered(m, lanes, "lanes")
            turn = registered(m, distance, "turn")
        width = len(lanes) // groups
        parts = [lanes.word_select(g, width) for g in range(groups)]
        for level in range(ceil_log2(groups)):
            parts = [
                Mux(turn[level], parts[(g - (1 << level)) % groups], part)
                for g, part in enumerate(parts)
            ]
        word: Value = Cat(parts)
        for stage in range(1 + self._target.edge_registers):
            enable = registered(m, enable, f"enable_{stage}", reset_less=False)
            place = registered(m, place, f"place_{stage}")
            word = registered(m, word, f"word_{stage}")
        m.d.comb += [
            self.write_enable.eq(enable),
            self.write_address.eq(place),
            self.write_data.eq(word),
        ]
        return m

    def _addresses(self, m: Module, distance: Signal) -> list[Signal]:
        """Where each group of banks is written; also assigns how far the lanes are rotated."""
        packs, groups = self._target.packs, self._target.bank_groups
        addresses = [Signal.like(self.address, name=f"address_{g}") for g in range(groups)]
        with m.Switch(self.pack if packs else 0):
            for pixels in packs:
                bits, finer = ceil_log2(pixels), ceil_log2(groups // pixels)
                with m.Case(bits):
                    m.d.comb += distance.eq(self.phase[:bits] << finer)
                    for group, own in enumerate(addresses):
                        low = ((group >> finer) - self.phase)[:bits]
                        m.d.comb += own.eq(Cat(low, self.address[bits:]))
            with m.Default():
                m.d.comb += [own.eq(self.address) for own in addresses]
        return addresses
