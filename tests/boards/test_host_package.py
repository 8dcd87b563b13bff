"""The host package as a build leaves it: alone, on a pseudo-terminal, and with what users do wrong."""

from __future__ import annotations

import ast
import dataclasses
import errno
import json
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
import serial
from board_model import BoardModel
from line_noise import Noise
from PIL import Image
from terminal import terminal

from tilewright.board_runs import open_accelerator
from tilewright.boards import host
from tilewright.boards.host import SerialTransport
from tilewright.boards.host.cli import main
from tilewright.boards.host.package import Board
from tilewright.boards.host.protocol import Status
from tilewright.boards.host_package import write_host_package
from tilewright.boards.registry import BOARDS
from tilewright.boards.selftest import known_answer
from tilewright.compiler.target import Target

TARGET = Target(name="model", rows=4, cols=4, act_depth=256, acc_depth=64, bus_bytes=4)
KNOWN = known_answer(TARGET)
ALLOWED = {"numpy", "serial", "PIL", "pynq"}
"""Pillow only where an image file is read, pynq only on boards whose processor is the host."""

ALONE = """
import runpy, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        allowed = {allowed} | set(sys.stdlib_module_names) | {{"tilewright_host"}}
        if name.split(".")[0] not in allowed:
            raise ModuleNotFoundError(f"{{name}} is not there", name=name)
sys.meta_path.insert(0, Refuse())
sys.argv[0] = "tilewright_host"
runpy.run_module("tilewright_host", run_name="__main__", alter_sys=False)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where a package lies."""
    made = tmp_path_factory.mktemp("host")
    write_host_package(made, board="model", baud=3_000_000, target=TARGET, program=KNOWN.compiled)
    np.save(made / "image.npy", KNOWN.inputs["x"].astype(np.float32))
    return made


@pytest.fixture
def board() -> BoardModel:
    return BoardModel(TARGET, KNOWN.compiled)


def alone(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the package where nothing but NumPy and pyserial can be imported."""
    command = [sys.executable, "-c", ALONE.format(allowed={"numpy", "serial"}), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_sources_import_nothing_but_each_other_and_what_a_host_has() -> None:
    for path in Path(str(host.__file__)).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                assert node.module is not None
                found = {node.module}
            elif isinstance(node, ast.Import):
                found = {name.name for name in node.names}
            else:
                continue
            roots = {name.partition(".")[0] for name in found}
            assert roots <= ALLOWED | sys.stdlib_module_names, path


def test_the_package_is_files_only_and_the_same_as_the_sources(folder: Path) -> None:
    package = folder / "tilewright_host"
    assert not any(path.is_symlink() for path in package.iterdir())
    for path in Path(str(host.__file__)).parent.glob("*.py"):
        assert (package / path.name).read_bytes() == path.read_bytes()


def test_it_runs_alone_and_prints_classes_time_and_counters(
    folder: Path, board: BoardModel
) -> None:
    with terminal(board) as port:
        done = alone(folder, "run", "--port", port, "--json", "image.npy")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    scores = KNOWN.compiled.tensors["out"].format.dequantize(KNOWN.expected["out"]).reshape(-1)
    assert found["classes"][0]["score"] == pytest.approx(scores.max(), rel=1e-6)
    assert found["counters"]["CYCLES"] == 1000


def test_the_selftest_of_the_package_passes_alone_over_a_noisy_line(
    folder: Path, board: BoardModel
) -> None:
    board.noise = Noise(Random(3), 0.002)
    board.status = Status.SELFTEST_DONE | Status.SELFTEST_PASSED
    with terminal(board) as port:
        done = alone(folder, "selftest", "--port", port, "--timeout", "0.05")
    said = "model: 36 values computed, all right\nThe board's own test at power-up has passed\n"
    assert (done.returncode, done.stdout) == (0, said)


def test_without_pillow_an_image_is_refused_in_one_sentence(folder: Path) -> None:
    Image.new("RGB", (6, 6)).save(folder / "photo.png")
    done = alone(folder, "run", "--port", "/dev/null", "photo.png")
    assert done.returncode == 2
    assert done.stderr == (
        "tilewright_host: photo.png: images need Pillow, which is not installed; pip install pillow, "
        "or give an .npy file\n"
    )


def command(
    folder: Path, capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 2
) -> str:
    """What a command of the package in `folder` prints; `code` is its exit code."""
    program = str(folder / "tilewright_host" / "program.twp")
    extra = ["--program", program] if arguments[0] == "run" else []
    capsys.readouterr()
    assert main([*arguments, "--baud", "3000000", "--timeout", "0.02", *extra]) == code
    shown = capsys.readouterr()
    return shown.err if code else shown.out


def test_an_image_file_is_decoded_fitted_and_scaled(
    folder: Path, board: BoardModel, capsys: pytest.CaptureFixture[str]
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 6, 3)).astype(np.uint8)
    Image.fromarray(pixels).resize((12, 12), Image.Resampling.NEAREST).save(folder / "a.png")
    np.save(folder / "same.npy", (pixels / 4).transpose(2, 0, 1))
    with terminal(board) as port:
        for name, scale in (("a.png", "0.25"), ("same.npy", "1")):
            options = ("--port", port, "--pixel-scale", scale, "--json")
            text = command(folder, capsys, "run", str(folder / name), *options, code=0)
            found = json.loads(text)["classes"]
            if name == "a.png":
                first = found
    assert found == first


def test_classes_have_their_labels(
    folder: Path, board: BoardModel, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "labels.txt").write_text("\n".join(f"name {n}" for n in range(36)))
    with terminal(board) as port:
        options = ("--port", port, "--labels", str(folder / "labels.txt"), "--top", "2")
        text = command(folder, capsys, "run", str(folder / "image.npy"), *options, code=0)
    best = KNOWN.expected["out"].reshape(-1).argmax()
    assert f": name {best} (" in text
    assert "(1,000 cycles, array busy 50.0 %)" in text


def test_identify_tells_what_answers(
    folder: Path, board: BoardModel, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal(board) as port:
        text = command(folder, capsys, "identify", "--port", port, code=0)
    assert text == ("model: clock 25 MHz, 65,536 bytes of memory at 0x40000000, 3,000,000 baud\n")


def test_a_missing_port_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = command(folder, capsys, "identify", "--port", "/dev/ttyNONE9")
    assert text.startswith(
        "tilewright_host: Port /dev/ttyNONE9 does not exist; connect the board, and "
    )
    assert text.count("\n") == 1


def test_a_busy_port_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with terminal(None) as port:
        first = SerialTransport(port, 115_200)
        text = command(folder, capsys, "identify", "--port", port)
        first.close()
    assert text == (
        f"tilewright_host: Port {port} is in use by another program; end that program first\n"
    )


def test_a_port_that_is_not_allowed_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*arguments: Any, **options: Any) -> None:
        raise serial.SerialException(errno.EACCES, "could not open port: Permission denied")

    monkeypatch.setattr(serial, "Serial", refuse)
    text = command(folder, capsys, "identify", "--port", "/dev/ttyUSB0")
    assert text.startswith(
        "tilewright_host: Port /dev/ttyUSB0 may not be opened by this user; add "
    )


def test_a_file_that_is_no_port_is_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = command(folder, capsys, "identify", "--port", str(folder / "README.txt"))
    assert "README.txt cannot be opened at 3000000 baud (" in text


def test_a_port_on_which_nobody_answers_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with terminal(None) as port:
        text = command(folder, capsys, "identify", "--port", port)
    assert text.startswith(f"tilewright_host: No answer on {port} after 10 tries; check that the ")


def test_the_port_is_given_back_however_a_command_ends(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Any] = []
    serial_port = serial.Serial

    def remember(*arguments: Any, **options: Any) -> Any:
        opened.append(serial_port(*arguments, **options))
        return opened[-1]

    monkeypatch.setattr(serial, "Serial", remember)
    with terminal(BoardModel(TARGET)) as port:
        command(folder, capsys, "identify", "--port", port, code=0)
        with open_accelerator(dataclasses.replace(BOARDS["icepi-zero"], name="model"), port):
            assert opened[1].is_open
    with terminal(None) as port:
        command(folder, capsys, "identify", "--port", port)
    assert [one.is_open for one in opened] == [False] * 3


def test_a_board_that_is_unplugged_is_named() -> None:
    with terminal(None) as port:
        transport = SerialTransport(port, 115_200)
    with pytest.raises(
        host.HostError, match=r"has stopped working \(.*\); plug the board in again"
    ):
        for _ in range(3):
            transport.write(b"x")
            transport.read(0.01)
    transport.close()


def test_another_board_than_the_package_was_built_for_is_named(folder: Path) -> None:
    with terminal(BoardModel(TARGET, board="other")) as port:
        done = alone(folder, "selftest", "--port", port)
    assert done.returncode == 2
    assert done.stderr.startswith(
        f"tilewright_host: Board 'other' answers on {port}, this package "
    )


def test_a_damaged_program_or_package_is_named(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    program = copy / "tilewright_host" / "program.twp"
    program.write_bytes(program.read_bytes()[:-1])
    text = command(copy, capsys, "run", "--port", "/dev/null", str(copy / "image.npy"))
    assert "is damaged (ValueError: its memory image is incomplete or altered)" in text
    (copy / "tilewright_host" / "board.json").write_text("{")
    with pytest.raises(host.HostError, match=r"board\.json: is damaged \("):
        Board.of_package(copy / "tilewright_host")
    (copy / "tilewright_host" / "selftest.npz").unlink()
    done = alone(copy, "selftest", "--port", "/dev/null")
    assert done.returncode == 2
    assert "holds no self-test; build the package with tilewright build" in done.stderr


def test_a_baud_rate_must_be_given_where_no_board_is_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["identify", "--port", "/dev/null"]) == 2
    assert capsys.readouterr().err == (
        "tilewright_host: No baud rate: give --baud N as the board's link has it\n"
    )


def test_files_that_are_no_images_are_named(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "text.png").write_text("no image")
    (folder / "text.npy").write_text("no array")
    for name, text in (
        ("text.png", "not an image that Pillow can decode"),
        ("text.npy", "not a file of plain arrays ("),
        ("none.npy", "cannot be read: No such file or directory"),
        ("none.png", "cannot be read: No such file or directory"),
    ):
        path = str(folder / name)
        shown = command(folder, capsys, "run", "--port", "/dev/null", path)
        assert shown.startswith(f"tilewright_host: {path}: {text}")
