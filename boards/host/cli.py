"""The command line: `python -m tilewright_host COMMAND`."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .accelerator import POWER_UP, Accelerator, Run
from .errors import HostError
from .images import read_input
from .link import Link
from .package import PROGRAM, Board, SelfTest
from .program import HostProgram
from .serial_port import SerialTransport

__all__ = ["main"]

USER_ERROR = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 if all is well, 2 for anything that is to be mended first."""
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except HostError as error:
        print(f"tilewright_host: {error}", file=sys.stderr)
        return USER_ERROR
    except ModuleNotFoundError as error:
        if error.name not in ("serial", "numpy"):
            raise
        name = {"serial": "pyserial"}.get(error.name, error.name)
        print(f"tilewright_host: {name} is missing: pip install {name}", file=sys.stderr)
        return USER_ERROR
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tilewright_host",
        description="Drive an accelerator on a board over its serial port.",
        epilog="Exit codes: 0 good, 2 something to mend first (one message).",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for name, function, text in (
        ("run", _run, "run a network on images"),
        ("selftest", _selftest, "compute what is known and compare"),
        ("identify", _identify, "say which board answers"),
    ):
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=function)
        command.add_argument("--port", required=True, help="serial port, such as /dev/ttyUSB0")
        command.add_argument("--baud", type=int, help="baud rate; the board's by default")
        command.add_argument("--timeout", type=float, default=0.25, metavar="SECONDS",
                             help="silence after which a request is repeated")  # fmt: skip
        command.add_argument("--json", action="store_true", help="print JSON")
        if name == "run":
            _add_run_options(command)
    return parser


def _add_run_options(command: argparse.ArgumentParser) -> None:
    here = Path(__file__).parent
    command.add_argument("images", nargs="+", type=Path, metavar="IMAGE",
                         help=".npy or .npz file, or an image if Pillow is installed")  # fmt: skip
    command.add_argument("--program", type=Path, default=here / PROGRAM, help="program file")
    command.add_argument("--loaded", action="store_true",
                         help="the board has the program from its flash: compare, do not load")  # fmt: skip
    command.add_argument("--top", type=int, default=5, metavar="N", help="classes to print")
    command.add_argument("--labels", type=Path, help="text file with a class name a line")
    command.add_argument("--pixel-scale", type=float, default=1.0, metavar="F",
                         help="factor for the pixels 0..255 of image files")  # fmt: skip


@contextmanager
def _open(options: argparse.Namespace) -> Iterator[Accelerator]:
    board = Board.of_package()
    baud = options.baud or (None if board is None else board.baud)
    if baud is None:
        raise HostError("No baud rate: give --baud N as the board's link has it")
    with SerialTransport(options.port, baud) as transport:
        link = Link(transport, timeout_s=options.timeout)
        yield Accelerator(link, board=None if board is None else board.name)


def _identify(options: argparse.Namespace) -> None:
    with _open(options) as accelerator:
        found = accelerator.identity
    if options.json:
        fields = {name: getattr(found, name) for name in found.__slots__}
        print(json.dumps(fields))
        return
    print(
        f"{found.board}: clock {found.clock_hz / 1e6:g} MHz, {found.memory_bytes:,} bytes of memory "
        f"at {found.memory_base:#x}, {found.baud:,} baud"
    )


def _selftest(options: argparse.Namespace) -> None:
    test = SelfTest.of_package()
    with _open(options) as accelerator:
        accelerator.selftest(test.program, test.inputs, test.expected)
        name, alone = accelerator.identity.board, accelerator.tested_itself
    count = sum(values.size for values in test.expected.values())
    result = {"board": name, "values": count, "wrong": 0, "at_power_up": alone}
    text = f"{result['board']}: {count} values computed, all right\n{POWER_UP[alone]}"
    print(json.dumps(result) if options.json else text)


def _run(options: argparse.Namespace) -> None:
    program = HostProgram.load(options.program)
    labels = _labels(options.labels)
    images = [read_input(path, program, pixel_scale=options.pixel_scale) for path in options.images]
    with _open(options) as accelerator:
        if options.loaded:
            accelerator.adopt(program)
        else:
            accelerator.load(program, progress=_show_progress if sys.stderr.isatty() else None)
        for path, image in zip(options.images, images, strict=True):
            run = accelerator.run(image)
            found = _result(path, run, labels, options.top)
            print(json.dumps(found) if options.json else _text(found), flush=True)
            if run.saturated:
                print(
                    f"tilewright_host: {path}: {run.saturated} values are beyond what the input can "
                    "hold; is --pixel-scale right?",
                    file=sys.stderr,
                )


def _show_progress(done: int, total: int) -> None:
    print(f"\rload the program: {100 * done // total} %\r", end="", file=sys.stderr, flush=True)


def _labels(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        return path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise HostError(f"{path}: cannot be read as text: {error}") from None


def _result(path: Path, run: Run, labels: list[str], top: int) -> dict[str, Any]:
    scores = next(iter(run.outputs.values())).reshape(-1)
    classes = [
        {
            "class": int(number),
            "label": labels[number] if number < len(labels) else str(number),
            "score": float(scores[number]),
        }
        for number in run.classes[: max(top, 1)]
    ]
    return {
        "image": str(path),
        "classes": classes,
        "seconds": run.seconds,
        "accelerator_seconds": run.accelerator_seconds,
        "saturated": run.saturated,
        "counters": run.counters,
    }


def _text(found: dict[str, Any]) -> str:
    classes = ", ".join(f"{item['label']} ({item['score']:.3g})" for item in found["classes"])
    counters = found["counters"]
    # An accelerator without counters says 0, which no run that computed anything can.
    busy = counters["CALC_BUSY"]
    share = f", array busy {100 * busy / counters['CYCLES']:.1f} %" if busy else ""
    return (
        f"{found['image']}: {classes}\n"
        f"  {found['seconds'] * 1e3:.1f} ms, of which the accelerator "
        f"{found['accelerator_seconds'] * 1e3:.3f} ms ({counters['CYCLES']:,} cycles{share})"
    )
