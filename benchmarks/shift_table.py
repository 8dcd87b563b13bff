"""What a requantizing shift for each column costs: an accelerator with and without it, by Yosys.

Without it every column shifts as the first does, and the others' shifts are neither kept nor loaded.

    python benchmarks/shift_table.py

Writes results/shift_table.json: cells of the STORE unit and of the whole, for ECP5.
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
from tilewright.simulation import cache_folder
from tilewright.sweep.synthesis import SYNTHESIS, synthesize, total

__all__ = ["main"]


class OneShift(PostProcess):
    """Post-processing whose columns all take the first one's shift."""

    def elaborate(self, platform: object) -> Module:
        own = self.records
        self.records = Signal(own.shape(), name="one_shift")
        m = super().elaborate(platform)
        for record, column in zip(self.records, own, strict=True):
            m.d.comb += [record.bias.eq(column.bias), record.shift.eq(own[0].shift)]
        self.records = own
        return m


def main() -> int:
    """Synthesize, and keep the counts."""
    rows: list[dict[str, Any]] = []
    for name, kind in (("a shift a column", PostProcess), ("one shift", OneShift)):
        with patch("tilewright.hw.store.PostProcess", kind):
            counts = synthesize(TARGET, FAMILY, cache_folder())
        rows.append({"design": name, "store": counts["store_unit"], "all": total(counts)})
        print(json.dumps(rows[-1]), flush=True)
    save("shift_table", {"target": asdict(TARGET), "synthesis": SYNTHESIS, "designs": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
