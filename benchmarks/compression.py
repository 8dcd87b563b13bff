"""What each way to make a network small gives: accuracy, bytes, and cycles measured in RTL.

Writes results/compression.json, a list of {network, method, target, accuracy, float_accuracy,
parameters, stream_bytes, ratio, ratio_float32, rtl_cycles, dense_cycles, conv_cycles,
dense_conv_cycles, dram_bytes, mismatches}, and results/compression_layers.json with the columns of
Deep Compression's tables. Rows of networks that are not measured in this run stay as they were.

    python benchmarks/compression.py --mnist DIR --fashion DIR --work DIR [NETWORK ...]

`--work` keeps every trained state; what is there is not trained again. `accuracy` is
that of the fixed-point network on the 10,000 test images, `float_accuracy` that of the original
float one, `compressed_float_accuracy` that of the compressed one before it is quantized. Methods that
give compressed streams run on the target with a decoder of `decoder_lanes` lanes, the others on the
target without (0); `ternary` says whether the array has ternary cells. `stream_bytes` are all that WEIGHTS instructions read, each address once: streams, blocks,
padding and checksums. `ratio` is against the dense network's 8-bit streams, `ratio_float32` against
4 bytes a parameter, biases included, as the papers count. `dram_bytes` is all that moved, features
and programs too.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compression_data import DataSet, data_of
from compression_networks import NETWORKS
from compression_training import METHODS, Method, Trained, state_of
from measuring import RESULTS

from tilewright import api
from tilewright.boards import get_target
from tilewright.compiler.isa import PARAM_BYTES, Opcode
from tilewright.compiler.listing import instructions
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target
from tilewright.compression import compile_for_streams, encode_program, quant_config
from tilewright.graph.ir import Op
from tilewright.outputs import to_json
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.config import QuantConfig
from tilewright.quant.emulate import run_emulated
from tilewright.quant.fixed import FixedGraph
from tilewright.simulation import Compiled, Simulation, simulate

__all__ = ["PATH", "accuracy_of", "main", "save", "stored", "weight_bytes"]

PATH, LAYERS = RESULTS / "compression.json", RESULTS / "compression_layers.json"
CALIBRATION = 64

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """A network, quantized, in RTL."""

    fixed: FixedGraph
    right: float
    run: Simulation

    @property
    def program(self) -> Program:
        """What ran."""
        return self.run.compiled.program

    @property
    def cycles(self) -> int:
        """Of one image."""
        return self.run.runs[0].cycles

    @property
    def conv_cycles(self) -> int:
        """Of the layers that are convolutions and not fully connected."""
        total = before = 0
        for region, (end, _) in zip(self.program.regions, self.run.runs[0].stamps, strict=True):
            conv = self.fixed.layer(region.name).layer.conv
            total += end - before if conv is not None and not conv.linear else 0
            before = end
        return total


def measure(name: str, found: Trained, data: DataSet, target: Target) -> Measured:
    """Quantize, test, compile, simulate one image."""
    module = found.model.eval().to(memory_format=torch.contiguous_format)
    graph = api.load(module, np.zeros((1, 1, 28, 28)), name=name, scale=[1 / 255])
    config = quant_config(QuantConfig(), found.steps, found.shifts(graph))
    fixed = api.quantize(graph, data.calibration[:CALIBRATION], config=config).fixed
    program = compile_for_streams(fixed, found.steps, target, keep=True)
    compiled = Compiled(fixed=fixed, program=program)
    images, labels = data.test_arrays
    with tempfile.TemporaryDirectory() as folder:
        run = simulate(compiled, images[:1], work_dir=folder)
    return Measured(fixed=fixed, right=accuracy_of(fixed, images, labels), run=run)


def weight_bytes(program: Program) -> int:
    """Bytes of all weight streams and their blocks, as the hardware reads them."""
    sizes = {
        fields["address"]: fields["beats"] * program.target.bus_bytes
        for opcode, fields in instructions(program)
        if opcode == Opcode.WEIGHTS.name
    }
    return sum(sizes.values())


def stored(program: Program, parameters: int) -> Row:
    """Bytes of weight streams and their blocks, and of parameter records (biases, shifts)."""
    code = instructions(program)
    records = {fields["params"] for opcode, fields in code if opcode == Opcode.STORE.name}
    streams = weight_bytes(program)
    size = streams + len(records) * program.target.cols * PARAM_BYTES
    return {
        "stream_bytes": streams,
        "ratio": round(4 * parameters / streams, 2),
        "bytes_with_records": size,
        "ratio_with_records": round(4 * parameters / size, 2),
    }


def accuracy_of(fixed: FixedGraph, images: np.ndarray, labels: np.ndarray) -> float:
    """Share of the images that the fixed-point network labels rightly.

    float32 holds accumulators below 2**24 exactly, float64 all.
    """
    (spec,), (output,), right = fixed.graph.inputs, fixed.graph.outputs, 0
    bound = max(accumulator_bound(layer, fixed.formats) for layer in fixed.layers)
    dtype = torch.float32 if bound < 1 << 24 else torch.float64
    for start in range(0, len(images), 500):
        part = torch.from_numpy(images[start : start + 500] / 255).to(dtype)
        with torch.inference_mode():
            scores = run_emulated(fixed, {spec.name: part})[output.tensor].flatten(1)
        right += int((scores.argmax(1).numpy() == labels[start : start + 500]).sum())
    return right / len(images)


def row_of(
    name: str, method: str, found: Trained, now: Measured, dense: Measured, base: float
) -> Row:
    """A row of the results."""
    target, size = now.program.target, weight_bytes(now.program)
    total = sum(p.numel() for p in NETWORKS[name]().parameters())
    counters = now.run.runs[0].counters
    beats = counters["READ_BEATS"] + counters["WRITE_BEATS"]
    return {
        "network": name,
        "method": method,
        "target": target.name,
        "decoder_lanes": target.decoder_lanes,
        "ternary": target.ternary,
        "accuracy": round(now.right, 5),
        "float_accuracy": round(base, 5),
        "compressed_float_accuracy": round(found.accuracy, 5),
        "parameters": sum(int((p != 0).sum()) for p in found.model.parameters()),
        "stream_bytes": size,
        "ratio": round(weight_bytes(dense.program) / size, 2),
        "ratio_float32": round(4 * total / size, 2),
        "rtl_cycles": now.cycles,
        "dense_cycles": dense.cycles,
        "conv_cycles": now.conv_cycles,
        "dense_conv_cycles": dense.conv_cycles,
        "dram_bytes": beats * target.bus_bytes,
        "mismatches": sum(m.count for image in now.run.mismatches for m in image),
    }


def layer_rows(name: str, method: str, found: Trained, now: Measured) -> list[Row]:
    """The columns of Deep Compression's tables 2 and 3 for each layer."""
    rows, target = [], now.program.target
    plain_target = dataclasses.replace(target, decoder_lanes=0)
    plain_program = compile_for_streams(now.fixed, found.steps, plain_target)
    encoded = encode_program(plain_program, lanes=target.decoder_lanes, huffman=True)
    for layer, (coded, plain) in encoded.items():
        weight = now.fixed.layer(layer).weight
        if coded is None or weight is None or now.fixed.layer(layer).layer.op is not Op.CONV:
            continue
        rows.append(
            {
                "network": name,
                "method": method,
                "layer": layer,
                "weights": weight.size,
                "kept": round(float(np.mean(weight != 0)), 4),
                "weight_bits": max((len(coded.codes.values) - 1).bit_length(), 1),
                "weight_bits_coded": round(coded.value_bits / coded.weights, 2),
                "index_bits": (coded.codes.longest).bit_length(),
                "index_bits_coded": round(coded.run_bits / coded.weights, 2),
                "plain_bytes": plain,
                "stream_bytes": coded.size(),
                "share_of_float32": round(coded.size() / (4 * weight.size), 4),
            }
        )
    return rows


def save(path: Path, rows: list[Row], key: Callable[[Row], Any]) -> None:
    """Put rows into a file of results, in place of those with the same key."""
    old = json.loads(path.read_text("utf-8")) if path.is_file() else []
    new = {key(row) for row in rows}
    path.write_text(to_json([*(row for row in old if key(row) not in new), *rows]), "utf-8")


def main() -> int:
    """Measure; 1 if RTL and reference differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", default=list(NETWORKS), help=", ".join(NETWORKS))
    parser.add_argument("--mnist", type=Path, required=True, help="folder of idx files")
    parser.add_argument("--fashion", type=Path, required=True, help="folder of idx files")
    parser.add_argument("--work", type=Path, required=True, help="keeps what has been trained")
    parser.add_argument("--only", nargs="+", default=(), help="methods")
    parser.add_argument("--target", default="small", help="a named target")
    options = parser.parse_args()
    torch.set_num_threads(1)
    bad = 0
    for name in options.networks:
        data = data_of(options.fashion if name.startswith("fashion") else options.mnist)
        methods = {
            method: chosen
            for method, chosen in METHODS[name].items()
            if not options.only or method in (*options.only, "dense")
        }
        bad += network(name, methods, data, options.work, get_target(options.target))
    return int(bad > 0)


def network(
    name: str, methods: Mapping[str, Method], data: DataSet, work: Path, target: Target
) -> int:
    """Measure a network, the dense one first; the values in which RTL and reference differ."""
    bad, dense, base = 0, None, 0.0
    for method, chosen in methods.items():
        found = state_of(name, method, data, work)
        built = dataclasses.replace(target, decoder_lanes=chosen.lanes, ternary=chosen.ternary)
        now = measure(name, found, data, built)
        if dense is None:
            dense, base = now, found.accuracy
        row = row_of(name, method, found, now, dense, base)
        print(json.dumps(row), flush=True)
        bad += row["mismatches"]
        save(PATH, [row], lambda r: (r["network"], r["method"], r["target"]))
        if chosen.lanes:
            layers = layer_rows(name, method, found, now)
            save(LAYERS, layers, lambda r: (r["network"], r["method"], r["layer"]))
    return bad


if __name__ == "__main__":
    sys.exit(main())
