"""QONNX networks of other tools are imported as they are, or refused by tensor."""

from functools import partial
from unittest.mock import patch

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from tilewright.errors import TilewrightError
from tilewright.quant.formats import QFormat
from tilewright.quant.qonnx_export import to_qonnx
from tilewright.quant.qonnx_foreign import import_qonnx
from tilewright.quant.reference import quantize_inputs, run_fixed

DOMAIN = "qonnx.custom_op.general"


class Builder:
    """A small network as Brevitas exports it: Quant nodes behind constants and activations."""

    def __init__(self):
        self.rng = np.random.default_rng(0)
        self.nodes, self.initializers = [], []

    def constant(self, name, values):
        self.initializers.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name

    def quant(self, source, scale, bits, signed=1, zero=0.0, narrow=0):
        target = source + "_q"
        names = [
            self.constant(f"{target}_{what}", value)
            for what, value in (("scale", scale), ("zero", zero), ("bits", float(bits)))
        ]
        self.nodes.append(
            helper.make_node(
                "Quant", [source, *names], [target], domain=DOMAIN, name=target,
                signed=signed, narrow=narrow, rounding_mode="ROUND",
            )
        )  # fmt: skip
        return target

    def node(self, op, inputs, output, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [output], name=output, **attributes))
        return output

    def weights(self, name, shape, scale, bits):
        values = self.rng.normal(0.0, 0.4, shape)
        return self.quant(self.constant(name, values), scale, bits, narrow=1)

    def model(self, output="scores", **changes):
        """The network; `changes` are arguments of single `quant` calls, by the tensor they quantize."""
        scales = np.exp2(-np.arange(2, 8)).reshape(6, 1, 1, 1)
        x = self.quant("x", 2.0**-5, 8, **changes.get("x", {}))
        w = self.weights("w1", (6, 2, 3, 3), scales, 4)
        b = self.quant(self.constant("b1", self.rng.normal(0.0, 0.2, 6)), 2.0**-12, 32)
        x = self.node("Conv", [x, w, b], "conv", pads=[1, 1, 1, 1], kernel_shape=[3, 3])
        x = self.node("Relu", [x], "relu")
        if "relu" not in changes or changes["relu"] is not None:
            x = self.quant(x, 2.0**-4, 5, signed=0, **changes.get("relu", {}))
        x = self.node("MaxPool", [x], "pool", kernel_shape=[2, 2], strides=[2, 2])
        w = self.weights("w2", (6, 1, 3, 3), 2.0**-3, 4)
        x = self.node("Conv", [x, w], "deep", pads=[1, 1, 1, 1], kernel_shape=[3, 3], group=6)
        x = self.quant(x, 2.0**-3, 8, **changes.get("deep", {}))
        x = self.node("Flatten", [x], "flat", axis=1)
        w = self.weights("w3", (5, 96), 2.0**-4, 4)
        self.node("Gemm", [x, w], output, transB=1)
        graph = helper.make_graph(
            self.nodes,
            "foreign",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 8, 8])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, [1, 5])],
            initializer=self.initializers,
        )
        imports = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(graph, opset_imports=imports, ir_version=8)


def execute(model, image):
    from qonnx.core import onnx_exec
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.transformation.infer_shapes import InferShapes

    make_model = partial(onnx_exec.qonnx_make_model, ir_version=8)
    with patch.object(onnx_exec, "qonnx_make_model", make_model):
        wrapped = ModelWrapper(model).transform(InferShapes())
        return onnx_exec.execute_onnx(wrapped, {"x": image}, return_full_exec_context=True)


def test_the_imported_network_computes_what_qonnx_does():
    model = Builder().model()
    fixed = import_qonnx(model)
    forms = fixed.formats
    assert forms["x"] == QFormat(8, 5) and forms["deep"] == QFormat(8, 3)
    assert forms["conv"] == QFormat(5, 4, signed=False)
    assert (fixed.layer("conv").lo, fixed.layer("conv").hi) == (0, 31)
    assert [layer.weight_bits for layer in fixed.layers if layer.weight is not None] == [4, 4, 4]
    assert len(set(fixed.layer("conv").weight_frac.tolist())) >= 5
    images = np.random.default_rng(3).normal(0.0, 1.5, (8, 2, 8, 8)).astype(np.float32)
    values = run_fixed(fixed, quantize_inputs(fixed, {"x": images}))
    for index, image in enumerate(images):
        context = execute(model, image[None])
        # Halves are rounded to even there and up here: rarely one step apart.
        for name, tensor in (("conv", "pool"), ("deep", "deep_q")):
            form = fixed.formats[name]
            difference = np.abs(form.dequantize(values[name][index]) - context[tensor][0])
            assert difference.max() <= 2 * 2.0**-form.frac
            assert (difference > 0).mean() < 0.15
        scores = fixed.formats["scores"].dequantize(values["scores"][index]).ravel()
        np.testing.assert_allclose(scores, context["scores"].ravel(), atol=0.5)


def test_it_exports_again_and_qonnx_executes_it_to_the_same_integers():
    fixed = import_qonnx(Builder().model())
    image = np.random.default_rng(4).normal(0.0, 1.5, (1, 2, 8, 8)).astype(np.float32)
    values = run_fixed(fixed, quantize_inputs(fixed, {"x": image}))
    context = execute(to_qonnx(fixed), image)
    for name in ("conv", "deep"):
        np.testing.assert_array_equal(context[name], fixed.formats[name].dequantize(values[name]))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"relu": {"scale": 0.3}},
            r"Tensor 'relu' is quantized with scale 0\.3, .* no power of two",
        ),
        ({"deep": {"zero": 3.0}}, r"Tensor 'deep' is quantized with zero point 3"),
        ({"deep": {"bits": 17}}, r"Tensor 'deep' is quantized to 17 bits; up to 16 are supported"),
        ({"relu": {"scale": [0.5, 0.25]}}, r"Tensor 'relu' has 2 scales; only weights may"),
        ({"relu": None}, r"what layer 'conv' gives, has no Quant node"),
    ],
)
def test_what_the_hardware_cannot_do_is_refused_by_tensor(changes, message):
    with pytest.raises(TilewrightError, match=message):
        import_qonnx(_changed(Builder(), changes))


def _changed(builder, changes):
    """The model, with arguments of single quantizations changed."""
    if None in changes.values():
        return builder.model(**changes)
    (tensor, options), *_ = changes.items()
    plain = builder.quant

    def quant(source, scale, bits, **given):
        if source == tensor:
            given = {**given, **options}
            scale, bits = given.pop("scale", scale), given.pop("bits", bits)
        return plain(source, scale, bits, **given)

    builder.quant = quant
    return builder.model()


def test_weights_that_are_not_quantized_are_refused_by_layer():
    model = Builder().model()
    for node in list(model.graph.node):
        if node.output[0] == "w2_q":
            model.graph.node.remove(node)
    next(n for n in model.graph.node if n.name == "deep").input[1] = "w2"
    with pytest.raises(TilewrightError, match="Layer 'deep': its weights are no integers"):
        import_qonnx(model)


def test_a_float_network_is_no_qonnx():
    model = onnx.ModelProto()
    model.CopyFrom(Builder().model())
    del model.graph.node[:]
    with pytest.raises(TilewrightError):
        import_qonnx(model)
