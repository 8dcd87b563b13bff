"""Instruction layouts for the hardware, taken from the one definition in the compiler."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Value, signed, unsigned
from amaranth.lib import data
from amaranth.utils import bits_for, ceil_log2, exact_log2

from tilewright.compiler.isa import FIELDS, Field, Opcode
from tilewright.compiler.legal import RULES, bound
from tilewright.compiler.target import Target

__all__ = ["QUEUED_BITS", "Excerpt", "instruction_layout"]

QUEUED_BITS = max(sum(field.bits for field in fields) for fields in FIELDS.values())
"""Bits of an instruction that any opcode uses; the rest is never stored."""

_BANK_ADDRESSES = {
    Opcode.LOAD: ("bank_address",),
    Opcode.CALC: ("base", "step0", "step1", "step2", "row_step", "col_step"),
}
_MEMORY_ADDRESSES = {
    Opcode.LOAD: ("address", "pitch"),
    Opcode.WEIGHTS: ("address", "beats", "tiles"),
    Opcode.STORE: ("params", "address", "pitch"),
}
"""Fields that the address space bounds."""
_ACCUMULATOR_ADDRESSES = {
    Opcode.CALC: ("acc_base", "acc_step"),
    Opcode.STORE: ("acc_base", "acc_row_step", "acc_col_step", "win_row_step"),
}
"""Fields that are only ever added to addresses, modulo the memory's."""


def instruction_layout(opcode: Opcode) -> data.StructLayout:
    """Layout of the fields of `opcode`."""
    return data.StructLayout(
        {f.name: signed(f.bits) if f.signed else unsigned(f.bits) for f in FIELDS[opcode]}
    )


class Excerpt:
    """Some fields of an instruction, in the bits that they can differ in on a target.

    The rules of `compiler/legal.py` bound fields and align them; addresses count modulo the depth
    of what they address; what the target has no hardware for is left out.

    Parameters
    ----------
    target, opcode, names
        Which fields of which instruction.
    """

    def __init__(self, target: Target, opcode: Opcode, names: tuple[str, ...]) -> None:
        fields = {field.name: field for field in FIELDS[opcode]}
        self._opcode = opcode
        self._kept = {name: _kept(target, opcode, fields[name]) for name in names}

    @property
    def width(self) -> int:
        """Bits of all fields together."""
        return sum(len(bits) for bits in self._kept.values())

    def bits(self, name: str) -> int:
        """Bits of a field up to its highest one that can be set."""
        return self._kept[name].stop

    @property
    def places(self) -> tuple[int, ...]:
        """Which bit of an instruction each bit is."""
        first, places = 0, []
        for field in FIELDS[self._opcode]:
            firsts = {name: bits for name, bits in self._kept.items() if name == field.name}
            places += [(field.name, first + bit) for bits in firsts.values() for bit in bits]
            first += field.bits
        order = list(self._kept)
        return tuple(
            place for _, place in sorted(places, key=lambda at: (order.index(at[0]), at[1]))
        )

    def pack(self, job: data.View) -> Value:
        """The fields' bits, side by side."""
        return Cat(
            Value.cast(job[name])[bits.start : bits.stop] for name, bits in self._kept.items()
        )

    def unpack(self, packed: Value) -> data.View:
        """A whole instruction with these fields; the other bits, signs included, are 0."""
        parts: list[Value] = []
        places = {}
        offset = 0
        for name, bits in self._kept.items():
            places[name] = packed[offset : offset + len(bits)]
            offset += len(bits)
        for field in FIELDS[self._opcode]:
            bits = self._kept.get(field.name, range(0))
            kept = places.get(field.name, Const(0, 0))
            above = Const(0, field.bits - bits.stop)
            parts.append(Cat(Const(0, bits.start), kept, above))
        return data.View(instruction_layout(self._opcode), Cat(parts))


def _kept(target: Target, opcode: Opcode, field: Field) -> range:
    """The bits of a field that the hardware looks at."""
    first, end = 0, field.bits
    for rule in RULES:
        if rule.opcode is opcode and field.name in rule.fields and rule.given is None:
            if rule.aligned:
                first = exact_log2(target.bus_bytes)
            most = bound(rule, target)
            if most is not None:
                end = min(end, bits_for(most) if most else 0)
    if field.name in _BANK_ADDRESSES.get(opcode, ()):
        end = min(end, ceil_log2(target.act_depth))
    if field.name in _MEMORY_ADDRESSES.get(opcode, ()):
        # There are at most four tiles a byte: one cell of two bits.
        end = min(end, target.address_bits + (2 if field.name == "tiles" else 0))
    if field.name in _ACCUMULATOR_ADDRESSES.get(opcode, ()):
        end = min(end, ceil_log2(target.acc_depth))
    if field.name in ("lo", "hi"):
        end = target.act_bits
    if (field.name in ("pack", "phase") and not target.packs) or (
        (field.name in ("slope_multiplier", "slope_shift") and not target.leaky)
        or (field.name == "function_shift" and not target.activations)
    ):
        end = 0
    return range(min(first, end), end)
