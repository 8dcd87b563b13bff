"""The host's driver against a board in Python: results, repairs, and one sentence for each fault."""

from __future__ import annotations

import dataclasses
from random import Random

import numpy as np
import pytest
from board_model import BoardModel
from line_noise import Noise

from tilewright.boards.host import Accelerator, HostError, HostProgram, Link
from tilewright.boards.host.protocol import Status
from tilewright.boards.selftest import KnownAnswer, known_answer
from tilewright.compiler.lower import compile_network
from tilewright.compiler.program import Program
from tilewright.compiler.registers import Control, offset
from tilewright.compiler.save import program_bytes
from tilewright.compiler.target import Target
from tilewright.graph.ir import Conv, Graph, Input, Layer, Op, Output
from tilewright.quant.fixed import FixedGraph
from tilewright.quant.reference import dequantize_outputs, quantize_inputs, run_fixed
from tilewright.sim.random_layers import fix_randomly

TARGET = Target(name="model", rows=4, cols=4, act_depth=256, acc_depth=64, acc_bits=40, bus_bytes=4)


def network() -> FixedGraph:
    """A network with preprocessing, channels-last images and a Softmax for the host."""
    conv = Conv(
        weight=np.zeros((6, 3, 3, 3), np.float32), bias=np.zeros(6, np.float32), stride=(2, 2)
    )
    graph = Graph(
        name="net",
        inputs=(Input(name="x", shape=(3, 7, 5), mean=(10.0,), scale=(0.5,), layout="nhwc"),),
        layers=(Layer(name="y", op=Op.CONV, inputs=("x",), conv=conv),),
        outputs=(Output(name="p", tensor="y", shape=(36,), host_ops=("Softmax(axes=1)",)),),
    )
    for seed in range(100):
        fixed = fix_randomly(graph, TARGET, np.random.default_rng(seed))
        if fixed is not None and fixed.formats["x"].bits == 8:
            return fixed
    raise AssertionError("no random network fits")


FIXED = network()
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 7, 5, 3)).astype(np.uint8)


@pytest.fixture(scope="module")
def compiled() -> Program:
    return compile_network(FIXED, TARGET)


@pytest.fixture(scope="module")
def program(compiled: Program) -> HostProgram:
    return HostProgram.of_bytes(program_bytes(compiled))


@pytest.fixture(scope="module")
def known() -> KnownAnswer:
    return known_answer(TARGET)


def driver(board: BoardModel) -> Accelerator:
    return Accelerator(Link(board, timeout_s=0.0, tries=20))


@pytest.mark.parametrize("noise, data_bytes", [(0.0, 2), (0.0, 8), (0.003, 4)])
def test_results_are_those_of_the_integer_reference(
    compiled: Program, program: HostProgram, noise: float, data_bytes: int
) -> None:
    board = BoardModel(TARGET, compiled, data_bytes=data_bytes, noise=Noise(Random(1), noise))
    accelerator = driver(board)
    accelerator.load(program)
    for image in IMAGES:
        run = accelerator.run(image)
        integers = quantize_inputs(FIXED, {"x": image.transpose(2, 0, 1)[None]})
        wanted = run_fixed(FIXED, integers)
        np.testing.assert_array_equal(run.integers["p"], wanted["y"][0])
        real = dequantize_outputs(FIXED, wanted)["p"].reshape(-1)
        powers = np.exp(real - real.max())
        np.testing.assert_allclose(run.outputs["p"], powers / powers.sum(), rtol=1e-5)
        assert run.classes[0] == real.argmax()
        assert run.counters["CYCLES"] == 1000
        assert run.accelerator_seconds == pytest.approx(1000 / 25e6)
    assert board.starts == len(IMAGES), "a repeated start starts once"
    assert bool(accelerator.link.counts.retries) == bool(noise)


def test_on_a_bad_line_requests_get_shorter_and_everything_still_arrives() -> None:
    board = BoardModel(TARGET, payload=1024)
    link = Link(board, timeout_s=0.0, tries=200)
    data = Random(2).randbytes(20_000)
    address = board.identity.memory_base + 4
    link.write_memory(address, data)
    assert link.counts.requests < 30, "1024 bytes a request on a good line"
    board.noise = Noise(Random(3), 0.01)
    before = link.counts.retries
    assert link.read_memory(address, len(data)) == data
    assert link.counts.retries - before < 1500, "1024 bytes would arrive once in 30,000 tries"


def test_loading_reports_how_far_it_is(known: KnownAnswer) -> None:
    image = known.program.image + bytes(40_000 - len(known.program.image))
    program = dataclasses.replace(known.program, image=image, memory_bytes=50_000)
    board, seen = BoardModel(TARGET), list[tuple[int, int]]()
    driver(board).load(program, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 40_000), (16_384, 40_000), (32_768, 40_000)]
    assert board.memory[:40_000] == image


def test_values_beyond_the_input_format_are_counted(
    compiled: Program, program: HostProgram
) -> None:
    accelerator = driver(BoardModel(TARGET, compiled))
    accelerator.load(program)
    form = FIXED.formats["x"]
    high = 10 + 2 * float(form.dequantize(form.max))
    step = 2 * 2.0**-form.frac
    image = np.full((7, 5, 3), high)
    assert accelerator.run(image).saturated == 0
    image[0, :2] = high + step
    assert accelerator.run(image).saturated == 6


def test_the_selftest_passes_on_a_good_board_and_names_what_a_bad_one_computes_wrong(
    known: KnownAnswer,
) -> None:
    accelerator = driver(BoardModel(TARGET, known.compiled))
    accelerator.selftest(known.program, known.inputs, known.expected)
    wrong = {"out": known.expected["out"] + (np.arange(4) == 1).reshape(4, 1, 1)}
    with pytest.raises(HostError, match=r"^Board 'model' computes 9 of 36 values of 'out' wrong; "):
        accelerator.selftest(known.program, known.inputs, wrong)


def test_the_known_answer_uses_the_whole_range() -> None:
    for bits in (4, 8):
        target = Target(rows=8, cols=8, act_bits=bits, weight_bits=bits, acc_bits=24)
        values = known_answer(target).expected["out"]
        assert len(np.unique(values)) >= 2**bits // 5


def test_a_board_that_failed_its_own_test_is_not_used(known: KnownAnswer) -> None:
    board = BoardModel(TARGET, known.compiled)
    board.status = Status.SELFTEST_DONE
    with pytest.raises(HostError, match=r"^Board 'model' failed its own test when it was switched"):
        driver(board).selftest(known.program, known.inputs, known.expected)


def test_a_program_from_flash_is_adopted_only_if_memory_and_registers_hold_it(
    compiled: Program, program: HostProgram
) -> None:
    board = BoardModel(TARGET, compiled)
    refusal = (
        r"^Board 'model' has not loaded this program from its flash; write the program's flash"
    )
    with pytest.raises(HostError, match=refusal):
        driver(board).adopt(program)
    driver(board).load(program)  # as the board itself does at power-up
    accelerator = driver(board)
    accelerator.adopt(program)
    assert accelerator.program is program
    board.memory[len(program.image) - 1] ^= 1
    with pytest.raises(HostError, match=refusal):
        driver(board).adopt(program)
    board.status = Status.SELFTEST_DONE
    with pytest.raises(HostError, match="failed its own test"):
        driver(board).adopt(program)


def test_a_board_says_whether_it_has_tested_itself() -> None:
    board = BoardModel(TARGET)
    assert not driver(board).tested_itself
    board.status = Status.SELFTEST_DONE | Status.SELFTEST_PASSED
    assert driver(board).tested_itself


def test_another_board_is_named() -> None:
    board = BoardModel(TARGET, board="icebreaker")
    with pytest.raises(
        HostError, match=r"^Board 'icebreaker' answers on the model, this package was built for 'u'"
    ):
        Accelerator(board, board="u")


def test_another_bitstream_is_named_by_what_differs(program: HostProgram) -> None:
    board = BoardModel(dataclasses.replace(TARGET, rows=8, cols=8))
    with pytest.raises(
        HostError,
        match=r"^Board 'model': .* compiled for rows = 4, cols = 4, the accelerator has rows = 8, "
        r"cols = 8; compile it for the accelerator's target$",
    ):
        driver(board).load(program)


def test_a_bitstream_that_differs_in_speed_only_is_taken(program: HostProgram) -> None:
    driver(BoardModel(dataclasses.replace(TARGET, burst_beats=16))).load(program)


def test_what_is_no_accelerator_is_named(program: HostProgram) -> None:
    board = BoardModel(TARGET)
    board.registers[offset("ID")] = 0xDEADBEEF
    with pytest.raises(
        HostError, match=r"^Board 'model': Register ID reads 0xdeadbeef, not 0x5457"
    ):
        driver(board).load(program)
    board = BoardModel(TARGET)
    board.registers[offset("VERSION")] = 0x10000
    with pytest.raises(
        HostError, match=r"The accelerator has version 1\.0\.0 of instructions and "
    ):
        driver(board).load(program)


def test_a_program_that_needs_more_memory_than_there_is_is_refused(program: HostProgram) -> None:
    with pytest.raises(
        HostError, match=r"^The program needs \d+ bytes of memory, board 'model' has "
    ):
        driver(BoardModel(TARGET, memory_bytes=512)).load(program)


def test_a_run_that_fails_says_why_and_the_next_one_is_good(
    compiled: Program, program: HostProgram
) -> None:
    board = BoardModel(TARGET, compiled)
    accelerator = driver(board)
    accelerator.load(program)
    address = board.identity.memory_base + program.inputs[0].tensor.address
    for fault, text in (
        (
            {"STATUS": 2, "FAULT": 0x201, "FAULT_ADDRESS": address},
            r"LOAD got SLVERR when reading at bus address 0x4000[0-9a-f]+ \(tensor 'x'\); check ",
        ),
        ({"STATUS": 1, "FAULT": 0x110000, "FAULT_ADDRESS": 7}, r"instruction 7 is illegal in mem"),
        ({"STATUS": 4, "ACTIVITY": 4}, r"nothing moved for 4194304 cycles: LOAD: waits for a tok"),
    ):
        board.fault = fault
        with pytest.raises(HostError, match=f"^The run on board 'model' failed: {text}"):
            accelerator.run(IMAGES[0])
    board.fault = None
    accelerator.run(IMAGES[0])


def test_a_board_that_was_reset_under_way_is_noticed(
    compiled: Program, program: HostProgram
) -> None:
    board = BoardModel(TARGET, compiled)
    accelerator = driver(board)
    accelerator.load(program)
    board.stuck = True
    waits = 0

    def reset_at_the_third(data: bytes) -> bytes:
        nonlocal waits
        waits += 1
        if waits > 60:
            board.registers[offset("CTRL")] = Control.IDLE
        return data

    board.noise = reset_at_the_third
    with pytest.raises(
        HostError, match=r"^The accelerator on board 'model' stopped before it was "
    ):
        accelerator.run(IMAGES[0])


@pytest.mark.parametrize("writes", [3, 14, 20, 29])
def test_a_host_can_start_anew_after_its_line_was_cut_in_the_midst_of_a_request(
    compiled: Program, program: HostProgram, writes: int
) -> None:
    board = BoardModel(TARGET, compiled)

    def cut(data: bytes) -> bytes:
        nonlocal writes
        writes -= 1
        return data[: len(data) // 2] if writes <= 0 else data

    board.noise = cut
    with pytest.raises(HostError, match=r"^No answer on the model after 20 tries; check that the "):
        accelerator = driver(board)
        accelerator.load(program)
        accelerator.run(IMAGES[0])
    board.noise = lambda data: data
    accelerator = driver(board)
    accelerator.load(program)
    wanted = run_fixed(FIXED, quantize_inputs(FIXED, {"x": IMAGES[0].transpose(2, 0, 1)[None]}))
    np.testing.assert_array_equal(accelerator.run(IMAGES[0]).integers["p"], wanted["y"][0])


def test_what_another_host_left_running_is_stopped(compiled: Program, program: HostProgram) -> None:
    board = BoardModel(TARGET, compiled)
    board.registers[offset("CTRL")] = Control(0)
    accelerator = driver(board)
    accelerator.load(program)
    accelerator.run(IMAGES[0])
    assert board.starts == 1


@pytest.mark.parametrize(
    "image, text",
    [
        (np.zeros((7, 5)), r"has shape \[7, 5\]; give one image of \[7, 5, 3\]$"),
        (np.full((7, 5, 3), np.nan), "holds NaN or infinity; give finite numbers"),
        (np.full((7, 5, 3), "a"), "holds <U1 values; give real numbers"),
    ],
)
def test_images_that_cannot_be_taken_are_named(
    compiled: Program, program: HostProgram, image: np.ndarray, text: str
) -> None:
    accelerator = driver(BoardModel(TARGET, compiled))
    accelerator.load(program)
    with pytest.raises(HostError, match=f"^Input 'x' {text}"):
        accelerator.run(image)
    with pytest.raises(
        HostError, match=r"^The network's inputs are x, given are z; give an array "
    ):
        accelerator.run({"z": image})


def test_running_without_a_program_is_refused() -> None:
    with pytest.raises(HostError, match=r"^No program is loaded; load one before running images$"):
        driver(BoardModel(TARGET)).run(IMAGES[0])


def test_every_truncation_and_a_changed_byte_of_a_program_file_are_refused(
    compiled: Program,
) -> None:
    data = program_bytes(compiled)
    for size in range(0, len(data), max(1, len(data) // 30)):
        with pytest.raises(HostError, match=r"^Program file 'net\.twp' "):
            HostProgram.of_bytes(data[:size], "net.twp")
    for place in (30, 500, len(data) - 1):
        damaged = data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
        with pytest.raises(HostError, match=r"^Program file 'net\.twp' .*(damaged|version)"):
            HostProgram.of_bytes(damaged, "net.twp")


def test_a_part_of_a_network_is_refused(compiled: Program, known: KnownAnswer) -> None:
    part = program_bytes(compile_network(_of_two(), TARGET, layer="y"))
    with pytest.raises(HostError, match=r"holds a part of a network; give a whole network's$"):
        HostProgram.of_bytes(part, "part.twp")


def _of_two() -> FixedGraph:
    conv = Conv(weight=np.zeros((4, 4, 1, 1), np.float32), bias=np.zeros(4, np.float32))
    graph = Graph(
        name="two",
        inputs=(Input(name="x", shape=(4, 4, 4)),),
        layers=(
            Layer(name="a", op=Op.CONV, inputs=("x",), conv=conv),
            Layer(name="y", op=Op.CONV, inputs=("a",), conv=conv),
        ),
        outputs=(Output(name="y", tensor="y", shape=(4, 4, 4)),),
    )
    fixed = fix_randomly(graph, TARGET, np.random.default_rng(0))
    assert fixed is not None
    return fixed
