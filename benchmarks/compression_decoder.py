"""What the decoder of compressed weights gives fully connected layers: cycles measured in RTL.

LeNet-5's two, pruned, with 32 shared weights and Huffman codes (benchmarks/compression_lenet5.py), and
one of the size of VGG-16's fc6 (25088 inputs; as many of its 4096 outputs as asked for) with 4 % of
random weights kept, in 32 values. Each is compared with the dense layer of 8-bit weights on the same array and memory, without
decoder. `binds` is the largest of what the layer takes at least: rows in the array, beats of the
bus, or symbols in the slowest lane. `networks` has the bytes that the hardware reads of LeNet-5's
parameters, by lanes, against 4 bytes each.

    python benchmarks/compression_decoder.py --mnist DIR --work DIR --outputs N

`--work` keeps LeNet-5's trained states, as for benchmarks/compression.py.

Writes results/compression_decoder.json, and LeNet-5's row of results/compression.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from compression import PATH, accuracy_of, stored
from compression import save as save_rows
from compression_data import data_of
from compression_lenet5 import STEPS as LENET_STEPS
from compression_networks import one_layer
from compression_training import state_of
from measuring import save

from tilewright import api
from tilewright.compiler.bounds import layer_traffic
from tilewright.compiler.cycles import MemoryTiming, predict
from tilewright.compiler.decoding import decoding_progress
from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, decode
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target
from tilewright.compress.steps import Step, parse_steps
from tilewright.compression import compile_for_streams, quant_config
from tilewright.delivery import hardware_text
from tilewright.quant.config import QuantConfig
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.reference import run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import compare_run, simulate
from tilewright.sim.results import RunResult
from tilewright.sim.runner import build_simulation
from tilewright.simulation import cache_folder

LATENCY = 50
TARGET = Target(
    name="decoder", rows=16, cols=32, bus_bytes=4, act_depth=2048, acc_depth=1024, decoder_lanes=8
)
STEPS = parse_steps(LENET_STEPS)
CALIBRATION = 64
FC6_INPUTS, FC6_KEPT, ENTRIES = 25088, 0.04, 32

Row = dict[str, Any]


def run(
    fixed: FixedGraph, program: Program, inputs: dict[str, np.ndarray]
) -> tuple[RunResult, int]:
    """One inference in RTL, and how many values differ from the integer reference."""
    expected = run_fixed(fixed, {name: x[None] for name, x in inputs.items()})
    build = build_simulation(hardware_text(program.target), program.target, cache_folder())
    memory = MemoryConfig(read_latency=LATENCY, write_latency=LATENCY)
    with tempfile.TemporaryDirectory() as folder:
        found = simulate(build, program, [inputs], work_dir=Path(folder), memory=memory)[0]
    values = {name: expected[name][0] for name in program.tensors if name not in program.inputs}
    return found, sum(m.count for m in compare_run(program, found, values))


def layers(program: Program, found: RunResult) -> dict[str, Row]:
    """Each layer's cycles, and what it takes at least."""
    predicted = predict(program, MemoryTiming(latency=LATENCY, write_latency=LATENCY))
    progress = decoding_progress(program) if program.target.decoder_lanes else {}
    rows, before = {}, 0
    parts = zip(
        program.regions, layer_traffic(program), predicted.regions, found.stamps, strict=True
    )
    for region, traffic, model, (end, _) in parts:
        size = lanes = array = 0
        seen: set[int] = set()
        for number in range(region.first, region.last):
            start = program.instructions + number * INSTRUCTION_BYTES
            opcode, fields = decode(program.image[start : start + INSTRUCTION_BYTES])
            if opcode is Opcode.CALC:
                pixels = max(fields["rows"] * fields["cols"], program.target.min_tile_period)
                array += fields["tiles0"] * fields["tiles1"] * fields["tiles2"] * pixels
            if opcode is not Opcode.WEIGHTS:
                continue
            if fields["address"] in progress:
                lanes += int(progress[fields["address"]].cycles[-1])
            if fields["address"] not in seen:
                size += fields["beats"] * program.target.bus_bytes
            seen.add(fields["address"])
        rows[region.name] = {
            "cycles": end - before,
            "predicted": model.cycles,
            "bytes": size,
            "array": array,
            "bus": traffic.read,
            "lanes": lanes,
        }
        before = end
    return rows


def compare(name: str, layer: str, kept: float, dense: Row, coded: Row, mismatches: int) -> Row:
    """A row of the results."""
    least = {what: coded[what] for what in ("array", "bus", "lanes")}
    return {
        "network": name,
        "layer": layer,
        "kept": round(kept, 4),
        "dense_bytes": dense["bytes"],
        "stream_bytes": coded["bytes"],
        "ratio": round(dense["bytes"] / coded["bytes"], 2),
        "dense_cycles": dense["cycles"],
        "rtl_cycles": coded["cycles"],
        "faster": round(dense["cycles"] / coded["cycles"], 2),
        "most": TARGET.cols / TARGET.bus_bytes,
        "predicted_cycles": coded["predicted"],
        **{f"least_{what}": count for what, count in least.items()},
        "binds": max(least, key=lambda what: least[what]),
        "mismatches": mismatches,
    }


def lenet(work: Path, mnist: Path) -> tuple[list[Row], list[Row]]:
    """Rows of LeNet-5's layers, and of all of it."""
    data = data_of(mnist)
    images, labels = data.test_arrays
    found, accuracies, floats = [], [], []
    for method, lanes in (("dense", 0), ("prune + share + huffman", TARGET.decoder_lanes)):
        trained = state_of("lenet-5", method, data, work)
        module, steps = trained.model.to(memory_format=torch.contiguous_format), trained.steps
        graph = api.load(module, np.zeros((1, 1, 28, 28)), name="lenet-5", scale=[1 / 255])
        config = quant_config(QuantConfig(), steps, ())
        fixed = api.quantize(graph, data.calibration[:CALIBRATION], config=config).fixed
        accuracies.append(round(accuracy_of(fixed, images, labels), 5))
        program = program_of(fixed, steps, lanes)
        inputs = {fixed.graph.inputs[0].name: api_input(fixed, images[0])}
        result, bad = run(fixed, program, inputs)
        found.append((layers(program, result), bad, result))
        floats.append(round(trained.accuracy, 5))
    (dense, bad, slow), (coded, worse, fast) = found
    rows = []
    for layer in fixed.layers:
        if layer.layer.conv is not None and layer.weight is not None:
            kept = float(np.mean(layer.weight != 0))
            row = compare(
                "lenet-5", layer.name, kept, dense[layer.name], coded[layer.name], bad + worse
            )
            rows.append(row)
    total = sum(p.numel() for p in module.parameters())
    left = sum(int((p != 0).sum()) for p in module.parameters())
    common = {
        "network": "lenet-5",
        "accuracy": accuracies[1],
        "dense_accuracy": accuracies[0],
        "parameters": total,
        "left": left,
    }
    size = sum(layer["bytes"] for layer in coded.values())
    beats = fast.counters["READ_BEATS"] + fast.counters["WRITE_BEATS"]
    whole = {
        "network": "lenet-5",
        "method": "prune + share + huffman, decoded",
        "target": "decoder",
        "accuracy": accuracies[1],
        "float_accuracy": floats[0],
        "compressed_float_accuracy": floats[1],
        "parameters": left,
        "stream_bytes": size,
        "ratio": round(sum(layer["bytes"] for layer in dense.values()) / size, 2),
        "ratio_float32": round(4 * total / size, 2),
        "rtl_cycles": fast.cycles,
        "dense_cycles": slow.cycles,
        "dram_bytes": beats * TARGET.bus_bytes,
        "mismatches": bad + worse,
    }
    save_rows(PATH, [whole], lambda row: (row["network"], row["method"], row["target"]))
    return rows, [
        {**common, "lanes": lanes, **stored(program_of(fixed, STEPS, lanes), total)}
        for lanes in (2, 4, 8, 16)
    ]


def program_of(fixed: FixedGraph, steps: tuple[Step, ...], lanes: int) -> Program:
    """The program for an accelerator with so many lanes."""
    target = dataclasses.replace(TARGET, decoder_lanes=lanes)
    return compile_for_streams(fixed, steps, target, keep=True)


def api_input(fixed: FixedGraph, image: np.ndarray) -> np.ndarray:
    """One image as the integers that the network takes."""
    (spec,) = fixed.graph.inputs
    fmt = fixed.formats[spec.name]
    scaled = np.rint(image / 255 * 2.0**fmt.frac)
    return np.clip(scaled, fmt.min, fmt.max).astype(np.int64)


def fc6(outputs: int) -> Row:
    """The row of the layer of fc6's size."""
    rng = np.random.default_rng(0)
    shape = (outputs, FC6_INPUTS, 1, 1)
    values = np.sort(rng.choice(np.arange(-96, 97), ENTRIES, replace=False))
    weight = rng.choice(values, shape).astype(np.int64)
    mask = rng.random(shape) < FC6_KEPT
    image = rng.integers(-128, 128, (FC6_INPUTS, 1, 1))
    found = []
    for kept, shift, lanes in (
        (weight, 12, 0),
        (np.where(mask, weight, 0), 10, TARGET.decoder_lanes),
    ):
        fixed = one_layer(kept, shift)
        program = program_of(fixed, STEPS, lanes)
        result, bad = run(fixed, program, {"x": image})
        found.append((layers(program, result)["fc6"], bad))
    (dense, bad), (coded, worse) = found
    return compare(f"fc6 25088x{outputs}", "fc6", float(mask.mean()), dense, coded, bad + worse)


def main() -> int:
    """Measure; 1 if RTL and reference differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--mnist", type=Path, required=True, help="folder of idx files")
    parser.add_argument("--work", type=Path, required=True, help="keeps what has been trained")
    parser.add_argument("--outputs", type=int, default=512, help="of fc6")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows, networks = lenet(options.work, options.mnist)
    for row in (*rows, *networks):
        print(json.dumps(row), flush=True)
    rows.append(fc6(options.outputs))
    print(json.dumps(rows[-1]), flush=True)
    save(
        "compression_decoder",
        {
            "target": dataclasses.asdict(TARGET),
            "latency": LATENCY,
            "layers": rows,
            "networks": networks,
        },
        ("torch", "cocotb"),
    )
    return int(any(row["mismatches"] for row in rows))


if __name__ == "__main__":
    sys.exit(main())
