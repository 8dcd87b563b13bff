"""The subcommands about boards: what they write, and what they refuse."""

import json
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tilewright import board_commands, board_runs
from tilewright.boards.flow import Bitstream
from tilewright.boards.host import Run
from tilewright.boards.registry import BOARDS
from tilewright.boards.routing import Route
from tilewright.boards.script import selftest_script
from tilewright.boards.selftest import known_answer
from tilewright.boards.vivado import project
from tilewright.boards.vivado.boards import VIVADO_BOARDS
from tilewright.cli import main
from tilewright.compiler.save import load_program

NET = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=5):
        super().__init__()
        torch.manual_seed(1)
        self.conv = nn.Conv2d(2, width, 3, padding=1)
        self.fc = nn.Linear(width * 16, 3)

    def forward(self, x):
        x = nn.functional.max_pool2d(nn.functional.relu(self.conv(x)), 2)
        return self.fc(x.flatten(1))

model = Net()
large = Net(400)
"""
BOARD = BOARDS["icepi-zero"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Working directory with net.py and data.npz."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.py").write_text(NET)
    images = np.random.default_rng(0).normal(size=(4, 2, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "data.npz", x=images)
    return tmp_path


def run_json(capsys, *arguments):
    code = main([*arguments, "--json", "--quiet"])
    return code, json.loads(capsys.readouterr().out)


def refused(capsys, *arguments):
    """The message of a command that must end with exit code 2 and say one thing."""
    assert main([*arguments, "--quiet"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("tilewright: ") and "Traceback" not in err
    return err


def build(*more):
    return (
        "build",
        "net.py:model",
        "--data",
        "data.npz",
        "--board",
        BOARD.name,
        "-o",
        "out",
        *more,
    )


def test_boards_are_listed_with_what_was_proven(capsys):
    code, found = run_json(capsys, "boards")
    assert code == 0 and set(found) == set(BOARDS) | set(VIVADO_BOARDS)
    assert found[BOARD.name]["target"]["rows"] == BOARD.target.rows
    assert main(["boards"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in BOARDS) and "Mbaud" in out


def test_a_new_network_for_a_board_needs_no_bitstream(folder, capsys, monkeypatch):
    monkeypatch.setattr(board_commands, "_bitstream", None)
    code, found = run_json(capsys, *build("--no-bitstream"))
    assert code == 0 and found["bitstream"] is None
    assert found["fps"] == pytest.approx(BOARD.target.clock_mhz * 1e6 / found["cycles"], abs=0.01)
    assert load_program("out/program.twp").target == BOARD.target
    assert json.loads(Path("out/build.json").read_text()) == found


def test_the_bitstream_stands_beside_the_program_with_its_clock(folder, capsys, monkeypatch):
    path = folder / "top.bit"
    path.write_bytes(b"bits")
    route = Route(
        seed=1,
        fmax_mhz=61.0,
        met=True,
        used={"TRELLIS_COMB": 7},
        available={"TRELLIS_COMB": 9},
        path="from a to b",
        path_ns=16.4,
    )
    made = Bitstream(path=path, route=route, tried=())
    monkeypatch.setattr(board_commands, "_bitstream", lambda board, progress: made)
    assert main([*build("--quiet", "--html")]) == 0
    out = capsys.readouterr().out
    assert "Routed at 61 MHz, 50 needed; slowest path from a to b" in out
    assert Path("out", f"{BOARD.name}.bit").read_bytes() == b"bits"
    found = json.loads(Path("out/build.json").read_text())
    assert found["bitstream"]["cells"] == {"TRELLIS_COMB": {"used": 7, "available": 9}}
    report = json.loads(Path("out/report.json").read_text())
    measured = {row["name"]: row["measured"] for row in report["resources"]}
    assert (measured["LUTs"], measured["MHz"]) == (7, 61.0)
    assert sum(layer["cycles_predicted"] for layer in report["layers"]) <= found["cycles"]
    assert 'id="hardware-figure"' in Path("out/report.html").read_text()


def test_a_board_that_needs_vivado_gets_a_project(folder, capsys, monkeypatch):
    def write(board, place):
        (place / "build.tcl").write_text("")
        return ["build.tcl"]

    monkeypatch.setattr(project, "write_project", write)
    arguments = ("build", "net.py:model", "-c", "data.npz", "-o", "out", "--board", "arty-z7-20")
    code, found = run_json(capsys, *arguments, "--rounding", "nearest")
    assert code == 0 and found["vivado"] == ["build.tcl"]
    assert {"vivado", "tilewright_host"} <= {path.name for path in Path("out").iterdir()}
    assert load_program("out/tilewright_host/program.twp").target.cols == 16


def test_a_network_larger_than_the_memory_is_refused(folder, capsys, monkeypatch):
    err = refused(
        capsys, *("build", "net.py:large", "-c", "data.npz", "--board", "tang-primer-20k"),
        *("--no-bitstream", "--rounding", "nearest"),
    )  # fmt: skip
    assert "has 57,344 bytes of memory, the network needs " in err
    assert not Path("build").exists()


def test_options_that_exclude_each_other_are_refused(folder, capsys):
    assert "exclude each other" in refused(capsys, *build("--target", "tiny"))
    arguments = ("build", "net.py:model", "--data", "data.npz", "--no-bitstream")
    assert "needs --board" in refused(capsys, *arguments)


def test_an_unknown_board_is_refused(capsys):
    assert "did you mean 'ulx3s-85f'" in refused(capsys, "program", "--board", "ulx3s85f")


def test_a_bitstream_that_is_missing_is_refused(capsys):
    err = refused(capsys, "program", "--board", BOARD.name, "--bitstream", "nothing.bit")
    assert "nothing.bit: there is no such bitstream" in err


class FakeAccelerator:
    """Answers as a board would whose network gives the first pixels as scores."""

    def __init__(self):
        self.link = SimpleNamespace(counts=SimpleNamespace(requests=5, retries=1))

    def load(self, program, progress=None):
        self.program = program

    def run(self, image):
        (pixels,) = image.values()
        scores = pixels.reshape(-1)[:3].astype(np.float32)
        return Run(
            outputs={"y": scores},
            integers={},
            saturated=0,
            seconds=0.02,
            counters={"CYCLES": 1000, "CALC_BUSY": 800},
            clock_hz=50_000_000,
        )


@pytest.fixture
def connected(folder, capsys, monkeypatch):
    """A program built for the board, and a fake board that runs it."""
    assert main([*build("--no-bitstream", "-o", "build/Net"), "--quiet"]) == 0
    capsys.readouterr()

    @contextmanager
    def fake(board, port, *, noise=0.0, flash=b""):
        ports.append((port, noise))
        yield FakeAccelerator()

    ports: list[tuple[str | None, float]] = []
    monkeypatch.setattr(board_runs, "open_accelerator", fake)
    return ports


def test_run_prints_classes_time_and_counters(connected, capsys):
    images = np.zeros((2, 2, 8, 8), np.float32)
    images[1, 0, 0, :3] = (1, 3, 2)
    np.save("images.npy", images)
    arguments = ("run", "images.npy", "--board", BOARD.name)
    code, found = run_json(capsys, *arguments, "--virtual", "--noise", "0.1")
    assert code == 0 and connected == [(None, 0.1)]
    assert [run["image"] for run in found["runs"]] == ["images.npy[0]", "images.npy[1]"]
    assert [c["class"] for c in found["runs"][1]["classes"]] == [1, 2, 0]
    assert found["runs"][1]["accelerator_seconds"] == 2e-5
    assert main([*arguments, "--port", "/dev/ttyX", "--quiet"]) == 0
    assert "80.0" in capsys.readouterr().out and connected[1] == ("/dev/ttyX", 0.0)


def test_run_options_that_do_not_go_together_are_refused(connected, capsys):
    run = ("run", "--board", BOARD.name)
    assert "images to run, or --selftest" in refused(capsys, *run)
    assert "images to run, or --selftest" in refused(capsys, *run, "x.npy", "--selftest")
    assert "--loaded is for images" in refused(capsys, *run, "--selftest", "--loaded")
    both = refused(capsys, *run, "x.npy", "--virtual", "--port", "p")
    assert "--port is only for runs without --virtual" in both
    assert "--noise is only for runs with --virtual" in refused(
        capsys, *run, "x.npy", "--noise", "0.1"
    )
    assert "--noise must be" in refused(capsys, *run, "x.npy", "--virtual", "--noise", "2")


def test_a_board_with_a_flash_gets_the_program_from_there(folder, capsys):
    board = BOARDS["icebreaker"]
    arguments = [*build("--no-bitstream", "-o", "build/small")]
    arguments[arguments.index(BOARD.name)] = board.name
    assert main([*arguments, "--quiet"]) == 0
    capsys.readouterr()
    content = Path("build/small/flash.bin").read_bytes()
    script = selftest_script(board.identity(), known_answer(board.target))
    assert content.startswith(script[:-1]) and content[-1:] == script[-1:] == b"\0"
    program = ("program", "--board", board.name, "--flash-program", "build/small/flash.bin")
    assert "leave out --bitstream and --flash" in refused(capsys, *program, "--flash")
    Path("build/small/flash.bin").unlink()
    np.save("images.npy", np.zeros((2, 8, 8), np.float32))
    run = ("run", "images.npy", "--board", board.name, "--loaded", "--virtual")
    assert "'icebreaker' finds no program in its flash" in refused(capsys, *run)


def test_run_without_a_board_or_a_program_is_refused(connected, capsys, monkeypatch):
    monkeypatch.setattr("serial.tools.list_ports.comports", list)
    np.save("images.npy", np.zeros((2, 8, 8), np.float32))
    run = ("run", "images.npy", "--board")
    assert "No board is connected" in refused(capsys, *run, BOARD.name)
    assert "there is none for board 'ulx3s-85f'" in refused(capsys, *run, "ulx3s-85f")
    err = refused(capsys, *run, BOARD.name, "--program", "net.py")
    assert "is not a Tilewright program" in err
    two = [SimpleNamespace(device=f"/dev/ttyUSB{n}") for n in (1, 0)]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: two)
    assert "one of /dev/ttyUSB0, /dev/ttyUSB1" in refused(capsys, *run, BOARD.name)


def test_a_port_without_a_board_is_refused(folder, capsys):
    assert "does not exist" in refused(
        capsys, *("run", "--selftest", "--board", BOARD.name, "--port", "/dev/nothing")
    )
