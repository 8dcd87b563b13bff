"""What the resources of each unit grow with: features of a target, and the units that have them."""

from __future__ import annotations

from collections.abc import Mapping
from math import ceil

from tilewright.compiler.target import Target

__all__ = ["TERMS", "features", "memory"]

_BLOCKS = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
"""Depths and widths of a DP16KD."""
_BLOCK_COST, _DISTRIBUTED_COST = 64, 4
"""Costs by which Yosys chooses a DP16KD or so many TRELLIS_DPR16X4, four LUTs each, for a memory."""

TERMS: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "array": {
        "lut": ("1", "R*C*psum", "R*C", "pairs*act"),
        "ff": ("1", "R*C*psum", "cells*act", "R*C*weight", "cells*stages", "C*weight", "R"),
        "dsp": ("cells",),
    },
    "banks": {
        "lut": ("1", "R", "R*banks", "bank_luts", "edge*R"),
        "ff": ("1", "R*banks", "R*act", "R*edge", "R"),
        "bram": ("bank_blocks",),
    },
    "rows": {"lut": ("edge", "edge*C*weight"), "ff": ("edge", "edge*C*weight")},
    "accumulators": {
        "lut": ("1", "C*acc", "C*accumulators", "acc_luts", "packs*C*acc", "edge*C"),
        "ff": ("1", "C*acc", "C*accumulators", "C", "packs*C*acc", "edge*C*acc", "short*C*acc"),
        "bram": ("acc_blocks",),
    },
    "store_unit": {
        "lut": (
            "1",
            "C*acc",
            "C*act",
            "leaky*C",
            "edge*C",
            "bus",
            "R*act",
            "packs*C*acc",
            "bus_lanes",
            "short*C",
        ),
        "ff": (
            "1",
            "C*acc",
            "C*act",
            "leaky*C",
            "edge*C",
            "bus",
            "R*act",
            "packs*C*acc",
            "short*C*acc",
            "short*leaky*C",
        ),
        "dsp": ("leaky*C",),
        "bram": ("1",),
    },
    "load_unit": {
        "lut": ("1", "R*act", "bus", "banks", "packs*R*act", "bus_lanes", "edge"),
        "ff": ("1", "R*act", "bus", "banks", "packs*R*act", "edge", "edge*R*act"),
    },
    "weights_unit": {
        "lut": ("1", "C*weight", "bus", "R*banks", "C*weight*bus"),
        "ff": ("1", "C*weight", "bus", "R*banks"),
    },
    "calc_unit": {
        "lut": ("1", "banks", "accumulators", "edge"),
        "ff": ("1", "banks", "accumulators", "edge", "C", "short"),
        "bram": ("1",),
    },
    "fetch_unit": {"lut": ("1", "bus", "edge"), "ff": ("1", "bus", "narrow")},
    "arbiter": {"lut": ("1", "bus"), "ff": ("1", "bus")},
    "writer": {"lut": ("1", "bus", "short"), "ff": ("1", "bus", "short")},
    "control": {"lut": ("1", "short"), "ff": ("1", "short")},
    "engine": {"lut": ("1", "R", "C", "edge"), "ff": ("1", "R", "C", "edge")},
    **{
        f"reader_{name}": {
            "lut": ("1", "bus", f"{name}_luts"),
            "ff": ("1", "bus", f"{name}_blocks", "short*bus"),
            "bram": (f"{name}_blocks",),
        }
        for name in ("load", "weights", "params", "fetch")
    },
}
"""For each unit and resource the features that count."""


def memory(depth: int, width: int) -> tuple[int, int]:
    """LUTs and block RAMs of a memory with one read and one write port, as Yosys chooses them."""
    blocks = min(ceil(depth / d) * ceil(width / w) for d, w in _BLOCKS)
    cells = ceil(depth / 16) * ceil(width / 4)
    if cells * _DISTRIBUTED_COST > blocks * _BLOCK_COST:
        return 0, blocks
    return 4 * cells, 0


def features(target: Target) -> dict[str, float]:
    """Every feature that `TERMS` names."""
    rows, cols, cells = target.rows, target.cols, target.rows * target.cells_per_row
    bank = memory(target.act_depth, target.act_bits)
    accumulator = memory(target.acc_depth, target.acc_bits)
    banks, accumulators = target.act_depth.bit_length(), target.acc_depth.bit_length()
    edge, bus, packs = target.edge_registers, 8 * target.bus_bytes, len(target.packs) > 0
    pairs = target.cols * target.rows * (target.weights_per_multiplier == 2)
    found = {
        "1": 1,
        "R": rows,
        "C": cols,
        "R*C": rows * cols,
        "R*C*psum": rows * cols * target.psum_bits,
        "R*C*weight": rows * cols * target.weight_bits,
        "cells": cells,
        "cells*act": cells * target.act_bits,
        "cells*stages": cells * target.product_registers * (target.act_bits + target.weight_bits),
        "pairs*act": pairs * target.act_bits,
        "R*act": rows * target.act_bits,
        "C*act": cols * target.act_bits,
        "C*weight": cols * target.weight_bits,
        "C*weight*bus": cols * target.weight_bits * bus / 64,
        "C*acc": cols * target.acc_bits,
        "R*banks": rows * banks,
        "R*edge": rows * edge,
        "banks": banks,
        "bank_luts": rows * bank[0],
        "bank_blocks": rows * bank[1],
        "C*accumulators": cols * accumulators,
        "accumulators": accumulators,
        "acc_luts": 2 * cols * accumulator[0],
        "acc_blocks": 2 * cols * accumulator[1],
        "packs*R*act": packs * rows * target.act_bits,
        "packs*C*acc": packs * cols * target.acc_bits,
        "edge": edge > 0,
        "edge*R": rows * (edge > 0),
        "edge*C": cols * (edge > 0),
        "edge*C*acc": cols * edge * target.acc_bits,
        "edge*C*weight": cols * target.weight_bits * (edge > 0),
        "edge*R*act": rows * target.act_bits * edge,
        "short": target.short_stages,
        "short*C": cols * target.short_stages,
        "short*C*acc": cols * target.acc_bits * target.short_stages,
        "short*bus": bus * target.short_stages,
        "short*leaky*C": cols * target.leaky * target.short_stages,
        "leaky*C": cols * target.leaky,
        "bus": bus,
        "bus_lanes": max(rows * target.lane_bytes, target.bus_bytes),
        "narrow": target.bus_bytes < 4,
    }
    for name, (_, depth) in target.readers.items():
        luts, blocks = memory(depth, bus)
        found |= {f"{name}_luts": luts, f"{name}_blocks": blocks}
    return {name: float(value) for name, value in found.items()}
