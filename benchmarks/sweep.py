"""How fast a sweep is, and how far its estimates are from what was measured.

MNIST-8 of the ONNX model zoo on handwritten digits: accuracies of four settings, then cycles and
resources of more than 500 designs for the ULX3S on two local processes. A few designs are simulated in
RTL with the board's memory, to compare cycles. Errors of resources and clock are those of resources.py and
clocks.py, of designs that their models were not fitted to.

    python benchmarks/sweep.py
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from measuring import RESULTS, missing, save

sys.path.insert(0, str(Path(__file__).parents[1] / "examples"))

WORKERS = 2
BITS = (4, 5, 6, 8)
SIMULATED = ((2, 4), (4, 4), (4, 8), (8, 8))


def source() -> Any:
    """The network and 500 labelled digits."""
    from digits import package_folder, read_digits

    import tilewright
    from tilewright.config import Config
    from tilewright.data import Data, as_data
    from tilewright.sweep.measure import Source

    path = package_folder("qonnx") / "data" / "onnx" / "mnist-conv" / "model.onnx"
    graph = tilewright.load(path, name="mnist-8", scale=[1 / 255])
    images, labels = read_digits()
    (name,) = (spec.name for spec in graph.inputs)
    test = Data(inputs={name: images[-500:]}, labels=labels[-500:].astype(np.int64))
    return Source(config=Config(), graph=graph, calibration=as_data(images[:64], graph), test=test)


def measure() -> dict[str, Any]:
    """The whole record."""
    from tilewright.boards.registry import get_board
    from tilewright.sweep.engine import Engine
    from tilewright.sweep.evaluate import Evaluator
    from tilewright.sweep.explore import assess
    from tilewright.sweep.pareto import front, parse_objectives
    from tilewright.sweep.request import Constraints
    from tilewright.sweep.space import AUTO, Setting, Space
    from tilewright.sweep.store import Store

    space = Space(
        settings=tuple(Setting(weight_bits=b, feature_bits=b) for b in BITS),
        boards=("ulx3s-85f",),
        base=get_board("ulx3s-85f").target,
        arrays=AUTO["arrays"],
        fields={"act_depth": AUTO["act_depth"], "acc_depth": AUTO["acc_depth"][:3]},
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        Store(Path(folder, "sweep.db")) as store,
        Evaluator(
            source(), store, lambda: Engine(workers=WORKERS), 50, lambda done, total, text: None
        ) as evaluator,
    ):
        start = time.monotonic()
        baseline = evaluator.float_accuracy()
        settings = evaluator.settings(space.settings)
        accuracies = time.monotonic() - start
        points = list(space.points())
        start = time.monotonic()
        results = evaluator.points(points)
        designs = [
            assess(point, result, baseline, Constraints())
            for point, result in zip(points, results, strict=True)
        ]
        chosen = front([d.values for d in designs], parse_objectives("accuracy,cycles,luts"))
        seconds = time.monotonic() - start
        start = time.monotonic()
        again = evaluator.points(points)
        assert again == results
        cached = time.monotonic() - start
        cycles = _simulate(points, results, evaluator)
    return {
        "network": "mnist-8",
        "board": "ulx3s-85f",
        "workers": WORKERS,
        "points": len(points),
        "seconds": round(seconds, 1),
        "seconds_again": round(cached, 1),
        "settings": {str(s): round(found["accuracy"], 4) for s, found in settings.items()},
        "settings_seconds": round(accuracies, 1),
        "float_accuracy": baseline,
        "front": len(chosen),
        "load_average": [round(load, 1) for load in os.getloadavg()],
        "simulated": cycles,
    }


def _simulate(points: list[Any], results: list[Any], evaluator: Any) -> list[dict[str, Any]]:
    """Cycles of the RTL beside the model's, at 8 bits with the board's own buffers."""
    from tilewright.boards.registry import get_board
    from tilewright.sweep.confirm import simulated

    base = get_board("ulx3s-85f").target
    found = []
    for point, result in zip(points, results, strict=True):
        target = point.hardware.target
        same = (target.act_depth, target.acc_depth) == (base.act_depth, base.acc_depth)
        if (target.rows, target.cols) in SIMULATED and same and target.weight_bits == BITS[-1]:
            network = evaluator.network(point.setting).result()
            ran = simulated(network, point.hardware, source().calibration, 50)
            found.append(
                {"rows": target.rows, "cols": target.cols, "predicted": result["cycles"], **ran}
            )
            print(found[-1], flush=True)
    return found


def _errors(simulated: list[dict[str, Any]]) -> dict[str, Any]:
    """Median and worst error of every estimate, and of how many designs."""
    wrong = [abs(one["predicted"] / one["cycles"] - 1) for one in simulated]
    found: dict[str, Any] = {
        "cycles": {
            "median": round(statistics.median(wrong), 5), "worst": round(max(wrong), 5),
            "of": len(wrong),
        }
    }  # fmt: skip
    model = json.loads((RESULTS / "resources.json").read_text("utf-8"))
    tested = sum(not design["fitted"] for design in model["designs"])
    for what, error in model["errors"]["tested"].items():
        found[what] = {**error, "of": tested}
    clock = json.loads((RESULTS.parents[1] / "src/tilewright/sweep/clock.json").read_text("utf-8"))
    found["fmax"] = {**clock["left_out"], "of": len(clock["points"])}
    return found


def main() -> int:
    """Measure and save."""
    argparse.ArgumentParser(description="How fast and how true a sweep is").parse_args()
    reason = missing("optuna", "distributed", "qonnx", "cocotb")
    if reason:
        print(f"sweep skipped: {reason}")
        return 0
    record = measure()
    record["estimate_errors"] = _errors(record["simulated"])
    save("sweep", record, ("optuna", "distributed"))
    print(json.dumps(record, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
