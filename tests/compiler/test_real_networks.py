"""Networks of ImageNet's size, out of the onnx package: they compile, or all they lack is listed."""

import math
from pathlib import Path

import numpy as np
import onnx
import pytest

import tilewright
from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, decode
from tilewright.errors import TilewrightError
from tilewright.graph.check import check_model
from tilewright.quant.config import QuantConfig

FOLDER = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"


def model(name):
    """Path of a graph; its weights are constants."""
    return FOLDER / f"light_{name}.onnx"


def compiled(name, target):
    """The program of a graph, quantized on one image of noise."""
    graph = tilewright.load(model(name))
    rng = np.random.default_rng(0)
    images = {i.name: rng.standard_normal((1, *i.shape)).astype(np.float32) for i in graph.inputs}
    quantized = tilewright.quantize(graph, images, config=QuantConfig(acc_bits=target.acc_bits))
    return graph, tilewright.compile(quantized, target, keep=False).program


def convolution_macs(name):
    """Multiply-accumulates of the graph's convolutions, from the shapes that ONNX infers."""
    graph = onnx.shape_inference.infer_shapes(onnx.load(model(name))).graph
    shapes = {
        value.name: [size.dim_value for size in value.type.tensor_type.shape.dim]
        for value in (*graph.input, *graph.value_info, *graph.output)
    }
    sizes = [
        (shapes[node.input[1]], shapes[node.output[0]])
        for node in graph.node
        if node.op_type == "Conv"
    ]
    assert sizes
    return sum(math.prod(weight) * math.prod(output[2:]) for weight, output in sizes)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_a_network_of_supported_operators_compiles_whole(name):
    target = tilewright.Target()
    graph, program = compiled(name, target)
    assert [region.name for region in program.regions] == [layer.name for layer in graph.layers]
    kinds = {layer.name: layer.kind for layer in graph.layers}
    macs = sum(r.macs for r in program.regions if kinds[r.name] in ("conv", "depthwise"))
    # Behind a channel shuffle, a group convolution becomes a dense one with zeros in it.
    shuffles = name == "shufflenet"
    assert (macs > convolution_macs(name)) if shuffles else (macs == convolution_macs(name))
    for region in program.regions:
        # Its zeros take no slots.
        assert region.slots >= region.macs or shuffles, region.name
    last = program.image[(program.count - 1) * INSTRUCTION_BYTES :][:INSTRUCTION_BYTES]
    assert decode(last)[0] is Opcode.FINISH
    places = program.tensors.values()
    assert max(p.address + p.layout.size for p in places) <= program.memory_bytes


@pytest.mark.parametrize(
    ("name", "operators"), [("bvlc_alexnet", ["LRN", "LRN"]), ("inception_v1", ["LRN", "LRN"])]
)
def test_a_network_with_other_operators_is_refused_with_all_of_them(name, operators):
    wanted = [node for node in onnx.load(model(name)).graph.node if node.op_type in operators]
    assert len(wanted) == len(operators)
    assert [finding.op_type for finding in check_model(model(name))] == operators
    with pytest.raises(TilewrightError) as refusal:
        tilewright.load(model(name))
    lines = str(refusal.value).splitlines()
    assert len(lines) == 1 + len(operators)
    assert "2 things that Tilewright does not support" in lines[0]
    assert all("LRN: the operator is not supported" in line for line in lines[1:])
