"""What a requantizing shift for each column costs: the STORE unit with and without it, by Yosys.

The unit holds the columns' records and the requantizers. Without the table every column shifts as the
last does, and the others' shifts are not kept.

    python benchmarks/shift_table.py

Writes results/shift_table.json: cells of the unit, for ECP5.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any
from unittest.mock import patch

from amaranth import Module, Signal
from decoder_cost import FAMILY, TARGET
from measuring import save

from tilewright.hw.postprocess import PostProcess
from tilewright.hw.store import StoreUnit
from tilewright.hw.verilog import component_verilog
from tilewright.simulation import cache_folder
from tilewright.sweep.synthesis import SYNTHESIS, synthesize_verilog, total

__all__ = ["main"]

TOP = "store_unit"


class OneShift(PostProcess):
    """Post-processing whose columns all take the last one's shift: records come in by it."""

    def elaborate(self, platform: object) -> Module:
        own = self.records
        self.records = Signal(own.shape(), name="one_shift")
        m = super().elaborate(platform)
        for record, column in zip(self.records, own, strict=True):
            m.d.comb += [record.bias.eq(column.bias), record.shift.eq(own[-1].shift)]
        self.records = own
        return m


def main() -> int:
    """Synthesize, and keep the counts."""
    rows: list[dict[str, Any]] = []
    for name, kind in (("a shift a column", PostProcess), ("one shift", OneShift)):
        with patch("tilewright.hw.store.PostProcess", kind):
            text = component_verilog(StoreUnit(TARGET), name=TOP, prefix=TARGET.prefix)
        counts = total(synthesize_verilog(text, TOP, FAMILY, cache_folder()))
        rows.append({"design": name, **counts})
        print(json.dumps(rows[-1]), flush=True)
    save("shift_table", {"target": asdict(TARGET), "synthesis": SYNTHESIS, "designs": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
