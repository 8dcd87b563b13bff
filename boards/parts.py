"""What an FPGA has of each resource."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PARTS"]

_ECP5_25 = {"lut": 24288, "ff": 24288, "dsp": 28, "bram": 56}
_ECP5_85 = {"lut": 83640, "ff": 83640, "dsp": 156, "bram": 208}

PARTS: Mapping[str, Mapping[str, int]] = {
    "LFE5U-25F-6BG256C": _ECP5_25,
    "LFE5U-85F-6BG381C": _ECP5_85,
}
"""By a board's `part`: LUTs, flip-flops, multiplier blocks and block RAMs, as nextpnr counts them."""
