"""Tilewright: fixed-point CNN accelerators for FPGAs, from a trained network to proven Verilog."""

from tilewright.activations import activation
from tilewright.api import compile, fine_tune, load, quantize, report, verilog
from tilewright.compiler.target import Target
from tilewright.errors import TilewrightError
from tilewright.simulation import Compiled, Simulation, simulate

__all__ = [
    "Compiled",
    "Simulation",
    "Target",
    "TilewrightError",
    "__version__",
    "activation",
    "compile",
    "fine_tune",
    "load",
    "quantize",
    "report",
    "simulate",
    "verilog",
]

__version__ = "0.1.0"
