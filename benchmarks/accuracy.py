"""Accuracy lost to fixed point, by network, method and bits, with peers on the same data.

Writes results/accuracy.json, a list of {model, tool, method, weight_bits, feature_bits, images,
accuracy, float_accuracy, changed, output_error, seconds}. Rows that are not measured in this run stay
as they were, so that one network can be measured at a time. `seconds` are those of quantizing (of a
peer: of quantizing and testing). `changed` counts the images that get another answer than from the float
network: the square root of it over the images is the standard error of the accuracy lost. `output_error` is
the squared difference between the outputs and the float network's over the test images, relative to the energy
of the latter: it tells methods apart where accuracies differ by a few images.

    python benchmarks/accuracy.py --fashion DIR --mnist DIR --imagenet DIR --tiny DIR --vww DIR [NETWORK ...]
    python benchmarks/accuracy.py ... --only "all, 4 bits in fully connected layers" --views

With --views each test image is seen five times, moved a little, and rows go to accuracy_views.json: where
two methods differ by a few answers, five times the images tell whether one is better.

Brevitas is measured where it is installed: `pip install --no-deps brevitas dependencies==2.0.1
unfoldNd tqdm` beside the other packages is enough.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Container, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import accuracy_models
import accuracy_peers
import numpy as np
import numpy.typing as npt
import torch
from accuracy_models import TASKS, Task
from measuring import RESULTS

from tilewright.graph.execute import run_outputs
from tilewright.outputs import to_json
from tilewright.quant.accumulator import accumulator_bound
from tilewright.quant.config import QuantConfig
from tilewright.quant.data import normalize
from tilewright.quant.emulate import run_emulated
from tilewright.quant.finetune import FineTuneConfig, fine_tune
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.mixed import Budget, plan_bits
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import quantize_inputs, run_fixed

__all__ = ["LADDER", "main", "measure"]

PATH, VIEWS_PATH = RESULTS / "accuracy.json", RESULTS / "accuracy_views.json"

LADDER: dict[str, dict[str, Any]] = {
    "static": {"static": True},
    "dynamic": {},
    "dynamic + channels": {"per_channel": True},
    "dynamic + squared": {"objective": "squared"},
    "dynamic + classes": {"classes": True},
    "dynamic + unsigned": {"unsigned": True},
    "dynamic + equalization + bias": {"equalize": True, "bias_correction": True},
    "dynamic + channels + rescaling": {"per_channel": True, "rescale": True},
    "dynamic + learned rounding": {"rounding": "learned"},
    "dynamic + joint": {"joint": True},
    "dynamic + descent": {"descent": True},
    "dynamic + joint + descent": {"joint": True, "descent": True},
    "channels + squared + unsigned + equalization + rescaling + bias": {
        "per_channel": True,
        "objective": "squared",
        "unsigned": True,
        "equalize": True,
        "rescale": True,
        "bias_correction": True,
    },
}
"""Methods by name, as what they add to the paper's; "all" is not among them."""

ALL = partial(QuantConfig, classes=True)
"""The default, and that the outputs are scores of classes, which it knows only of those with a softmax."""

BITS = ((8, 8), (6, 8), (4, 8))
AVERAGE = 5
"""Bits of a weight, in every layer or on average."""
TUNED_ON, EPOCHS, BATCH = 10_000, 2, 64
"""Labelled training images that fine-tuning sees, how often, and how many at once."""

Row = dict[str, Any]
Scores = npt.NDArray[np.floating]
"""[N, classes]."""


def configurations() -> Iterator[tuple[str, int, int, QuantConfig]]:
    """Method, weight bits, feature bits and configuration of everything of ours that is measured."""
    for method, options in LADDER.items():
        yield method, 8, 8, QuantConfig.paper(**options)
    for method in ("static", "dynamic"):
        options = LADDER[method]
        bits = {"weight_bits": 16, "feature_bits": 16}
        yield method, 16, 16, QuantConfig.paper(**bits, **options)
        for weights in (6, 4):
            yield method, weights, 8, QuantConfig.paper(weight_bits=weights, **options)
    for weights, features in (*BITS, (AVERAGE, 8)):
        yield "all", weights, features, ALL(weight_bits=weights, feature_bits=features)
    yield "all without classes", 8, 8, QuantConfig(classes=False)
    for weights in (8, 4):
        config = ALL(weight_bits=weights, joint=True, descent=True)
        yield "all + joint + descent", weights, 8, config
    yield "all, 4 bits in fully connected layers", 8, 8, ALL(kind_weight_bits={"fc": 4})


def measure(
    task: Task, keep: Callable[[Row], None], only: Container[str] = (), widths: Container[int] = ()
) -> None:
    """Measure a network with every method and peer; each row goes to `keep` as soon as it is there.

    `only` restricts this to methods of these names, `widths` to these bits of weights.
    """
    scores = _float_scores(task)
    for method, (weights, features), find in _ours(task):
        if (only and method not in only) or (widths and weights not in widths):
            continue
        start = time.monotonic()
        fixed = find()
        seconds = time.monotonic() - start
        bits = weights, features
        keep(_row(task, "tilewright", method, bits, scores, _scores(task, fixed), seconds))
    for name, (weights, features), run in _peers(task):
        tool, method = name.split(": ")
        if (only and method not in only) or (widths and weights not in widths):
            continue
        start = time.monotonic()
        try:
            found = run()
        except (RuntimeError, ValueError, TypeError, AttributeError, KeyError) as error:
            # Another tool's failure is its result.
            print(f"{task.name}: {name} failed: {type(error).__name__}: {error}", flush=True)
            continue
        seconds = time.monotonic() - start
        keep(_row(task, tool, method, (weights, features), scores, found, seconds))


def _batches(task: Task) -> Iterator[npt.NDArray[np.float32]]:
    """Normalized test images, so many at once that a layer's values stay below 64 MB."""
    largest = max(math.prod(shape) for shape in task.graph.shapes.values())
    size = max(1, min(500, (1 << 24) // largest))
    for start in range(0, len(task.images), size):
        yield normalize(task.graph.inputs[0], task.images[start : start + size])


def _correct(scores: Scores, labels: npt.NDArray[np.int64]) -> int:
    """How many rows of `scores` [N, classes] are largest at their label."""
    return int((scores.argmax(axis=1) == labels).sum())


def _float_scores(task: Task) -> Scores:
    """What the float network gives for the test images, [N, classes]."""
    found = []
    for images in _batches(task):
        (scores,) = run_outputs(task.graph, {task.source: images}, host=False).values()
        found.append(scores.reshape(len(scores), -1))
    return np.concatenate(found)


def _scores(task: Task, fixed: FixedGraph) -> Scores:
    """What the fixed network gives for the test images, [N, classes].

    It runs in floating point, which is exact where every accumulator is below 2**24 (float32) or
    2**53 (float64); that it is the integer reference is checked on the first images.
    """
    (output,), found = fixed.graph.outputs, []
    bound = max(accumulator_bound(layer, fixed.formats) for layer in fixed.layers)
    dtype = torch.float32 if bound < 1 << 24 else torch.float64
    few = quantize_inputs(fixed, {task.source: task.images[:4]})
    expected = fixed.formats[output.tensor].dequantize(run_fixed(fixed, few)[output.tensor])
    for start, images in enumerate(_batches(task)):
        with torch.inference_mode():
            seen = {task.source: torch.from_numpy(images).to(dtype)}
            scores = run_emulated(fixed, seen)[output.tensor].numpy()
        assert start or np.array_equal(scores[:4], expected[: len(scores)]), "not the reference"
        found.append(scores.reshape(len(scores), -1))
    return np.concatenate(found)


def _ours(task: Task) -> Iterator[tuple[str, tuple[int, int], Callable[[], FixedGraph]]]:
    """Every method of ours, its bits, and how to quantize by it."""
    raw = {task.source: task.calibration}

    def plain(config: QuantConfig) -> FixedGraph:
        return quantize(task.graph, raw, config).fixed

    def mixed() -> FixedGraph:
        plan = plan_bits(task.graph, raw, Budget(average_bits=AVERAGE), ALL())
        return plain(plan.config)

    def tuned(config: QuantConfig) -> FixedGraph:
        assert task.train is not None
        images, labels = (torch.from_numpy(np.array(part[:TUNED_ON])) for part in task.train)
        data = torch.utils.data.TensorDataset(images, labels)
        loader = torch.utils.data.DataLoader(data, batch_size=BATCH, shuffle=True)
        return fine_tune(plain(config), loader, FineTuneConfig(epochs=EPOCHS)).fixed

    for method, weights, features, config in configurations():
        yield method, (weights, features), partial(plain, config)
    yield f"all, mixed, {AVERAGE} bits on average", (AVERAGE, 8), mixed
    if task.train is not None:
        for bits in (6, 4):
            yield "all + fine-tuning", (bits, 8), partial(tuned, ALL(weight_bits=bits))


def _peers(task: Task) -> Iterator[tuple[str, tuple[int, int], Callable[[], Scores]]]:
    for each in (False, True):
        name = f"onnxruntime: static int8 per {'channel' if each else 'tensor'}"
        yield name, (8, 8), partial(accuracy_peers.onnxruntime_scores, task, per_channel=each)
    reason = accuracy_peers.brevitas_missing()
    if reason:
        print(f"brevitas skipped: {reason}", flush=True)
        return
    for granularity in ("per_tensor", "per_channel"):
        for weights, features in BITS:
            name = f"brevitas: power-of-two PTQ {granularity.replace('_', ' ')}"
            run = partial(
                accuracy_peers.brevitas_scores,
                task,
                weight_bits=weights,
                feature_bits=features,
                granularity=granularity,
            )
            yield name, (weights, features), run


def _row(
    task: Task,
    tool: str,
    method: str,
    bits: tuple[int, int],
    exact: Scores,
    found: Scores,
    seconds: float,
) -> Row:
    """A row of the results, from what the float network gives for the test images and this one."""
    count = len(task.labels)
    error = float(np.square(found - exact).sum() / np.square(exact).sum())
    return {
        "model": task.name,
        "tool": tool,
        "method": method,
        "weight_bits": bits[0],
        "feature_bits": bits[1],
        "images": count,
        "accuracy": round(_correct(found, task.labels) / count, 5),
        "float_accuracy": round(_correct(exact, task.labels) / count, 5),
        "changed": int((found.argmax(axis=1) != exact.argmax(axis=1)).sum()),
        "output_error": float(f"{error:.3g}"),
        "seconds": round(seconds, 1),
    }


def _key(row: Row) -> tuple[Any, ...]:
    return row["model"], row["tool"], row["method"], row["weight_bits"], row["feature_bits"]


def save(row: Row, path: Path = PATH) -> None:
    """Put `row` into the results, in place of one for the same network, method and bits."""
    rows = json.loads(path.read_text("utf-8")) if path.is_file() else []
    rows = [other for other in rows if _key(other) != _key(row)] + [row]
    order = list(TASKS)
    rows.sort(key=lambda r: order.index(r["model"]))
    path.write_text(to_json(rows), "utf-8")
    loss = 100 * (row["float_accuracy"] - row["accuracy"])
    print(
        f"{row['model']} {row['tool']} {row['method']} {row['weight_bits']}/{row['feature_bits']}: "
        f"{row['accuracy']:.2%}, loses {loss:.2f}, {row['changed']} of {row['images']} answers change, "
        f"outputs differ by {row['output_error']}, "
        f"{row['seconds']:.0f} s",
        flush=True,
    )


def main() -> int:
    """Measure, and save every row."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", help=", ".join(TASKS))
    parser.add_argument("--only", nargs="+", default=(), metavar="METHOD", help="by name")
    parser.add_argument("--weight-bits", nargs="+", type=int, default=(), metavar="N")
    parser.add_argument("--views", action="store_true", help="see each test image five times")
    accuracy_models.add_arguments(parser)
    options = parser.parse_args()
    options.models = options.models or list(TASKS)
    unknown = [name for name in options.models if name not in TASKS]
    if unknown:
        parser.error(f"unknown network {unknown[0]!r}; there are {', '.join(TASKS)}")
    torch.set_num_threads(1)
    keep = partial(save, path=VIEWS_PATH) if options.views else save
    for task in accuracy_models.tasks(options):
        seen = accuracy_models.views(task) if options.views else task
        measure(seen, keep, options.only, options.weight_bits)
    return 0


if __name__ == "__main__":
    sys.exit(main())
