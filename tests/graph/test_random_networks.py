"""Networks of random operators in random order compute what ONNX Runtime computes."""

# mypy: disable-error-code="union-attr"

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import helper

from tilewright.graph import load_onnx

OPERATORS = [
    "Conv",
    "Depthwise",
    "BatchNormalization",
    "Relu",
    "LeakyRelu",
    "Clip",
    "MaxPool",
    "AveragePool",
    "Add",
    "Concat",
    "Mul",
    "Pad",
    "Dropout",
    "Shuffle",
    "Shift",
]


class _Maker:
    """Grows a graph; every tensor has `shapes[name]` = [channels, height, width]."""

    def __init__(self, draw):
        self.draw, self.nodes, self.weights = draw, [], {}
        self.shapes = {"x": [4, draw(st.integers(4, 9)), draw(st.integers(4, 9))]}
        self.inputs = {"x": [1, *self.shapes["x"]]}

    def constant(self, array):
        name = f"k{len(self.weights)}"
        self.weights[name] = np.asarray(array)
        return name

    def random(self, *shape):
        seed = len(self.weights)
        return self.constant(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))

    def add(self, op, inputs, shape, **attrs):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attrs))
        self.shapes[name] = list(shape)
        return name

    def step(self):
        op = self.draw(st.sampled_from(OPERATORS))
        maps = [n for n, s in self.shapes.items() if len(s) == 3]
        source = self.draw(st.sampled_from(maps))
        shape = self.shapes[source]
        same = [n for n in maps if self.shapes[n] == shape]
        other = self.draw(st.sampled_from(same))
        getattr(self, f"_{op.lower()}")(source, other, *shape)

    def _conv(self, source, other, c, h, w):
        out = self.draw(st.sampled_from([c, 4, 6]))
        weight = self.random(out, c, 3, 3)
        self.add("Conv", [source, weight, self.random(out)], [out, h, w], pads=[1, 1, 1, 1])

    def _depthwise(self, source, other, c, h, w):
        weight = self.random(c, 1, 1, 3)
        self.add("Conv", [source, weight], [c, h, w], pads=[0, 2, 0, 0], group=c)

    def _batchnormalization(self, source, other, c, h, w):
        variance = self.constant(np.linspace(0.2, 2, c, dtype=np.float32))
        statistics = [self.random(c) for _ in range(3)]
        self.add("BatchNormalization", [source, *statistics, variance], [c, h, w])

    def _relu(self, source, other, *shape):
        self.add("Relu", [source], shape)

    def _leakyrelu(self, source, other, *shape):
        self.add("LeakyRelu", [source], shape, alpha=0.25)

    def _clip(self, source, other, *shape):
        bounds = [self.constant(np.float32(-0.5)), self.constant(np.float32(3))]
        self.add("Clip", [source, *bounds], shape)

    def _pool(self, op, source, c, h, w, **attrs):
        k = self.draw(st.sampled_from([2, 3]))
        s = self.draw(st.sampled_from([1, k]))
        if min(h, w) >= k:
            shape = [c, (h - k) // s + 1, (w - k) // s + 1]
            self.add(op, [source], shape, kernel_shape=[k, k], strides=[s, s], **attrs)

    def _maxpool(self, source, other, *shape):
        self._pool("MaxPool", source, *shape)

    def _averagepool(self, source, other, *shape):
        self._pool("AveragePool", source, *shape, count_include_pad=1)

    def _add(self, source, other, *shape):
        self.add("Add", [source, other], shape)

    def _concat(self, source, other, c, h, w):
        if c <= 12:
            self.add("Concat", [source, other], [2 * c, h, w], axis=1)

    def _mul(self, source, other, c, h, w):
        self.add("Mul", [self.random(c, 1, 1), source], [c, h, w])

    def _shift(self, source, other, c, h, w):
        self.add("Sub", [source, self.random(1, c, 1, 1)], [c, h, w])

    def _pad(self, source, other, c, h, w):
        pads = self.constant(np.array([0, 0, 1, 0, 0, 0, 0, 2]))
        self.add("Pad", [source, pads], [c, h + 1, w + 2])

    def _dropout(self, source, other, *shape):
        self.add("Dropout", [source], shape)

    def _shuffle(self, source, other, c, h, w):
        five, four = (self.constant(np.array(s)) for s in ([1, 2, c // 2, h, w], [1, c, h, w]))
        split = self.add("Reshape", [source, five], [])
        turned = self.add("Transpose", [split], [], perm=[0, 2, 1, 3, 4])
        self.add("Reshape", [turned, four], [c, h, w])


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_random_networks(make_model, data):
    maker = _Maker(data.draw)
    for _ in range(data.draw(st.integers(1, 12))):
        maker.step()
    maps = [n for n, s in maker.shapes.items() if len(s) == 3 and n != "x"]
    if not maps:
        return
    last = maps[-1]
    flat = maker.add("Flatten", [last], [])
    size = int(np.prod(maker.shapes[last]))
    head = maker.add("Gemm", [flat, maker.random(size, 3)], [])
    outputs = list({head, data.draw(st.sampled_from(maps))})
    graph = load_onnx(make_model(maker.nodes, maker.inputs, outputs, maker.weights))
    assert len(graph.outputs) == len(outputs)
    assert {layer.name for layer in graph.layers} <= set(graph.shapes)
