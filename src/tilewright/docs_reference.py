"""Reference pages made from the code: operators, and troubleshooting by code."""

from __future__ import annotations

import inspect

from tilewright.compiler import legal
from tilewright.compiler.registers import RESPONSES, Status, Unit
from tilewright.graph.onnx_ops import OPERATORS

__all__ = ["operators_page", "troubleshooting_page"]


def operators_page() -> str:
    """docs/operators.md: every ONNX operator that is imported, and its attributes."""
    rows = []
    for name, operator in sorted(OPERATORS.items()):
        text = (inspect.getdoc(operator.lower) or "").splitlines()[0].removeprefix("Lower ")
        attributes = ", ".join(f"`{item}`" for item in sorted(operator.attributes))
        rows.append(f"| {name} | {text} | {attributes} |")
    table = ["| ONNX operator | what is handled | attributes |", "| --- | --- | --- |", *rows]
    return "\n\n".join(["# Operators", _OPERATORS.strip(), "\n".join(table)]) + "\n"


def troubleshooting_page() -> str:
    """docs/troubleshooting.md: exit codes, STATUS, FAULT, and what to do."""
    statuses = [f"| {int(s)} | {s.name} | {_STATUS[s]} |" for s in Status]
    units = ", ".join(f"{unit.value} {unit.name}" for unit in Unit)
    answers = ", ".join(f"{code} {name}" for name, code in RESPONSES.items())
    reasons = [f"| {legal.UNKNOWN_OPCODE} | the opcode must exist |"]
    reasons += [f"| {rule.code} | {rule.opcode.name}: {rule} |" for rule in legal.RULES]
    return "\n".join(
        [
            "# Troubleshooting",
            _EXIT_CODES,
            "## STATUS: why a run ended\n",
            "| STATUS | name | what to do |",
            "| --- | --- | --- |",
            *statuses,
            _FAULT.format(units=units, answers=answers),
            "| reason | rule that the instruction breaks |",
            "| --- | --- |",
            *reasons,
            _OTHERS.rstrip(),
            "",
        ]
    )


_STATUS = {
    Status.GOOD: "nothing",
    Status.ILLEGAL: "FAULT has the rule (below), FAULT_ADDRESS the instruction's number: load the "
    "program into memory again; if it stays, compile it again with the Tilewright that generated "
    "the accelerator",
    Status.READ_ERROR: "the bus answered with an error at FAULT_ADDRESS: check MEM_BASE, and that "
    "as many bytes of memory as the program needs answer behind it",
    Status.WRITE_ERROR: "as for reading",
    Status.WATCHDOG: "nothing moved for WATCHDOG cycles, ACTIVITY says what each unit did: allow "
    "more cycles if the memory is slow; otherwise report it",
    Status.WEIGHT_STREAM: "a compressed weight stream is damaged: FAULT says how, FAULT_ADDRESS which "
    "WEIGHTS instruction's it is: load the program into memory again",
}

_OPERATORS = """
What the importer takes, of ONNX files and of PyTorch modules (which are exported to ONNX in memory).
An operator or attribute that is not listed is refused: `tilewright check` lists all that a model has of
them, with what to do instead. Fusing, folding and what becomes of each layer is described in
[the architecture](architecture.md). A function of one value that is not listed can be added as an
[activation of your own](activations.md).
"""

_EXIT_CODES = """
Every message is one sentence that names the file, layer or option, what was found, what is allowed and
what to do. `--json` prints it as `{"error": ...}`.

## Exit codes

| code | meaning | what to do |
| --- | --- | --- |
| 0 | good | |
| 1 | RTL and reference differ, or the simulation failed | `tilewright simulate --layer NAME --tile N \
--waves` on the first layer named; report it: it is a fault of Tilewright |
| 2 | a mistake in what was given | as the message says |
| 130 | interrupted | `--resume` goes on where a calibration stopped |
"""

_FAULT = """
`tilewright run` and the [host's driver](host.md) put these [registers](registers.md) into words.

## FAULT: who saw it, and why

Units: {units}. Responses of the bus: {answers}. Reasons:
"""

_OTHERS = """
## Frequent messages

| message | reason and way out |
| --- | --- |
| `…: N not supported` | the list names each operator; [what is supported](operators.md) |
| `… of the imported network differs from …` | a fault of the importer, or a registered activation whose \
`reference` is another function than the operator |
| `Layer …: its accumulator can reach …` | a larger `acc_bits`, or fewer bits |
| `Layer …: target … has no activation …` | name it in the target's `activations`, or `--activations` |
| `… one output needs …` | the layer's window does not fit the banks: a larger `act_depth` |
| `This needs …, which is missing` | the extra that the message names |
| `… timing …` from `build --board` | no seed met the clock: a smaller array or a lower clock |
| `The program (target …) was compiled for …` | compile for the target of the accelerator that is there |
| `No answer on …` | cable, port, baud rate; another program may hold the port |
"""
