"""The instruction-level model refuses programs that the hardware could not run."""

import dataclasses

import numpy as np
import pytest

from tilewright.compiler.isa import INSTRUCTION_BYTES, Opcode, decode, encode
from tilewright.compiler.lower import compile_network
from tilewright.compiler.target import Target
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.reference import run_fixed
from tilewright.sim.isa_model import ProgramFault, execute
from tilewright.sim.random_layers import fix_randomly, random_inputs

TARGET = Target(rows=4, cols=4, act_depth=128, acc_depth=32, acc_bits=40)


def _network():
    def conv(name, source):
        weight = np.zeros((8, 8, 3, 3), np.float32)
        pads = (1, 1, 1, 1)
        parameters = Conv(weight=weight, bias=np.zeros(8, np.float32), pads=pads)
        return Layer(name=name, op=Op.CONV, inputs=(source,), conv=parameters)

    graph = Graph(
        name="net",
        inputs=(Input(name="x", shape=(8, 9, 9)),),
        layers=(conv("a", "x"), conv("y", "a")),
        outputs=(Output(name="y", tensor="y", shape=()),),
    )
    for seed in range(1000):
        fixed = fix_randomly(graph, TARGET, np.random.default_rng(seed))
        if fixed is None or fixed.layers[0].weight_bits < 7 or fixed.formats["x"].bits < 7:
            continue
        return fixed
    raise AssertionError("no random network fits")


FIXED = _network()
INPUTS = random_inputs(FIXED, 0)
PROGRAM = compile_network(FIXED, TARGET)
ROOMY = compile_network(FIXED, dataclasses.replace(TARGET, act_depth=4096))


def _instructions(program=PROGRAM):
    return [
        decode(program.image[i * INSTRUCTION_BYTES : (i + 1) * INSTRUCTION_BYTES])
        for i in range(program.count)
    ]


def _rewritten(code, program=PROGRAM):
    data = b"".join(
        encode(opcode, **{k: v for k, v in fields.items() if k != "opcode"})
        for opcode, fields in code
    )
    return dataclasses.replace(program, image=data + program.image[len(data) :])


def _fault(code, match):
    with pytest.raises(ProgramFault, match=match):
        execute(_rewritten(code), INPUTS)


def _first(code, opcode, **wanted):
    return next(
        fields
        for found, fields in code
        if found is opcode and all(fields[key] == value for key, value in wanted.items())
    )


def test_the_program_itself_is_right():
    expected = run_fixed(FIXED, {"x": INPUTS["x"][None]})["y"][0]
    np.testing.assert_array_equal(execute(PROGRAM, INPUTS)["y"], expected)


PAIRS = [
    (Opcode.LOAD, "signal_calc", Opcode.CALC, "wait_load"),
    (Opcode.CALC, "signal_load", Opcode.LOAD, "wait_calc"),
    (Opcode.CALC, "signal_store", Opcode.STORE, "wait_calc"),
    (Opcode.STORE, "signal_calc", Opcode.CALC, "wait_store"),
    (Opcode.STORE, "signal_load", Opcode.LOAD, "wait_store"),
]


def _without_pair(program, number, producer, signal, consumer, wait):
    """`program` without the `number`th token from producer to consumer, or None."""
    code = _instructions(program)
    giving = [fields for opcode, fields in code if opcode is producer and fields[signal]]
    taking = [fields for opcode, fields in code if opcode is consumer and fields[wait]]
    assert len(giving) == len(taking)
    if number >= len(giving):
        return None
    giving[number][signal] = taking[number][wait] = 0
    return _rewritten(code, program)


@pytest.mark.parametrize(("producer", "signal", "consumer", "wait"), PAIRS)
def test_every_kind_of_dependency_that_is_left_out_is_found(producer, signal, consumer, wait):
    # Others may imply a single token, the more so the smaller the banks are.
    found = 0
    for program in (PROGRAM, ROOMY):
        number = 0
        while changed := _without_pair(program, number, producer, signal, consumer, wait):
            number += 1
            try:
                execute(changed, INPUTS)
            except ProgramFault as fault:
                assert "may still" in str(fault)
                found += 1
    assert found > 0


@pytest.mark.parametrize(("producer", "signal", "consumer", "wait"), PAIRS)
def test_a_wait_without_its_token_is_found(producer, signal, consumer, wait):
    code = _instructions()
    for opcode, fields in code:
        if opcode is producer:
            fields[signal] = 0
    _fault(code, f"waits for a token of {producer.name.lower()}")


def test_a_token_that_nobody_takes_is_found():
    code = _instructions()
    store = [fields for opcode, fields in code if opcode is Opcode.STORE][-1]
    store["signal_load"] = 1
    _fault(code, "Tokens are left")


@pytest.mark.parametrize(
    ("opcode", "changes", "match"),
    [
        (Opcode.LOAD, {"bank_address": 127}, "leaves the banks"),
        (Opcode.LOAD, {"address": 3}, "not aligned"),
        (Opcode.LOAD, {"address": 1 << 30}, "leaves memory"),
        (Opcode.LOAD, {"row_beats": 1}, "row_beats"),
        (Opcode.CALC, {"base": 126}, "beyond the banks"),
        (Opcode.CALC, {"acc_base": 31}, "leaves the accumulators"),
        (Opcode.CALC, {"acc_step": 8}, "leaves the accumulators"),
        (Opcode.CALC, {"acc_step": 0}, "one accumulator"),
        (Opcode.CALC, {"tiles2": 200}, "no weight tile"),
        (Opcode.CALC, {"gather": 1}, "gather"),
        (Opcode.STORE, {"lanes": 5}, "do not exist"),
        (Opcode.STORE, {"address": 0}, "writes into the program"),
        (Opcode.STORE, {"hi": 300}, "clips beyond"),
        (Opcode.WEIGHTS, {"tiles": 1}, "odd beats"),
    ],
)
def test_fields_that_the_hardware_forbids_are_found(opcode, changes, match):
    code = _instructions()
    _first(code, opcode).update(changes)
    _fault(code, match)


def test_bank_words_never_loaded_are_found():
    code = _instructions()
    calc = _first(code, Opcode.CALC)
    calc["base"] = 60
    with pytest.raises(ProgramFault, match=r"never loaded|may still"):
        execute(_rewritten(code), INPUTS)


def test_memory_never_written_is_found():
    place = max(place.address + place.layout.size for place in PROGRAM.tensors.values())
    wide = dataclasses.replace(PROGRAM, memory_bytes=place + 4096)
    code = _instructions()
    _first(code, Opcode.LOAD)["address"] = place + 64
    data = b"".join(
        encode(opcode, **{k: v for k, v in fields.items() if k != "opcode"})
        for opcode, fields in code
    )
    with pytest.raises(ProgramFault, match="memory never written"):
        execute(dataclasses.replace(wide, image=data + PROGRAM.image[len(data) :]), INPUTS)


def test_an_accumulator_that_overflows_is_found():
    layer = FIXED.layers[0]
    least = -(1 << (layer.weight_bits - 1))
    layer = dataclasses.replace(layer, weight=np.full_like(layer.weight, least))
    program = compile_network(dataclasses.replace(FIXED, layers=(layer, FIXED.layers[1])), TARGET)
    narrow = dataclasses.replace(program, target=dataclasses.replace(TARGET, acc_bits=18))
    with pytest.raises(ProgramFault, match="overflows acc_bits"):
        execute(narrow, {"x": np.full_like(INPUTS["x"], FIXED.formats["x"].min)})


def test_a_program_without_its_end_is_found():
    with pytest.raises(ProgramFault, match="no FINISH"):
        execute(dataclasses.replace(PROGRAM, count=PROGRAM.count - 1), INPUTS)
