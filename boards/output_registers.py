"""Output registers of ECP5 block RAMs, which Yosys leaves unused: a pass over a synthesised netlist.

A word leaves a DP16KD 5.8 ns after the clock, out of the block's own output register after 1.0 ns (speed
grade 6). Where all that a port gives goes into flip-flops, those move into the block.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

__all__ = ["SOFT_CONTROLS", "use_output_registers"]

SOFT_CONTROLS = (
    "opt_clean",
    "select -set behind t:DP16KD %co2 t:$_*DFFE_* %i",
    "dffunmap -ce-only * @behind %d",
    "dffunmap -srst-only * @behind %d",
)
"""Commands for Yosys between the mapping to gates and to flip-flops of `synth_ecp5`: enables and resets
become look-up tables, except enables of registers behind block RAMs, which can move into these."""

_Bit = int | str
_Cell = dict[str, Any]
_WIDE = 36
"""Width at which port A only writes and port B only reads, its lower half at A's outputs."""


@dataclass(frozen=True, slots=True)
class _Register:
    """A flip-flop: its cell's name, and the bits that it is connected to; `enable` "1" if always."""

    name: str
    clock: _Bit
    enable: _Bit
    q: _Bit


def use_output_registers(netlist: dict[str, Any], top: str) -> int:
    """Move flip-flops behind block RAMs into them, in module `top` of a netlist in Yosys's JSON.

    A port's flip-flops move if they are behind all of its outputs that are used, alone, on the
    port's clock, without reset, starting at 0 and with one enable. The module then does in each
    cycle what it did before.

    Returns
    -------
    int
        How many flip-flops that were.
    """
    module = netlist["modules"][top]
    cells: dict[str, _Cell] = module["cells"]
    loads = Counter(_used(module))
    behind = dict(_registers(cells))
    moved: list[str] = []
    for block in [cell for cell in cells.values() if cell["type"] == "DP16KD"]:
        wide = int(block["parameters"]["DATA_WIDTH_B"], 2) == _WIDE
        ports = [("B", ("DOA", "DOB"))] if wide else [("A", ("DOA",)), ("B", ("DOB",))]
        for port, buses in ports:
            outputs = [name for name in block["connections"] if name.startswith(buses)]
            found = _fitting(block, port, outputs, loads, behind)
            if found is None:
                continue
            for name, register in found.items():
                block["connections"][name] = [register.q]
                moved.append(register.name)
            enable = next(iter(found.values())).enable
            for side in "AB" if wide else port:
                block["parameters"][f"REGMODE_{side}"] = "OUTREG"
                block["connections"][f"OCE{side}"] = [enable]
    for name in moved:
        del cells[name]
    return len(moved)


def _fitting(
    block: _Cell,
    port: str,
    outputs: list[str],
    loads: Counter[_Bit],
    behind: dict[_Bit, _Register],
) -> dict[str, _Register] | None:
    """The registers of a port's used outputs, None if they are none or cannot move."""
    connections = block["connections"]
    used = {name: connections[name][0] for name in outputs if connections[name]}
    used = {name: bit for name, bit in used.items() if loads[bit]}
    if not used or any(loads[bit] != 1 or bit not in behind for bit in used.values()):
        return None
    found = {name: behind[bit] for name, bit in used.items()}
    controls = {(register.clock, register.enable) for register in found.values()}
    clock = connections[f"CLK{port}"][0]
    return found if len(controls) == 1 and controls.pop()[0] == clock else None


def _registers(cells: dict[str, _Cell]) -> Iterator[tuple[_Bit, _Register]]:
    """Flip-flops that a block can replace, by what they take."""
    for name, cell in cells.items():
        if cell["type"] != "TRELLIS_FF":
            continue
        parameters, wires = cell["parameters"], cell["connections"]
        always = parameters["CEMUX"].strip() == "1"
        if (
            parameters["REGSET"] == "RESET"
            and wires.get("LSR", ["0"]) == ["0"]
            and parameters["CLKMUX"] == "CLK"
            and (always or parameters["CEMUX"] == "CE")
        ):
            enable = "1" if always else wires["CE"][0]
            yield wires["DI"][0], _Register(name, wires["CLK"][0], enable, wires["Q"][0])


def _used(module: dict[str, Any]) -> Iterator[_Bit]:
    """Each bit once for every input, or port of the module, that it goes to."""
    for cell in module["cells"].values():
        for name, bits in cell["connections"].items():
            if cell["port_directions"].get(name) != "output":
                yield from bits
    for port in module["ports"].values():
        if port["direction"] != "input":
            yield from port["bits"]
