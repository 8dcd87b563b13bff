"""What is known of accelerator and memory while instructions are emitted one after another."""

from __future__ import annotations

import numpy as np

from tilewright.compiler.isa import Opcode
from tilewright.compiler.stream import Constants
from tilewright.compiler.target import Target
from tilewright.compiler.tokens import Draft

__all__ = ["Machine"]


class Machine:
    """What the schedule knows of the accelerator and the memory while it emits instructions."""

    def __init__(self, target: Target, addresses: dict[str, int], constants: Constants) -> None:
        self.target = target
        self.addresses = addresses
        self.constants = constants
        self.drafts: list[Draft] = []
        self.bank_user = np.full(target.act_depth, -1, np.int64)
        """Last CALC that reads each bank word."""
        self.half_store = [-1, -1]
        """Last STORE of each accumulator half."""
        self.half = 0
        self.writers: dict[str, dict[int, list[tuple[int, int, int]]]] = {}
        """STOREs of each tensor's channel blocks: (first row, last row, instruction)."""
        self.calc_time = 0
        self.load_time = 0
        self.load_ends: list[int] = []

    def emit(self, opcode: Opcode, needs: list[int], **fields: int) -> int:
        """Append an instruction; returns its index."""
        self.drafts.append(Draft(opcode, fields, [n for n in needs if n >= 0]))
        return len(self.drafts) - 1

    def writer(self, tensor: str, block: int, first: int, last: int) -> int:
        """Last STORE into rows [first, last) of a channel block, or -1."""
        stores = self.writers.get(tensor, {}).get(block, ())
        return max((i for a, b, i in stores if a < last and first < b), default=-1)
