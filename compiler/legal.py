"""Which instructions the hardware refuses: one table for the decoder, the tests and the documents.

The decoder refuses what would stop a unit for good or let it work without end: counts of zero,
windows and lanes that do not exist, unaligned addresses. What only two instructions together show
(a token that no one gives, a stream too short for its tiles) it cannot see; WATCHDOG ends that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tilewright.compiler.isa import FIELDS, Opcode
from tilewright.compiler.target import Target

__all__ = [
    "MOST_TOKENS",
    "RULES",
    "UNKNOWN_OPCODE",
    "Rule",
    "bound",
    "broken_rule",
    "most_tokens",
    "row_beats",
]

UNKNOWN_OPCODE = 1
"""FAULT's reason for an opcode that does not exist; those of the rules follow."""

MOST_TOKENS = 15
"""Tokens that one instruction can wait for; the compiler's wait for one, and on a target whose
units have no queue that is all that can be waited for."""


def most_tokens(target: Target) -> int:
    """Tokens that one instruction can wait for on a target."""
    return MOST_TOKENS if target.unit_queue > 1 else 1


def row_beats(target: Target, pixels: int) -> int:
    """Bus beats of a row of so many pixels, as far as an instruction can tell them."""
    return min(-(-pixels * target.pixel_bytes // target.bus_bytes), (1 << 16) - 1)


_BOUNDS: dict[str, Callable[[Target], int]] = {
    "tokens": lambda target: most_tokens(target),
    "beats of act_depth pixels": lambda target: row_beats(target, target.act_depth),
    "beats of acc_depth pixels": lambda target: row_beats(target, target.acc_depth),
    "rows": lambda target: target.rows,
    "cols": lambda target: target.cols,
    "act_depth": lambda target: target.act_depth,
    "acc_depth": lambda target: target.acc_depth,
    "acc_depth - 1": lambda target: target.acc_depth - 1,
    "containers - 1": lambda target: len(target.weight_containers) - 1,
    "target.activations": lambda target: target.function_count,
    "target.scaled": lambda target: int(target.scaled),
    "target.leaky": lambda target: int(target.leaky),
    "decoders": lambda target: int(target.decoder_lanes > 0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What the sum of some fields of an instruction must be.

    Attributes
    ----------
    code : FAULT's reason when it is broken; never used for another rule again
    opcode, fields : which fields are added
    positive : the sum must not be 0
    most : name of its upper bound, see `bound`; None: any
    aligned : the (only) field must be a multiple of the bus's bytes
    given : the rule holds only if this field is not 0
    """

    code: int
    opcode: Opcode
    fields: tuple[str, ...]
    positive: bool = False
    most: str | None = None
    aligned: bool = False
    given: str | None = None

    def __str__(self) -> str:
        what = " + ".join(self.fields)
        if self.aligned:
            text = f"{what} must be a multiple of bus_bytes"
        elif self.most is None:
            text = f"{what} must not be 0"
        else:
            text = f"{what} must be in {int(self.positive)}..{self.most}"
        return f"{text} unless {self.given} is 0" if self.given else text


def bound(rule: Rule, target: Target) -> int | None:
    """The upper bound of a rule on a target."""
    return None if rule.most is None else _BOUNDS[rule.most](target)


def _counts(code: int, opcode: Opcode, *fields: str, most: str | None = None) -> list[Rule]:
    """Rules, numbered from `code`, that none of `fields` is 0."""
    return [
        Rule(code=code + at, opcode=opcode, fields=(field,), positive=True, most=most)
        for at, field in enumerate(fields)
    ]


def _aligned(code: int, opcode: Opcode, *fields: str) -> list[Rule]:
    return [
        Rule(code=code + at, opcode=opcode, fields=(field,), aligned=True)
        for at, field in enumerate(fields)
    ]


def _waits(code: int, opcode: Opcode, *fields: str) -> list[Rule]:
    return [
        Rule(code=code + at, opcode=opcode, fields=(field,), most="tokens")
        for at, field in enumerate(fields)
    ]


RULES: tuple[Rule, ...] = (
    *_aligned(2, Opcode.LOAD, "address", "pitch"),
    Rule(code=4, opcode=Opcode.LOAD, fields=("rows",), most="act_depth"),
    Rule(code=5, opcode=Opcode.LOAD, fields=("cols",), most="act_depth"),
    Rule(code=6, opcode=Opcode.LOAD, fields=("rows", "pad_top", "pad_bottom"), positive=True),
    Rule(code=7, opcode=Opcode.LOAD, fields=("cols", "pad_left", "pad_right"), positive=True),
    Rule(code=8, opcode=Opcode.LOAD, fields=("cols",), positive=True, given="rows"),
    Rule(code=9, opcode=Opcode.LOAD, fields=("row_beats",), positive=True, given="rows"),
    *_waits(10, Opcode.LOAD, "wait_calc", "wait_store"),
    Rule(code=12, opcode=Opcode.LOAD, fields=("row_beats",), most="beats of act_depth pixels"),
    *_aligned(16, Opcode.WEIGHTS, "address"),
    *_counts(17, Opcode.WEIGHTS, "beats", "tiles"),
    Rule(code=19, opcode=Opcode.WEIGHTS, fields=("container",), most="containers - 1"),
    Rule(code=20, opcode=Opcode.WEIGHTS, fields=("coded",), most="decoders"),
    Rule(code=21, opcode=Opcode.WEIGHTS, fields=("block",), most="decoders"),
    *_counts(32, Opcode.CALC, "tiles0", "tiles1", "tiles2"),
    *_counts(35, Opcode.CALC, "rows", "cols", most="acc_depth"),
    Rule(code=37, opcode=Opcode.CALC, fields=("acc_base",), most="acc_depth - 1"),
    *_waits(38, Opcode.CALC, "wait_load", "wait_store"),
    Rule(code=40, opcode=Opcode.CALC, fields=("scales",), most="target.scaled"),
    *_aligned(48, Opcode.STORE, "params", "address", "pitch"),
    *_counts(51, Opcode.STORE, "rows", "cols", most="acc_depth"),
    *_counts(53, Opcode.STORE, "row_beats", most="beats of acc_depth pixels"),
    *_counts(54, Opcode.STORE, "win_rows", "win_cols"),
    Rule(code=56, opcode=Opcode.STORE, fields=("acc_base",), most="acc_depth - 1"),
    Rule(code=57, opcode=Opcode.STORE, fields=("leaky",), most="target.leaky"),
    Rule(code=65, opcode=Opcode.STORE, fields=("function",), most="target.activations"),
    *_counts(58, Opcode.STORE, "lanes"),
    Rule(code=59, opcode=Opcode.STORE, fields=("src_lane", "lanes"), most="cols"),
    Rule(code=60, opcode=Opcode.STORE, fields=("dst_lane", "lanes"), most="rows"),
    *_waits(61, Opcode.STORE, "wait_calc"),
    *_aligned(64, Opcode.STAMP, "address"),
)
"""In the order in which the decoder looks: of several broken ones the first is reported."""


def broken_rule(data: bytes, target: Target) -> tuple[int, str] | None:
    """Why the decoder of `target` refuses an encoded instruction: FAULT's reason, and in words."""
    word = int.from_bytes(data, "little")
    code = word & 15
    if code not in {int(opcode) for opcode in Opcode}:
        return UNKNOWN_OPCODE, f"opcode {code} does not exist"
    opcode = Opcode(code)
    values = {}
    for field in FIELDS[opcode]:
        values[field.name] = word & ((1 << field.bits) - 1)
        word >>= field.bits
    for rule in RULES:
        if rule.opcode is opcode and _broken(rule, values, target):
            found = sum(values[name] for name in rule.fields)
            return rule.code, f"{opcode.name}: {_with_bound(rule, target)}, not {found}"
    return None


def _broken(rule: Rule, values: dict[str, int], target: Target) -> bool:
    if rule.given is not None and not values[rule.given]:
        return False
    total, most = sum(values[name] for name in rule.fields), bound(rule, target)
    return (
        (rule.positive and not total)
        or (most is not None and total > most)
        or (rule.aligned and total % target.bus_bytes != 0)
    )


def _with_bound(rule: Rule, target: Target) -> str:
    text = str(rule).replace("bus_bytes", f"{target.bus_bytes} bytes")
    return text if rule.most is None else text.replace(rule.most, str(bound(rule, target)))
