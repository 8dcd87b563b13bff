"""Linear, symmetric and asymmetric reconstruction of one network at equal ranks, without retraining.

Writes results/compression_lowrank.json: for each speed-up the ranks, and for each method the float
accuracy on the 10,000 test images.

    python benchmarks/compression_lowrank.py --fashion DIR --work DIR

The network is fashion-vgg of benchmarks/compression.py, with the same --work.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch
from compression_data import data_of
from compression_training import state_of
from measuring import save

from tilewright.boards import get_target
from tilewright.compress.layers import fold_batch_norm
from tilewright.compress.lowrank import METHODS, approximate, energies
from tilewright.compress.ranks import choose_ranks
from tilewright.compress.train import accuracy
from tilewright.compression import layer_cycles

__all__ = ["main"]

SPEEDUPS = (1.5, 2.0, 3.0)
IMAGES = 500


def main() -> int:
    """Measure and save."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fashion", type=Path, required=True, help="folder of idx files")
    parser.add_argument("--work", type=Path, required=True, help="keeps what has been trained")
    options = parser.parse_args()
    torch.set_num_threads(1)
    data = data_of(options.fashion)
    images, test = data.tensors("train")[0][:IMAGES], data.test()
    dense = state_of("fashion-vgg", "dense", data, options.work)
    model = fold_batch_norm(dense.model)
    cycles = layer_cycles(images[:1], get_target("small"))(model)
    energy = energies(model, images, list(cycles.costs))
    rows: list[dict[str, Any]] = []
    for speedup in SPEEDUPS:
        budget = sum(cycles.dense.values()) / speedup
        ranks = choose_ranks(energy, cycles.dense, cycles.costs, budget)
        row: dict[str, Any] = {"speedup": speedup, "ranks": ranks}
        for method in METHODS:
            found = approximate(model, images, ranks, method=method)
            row[method] = round(accuracy(found, test), 5)
        print(row, flush=True)
        rows.append(row)
    save("compression_lowrank", {"float_accuracy": dense.accuracy, "rows": rows}, ("torch",))
    return 0


if __name__ == "__main__":
    sys.exit(main())
