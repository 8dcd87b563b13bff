"""Float networks that the quantizer's tests share, and images for them."""

import numpy as np

from tilewright.graph.ir import (
    Activation,
    ActivationKind,
    Conv,
    Graph,
    Input,
    Layer,
    Op,
    Output,
    Pool,
)
from tilewright.quant.floats import walk_float
from tilewright.quant.quantize import quantize
from tilewright.quant.reference import quantize_inputs, run_fixed

RELU = Activation(kind=ActivationKind.CLIP, lo=0.0)
RELU6 = Activation(kind=ActivationKind.CLIP, lo=0.0, hi=6.0)
LEAKY = Activation(kind=ActivationKind.LEAKY, slope=0.1)


def conv(rng, name, source, inputs, outputs, kernel=3, *, gain=1.0, bias=True, **layer):
    groups = layer.pop("groups", 1)
    shape = (outputs, inputs // groups, kernel, kernel)
    weight = rng.normal(0.0, gain * (2.0 / np.prod(shape[1:])) ** 0.5, shape)
    return Layer(
        name=name,
        op=Op.CONV,
        inputs=(source,),
        conv=Conv(
            weight=weight.astype(np.float32),
            bias=(rng.normal(0.0, 0.1 * gain, outputs) * bias).astype(np.float32),
            pads=(kernel // 2,) * 4,
            groups=groups,
            linear=layer.pop("linear", False),
        ),
        **layer,
    )


def every_operation(seed=0):
    """A network with every operation and activation in it."""
    rng = np.random.default_rng(seed)
    pool = Pool(kernel=(2, 2), stride=(2, 2))
    layers = (
        conv(rng, "stem", "image", 3, 8, activation=RELU, max_pool=pool),
        conv(rng, "depthwise", "stem", 8, 8, groups=8, activation=RELU6),
        conv(rng, "project", "depthwise", 8, 8, 1, residual="stem"),
        conv(rng, "leaky", "project", 8, 4, activation=LEAKY),
        Layer(name="concat", op=Op.CONCAT, inputs=("project", "leaky", "image2")),
        Layer(name="max", op=Op.MAX_POOL, inputs=("concat",), pool=pool),
        conv(rng, "left", "max", 14, 8, gain=0.1),
        conv(rng, "right", "max", 14, 8, gain=10.0),
        Layer(name="add", op=Op.ADD, inputs=("left", "right"), activation=RELU),
        Layer(name="relu", op=Op.IDENTITY, inputs=("add",), activation=RELU6),
        Layer(
            name="mean",
            op=Op.AVG_POOL,
            inputs=("relu",),
            pool=Pool(kernel=(3, 3), stride=(3, 3), pads=(1, 1, 1, 1)),
        ),
        conv(rng, "fc", "mean", 8, 5, 1, linear=True),
    )
    return Graph(
        name="every",
        inputs=(
            Input(name="image", shape=(3, 16, 16), mean=(127.0,), scale=(1 / 64,)),
            Input(name="image2", shape=(2, 8, 8)),
        ),
        layers=layers,
        outputs=(Output(name="scores", tensor="fc", shape=(5,)),),
    )


def images(count=6, seed=1):
    rng = np.random.default_rng(seed)
    return {
        "image": rng.integers(0, 256, (count, 3, 16, 16), np.uint8),
        "image2": rng.normal(0.0, 3.0, (count, 2, 8, 8)).astype(np.float32),
    }


def normalized(raw):
    image = (raw["image"].astype(np.float32) - 127.0) / 64
    return {"image": image, "image2": raw["image2"].astype(np.float32)}


def output_error(graph, raw, config):
    """Error of the quantized network's output on the calibration images, relative to its size."""
    fixed = quantize(graph, raw, config).fixed
    floats = {layer.name: v for layer, v in walk_float(graph, raw)}
    name = graph.outputs[0].tensor
    values = run_fixed(fixed, quantize_inputs(fixed, raw), keep=[name])[name]
    real = fixed.formats[name].dequantize(values)
    return np.abs(real - floats[name]).sum() / np.abs(floats[name]).sum()
