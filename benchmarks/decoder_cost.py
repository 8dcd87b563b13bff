"""What the decoder of compressed weights costs: an accelerator with and without it, by Yosys.

    python benchmarks/decoder_cost.py

Writes results/decoder_cost.json: cells of the WEIGHTS unit and of the whole, for ECP5.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

from measuring import save

from tilewright.compiler.target import Target
from tilewright.simulation import cache_folder
from tilewright.sweep.synthesis import SYNTHESIS, synthesize, total

__all__ = ["main"]

FAMILY = "ecp5"
TARGET = Target(
    name="cost",
    rows=4,
    cols=8,
    act_depth=512,
    acc_depth=64,
    burst_beats=16,
    multiplier=FAMILY,
    multiplier_stages=3,
)
LANES = (0, 2, 4)


def main() -> int:
    """Synthesize, and keep the counts."""
    rows = []
    for lanes in LANES:
        target = Target(**{**asdict(TARGET), "decoder_lanes": lanes})
        counts = synthesize(target, FAMILY, cache_folder())
        rows.append({"lanes": lanes, "weights": counts["weights_unit"], "all": total(counts)})
        print(json.dumps(rows[-1]), flush=True)
    save("decoder_cost", {"target": asdict(TARGET), "synthesis": SYNTHESIS, "designs": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
