"""Peers on the same networks and the same images: ONNX Runtime's static int8, Brevitas' powers of two."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from accuracy_models import Task
from torch_network import TorchNetwork

from tilewright.quant.data import normalize

__all__ = ["brevitas_missing", "brevitas_scores", "onnxruntime_scores"]

BATCH = 50

Floats = npt.NDArray[np.float32]


def _batches(task: Task, images: Any) -> Iterator[Floats]:
    for start in range(0, len(images), BATCH):
        yield normalize(task.graph.inputs[0], images[start : start + BATCH])


def onnxruntime_scores(task: Task, *, per_channel: bool) -> Floats:
    """What ONNX Runtime's static quantization gives for the test images, [N, classes].

    QDQ, int8 weights, uint8 features.
    """
    import onnxruntime
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.batches = _batches(task, task.calibration)

        def get_next(self) -> dict[str, Floats] | None:
            batch = next(self.batches, None)
            return None if batch is None else {"x": batch}

    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / name for name in ("float.onnx", "ready.onnx", "int8.onnx")]
        example = torch.from_numpy(next(_batches(task, task.calibration)))
        torch.onnx.export(
            TorchNetwork(task.graph).eval(),
            (example,),
            paths[0],
            input_names=["x"],
            dynamo=True,
            external_data=False,
            dynamic_shapes=({0: torch.export.Dim("batch", min=1, max=4096)},),
            verbose=False,
        )
        quant_pre_process(paths[0], paths[1], skip_symbolic_shape=True)
        quantize_static(
            paths[1],
            paths[2],
            Reader(),
            per_channel=per_channel,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(paths[2], options, ["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"x": x})[0] for x in _batches(task, task.images)])


def brevitas_missing() -> str | None:
    """Why Brevitas cannot be measured, or None."""
    for package in ("brevitas", "brevitas_examples", "dependencies", "unfoldNd", "tqdm"):
        if importlib.util.find_spec(package) is None:
            return f"package {package} is not installed"
    return None


def brevitas_scores(task: Task, *, weight_bits: int, feature_bits: int, granularity: str) -> Floats:
    """What Brevitas' post-training quantization with power-of-two scales gives, [N, classes].

    Its equalization, its ranges by least squared error, and its bias correction are on, as in its own
    ImageNet example; `granularity` is "per_tensor" or "per_channel".
    """
    from brevitas.graph.calibrate import bias_correction_mode, calibration_mode
    from brevitas.graph.quantize import preprocess_for_quantize
    from brevitas_examples.imagenet_classification.ptq.ptq_common import quantize_model

    batches = [torch.from_numpy(x) for x in _batches(task, task.calibration)]
    model = preprocess_for_quantize(
        TorchNetwork(task.graph).eval(), equalize_iters=20, equalize_merge_bias=True
    )
    model = quantize_model(
        model,
        backend="fx",
        weight_bit_width=weight_bits,
        act_bit_width=feature_bits,
        bias_bit_width=32,
        weight_quant_granularity=granularity,
        act_quant_percentile=99.999,
        act_quant_type="sym",
        scale_factor_type="po2_scale",
        quant_format="int",
        weight_param_method="mse",
    ).eval()
    with torch.no_grad():
        model(batches[0])
        for mode in (calibration_mode, bias_correction_mode):
            with mode(model):
                for batch in batches:
                    model(batch)
        scores = [_values(model(torch.from_numpy(x))).numpy() for x in _batches(task, task.images)]
    return np.concatenate(scores)


def _values(result: Any) -> torch.Tensor:
    return result.value if hasattr(result, "value") else result
